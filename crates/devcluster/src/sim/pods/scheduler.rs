//! The scheduler: gives each pending pod a node, or says why there is none.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use kube::ResourceExt;
use kube::core::Request;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::status::condition;
use crate::sim::node::{is_cordoned, is_ready, taints};
use crate::sim::placement::{objection, unschedulable_message};
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{UNBOUND, World, on_node, post_params};

/// How long a burst of changes to nodes may last before pods are looked at again.
const CALM: Duration = Duration::from_millis(5);

/// What to do about a pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Give it this node.
    Bind(String),
    /// Say that there is none.
    Refuse(String),
}

/// Picks the node with the fewest pods among those that will do; the name decides between equals.
pub fn choose(spec: &PodSpec, nodes: &[Arc<Node>], load: impl Fn(&str) -> usize) -> Decision {
    let mut objections = Vec::new();
    let mut best: Option<(usize, String)> = None;
    for node in nodes {
        let name = node.name_any();
        if let Some(reason) = objection(spec, node) {
            objections.push(reason);
            continue;
        }
        let candidate = (load(&name), name);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    match best {
        Some((_, name)) => Decision::Bind(name),
        None => Decision::Refuse(unschedulable_message(&objections)),
    }
}

/// Runs the scheduler until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("scheduler"));
    let adds = queue.clone();
    world.pods.on_change(move |change| {
        if let Some(pod) = change.after.as_ref().filter(|pod| waits_for_node(pod)) {
            adds.add(Key::of(&**pod));
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.nodes.on_change(move |change| {
        let view = |node: &Node| {
            (is_ready(node), is_cordoned(node), taints(node).to_vec(), node.metadata.labels.clone())
        };
        if change.differs(view) {
            for pod in shared.pods.indexed(UNBOUND) {
                adds.add_after(Key::of(&*pod), CALM);
            }
        }
    });
    queue.run(4, &cancel, |key| sync(world.clone(), key)).await;
}

fn waits_for_node(pod: &Pod) -> bool {
    let free = |spec: &PodSpec| {
        spec.node_name.as_deref().unwrap_or_default().is_empty()
            && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
            && matches!(spec.scheduler_name.as_deref(), None | Some("" | "default-scheduler"))
    };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    pod.metadata.deletion_timestamp.is_none() && phase == "Pending" && pod.spec.as_ref().is_some_and(free)
}

async fn sync(world: Arc<World>, key: Key) -> Next {
    let Some(pod) = world.pods.get(&key).filter(|pod| waits_for_node(pod)) else { return Ok(None) };
    let Some(spec) = &pod.spec else { return Ok(None) };
    match choose(spec, &world.nodes.all(), |node| world.pods.count(&on_node(node))) {
        Decision::Bind(node) => bind(&world, &key, &pod, &node).await?,
        Decision::Refuse(message) => {
            let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            if !known.into_iter().any(|known| known.message.as_deref() == Some(message.as_str())) {
                let scheduled = ("PodScheduled", false, "Unschedulable", message.as_str());
                let conditions = condition(&pod, &[scheduled], &world.time());
                let patch = json!({"status": {"phase": "Pending", "conditions": conditions}});
                world.patch_status(&world.pods, &key, &patch).await?;
            }
        }
    }
    Ok(None)
}

async fn bind(world: &World, key: &Key, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let body = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError)?;
    let url = <Pod as kube::Resource>::url_path(&(), key.namespace());
    let request = Request::new(url).create_subresource("binding", &key.name, &post_params(), body);
    match world.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await {
        // Bound already: the watch is about to say so.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, cordoned: bool) -> Arc<Node> {
        let value = json!({
            "metadata": {"name": name},
            "spec": {"unschedulable": cordoned},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn the_emptiest_node_that_fits_is_chosen() {
        let nodes = [node("a", true), node("b", false), node("c", false), node("d", false)];
        let load = |name: &str| if name == "b" { 3 } else { 1 };
        assert_eq!(choose(&PodSpec::default(), &nodes, load), Decision::Bind("c".into()));
        let Decision::Refuse(message) = choose(&PodSpec::default(), &nodes[..1], load) else { panic!() };
        assert!(message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable."), "{message}");
    }
}
