//! Objects that many cases use.

use serde_json::{Value, json};

use crate::conformance::trial::Trial;

/// A config map with data.
pub fn config_map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

/// A config map with labels.
pub fn labelled(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": labels } })
}

/// A pod of one container.
pub fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "main", "image": "example.com/main:1" }] } })
}

/// A deployment of one container.
pub fn deployment(name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": {
        "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": { "labels": { "app": name } },
            "spec": { "containers": [{ "name": "main", "image": "example.com/main:1" }] } } } })
}

/// A node.
pub fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name }, "status": {
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        "nodeInfo": { "kubeletVersion": "v1.0.0", "machineID": "m", "systemUUID": "s", "bootID": "b",
            "kernelVersion": "6.0", "osImage": "o", "containerRuntimeVersion": "cri-o://1", "kubeProxyVersion": "v1.0.0",
            "operatingSystem": "linux", "architecture": "amd64" } } })
}

/// A runtime class.
pub fn runtime_class(name: &str, handler: &str) -> Value {
    json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": name },
        "handler": handler })
}

/// Deployments of the case's namespace.
pub const DEPLOYMENTS: &str = "apps/v1:deployments";

/// API group of the custom resources of a case.
pub fn group(t: &Trial) -> String {
    format!("{}.example.com", t.id)
}

/// A definition of namespaced `widgets` with one version that has this schema for `spec`, and more fields of that
/// version.
pub fn definition(t: &Trial, spec: Value, more: Value) -> Value {
    let mut version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": { "openAPIV3Schema": { "type": "object", "properties": {
            "spec": spec, "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } } },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        version[field] = value.clone();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("widgets.{}", group(t)) },
        "spec": {
            "group": group(t), "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"] },
            "versions": [version],
        },
    })
}

/// Path of the definitions.
pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Path of the case's own definition.
pub fn definition_path(t: &Trial) -> String {
    format!("{DEFINITIONS}/widgets.{}", group(t))
}

/// Short path of the case's custom resources.
pub fn widgets(t: &Trial) -> String {
    format!("{}/v1:widgets", group(t))
}

/// Makes a definition and waits until its resources are served. Returns their short path.
pub async fn define(t: &Trial, spec: Value, more: Value) -> String {
    install(t, definition(t, spec, more)).await;
    widgets(t)
}

/// Makes a definition and waits until the resources of `v1` are served.
pub async fn install(t: &Trial, definition: Value) {
    let quiet = t.unrecorded();
    quiet.post(DEFINITIONS, definition).await.is(201);
    quiet.until(&format!("/apis/{}/v1/widgets", group(t)), |answer| answer.code == 200).await;
}

/// A custom resource of the case.
pub fn widget(t: &Trial, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": format!("{}/v1", group(t)), "kind": "Widget", "metadata": { "name": name },
        "spec": spec })
}

/// A schema that takes anything.
pub fn anything() -> Value {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A schema of an object with these properties.
pub fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}
