//! A running cluster, and words to act on it and to wait for things.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, ResourceExt};
use osc_api::names;
use osc_api::openshift::{MachineConfig, MachineConfigPool};
use osc_devcluster::Clock;
use osc_devcluster::server::{Server, ServerConfig};
use osc_devcluster::sim::program::Program;
use osc_devcluster::sim::topology::{Kind, Topology};
use osc_devcluster::sim::{SimOptions, run};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    pub client: Client,
    pub options: SimOptions,
    pub server: Server,
    simulation: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Cluster {
    /// Ten minutes a second.
    pub async fn start(topology: Topology) -> Self {
        Self::start_at(topology, 600.0).await
    }

    pub async fn start_at(topology: Topology, speed: f64) -> Self {
        let mut cluster = Self::empty(speed).await;
        cluster.server.load(topology.objects(cluster.options.clock.now())).unwrap();
        cluster.resume();
        cluster
    }

    /// Plain Kubernetes with a namespace `demo`, in which these programs run.
    pub async fn with_programs(programs: Vec<Arc<dyn Program>>) -> Self {
        let mut cluster = Self::empty(600.0).await;
        cluster.options.programs = programs;
        let topology =
            Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), ..Topology::default() };
        cluster.server.load(topology.objects(cluster.options.clock.now())).unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        cluster.server.load(vec![namespace]).unwrap();
        cluster.resume();
        cluster
    }

    /// The objects of a kind in the namespace `demo`.
    pub fn demo<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "demo")
    }

    /// A server that knows nothing, and no simulation yet.
    pub async fn empty(speed: f64) -> Self {
        let clock = Clock::scaled(speed, Timestamp::now());
        let config = ServerConfig { clock: clock.clone(), ..ServerConfig::default() };
        let server = Server::start(config).await.unwrap();
        let client = server.client().unwrap();
        let options = SimOptions { clock, ..SimOptions::default() };
        Self { client, options, server, simulation: None }
    }

    /// Starts the simulation, again.
    pub fn resume(&mut self) {
        let cancel = CancellationToken::new();
        let (client, options, token) = (self.client.clone(), self.options.clone(), cancel.clone());
        let task = tokio::spawn(async move { run(client, options, token).await.unwrap() });
        self.simulation = Some((cancel, task));
    }

    /// Stops the simulation as a crash would.
    pub async fn stop(&mut self) {
        if let Some((cancel, task)) = self.simulation.take() {
            cancel.cancel();
            task.await.unwrap();
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    pub async fn create<K>(&self, api: &Api<K>, object: Value)
    where
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn delete<K>(&self, name: &str)
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn node(&self, name: &str) -> Node {
        self.api::<Node>().get(name).await.unwrap()
    }

    pub async fn pool(&self, name: &str) -> MachineConfigPool {
        self.api::<MachineConfigPool>().get(name).await.unwrap()
    }

    /// Workers, by name.
    pub async fn workers(&self) -> Vec<Node> {
        let list = ListParams::default().labels(names::WORKER_NODE_ROLE);
        self.api::<Node>().list(&list).await.unwrap().items
    }

    pub async fn annotate(&self, node: &str, key: &str, value: Option<&str>) {
        self.patch::<Node>(node, json!({"metadata": {"annotations": {key: value}}})).await;
    }

    pub async fn label(&self, node: &str, key: &str, value: Option<&str>) {
        self.patch::<Node>(node, json!({"metadata": {"labels": {key: value}}})).await;
    }

    /// The pool `kata-oc`, the machine config of its extension, and `nodes` as its members.
    pub async fn install_kata(&self, pool: Value, nodes: &[&str]) {
        self.create(&self.api::<MachineConfig>(), extension("sandboxed-containers")).await;
        for node in nodes {
            self.label(node, names::KATA_NODE_ROLE, Some("")).await;
        }
        self.create(&self.api::<MachineConfigPool>(), custom_pool("kata-oc", &pool)).await;
    }

    /// Polls until `holds` says so, for at most 30 real seconds.
    pub async fn until<F, Fut>(&self, what: &str, holds: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !holds().await {
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "waited in vain until {what}; nodes: {:#?}", self.summary().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a pool has rolled out to `machines` nodes.
    pub async fn until_updated(&self, name: &str, machines: i32) {
        self.until(&format!("pool {name} is updated"), || async {
            let pool = self.pool(name).await;
            let target = pool.spec.configuration.and_then(|configuration| configuration.name);
            pool.status.is_some_and(|status| {
                status.is_true("Updated")
                    && status.machine_count == machines
                    && status.configuration.and_then(|configuration| configuration.name) == target
                    && status.observed_generation == pool.metadata.generation
            })
        })
        .await;
    }

    /// Waits for some simulated time.
    pub async fn pass(&self, simulated: Duration) {
        self.options.clock.sleep(simulated).await;
    }

    async fn summary(&self) -> Vec<String> {
        let nodes = self.api::<Node>().list(&ListParams::default()).await.unwrap();
        nodes.iter().map(|node| format!("{} {:?}", node.name_any(), node.annotations())).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((cancel, _)) = &self.simulation {
            cancel.cancel();
        }
    }
}

/// A machine config that asks for an extension, for the pool `kata-oc`.
pub fn extension(name: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": names::EXTENSION_MACHINE_CONFIG, "labels": {names::MACHINE_CONFIG_ROLE: "kata-oc"}},
        "spec": {"config": {"ignition": {"version": "3.2.0"}}, "extensions": [name]},
    })
}

/// A pool that takes the workers' machine configs and its own. `more` goes into its spec.
pub fn custom_pool(name: &str, more: &Value) -> Value {
    let role = format!("{}{name}", names::NODE_ROLE_PREFIX);
    let expression = json!({"key": names::MACHINE_CONFIG_ROLE, "operator": "In", "values": [name, "worker"]});
    let mut pool = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfigPool",
        "metadata": {"name": name, "labels": {format!("{}{name}", names::POOL_LABEL_PREFIX): ""}},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [expression]},
            "nodeSelector": {"matchLabels": {role: ""}},
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        pool["spec"][field] = value.clone();
    }
    pool
}

pub fn annotation<'a>(node: &'a Node, key: &str) -> &'a str {
    node.annotations().get(key).map_or("", String::as_str)
}

pub fn reboots(node: &Node) -> u32 {
    annotation(node, osc_devcluster::sim::annotations::REBOOTS).parse().unwrap_or(0)
}

pub fn cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// Message of a pool's condition, if that is `True`.
pub fn condition(pool: &MachineConfigPool, type_: &str) -> Option<String> {
    let conditions = pool.status.iter().flat_map(|status| &status.conditions);
    conditions.filter(|c| c.type_ == type_ && c.status == "True").map(|c| c.message.clone()).next()
}
