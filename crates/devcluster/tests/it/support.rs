//! A server and short ways to talk to it.

use std::time::Duration;

use http::{Method, Request};
use kube::core::Status;
use osc_devcluster::server::{Server, ServerConfig};
use serde_json::{Value, json};

/// A plain server.
pub async fn server() -> Server {
    Server::start(ServerConfig::default()).await.expect("a server starts")
}

/// Talks JSON to one server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

impl Api {
    pub fn of(server: &Server) -> Self {
        Self::named(server, "osc-devcluster-tests")
    }

    /// Without the client's own retries, which would hide refusals like 429.
    pub fn named(server: &Server, user_agent: &str) -> Self {
        let mut config = server.client_config(user_agent).expect("a configuration");
        config.default_retry = false;
        Self { client: kube::Client::try_from(config).expect("a client") }
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Sends a request; a refusal becomes its `Status`.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Result<Value, Box<Status>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("accept", "application/json")
            .body(body)
            .expect("a request");
        match self.client.request::<Value>(request).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => Err(status),
            Err(other) => panic!("{path}: {other}"),
        }
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Value, Box<Status>> {
        self.send(method, path, "application/json", body.to_string().into_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, Box<Status>> {
        self.send(Method::GET, path, "application/json", Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Box<Status>> {
        self.json(Method::POST, path, &body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Value, Box<Status>> {
        self.json(Method::PUT, path, &body).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Box<Status>> {
        self.send(Method::DELETE, path, "application/json", Vec::new()).await
    }

    pub async fn delete_with(&self, path: &str, options: Value) -> Result<Value, Box<Status>> {
        self.json(Method::DELETE, path, &options).await
    }

    pub async fn merge(&self, target: &str, patch: Value) -> Result<Value, Box<Status>> {
        self.send(Method::PATCH, target, "application/merge-patch+json", patch.to_string().into_bytes()).await
    }

    pub async fn apply(&self, target: &str, config: Value) -> Result<Value, Box<Status>> {
        self.send(Method::PATCH, target, "application/apply-patch+yaml", config.to_string().into_bytes())
            .await
    }

    /// Waits until a GET is refused with 404.
    pub async fn gone(&self, path: &str) {
        for _ in 0..200 {
            if self.get(path).await.is_err_and(|status| status.code == 404) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} is still there");
    }

    /// Waits until a condition on an object holds.
    pub async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            if let Ok(object) = self.get(path).await
                && condition(&object)
            {
                return object;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} never got there: {:?}", self.get(path).await);
    }
}

pub fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } })
}

pub fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "image": "i:1" }] } })
}

pub fn runtime_class(name: &str) -> Value {
    json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": name },
        "handler": name, "overhead": { "podFixed": { "memory": "350Mi", "cpu": "250m" } },
        "scheduling": { "nodeSelector": { "node-role.kubernetes.io/kata-oc": "" } } })
}

/// A definition with a status subresource, defaults, validation and print columns.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Updated", "type": "string",
                      "jsonPath": ".status.conditions[?(@.type==\"Updated\")].status" },
                    { "name": "Size", "type": "integer", "jsonPath": ".spec.size" },
                    { "name": "Note", "type": "string", "jsonPath": ".spec.note", "priority": 1 },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object", "description": "A widget for tests.",
                    "properties": {
                        "spec": { "type": "object", "required": ["size"], "properties": {
                            "size": { "type": "integer", "minimum": 1 },
                            "note": { "type": "string", "default": "none" },
                        } },
                        "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    },
                } },
            }],
        },
    })
}

pub fn widget(name: &str, size: i64) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name },
        "spec": { "size": size } })
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const WIDGETS: &str = "/apis/example.com/v1/widgets";
