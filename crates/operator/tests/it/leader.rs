//! Several operators: one works, and another takes over.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use osc_api::names;
use osc_operator::Options;
use serde_json::json;

use crate::bed::{Bed, eventually, options, workers};

#[tokio::test]
async fn one_works_and_the_other_takes_over_when_it_stops() {
    let mut bed = Bed::without_operator(workers(1)).await;
    bed.install_crd().await;
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let holder = || async {
        let lease = leases.get_opt(names::LEADER_ELECTION_LEASE).await.unwrap();
        lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity).unwrap_or_default()
    };
    bed.run_operator(Options { leader_elect: true, identity: "one".into(), ..options() });
    assert!(eventually(|| async { holder().await == "one" }).await);
    bed.run_operator(Options { leader_elect: true, identity: "two".into(), ..options() });
    bed.create("example-kataconfig", json!({})).await;
    bed.installed("example-kataconfig").await;
    assert_eq!(holder().await, "one");
    bed.stop_operator().await;
    // The lease is given back, so that the other need not wait for its end.
    assert!(eventually(|| async { holder().await == "two" }).await);
    bed.delete("example-kataconfig").await;
    bed.gone("example-kataconfig").await;
    bed.stop().await;
}
