//! What kubelets make of extended resources: the capacity that somebody writes becomes allocatable.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::sim::node::is_ready;
use crate::sim::queue::{Next, Queue};
use crate::sim::resources::{is_extended, milli};
use crate::sim::store::Key;
use crate::sim::world::World;

fn extended(list: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<&str, &Quantity> {
    let all = list.into_iter().flatten().map(|(name, quantity)| (name.as_str(), quantity));
    all.filter(|(name, _)| is_extended(name)).collect()
}

/// Changes to `allocatable` that bring it in step with `capacity`; nothing that is in step already.
pub fn corrections(status: &NodeStatus) -> Map<String, Value> {
    let capacity = extended(status.capacity.as_ref());
    let allocatable = extended(status.allocatable.as_ref());
    let gone = allocatable.keys().filter(|name| !capacity.contains_key(**name));
    let gone = gone.map(|name| ((*name).to_owned(), Value::Null));
    let same = |name: &str, quantity: &Quantity| {
        allocatable.get(name).is_some_and(|known| milli(known) == milli(quantity))
    };
    let wrong = capacity.iter().filter(|(name, quantity)| !same(name, quantity));
    gone.chain(wrong.map(|(name, quantity)| ((*name).to_owned(), json!(quantity)))).collect()
}

/// Extended resources of a node that registers anew, as its kubelet sets them: nobody has said yet that they are
/// there.
pub fn reset(status: &NodeStatus) -> Map<String, Value> {
    extended(status.capacity.as_ref()).keys().map(|name| ((*name).to_owned(), json!("0"))).collect()
}

/// Runs this part of the kubelets until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("allocatable"));
    let delay = world.settle(world.options.timing.sync_delay);
    let adds = queue.clone();
    world.nodes.on_change(move |change| {
        let view = |node: &Node| {
            let status = node.status.clone().unwrap_or_default();
            (is_ready(node), status.capacity, status.allocatable)
        };
        if let Some(node) = &change.after
            && change.differs(view)
        {
            adds.add_after(Key::of(&**node), delay);
        }
    });
    queue.run(8, &cancel, |key| sync(world.clone(), key)).await;
}

async fn sync(world: Arc<World>, key: Key) -> Next {
    let Some(node) = world.nodes.get(&key).filter(|node| is_ready(node)) else { return Ok(None) };
    let changes = node.status.as_ref().map(corrections).unwrap_or_default();
    if !changes.is_empty() {
        world.patch_status(&world.nodes, &key, &json!({"status": {"allocatable": changes}})).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::new(json!({"x.io/y": "3", "cpu": "4"}), json!({"cpu": "3"}), json!({"x.io/y": "3"}))]
    #[case::other(json!({"x.io/y": "3"}), json!({"x.io/y": "2"}), json!({"x.io/y": "3"}))]
    #[case::gone(json!({"cpu": "4"}), json!({"cpu": "3", "x.io/y": "2"}), json!({"x.io/y": null}))]
    #[case::same(json!({"x.io/y": "1k"}), json!({"x.io/y": "1000"}), json!({}))]
    #[case::not_ours(json!({"cpu": "4", "hugepages-2Mi": "2"}), json!({"cpu": "3"}), json!({}))]
    fn allocatable_follows_capacity(
        #[case] capacity: Value,
        #[case] allocatable: Value,
        #[case] changes: Value,
    ) {
        let status = json!({"capacity": capacity, "allocatable": allocatable});
        let status: NodeStatus = serde_json::from_value(status).unwrap();
        assert_eq!(Value::Object(corrections(&status)), changes);
    }

    #[test]
    fn a_node_that_registers_anew_has_none() {
        let capacity = json!({"capacity": {"x.io/y": "3", "cpu": "4"}});
        assert_eq!(Value::Object(reset(&serde_json::from_value(capacity).unwrap())), json!({"x.io/y": "0"}));
    }
}
