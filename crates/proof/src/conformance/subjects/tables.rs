//! Rows for people, as `kubectl get` shows them.

use serde_json::{Value, json};

use super::objects::{
    DEPLOYMENTS, anything, config_map, define, deployment, node, pod, runtime_class, widget,
};
use crate::conformance::case::{Case, cases};
use crate::conformance::exemptions;
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        config_maps_in_rows,
        secrets_in_rows,
        pods_in_rows,
        pods_that_end_in_rows,
        deployments_in_rows,
        daemon_sets_in_rows,
        nodes_in_rows,
        namespaces_in_rows,
        runtime_classes_in_rows,
        definitions_in_rows,
        service_accounts_in_rows,
        custom_resources_have_an_age,
        custom_columns_are_shown,
        custom_columns_of_all_types,
        custom_columns_that_lead_nowhere,
        one_object_is_one_row,
        no_object_is_no_row,
        rows_carry_metadata_unless_told_otherwise,
        a_refusal_is_no_table,
        pages_of_rows,
    ]
}

/// Headings and cells; nothing else of a table is for people.
async fn rows(t: &Trial, path: &str) -> Value {
    let table = t.unrecorded().table(path).await.is(200).body;
    let headings: Vec<Value> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|heading| json!([heading["name"], heading["type"], heading["format"], heading["priority"]]))
        .collect();
    let headings = exemptions::restarts_as_text(headings);
    let cells: Vec<Value> =
        table["rows"].as_array().unwrap().iter().map(|row| young(&row["cells"])).collect();
    let shown = exemptions::numbers_as_text(&headings, &cells);
    t.note(format!("rows of {path}"), json!({ "headings": headings, "cells": shown }));
    json!(cells)
}

/// Hides how many seconds old an object is.
fn young(cells: &Value) -> Value {
    let is_age = |text: &str| text.strip_suffix('s').is_some_and(|number| number.parse::<u8>().is_ok());
    let hide = |cell: &Value| if cell.as_str().is_some_and(is_age) { json!("young") } else { cell.clone() };
    cells.as_array().unwrap().iter().map(hide).collect()
}

async fn config_maps_in_rows(t: Trial) {
    t.unrecorded().post("configmaps", config_map("a", json!({ "k": "v", "l": "w" }))).await.is(201);
    let found = rows(&t, "configmaps?fieldSelector=metadata.name%3Da").await;
    assert_eq!(found[0], json!(["a", 2, "young"]));
}

async fn secrets_in_rows(t: Trial) {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "stringData": { "k": "v" } });
    t.unrecorded().post("secrets", secret).await.is(201);
    assert_eq!(rows(&t, "secrets").await[0], json!(["a", "Opaque", 1, "young"]));
}

async fn pods_in_rows(t: Trial) {
    let quiet = t.unrecorded();
    let mut object = pod("a");
    object["spec"]["nodeName"] = json!("somewhere");
    quiet.post("pods", object).await.is(201);
    assert_eq!(rows(&t, "pods").await[0][2], "Pending");
    let status = json!({ "phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{ "name": "main", "ready": true,
        "restartCount": 0, "image": "x", "imageID": "x", "state": { "running": { "startedAt": "2020-01-01T00:00:00Z" } } }] });
    quiet.merge("pods/a/status", json!({ "status": status })).await.is(200);
    let found = rows(&t, "pods").await;
    assert_eq!((&found[0][1], &found[0][2]), (&json!("1/1"), &json!("Running")));
    quiet.delete("pods/a").await.is(200);
    assert_eq!(rows(&t, "pods").await[0][2], "Terminating");
}

