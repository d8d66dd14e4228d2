//! The real operator on the embedded cluster, in simulated time: an hour passes as fast as it can be computed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use osc_api::{KataConfig, names};
use osc_devcluster::sim::Timing;
use osc_devcluster::{Clock, Cluster, ClusterConfig, Contents};
use osc_operator::Options;
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::record::{Change, Record};
use super::world;
use crate::preflight::Intent;
use crate::snapshot::Snapshot;
use crate::snapshot::kinds::Kind;

/// What a drain takes where nothing holds it up; a part of the pace.
const DRAIN: Duration = Duration::from_secs(30);

/// What is asked for, and how fast nodes are.
#[derive(Clone, Debug)]
pub struct Question {
    /// Apply or delete.
    pub intent: Intent,
    /// The name of the KataConfig.
    pub name: String,
    /// Everything that is there.
    pub objects: Vec<Value>,
    /// The time at the beginning.
    pub origin: Timestamp,
    /// How long a node takes.
    pub pace: Duration,
    /// The extension, where the operator would look at its own host.
    pub extension: Option<String>,
    /// The image of kata-monitor.
    pub monitor_image: String,
}

impl Question {
    /// What comes of this intent on that cluster.
    pub fn new(snapshot: &Snapshot, intent: &Intent, name: &str, pace: Duration) -> Self {
        Self {
            intent: intent.clone(),
            name: name.to_owned(),
            objects: world::objects(snapshot),
            origin: snapshot.info.taken.unwrap_or(Timestamp::UNIX_EPOCH),
            pace,
            extension: world::extension(snapshot),
            monitor_image: world::monitor_image(snapshot),
        }
    }

    /// The same without what stands in the way.
    pub fn relieved(&self) -> Self {
        Self { objects: world::relieved(self.objects.clone()), ..self.clone() }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The nodes that were changed, in the order in which that began.
    pub changes: Vec<Change>,
    /// All objects that matter before, and after.
    pub before: Vec<Value>,
    /// After.
    pub after: Vec<Value>,
    /// The KataConfig at the end, if there is one.
    pub kata_config: Option<KataConfig>,
    /// Whether everything is as it was asked for.
    pub finished: bool,
}

/// Runs it, in a thread of its own: its clock stands still while it thinks.
pub fn run(question: Question) -> anyhow::Result<Outcome> {
    let thread = std::thread::Builder::new().name("osc-plan".to_owned()).spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(Box::pin(play(question)))
    });
    let thread = thread.context("cannot start the simulation")?;
    thread
        .join()
        .map_err(|_| anyhow!("the simulation failed; please report this with a snapshot (osc snapshot)"))?
}

/// The operator's time is the cluster's.
struct SimulatedTime(Clock);

impl osc_operator::Clock for SimulatedTime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        duration.try_into().unwrap_or_default()
    }
}

async fn play(question: Question) -> anyhow::Result<Outcome> {
    let timing = Timing {
        drain: DRAIN.min(question.pace / 2),
        reboot: question.pace.saturating_sub(DRAIN.min(question.pace / 2)),
        reboot_spread: 0.0,
        ..Timing::default()
    };
    let config = ClusterConfig {
        contents: Contents::Objects(question.objects),
        listen: None,
        origin: Some(question.origin),
        timing,
        ..ClusterConfig::default()
    };
    let cluster = Cluster::start(config).await.context("cannot simulate this cluster")?;
    let client = cluster.server().client_named("osc-plan")?;
    let before = inventory(&cluster);
    let cancel = CancellationToken::new();
    let options = Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: Some(question.monitor_image),
        agent_image: Some("IMAGE-OF-NODE-AGENT".to_owned()),
        extension: question.extension,
        ..Options::default()
    };
    let operator = cluster.server().client_named("osc-operator")?;
    let clock = Arc::new(SimulatedTime(cluster.clock()));
    let operator =
        tokio::spawn(osc_operator::run(operator, options, clock, Metrics::default(), cancel.clone()));
    let mut record = Record::new(cluster.clock(), question.origin);
    ask(&client, &question.intent, &question.name).await?;
    record.until_rest(&client).await;
    let after = inventory(&cluster);
    let kata_configs: Api<KataConfig> = Api::all(client.clone());
    let kata_config =
        kata_configs.get_opt(&question.name).await.context("cannot read the simulated KataConfig")?;
    cancel.cancel();
    let _ = operator.await;
    cluster.stop().await;
    let finished = match question.intent {
        Intent::Apply(_) => kata_config.as_ref().is_some_and(is_ready) && record.open().next().is_none(),
        Intent::Delete => kata_config.is_none() && record.open().next().is_none(),
    };
    Ok(Outcome { changes: record.changes, before, after, kata_config, finished })
}

