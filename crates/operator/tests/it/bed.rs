//! An embedded cluster with the operator working on it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use osc_api::{KataConfig, KataConfigStatus};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::{Clock, Cluster, ClusterConfig};
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use osc_operator::{Error, Options};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Simulated seconds in a real one: an installation on three nodes takes a few seconds.
pub const SPEED: f64 = 600.0;

/// User agent of the operator under test.
pub const OPERATOR: &str = "osc-operator";

/// How long anything may take, in real time. Generous: two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Bed {
    pub cluster: Cluster,
    pub client: Client,
    operators: Vec<(CancellationToken, JoinHandle<Result<(), Error>>)>,
}

pub struct SimulatedTime(pub Clock);

impl osc_operator::Clock for SimulatedTime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        self.0.real_duration(duration.try_into().unwrap_or_default())
    }
}

pub fn options() -> Options {
    Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
        ..Options::default()
    }
}

impl Bed {
    /// A cluster with the definition of KataConfig and the operator.
    pub async fn start(topology: Topology) -> Self {
        let mut bed = Self::without_operator(topology).await;
        bed.install_crd().await;
        bed.run_operator(options());
        bed
    }

    /// A cluster on which nothing of ours runs or is known.
    pub async fn without_operator(topology: Topology) -> Self {
        // Logs of a failing test: RUST_LOG=osc_operator=debug cargo test ... -- --nocapture
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let config = ClusterConfig { contents: topology.into(), speed: SPEED, ..ClusterConfig::default() };
        let cluster = Cluster::start(config).await.unwrap();
        let client = cluster.server().client_named("test").unwrap();
        Self { cluster, client, operators: Vec::new() }
    }

    pub async fn install_crd(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in osc_api::crds() {
            api.create(&PostParams::default(), &crd).await.unwrap();
        }
    }

    pub fn run_operator(&mut self, options: Options) {
        let cancel = CancellationToken::new();
        let client = self.cluster.server().client_named(OPERATOR).unwrap();
        let clock = Arc::new(SimulatedTime(self.cluster.clock()));
        let task =
            tokio::spawn(osc_operator::run(client, options, clock, Metrics::default(), cancel.clone()));
        self.operators.push((cancel, task));
    }

    /// Stops the operator that was started first and has not been stopped.
    pub async fn stop_operator(&mut self) {
        let (cancel, task) = self.operators.remove(0);
        cancel.cancel();
        task.await.unwrap().unwrap();
    }

    pub async fn stop(mut self) {
        while !self.operators.is_empty() {
            self.stop_operator().await;
        }
        self.cluster.stop().await;
    }

    pub fn kata_configs(&self) -> Api<KataConfig> {
        Api::all(self.client.clone())
    }

    /// Creates a KataConfig with that spec, as it is: `null`, too.
    pub async fn create(&self, name: &str, spec: Value) {
        let resource = ApiResource::erase::<KataConfig>(&());
        let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.kata_configs().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn status(&self, name: &str) -> Option<KataConfigStatus> {
        self.kata_configs().get_opt(name).await.unwrap()?.status
    }

    /// Waits until the KataConfig is as wished; `None`: it is gone.
    pub async fn until(&self, name: &str, what: &str, wished: impl Fn(Option<&KataConfigStatus>) -> bool) {
        let arrived = eventually(|| async {
            let found = self.kata_configs().get_opt(name).await.unwrap();
            match &found {
                None => wished(None),
                Some(found) => wished(Some(&found.status.clone().unwrap_or_default())),
            }
        });
        if !arrived.await {
            let status = serde_json::to_string_pretty(&self.status(name).await).unwrap();
            panic!("waited in vain for {name}: {what}; its status is {status}");
        }
    }

    pub async fn installed(&self, name: &str) {
        self.until(name, "installed", |status| status.is_some_and(|status| is(status, "Ready", "True")))
            .await;
    }

    pub async fn gone(&self, name: &str) {
        let arrived = eventually(|| async { self.kata_configs().get_opt(name).await.unwrap().is_none() });
        assert!(arrived.await, "waited in vain for {name} to go: {:?}", self.status(name).await);
    }

    pub async fn nodes(&self) -> Vec<Node> {
        Api::all(self.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    /// How often each node rebooted, of those that did.
    pub async fn reboots(&self) -> Vec<(String, String)> {
        let nodes = self.nodes().await;
        let count =
            |node: &Node| Some((node.name_any(), node.annotations().get(annotations::REBOOTS)?.clone()));
        nodes.iter().filter_map(count).filter(|(_, count)| count != "0").collect()
    }
}

/// Status and reason of a condition.
pub fn reason<'a>(status: &'a KataConfigStatus, type_: &str) -> (&'a str, &'a str) {
    status.condition(type_).map_or(("", ""), |found| (found.status.as_str(), found.reason.as_str()))
}

pub fn message<'a>(status: &'a KataConfigStatus, type_: &str) -> &'a str {
    status.condition(type_).map_or("", |found| found.message.as_str())
}

pub fn is(status: &KataConfigStatus, type_: &str, value: &str) -> bool {
    reason(status, type_).0 == value
}

/// Whether it becomes true within the patience of these tests.
pub async fn eventually<F: Future<Output = bool>>(check: impl Fn() -> F) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if check().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A regular cluster with that many workers.
pub fn workers(workers: u32) -> Topology {
    Topology { workers, ..Topology::default() }
}
