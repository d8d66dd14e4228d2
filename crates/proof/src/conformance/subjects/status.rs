//! The status subresource.

use serde_json::json;

use super::objects::{DEPLOYMENTS, anything, define, deployment, node, pod, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_custom_status_is_written_apart,
        a_put_of_a_custom_status_needs_a_version,
        without_the_subresource_there_is_none,
        the_status_of_a_deployment,
        the_status_of_a_pod,
        the_status_of_a_node_merges_conditions_by_type,
        the_main_resource_keeps_the_status,
        a_status_without_an_object_is_not_found,
        a_status_is_not_created_or_deleted,
        a_status_is_read_as_the_object,
        the_status_of_a_config_map_is_unknown,
        scale_of_a_deployment,
        scale_of_a_custom_resource,
    ];
    let metadata = Case::new("a_custom_status_is_no_metadata", a_custom_status_is_no_metadata);
    cases.push(metadata.exempt("since 1.22 nobody owns a field that the write could not set"));
    cases
}

async fn a_custom_status_is_written_apart(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let (path, status) = (format!("{widgets}/a"), format!("{widgets}/a/status"));
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let patch = json!({ "spec": { "size": 2 }, "status": { "ready": true } });
    let after = t.merge(&status, patch.clone()).await.is(200);
    after.has("/spec/size", json!(1)).has("/status/ready", json!(true)).has("/metadata/generation", json!(1));
    let after = t.merge(&path, json!({ "spec": { "size": 2 }, "status": { "ready": false } })).await.is(200);
    after.has("/spec/size", json!(2)).has("/status/ready", json!(true)).has("/metadata/generation", json!(2));
}

async fn a_custom_status_is_no_metadata(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let status = format!("{widgets}/a/status");
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let patch = json!({ "metadata": { "labels": { "x": "y" }, "finalizers": ["example.com/a"] }, "status": { "x": 1 } });
    let after = t.merge(&status, patch).await.is(200);
    after.has("/metadata/labels", json!(null)).has("/metadata/finalizers", json!(null));
}

async fn a_put_of_a_custom_status_needs_a_version(t: Trial) {
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let status = format!("{widgets}/a/status");
    let made = t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let mut object = made.body.clone();
    object["status"] = json!({ "ready": true });
    t.put(&status, object.clone()).await.is(200).has("/status/ready", json!(true));
    t.put(&status, object.clone()).await.refused(409, "Conflict");
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    t.put(&status, object).await.refused(422, "Invalid");
}

async fn without_the_subresource_there_is_none(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.get(&format!("{widgets}/a/status")).await.is(404);
    t.merge(&format!("{widgets}/a/status"), json!({ "status": { "x": 1 } })).await.is(404);
    t.merge(&format!("{widgets}/a"), json!({ "status": { "x": 1 } }))
        .await
        .is(200)
        .has("/status/x", json!(1));
}

async fn the_status_of_a_deployment(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let path = "apps/v1:deployments/a/status";
    let patch = json!({ "spec": { "replicas": 7 }, "status": { "replicas": 1, "readyReplicas": 1, "observedGeneration": 1 } });
    let after = t.merge(path, patch).await.is(200);
    after.has("/status/readyReplicas", json!(1)).has("/spec/replicas", json!(1));
    let conditions = json!([{ "type": "Available", "status": "True", "reason": "X", "message": "y",
        "lastUpdateTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z" }]);
    t.strategic(path, json!({ "status": { "conditions": conditions } })).await.is(200);
}

fn condition(kind: &str) -> serde_json::Value {
    json!({ "type": kind, "status": "True", "lastProbeTime": "2020-01-01T00:00:00Z",
        "lastTransitionTime": "2020-01-01T00:00:00Z" })
}

async fn the_status_of_a_pod(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    let status = json!({ "phase": "Running", "podIP": "10.0.0.1", "conditions": [condition("Ready")] });
    let after = t.strategic("pods/a/status", json!({ "status": status })).await.is(200);
    after.has("/status/phase", json!("Running"));
    let condition = json!([condition("Initialized")]);
    let after = t.strategic("pods/a/status", json!({ "status": { "conditions": condition } })).await.is(200);
    assert_eq!(after.body["status"]["conditions"].as_array().unwrap().len(), 2);
}

async fn the_status_of_a_node_merges_conditions_by_type(t: Trial) {
    t.post("/api/v1/nodes", node(&t.id)).await.is(201);
    let condition = |kind: &str, status: &str| {
        json!({ "status": { "conditions": [{ "type": kind, "status": status,
        "lastHeartbeatTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z" }] } })
    };
    let path = "/api/v1/nodes/{id}/status";
    t.strategic(path, condition("Ready", "False")).await.is(200);
    t.strategic(path, condition("DiskPressure", "False")).await.is(200);
    let after = t.strategic(path, condition("Ready", "True")).await.is(200);
    assert_eq!(after.body["status"]["conditions"].as_array().unwrap().len(), 2);
    let after =
        t.unrecorded().strategic(path, json!({ "metadata": { "labels": { "x": "y" } } })).await.is(200);
    after.has("/metadata/labels/x", json!("y"));
}

async fn the_main_resource_keeps_the_status(t: Trial) {
    let made = t.post("pods", pod("a")).await.is(201);
    let mut object = made.body.clone();
    object["status"] = json!({ "phase": "Running" });
    object["metadata"]["labels"] = json!({ "x": "y" });
    t.unrecorded().put("pods/a", object).await.is(200).has("/status/phase", json!("Pending"));
}

async fn a_status_without_an_object_is_not_found(t: Trial) {
    t.get("pods/a/status").await.refused(404, "NotFound");
    t.merge("pods/a/status", json!({})).await.refused(404, "NotFound");
}

async fn a_status_is_not_created_or_deleted(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    t.post("pods/a/status", pod("a")).await.refused(405, "MethodNotAllowed");
    t.delete("pods/a/status").await.refused(405, "MethodNotAllowed");
}

async fn a_status_is_read_as_the_object(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    t.get("pods/a/status").await.is(200).has("/kind", json!("Pod"));
}

async fn the_status_of_a_config_map_is_unknown(t: Trial) {
    t.get("configmaps/a/status").await.is(404);
}

async fn scale_of_a_deployment(t: Trial) {
    let made = t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let path = "apps/v1:deployments/a/scale";
    let scale = t.get(path).await.is(200);
    let scale = scale.has("/spec/replicas", json!(1)).has("/status/selector", json!("app=a"));
    assert_eq!(scale.uid(), made.uid());
    t.merge(path, json!({ "spec": { "replicas": 3 } })).await.is(200).has("/spec/replicas", json!(3));
    let mut body = scale.body.clone();
    body["spec"]["replicas"] = json!(4);
    t.put(path, body).await.refused(409, "Conflict");
    t.get("apps/v1:deployments/a").await.has("/spec/replicas", json!(3));
}

async fn scale_of_a_custom_resource(t: Trial) {
    let scale = json!({ "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" });
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {}, "scale": scale } })).await;
    t.post(&widgets, widget(&t, "a", json!({ "replicas": 2 }))).await.is(201);
    let path = format!("{widgets}/a/scale");
    t.get(&path).await.is(200).has("/spec/replicas", json!(2)).has("/kind", json!("Scale"));
    t.merge(&path, json!({ "spec": { "replicas": 3 } })).await.is(200).has("/spec/replicas", json!(3));
    t.get(&format!("{widgets}/a"))
        .await
        .is(200)
        .has("/spec/replicas", json!(3))
        .has("/metadata/generation", json!(2));
}
