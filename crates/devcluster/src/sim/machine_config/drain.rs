//! Empties a node through the eviction API, as `kubectl drain` and the Machine Config Operator do.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::core::Request;
use serde_json::{Value, json};

use crate::sim::annotations::MIRROR_POD;
use crate::sim::world::{World, controller_of, on_node, post_params};

/// Whether a drain has to get rid of this pod.
pub fn must_go(pod: &Pod) -> bool {
    let daemon = controller_of(pod).is_some_and(|(kind, ..)| kind == "DaemonSet");
    !daemon && !pod.annotations().contains_key(MIRROR_POD)
}

/// Evicts what can be evicted now; returns what is left on the node, in words.
pub async fn attempt(world: &World, node: &Node) -> Result<Vec<String>, kube::Error> {
    let mut left = Vec::new();
    for pod in world.pods.indexed(&on_node(&node.name_any())).iter().filter(|pod| must_go(pod)) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        if pod.metadata.deletion_timestamp.is_some() {
            left.push(format!("pod {name:?} in namespace {namespace:?} is terminating"));
            continue;
        }
        match evict(world, pod).await {
            Ok(()) => left.push(format!("pod {name:?} in namespace {namespace:?} was evicted just now")),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            // Too many requests: a budget forbids it for now. 500: several budgets, or one that is broken.
            Err(kube::Error::Api(status)) if matches!(status.code, 429 | 500) => {
                let why = &status.message;
                left.push(format!("error when evicting pods/{name:?} -n {namespace:?}: {why}"));
            }
            Err(error) => return Err(error),
        }
    }
    // What holds out is worth telling first.
    left.sort_by_key(|text| !text.starts_with("error"));
    Ok(left)
}

async fn evict(world: &World, pod: &Pod) -> Result<(), kube::Error> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid()}},
    });
    let body = serde_json::to_vec(&eviction).map_err(kube::Error::SerdeError)?;
    let url = <Pod as kube::Resource>::url_path(&(), Some(&namespace));
    let request = Request::new(url).create_subresource("eviction", &name, &post_params(), body);
    world.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_and_static_pods_stay() {
        let pod = |value: Value| -> Pod { serde_json::from_value(json!({"metadata": value})).unwrap() };
        let owner = |kind: &str| {
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "u", "controller": true}])
        };
        assert!(must_go(&pod(json!({"name": "bare"}))));
        assert!(must_go(&pod(json!({"name": "p", "ownerReferences": owner("Deployment")}))));
        assert!(!must_go(&pod(json!({"name": "p", "ownerReferences": owner("DaemonSet")}))));
        assert!(!must_go(&pod(json!({"name": "p", "annotations": {MIRROR_POD: "hash"}}))));
    }
}
