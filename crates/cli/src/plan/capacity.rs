//! Where pods of a runtime class can land, and how many there is room for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use osc_devcluster::sim::node::{is_cordoned, taints};
use osc_devcluster::sim::placement::untolerated;
use osc_engine::quantity::{cpu, memory, thousandths};
use serde::Serialize;
use serde_json::Value;

use crate::room::{Amount, used};
use crate::snapshot::Snapshot;

/// The pod that room is counted in.
const POD_CPU: i128 = 100;
const POD_MEMORY: i128 = 256 * MEBIBYTE;
const MEBIBYTE: i128 = 1024 * 1024 * 1000;

/// A runtime class as it will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeClass {
    /// Name.
    pub name: String,
    /// What the virtual machine of each pod takes besides what the pod asks for: CPU and memory, for people.
    pub overhead: (String, String),
    /// Nodes on which a pod of it can land.
    pub nodes: Vec<Room>,
    /// What is free on them together.
    pub free_cpu: String,
    /// The same.
    pub free_memory: String,
    /// For how many pods of 100m and 256Mi that is room, overhead included.
    pub pods: i64,
}

/// What is free on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The node.
    pub node: String,
    /// CPU that no pod asks for.
    pub free_cpu: String,
    /// Memory that no pod asks for.
    pub free_memory: String,
    /// For how many pods of 100m and 256Mi that is room, overhead included.
    pub pods: i64,
}

/// The classes of that name, as they are in `after`, on nodes with the labels that they have there.
pub fn classes(names: &[String], after: &[Value], snapshot: &Snapshot) -> Vec<RuntimeClass> {
    let find = |name: &String| {
        after.iter().find(|object| object["kind"] == "RuntimeClass" && object["metadata"]["name"] == **name)
    };
    names.iter().filter_map(|name| Some(class(name, find(name)?, after, snapshot))).collect()
}

fn class(name: &str, object: &Value, after: &[Value], snapshot: &Snapshot) -> RuntimeClass {
    let fixed: Option<BTreeMap<String, Quantity>> =
        serde_json::from_value(object["overhead"]["podFixed"].clone()).unwrap_or_default();
    let overhead = Amount::of(fixed.as_ref());
    let one = Amount { cpu: POD_CPU, memory: POD_MEMORY }.plus(overhead);
    let nodes = after.iter().filter(|object| object["kind"] == "Node");
    let nodes: Vec<Node> = nodes.filter_map(|node| serde_json::from_value(node.clone()).ok()).collect();
    let used = used(&snapshot.pods);
    let (mut rooms, mut total, mut pods) = (Vec::new(), Amount::default(), 0);
    for node in nodes.iter().filter(|node| takes(node, &object["scheduling"])) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let (count, taken) = used.get(name.as_str()).copied().unwrap_or_default();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let free = Amount::of(allocatable).less(taken);
        let slots =
            allocatable.and_then(|map| map.get("pods")).and_then(thousandths).map_or(0, |slots| slots / 1000);
        let room = fits(free, one, slots - count);
        total = total.plus(free);
        pods += room;
        rooms.push(Room {
            node: name,
            free_cpu: cpu(free.cpu),
            free_memory: memory(free.memory),
            pods: room,
        });
    }
    let overhead = (fixed_text(fixed.as_ref(), "cpu"), fixed_text(fixed.as_ref(), "memory"));
    let (free_cpu, free_memory) = (cpu(total.cpu), memory(total.memory));
    RuntimeClass { name: name.to_owned(), overhead, nodes: rooms, free_cpu, free_memory, pods }
}

fn fixed_text(fixed: Option<&BTreeMap<String, Quantity>>, key: &str) -> String {
    fixed.and_then(|map| map.get(key)).map_or_else(|| "0".to_owned(), |quantity| quantity.0.clone())
}

fn fits(free: Amount, one: Amount, slots: i128) -> i64 {
    let times = |free: i128, one: i128| free.checked_div(one).unwrap_or(i128::MAX);
    let number = times(free.cpu, one.cpu).min(times(free.memory, one.memory)).min(slots).max(0);
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether a pod of the class, which tolerates what the class says, can land on the node.
fn takes(node: &Node, scheduling: &Value) -> bool {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selector = scheduling["nodeSelector"].as_object();
    let selected = selector.is_none_or(|selector| {
        selector.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    });
    let tolerations: Vec<Toleration> =
        serde_json::from_value(scheduling["tolerations"].clone()).unwrap_or_default();
    selected
        && !is_cordoned(node)
        && untolerated(taints(node), &tolerations, &["NoSchedule", "NoExecute"]).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn room_is_what_no_pod_asks_for_on_nodes_that_take_the_class() {
        let node = |name: &str, kata: bool, taint: bool| {
            let labels = if kata { json!({"node-role.kubernetes.io/kata-oc": ""}) } else { json!({}) };
            let taints = if taint { json!([{"key": "k", "effect": "NoSchedule"}]) } else { json!([]) };
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                "spec": {"taints": taints},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}})
        };
        let class = json!({"kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata",
            "overhead": {"podFixed": {"cpu": "250m", "memory": "350Mi"}},
            "scheduling": {"nodeSelector": {"node-role.kubernetes.io/kata-oc": ""}}});
        let after = [class, node("a", true, false), node("b", false, false), node("c", true, true)];
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {"nodeName": "a", "containers": [container("1", "1Gi")]}, "status": {"phase": "Running"}});
        let snapshot = Snapshot::new(crate::snapshot::Info::default(), vec![pod]).unwrap();
        let found = classes(&["kata".to_owned(), "absent".to_owned()], &after, &snapshot);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].overhead, ("250m".to_owned(), "350Mi".to_owned()));
        let room = Room { node: "a".into(), free_cpu: "3".into(), free_memory: "7Gi".into(), pods: 8 };
        assert_eq!(found[0].nodes, [room]);
    }
}
