//! Creating objects.

use serde_json::json;

use super::objects::{anything, config_map, define, deployment, node, pod, runtime_class, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        what_the_server_adds_to_a_new_object,
        what_the_server_adds_to_a_custom_resource,
        a_name_that_is_taken_is_refused,
        a_resource_version_is_refused,
        what_only_the_server_sets_is_ignored,
        a_generated_name_has_five_characters_more,
        a_given_name_wins_over_a_generated_one,
        a_long_prefix_is_cut_for_a_generated_name,
        another_namespace_in_the_body_is_refused,
        a_namespace_in_a_cluster_scoped_body_is_dropped,
        another_kind_in_the_body_is_refused,
        another_version_in_the_body_is_refused,
        a_body_that_is_no_json_is_refused,
        an_unknown_media_type_is_refused,
        yaml_is_understood,
        a_post_to_one_object_is_refused,
        a_node_registers_with_its_status,
        a_pod_gets_its_defaults,
        a_deployment_gets_its_defaults,
        a_secret_with_text_is_encoded,
        an_unknown_resource_is_not_found,
        empty_maps_are_not_kept,
        null_fields_are_absent,
        a_runtime_class_goes_into_the_pod,
        a_pod_with_an_unknown_runtime_class_is_refused,
    ];
    let status = Case::new("a_status_in_a_new_object_is_ignored", a_status_in_a_new_object_is_ignored);
    cases.push(status.exempt("since 1.22 nobody owns a field that the write could not set"));
    cases
}

async fn what_the_server_adds_to_a_new_object(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    assert!(!made.uid().is_empty() && !made.version().is_empty());
    t.get("configmaps/a").await.is(200).has("/metadata/uid", json!(made.uid()));
}

async fn what_the_server_adds_to_a_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 })))
        .await
        .is(201)
        .has("/metadata/generation", json!(1));
    t.get(&format!("{widgets}/a")).await.is(200);
}

async fn a_name_that_is_taken_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({}))).await.is(201);
    t.post("configmaps", config_map("a", json!({}))).await.refused(409, "AlreadyExists");
}

async fn a_resource_version_is_refused(t: Trial) {
    let mut object = config_map("a", json!({}));
    object["metadata"]["resourceVersion"] = json!("5");
    t.post("configmaps", object.clone()).await;
    t.get("configmaps/a").await.refused(404, "NotFound");
    object["metadata"]["resourceVersion"] = json!("0");
    t.post("configmaps", object).await.is(201);
}

async fn what_only_the_server_sets_is_ignored(t: Trial) {
    let mut object = config_map("a", json!({}));
    object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    object["metadata"]["generation"] = json!(7);
    object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    let made = t.post("configmaps", object).await.is(201);
    assert_ne!(made.uid(), "00000000-0000-0000-0000-000000000000");
    assert!(!made.metadata("creationTimestamp").starts_with("2001"));
    let widgets = define(&t, anything(), json!({})).await;
    let mut object = widget(&t, "a", json!({}));
    object["metadata"]["generation"] = json!(7);
    t.post(&widgets, object).await.is(201).has("/metadata/generation", json!(1));
}

async fn a_generated_name_has_five_characters_more(t: Trial) {
    let mut object = config_map("", json!({}));
    object["metadata"] = json!({ "generateName": "made-" });
    let made = t.post("configmaps", object).await.is(201).metadata("name");
    assert!(made.starts_with("made-") && made.len() == 10, "{made}");
    t.hide(&made, "generated");
}

async fn a_given_name_wins_over_a_generated_one(t: Trial) {
    let mut object = config_map("given", json!({}));
    object["metadata"]["generateName"] = json!("made-");
    t.post("configmaps", object).await.is(201).has("/metadata/name", json!("given"));
}

async fn a_long_prefix_is_cut_for_a_generated_name(t: Trial) {
    let mut object = config_map("", json!({}));
    object["metadata"] = json!({ "generateName": "a".repeat(80) });
    let made = t.post("configmaps", object).await.is(201).metadata("name");
    assert_eq!(made.len(), 63);
    t.hide(&made, "generated");
}

async fn another_namespace_in_the_body_is_refused(t: Trial) {
    let mut object = config_map("a", json!({}));
    object["metadata"]["namespace"] = json!("default");
    t.post("configmaps", object).await.refused(400, "BadRequest");
}

async fn a_namespace_in_a_cluster_scoped_body_is_dropped(t: Trial) {
    let mut object = runtime_class(&t.id, "x");
    object["metadata"]["namespace"] = json!("default");
    let made = t.post("/apis/node.k8s.io/v1/runtimeclasses", object).await.is(201);
    made.has("/metadata/namespace", json!(null));
}

async fn another_kind_in_the_body_is_refused(t: Trial) {
    let mut object = config_map("a", json!({}));
    object["kind"] = json!("Secret");
    t.post("configmaps", object).await.refused(400, "BadRequest");
}

async fn another_version_in_the_body_is_refused(t: Trial) {
    let mut object = deployment("a");
    object["apiVersion"] = json!("apps/v7");
    t.post("apps/v1:deployments", object).await.refused(400, "BadRequest");
}

async fn a_body_that_is_no_json_is_refused(t: Trial) {
    let headers = [("content-type", "application/json")];
    t.send(http::Method::POST, "configmaps", &headers, b"{]".to_vec()).await.refused(400, "BadRequest");
}

