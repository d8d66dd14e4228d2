//! Nodes: how their state is read, and the controller that keeps their taints in step with it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::queue::{Next, Queue};
use super::store::Key;
use super::world::World;

/// Taint of a cordoned node.
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
/// Taint of a node that is not ready.
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";

/// Whether the node's `Ready` condition is `True`.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

/// Whether the node is cordoned.
pub fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// The node's taints.
pub fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The node's internal address, if it has one.
pub fn address(node: &Node) -> Option<&str> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.filter(|address| address.type_ == "InternalIP").map(|address| address.address.as_str()).next()
}

/// The taints that a node should have: everything else it has, and those two that follow from its state.
pub fn wanted_taints(present: &[Taint], cordoned: bool, ready: bool) -> Vec<Taint> {
    let mut wanted: Vec<Taint> = present.to_vec();
    for (key, needed) in [(UNSCHEDULABLE_TAINT, cordoned), (NOT_READY_TAINT, !ready)] {
        let ours = |taint: &Taint| taint.key == key && taint.effect == "NoSchedule";
        if !needed {
            wanted.retain(|taint| !ours(taint));
        } else if !wanted.iter().any(ours) {
            let effect = "NoSchedule".to_owned();
            wanted.push(Taint { key: key.to_owned(), effect, ..Taint::default() });
        }
    }
    wanted
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("node-taints"));
    let adds = queue.clone();
    world.nodes.on_change(move |change| {
        if let Some(node) = &change.after
            && change.differs(|node| (is_cordoned(node), is_ready(node), taints(node).to_vec()))
        {
            adds.add(Key::of(&**node));
        }
    });
    queue.run(8, &cancel, |key| sync(world.clone(), key)).await;
}

async fn sync(world: Arc<World>, key: Key) -> Next {
    let Some(node) = world.nodes.get(&key) else { return Ok(None) };
    let wanted = wanted_taints(taints(&node), is_cordoned(&node), is_ready(&node));
    if wanted != taints(&node) {
        let version = &node.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": wanted}});
        world.patch(&world.nodes, &key, &patch).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(taints: &[Taint]) -> Vec<&str> {
        taints.iter().map(|taint| taint.key.as_str()).collect()
    }

    #[test]
    fn taints_follow_the_state_and_leave_others_alone() {
        let own = Taint { key: "dedicated".into(), effect: "NoSchedule".into(), ..Taint::default() };
        let cordoned = wanted_taints(std::slice::from_ref(&own), true, true);
        assert_eq!(keys(&cordoned), ["dedicated", UNSCHEDULABLE_TAINT]);
        assert_eq!(wanted_taints(&cordoned, true, true), cordoned);
        let rebooting = wanted_taints(&cordoned, true, false);
        assert_eq!(keys(&rebooting), ["dedicated", UNSCHEDULABLE_TAINT, NOT_READY_TAINT]);
        assert_eq!(wanted_taints(&rebooting, false, true), [own]);
    }
}
