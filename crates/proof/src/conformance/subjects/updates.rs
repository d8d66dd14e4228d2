//! Replacing objects, and resource versions.

use serde_json::json;

use super::objects::{DEPLOYMENTS, anything, config_map, define, deployment, pod, runtime_class, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_version_grows_with_each_change,
        a_write_that_changes_nothing_keeps_the_version,
        an_old_version_conflicts,
        a_configmap_can_be_replaced_without_a_version,
        a_custom_resource_cannot_be_replaced_without_a_version,
        a_runtime_class_cannot_be_replaced_without_a_version,
        another_uid_conflicts,
        a_missing_object_is_not_found,
        what_is_missing_is_created_by_put_for_some_kinds,
        another_name_in_the_body_is_refused,
        what_only_the_server_sets_stays,
        an_unreadable_version_is_refused,
        immutable_fields_are_refused,
        an_immutable_configmap_stays,
        a_pods_specification_stays,
        generation_counts_changes_of_the_specification,
        generation_of_a_custom_resource_counts_too,
        of_two_writers_one_wins,
        a_read_at_a_version_answers,
        ownership_is_recorded_for_updates,
        a_manager_is_named_by_the_request,
    ]
}

async fn a_version_grows_with_each_change(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.put("configmaps/a", config_map("a", json!({ "k": "2" }))).await.is(200);
    t.put("configmaps/a", config_map("a", json!({ "k": "3" }))).await.is(200).has("/data/k", json!("3"));
}

async fn a_write_that_changes_nothing_keeps_the_version(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let again = t.put("configmaps/a", made.body.clone()).await.is(200);
    assert_eq!(made.version(), again.version());
    let patched = t.merge("configmaps/a", json!({ "data": { "k": "1" } })).await.is(200);
    assert_eq!(made.version(), patched.version());
}

async fn an_old_version_conflicts(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    t.put("configmaps/a", made.body.clone()).await.refused(409, "Conflict");
    let patch = json!({ "metadata": { "resourceVersion": made.version() }, "data": { "k": "3" } });
    t.merge("configmaps/a", patch).await.refused(409, "Conflict");
}

async fn a_configmap_can_be_replaced_without_a_version(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.put("configmaps/a", config_map("a", json!({ "l": "2" }))).await.is(200).has("/data/k", json!(null));
}

async fn a_custom_resource_cannot_be_replaced_without_a_version(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({}))).await.is(201);
    let refused = t.put(&format!("{widgets}/a"), widget(&t, "a", json!({ "size": 1 }))).await;
    refused.refused(422, "Invalid").names("metadata.resourceVersion");
}

async fn a_runtime_class_cannot_be_replaced_without_a_version(t: Trial) {
    t.post("/apis/node.k8s.io/v1/runtimeclasses", runtime_class(&t.id, "x")).await.is(201);
    let mut changed = runtime_class(&t.id, "x");
    changed["metadata"]["labels"] = json!({ "a": "b" });
    t.put("/apis/node.k8s.io/v1/runtimeclasses/{id}", changed).await.refused(422, "Invalid");
}

async fn another_uid_conflicts(t: Trial) {
    t.post("configmaps", config_map("a", json!({}))).await.is(201);
    let mut object = config_map("a", json!({ "k": "2" }));
    object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    t.put("configmaps/a", object).await.refused(409, "Conflict");
    let patch = json!({ "metadata": { "uid": "00000000-0000-0000-0000-000000000000" } });
    t.merge("configmaps/a", patch).await.refused(422, "Invalid").names("metadata.uid");
}

async fn a_missing_object_is_not_found(t: Trial) {
    t.get("configmaps/a").await.refused(404, "NotFound");
    t.put("configmaps/a", config_map("a", json!({}))).await.refused(404, "NotFound");
    t.merge("configmaps/a", json!({})).await.refused(404, "NotFound");
    t.delete("configmaps/a").await.refused(404, "NotFound");
    let widgets = define(&t, anything(), json!({})).await;
    let path = format!("{widgets}/a");
    t.get(&path).await.refused(404, "NotFound");
    let mut object = widget(&t, "a", json!({}));
    object["metadata"]["resourceVersion"] = json!("1");
    t.put(&path, object).await.refused(404, "NotFound");
}

async fn what_is_missing_is_created_by_put_for_some_kinds(t: Trial) {
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "a" },
        "spec": { "holderIdentity": "me", "leaseDurationSeconds": 15 } });
    t.put("coordination.k8s.io/v1:leases/a", lease).await.is(201);
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "a" }, "rules": [] });
    t.put("rbac.authorization.k8s.io/v1:roles/a", role).await.is(201);
}

async fn another_name_in_the_body_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({}))).await.is(201);
    t.put("configmaps/a", config_map("b", json!({}))).await.refused(400, "BadRequest");
    let mut object = config_map("a", json!({}));
    object["metadata"]["namespace"] = json!("default");
    t.put("configmaps/a", object).await.refused(400, "BadRequest");
}

