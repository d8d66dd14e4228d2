//! Pods whose controllers are not simulated: when one goes, another of the same name takes its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::sim::annotations::REPLACED;
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::World;

/// What takes the place of a pod that went: the same, on no node yet.
pub fn successor(pod: &Pod) -> Pod {
    let mut spec = pod.spec.clone();
    if let Some(spec) = &mut spec {
        spec.node_name = None;
    }
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            labels: pod.metadata.labels.clone(),
            annotations: pod.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("replacements"));
    let gone: Arc<Mutex<HashMap<Key, Pod>>> = Arc::default();
    let (adds, notes) = (queue.clone(), gone.clone());
    world.pods.on_change(move |change| {
        let (Some(pod), None) = (&change.before, &change.after) else { return };
        if pod.annotations().contains_key(REPLACED) {
            let key = Key::of(&**pod);
            notes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), successor(pod));
            adds.add(key);
        }
    });
    queue.run(8, &cancel, |key| sync(world.clone(), gone.clone(), key)).await;
}

async fn sync(world: Arc<World>, gone: Arc<Mutex<HashMap<Key, Pod>>>, key: Key) -> Next {
    let pod = gone.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let Some(pod) = pod else { return Ok(None) };
    match world.create(&world.pods, &pod).await {
        // Its namespace went, too.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 403 => {}
        result => result?,
    }
    gone.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_successor_is_the_same_on_no_node() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "a", "labels": {"app": "p"}, "uid": "old",
                "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": {REPLACED: "ReplicaSet p"}},
            "spec": {"nodeName": "n", "nodeSelector": {"zone": "a"}, "containers": []},
            "status": {"phase": "Running"},
        }))
        .unwrap();
        let next = serde_json::to_value(successor(&pod)).unwrap();
        assert_eq!(
            next,
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "namespace": "a", "labels": {"app": "p"}, "annotations": {REPLACED: "ReplicaSet p"}},
                "spec": {"nodeSelector": {"zone": "a"}, "containers": []}})
        );
    }
}
