//! What a story is played on: a cluster with simulated nodes, `deploy/` applied, and the operator at work.
//!
//! One bed for both servers: what a story sees of them is the API. On a real control plane the operator has a token of
//! its ServiceAccount and no other rights.

mod server;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use osc_api::{KataConfig, KataConfigStatus, names};
use osc_cloud::memory::Memory;
use osc_devcluster::server::Services;
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::sim::{self, SimError, SimOptions, Timing, annotations};
use osc_devcluster::{Clock, server as embedded};
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use osc_operator::{Error, Options, SimulatedTime};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control_plane::ControlPlane;
use crate::simulation::peer_pods_options;
pub use server::{On, Server};

/// The KataConfig of most stories.
pub const NAME: &str = "example-kataconfig";

/// User agent of the operator in the embedded server's request log.
pub const OPERATOR: &str = names::OPERATOR_NAME;

/// How long anything may take, in real time. Generous: the machine may be busy with other stories.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long, in real time, the simulated Machine Config Operator takes to render machine configs after a change, and to
/// notice one. The operator takes real time between two writes, too; as in a real cluster, that shall be too short for
/// what is in between to be rolled out.
const RENDER: Duration = Duration::from_millis(400);
const SYNC_DELAY: Duration = Duration::from_millis(70);

/// Kinds of `deploy/` that are left out: the monitoring stack's definitions are not installed on these clusters, the
/// operator's pod is a task here, which serves webhooks only in the stories about them, and policies in CEL are not known
/// to the embedded server and to the release of the real one.
const LEFT_OUT: [&str; 6] = [
    "ServiceMonitor",
    "PrometheusRule",
    "Deployment",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Something that runs until it is told to stop.
struct Task<E> {
    cancel: CancellationToken,
    handle: JoinHandle<Result<(), E>>,
}

impl<E: std::error::Error> Task<E> {
    async fn stop(self) {
        self.cancel.cancel();
        self.handle.await.unwrap().unwrap();
    }
}

/// A cluster to play a story on.
pub struct Bed {
    /// The API server.
    pub server: Server,
    /// A client of one who may do everything.
    pub client: Client,
    /// Where pod VMs and their images are.
    pub cloud: Memory,
    clock: Clock,
    simulation: Option<Task<SimError>>,
    operators: Vec<Task<Error>>,
}

/// The documents of `deploy/osc.yaml`.
pub fn manifests() -> Vec<Value> {
    let path = crate::root().join("deploy/osc.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Applies `deploy/osc.yaml`, as `kubectl apply` does, but for these kinds. As there, an object whose namespace does
/// not exist keeps nothing else from being applied; such objects are told.
pub async fn apply_manifests(client: &Client, left_out: &[&str]) -> Vec<String> {
    let mut homeless = Vec::new();
    for object in manifests() {
        let kind = object["kind"].as_str().unwrap();
        if LEFT_OUT.contains(&kind) || left_out.contains(&kind) {
            continue;
        }
        homeless.extend(apply(client, object).await);
    }
    homeless
}

/// Applies an object, as `kubectl apply` does. Says so if its namespace does not exist.
pub async fn apply(client: &Client, object: Value) -> Option<String> {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let types = object.types.clone().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.name_any();
    match api.patch(&name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object)).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) if status.message.starts_with("namespaces ") => {
            Some(format!("{} {name}: {}", types.kind, status.message))
        }
        Err(error) => panic!("cannot apply {} {name}: {error}", types.kind),
    }
}

/// The operator's settings as its Deployment has them, but for addresses and images.
pub fn options() -> Options {
    Options {
        leader_elect: true,
        metrics_bind_address: BindAddress(None),
        monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
        agent_image: Some("quay.io/test/node@sha256:0".to_owned()),
        peer_pods: peer_pods_options(),
        ..Options::default()
    }
}

