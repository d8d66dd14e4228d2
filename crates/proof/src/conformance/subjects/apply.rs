//! Server-side apply: ownership and conflicts.

use serde_json::{Value, json};

use super::objects::{DEPLOYMENTS, anything, config_map, define, deployment, object, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        apply_creates,
        the_same_twice_changes_nothing,
        a_field_of_another_manager_conflicts,
        a_field_of_an_update_conflicts,
        several_conflicts_are_told_at_once,
        force_takes_over,
        the_same_value_is_shared,
        a_shared_field_stays_until_nobody_wants_it,
        what_is_no_longer_applied_goes,
        what_others_own_stays,
        a_whole_map_can_be_given_up,
        an_update_takes_ownership_from_an_apply,
        an_update_by_the_same_manager_is_another_owner,
        apply_needs_a_manager,
        apply_takes_no_managed_fields,
        apply_needs_the_right_name,
        apply_validates,
        apply_with_an_old_version_conflicts,
        apply_with_a_uid_does_not_create,
        apply_takes_yaml,
        apply_to_the_status_of_a_custom_resource,
        apply_does_not_write_the_status,
        ownership_can_be_reset,
        replicas_are_handed_over,
        apply_of_the_empty_object_owns_nothing,
        apply_to_an_undeclared_field_is_refused,
    ];
    let typeless = Case::new("apply_needs_kind_and_version", apply_needs_kind_and_version);
    cases.push(typeless.exempt("since 1.22 it is 400 BadRequest, before it was 500"));
    let custom = Case::new("apply_to_a_custom_resource", apply_to_a_custom_resource);
    cases
        .push(custom.exempt(
            "since 1.21 fields that no schema knows are owned one by one, before only the outermost",
        ));
    cases
}

async fn apply_creates(t: Trial) {
    let made = t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    made.has("/metadata/managedFields/0/operation", json!("Apply"));
    t.apply("apps/v1:deployments/b", "one", deployment("b")).await.is(201);
}

async fn the_same_twice_changes_nothing(t: Trial) {
    let config = config_map("a", json!({ "k": "1" }));
    let made = t.apply("configmaps/a", "one", config.clone()).await.is(201);
    let again = t.apply("configmaps/a", "one", config).await.is(200);
    assert_eq!(made.version(), again.version());
    let made = t.apply("apps/v1:deployments/b", "one", deployment("b")).await.is(201);
    let again = t.apply("apps/v1:deployments/b", "one", deployment("b")).await.is(200);
    assert_eq!(made.version(), again.version());
}

async fn a_field_of_another_manager_conflicts(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    let refused = t.apply("configmaps/a", "two", config_map("a", json!({ "k": "2" }))).await;
    refused.refused(409, "Conflict").names(".data.k");
    t.get("configmaps/a").await.has("/data/k", json!("1"));
}

async fn a_field_of_an_update_conflicts(t: Trial) {
    t.post("configmaps?fieldManager=one", config_map("a", json!({ "k": "1" }))).await.is(201);
    let refused = t.apply("configmaps/a", "two", config_map("a", json!({ "k": "2" }))).await;
    let refused = refused.refused(409, "Conflict");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("\"one\" using v1"), "{message}");
}

async fn several_conflicts_are_told_at_once(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1", "l": "1" }))).await.is(201);
    let three = config_map("a", json!({ "m": "1" }));
    t.apply("configmaps/a", "three", three).await.is(200);
    let refused =
        t.apply("configmaps/a", "two", config_map("a", json!({ "k": "2", "l": "2", "m": "2" }))).await;
    refused.refused(409, "Conflict").names(".data.k").names(".data.l").names(".data.m");
}

async fn force_takes_over(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1", "l": "1" }))).await.is(201);
    t.apply_forced("configmaps/a", "two", config_map("a", json!({ "k": "2" })))
        .await
        .is(200)
        .has("/data/k", json!("2"));
    t.apply("configmaps/a", "one", config_map("a", json!({ "l": "1" })))
        .await
        .is(200)
        .has("/data/k", json!("2"));
}

