//! Kubernetes Events tell the transitions, each once.

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::bed::{Bed, workers};

#[tokio::test]
async fn every_transition_is_told_once() {
    let bed = Bed::start(workers(2)).await;
    bed.create("example-kataconfig", json!({})).await;
    bed.installed("example-kataconfig").await;
    bed.patch::<osc_api::KataConfig>("example-kataconfig", json!({"spec": {"logLevel": "verbose"}})).await;
    bed.until("example-kataconfig", "refused", |status| {
        status.is_some_and(|status| crate::bed::reason(status, "InProgress").1 == "InvalidConfiguration")
    })
    .await;
    bed.delete("example-kataconfig").await;
    bed.gone("example-kataconfig").await;
    let events: Api<Event> = Api::namespaced(bed.client.clone(), "default");
    let selector = ListParams::default().fields("involvedObject.kind=KataConfig");
    let mut events = events.list(&selector).await.unwrap().items;
    events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    let told: Vec<(String, String)> = events
        .into_iter()
        .map(|event| (event.type_.unwrap_or_default(), event.reason.unwrap_or_default()))
        .collect();
    let expected = [
        ("Normal", "Installing"),
        ("Normal", "Installed"),
        ("Warning", "InvalidConfiguration"),
        ("Normal", "Uninstalling"),
    ]
    .map(|(type_, reason)| (type_.to_owned(), reason.to_owned()));
    assert_eq!(told, expected);
    bed.stop().await;
}
