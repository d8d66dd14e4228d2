//! Empties a node through the eviction API, as `kubectl drain` and the Machine Config Operator do.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::Request;
use serde_json::{Value, json};

use crate::sim::annotations::MIRROR_POD;
use crate::sim::placement::selects;
use crate::sim::workload::PodView;
use crate::sim::world::{World, controller_of, in_namespace, on_node, post_params};

/// How long an eviction may take in real time. "Too many requests" is an answer here, no overload, but the client
/// library repeats the request for minutes before it tells us.
const PATIENCE: Duration = Duration::from_millis(250);

/// How API servers older than Kubernetes 1.22 know evictions.
const BEFORE_POLICY_V1: &str = "policy/v1beta1";

/// What the API server says when a budget stands against an eviction.
const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Whether a drain has to get rid of this pod.
pub fn must_go(pod: &Pod) -> bool {
    let daemon = controller_of(pod).is_some_and(|(kind, ..)| kind == "DaemonSet");
    !daemon && !pod.annotations().contains_key(MIRROR_POD)
}

/// Whether the API server is certain to refuse the eviction: a ready pod whose budget is up to date and used up.
/// Then it is not asked at all.
pub fn is_protected(pod: &Pod, budgets: &[Arc<PodDisruptionBudget>]) -> bool {
    let used_up = |budget: &PodDisruptionBudget| {
        let known =
            budget.status.as_ref().filter(|status| status.observed_generation == budget.metadata.generation);
        known.is_some_and(|status| status.disruptions_allowed <= 0)
    };
    let applies = |budget: &PodDisruptionBudget| {
        selects(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()), pod.labels())
    };
    PodView::read(pod, "", "").ready && budgets.iter().any(|budget| applies(budget) && used_up(budget))
}

/// Evicts what can be evicted now; returns what is left on the node, in words.
pub async fn attempt(world: &World, node: &Node) -> Result<Vec<String>, kube::Error> {
    let mut left = Vec::new();
    for pod in world.pods.indexed(&on_node(&node.name_any())).iter().filter(|pod| must_go(pod)) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let what = format!("pods/{name:?} -n {namespace:?}");
        if pod.metadata.deletion_timestamp.is_some() {
            left.push(format!("waiting for the end of {what}"));
            continue;
        }
        let budgets = world.budgets.indexed(&in_namespace(&namespace));
        let answer =
            if is_protected(pod, &budgets) { Some(REFUSAL.to_owned()) } else { evict(world, pod).await? };
        left.push(match answer {
            Some(why) => format!("error when evicting {what}: {why}"),
            None => format!("waiting for the end of {what}"),
        });
    }
    // What holds out is worth telling first.
    left.sort_by_key(|text| !text.starts_with("error"));
    Ok(left)
}

/// Asks for the eviction of a pod; says why it was refused.
async fn evict(world: &World, pod: &Pod) -> Result<Option<String>, kube::Error> {
    match evict_as("policy/v1", world, pod).await {
        Err(kube::Error::Api(status)) if status.code == 400 => evict_as(BEFORE_POLICY_V1, world, pod).await,
        answer => answer,
    }
}

async fn evict_as(version: &str, world: &World, pod: &Pod) -> Result<Option<String>, kube::Error> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let eviction = json!({
        "apiVersion": version,
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid()}},
    });
    let body = serde_json::to_vec(&eviction).map_err(kube::Error::SerdeError)?;
    let url = <Pod as kube::Resource>::url_path(&(), Some(&namespace));
    let request = Request::new(url).create_subresource("eviction", &name, &post_params(), body);
    let request = world.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?);
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(_)) => Ok(None),
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(None),
        // Too many requests: a budget forbids it for now. 500: several budgets, or one that is broken.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 429 | 500) => Ok(Some(status.message)),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Some(REFUSAL.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_and_static_pods_stay() {
        let pod = |value: Value| -> Pod { serde_json::from_value(json!({"metadata": value})).unwrap() };
        let owner = |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "u", "controller": true}]);
        assert!(must_go(&pod(json!({"name": "bare"}))));
        assert!(must_go(&pod(json!({"name": "p", "ownerReferences": owner("Deployment")}))));
        assert!(!must_go(&pod(json!({"name": "p", "ownerReferences": owner("DaemonSet")}))));
        assert!(!must_go(&pod(json!({"name": "p", "annotations": {MIRROR_POD: "hash"}}))));
    }

    #[test]
    fn only_a_ready_pod_of_a_budget_that_is_used_up_is_not_asked_for() {
        let pod = |ready: &str| -> Pod {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            let value = json!({"metadata": {"name": "p", "labels": {"app": "web"}}, "status": {"conditions": conditions}});
            serde_json::from_value(value).unwrap()
        };
        let budget = |app: &str, allowed: i32, observed: i64| -> [Arc<PodDisruptionBudget>; 1] {
            let value = json!({
                "metadata": {"name": "b", "generation": 2},
                "spec": {"selector": {"matchLabels": {"app": app}}},
                "status": {"observedGeneration": observed, "disruptionsAllowed": allowed,
                    "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
            });
            [Arc::new(serde_json::from_value(value).unwrap())]
        };
        assert!(is_protected(&pod("True"), &budget("web", 0, 2)));
        assert!(!is_protected(&pod("False"), &budget("web", 0, 2)));
        assert!(!is_protected(&pod("True"), &budget("web", 1, 2)));
        assert!(!is_protected(&pod("True"), &budget("web", 0, 1)));
        assert!(!is_protected(&pod("True"), &budget("other", 0, 2)));
    }
}
