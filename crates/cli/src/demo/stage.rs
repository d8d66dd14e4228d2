//! What the story is played on: cluster, operator, client, screen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::SignedDuration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::Scope;
use osc_cloud::memory::Memory;
use osc_devcluster::server::Services;
use osc_devcluster::{Cluster, ClusterConfig};
use osc_operator::metrics::Metrics;
use osc_operator::options::{BindAddress, PeerPodsOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::scenario::Scenario;
use crate::Output;
use crate::table::{Table, aligned};
use crate::view::{Follow, Screen, Snapshot, Style, style};

/// How long, in real time, one step of the story may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Cluster, operator, client, screen.
pub struct Stage {
    /// Client of the person in the story.
    pub client: Client,
    /// Where it is shown.
    pub screen: Screen,
    /// What happens on the cluster.
    pub follow: Follow,
    /// The command that a person types.
    pub tool: &'static str,
    /// Where pod VMs are.
    pub cloud: Memory,
    /// Whether the story has something to do with it.
    pub has_cloud: bool,
    /// Where the kubeconfig is.
    pub kubeconfig: PathBuf,
    temporary: Option<PathBuf>,
    cluster: Cluster,
    operator: JoinHandle<Result<(), osc_operator::Error>>,
    cancel: CancellationToken,
    started: Instant,
    patience: Duration,
}

impl Stage {
    /// Starts everything.
    pub async fn set(arguments: &Arguments) -> anyhow::Result<Self> {
        let started = Instant::now();
        let (cloud, services) = (Memory::new(), Services::default());
        let has_cloud = arguments.scenario == Scenario::Peerpods;
        let programs = if has_cloud { osc_stage::programs(&cloud, &services) } else { Vec::new() };
        let config = ClusterConfig {
            contents: arguments.scenario.topology(arguments.workers).into(),
            listen: Some(arguments.listen),
            tls: arguments.tls,
            speed: arguments.speed,
            programs,
            services,
            ..ClusterConfig::default()
        };
        let cluster = Cluster::start(config).await.context("cannot start the embedded cluster")?;
        let (kubeconfig, temporary) = write_kubeconfig(arguments, &cluster.server().kubeconfig()?)?;
        let client = cluster.server().client_named("osc-demo")?;
        install_crds(&client).await?;
        let cancel = CancellationToken::new();
        let operator = start_operator(&cluster, &cloud, &cancel)?;
        let clock = cluster.clock();
        let beginning = clock.now();
        let label = move || elapsed(clock.now().duration_since(beginning));
        let style = if arguments.output == Output::Json { Style::Json } else { Style::Text };
        let screen = Screen::new(style, Arc::new(label));
        let follow = Follow::start(&client, screen.clone());
        let patience = PATIENCE
            .mul_f64((f64::from(arguments.workers) / 10.0).max(1.0) * (150.0 / arguments.speed).max(1.0));
        Ok(Self {
            client,
            screen,
            follow,
            tool: arguments.scenario.tool(),
            cloud,
            has_cloud,
            kubeconfig,
            temporary,
            cluster,
            operator,
            cancel,
            started,
            patience,
        })
    }

    /// Ends everything.
    pub async fn strike(self) {
        drop(self.follow);
        self.screen.clear();
        self.cancel.cancel();
        match self.operator.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => anstream::eprintln!("{}: the operator failed: {error}", style::bad("error")),
            Err(error) => anstream::eprintln!("{}: the operator failed: {error}", style::bad("error")),
        }
        self.cluster.stop().await;
        if let Some(directory) = self.temporary {
            let _ = std::fs::remove_dir_all(directory);
        }
    }

    /// How long the story has been going on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A headline.
    pub fn scene(&self, title: &str) {
        self.screen.print(&[String::new(), style::command(&format!("== {title}"))]);
        self.screen.json(json!({"type": "scene", "title": title}));
    }

    /// A remark.
    pub fn say(&self, text: &str) {
        self.screen.print(&[text.to_owned()]);
        self.screen.json(json!({"type": "note", "text": plain(text)}));
    }

    /// Shows a command that a person would type, does what it does, and shows what it prints.
    pub async fn typed<T>(
        &self,
        command: &str,
        output: &str,
        action: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.screen.print(&[format!("$ {}", style::command(command))]);
        let result = action.await?;
        self.screen.print(&[output.to_owned()]);
        self.screen.json(json!({"type": "command", "command": command, "output": plain(output)}));
        Ok(result)
    }

    /// A `get` that a person would type, with the table that the API server makes.
    pub async fn get(&self, command: &str, path: &str) -> anyhow::Result<()> {
        let table = Table::get(&self.client, path).await.with_context(|| format!("{command} failed"))?;
        self.table(command, &table.columns(), &table.rows());
        Ok(())
    }

    /// Shows the table that a command prints.
    pub fn table(&self, command: &str, columns: &[String], rows: &[Vec<String>]) {
        let mut lines = vec![format!("$ {}", style::command(command))];
        lines.extend(if rows.is_empty() {
            vec!["No resources found".to_owned()]
        } else {
            aligned(columns, rows)
        });
        self.screen.print(&lines);
        self.screen.json(json!({"type": "table", "command": command, "columns": columns, "rows": rows}));
    }

    /// Waits until that holds; says what was waited for if it does not come about.
    pub async fn wait(
        &self,
        what: &str,
        mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while !holds().await? {
            if start.elapsed() > self.patience {
                bail!("waited for {} s in vain: {what}", self.patience.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits until the cluster is as wished; says what was waited for if it does not get there.
    pub async fn until(&self, what: &str, wished: impl Fn(&Snapshot) -> bool) -> anyhow::Result<Snapshot> {
        match self.follow.until(self.patience, wished).await {
            Some(snapshot) => Ok(snapshot),
            None => bail!("waited for {} s in vain: {what}", self.patience.as_secs()),
        }
    }

    /// Applies an object, as `oc apply` does.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<DynamicObject> {
        let object: DynamicObject =
            serde_json::from_value(object.clone()).context("not a Kubernetes object")?;
        let name = object.metadata.name.clone().context("the object has no metadata.name")?;
        let api = self.api(&object).await?;
        let patch = Patch::Apply(&object);
        api.patch(&name, &PatchParams::apply("kubectl").force(), &patch)
            .await
            .with_context(|| format!("cannot apply {name}"))
    }

    /// Merges a patch into an object of a cluster-scoped kind.
    pub async fn merge<K>(&self, name: &str, patch: Value) -> anyhow::Result<()>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let changed = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        changed.map(drop).with_context(|| format!("cannot patch {name}"))
    }

    async fn api(&self, object: &DynamicObject) -> anyhow::Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("the object has no apiVersion and kind")?;
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let kind = kube::api::GroupVersionKind::gvk(group, version, &types.kind);
        let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &kind)
            .await
            .with_context(|| format!("the cluster does not know {} {}", types.api_version, types.kind))?;
        Ok(match (&object.metadata.namespace, capabilities.scope) {
            (_, Scope::Cluster) => Api::all_with(self.client.clone(), &resource),
            (Some(namespace), _) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            (None, _) => Api::default_namespaced_with(self.client.clone(), &resource),
        })
    }
}

