//! Watches.

use serde_json::{Value, json};

use super::objects::{anything, config_map, define, labelled, pod, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        changes_are_told_in_order,
        a_watch_without_a_version_begins_with_what_is_there,
        a_watch_goes_on_from_a_version,
        a_watch_from_a_list_misses_nothing,
        a_deletion_carries_the_last_state,
        a_finalizer_shows_before_the_end,
        a_label_brings_objects_in_and_out,
        a_field_brings_objects_in_and_out,
        one_object_is_not_watched_at_its_own_path,
        one_object_is_watched_below_the_prefix,
        all_namespaces_are_watched,
        custom_resources_are_watched,
        only_metadata_is_watched,
        rows_are_watched,
        a_watch_ends_when_its_time_is_over,
        the_watch_prefix_still_works,
        a_version_that_cannot_be_read_is_refused,
        a_version_of_the_future_waits_or_is_refused,
        a_selector_that_cannot_be_read_is_refused,
        an_unknown_resource_is_not_watched,
        a_write_that_changes_nothing_is_not_told,
        a_status_change_is_told,
    ];
    cases.extend(cases![a_version_too_old_is_gone].into_iter().map(Case::alone));
    cases
}

async fn changes_are_told_in_order(t: Trial) {
    let from = t.unrecorded().get("configmaps").await.version();
    let mut watch =
        t.watch(&format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={from}")).await;
    let quiet = t.unrecorded();
    quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    quiet.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    quiet.delete("configmaps/a").await.is(200);
    assert_eq!(watch.events(3).await, ["ADDED a", "MODIFIED a", "DELETED a"]);
}

async fn a_watch_without_a_version_begins_with_what_is_there(t: Trial) {
    let quiet = t.unrecorded();
    quiet.post("configmaps", labelled("a", json!({ "w": "1" }))).await.is(201);
    quiet.post("configmaps", labelled("b", json!({ "w": "1" }))).await.is(201);
    for version in ["", "&resourceVersion=0"] {
        let path = format!("configmaps?labelSelector=w{version}");
        let mut watch = quiet.watch(&path).await;
        let mut events = watch.events(2).await;
        events.sort_unstable();
        assert_eq!(events, ["ADDED a", "ADDED b"]);
    }
    let mut watch = t.watch("configmaps?fieldSelector=metadata.name%3Da").await;
    assert_eq!(watch.events(1).await, ["ADDED a"]);
    quiet.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    assert_eq!(watch.events(1).await, ["MODIFIED a"]);
}

async fn a_watch_goes_on_from_a_version(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", labelled("a", json!({ "w": "1" }))).await.is(201);
    quiet.post("configmaps", labelled("b", json!({ "w": "1" }))).await.is(201);
    quiet.delete("configmaps/a").await.is(200);
    let mut watch = t.watch(&format!("configmaps?labelSelector=w&resourceVersion={}", made.version())).await;
    assert_eq!(watch.events(2).await, ["ADDED b", "DELETED a"]);
}

async fn a_watch_from_a_list_misses_nothing(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let quiet = t.unrecorded();
    quiet.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let from = quiet.get(&widgets).await.is(200).version();
    quiet.post(&widgets, widget(&t, "b", json!({ "size": 1 }))).await.is(201);
    let mut watch = t.watch(&format!("{widgets}?resourceVersion={from}")).await;
    assert_eq!(watch.events(1).await, ["ADDED b"]);
    quiet.post(&widgets, widget(&t, "c", json!({ "size": 1 }))).await.is(201);
    assert_eq!(watch.events(1).await, ["ADDED c"]);
}

async fn a_deletion_carries_the_last_state(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let mut watch = t
        .watch(&format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}", made.version()))
        .await;
    quiet.delete("configmaps/a").await.is(200);
    let event = watch.event().await;
    assert_eq!(event["object"]["data"]["k"], "1");
    assert_ne!(event["object"]["metadata"]["resourceVersion"], made.version());
}

async fn a_finalizer_shows_before_the_end(t: Trial) {
    let quiet = t.unrecorded();
    let mut object = config_map("a", json!({ "k": "1" }));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let made = quiet.post("configmaps", object).await.is(201);
    let mut watch = t
        .watch(&format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}", made.version()))
        .await;
    quiet.delete("configmaps/a").await.is(200);
    quiet.merge("configmaps/a", json!({ "metadata": { "finalizers": null } })).await.is(200);
    assert_eq!(watch.events(2).await, ["MODIFIED a", "DELETED a"]);
}

async fn a_label_brings_objects_in_and_out(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", labelled("a", json!({ "w": "no" }))).await.is(201);
    let mut watch =
        t.watch(&format!("configmaps?labelSelector=w%3Dyes&resourceVersion={}", made.version())).await;
    let label = |value: Value| json!({ "metadata": { "labels": { "w": value } } });
    quiet.merge("configmaps/a", label(json!("yes"))).await.is(200);
    quiet.merge("configmaps/a", json!({ "data": { "k": "1" } })).await.is(200);
    quiet.merge("configmaps/a", label(json!("no"))).await.is(200);
    quiet.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    quiet.merge("configmaps/a", label(json!("yes"))).await.is(200);
    quiet.delete("configmaps/a").await.is(200);
    let wanted = ["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"];
    assert_eq!(watch.events(5).await, wanted);
}

async fn a_field_brings_objects_in_and_out(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("pods", pod("a")).await.is(201);
    let mut watch = t
        .watch(&format!("pods?fieldSelector=status.phase%3DRunning&resourceVersion={}", made.version()))
        .await;
    for phase in ["Running", "Failed"] {
        quiet.merge("pods/a/status", json!({ "status": { "phase": phase } })).await.is(200);
    }
    assert_eq!(watch.events(2).await, ["ADDED a", "DELETED a"]);
}

async fn one_object_is_not_watched_at_its_own_path(t: Trial) {
    t.unrecorded().post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.get("configmaps/a?watch=true").await.is(200).has("/kind", json!("ConfigMap"));
}

async fn one_object_is_watched_below_the_prefix(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let mut watch = t
        .watch(&format!("/api/v1/watch/namespaces/{}/configmaps/a?resourceVersion={}", t.id, made.version()))
        .await;
    quiet.post("configmaps", config_map("b", json!({ "k": "1" }))).await.is(201);
    quiet.delete("configmaps/a").await.is(200);
    assert_eq!(watch.events(1).await, ["DELETED a"]);
}

async fn all_namespaces_are_watched(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let path = format!("/api/v1/configmaps?labelSelector=w%3D{}&resourceVersion={}", t.id, made.version());
    let mut watch = t.watch(&path).await;
    quiet.post("configmaps", labelled("b", json!({ "w": t.id }))).await.is(201);
    assert_eq!(watch.events(1).await, ["ADDED b"]);
}

async fn custom_resources_are_watched(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let quiet = t.unrecorded();
    let made = quiet.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let mut watch = t.watch(&format!("{widgets}?resourceVersion={}", made.version())).await;
    quiet.merge(&format!("{widgets}/a/status"), json!({ "status": { "x": 1 } })).await.is(200);
    quiet.delete(&format!("{widgets}/a")).await.is(200);
    assert_eq!(watch.events(2).await, ["MODIFIED a", "DELETED a"]);
}

async fn only_metadata_is_watched(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let path = format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}", made.version());
    let mut watch = t.watch_as(&path, accept).await;
    quiet.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    let event = watch.event().await;
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(event["object"]["data"], Value::Null);
}

