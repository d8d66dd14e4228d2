//! A cluster, operators that can be killed, and a user.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use osc_api::peerpods::{self, VM_RESOURCE};
use osc_api::{KataConfig, KataConfigStatus, names};
use osc_cloud::memory::Memory;
use osc_devcluster::sim::adaptor::Adaptor;
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::program::Program;
use osc_devcluster::{Clock, Cluster, ClusterConfig, Contents};
use osc_operator::metrics::Metrics;
use osc_operator::options::{BindAddress, PeerPodsOptions};
use osc_operator::{Error, Options};
use osc_stage::{CloudMachines, ImageFaults, ImageTool};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{End, lasting};

/// User agent of every operator.
pub const OPERATOR: &str = "osc-operator";

/// The KataConfig of every scenario.
pub const NAME: &str = "example-kataconfig";

/// How long anything may take, in simulated time.
const PATIENCE: Duration = Duration::from_hours(72);

/// So long without a write is rest: whatever is tried again is tried again sooner.
const QUIET: Duration = Duration::from_mins(30);

/// What a user waited for did not come.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("waited in vain: {what}; the status is {status}")]
pub struct Stuck {
    /// What was waited for.
    pub what: String,
    /// The status of the KataConfig.
    pub status: String,
}

/// Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Rig {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    client: Client,
    clock: Arc<OperatorClock>,
    operators: Mutex<BTreeMap<String, JoinHandle<Result<(), Error>>>>,
    metrics: Metrics,
    satisfied: CancellationToken,
    cloud: Memory,
    image_faults: ImageFaults,
    /// Names of the objects that were there at first, and of those that people made since.
    known: Mutex<BTreeSet<String>>,
}

/// The operator's clock: the cluster's, and wrong by as much as somebody sets it wrong.
struct OperatorClock {
    clock: Clock,
    wrong_by_seconds: AtomicI64,
}

impl osc_operator::Clock for OperatorClock {
    fn now(&self) -> Timestamp {
        let wrong = SignedDuration::from_secs(self.wrong_by_seconds.load(Ordering::Relaxed));
        self.clock.now().saturating_add(wrong).unwrap_or(Timestamp::MAX)
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        duration.try_into().unwrap_or_default()
    }
}