async fn what_only_the_server_sets_stays(t: Trial) {
    let made = t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let mut object = made.body.clone();
    object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    object["metadata"]["generation"] = json!(9);
    object["status"] = json!({ "replicas": 9 });
    let after = t.unrecorded().put("apps/v1:deployments/a", object).await.is(200);
    assert_eq!(after.metadata("creationTimestamp"), made.metadata("creationTimestamp"));
    after.has("/metadata/generation", json!(1)).has("/status/replicas", json!(null));
    let mut object = made.body.clone();
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    object["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    let refused = t.put("apps/v1:deployments/a", object).await.refused(422, "Invalid");
    refused.names("metadata.deletionTimestamp");
}

async fn an_unreadable_version_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({}))).await.is(201);
    let mut object = config_map("a", json!({}));
    object["metadata"]["resourceVersion"] = json!("abc");
    let answer = t.put("configmaps/a", object).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn immutable_fields_are_refused(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let mut object = deployment("a");
    object["spec"]["selector"] = json!({ "matchLabels": { "app": "b" } });
    object["spec"]["template"]["metadata"]["labels"] = json!({ "app": "b" });
    t.put("apps/v1:deployments/a", object).await.refused(422, "Invalid").names("spec.selector");
    let made = t.post("/apis/node.k8s.io/v1/runtimeclasses", runtime_class(&t.id, "x")).await.is(201);
    let mut object = made.body.clone();
    object["handler"] = json!("y");
    let answer = t.put("/apis/node.k8s.io/v1/runtimeclasses/{id}", object).await;
    answer.refused(422, "Invalid").names("handler");
    let secret = |kind: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "type": kind });
    t.post("secrets", secret("one")).await.is(201);
    t.put("secrets/a", secret("two")).await.refused(422, "Invalid").names("type");
}

async fn an_immutable_configmap_stays(t: Trial) {
    let mut object = config_map("a", json!({ "k": "1" }));
    object["immutable"] = json!(true);
    t.post("configmaps", object.clone()).await.is(201);
    t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.refused(422, "Invalid").names("data");
    t.merge("configmaps/a", json!({ "immutable": false })).await.refused(422, "Invalid").names("immutable");
    t.merge("configmaps/a", json!({ "metadata": { "labels": { "a": "b" } } })).await.is(200);
}

async fn a_pods_specification_stays(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    let patch = json!({ "spec": { "hostNetwork": true } });
    t.merge("pods/a", patch).await.refused(422, "Invalid").names("spec");
    let image =
        json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "example.com/main:2" }]);
    t.json_patch("pods/a", image).await.is(200);
}

async fn generation_counts_changes_of_the_specification(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let path = "apps/v1:deployments/a";
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    t.merge(path, labels).await.is(200).has("/metadata/generation", json!(1));
    t.merge(path, json!({ "spec": { "replicas": 3 } })).await.is(200).has("/metadata/generation", json!(2));
    let status = json!({ "status": { "replicas": 3 } });
    t.merge("apps/v1:deployments/a/status", status).await.is(200).has("/metadata/generation", json!(2));
}

async fn generation_of_a_custom_resource_counts_too(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let path = format!("{widgets}/a");
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    t.merge(&path, labels).await.is(200).has("/metadata/generation", json!(1));
    t.merge(&path, json!({ "spec": { "size": 2 } })).await.is(200).has("/metadata/generation", json!(2));
    // Without a status subresource, the status is part of what is counted.
    t.merge(&path, json!({ "status": { "x": 1 } })).await.is(200).has("/metadata/generation", json!(3));
}

async fn of_two_writers_one_wins(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({}))).await.is(201);
    let write = |value: &str| {
        let mut object = made.body.clone();
        object["data"] = json!({ "k": value });
        object
    };
    let quiet = t.unrecorded();
    let (one, two) =
        tokio::join!(quiet.put("configmaps/a", write("1")), quiet.put("configmaps/a", write("2")));
    let mut codes = [one.code, two.code];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409]);
}

async fn a_read_at_a_version_answers(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.get(&format!("configmaps/a?resourceVersion={}", made.version())).await.is(200);
    t.get("configmaps/a?resourceVersion=abc").await;
}

async fn ownership_is_recorded_for_updates(t: Trial) {
    t.post("configmaps?fieldManager=one", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = json!({ "data": { "l": "2" }, "metadata": { "labels": { "x": "y" } } });
    t.merge("configmaps/a?fieldManager=two", patch).await.is(200);
    let patch = json!({ "data": { "k": "3" } });
    t.merge("configmaps/a?fieldManager=two", patch).await.is(200);
    t.unrecorded().merge("configmaps/a?fieldManager=one", json!({ "data": { "l": null } })).await.is(200);
    t.put("configmaps/a?fieldManager=three", config_map("a", json!({ "m": "1" }))).await.is(200);
    t.merge("configmaps/a?fieldManager=one", json!({ "metadata": { "managedFields": [{}] } })).await.is(200);
}

async fn a_manager_is_named_by_the_request(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    made.has("/metadata/managedFields/0/manager", json!("conformance"));
    let long = "m".repeat(129);
    t.merge(&format!("configmaps/a?fieldManager={long}"), json!({})).await.refused(422, "Invalid");
}