async fn the_same_value_is_shared(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.apply("configmaps/a", "two", config_map("a", json!({ "k": "1" }))).await.is(200);
    let refused = t.apply("configmaps/a", "two", config_map("a", json!({ "k": "2" }))).await;
    refused.refused(409, "Conflict");
}

async fn a_shared_field_stays_until_nobody_wants_it(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1", "l": "1" }))).await.is(201);
    t.apply("configmaps/a", "two", config_map("a", json!({ "k": "1", "l": "1" }))).await.is(200);
    let one = config_map("a", json!({ "l": "1" }));
    t.apply("configmaps/a", "one", one.clone()).await.is(200).has("/data/k", json!("1"));
    t.apply("configmaps/a", "two", one).await.is(200).has("/data/k", json!(null));
}

async fn what_is_no_longer_applied_goes(t: Trial) {
    let mut config = config_map("a", json!({ "k": "1", "l": "1" }));
    config["metadata"]["labels"] = json!({ "x": "1" });
    t.apply("configmaps/a", "one", config).await.is(201);
    let after = t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(200);
    after.has("/data", json!({ "k": "1" })).has("/metadata/labels", json!(null));
}

async fn what_others_own_stays(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a?fieldManager=two", json!({ "data": { "l": "2" } })).await.is(200);
    let after = t.apply("configmaps/a", "one", config_map("a", json!({ "m": "1" }))).await.is(200);
    after.has("/data", json!({ "l": "2", "m": "1" }));
}

async fn a_whole_map_can_be_given_up(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    let mut config = config_map("a", json!({}));
    config.as_object_mut().unwrap().remove("data");
    t.apply("configmaps/a", "one", config).await.is(200).has("/data", json!(null));
}

async fn an_update_takes_ownership_from_an_apply(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a?fieldManager=two", json!({ "data": { "k": "2" } })).await.is(200);
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.refused(409, "Conflict");
    let mut config = config_map("a", json!({}));
    config.as_object_mut().unwrap().remove("data");
    t.apply("configmaps/a", "one", config).await.is(200).has("/data/k", json!("2"));
}

async fn an_update_by_the_same_manager_is_another_owner(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a?fieldManager=one", json!({ "data": { "k": "2", "l": "2" } })).await.is(200);
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.refused(409, "Conflict");
    t.apply_forced("configmaps/a", "one", config_map("a", json!({ "k": "1" })))
        .await
        .is(200)
        .has("/data/l", json!("2"));
}

async fn apply_needs_a_manager(t: Trial) {
    let answer = t.apply_raw("configmaps/a", config_map("a", json!({ "k": "1" }))).await;
    answer.refused(422, "Invalid").names("fieldManager");
}

async fn apply_takes_no_managed_fields(t: Trial) {
    let mut config = config_map("a", json!({ "k": "1" }));
    config["metadata"]["managedFields"] =
        json!([{ "manager": "x", "operation": "Apply", "apiVersion": "v1" }]);
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.apply("configmaps/a", "one", config).await.refused(400, "BadRequest");
}

async fn apply_needs_kind_and_version(t: Trial) {
    for missing in ["kind", "apiVersion"] {
        let mut config = config_map("a", json!({ "k": "1" }));
        config.as_object_mut().unwrap().remove(missing);
        assert!(t.apply("configmaps/a", "one", config).await.code >= 400);
    }
}

async fn apply_needs_the_right_name(t: Trial) {
    t.apply("configmaps/a", "one", config_map("b", json!({ "k": "1" }))).await.refused(400, "BadRequest");
    let mut config = config_map("a", json!({ "k": "1" }));
    config["metadata"]["namespace"] = json!("default");
    t.apply("configmaps/a", "one", config).await.refused(400, "BadRequest");
    let unnamed = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "1" } });
    t.apply("configmaps/a", "one", unnamed).await.refused(400, "BadRequest");
}

async fn apply_validates(t: Trial) {
    let config = config_map("a", json!({ "a b": "1" }));
    t.apply("configmaps/a", "one", config).await.refused(422, "Invalid").names("data[a b]");
    t.get("configmaps/a").await.refused(404, "NotFound");
}

