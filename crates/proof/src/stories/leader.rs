//! Several operators: one works, and another takes over.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use osc_api::names;
use osc_operator::Options;
use serde_json::json;

use super::Beginning::Installed;
use super::{Story, story};
use crate::bed::{Bed, NAME, eventually, options, workers};

pub fn stories() -> Vec<Story> {
    vec![story!(one_works_and_the_other_takes_over_when_it_stops, workers(1)).from(Installed)]
}

async fn one_works_and_the_other_takes_over_when_it_stops(bed: &mut Bed) {
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let holder = || async {
        let lease = leases.get_opt(names::LEADER_ELECTION_LEASE).await.unwrap();
        lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity).unwrap_or_default()
    };
    bed.run_operator(Options { identity: "one".into(), ..options() }).await;
    assert!(eventually(|| async { holder().await == "one" }).await);
    bed.run_operator(Options { identity: "two".into(), ..options() }).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    assert_eq!(holder().await, "one");
    bed.stop_operator().await;
    // The lease is given back, so that the other need not wait for its end.
    assert!(eventually(|| async { holder().await == "two" }).await);
    bed.delete(NAME).await;
    bed.gone(NAME).await;
}
