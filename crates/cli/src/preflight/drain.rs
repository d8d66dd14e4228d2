//! Checks of what has to leave a node before it reboots: pods with budgets, pods that nobody brings back, virtual
//! machines.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use osc_devcluster::sim::node::{is_cordoned, is_ready as is_node_ready, taints};
use osc_devcluster::sim::placement::{selects, untolerated};
use osc_engine::observed::Pods;
use osc_engine::runtime_class::is_kata;
use serde_json::Value;

use super::finding::Finding;
use super::situation::{Intent, Situation, full_name};
use crate::room::{Amount, requests, used};
use crate::snapshot::Snapshot;

const VMI: &str = "VirtualMachineInstance";

fn place(pod: &Pod, node: &str) -> String {
    format!("Pod {} on {node}", full_name(&pod.metadata))
}

/// Whether the budget guards a virtual machine: OpenShift Virtualization makes one for each, and lifts it when the
/// machine has moved.
pub fn guards_virtual_machine(budget: &PodDisruptionBudget) -> bool {
    budget.metadata.owner_references.iter().flatten().any(|owner| owner.kind == VMI)
}

fn applies(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    budget.metadata.namespace == pod.metadata.namespace
        && selects(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()), labels)
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

/// Budgets without room.
pub fn budgets(situation: &Situation<'_>) -> Vec<Finding> {
    let guarded = |budget: &&PodDisruptionBudget| !guards_virtual_machine(budget);
    situation
        .snapshot
        .budgets
        .iter()
        .filter(guarded)
        .filter_map(|budget| without_room(situation, budget))
        .collect()
}

fn without_room(situation: &Situation<'_>, budget: &PodDisruptionBudget) -> Option<Finding> {
    let status = budget.status.as_ref().filter(|status| status.disruptions_allowed <= 0)?;
    let pods: Vec<String> = situation
        .pods_to_move()
        .filter(|(pod, _)| is_running(pod) && is_ready(pod) && applies(budget, pod))
        .map(|(pod, node)| place(pod, node))
        .collect();
    if pods.is_empty() {
        return None;
    }
    let name = full_name(&budget.metadata);
    let (expected, healthy, needed) = (status.expected_pods, status.current_healthy, status.desired_healthy);
    let never = needed >= expected;
    let (state, remedy) = if never {
        (
            format!(
                "It needs {needed} of {expected} pods at all times, so that none of them may ever be moved."
            ),
            "Give it room (more replicas, or a lower minAvailable), or delete it for the time of the rollout.",
        )
    } else {
        (
            format!("It needs {needed} healthy pods, and {healthy} of {expected} are healthy now."),
            "Get its pods healthy, or give it room.",
        )
    };
    Some(
        Finding::blocks("DisruptionBudgetWithoutRoom", format!("PodDisruptionBudget {name} lets no pod go"))
            .at_all(pods)
            .why(format!(
                "{state} A node is drained before it reboots, and the drain waits for these pods without end."
            ))
            .remedy(remedy)
            .command(format!(
                "oc describe pdb -n {} {}",
                budget.metadata.namespace.as_deref().unwrap_or_default(),
                budget.metadata.name.as_deref().unwrap_or_default()
            )),
    )
}

/// Pods with more than one budget, which the API server refuses to evict.
pub fn overlapping_budgets(situation: &Situation<'_>) -> Vec<Finding> {
    let mut overlaps: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (pod, node) in situation.pods_to_move().filter(|(pod, _)| is_running(pod)) {
        let budgets = situation.snapshot.budgets.iter().filter(|budget| applies(budget, pod));
        let names: BTreeSet<String> = budgets.map(|budget| full_name(&budget.metadata)).collect();
        if names.len() > 1 {
            overlaps.entry(names).or_default().push(place(pod, node));
        }
    }
    overlaps
        .into_iter()
        .map(|(names, pods)| {
            let names = names.into_iter().collect::<Vec<_>>();
            let what = format!("PodDisruptionBudgets {} apply to the same pods", names.join(" and "));
            Finding::blocks("DisruptionBudgetsOverlap", what)
                .at_all(pods)
                .why("The API server evicts no pod that has more than one budget, so that the drain waits without end.")
                .remedy("Change their selectors so that each pod has one, or delete all but one.")
                .command("oc get pdb --all-namespaces")
        })
        .collect()
}