async fn apply_with_an_old_version_conflicts(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    let mut config = config_map("a", json!({ "l": "1" }));
    config["metadata"]["resourceVersion"] = json!(made.version());
    t.apply("configmaps/a", "one", config).await.refused(409, "Conflict");
}

async fn apply_with_a_uid_does_not_create(t: Trial) {
    let mut config = config_map("a", json!({ "l": "1" }));
    config["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    t.apply("configmaps/a", "one", config).await.refused(409, "Conflict");
}

async fn apply_takes_yaml(t: Trial) {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: |\n    two\n    lines\n";
    let headers = [("content-type", "application/apply-patch+yaml")];
    let made = t.send(http::Method::PATCH, "configmaps/a?fieldManager=one", &headers, text.into()).await;
    made.is(201).has("/data/k", json!("two\nlines\n"));
}

async fn apply_to_a_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let path = format!("{widgets}/a");
    let made = t.apply(&path, "one", widget(&t, "a", json!({ "size": 1, "deep": { "x": 1 } }))).await.is(201);
    made.has("/metadata/generation", json!(1));
    let refused = t.apply(&path, "two", widget(&t, "a", json!({ "deep": { "x": 2 } }))).await;
    refused.refused(409, "Conflict");
    let after = t.apply(&path, "one", widget(&t, "a", json!({ "size": 2 }))).await.is(200);
    after.has("/spec", json!({ "size": 2 })).has("/metadata/generation", json!(2));
}

fn with_status(mut object: Value, status: Value) -> Value {
    object.as_object_mut().unwrap().remove("spec");
    object["status"] = status;
    object
}

async fn apply_to_the_status_of_a_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let path = format!("{widgets}/a");
    t.apply(&path, "one", widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let config = with_status(widget(&t, "a", json!({})), json!({ "ready": true }));
    let after = t.apply(&format!("{path}/status"), "two", config).await.is(200);
    after.has("/status/ready", json!(true)).has("/spec/size", json!(1)).has("/metadata/generation", json!(1));
    let config = with_status(widget(&t, "a", json!({})), json!({ "ready": false }));
    t.apply(&format!("{path}/status"), "three", config).await.refused(409, "Conflict").names(".status.ready");
}

async fn apply_does_not_write_the_status(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let path = format!("{widgets}/a");
    t.apply(&path, "one", widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let mut config = widget(&t, "a", json!({ "size": 2 }));
    config["status"] = json!({ "ready": true });
    t.unrecorded()
        .apply(&path, "one", config)
        .await
        .is(200)
        .has("/status", json!(null))
        .has("/spec/size", json!(2));
}

async fn ownership_can_be_reset(t: Trial) {
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = json!([{ "op": "replace", "path": "/metadata/managedFields", "value": [{}] }]);
    t.json_patch("configmaps/a?fieldManager=two", patch).await.is(200);
    t.apply("configmaps/a", "three", config_map("a", json!({ "k": "2" }))).await;
}

async fn replicas_are_handed_over(t: Trial) {
    let mut config = deployment("a");
    config["spec"]["replicas"] = json!(2);
    t.apply("apps/v1:deployments/a", "one", config.clone()).await.is(201);
    t.merge("apps/v1:deployments/a?fieldManager=scaler", json!({ "spec": { "replicas": 5 } })).await.is(200);
    t.apply("apps/v1:deployments/a", "one", config).await.refused(409, "Conflict").names(".spec.replicas");
    let after = t.apply("apps/v1:deployments/a", "one", deployment("a")).await.is(200);
    after.has("/spec/replicas", json!(5));
}

async fn apply_of_the_empty_object_owns_nothing(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let config = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" } });
    t.apply("apps/v1:deployments/a", "one", config).await.is(200);
}

async fn apply_to_an_undeclared_field_is_refused(t: Trial) {
    let mut config = config_map("a", json!({ "k": "1" }));
    config["unknown"] = json!("x");
    let answer = t.apply("configmaps/a", "one", config).await;
    assert!(answer.code >= 400, "{}", answer.body);
    let widgets = define(&t, object(json!({ "size": { "type": "integer" } })), json!({})).await;
    t.apply(&format!("{widgets}/a"), "one", widget(&t, "a", json!({ "size": 1, "unknown": 1 }))).await;
}
