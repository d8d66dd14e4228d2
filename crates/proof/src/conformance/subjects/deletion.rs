//! Deleting objects.

use serde_json::{Value, json};

use super::objects::{
    DEPLOYMENTS, anything, config_map, define, deployment, labelled, pod, runtime_class, widget,
};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_deletion_is_answered_with_a_status,
        a_deleted_pod_is_answered_with_itself,
        a_deleted_custom_resource,
        what_is_gone_is_not_found,
        a_finalizer_keeps_the_object,
        a_finalizer_keeps_a_custom_resource,
        deleting_twice_changes_nothing,
        no_finalizer_is_added_while_deleting,
        an_object_being_deleted_can_be_changed,
        a_deletion_may_name_the_uid,
        a_deletion_may_name_the_version,
        a_pod_on_a_node_gets_time,
        a_grace_period_can_be_shortened,
        a_pod_without_a_node_goes_at_once,
        grace_zero_deletes_a_pod_at_once,
        an_unknown_policy_is_refused,
        two_policies_are_refused,
        foreground_without_dependants_ends,
        orphaning_without_dependants_ends,
        the_generation_counts_a_deletion,
        a_collection_is_deleted,
        a_collection_is_deleted_by_label,
        a_collection_is_deleted_by_field,
        a_collection_with_finalizers_stays,
        an_empty_collection_is_deleted,
        options_come_in_the_query_too,
        unknown_options_are_ignored,
        a_cluster_scoped_object_is_deleted,
        the_protected_namespace_stays,
    ]
}

fn finalized(name: &str) -> Value {
    let mut object = config_map(name, json!({ "k": "v" }));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    object
}

fn bound(name: &str) -> Value {
    let mut object = pod(name);
    object["spec"]["nodeName"] = json!("nowhere");
    object
}

async fn a_deletion_is_answered_with_a_status(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let answer = t.delete("configmaps/a").await.is(200);
    answer.has("/status", json!("Success")).has("/details/uid", json!(made.uid()));
    t.post("secrets", json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } }))
        .await
        .is(201);
    t.delete("secrets/a").await.is(200);
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    t.delete("apps/v1:deployments/a").await.is(200);
}

async fn a_deleted_pod_is_answered_with_itself(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    t.delete("pods/a").await.is(200).has("/kind", json!("Pod"));
    t.post(
        "serviceaccounts",
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "a" } }),
    )
    .await
    .is(201);
    t.delete("serviceaccounts/a").await.is(200).has("/kind", json!("ServiceAccount"));
}

async fn a_deleted_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.delete(&format!("{widgets}/a")).await.is(200).has("/kind", json!("Status"));
}

async fn what_is_gone_is_not_found(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.delete("configmaps/a").await.is(200);
    t.delete("configmaps/a").await.refused(404, "NotFound");
    t.get("configmaps/a").await.refused(404, "NotFound");
}

async fn a_finalizer_keeps_the_object(t: Trial) {
    t.post("configmaps", finalized("a")).await.is(201);
    let answer = t.delete("configmaps/a").await.is(200);
    assert!(!answer.metadata("deletionTimestamp").is_empty());
    t.get("configmaps/a").await.is(200).has("/metadata/deletionGracePeriodSeconds", json!(0));
    t.merge("configmaps/a", json!({ "metadata": { "finalizers": null } })).await.is(200);
    t.get("configmaps/a").await.refused(404, "NotFound");
}

async fn a_finalizer_keeps_a_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let path = format!("{widgets}/a");
    let mut object = widget(&t, "a", json!({ "size": 1 }));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    t.post(&widgets, object).await.is(201);
    t.delete(&path).await.is(200);
    t.get(&path).await.is(200).has("/metadata/generation", json!(2));
    t.json_patch(&path, json!([{ "op": "remove", "path": "/metadata/finalizers" }])).await.is(200);
    t.get(&path).await.refused(404, "NotFound");
}

async fn deleting_twice_changes_nothing(t: Trial) {
    t.post("configmaps", finalized("a")).await.is(201);
    let once = t.delete("configmaps/a").await.is(200);
    let twice = t.delete("configmaps/a").await.is(200);
    assert_eq!(once.version(), twice.version());
}

async fn no_finalizer_is_added_while_deleting(t: Trial) {
    t.post("configmaps", finalized("a")).await.is(201);
    t.delete("configmaps/a").await.is(200);
    let patch = json!({ "metadata": { "finalizers": ["example.com/wait", "example.com/more"] } });
    t.merge("configmaps/a", patch).await.refused(422, "Invalid").names("metadata.finalizers");
}

async fn an_object_being_deleted_can_be_changed(t: Trial) {
    t.post("configmaps", finalized("a")).await.is(201);
    t.delete("configmaps/a").await.is(200);
    t.merge("configmaps/a", json!({ "data": { "l": "2" } })).await.is(200).has("/data/l", json!("2"));
    let patch = json!({ "metadata": { "deletionTimestamp": null } });
    let after = t.merge("configmaps/a", patch).await.is(200);
    assert!(!after.metadata("deletionTimestamp").is_empty());
}

async fn a_deletion_may_name_the_uid(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let wrong = json!({ "preconditions": { "uid": "00000000-0000-0000-0000-000000000000" } });
    t.delete_with("configmaps/a", wrong).await.refused(409, "Conflict");
    t.delete_with("configmaps/a", json!({ "preconditions": { "uid": made.uid() } })).await.is(200);
}

async fn a_deletion_may_name_the_version(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let changed = t.merge("configmaps/a", json!({ "data": { "k": "w" } })).await.is(200);
    let named = |version: &str| json!({ "preconditions": { "resourceVersion": version } });
    let refused = t.unrecorded().delete_with("configmaps/a", named(&made.version())).await;
    refused.refused(409, "Conflict");
    t.delete_with("configmaps/a", named(&changed.version())).await.is(200);
}

