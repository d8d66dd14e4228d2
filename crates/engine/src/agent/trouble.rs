//! What keeps a rollout of the node agents from going on, in words that a person can act on.

use osc_api::names;

use super::config::AgentConfig;
use super::desired::Task;
use super::state::{AgentState, unknown_text};
use super::turns::{Held, held, is_leaving};
use crate::nodes::{NodeState, Survey};
use crate::observed::{NodeView, Observed, Settings};
use crate::trouble::{NAMES_TOLD, Troubles, list};

/// Looks at the nodes. `removal`: Kata goes from all of them.
pub fn of_rollout(
    observed: &Observed,
    settings: &Settings,
    survey: &Survey<'_>,
    config: &AgentConfig,
    removal: bool,
) -> Troubles {
    let mut troubles = Troubles::default();
    failed(&mut troubles, settings, survey);
    reboots(&mut troubles, survey);
    silent(&mut troubles, observed, settings, survey);
    not_ready(&mut troubles, observed, settings, survey);
    held_nodes(&mut troubles, observed);
    if !removal {
        unknown(&mut troubles, observed);
    }
    for complaint in &config.complaints {
        troubles.add("InvalidAgentSetting", complaint.clone());
    }
    troubles
}

fn state_label() -> &'static str {
    names::DAEMON_SET_MODE_LABEL
}

/// Where the log of the agent on a node is.
fn log(settings: &Settings, node: &NodeView, task: Task) -> String {
    format!(
        "kubectl logs -n {namespace} $(kubectl get pods -n {namespace} -l name={name} --field-selector \
         spec.nodeName={node} -o name)",
        namespace = settings.namespace,
        name = task.daemon_set(),
        node = node.name,
    )
}

fn failed(troubles: &mut Troubles, settings: &Settings, survey: &Survey<'_>) {
    let failed: Vec<_> = survey.nodes.iter().filter(|(_, state)| state.has_failed()).collect();
    for (node, state) in failed.iter().take(NAMES_TOLD) {
        let reason = node.agent_failure.as_deref().filter(|reason| !reason.is_empty());
        let (what, task, give_up) = match state {
            NodeState::FailedToInstall => (
                "installed on",
                Task::Install,
                "To go on without it, take it out of the selection".to_owned(),
            ),
            _ => ("removed from", Task::Uninstall, give_up(&node.name)),
        };
        troubles.add(
            "NodeAgentFailed",
            format!(
                "Kata could not be {what} node {name} ({reason}): mend that, then the node agent tries again by itself; its \
                 log: {log}. {give_up}",
                name = node.name,
                reason = reason.unwrap_or("no reason given"),
                log = log(settings, node, task),
            ),
        );
    }
    if failed.len() > NAMES_TOLD {
        let more = failed.len() - NAMES_TOLD;
        troubles.add("NodeAgentFailed", format!("{more} more nodes failed"));
    }
}

fn give_up(node: &str) -> String {
    format!("To give the node up and leave on it what is there: kubectl label node {node} {}-", state_label())
}

/// A reboot is a person's decision: the node agent drains nothing.
fn reboots(troubles: &mut Troubles, survey: &Survey<'_>) {
    let waits = |node: &&NodeView| AgentState::of(node) == Some(AgentState::WaitingForReboot);
    let nodes: Vec<&str> =
        survey.nodes.iter().map(|(node, _)| *node).filter(waits).map(|node| node.name.as_str()).collect();
    if let Some(first) = nodes.first() {
        troubles.add(
            "WaitingForReboot",
            format!(
                "the change takes effect with a reboot, which is yours to choose: {}; kubectl drain {first} \
                 --ignore-daemonsets --delete-emptydir-data, reboot the machine, kubectl uncordon {first}",
                list(nodes.iter().copied())
            ),
        );
    }
}

/// Nodes whose agent has a turn and says nothing.
fn silent(troubles: &mut Troubles, observed: &Observed, settings: &Settings, survey: &Survey<'_>) {
    let mut stuck = Vec::new();
    for (node, _) in &survey.nodes {
        let works = matches!(AgentState::of(node), Some(AgentState::Installing | AgentState::Uninstalling));
        if works && troubles.overdue(observed.now, node.changed_at, settings.agent_deadline) {
            stuck.push(*node);
        }
    }
    if let Some(first) = stuck.first() {
        let installs = first.has_kata_role();
        let task = if installs { Task::Install } else { Task::Uninstall };
        let give_up = if installs { String::new() } else { format!(". {}", give_up(&first.name)) };
        troubles.add(
            "NodeAgentSilent",
            format!(
                "no word of the node agent for more than {} minutes on {}: kubectl describe pods -n {} -l name={} tells \
                 whether its image could be pulled and whether it runs; its log: {}{give_up}",
                settings.agent_deadline.as_mins(),
                list(stuck.iter().map(|node| node.name.as_str())),
                settings.namespace,
                task.daemon_set(),
                log(settings, first, task),
            ),
        );
    }
}

/// Nodes that get no turn because they are not ready.
fn not_ready(troubles: &mut Troubles, observed: &Observed, settings: &Settings, survey: &Survey<'_>) {
    let mut down = Vec::new();
    for (node, state) in &survey.nodes {
        if state.is_waiting()
            && !node.ready
            && troubles.overdue(observed.now, node.changed_at, settings.drain_deadline)
        {
            down.push(node.name.as_str());
        }
    }
    if let Some(first) = down.first() {
        troubles.add(
            "NodeNotReady",
            format!(
                "not ready for more than {} minutes, so that nothing is done there: {}; see kubectl describe node {first}. A \
                 machine that is gone for good: kubectl delete node {first}",
                settings.drain_deadline.as_mins(),
                list(down.iter().copied())
            ),
        );
    }
}

fn held_nodes(troubles: &mut Troubles, observed: &Observed) {
    for node in observed.nodes.iter().filter(|node| is_leaving(node)) {
        if let Held::By(pods) = held(observed, node) {
            let pods: Vec<String> =
                pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
            troubles.add(
                "PodsHoldNode",
                format!(
                    "node {} is to lose Kata, and pods there use it: {}; it goes on when they are gone",
                    node.name,
                    list(pods.iter().map(String::as_str))
                ),
            );
        }
    }
}

/// Told in the pass that mends it.
fn unknown(troubles: &mut Troubles, observed: &Observed) {
    for node in observed.nodes.iter().filter(|node| node.has_kata_role()) {
        if let Some(text) = unknown_text(node) {
            troubles.add(
                "UnknownNodeState",
                format!(
                    "label {} of node {} was {text:?}, which means nothing; it is set to waiting_to_install, and the node \
                     agent looks what is there",
                    state_label(),
                    node.name
                ),
            );
        }
    }
}