/// Without colours: for scripts.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// The definitions that a person installs with `kubectl apply -k deploy/`.
async fn install_crds(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in osc_api::crds() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let patch = Patch::Apply(&crd);
        api.patch(&name, &PatchParams::apply("kubectl").force(), &patch)
            .await
            .with_context(|| format!("cannot install CustomResourceDefinition {name}"))?;
    }
    Ok(())
}

fn start_operator(
    cluster: &Cluster,
    cloud: &Memory,
    cancel: &CancellationToken,
) -> anyhow::Result<JoinHandle<Result<(), osc_operator::Error>>> {
    let client = cluster.server().client_named("osc-operator")?;
    let image = |name: &str| Some(format!("quay.io/openshift-sandboxed-containers/{name}:demo"));
    let options = osc_operator::Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: image("osc-monitor"),
        agent_image: image("osc-node"),
        peer_pods: PeerPodsOptions {
            adaptor_image: image("osc-cloud-api-adaptor"),
            webhook_image: image("osc-webhook"),
            image_tool_image: image("osc-podvm-image"),
            pod_vm_image: image("osc-podvm"),
            ..PeerPodsOptions::default()
        },
        ..osc_operator::Options::default()
    };
    // The operator's time is the cluster's.
    let clock = cluster.clock();
    let speed = clock.speed();
    let clock = Arc::new(osc_operator::SimulatedTime::new(move || clock.now(), speed));
    let (clouds, metrics) = (Arc::new(cloud.clone()), Metrics::default());
    Ok(tokio::spawn(osc_operator::run_with_clouds(client, options, clock, metrics, clouds, cancel.clone())))
}

fn write_kubeconfig(arguments: &Arguments, text: &str) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    let (file, temporary) = if let Some(file) = &arguments.kubeconfig_out {
        (file.clone(), None)
    } else {
        let directory = std::env::temp_dir().join(format!("osc-demo-{}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        (directory.join("kubeconfig"), Some(directory))
    };
    std::fs::write(&file, text)
        .with_context(|| format!("cannot write the kubeconfig to {}", file.display()))?;
    Ok((file, temporary))
}

/// Reads a manifest: one YAML document.
pub fn read_manifest(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read {}; run the demo from the root of the source tree, or name a file with -f",
            file.display()
        )
    })?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML document", file.display()))
}

/// Simulated time since the beginning, as `h:mm:ss`.
fn elapsed(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
