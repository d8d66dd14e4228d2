//! Kubernetes Events tell the transitions, each once.

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use osc_api::KataConfig;
use serde_json::json;

use super::{Story, story};
use crate::bed::{Bed, NAME, On, reason, workers};

pub fn stories() -> Vec<Story> {
    let why = "the real server is so old that it wants events about cluster-scoped objects in kube-system";
    vec![story!(every_transition_is_told_once, workers(2)).only(On::Embedded, why)]
}

async fn every_transition_is_told_once(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    bed.patch::<KataConfig>(NAME, json!({"spec": {"logLevel": "verbose"}})).await;
    bed.until(NAME, "refused", |status| reason(status, "InProgress").1 == "InvalidConfiguration").await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
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
}
