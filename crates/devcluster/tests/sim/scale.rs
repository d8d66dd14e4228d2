//! A thousand nodes.

use std::time::Instant;

use osc_api::names;
use osc_api::openshift::{MachineConfig, MachineConfigPool};
use osc_devcluster::sim::topology::Topology;
use serde_json::json;

use crate::cluster::{Cluster, extension, reboots};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_roll_out_a_tenth_at_a_time() {
    let cluster = Cluster::start_at(Topology { workers: 1000, ..Topology::default() }, 3600.0).await;
    let started = Instant::now();
    cluster.patch::<MachineConfigPool>("worker", json!({"spec": {"maxUnavailable": "10%"}})).await;
    let mut config = extension("sandboxed-containers");
    config["metadata"]["labels"][names::MACHINE_CONFIG_ROLE] = json!("worker");
    cluster.create(&cluster.api::<MachineConfig>(), config).await;
    let shared = &cluster;
    cluster
        .until("the rollout begins", || async {
            shared.pool("worker").await.status.is_some_and(|status| status.is_true("Updating"))
        })
        .await;
    cluster.until_updated("worker", 1000).await;
    eprintln!("rolled out to 1,000 nodes in {:?}", started.elapsed());
    assert!(cluster.workers().await.iter().all(|node| reboots(node) == 1));
}