async fn a_pod_on_a_node_gets_time(t: Trial) {
    t.post("pods", bound("a")).await.is(201);
    t.delete("pods/a").await.is(200).has("/metadata/deletionGracePeriodSeconds", json!(30));
    t.get("pods/a").await.is(200);
    t.delete_with("pods/a", json!({ "gracePeriodSeconds": 0 })).await.is(200);
    t.get("pods/a").await.refused(404, "NotFound");
}

async fn a_grace_period_can_be_shortened(t: Trial) {
    t.post("pods", bound("a")).await.is(201);
    t.delete_with("pods/a", json!({ "gracePeriodSeconds": 20 })).await.is(200);
    let shorter = t.delete_with("pods/a", json!({ "gracePeriodSeconds": 10 })).await.is(200);
    shorter.has("/metadata/deletionGracePeriodSeconds", json!(10));
    let longer = t.delete_with("pods/a", json!({ "gracePeriodSeconds": 25 })).await.is(200);
    longer.has("/metadata/deletionGracePeriodSeconds", json!(10));
}

async fn a_pod_without_a_node_goes_at_once(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    t.delete("pods/a").await.is(200);
    t.get("pods/a").await.refused(404, "NotFound");
}

async fn grace_zero_deletes_a_pod_at_once(t: Trial) {
    t.post("pods", bound("a")).await.is(201);
    t.delete("pods/a?gracePeriodSeconds=0").await.is(200);
    t.get("pods/a").await.refused(404, "NotFound");
}

async fn an_unknown_policy_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.delete_with("configmaps/a", json!({ "propagationPolicy": "Sometimes" })).await.refused(422, "Invalid");
    t.get("configmaps/a").await.is(200);
}

async fn two_policies_are_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let options = json!({ "propagationPolicy": "Orphan", "orphanDependents": true });
    t.delete_with("configmaps/a", options).await.refused(422, "Invalid");
    t.delete_with("configmaps/a", json!({ "orphanDependents": false })).await.is(200);
}

async fn foreground_without_dependants_ends(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let answer = t.delete_with("configmaps/a", json!({ "propagationPolicy": "Foreground" })).await.is(200);
    answer.has("/metadata/finalizers", json!(["foregroundDeletion"]));
    t.until_gone("configmaps/a").await;
}

async fn orphaning_without_dependants_ends(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let answer = t.delete_with("configmaps/a", json!({ "propagationPolicy": "Orphan" })).await.is(200);
    answer.has("/metadata/finalizers", json!(["orphan"]));
    t.until_gone("configmaps/a").await;
}

async fn the_generation_counts_a_deletion(t: Trial) {
    let mut object = deployment("a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    t.post(DEPLOYMENTS, object).await.is(201);
    t.delete("apps/v1:deployments/a").await.is(200).has("/metadata/generation", json!(2));
}

async fn a_collection_is_deleted(t: Trial) {
    for name in ["a", "b"] {
        t.post("configmaps", config_map(name, json!({ "k": "v" }))).await.is(201);
    }
    t.delete("configmaps").await.is(200);
    assert!(!t.unrecorded().get("configmaps").await.items().contains(&"a".to_owned()));
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    t.delete(DEPLOYMENTS).await.is(200);
}

async fn a_collection_is_deleted_by_label(t: Trial) {
    t.post(
        "secrets",
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "labels": { "x": "1" } } }),
    )
    .await;
    t.post(
        "secrets",
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "b", "labels": { "x": "2" } } }),
    )
    .await;
    t.delete("secrets?labelSelector=x%3D1").await.is(200);
    assert_eq!(t.get("secrets").await.items(), ["b"]);
    t.delete("secrets?labelSelector=x%3D%3D%3D").await.refused(400, "BadRequest");
}

async fn a_collection_is_deleted_by_field(t: Trial) {
    for name in ["a", "b"] {
        t.post("configmaps", labelled(name, json!({ "k": "v" }))).await.is(201);
    }
    t.delete("configmaps?fieldSelector=metadata.name%3Da").await.is(200);
    t.get("configmaps/a").await.refused(404, "NotFound");
    t.get("configmaps/b").await.is(200);
}

async fn a_collection_with_finalizers_stays(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let mut object = widget(&t, "a", json!({ "size": 1 }));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    t.post(&widgets, object).await.is(201);
    t.post(&widgets, widget(&t, "b", json!({ "size": 1 }))).await.is(201);
    t.delete(&widgets).await.is(200);
    assert_eq!(t.get(&widgets).await.items(), ["a"]);
}

async fn an_empty_collection_is_deleted(t: Trial) {
    t.delete("pods").await.is(200);
    t.delete("nothings").await.is(404);
}

async fn options_come_in_the_query_too(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let answer = t.delete("configmaps/a?propagationPolicy=Foreground").await.is(200);
    answer.has("/metadata/finalizers", json!(["foregroundDeletion"]));
}

async fn unknown_options_are_ignored(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "unknown": 1 });
    t.delete_with("configmaps/a", options).await.is(200);
}

async fn a_cluster_scoped_object_is_deleted(t: Trial) {
    t.post("/apis/node.k8s.io/v1/runtimeclasses", runtime_class(&t.id, "x")).await.is(201);
    t.delete("/apis/node.k8s.io/v1/runtimeclasses/{id}").await.is(200).has("/status", json!("Success"));
}

async fn the_protected_namespace_stays(t: Trial) {
    t.delete("/api/v1/namespaces/default").await.refused(403, "Forbidden");
    t.delete("/api/v1/namespaces/kube-system").await.refused(403, "Forbidden");
}
