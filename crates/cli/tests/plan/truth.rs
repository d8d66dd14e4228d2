//! What is planned is what happens.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use osc_api::{KataConfig, names};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use osc_devcluster::{Cluster, ClusterConfig};
use serde_json::{Value, json};

use crate::fixture::{NAME, create, kata_config, operator, order, osc, stderr, workers};

/// How long anything may take, in real time; two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// An embedded cluster that serves over a socket, with the operator at work.
struct Bed {
    cluster: Cluster,
    client: Client,
    directory: tempfile::TempDir,
    /// Nodes in the order in which their daemons began.
    begun: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    async fn start(topology: Topology) -> Self {
        let config = ClusterConfig { contents: topology.into(), speed: 600.0, ..ClusterConfig::default() };
        let cluster = Cluster::start(config).await.unwrap();
        let definitions = osc_api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
        cluster.server().load(definitions.collect()).unwrap();
        operator(&cluster);
        let client = cluster.server().client_named("test").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kubeconfig");
        std::fs::write(file, cluster.server().kubeconfig().unwrap()).unwrap();
        let begun = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(record(client.clone(), begun.clone()));
        Self { cluster, client, directory, begun }
    }

    /// Plans against the cluster, over HTTP.
    async fn plan(&self, arguments: &[&str]) -> Value {
        let output =
            self.osc(&[&["plan", "-o", "json", "--kubeconfig", "kubeconfig"], arguments].concat()).await;
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Takes a snapshot and plans with that; without the remark that it cannot tell rights.
    async fn plan_from_file(&self, file: &str) -> Value {
        self.osc(&["snapshot", "--kubeconfig", "kubeconfig", "-o", "taken/"]).await;
        let output = self.osc(&["plan", "-o", "json", "--snapshot", "taken", "-f", file]).await;
        let mut plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["findings"].as_array_mut().unwrap().retain(|finding| finding["reason"] != "RightsUnknown");
        plan
    }

    async fn osc(&self, arguments: &[&str]) -> std::process::Output {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let directory = self.directory.path().to_path_buf();
        let run = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            osc(&directory, &arguments)
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output
    }

    fn write(&self, spec: &Value) -> String {
        std::fs::write(Path::new(self.directory.path()).join("k.yaml"), kata_config(spec)).unwrap();
        "k.yaml".to_owned()
    }

    /// What happened since the last time this was asked.
    fn begun(&self) -> Vec<String> {
        std::mem::take(&mut *self.begun.lock().unwrap())
    }

    async fn reboots(&self) -> Vec<(String, u32)> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let count = |node: &Node| {
            node.annotations().get(annotations::REBOOTS).map_or(0, |text| text.parse().unwrap())
        };
        let nodes = nodes.list(&ListParams::default()).await.unwrap();
        nodes.iter().map(|node| (node.name_any(), count(node))).filter(|(_, count)| *count > 0).collect()
    }

    async fn until(&self, what: &str, wished: impl Fn(Option<&KataConfig>) -> bool) {
        let api: Api<KataConfig> = Api::all(self.client.clone());
        let deadline = Instant::now() + PATIENCE;
        while !wished(api.get_opt(NAME).await.unwrap().as_ref()) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn installed(&self) {
        self.until("installed", |found| {
            let condition =
                found.and_then(|found| found.status.as_ref()).and_then(|status| status.condition("Ready"));
            condition.is_some_and(|ready| ready.status == "True")
        })
        .await;
        // Pools count their nodes a little later.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Notes which node's daemon begins when.
async fn record(client: Client, begun: Arc<Mutex<Vec<String>>>) {
    let mut nodes = Box::pin(watcher(Api::<Node>::all(client), watcher::Config::default()).applied_objects());
    let mut working = std::collections::BTreeSet::new();
    while let Some(Ok(node)) = nodes.next().await {
        let busy = node.annotations().get(names::MCO_STATE).is_some_and(|state| state == "Working");
        if busy && working.insert(node.name_any()) {
            begun.lock().unwrap().push(node.name_any());
        } else if !busy {
            working.remove(&node.name_any());
        }
    }
}

/// Plans, does it, and compares.
async fn planned_and_done(topology: Topology, expected: &[&str]) {
    let bed = Bed::start(topology).await;
    let file = bed.write(&json!({}));
    let plan = bed.plan(&["-f", &file]).await;
    assert_eq!(bed.plan_from_file(&file).await, plan, "a snapshot knows what the cluster knows");
    create(&bed.client, &json!({})).await;
    bed.installed().await;
    assert_eq!(order(&plan), expected);
    assert_eq!(bed.begun(), expected, "what happened");
    let reboots: Vec<(String, u32)> = expected.iter().map(|node| ((*node).to_owned(), 1)).collect();
    assert_eq!(bed.reboots().await, reboots);

    let again = bed.plan(&["-f", &file]).await;
    assert_eq!((order(&again), &again["objects"]), (vec![], &json!([])), "converged");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bed.begun().is_empty() && bed.reboots().await == reboots);

    let removal = bed.plan(&["--delete"]).await;
    let api: Api<KataConfig> = Api::all(bed.client.clone());
    api.delete(NAME, &DeleteParams::default()).await.unwrap();
    bed.until("gone", |found| found.is_none()).await;
    assert_eq!(bed.begun(), order(&removal));
    assert_eq!(order(&removal), expected);
    bed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_three_workers() {
    planned_and_done(workers(3), &["worker-0", "worker-1", "worker-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_compact_cluster() {
    let topology = Topology { kind: Kind::Compact, ..Topology::default() };
    planned_and_done(topology, &["master-0", "master-1", "master-2"]).await;
}
