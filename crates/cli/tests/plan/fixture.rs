//! Clusters in files, and the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DynamicObject, PostParams};
use osc_api::{KataConfig, names};
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::{Clock, Cluster, ClusterConfig, Contents};
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const NAME: &str = "example-kataconfig";

pub fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// Runs the command in `directory`.
pub fn osc(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc"));
    command.args(arguments).current_dir(directory).env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command.output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn workers(workers: u32) -> Topology {
    Topology { workers, ..Topology::default() }
}

/// What a new cluster with the operator's manifests has.
pub fn fresh(topology: &Topology) -> Vec<Value> {
    let definitions = osc_api::crds().into_iter().map(|definition| serde_json::to_value(definition).unwrap());
    topology.objects(now()).into_iter().chain(definitions).collect()
}

/// A directory with a KataConfig and a snapshot.
pub struct Files {
    pub directory: tempfile::TempDir,
}

impl Files {
    pub fn new(objects: &[Value], spec: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let list = json!({
            "apiVersion": "v1", "kind": "List",
            "snapshot": {"cluster": "https://api.example.com:6443/", "taken": now()},
            "items": objects,
        });
        std::fs::write(directory.path().join("cluster.json"), list.to_string()).unwrap();
        std::fs::write(directory.path().join("kataconfig.yaml"), kata_config(spec)).unwrap();
        Self { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// Runs the command on the snapshot.
    pub fn osc(&self, arguments: &[&str]) -> Output {
        osc(self.directory.path(), &[arguments, &["--snapshot", "cluster.json"]].concat())
    }

    /// The plan as JSON, and its exit code.
    pub fn plan(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self.osc(&[&["plan", "-o", "json"], arguments].concat());
        let code = output.status.code().unwrap();
        assert!(matches!(code, 0 | 2), "{}", stderr(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), code)
    }
}

pub fn kata_config(spec: &Value) -> String {
    json!({"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "metadata": {"name": NAME}, "spec": spec})
        .to_string()
}

/// The names of the nodes that reboot, in their order.
pub fn order(plan: &Value) -> Vec<&str> {
    plan["reboots"].as_array().unwrap().iter().map(|reboot| reboot["node"].as_str().unwrap()).collect()
}

/// The reasons of the findings of that severity.
pub fn reasons<'a>(plan: &'a Value, severity: &str) -> Vec<&'a str> {
    let findings = plan["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| finding["reason"].as_str().unwrap())
        .collect()
}

struct SimulatedTime(Clock);

impl osc_operator::Clock for SimulatedTime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        self.0.real_duration(duration.try_into().unwrap_or_default())
    }
}

/// Starts the operator on a cluster.
pub fn operator(cluster: &Cluster) -> CancellationToken {
    let cancel = CancellationToken::new();
    let options = osc_operator::Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
        ..osc_operator::Options::default()
    };
    let client = cluster.server().client_named("osc-operator").unwrap();
    let clock = Arc::new(SimulatedTime(cluster.clock()));
    tokio::spawn(osc_operator::run(client, options, clock, Metrics::default(), cancel.clone()));
    cancel
}

pub async fn create(client: &kube::Client, spec: &Value) {
    let object: DynamicObject = serde_json::from_str(&kata_config(spec)).unwrap();
    let resource = kube::api::ApiResource::erase::<KataConfig>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// What a cluster has after the operator installed Kata on it; in simulated time.
pub fn installed(objects: Vec<Value>, spec: &Value) -> Vec<Value> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let contents = Contents::Objects(objects);
        let config =
            ClusterConfig { contents, listen: None, origin: Some(now()), ..ClusterConfig::default() };
        let cluster = Cluster::start(config).await.unwrap();
        operator(&cluster);
        create(&cluster.server().client_named("test").unwrap(), spec).await;
        tokio::time::sleep(Duration::from_hours(48)).await;
        let known = ["Event", "Lease"];
        let objects = cluster.server().objects();
        objects
            .iter()
            .filter(|object| !known.iter().any(|kind| object["kind"] == *kind))
            .map(|object| (**object).clone())
            .collect()
    })
}

/// The object, to be changed.
pub fn find<'a>(objects: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    let found =
        objects.iter_mut().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

pub fn pause(objects: &mut [Value], pool: &str) {
    find(objects, "MachineConfigPool", pool)["spec"]["paused"] = json!(true);
}

pub fn label(objects: &mut [Value], node: &str, key: &str, value: &str) {
    find(objects, "Node", node)["metadata"]["labels"][key] = json!(value);
}

/// A running pod of a ReplicaSet, with requests.
pub fn pod(name: &str, node: &str, cpu: &str, memory: &str) -> Value {
    let app = name.rsplit_once('-').map_or(name, |(app, _)| app);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}, "uid": format!("uid-{name}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": format!("rs-{app}"), "controller": true}]},
        "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A budget for the pods of an app.
pub fn budget(app: &str, needed: usize, present: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": "shop", "generation": 1},
        "spec": {"minAvailable": needed, "selector": {"matchLabels": {"app": app}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": present - needed, "currentHealthy": present,
            "desiredHealthy": needed, "expectedPods": present},
    })
}

/// Marks the selected nodes, for selectors.
pub fn selector() -> Value {
    json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "true"}}})
}

/// The role of the Kata nodes.
pub const ROLE: &str = names::KATA_NODE_ROLE;