fn is_ready(kata_config: &KataConfig) -> bool {
    let condition = |type_: &str| kata_config.status.as_ref().and_then(|status| status.condition(type_));
    condition("Ready").is_some_and(|ready| ready.status == "True")
        && condition("InProgress").is_some_and(|progress| progress.status == "False")
}

/// Does what the person is about to do. What a KataConfig does not say, it no longer says afterwards: as with `oc apply`
/// of the file that it came from.
async fn ask(client: &Client, intent: &Intent, name: &str) -> anyhow::Result<()> {
    let resource = ApiResource::erase::<KataConfig>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let wanted = match intent {
        Intent::Delete => {
            return match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                Err(error) => Err(error).with_context(|| format!("KataConfig {name} cannot be deleted")),
            };
        }
        Intent::Apply(kata_config) => kata_config,
    };
    let present = api.get_opt(name).await.context("cannot read the simulated KataConfig")?;
    let spec = json!(wanted.spec.clone().unwrap_or_default());
    let applied = if let Some(mut present) = present {
        present.data["spec"] = spec;
        api.replace(name, &PostParams::default(), &present).await
    } else {
        let mut object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        object.metadata.labels.clone_from(&wanted.metadata.labels);
        api.create(&PostParams::default(), &object).await
    };
    applied
        .map(drop)
        .map_err(|error| anyhow!(osc_operator::apply::words(&error)))
        .with_context(|| format!("the API server would refuse KataConfig {name}"))
}

/// Every object that a plan tells of.
fn inventory(cluster: &Cluster) -> Vec<Value> {
    let told = |object: &&Arc<Value>| {
        let kind = Kind::of(
            object["apiVersion"].as_str().unwrap_or_default(),
            object["kind"].as_str().unwrap_or_default(),
        );
        kind.is_some_and(|kind| {
            !matches!(kind.name, "Pod" | "PodDisruptionBudget" | "CustomResourceDefinition")
        })
    };
    cluster.server().objects().iter().filter(told).map(|object| (**object).clone()).collect()
}

/// What the operator says at the end, if it says that somebody should look.
pub fn trouble(outcome: &Outcome) -> Option<(String, String)> {
    let status = outcome.kata_config.as_ref()?.status.as_ref()?;
    let degraded = status.condition("Degraded").filter(|degraded| degraded.status == "True");
    // Refused or blocked: not in progress, and with a reason.
    let refused = || {
        let progress = status.condition("InProgress")?;
        (progress.status == "False" && !progress.reason.is_empty()).then_some(progress)
    };
    let found = degraded.or_else(refused)?;
    Some((found.reason.clone(), found.message.clone()))
}

/// The nodes whose turn never came.
pub fn waiting(outcome: &Outcome) -> Vec<String> {
    let Some(status) = outcome.kata_config.as_ref().and_then(|kata_config| kata_config.status.as_ref())
    else {
        return Vec::new();
    };
    let nodes = &status.kata_nodes;
    let mut waiting = nodes.waiting_to_install.clone();
    waiting.extend(nodes.waiting_to_uninstall.iter().cloned());
    waiting
}

/// The name of the KataConfig that is to be deleted.
pub fn name_of(snapshot: &Snapshot, intent: &Intent) -> String {
    let present =
        crate::preflight::situation::oldest(snapshot).and_then(|present| present.metadata.name.clone());
    match intent {
        Intent::Apply(kata_config) => kata_config.metadata.name.clone().unwrap_or_default(),
        Intent::Delete => present.unwrap_or_else(|| names::KATA_RUNTIME_CLASS.to_owned()),
    }
}