impl Bed {
    /// A cluster on which nothing of ours runs or is known.
    pub async fn bare(on: On, topology: &Topology) -> Self {
        let (server, clock) = Server::start(on, topology).await;
        let cancel = CancellationToken::new();
        let (render, sync_delay) = (RENDER.mul_f64(on.speed()), SYNC_DELAY.mul_f64(on.speed()));
        let timing = Timing { render, sync_delay, ..Timing::default() };
        let cloud = Memory::new();
        // No API server but the embedded one finds the webhook: there is no network behind Services here.
        let services = match &server {
            Server::Embedded(server) => server.services().clone(),
            Server::Real(_) => Services::default(),
        };
        let programs = osc_stage::programs(&cloud, &services);
        let options = SimOptions { clock: clock.clone(), timing, programs, ..SimOptions::default() };
        let handle = tokio::spawn(sim::run(server.client("osc-simulation"), options, cancel.clone()));
        let client = server.client("test");
        let simulation = Some(Task { cancel, handle });
        Self { server, client, cloud, clock, simulation, operators: Vec::new() }
    }

    /// Applies `deploy/osc.yaml` but for these kinds: see [`apply_manifests`].
    pub async fn install_without(&self, left_out: &[&str]) -> Vec<String> {
        apply_manifests(&self.server.client("kubectl"), left_out).await
    }

    /// Applies all of `deploy/osc.yaml` that these clusters know, and waits until KataConfigs are served: a moment after
    /// their definition was created.
    pub async fn install(&self) -> Vec<String> {
        let homeless = self.install_without(&[]).await;
        let served = || async { self.kata_configs().list(&ListParams::default()).await.is_ok() };
        assert!(eventually(served).await, "the definition of KataConfig is not served");
        homeless
    }

    /// Starts an operator, beside those that run already.
    pub async fn run_operator(&mut self, options: Options) {
        let cancel = CancellationToken::new();
        let client = self.server.operator_client().await;
        let (clock, speed) = (self.clock.clone(), self.clock.speed());
        let clock = Arc::new(SimulatedTime::new(move || clock.now(), speed));
        let cloud = Arc::new(self.cloud.clone());
        let operator =
            osc_operator::run_with_clouds(client, options, clock, Metrics::default(), cloud, cancel.clone());
        self.operators.push(Task { cancel, handle: tokio::spawn(operator) });
    }

    /// Stops the operator that was started first and has not been stopped, as SIGTERM does.
    pub async fn stop_operator(&mut self) {
        self.operators.remove(0).stop().await;
    }

    /// Ends what happens on nodes and in pools.
    pub async fn stop_simulation(&mut self) {
        if let Some(simulation) = self.simulation.take() {
            simulation.stop().await;
        }
    }

    /// Stops everything but the server, which is handed out.
    pub async fn stop_clients(mut self) -> Server {
        while !self.operators.is_empty() {
            self.stop_operator().await;
        }
        self.stop_simulation().await;
        self.server
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.stop_clients().await.stop().await;
    }

    /// The embedded server, in a story that is told on it alone.
    pub fn embedded(&self) -> &embedded::Server {
        match &self.server {
            Server::Embedded(server) => server,
            Server::Real(_) => panic!("this story is for the embedded server"),
        }
    }

    /// The control plane, in a story that is told on it alone.
    pub fn real(&self) -> &ControlPlane {
        match &self.server {
            Server::Real(plane) => plane,
            Server::Embedded(_) => panic!("this story is for a real control plane"),
        }
    }

    /// Sleeps for a simulated duration.
    pub async fn sleep(&self, simulated: Duration) {
        self.clock.sleep(simulated).await;
    }

    /// All KataConfigs.
    pub fn kata_configs(&self) -> Api<KataConfig> {
        Api::all(self.client.clone())
    }

    /// Creates a KataConfig with that spec, as it is: `null`, too.
    pub async fn create(&self, name: &str, spec: Value) {
        create(&self.client, name, spec).await.unwrap();
    }

