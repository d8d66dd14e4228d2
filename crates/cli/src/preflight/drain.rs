//! Checks of what has to leave a node before it reboots: pods with budgets, pods that nobody brings back, virtual
//! machines.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use osc_devcluster::sim::placement::selects;
use osc_engine::observed::Pods;
use serde_json::Value;

use super::finding::Finding;
use super::situation::{Intent, Situation, full_name};

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
    situation.snapshot.budgets.iter().filter(guarded).filter_map(|budget| without_room(situation, budget)).collect()
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
            format!("It needs {needed} of {expected} pods at all times, so that none of them may ever be moved."),
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
            .why(format!("{state} A node is drained before it reboots, and the drain waits for these pods without end."))
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
    let what = if pods.len() == 1 { "a pod has no controller".to_owned() } else { format!("{} pods have no controller", pods.len()) };
    vec![
        Finding::warns("PodWithoutController", what)
            .at_all(pods)
            .why("The Machine Config Operator drains by force: pods like these are deleted, and nobody makes them anew.")
            .remedy("Save what they hold, and start them again afterwards; better, let a Deployment own them."),
    ]
}

/// Virtual machines of OpenShift Virtualization that cannot move to another node.
pub fn virtual_machines(situation: &Situation<'_>) -> Vec<Finding> {
    let single = situation.observed.nodes.iter().filter(|node| node.is_worker()).count() <= 1;
    let machines = situation.snapshot.of(VMI).filter_map(|machine| {
        let node = machine["status"]["nodeName"].as_str().filter(|node| situation.affected.contains(node))?;
        of_virtual_machine(machine, node, single)
    });
    machines.collect()
}

fn of_virtual_machine(machine: &Value, node: &str, single: bool) -> Option<Finding> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&machine["metadata"]["namespace"]), text(&machine["metadata"]["name"]));
    let condition = machine["status"]["conditions"].as_array().into_iter().flatten();
    let migratable = condition.into_iter().find(|condition| condition["type"] == "LiveMigratable");
    let refusal = migratable.filter(|condition| condition["status"] == "False").map(|condition| {
        let message = text(&condition["message"]);
        if message.is_empty() { text(&condition["reason"]) } else { message }
    });
    let alone = || single.then(|| "there is no other node to move to".to_owned());
    let obstacle = refusal.or_else(alone)?;
    let place = format!("{VMI} {namespace}/{name} on {node}");
    // OpenShift Virtualization moves machines unless it is told otherwise, on one node none.
    let default = if single { "None" } else { "LiveMigrate" };
    let strategy = machine["spec"]["evictionStrategy"].as_str().unwrap_or(default);
    let stop = format!("virtctl stop -n {namespace} {name}");
    Some(match strategy {
        "LiveMigrate" => Finding::blocks(
            "VirtualMachineNotMigratable",
            format!("virtual machine {namespace}/{name} cannot be moved to another node"),
        )
        .at(place)
        .why(format!("Its node is drained before it reboots, and the drain waits for it without end: {obstacle}"))
        .remedy("Make it able to migrate (shared storage, no host devices), or stop it for the time of the rollout.")
        .command(stop),
        "External" => Finding::warns(
            "VirtualMachineMovedByOthers",
            format!("virtual machine {namespace}/{name} waits for somebody else to move it"),
        )
        .at(place)
        .why(format!("Its evictionStrategy is External, and it cannot migrate by itself: {obstacle}"))
        .remedy("Make sure that who is in charge of it takes it away.")
        .command(stop),
        _ => Finding::warns(
            "VirtualMachineStops",
            format!("virtual machine {namespace}/{name} will be shut down"),
        )
        .at(place)
        .why(format!("Its evictionStrategy is {strategy}, and it cannot migrate: {obstacle}"))
        .remedy("Stop it yourself at a time that suits those who use it.")
        .command(stop),
    })
}

/// Pods that use Kata, which hold up its removal.
pub fn kata_pods(situation: &Situation<'_>) -> Vec<Finding> {
    let (Intent::Delete, Pods::Known(pods)) = (situation.intent, &situation.observed.pods) else {
        return Vec::new();
    };
    let classes: BTreeSet<&str> = super::kata::own_classes(situation).into_iter().collect();
    let using: Vec<String> = pods
        .iter()
        .filter(|pod| classes.contains(pod.runtime_class.as_str()))
        .map(|pod| format!("Pod {}/{}", pod.namespace, pod.name))
        .collect();
    if using.is_empty() {
        return Vec::new();
    }
    let what = if using.len() == 1 { "a pod uses Kata".to_owned() } else { format!("{} pods use Kata", using.len()) };
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