impl Rig {
    /// A cluster with the definition of KataConfig and one operator.
    pub async fn start(contents: Contents, seed: u64) -> Self {
        let origin = "2026-01-01T00:00:00Z".parse().unwrap();
        let (cloud, image_faults) = (Memory::new(), ImageFaults::default());
        let programs: Vec<Arc<dyn Program>> = vec![
            Arc::new(Adaptor::new(Arc::new(CloudMachines::new(cloud.clone())))),
            Arc::new(ImageTool::new(cloud.clone(), image_faults.clone())),
        ];
        let config = ClusterConfig {
            contents,
            listen: None,
            origin: Some(origin),
            seed,
            programs,
            ..ClusterConfig::default()
        };
        let cluster = Cluster::start(config).await.unwrap();
        let definitions = osc_api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
        cluster.server().load(definitions.collect()).unwrap();
        let known = lasting(&cluster.server().objects()).into_keys().collect();
        let client = cluster.server().client_named("user").unwrap();
        let clock = Arc::new(OperatorClock { clock: cluster.clock(), wrong_by_seconds: AtomicI64::new(0) });
        let rig = Self {
            inner: Arc::new(Inner {
                cluster,
                client,
                clock,
                operators: Mutex::default(),
                metrics: Metrics::default(),
                satisfied: CancellationToken::new(),
                cloud,
                image_faults,
                known: Mutex::new(known),
            }),
        };
        rig.start_operator("first", false);
        rig
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Where pod VMs and their images are.
    pub fn cloud(&self) -> &Memory {
        &self.inner.cloud
    }

    /// Lets image jobs fail.
    pub fn image_faults(&self) -> &ImageFaults {
        &self.inner.image_faults
    }

    /// A client of one who may do everything.
    pub(super) fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// Notes that a person made an object, by kind and name.
    pub(super) fn is_of_people(&self, name: &str) {
        self.inner.known.lock().unwrap().insert(name.to_owned());
    }

    /// Names of the objects that were there at first, and of those that people made since.
    pub(super) fn known_objects(&self) -> BTreeSet<String> {
        self.inner.known.lock().unwrap().clone()
    }

    /// The object of that kind and name, wherever it is.
    pub fn find(&self, kind: &str, name: &str) -> Option<Arc<Value>> {
        let objects = self.cluster().server().objects();
        objects.into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Waits until the workers have room for so many pod VMs, in the order of their names.
    pub async fn until_room(&self, room: &[&str]) -> Result<(), Stuck> {
        self.until(&format!("room {room:?}"), |_| {
            room.iter().enumerate().all(|(index, room)| {
                let node = self.find("Node", &format!("worker-{index}"));
                node.is_some_and(|node| node["status"]["capacity"][VM_RESOURCE] == *room)
            })
        })
        .await
    }

    /// What the operators count, all of them together.
    pub fn metrics(&self) -> String {
        self.inner.metrics.text().unwrap()
    }

    /// Starts an operator of that identity.
    pub fn start_operator(&self, identity: &str, leader_elect: bool) {
        let options = Options {
            metrics_bind_address: BindAddress(None),
            monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
            agent_image: Some("quay.io/test/node@sha256:0".to_owned()),
            identity: identity.to_owned(),
            leader_elect,
            peer_pods: peer_pods_options(),
            ..Options::default()
        };
        let client = self.cluster().server().client_named(&format!("{OPERATOR} {identity}")).unwrap();
        let operator = osc_operator::run_with_clouds(
            client,
            options,
            self.inner.clock.clone(),
            self.inner.metrics.clone(),
            Arc::new(self.cloud().clone()),
            CancellationToken::new(),
        );
        self.inner.operators.lock().unwrap().insert(identity.to_owned(), tokio::spawn(operator));
    }

    /// Kills an operator: whatever it was about to do does not happen.
    pub async fn kill_operator(&self, identity: &str) {
        let task = self.inner.operators.lock().unwrap().remove(identity);
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// Says that the people of the scenario have what they wanted.
    pub fn be_satisfied(&self) {
        self.inner.satisfied.cancel();
    }

    /// Waits until the people of the scenario have what they wanted.
    pub async fn satisfied(&self) {
        self.inner.satisfied.cancelled().await;
    }

    /// Sets the operators' clock wrong.
    pub fn set_clock_wrong(&self, seconds: i64) {
        self.inner.clock.wrong_by_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Creates the KataConfig.
    pub async fn create(&self, spec: Value) {
        let resource = ApiResource::erase::<KataConfig>(&());
        let object = DynamicObject::new(NAME, &resource).data(json!({"spec": spec}));
        let api: Api<DynamicObject> = Api::all_with(self.inner.client.clone(), &resource);
        persist(|| async { api.create(&PostParams::default(), &object).await.map(drop) }).await;
    }

    /// Changes the KataConfig's spec.
    pub async fn change(&self, spec: Value) {
        self.merge::<KataConfig>(NAME, json!({"spec": spec})).await;
    }

    /// Deletes the KataConfig.
    pub async fn delete(&self) {
        let api: Api<KataConfig> = Api::all(self.inner.client.clone());
        persist(|| async { api.delete(NAME, &DeleteParams::default()).await.map(drop) }).await;
    }

    /// Merge-patches a cluster-scoped object.
    pub async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.inner.client.clone());
        let patch = Patch::Merge(patch);
        persist(|| async { api.patch(name, &PatchParams::default(), &patch).await.map(drop) }).await;
    }

    /// Labels a node.
    pub async fn label_node(&self, node: &str, key: &str, value: &str) {
        self.merge::<Node>(node, json!({"metadata": {"labels": {key: value}}})).await;
    }

    /// Annotates a node; nothing as value removes the annotation.
    pub async fn annotate_node(&self, node: &str, key: &str, value: Option<&str>) {
        self.merge::<Node>(node, json!({"metadata": {"annotations": {key: value}}})).await;
    }

    /// Creates a pod, of a runtime class or none, that runs until it is deleted.
    pub async fn create_pod(&self, name: &str, runtime_class: Option<&str>) {
        let pod = json!({
            "metadata": {"name": name, "annotations": {annotations::SCRIPT: "run"}},
            "spec": {"runtimeClassName": runtime_class, "containers": [{"name": "c", "image": "i"}]},
        });
        let pods: Api<Pod> = Api::namespaced(self.inner.client.clone(), "default");
        let pod = serde_json::from_value(pod).unwrap();
        persist(|| async { pods.create(&PostParams::default(), &pod).await.map(drop) }).await;
    }

    /// Deletes that pod.
    pub async fn delete_pod(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.inner.client.clone(), "default");
        persist(|| async { pods.delete(name, &DeleteParams::default()).await.map(drop) }).await;
    }

    /// The status of the KataConfig; nothing when there is no KataConfig.
    pub fn status(&self) -> Option<KataConfigStatus> {
        // Looked up in the store: a question through the API every few seconds would be most of the traffic.
        let objects = self.cluster().server().objects();
        let found = objects
            .iter()
            .find(|object| object["kind"] == "KataConfig" && object["metadata"]["name"] == NAME)?;
        Some(serde_json::from_value(found["status"].clone()).unwrap_or_default())
    }

    /// Waits until the KataConfig is as wished.
    pub async fn until(
        &self,
        what: &str,
        wished: impl Fn(Option<&KataConfigStatus>) -> bool,
    ) -> Result<(), Stuck> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wished(status.as_ref()) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let status = serde_json::to_string(&status).unwrap();
                return Err(Stuck { what: what.to_owned(), status });
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// Waits until a condition is as wished and has been so for some minutes: what came before is told no more.
    pub async fn until_condition(&self, type_: &str, status: &str, reason: &str) -> Result<(), Stuck> {
        let wished = |found: Option<&KataConfigStatus>| {
            let condition = found.and_then(|found| found.condition(type_));
            condition.is_some_and(|c| c.status == status && c.reason == reason)
        };
        loop {
            self.until(&format!("{type_}={status} {reason}"), wished).await?;
            tokio::time::sleep(Duration::from_mins(10)).await;
            if wished(self.status().as_ref()) {
                return Ok(());
            }
        }
    }

    /// Waits until these nodes and no others have Kata.
    pub async fn until_installed(&self, nodes: &[&str]) -> Result<(), Stuck> {
        self.until(&format!("installed on {nodes:?}"), |status| {
            status.is_some_and(|status| {
                let ready = status.condition("Ready").is_some_and(|ready| ready.status == "True");
                let others = &status.kata_nodes;
                ready
                    && others.installed == nodes
                    && others.uninstalling.is_empty()
                    && others.waiting_to_uninstall.is_empty()
            })
        })
        .await
    }

    /// Waits until every node of a kind, by the beginning of its name, has rebooted that often.
    pub async fn until_reboots(&self, nodes: &str, count: u32) -> Result<(), Stuck> {
        self.until(&format!("{count} reboots of each {nodes}"), |_| {
            self.reboots().iter().all(|(name, found)| !name.starts_with(nodes) || *found >= count)
        })
        .await
    }

    /// Waits until there is no KataConfig.
    pub async fn until_gone(&self) -> Result<(), Stuck> {
        self.until("gone", |status| status.is_none()).await
    }

    /// Waits until nobody has written anything for a long time.
    pub async fn rest(&self) -> Result<(), Stuck> {
        // Leases are renewed as long as there is more than one operator.
        let writes = || {
            let log = self.cluster().server().requests().snapshot();
            log.iter().filter(|record| record.is_write() && record.request.resource != "leases").count()
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let before = writes();
            tokio::time::sleep(QUIET).await;
            if writes() == before {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let status = serde_json::to_string(&self.status()).unwrap();
                return Err(Stuck { what: "nobody writes any more".to_owned(), status });
            }
        }
    }

    /// How things are now.
    pub fn end(&self) -> End {
        End { reboots: self.reboots(), objects: lasting(&self.cluster().server().objects()) }
    }

    /// How often each node has rebooted.
    pub fn reboots(&self) -> BTreeMap<String, u32> {
        let objects = self.cluster().server().objects();
        let reboots = objects.iter().filter(|object| object["kind"] == "Node").map(|node| {
            let count = node["metadata"]["annotations"][annotations::REBOOTS].as_str().unwrap_or("0");
            (
                node["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                count.parse().unwrap_or_default(),
            )
        });
        reboots.collect()
    }

    /// What must hold at every moment: while anything of ours is there, the KataConfig is there and held by its
    /// finalizer.
    pub fn violations(&self) -> Vec<String> {
        let objects = self.cluster().server().objects();
        let held = objects.iter().any(|object| {
            let finalizers = object["metadata"]["finalizers"].as_array();
            object["kind"] == "KataConfig"
                && finalizers.is_some_and(|all| all.iter().any(|one| one == names::KATACONFIG_FINALIZER))
        });
        let ours = objects.iter().filter(|object| is_ours(object));
        let lost = |object: &Arc<Value>| {
            format!(
                "{} {} is there and no finalizer holds the KataConfig",
                object["kind"], object["metadata"]["name"]
            )
        };
        if held { Vec::new() } else { ours.map(lost).collect() }
    }
}

/// Images of peer pods.
pub fn peer_pods_options() -> PeerPodsOptions {
    let image = |name: &str| Some(format!("quay.io/test/{name}:1.12"));
    PeerPodsOptions {
        adaptor_image: image("osc-cloud-api-adaptor"),
        webhook_image: image("osc-webhook"),
        image_tool_image: image("osc-podvm-image"),
        pod_vm_image: image("osc-podvm-payload"),
        ..PeerPodsOptions::default()
    }
}

/// Tries until the API server can be reached: people do.
pub(super) async fn persist<F: Future<Output = Result<(), kube::Error>>>(request: impl Fn() -> F) {
    loop {
        match request().await {
            Ok(()) => return,
            Err(kube::Error::Service(_)) => tokio::time::sleep(Duration::from_secs(10)).await,
            Err(error) => panic!("the scenario cannot be played: {error}"),
        }
    }
}

fn is_ours(object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["kind"].as_str().unwrap_or_default() {
        "MachineConfig" => name == names::EXTENSION_MACHINE_CONFIG,
        "MachineConfigPool" => name == names::KATA_POOL,
        "ContainerRuntimeConfig" => name == names::CONTAINER_RUNTIME_CONFIG,
        "RuntimeClass" => names::RUNTIME_CLASSES.contains(&name),
        "DaemonSet" => {
            [names::MONITOR, peerpods::ADAPTOR].contains(&name)
                || names::DAEMON_SET_MODE_DAEMON_SETS.contains(&name)
        }
        "Deployment" => name == peerpods::webhook::DEPLOYMENT,
        "MutatingWebhookConfiguration" => name == peerpods::webhook::CONFIGURATION,
        "Job" => peerpods::IMAGE_JOBS.contains(&name),
        "Node" => [names::KATA_NODE_ROLE, names::DAEMON_SET_MODE_LABEL]
            .iter()
            .any(|label| object["metadata"]["labels"].get(*label).is_some()),
        _ => false,
    }
}