async fn pods_that_end_in_rows(t: Trial) {
    let quiet = t.unrecorded();
    for (name, phase, state) in [
        ("done", "Succeeded", json!({ "terminated": { "exitCode": 0, "reason": "Completed" } })),
        ("failed", "Failed", json!({ "terminated": { "exitCode": 3, "reason": "Error" } })),
        ("waiting", "Pending", json!({ "waiting": { "reason": "ImagePullBackOff" } })),
        ("killed", "Failed", json!({ "terminated": { "exitCode": 137, "signal": 9 } })),
    ] {
        quiet.post("pods", pod(name)).await.is(201);
        let container = json!({ "name": "main", "ready": false, "restartCount": 2, "image": "x", "imageID": "x", "state": state });
        let status = json!({ "status": { "phase": phase, "containerStatuses": [container] } });
        quiet.merge(&format!("pods/{name}/status"), status).await.is(200);
    }
    quiet.post("pods", pod("evicted")).await.is(201);
    quiet
        .merge("pods/evicted/status", json!({ "status": { "phase": "Failed", "reason": "Evicted" } }))
        .await
        .is(200);
    let found = rows(&t, "pods").await;
    let words: Vec<&Value> = found.as_array().unwrap().iter().map(|row| &row[2]).collect();
    assert_eq!(words, ["Completed", "Evicted", "Error", "Signal:9", "ImagePullBackOff"]);
}

async fn deployments_in_rows(t: Trial) {
    let quiet = t.unrecorded();
    quiet.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let status = json!({ "status": { "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1 } });
    quiet.merge("apps/v1:deployments/a/status", status).await.is(200);
    assert_eq!(rows(&t, DEPLOYMENTS).await[0][1], "1/1");
}

async fn daemon_sets_in_rows(t: Trial) {
    let quiet = t.unrecorded();
    let mut object = deployment("a");
    object["kind"] = json!("DaemonSet");
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({ "x": "y" });
    quiet.post("apps/v1:daemonsets", object).await.is(201);
    let status = json!({ "status": { "desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1,
        "numberMisscheduled": 0, "updatedNumberScheduled": 2, "numberAvailable": 1 } });
    quiet.merge("apps/v1:daemonsets/a/status", status).await.is(200);
    assert_eq!(rows(&t, "apps/v1:daemonsets").await[0][1], 3);
}

async fn nodes_in_rows(t: Trial) {
    let quiet = t.unrecorded();
    let mut object = node(&t.id);
    object["metadata"]["labels"] =
        json!({ "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/kata-oc": "" });
    quiet.post("/api/v1/nodes", object).await.is(201);
    let path = format!("/api/v1/nodes?fieldSelector=metadata.name%3D{}", t.id);
    rows(&t, &path).await;
    let status = json!({ "status": {
        "conditions": [{ "type": "Ready", "status": "True", "lastHeartbeatTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z" }],
        "addresses": [{ "type": "InternalIP", "address": "10.0.0.9" }] } });
    quiet.merge(&format!("/api/v1/nodes/{}/status", t.id), status).await.is(200);
    quiet
        .merge(&format!("/api/v1/nodes/{}", t.id), json!({ "spec": { "unschedulable": true } }))
        .await
        .is(200);
    assert_eq!(rows(&t, &path).await[0][1], "Ready,SchedulingDisabled");
}

async fn namespaces_in_rows(t: Trial) {
    let found = rows(&t, &format!("/api/v1/namespaces?fieldSelector=metadata.name%3D{}", t.id)).await;
    assert_eq!(found[0][1], "Active");
}

async fn runtime_classes_in_rows(t: Trial) {
    t.unrecorded().post("/apis/node.k8s.io/v1/runtimeclasses", runtime_class(&t.id, "kata")).await.is(201);
    let found =
        rows(&t, &format!("/apis/node.k8s.io/v1/runtimeclasses?fieldSelector=metadata.name%3D{}", t.id))
            .await;
    assert_eq!(found[0][1], "kata");
}

async fn definitions_in_rows(t: Trial) {
    define(&t, anything(), json!({})).await;
    let path = super::objects::definition_path(&t);
    let table = t.unrecorded().table(&path).await.is(200).body;
    assert_eq!(table["rows"][0]["cells"][0], format!("widgets.{}", super::objects::group(&t)));
    let headings: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|h| &h["name"]).collect();
    t.note("headings", json!(headings));
}

async fn service_accounts_in_rows(t: Trial) {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "a" } });
    t.unrecorded().post("serviceaccounts", account).await.is(201);
    assert_eq!(rows(&t, "serviceaccounts").await[0][0], "a");
}

