//! What is particular to pods: runtime classes, graceful deletion, eviction, binding.

use serde_json::{Value, json};

use crate::support::{Api, CLASSES, PODS, pod, runtime_class, server};

fn with_class(name: &str, class: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["runtimeClassName"] = json!(class);
    pod
}

#[tokio::test]
async fn a_runtime_class_is_looked_up_and_merged_in() {
    let server = server().await;
    let api = Api::of(&server);
    let refused = api.post(PODS, with_class("p", "kata")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (403, "Forbidden"));
    assert_eq!(refused.message, "pods \"p\" is forbidden: pod rejected: RuntimeClass \"kata\" not found");
    api.post(CLASSES, runtime_class("kata")).await.unwrap();
    let made = api.post(PODS, with_class("p", "kata")).await.unwrap();
    assert_eq!(made["spec"]["overhead"], json!({ "memory": "350Mi", "cpu": "250m" }));
    assert_eq!(made["spec"]["nodeSelector"], json!({ "node-role.kubernetes.io/kata-oc": "" }));
    assert_eq!(made["status"]["phase"], "Pending");
    let mut conflicting = with_class("q", "kata");
    conflicting["spec"]["nodeSelector"] = json!({ "node-role.kubernetes.io/kata-oc": "no" });
    let refused = api.post(PODS, conflicting).await.unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(refused.message.contains("conflict"), "{}", refused.message);
}

#[tokio::test]
async fn a_pod_on_a_node_ends_when_its_kubelet_says_so() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(PODS, pod("unbound")).await.unwrap();
    api.delete(&format!("{PODS}/unbound")).await.unwrap();
    assert_eq!(api.get(&format!("{PODS}/unbound")).await.unwrap_err().code, 404);
    api.post(PODS, pod("p")).await.unwrap();
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "n1" } });
    api.post(&format!("{PODS}/p/binding"), binding).await.unwrap();
    let bound = api.get(&format!("{PODS}/p")).await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let ending = api.delete(&format!("{PODS}/p")).await.unwrap();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(api.get(&format!("{PODS}/p")).await.is_ok());
    api.delete_with(&format!("{PODS}/p"), json!({ "gracePeriodSeconds": 0 })).await.unwrap();
    assert_eq!(api.get(&format!("{PODS}/p")).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn an_eviction_honours_the_disruption_budget() {
    let server = server().await;
    let api = Api::of(&server);
    for name in ["a", "b"] {
        let mut object = pod(name);
        object["metadata"]["labels"] = json!({ "app": "x" });
        object["spec"]["nodeName"] = json!("n1");
        api.post(PODS, object).await.unwrap();
        let ready = json!({ "status": { "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True" }] } });
        api.merge(&format!("{PODS}/{name}/status"), ready).await.unwrap();
    }
    let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "x" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "x" } } } });
    api.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await.unwrap();
    let evict = |name: &str| {
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        let (api, path) = (api.clone(), format!("{PODS}/{name}/eviction"));
        async move { api.post(&path, eviction).await }
    };
    evict("a").await.unwrap();
    let refused = evict("b").await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(refused.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refused.details.as_ref().unwrap().causes[0].message,
        "The disruption budget x needs 1 healthy pods and has 1 currently"
    );
}

#[tokio::test]
async fn both_event_interfaces_show_the_same_events() {
    let server = server().await;
    let api = Api::of(&server);
    let event = json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e" },
        "regarding": { "kind": "Node", "name": "n1" }, "note": "hello", "reason": "R", "type": "Normal",
        "action": "A", "reportingController": "c", "reportingInstance": "c-1",
        "eventTime": "2026-01-01T00:00:00.000000Z" });
    api.post("/apis/events.k8s.io/v1/namespaces/default/events", event).await.unwrap();
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dn1";
    let list = api.get(path).await.unwrap();
    assert_eq!(list["items"][0]["message"], "hello");
    assert_eq!(list["items"][0]["involvedObject"]["name"], "n1");
}
