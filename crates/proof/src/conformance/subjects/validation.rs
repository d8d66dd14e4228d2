//! What makes an object invalid.

use serde_json::{Value, json};

use super::objects::{DEPLOYMENTS, config_map, deployment, labelled, pod, runtime_class};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_name_is_a_subdomain,
        a_name_has_a_limit,
        a_name_is_needed,
        a_service_has_a_stricter_name,
        a_namespace_has_a_stricter_name,
        a_role_may_have_colons_in_its_name,
        label_keys_have_a_form,
        label_values_have_a_form,
        annotations_have_keys_with_a_form_and_any_text,
        finalizers_have_a_form,
        an_owner_is_named_completely,
        an_object_has_one_controller,
        keys_of_data_have_a_form,
        a_pod_needs_containers,
        containers_have_unique_names,
        a_container_needs_an_image,
        a_pods_restart_policy_is_one_of_three,
        a_selector_has_to_match_its_template,
        a_selector_is_needed,
        a_handler_is_a_label,
        a_field_of_the_wrong_type_is_refused,
        an_unknown_field_is_dropped,
        an_update_is_validated_too,
    ]
}

async fn invalid(t: &Trial, path: &str, object: Value, field: &str) {
    t.post(path, object).await.refused(422, "Invalid").names(field);
}

async fn a_name_is_a_subdomain(t: Trial) {
    for name in ["Upper", "under_score", "-dash", "dot..dot", "slash/slash"] {
        invalid(&t, "configmaps", config_map(name, json!({ "k": "v" })), "metadata.name").await;
    }
    t.post("configmaps", config_map("a.b-c.1", json!({ "k": "v" }))).await.is(201);
}

async fn a_name_has_a_limit(t: Trial) {
    invalid(&t, "configmaps", config_map(&"a".repeat(254), json!({ "k": "v" })), "metadata.name").await;
    t.post("configmaps", config_map(&"a".repeat(253), json!({ "k": "v" }))).await.is(201);
}

async fn a_name_is_needed(t: Trial) {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap" });
    invalid(&t, "configmaps", object, "metadata.name").await;
}

async fn a_service_has_a_stricter_name(t: Trial) {
    let service = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "ports": [{ "port": 80 }] } })
    };
    invalid(&t, "services", service("1a"), "metadata.name").await;
    invalid(&t, "services", service("a.b"), "metadata.name").await;
}

async fn a_namespace_has_a_stricter_name(t: Trial) {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a.b" } });
    invalid(&t, "/api/v1/namespaces", namespace, "metadata.name").await;
}

async fn a_role_may_have_colons_in_its_name(t: Trial) {
    let role = |name: &str| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] })
    };
    t.post("rbac.authorization.k8s.io/v1:roles", role("a:b")).await.is(201);
    invalid(&t, "rbac.authorization.k8s.io/v1:roles", role("a/b"), "metadata.name").await;
}

async fn label_keys_have_a_form(t: Trial) {
    for key in ["", "a b", "a/b/c", "/a", "a/", "Upper.example.com/a"] {
        invalid(&t, "configmaps", labelled("a", json!({ key: "v" })), "metadata.labels").await;
    }
    t.post("configmaps", labelled("a", json!({ "example.com/A_b.c": "v" }))).await.is(201);
}

async fn label_values_have_a_form(t: Trial) {
    let long = "a".repeat(64);
    for value in ["a b", "-a", "a-", long.as_str()] {
        invalid(&t, "configmaps", labelled("a", json!({ "k": value })), "metadata.labels").await;
    }
    t.post("configmaps", labelled("a", json!({ "k": "" }))).await.is(201);
}

async fn annotations_have_keys_with_a_form_and_any_text(t: Trial) {
    let mut object = config_map("a", json!({ "k": "v" }));
    object["metadata"]["annotations"] = json!({ "a b": "" });
    invalid(&t, "configmaps", object.clone(), "metadata.annotations").await;
    object["metadata"]["annotations"] = json!({ "example.com/a": "any text, even {} and\nlines" });
    t.post("configmaps", object.clone()).await.is(201);
    object["metadata"]["annotations"] = json!({ "a": "x".repeat(256 * 1024) });
    let answer = t.unrecorded().put("configmaps/a", object).await.refused(422, "Invalid");
    answer.names("metadata.annotations");
}

async fn finalizers_have_a_form(t: Trial) {
    let mut object = config_map("a", json!({ "k": "v" }));
    object["metadata"]["finalizers"] = json!(["a b/c"]);
    t.post("configmaps", object.clone()).await.refused(422, "Invalid");
    object["metadata"]["finalizers"] = json!(["plain"]);
    t.post("configmaps", object).await.refused(422, "Invalid");
}

