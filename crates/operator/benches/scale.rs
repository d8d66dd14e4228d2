//! What large clusters cost: `cargo bench -p osc-operator` (a few minutes). Figures are in docs/performance.md.
//!
//! For each size it starts an embedded cluster in this process and the operator as a process of its own, installs Kata
//! on all workers (a tenth of them at a time), and measures:
//!
//! - writes of the operator a node, from the server's request log;
//! - peak memory of the operator's process, from the kernel;
//! - the time from a node's annotation change to the arrival of the new status at another client, with the simulation
//!   halted: two requests, two watch deliveries and a pass.

// A measurement that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use osc_api::openshift::MachineConfigPool;
use osc_api::{KataConfig, names};
use osc_devcluster::server::{Fault, FaultAction, Matcher};
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::{Cluster, ClusterConfig};
use serde_json::{Value, json};

const NAME: &str = "example-kataconfig";
const SPEED: f64 = 3600.0;
const SAMPLES: usize = 300;

struct Operator(Child);

impl Operator {
    fn start(kubeconfig: &std::path::Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_osc-operator"))
            .args(["--metrics-bind-address", "0"])
            .env("KUBECONFIG", kubeconfig)
            .env("RELATED_IMAGE_KATA_MONITOR", "monitor@sha256:0")
            .env("RUST_LOG", "error")
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the operator starts");
        Self(child)
    }

    /// Peak resident memory in MB, as the kernel counts it.
    fn peak_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this with --test: not the place for minutes of measuring.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:>6}  {:>10}  {:>12}  {:>11}  {:>11}  {:>11}",
        "nodes", "install", "writes/node", "peak memory", "p50", "p99"
    );
    for nodes in [100, 1_000, 5_000] {
        measure(nodes).await;
    }
}

async fn measure(nodes: u32) {
    let topology = Topology { workers: nodes, ..Topology::default() };
    let cluster =
        Cluster::start(ClusterConfig { contents: topology.into(), speed: SPEED, ..ClusterConfig::default() })
            .await
            .unwrap();
    let client = cluster.server().client_named("bench").unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in osc_api::crds() {
        crds.create(&PostParams::default(), &crd).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.server().kubeconfig().unwrap()).unwrap();
    let operator = Operator::start(&kubeconfig);

    let started = Instant::now();
    create(&client).await;
    let pools: Api<MachineConfigPool> = Api::all(client.clone());
    let faster = json!({"spec": {"maxUnavailable": "10%"}});
    while pools.patch(names::KATA_POOL, &PatchParams::default(), &Patch::Merge(&faster)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kata_configs: Api<KataConfig> = Api::all(client.clone());
    let ready = |object: Option<&KataConfig>| {
        object.and_then(|object| object.status.as_ref()).is_some_and(|status| {
            status.condition("Ready").is_some_and(|condition| condition.status == "True")
                && status.kata_nodes.ready_node_count == i64::from(nodes)
        })
    };
    kube::runtime::wait::await_condition(kata_configs, NAME, ready).await.unwrap();
    let install = started.elapsed();
    let (writes, kinds) = writes(&cluster);

    let simulation = Matcher { user_agent: Some("osc-simulation".into()), ..Matcher::default() };
    cluster.server().faults().inject(Fault { matcher: simulation, times: None, action: FaultAction::Hang });
    let mut latencies = latencies(&client).await;
    latencies.sort();
    let percentile =
        |part: usize| latencies[(latencies.len() * part / 100).min(latencies.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{nodes:>6}  {:>8.1} s  {:>12.2}  {:>8.1} MB  {:>8.1} ms  {:>8.1} ms",
        install.as_secs_f64(),
        f64::from(writes) / f64::from(nodes),
        operator.peak_memory(),
        percentile(50),
        percentile(99),
    );
    println!("        writes: {kinds:?}");
    drop(operator);
    cluster.stop().await;
}

async fn create(client: &kube::Client) {
    let resource = ApiResource::erase::<KataConfig>(&());
    let object = DynamicObject::new(NAME, &resource).data(json!({"spec": {}}));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Writes of the operator, in all and by what was written.
fn writes(cluster: &Cluster) -> (u32, BTreeMap<String, u32>) {
    let mut kinds = BTreeMap::new();
    for record in cluster.server().requests().snapshot() {
        if record.is_write() && record.request.user_agent.contains("osc-operator") {
            let what = format!(
                "{} {}/{}",
                record.request.verb.as_str(),
                record.request.resource,
                record.request.subresource
            );
            *kinds.entry(what).or_default() += 1;
        }
    }
    (kinds.values().sum(), kinds)
}

/// From sending a change of a node's state to receiving the status that tells it.
async fn latencies(client: &kube::Client) -> Vec<Duration> {
    let nodes: Api<Node> = Api::all(client.clone());
    let kata_configs: Api<KataConfig> = Api::all(client.clone());
    let mut changes = watcher(kata_configs, watcher::Config::default()).applied_objects().boxed();
    changes.try_next().await.unwrap();
    let mut latencies = Vec::new();
    for sample in 0..SAMPLES {
        let node = format!("worker-{}", sample % 50);
        for state in ["Working", "Done"] {
            let patch: Value = json!({"metadata": {"annotations": {names::MCO_STATE: state}}});
            let sent = Instant::now();
            nodes.patch(&node, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
            loop {
                let object = changes.try_next().await.unwrap().expect("the watch goes on");
                let installing = object.status.unwrap_or_default().kata_nodes.installing.contains(&node);
                if installing == (state == "Working") {
                    break;
                }
            }
            latencies.push(sent.elapsed());
        }
    }
    latencies
}