async fn rows_are_watched(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let path = format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}", made.version());
    let mut watch = quiet.watch_as(&path, accept).await;
    quiet.merge("configmaps/a", json!({ "data": { "l": "2" } })).await.is(200);
    quiet.merge("configmaps/a", json!({ "data": { "m": "2" } })).await.is(200);
    let first = watch.event().await;
    assert_eq!(first["object"]["rows"][0]["cells"][1], 2);
    let second = watch.event().await;
    t.note("headings of the second event", second["object"]["columnDefinitions"].clone());
    assert_eq!(second["object"]["rows"][0]["cells"][1], 3);
}

async fn a_watch_ends_when_its_time_is_over(t: Trial) {
    let quiet = t.unrecorded();
    quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let mut watch = t.watch("configmaps?fieldSelector=metadata.name%3Da&timeoutSeconds=1").await;
    assert_eq!(watch.code, 200);
    assert_eq!(watch.rest().await.len(), 1);
}

async fn the_watch_prefix_still_works(t: Trial) {
    let made = t.unrecorded().post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let path = format!(
        "/api/v1/watch/namespaces/{}/configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}",
        t.id,
        made.version()
    );
    let mut watch = t.watch(&path).await;
    t.unrecorded().delete("configmaps/a").await.is(200);
    assert_eq!(watch.events(1).await, ["DELETED a"]);
}

async fn refused(t: &Trial, path: &str) -> u16 {
    t.get(path).await.code
}

async fn a_version_that_cannot_be_read_is_refused(t: Trial) {
    assert!(refused(&t, "configmaps?watch=true&timeoutSeconds=2&resourceVersion=nonsense").await >= 400);
}

async fn a_version_of_the_future_waits_or_is_refused(t: Trial) {
    let mut watch = t.watch("configmaps?timeoutSeconds=1&resourceVersion=99999999").await;
    watch.rest().await;
}

async fn a_selector_that_cannot_be_read_is_refused(t: Trial) {
    assert_eq!(refused(&t, "configmaps?watch=true&timeoutSeconds=2&labelSelector=a%3D%3D%3Db").await, 400);
    assert_eq!(refused(&t, "configmaps?watch=true&timeoutSeconds=2&fieldSelector=data.k%3Db").await, 400);
}

async fn an_unknown_resource_is_not_watched(t: Trial) {
    assert_eq!(refused(&t, "nothings?watch=true&timeoutSeconds=2").await, 404);
}

async fn a_write_that_changes_nothing_is_not_told(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let mut watch = t
        .watch(&format!("configmaps?fieldSelector=metadata.name%3Da&resourceVersion={}", made.version()))
        .await;
    quiet.merge("configmaps/a", json!({ "data": { "k": "1" } })).await.is(200);
    quiet.put("configmaps/a", made.body).await.is(200);
    quiet.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    assert_eq!(watch.event().await["object"]["data"]["k"], "2");
}

async fn a_status_change_is_told(t: Trial) {
    let quiet = t.unrecorded();
    let made = quiet.post("pods", pod("a")).await.is(201);
    let mut watch = t.watch(&format!("pods?resourceVersion={}", made.version())).await;
    quiet.merge("pods/a/status", json!({ "status": { "phase": "Running" } })).await.is(200);
    assert_eq!(watch.event().await["object"]["status"]["phase"], "Running");
}

async fn a_version_too_old_is_gone(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.unrecorded().post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.side.compact().await;
    let mut watch = t.watch(&format!("{widgets}?resourceVersion=1&timeoutSeconds=5")).await;
    let events = watch.rest().await;
    let told =
        events.first().map_or(u64::from(watch.code), |event| event["object"]["code"].as_u64().unwrap());
    assert_eq!(told, 410, "{events:?}");
}
