//! Namespaces.

use serde_json::{Value, json};

use super::objects::{anything, config_map, define, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_namespace_is_active,
        nothing_is_created_where_there_is_no_namespace,
        a_list_where_there_is_no_namespace_is_empty,
        nothing_is_applied_where_there_is_no_namespace,
        nothing_is_created_in_a_namespace_that_ends,
        a_namespace_ends_with_its_content,
        a_finalizer_in_it_keeps_a_namespace,
        custom_resources_end_with_their_namespace,
        a_namespaces_finalizers_are_its_own,
        namespaces_are_not_deleted_together,
    ]
}

fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "x": "y" } } })
}

fn other(t: &Trial) -> String {
    format!("{}-x", t.id)
}

async fn make_other(t: &Trial) -> String {
    t.unrecorded().post("/api/v1/namespaces", namespace(&other(t))).await.is(201);
    format!("/api/v1/namespaces/{}", other(t))
}

async fn a_namespace_is_active(t: Trial) {
    let made = t.post("/api/v1/namespaces", namespace(&other(&t))).await.is(201);
    made.has("/status/phase", json!("Active")).has("/spec/finalizers", json!(["kubernetes"]));
}

async fn nothing_is_created_where_there_is_no_namespace(t: Trial) {
    let path = format!("/api/v1/namespaces/{}/configmaps", other(&t));
    t.post(&path, config_map("a", json!({ "k": "v" }))).await.refused(404, "NotFound");
    let widgets = define(&t, anything(), json!({})).await;
    let path = t.path(&widgets).replace(&format!("namespaces/{}", t.id), "namespaces/nowhere");
    t.post(&path, widget(&t, "a", json!({ "size": 1 }))).await.refused(404, "NotFound");
}

async fn a_list_where_there_is_no_namespace_is_empty(t: Trial) {
    t.get(&format!("/api/v1/namespaces/{}/configmaps", other(&t))).await.is(200).has("/items", json!([]));
    t.get(&format!("/api/v1/namespaces/{}/configmaps/a", other(&t))).await.refused(404, "NotFound");
    t.delete(&format!("/api/v1/namespaces/{}/configmaps/a", other(&t))).await.refused(404, "NotFound");
}

async fn nothing_is_applied_where_there_is_no_namespace(t: Trial) {
    let path = format!("/api/v1/namespaces/{}/configmaps/a", other(&t));
    t.apply(&path, "one", config_map("a", json!({ "k": "v" }))).await.refused(404, "NotFound");
}

async fn nothing_is_created_in_a_namespace_that_ends(t: Trial) {
    let path = make_other(&t).await;
    let mut held = config_map("held", json!({ "k": "v" }));
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let quiet = t.unrecorded();
    quiet.post(&format!("{path}/configmaps"), held).await.is(201);
    quiet.delete(&path).await.is(200);
    quiet
        .until(&format!("{path}/configmaps/held"), |held| !held.metadata("deletionTimestamp").is_empty())
        .await;
    t.post(&format!("{path}/configmaps"), config_map("a", json!({ "k": "v" })))
        .await
        .refused(403, "Forbidden");
    quiet.merge(&format!("{path}/configmaps/held"), json!({ "data": { "k": "w" } })).await.is(200);
    quiet
        .merge(&format!("{path}/configmaps/held"), json!({ "metadata": { "finalizers": null } }))
        .await
        .is(200);
    t.until_gone(&path).await;
}

async fn a_namespace_ends_with_its_content(t: Trial) {
    let path = make_other(&t).await;
    t.unrecorded().post(&format!("{path}/configmaps"), config_map("a", json!({ "k": "v" }))).await.is(201);
    t.delete(&path).await.is(200).has("/status/phase", json!("Terminating"));
    t.until_gone(&path).await;
    t.get(&format!("{path}/configmaps/a")).await.refused(404, "NotFound");
}

async fn a_finalizer_in_it_keeps_a_namespace(t: Trial) {
    let path = make_other(&t).await;
    let mut held = config_map("held", json!({ "k": "v" }));
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let quiet = t.unrecorded();
    quiet.post(&format!("{path}/configmaps"), held).await.is(201);
    quiet.delete(&path).await.is(200);
    quiet
        .until(&format!("{path}/configmaps/held"), |held| !held.metadata("deletionTimestamp").is_empty())
        .await;
    quiet.get(&path).await.is(200).has("/status/phase", json!("Terminating"));
    quiet
        .merge(&format!("{path}/configmaps/held"), json!({ "metadata": { "finalizers": null } }))
        .await
        .is(200);
    t.until_gone(&path).await;
}

async fn custom_resources_end_with_their_namespace(t: Trial) {
    let path = make_other(&t).await;
    let widgets = define(&t, anything(), json!({})).await;
    let inside =
        t.path(&widgets).replace(&format!("namespaces/{}", t.id), &format!("namespaces/{}", other(&t)));
    t.unrecorded().post(&inside, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.unrecorded().delete(&path).await.is(200);
    t.until_gone(&path).await;
    t.get(&format!("{inside}/a")).await.refused(404, "NotFound");
}

async fn a_namespaces_finalizers_are_its_own(t: Trial) {
    let path = make_other(&t).await;
    let after = t.merge(&path, json!({ "spec": { "finalizers": [] } })).await.is(200);
    let after = after.has("/spec/finalizers", json!(["kubernetes"]));
    let mut body = after.body.clone();
    body["spec"]["finalizers"] = json!(["kubernetes", "example.com/more"]);
    t.put(&format!("{path}/finalize"), body)
        .await
        .is(200)
        .has("/spec/finalizers/1", json!("example.com/more"));
}

async fn namespaces_are_not_deleted_together(t: Trial) {
    t.delete("/api/v1/namespaces?labelSelector=case%3Dnone").await.refused(405, "MethodNotAllowed");
}