    /// Merges a patch into an object of a cluster-scoped kind.
    pub async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks for the end of a KataConfig.
    pub async fn delete(&self, name: &str) {
        self.kata_configs().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The status of a KataConfig that there is.
    pub async fn status(&self, name: &str) -> KataConfigStatus {
        self.kata_configs().get(name).await.unwrap().status.unwrap_or_default()
    }

    /// Waits until the KataConfig is there and its status as wished.
    pub async fn until(&self, name: &str, what: &str, wished: impl Fn(&KataConfigStatus) -> bool) {
        let arrived = || async {
            let found = self.kata_configs().get_opt(name).await.unwrap();
            found.is_some_and(|found| wished(&found.status.unwrap_or_default()))
        };
        if !eventually(arrived).await {
            let status = self.kata_configs().get_opt(name).await.unwrap().map(|found| found.status);
            panic!(
                "waited in vain for {name}: {what}; found: {}",
                serde_json::to_string_pretty(&status).unwrap()
            );
        }
    }

    /// Waits until Kata is installed as the KataConfig says.
    pub async fn installed(&self, name: &str) {
        self.until(name, "installed", |status| is(status, "Ready", "True")).await;
    }

    /// Waits until a change of the KataConfig has begun to be carried out, and then until it has been.
    pub async fn updated(&self, name: &str) {
        self.until(name, "updating", |status| reason(status, "InProgress") == ("True", "Updating")).await;
        self.installed(name).await;
    }

    /// Waits until the KataConfig is gone.
    pub async fn gone(&self, name: &str) {
        let gone = || async { self.kata_configs().get_opt(name).await.unwrap().is_none() };
        let arrived = eventually(gone).await;
        assert!(arrived, "waited in vain for {name} to go: {:?}", self.status(name).await);
    }

    /// All nodes.
    pub async fn nodes(&self) -> Vec<Node> {
        Api::all(self.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    /// How often each node rebooted, of those that did.
    pub async fn reboots(&self) -> Vec<(String, u32)> {
        let count = |node: &Node| {
            let count = node.annotations().get(annotations::REBOOTS)?.parse().unwrap();
            (count > 0).then(|| (node.name_any(), count))
        };
        self.nodes().await.iter().filter_map(count).collect()
    }

    /// Fails if other nodes rebooted than these, or not as often.
    pub async fn assert_reboots(&self, expected: &[(&str, u32)]) {
        let found = self.reboots().await;
        let found: Vec<(&str, u32)> = found.iter().map(|(node, count)| (node.as_str(), *count)).collect();
        assert_eq!(found, expected, "reboots of each node");
    }

    /// Names of all objects of a cluster-scoped kind.
    pub async fn names_of<K>(&self) -> Vec<String>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let list = Api::<K>::all(self.client.clone()).list(&ListParams::default()).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect()
    }
}

/// Creates a KataConfig with that spec as whoever the client is.
pub async fn create(client: &Client, name: &str, spec: Value) -> Result<DynamicObject, kube::Error> {
    let resource = ApiResource::erase::<KataConfig>(&());
    let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.create(&PostParams::default(), &object).await
}

/// Status and reason of a condition.
pub fn reason<'a>(status: &'a KataConfigStatus, type_: &str) -> (&'a str, &'a str) {
    status.condition(type_).map_or(("", ""), |found| (found.status.as_str(), found.reason.as_str()))
}

/// Message of a condition.
pub fn message<'a>(status: &'a KataConfigStatus, type_: &str) -> &'a str {
    status.condition(type_).map_or("", |found| found.message.as_str())
}

/// Whether a condition has that status.
pub fn is(status: &KataConfigStatus, type_: &str, value: &str) -> bool {
    reason(status, type_).0 == value
}

/// Whether it becomes true within the patience of the stories.
pub async fn eventually<F: Future<Output = bool>>(check: impl Fn() -> F) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if check().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// A regular cluster with that many workers.
pub fn workers(workers: u32) -> Topology {
    Topology { workers, ..Topology::default() }
}