fn owned(owners: Value) -> Value {
    let mut object = config_map("a", json!({ "k": "v" }));
    object["metadata"]["ownerReferences"] = owners;
    object
}

async fn an_owner_is_named_completely(t: Trial) {
    for missing in ["apiVersion", "kind", "name", "uid"] {
        let mut owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y" });
        owner[missing] = json!("");
        t.post("configmaps", owned(json!([owner]))).await.refused(422, "Invalid");
    }
}

async fn an_object_has_one_controller(t: Trial) {
    let owner =
        |uid: &str| json!({ "apiVersion": "v1", "kind": "Pod", "name": uid, "uid": uid, "controller": true });
    let answer = t.post("configmaps", owned(json!([owner("x"), owner("y")]))).await;
    answer.refused(422, "Invalid").names("metadata.ownerReferences");
}

async fn keys_of_data_have_a_form(t: Trial) {
    invalid(&t, "configmaps", config_map("a", json!({ "a b": "v" })), "data[a b]").await;
    invalid(&t, "configmaps", config_map("a", json!({ "..": "v" })), "data[..]").await;
    let mut object = config_map("a", json!({ "k": "v" }));
    object["binaryData"] = json!({ "k": "eA==" });
    t.post("configmaps", object).await.refused(422, "Invalid");
}

async fn a_pod_needs_containers(t: Trial) {
    let mut object = pod("a");
    object["spec"]["containers"] = json!([]);
    invalid(&t, "pods", object, "spec.containers").await;
}

async fn containers_have_unique_names(t: Trial) {
    let mut object = pod("a");
    let container = object["spec"]["containers"][0].clone();
    object["spec"]["containers"] = json!([container, container]);
    invalid(&t, "pods", object.clone(), "spec.containers[1].name").await;
    object["spec"]["containers"] = json!([{ "name": "A b", "image": "x" }]);
    invalid(&t, "pods", object, "spec.containers[0].name").await;
}

async fn a_container_needs_an_image(t: Trial) {
    let mut object = pod("a");
    object["spec"]["containers"] = json!([{ "name": "a" }]);
    invalid(&t, "pods", object, "spec.containers[0].image").await;
}

async fn a_pods_restart_policy_is_one_of_three(t: Trial) {
    let mut object = pod("a");
    object["spec"]["restartPolicy"] = json!("Sometimes");
    invalid(&t, "pods", object, "spec.restartPolicy").await;
}

async fn a_selector_has_to_match_its_template(t: Trial) {
    let mut object = deployment("a");
    object["spec"]["template"]["metadata"]["labels"] = json!({ "app": "b" });
    invalid(&t, DEPLOYMENTS, object, "spec.template.metadata.labels").await;
}

async fn a_selector_is_needed(t: Trial) {
    let mut object = deployment("a");
    object["spec"]["selector"] = json!(null);
    invalid(&t, DEPLOYMENTS, object, "spec.selector").await;
}

async fn a_handler_is_a_label(t: Trial) {
    invalid(&t, "/apis/node.k8s.io/v1/runtimeclasses", runtime_class(&t.id, "a.b"), "handler").await;
}

async fn a_field_of_the_wrong_type_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": 1 }))).await.refused(400, "BadRequest");
    t.post("configmaps", config_map("a", json!("text"))).await.refused(400, "BadRequest");
    t.post("configmaps", labelled("a", json!({ "k": true }))).await.refused(400, "BadRequest");
    let mut object = deployment("a");
    object["spec"]["replicas"] = json!("three");
    t.post(DEPLOYMENTS, object).await.refused(400, "BadRequest");
}

async fn an_unknown_field_is_dropped(t: Trial) {
    let mut object = config_map("a", json!({ "k": "v" }));
    object["unknown"] = json!(1);
    object["metadata"]["unknown"] = json!(1);
    t.post("configmaps", object).await.is(201).has("/unknown", json!(null));
    let patch = json!({ "other": { "x": 1 }, "data": { "l": "v" } });
    t.merge("configmaps/a", patch).await.is(200).has("/data/l", json!("v")).has("/other", json!(null));
}

async fn an_update_is_validated_too(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.put("configmaps/a", config_map("a", json!({ "a b": "v" })))
        .await
        .refused(422, "Invalid")
        .names("data[a b]");
    let patch = json!({ "metadata": { "labels": { "a b": "c" } } });
    t.merge("configmaps/a", patch).await.refused(422, "Invalid").names("metadata.labels");
}
