//! Rollouts that go well.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use osc_api::names;
use osc_api::openshift::{ContainerRuntimeConfig, MachineConfig, MachineConfigPool};
use osc_devcluster::sim::annotations::RESTART;
use osc_devcluster::sim::topology::{Kind, Topology, apply};
use serde_json::json;

use crate::cluster::{Cluster, annotation, cordoned, extension, reboots};

const WORKERS: [&str; 3] = ["worker-0", "worker-1", "worker-2"];

/// Watches nodes until cancelled: the most that were cordoned at once, and the order in which they began.
fn watch_cordons(cluster: &Cluster) -> tokio::task::JoinHandle<(usize, Vec<String>)> {
    let api = cluster.api::<Node>();
    tokio::spawn(async move {
        let mut stream = Box::pin(watcher(api, watcher::Config::default()).applied_objects());
        let (mut down, mut most, mut order) = (BTreeMap::new(), 0, Vec::new());
        while let Some(Ok(node)) = stream.next().await {
            let name = node.name_any();
            let is_down = cordoned(&node);
            if is_down && !order.contains(&name) {
                order.push(name.clone());
            }
            down.insert(name, is_down);
            most = most.max(down.values().filter(|down| **down).count());
            if order.len() == 3 && down.values().all(|down| !down) {
                break;
            }
        }
        (most, order)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn kata_reaches_three_workers_one_at_a_time_with_one_reboot_each() {
    let cluster = Cluster::start(Topology::default()).await;
    let watch = watch_cordons(&cluster);
    let boots: Vec<_> = boot_ids(&cluster).await;
    cluster.install_kata(json!({}), &WORKERS).await;
    cluster.until_updated("kata-oc", 3).await;
    let (most, order) = tokio::time::timeout(Duration::from_secs(10), watch).await.unwrap().unwrap();
    assert_eq!(most, 1);
    assert_eq!(order, WORKERS, "the oldest node goes first");
    let pool = cluster.pool("kata-oc").await;
    let target = pool.spec.configuration.as_ref().unwrap();
    let sources: Vec<_> =
        target.source.iter().flatten().filter_map(|source| source.name.as_deref()).collect();
    assert!(
        sources.contains(&names::EXTENSION_MACHINE_CONFIG) && sources.contains(&"00-worker"),
        "{sources:?}"
    );
    for node in cluster.workers().await {
        assert_eq!(reboots(&node), 1);
        assert_eq!(Some(annotation(&node, names::MCO_CURRENT_CONFIG)), target.name.as_deref());
        assert_eq!(annotation(&node, names::MCO_STATE), "Done");
        assert!(node.spec.unwrap().taints.unwrap_or_default().is_empty());
    }
    assert!(boots.iter().zip(boot_ids(&cluster).await).all(|(old, new)| *old != new));
    let worker = cluster.pool("worker").await.status.unwrap();
    assert_eq!((worker.machine_count, worker.is_true("Updated")), (0, true));
    assert_eq!(reboots(&cluster.node("master-0").await), 0);
}

async fn boot_ids(cluster: &Cluster) -> Vec<String> {
    cluster.workers().await.into_iter().map(|node| node.status.unwrap().node_info.unwrap().boot_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_may_allow_more_nodes_at_a_time() {
    let cluster = Cluster::start(Topology::default()).await;
    let watch = watch_cordons(&cluster);
    cluster.install_kata(json!({"maxUnavailable": "70%"}), &WORKERS).await;
    cluster.until_updated("kata-oc", 3).await;
    let (most, _) = tokio::time::timeout(Duration::from_secs(10), watch).await.unwrap().unwrap();
    assert_eq!(most, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_deleted_pool_fall_back_to_worker() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.install_kata(json!({}), &["worker-0"]).await;
    cluster.until_updated("kata-oc", 1).await;
    cluster.delete::<MachineConfigPool>("kata-oc").await;
    cluster.until_updated("worker", 3).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 2);
    assert_eq!(reboots(&cluster.node("worker-1").await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_differs_only_in_its_name_needs_no_reboot() {
    let cluster = Cluster::start(Topology::default()).await;
    // The pool has no machine config of its own: it renders what worker renders.
    cluster.label("worker-0", names::KATA_NODE_ROLE, Some("")).await;
    cluster
        .create(&cluster.api::<MachineConfigPool>(), crate::cluster::custom_pool("kata-oc", &json!({})))
        .await;
    cluster.until_updated("kata-oc", 1).await;
    let node = cluster.node("worker-0").await;
    assert!(annotation(&node, names::MCO_CURRENT_CONFIG).starts_with("rendered-kata-oc-"));
    assert_eq!(reboots(&node), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_level_travels_to_the_nodes_and_back() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.install_kata(json!({}), &["worker-0"]).await;
    cluster.until_updated("kata-oc", 1).await;
    let before = cluster.pool("kata-oc").await.spec.configuration;
    let config = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "ContainerRuntimeConfig",
        "metadata": {"name": names::CONTAINER_RUNTIME_CONFIG},
        "spec": {
            "machineConfigPoolSelector": {"matchLabels": {"pools.operator.machineconfiguration.openshift.io/kata-oc": ""}},
            "containerRuntimeConfig": {"logLevel": "debug"},
        },
    });
    cluster.create(&cluster.api::<ContainerRuntimeConfig>(), config).await;
    let (cluster, before) = (&cluster, &before);
    cluster
        .until("the pool has another target", || async move {
            cluster.pool("kata-oc").await.spec.configuration != *before
        })
        .await;
    cluster.until_updated("kata-oc", 1).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 2);
    let config = cluster.api::<ContainerRuntimeConfig>().get(names::CONTAINER_RUNTIME_CONFIG).await.unwrap();
    assert_eq!(config.status.unwrap().conditions[0].type_, "Success");
    cluster.api::<MachineConfig>().get("99-kata-oc-generated-containerruntime").await.unwrap();

    cluster.delete::<ContainerRuntimeConfig>(names::CONTAINER_RUNTIME_CONFIG).await;
    cluster
        .until("the pool has its old target", || async move {
            cluster.pool("kata-oc").await.spec.configuration == *before
        })
        .await;
    cluster.until_updated("kata-oc", 1).await;
    let gone = cluster.api::<MachineConfig>().get_opt("99-kata-oc-generated-containerruntime").await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_that_is_started_again_goes_on_and_counts_each_reboot_once() {
    let mut cluster = Cluster::start(Topology::default()).await;
    cluster.install_kata(json!({}), &WORKERS).await;
    for _ in 0..12 {
        cluster.pass(Duration::from_secs(100)).await;
        cluster.stop().await;
        cluster.resume();
    }
    cluster.until_updated("kata-oc", 3).await;
    for node in cluster.workers().await {
        assert_eq!(reboots(&node), 1, "{}", node.name_any());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_single_node_the_pool_is_master() {
    let cluster = Cluster::start(Topology { kind: Kind::SingleNode, ..Topology::default() }).await;
    let mut config = extension("sandboxed-containers");
    config["metadata"]["labels"][names::MACHINE_CONFIG_ROLE] = json!("master");
    cluster.create(&cluster.api::<MachineConfig>(), config).await;
    let shared = &cluster;
    cluster.until("the node has rebooted", || async { reboots(&shared.node("master-0").await) == 1 }).await;
    cluster.until_updated("master", 1).await;
    cluster.until_updated("worker", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_can_be_restarted_and_a_new_one_joins() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.annotate("worker-1", RESTART, Some("")).await;
    let shared = &cluster;
    cluster.until("the node has rebooted", || async { reboots(&shared.node("worker-1").await) == 1 }).await;
    assert_eq!(annotation(&cluster.node("worker-1").await, RESTART), "");

    let mut node = serde_json::to_value(cluster.node("worker-2").await).unwrap();
    node["metadata"] = json!({"name": "worker-9", "labels": {names::WORKER_NODE_ROLE: ""}});
    cluster.create(&cluster.api::<Node>(), node.clone()).await;
    let status = json!({"status": node["status"]});
    let patch = kube::api::Patch::Merge(&status);
    cluster.api::<Node>().patch_status("worker-9", &kube::api::PatchParams::default(), &patch).await.unwrap();
    cluster.until_updated("worker", 4).await;
    assert_eq!(annotation(&cluster.node("worker-9").await, names::MCO_STATE), "Done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_can_be_made_through_the_api_twice() {
    let mut cluster = Cluster::empty(600.0).await;
    let topology = Topology::default();
    apply(&cluster.client, &topology).await.unwrap();
    cluster.patch::<Node>("worker-0", json!({"metadata": {"labels": {"kept": "yes"}}})).await;
    apply(&cluster.client, &topology).await.unwrap();
    assert_eq!(cluster.node("worker-0").await.labels()["kept"], "yes");
    cluster.until_updated("worker", 3).await;
    cluster.resume();
    cluster.install_kata(json!({}), &["worker-0"]).await;
    cluster.until_updated("kata-oc", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendered_config_that_somebody_deletes_is_made_again() {
    let cluster = Cluster::start(Topology::default()).await;
    let name = cluster.pool("worker").await.spec.configuration.unwrap().name.unwrap();
    let configs = cluster.api::<MachineConfig>();
    let before = configs.get(&name).await.unwrap().metadata.uid;
    configs.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
    let again = async {
        loop {
            if configs.get_opt(&name).await.unwrap().is_some_and(|found| found.metadata.uid != before) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), again).await.is_ok());
}