/// Pods that a drain ends for good.
pub fn bare_pods(situation: &Situation<'_>) -> Vec<Finding> {
    let bare = |pod: &Pod| {
        !pod.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
    };
    let pods: Vec<String> =
        situation.pods_to_move().filter(|(pod, _)| bare(pod)).map(|(pod, node)| place(pod, node)).collect();
    if pods.is_empty() {
        return Vec::new();
    }
    let what = if pods.len() == 1 {
        "a pod has no controller".to_owned()
    } else {
        format!("{} pods have no controller", pods.len())
    };
    vec![
        Finding::warns("PodWithoutController", what)
            .at_all(pods)
            .why("The Machine Config Operator drains by force: pods like these are deleted, and nobody makes them anew.")
            .remedy("Save what they hold, and start them again afterwards; better, let a Deployment own them."),
    ]
}

/// Nodes whose pods find no room elsewhere while they reboot.
pub fn room(situation: &Situation<'_>) -> Vec<Finding> {
    let used = used(&situation.snapshot.pods);
    let mut free: BTreeMap<&str, Amount> = BTreeMap::new();
    for node in situation.snapshot.nodes.iter().filter(|node| takes_pods(node)) {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let taken = used.get(name).map_or(Amount::default(), |(_, amount)| *amount);
        free.insert(name, Amount::allocatable(node).less(taken));
    }
    let mut needed: BTreeMap<&str, Amount> = BTreeMap::new();
    for (pod, node) in situation.pods_to_move() {
        let amount = pod.spec.as_ref().map_or(Amount::default(), requests);
        let sum = needed.entry(node).or_default();
        *sum = sum.plus(amount);
    }
    let without: Vec<String> = needed
        .into_iter()
        .filter_map(|(node, needed)| {
            let others = free.iter().filter(|(other, _)| **other != node).map(|(_, free)| *free);
            let others = others.fold(Amount::default(), Amount::plus);
            let told = || {
                format!("Node {node} (its pods need {}, the others have {})", needed.words(), others.words())
            };
            (!needed.fits(others)).then(told)
        })
        .collect();
    if without.is_empty() {
        return Vec::new();
    }
    vec![
        Finding::warns("NoRoomForPods", "the other nodes have no room for the pods of a node that reboots")
            .at_all(without)
            .why("What finds no room is down until the node is back. With a disruption budget, the next drain waits for it.")
            .remedy("Add a node, scale something down, or choose a time at which these pods may be down.")
            .command("oc adm top nodes"),
    ]
}

/// Whether an ordinary pod may land on the node.
fn takes_pods(node: &Node) -> bool {
    is_node_ready(node)
        && !is_cordoned(node)
        && untolerated(taints(node), &[], &["NoSchedule", "NoExecute"]).is_none()
}

/// A virtual machine of OpenShift Virtualization that cannot move to another node.
struct Immovable<'a> {
    namespace: &'a str,
    name: &'a str,
    node: &'a str,
    strategy: &'a str,
    obstacle: String,
}