async fn custom_resources_have_an_age(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.unrecorded().post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    assert_eq!(rows(&t, &widgets).await[0], json!(["a", "young"]));
}

fn columns(list: Value) -> Value {
    json!({ "additionalPrinterColumns": list, "subresources": { "status": {} } })
}

async fn custom_columns_are_shown(t: Trial) {
    let list = json!([
        { "name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "How large" },
        { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status" },
        { "name": "Wide", "type": "string", "jsonPath": ".spec.colour", "priority": 1 },
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]);
    let widgets = define(&t, anything(), columns(list)).await;
    let quiet = t.unrecorded();
    quiet.post(&widgets, widget(&t, "a", json!({ "size": 3, "colour": "red" }))).await.is(201);
    let conditions = json!([{ "type": "Other", "status": "False" }, { "type": "Ready", "status": "True" }]);
    quiet
        .merge(&format!("{widgets}/a/status"), json!({ "status": { "conditions": conditions } }))
        .await
        .is(200);
    assert_eq!(rows(&t, &widgets).await[0], json!(["a", 3, "True", "red", "young"]));
}

async fn custom_columns_of_all_types(t: Trial) {
    let column =
        |name: &str, kind: &str| json!({ "name": name, "type": kind, "jsonPath": format!(".spec.{name}") });
    let list = json!([
        column("i", "integer"),
        column("n", "number"),
        column("b", "boolean"),
        column("s", "string"),
        column("d", "date"),
        column("l", "string"),
        column("o", "string")
    ]);
    let widgets = define(&t, anything(), columns(list)).await;
    let spec = json!({ "i": 7, "n": 1.5, "b": true, "s": "x", "d": "2001-01-01T00:00:00Z", "l": ["x", "y"], "o": { "k": 1 } });
    t.unrecorded().post(&widgets, widget(&t, "a", spec)).await.is(201);
    assert_eq!(rows(&t, &widgets).await[0][1], 7);
}

async fn custom_columns_that_lead_nowhere(t: Trial) {
    let column = |name: &str, kind: &str, path: &str| json!({ "name": name, "type": kind, "jsonPath": path });
    let list = json!([
        column("a", "integer", ".spec.missing"),
        column("b", "date", ".spec.missing"),
        column("c", "string", ".spec.list[5]"),
        column("d", "integer", ".spec.text"),
        column("e", "string", ".spec.list[0].x")
    ]);
    let widgets = define(&t, anything(), columns(list)).await;
    let spec = json!({ "text": "no number", "list": [{ "x": "1" }, { "x": "2" }] });
    t.unrecorded().post(&widgets, widget(&t, "a", spec)).await.is(201);
    assert_eq!(rows(&t, &widgets).await[0][1], Value::Null);
}

async fn one_object_is_one_row(t: Trial) {
    t.unrecorded().post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    assert_eq!(rows(&t, "configmaps/a").await.as_array().unwrap().len(), 1);
}

async fn no_object_is_no_row(t: Trial) {
    assert_eq!(rows(&t, "secrets").await, json!([]));
}

async fn rows_carry_metadata_unless_told_otherwise(t: Trial) {
    t.unrecorded().post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    for (include, kind) in
        [("None", Value::Null), ("Metadata", json!("PartialObjectMetadata")), ("Object", json!("ConfigMap"))]
    {
        let table = t.unrecorded().table(&format!("configmaps/a?includeObject={include}")).await.is(200).body;
        assert_eq!(table["rows"][0]["object"]["kind"], kind);
        t.note(include, table["rows"][0]["object"].clone());
    }
}

async fn a_refusal_is_no_table(t: Trial) {
    t.table("configmaps/nobody").await.refused(404, "NotFound");
}

async fn pages_of_rows(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["a", "b"] {
        t.unrecorded().post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    let table = t.unrecorded().table(&format!("{widgets}?limit=1")).await.is(200).body;
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    assert_eq!(table["metadata"]["remainingItemCount"], 1);
    assert!(!table["metadata"]["continue"].as_str().unwrap().is_empty());
}