async fn an_unknown_media_type_is_refused(t: Trial) {
    let headers = [("content-type", "text/csv")];
    let answer = t.send(http::Method::POST, "configmaps", &headers, b"a,b".to_vec()).await;
    answer.refused(415, "UnsupportedMediaType");
}

async fn yaml_is_understood(t: Trial) {
    let headers = [("content-type", "application/yaml")];
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let made = t.send(http::Method::POST, "configmaps", &headers, text.into()).await;
    made.is(201).has("/data/k", json!("v"));
}

async fn a_post_to_one_object_is_refused(t: Trial) {
    t.post("configmaps/a", config_map("a", json!({}))).await.refused(405, "MethodNotAllowed");
}

async fn a_status_in_a_new_object_is_ignored(t: Trial) {
    let mut object = deployment("a");
    object["status"] = json!({ "replicas": 5 });
    t.post("apps/v1:deployments", object).await.is(201).has("/status/replicas", json!(null));
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    let mut object = widget(&t, "a", json!({}));
    object["status"] = json!({ "ready": true });
    t.post(&widgets, object).await.is(201).has("/status", json!(null));
}

async fn a_node_registers_with_its_status(t: Trial) {
    let made = t.post("/api/v1/nodes", node(&t.id)).await.is(201);
    made.has("/status/nodeInfo/kubeletVersion", json!("v1.0.0"));
}

async fn a_pod_gets_its_defaults(t: Trial) {
    let mut object = pod("a");
    object["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 80 }]);
    object["spec"]["containers"][0]["readinessProbe"] = json!({ "httpGet": { "port": 80 } });
    object["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "1" } });
    object["spec"]["containers"][0]["env"] =
        json!([{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }]);
    object["spec"]["initContainers"] = json!([{ "name": "first", "image": "example.com/first" }]);
    object["spec"]["volumes"] = json!([
        { "name": "config", "configMap": { "name": "x" } },
        { "name": "host", "hostPath": { "path": "/x" } },
        { "name": "empty", "emptyDir": {} },
    ]);
    let made = t.post("pods", object).await.is(201);
    made.has("/spec/restartPolicy", json!("Always")).has("/status/phase", json!("Pending"));
}

async fn a_deployment_gets_its_defaults(t: Trial) {
    let made = t.post("apps/v1:deployments", deployment("a")).await.is(201);
    made.has("/spec/replicas", json!(1)).has("/metadata/generation", json!(1));
}

async fn a_secret_with_text_is_encoded(t: Trial) {
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" },
        "stringData": { "k": "v" }, "data": { "k": "eA==", "l": "eQ==" } });
    let made = t.post("secrets", object).await.is(201);
    made.has("/data/k", json!("dg==")).has("/type", json!("Opaque"));
}

async fn an_unknown_resource_is_not_found(t: Trial) {
    t.post("nothings", config_map("a", json!({}))).await.is(404);
    t.get("nothings").await.is(404);
    t.get("/apis/nobody.example.com/v1/nothings").await.is(404);
}

async fn empty_maps_are_not_kept(t: Trial) {
    let mut object = config_map("a", json!({}));
    object["metadata"]["labels"] = json!({});
    object["metadata"]["annotations"] = json!({});
    object["metadata"]["finalizers"] = json!([]);
    let made = t.post("configmaps", object).await.is(201);
    made.has("/metadata/labels", json!(null)).has("/metadata/finalizers", json!(null));
    let widgets = define(&t, anything(), json!({})).await;
    let mut object = widget(&t, "a", json!({ "empty": {}, "list": [] }));
    object["metadata"]["labels"] = json!({});
    t.post(&widgets, object).await.is(201).has("/spec/list", json!([]));
}

async fn null_fields_are_absent(t: Trial) {
    let mut object = pod("a");
    object["spec"]["nodeSelector"] = json!(null);
    object["spec"]["volumes"] = json!(null);
    object["metadata"]["labels"] = json!(null);
    t.post("pods", object).await.is(201).has("/spec/nodeSelector", json!(null));
}

async fn a_runtime_class_goes_into_the_pod(t: Trial) {
    let mut class = runtime_class(&t.id, "kata");
    class["overhead"] = json!({ "podFixed": { "memory": "350Mi", "cpu": "250m" } });
    class["scheduling"] = json!({ "nodeSelector": { "kata": "yes" },
        "tolerations": [{ "key": "kata", "operator": "Exists", "effect": "NoSchedule" }] });
    t.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.is(201);
    let mut object = pod("a");
    object["spec"]["runtimeClassName"] = json!(t.id);
    // The admission plugin reads a cache of its own, which may be a moment behind.
    for _ in 0..100 {
        if t.unrecorded().post("pods?dryRun=All", object.clone()).await.code == 201 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let made = t.post("pods", object).await.is(201);
    made.has("/spec/overhead/memory", json!("350Mi")).has("/spec/nodeSelector/kata", json!("yes"));
    let mut object = pod("b");
    object["spec"]["runtimeClassName"] = json!(t.id);
    object["spec"]["nodeSelector"] = json!({ "kata": "no" });
    t.post("pods", object).await.refused(403, "Forbidden");
}

async fn a_pod_with_an_unknown_runtime_class_is_refused(t: Trial) {
    let mut object = pod("a");
    object["spec"]["runtimeClassName"] = json!("nobody");
    t.post("pods", object).await.refused(403, "Forbidden");
}