impl<'a> Immovable<'a> {
    /// Reads it; `None` if it can move, or is on no node. `alone`: there is no other node.
    fn read(machine: &'a Value, alone: bool) -> Option<Self> {
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let status = &machine["status"];
        let node = status["nodeName"].as_str()?;
        if matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let refused =
            conditions.find(|found| found["type"] == "LiveMigratable" && found["status"] == "False");
        let told = |found: &'a Value| {
            let message = text(&found["message"]);
            if message.is_empty() { text(&found["reason"]).to_owned() } else { message.to_owned() }
        };
        let nowhere = || alone.then(|| "there is no other node to move to".to_owned());
        // Machines move unless they say otherwise; on a cluster of one node they do not.
        let default = if alone { "None" } else { "LiveMigrate" };
        Some(Self {
            namespace: text(&machine["metadata"]["namespace"]),
            name: text(&machine["metadata"]["name"]),
            node,
            strategy: machine["spec"]["evictionStrategy"].as_str().unwrap_or(default),
            obstacle: refused.map(told).or_else(nowhere)?,
        })
    }

    fn all(snapshot: &'a Snapshot) -> Vec<Self> {
        let role = osc_api::names::WORKER_NODE_ROLE;
        let workers = snapshot
            .nodes
            .iter()
            .filter(|node| node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(role)));
        let alone = workers.count() <= 1;
        snapshot.of(VMI).filter_map(|machine| Self::read(machine, alone)).collect()
    }

    fn finding(&self) -> Finding {
        let full_name = format!("{}/{}", self.namespace, self.name);
        let obstacle = &self.obstacle;
        let finding = match self.strategy {
            "LiveMigrate" => Finding::blocks(
                "VirtualMachineNotMigratable",
                format!("virtual machine {full_name} cannot be moved to another node"),
            )
            .why(format!("Its node is drained before it reboots, and the drain waits for it without end: {obstacle}"))
            .remedy("Make it able to migrate (shared storage, no host devices), or stop it for the time of the rollout."),
            "External" => Finding::warns(
                "VirtualMachineMovedByOthers",
                format!("virtual machine {full_name} waits for somebody else to move it"),
            )
            .why(format!("Its evictionStrategy is External, and it cannot migrate by itself: {obstacle}"))
            .remedy("Make sure that who is in charge of it takes it away."),
            strategy => {
                Finding::warns("VirtualMachineStops", format!("virtual machine {full_name} will be shut down"))
                    .why(format!("Its evictionStrategy is {strategy}, and it cannot migrate: {obstacle}"))
                    .remedy("Stop it yourself at a time that suits those who use it.")
            }
        };
        finding
            .at(format!("{VMI} {full_name} on {}", self.node))
            .command(format!("virtctl stop -n {} {}", self.namespace, self.name))
    }
}

/// Virtual machines that cannot move.
pub fn virtual_machines(situation: &Situation<'_>) -> Vec<Finding> {
    let machines = Immovable::all(situation.snapshot).into_iter();
    machines
        .filter(|machine| situation.affected.contains(machine.node))
        .map(|machine| machine.finding())
        .collect()
}

/// Nodes whose drain a virtual machine holds up for good, with the reason.
pub fn held_nodes(snapshot: &Snapshot) -> Vec<(String, String)> {
    let machines = Immovable::all(snapshot).into_iter().filter(|machine| machine.strategy == "LiveMigrate");
    machines
        .map(|machine| {
            let why = format!("virtual machine {}/{} cannot be moved", machine.namespace, machine.name);
            (machine.node.to_owned(), why)
        })
        .collect()
}

/// Pods that use Kata, which hold up its removal.
pub fn kata_pods(situation: &Situation<'_>) -> Vec<Finding> {
    let (Intent::Delete, Pods::Known(pods)) = (situation.intent, &situation.observed.pods) else {
        return Vec::new();
    };
    let using: Vec<String> = pods
        .iter()
        .filter(|pod| is_kata(situation.observed, &pod.runtime_class))
        .map(|pod| format!("Pod {}/{}", pod.namespace, pod.name))
        .collect();
    if using.is_empty() {
        return Vec::new();
    }
    let what = if using.len() == 1 {
        "a pod uses Kata".to_owned()
    } else {
        format!("{} pods use Kata", using.len())
    };
    vec![
        Finding::blocks("PodsUseKata", what)
            .at_all(using)
            .why("Kata is not taken away under running pods: removal waits until they are gone.")
            .remedy("Delete them, or move their workloads to another runtime class.")
            .command(
                "oc get pods -A -o custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,CLASS:.spec.runtimeClassName",
            ),
    ]
}
