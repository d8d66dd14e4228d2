//! A converged cluster costs nothing.

use std::time::Duration;

use serde_json::json;

use super::Beginning::Installed;
use super::{Story, story};
use crate::bed::{Bed, NAME, OPERATOR, On, options, workers};

pub fn stories() -> Vec<Story> {
    let quiet = story!(a_converged_cluster_sees_no_requests_but_watches, workers(3));
    vec![quiet.from(Installed).only(On::Embedded, "needs a log of requests, and watches cut on demand")]
}

async fn a_converged_cluster_sees_no_requests_but_watches(bed: &mut Bed) {
    // Without leader election, which renews its Lease.
    bed.run_operator(osc_operator::Options { leader_elect: false, ..options() }).await;
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.installed(NAME).await;
    // Pods of the monitor start, pools settle.
    let settle = Duration::from_secs(2);
    tokio::time::sleep(settle).await;
    bed.embedded().requests().clear();
    // Ten minutes of the cluster's time, during which its nodes and pools live on.
    bed.sleep(Duration::from_mins(10)).await;
    // And as long again as watches of clients take to be renewed would be minutes of real time: cut them instead.
    bed.embedded().faults().cut_watches(&osc_devcluster::server::Matcher::default());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let requests = bed.embedded().requests().snapshot();
    let ours: Vec<String> = requests
        .iter()
        .filter(|record| record.request.user_agent.contains(OPERATOR))
        .map(|record| format!("{} {}", record.request.verb.as_str(), record.request.path))
        .collect();
    let watches = ours.iter().filter(|request| request.starts_with("watch ")).count();
    assert!(watches > 0, "the watches were taken up again");
    assert_eq!(watches, ours.len(), "{ours:#?}");
}
