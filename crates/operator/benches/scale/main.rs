//! What large clusters cost: `make bench` (some minutes after the build) prints it and writes docs/performance.md.
//!
//! For each size it starts an embedded cluster in this process and the operator as a process of its own, and then:
//!
//! - installs Kata on all workers (a tenth of them at a time), and counts the operator's writes;
//! - halts the simulation and measures the time from a node's annotation change to the arrival of the new status at
//!   another client: two requests, two watch deliveries and a pass;
//! - changes a label of 100 nodes a second, of no interest to the operator;
//! - lets a day of heartbeats pass: 288 from each node.
//!
//! The operator's memory and processor time are the kernel's figures.

// A measurement that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod load;
mod page;
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use osc_api::openshift::MachineConfigPool;
use osc_api::{KataConfig, names};
use osc_devcluster::server::{Fault, FaultAction, Matcher, Server};
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::{Cluster, ClusterConfig};
use serde_json::{Value, json};

const NAME: &str = "example-kataconfig";
const SPEED: f64 = 3600.0;
const SAMPLES: usize = 300;

/// What was measured at one size.
pub struct Figures {
    nodes: u32,
    install: Duration,
    writes: u32,
    kinds: BTreeMap<String, u32>,
    latencies: Vec<Duration>,
    churn: load::Churn,
    day: load::Day,
    /// High-water mark of the operator's memory in MB, at the very end.
    peak: f64,
}

impl Figures {
    fn percentile(&self, part: usize) -> f64 {
        let index = (self.latencies.len() * part / 100).min(self.latencies.len() - 1);
        self.latencies[index].as_secs_f64() * 1e3
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this with --test: not the place for minutes of measuring.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut all = Vec::new();
    for nodes in [100, 1_000, 5_000] {
        eprintln!("{nodes} nodes ...");
        all.push(measure(nodes).await);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    print!("{}", page::tables(&all));
    page::write(&root, &all).unwrap();
}

async fn measure(nodes: u32) -> Figures {
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
    let operator = process::Operator::start(&kubeconfig);

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
    let (writes, kinds) = writes(cluster.server());

    let simulation = Matcher { user_agent: Some("osc-simulation".into()), ..Matcher::default() };
    cluster.server().faults().inject(Fault { matcher: simulation, times: None, action: FaultAction::Hang });
    let mut latencies = latencies(&client).await;
    latencies.sort();
    let churn = load::churn(&client, &operator, cluster.server()).await;
    let day = load::day(cluster.server(), &operator).await;
    let peak = operator.peak_memory();
    drop(operator);
    cluster.stop().await;
    Figures { nodes, install, writes, kinds, latencies, churn, day, peak }
}

async fn create(client: &kube::Client) {
    let resource = ApiResource::erase::<KataConfig>(&());
    let object = DynamicObject::new(NAME, &resource).data(json!({"spec": {}}));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Writes of the operator, in all and by what was written.
fn writes(server: &Server) -> (u32, BTreeMap<String, u32>) {
    let mut kinds = BTreeMap::new();
    for record in server.requests().snapshot() {
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
