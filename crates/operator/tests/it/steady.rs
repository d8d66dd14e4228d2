//! A converged cluster costs nothing.

use std::time::Duration;

use serde_json::json;

use crate::bed::{Bed, OPERATOR, SPEED, workers};

#[tokio::test]
async fn a_converged_cluster_sees_no_requests_but_watches() {
    let bed = Bed::start(workers(3)).await;
    bed.create("example-kataconfig", json!({"logLevel": "debug"})).await;
    bed.installed("example-kataconfig").await;
    // Pods of the monitor start, pools settle.
    let settle = Duration::from_secs(2);
    tokio::time::sleep(settle).await;
    bed.cluster.server().requests().clear();
    // Ten minutes of the cluster's time, during which its nodes and pools live on.
    tokio::time::sleep(Duration::from_mins(10).div_f64(SPEED)).await;
    // And as long again as watches of clients take to be renewed would be minutes of real time: cut them instead.
    bed.cluster.server().faults().cut_watches(&osc_devcluster::server::Matcher::default());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let requests = bed.cluster.server().requests().snapshot();
    let ours: Vec<String> = requests
        .iter()
        .filter(|record| record.request.user_agent.contains(OPERATOR))
        .map(|record| format!("{} {}", record.request.verb.as_str(), record.request.path))
        .collect();
    let watches = ours.iter().filter(|request| request.starts_with("watch ")).count();
    assert!(watches > 0, "the watches were taken up again");
    assert_eq!(watches, ours.len(), "{ours:#?}");
    bed.stop().await;
}
