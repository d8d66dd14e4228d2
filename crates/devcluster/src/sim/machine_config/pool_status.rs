//! What a pool's status says, computed from its nodes.

use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use osc_api::openshift::{MachineConfigPoolSpec, MachineConfigPoolStatus, PoolCondition};

use super::node_view::NodeView;
use crate::sim::workload::count;

/// Everything that the status is computed from.
pub struct Observed<'a> {
    /// The pool's spec, whose `configuration.name` is set.
    pub spec: &'a MachineConfigPoolSpec,
    /// Generation of that spec.
    pub generation: Option<i64>,
    /// The status so far.
    pub status: Option<&'a MachineConfigPoolStatus>,
    /// The pool's nodes.
    pub nodes: &'a [Arc<NodeView>],
    /// Nodes that it has to leave alone: why.
    pub conflicts: &'a [String],
    /// Why it could not be rendered.
    pub render_error: Option<&'a str>,
}

/// Computes the status. Equal facts give an equal status: transition times change only with their condition.
pub fn compute(observed: &Observed<'_>, now: &Time) -> MachineConfigPoolStatus {
    let nodes = observed.nodes;
    let target = observed.spec.configuration.as_ref().and_then(|configuration| configuration.name.as_deref());
    let target = target.unwrap_or_default();
    let number = |of: &dyn Fn(&NodeView) -> bool| count(nodes.iter().filter(|node| of(node)).count());
    let at_target = |node: &NodeView| node.is_done_at(target);
    let total = count(nodes.len());
    let updated = number(&at_target);
    let ready = number(&|node| at_target(node) && node.is_serving());
    let unavailable = number(&NodeView::is_unavailable);
    let degraded = number(&NodeView::is_failing);
    let all_updated = updated == total && ready == total && unavailable == 0;
    let known = observed.status;
    let configuration = if all_updated {
        observed.spec.configuration.clone()
    } else {
        known.and_then(|known| known.configuration.clone())
    };
    MachineConfigPoolStatus {
        observed_generation: observed.generation,
        configuration,
        machine_count: total,
        updated_machine_count: updated,
        ready_machine_count: ready,
        unavailable_machine_count: unavailable,
        degraded_machine_count: degraded,
        conditions: conditions(observed, all_updated, target, degraded, now),
    }
}

fn conditions(
    observed: &Observed<'_>,
    all_updated: bool,
    target: &str,
    degraded: i32,
    now: &Time,
) -> Vec<PoolCondition> {
    let paused = observed.spec.paused.unwrap_or(false);
    let updated = if all_updated { format!("All nodes are updated with {target}") } else { String::new() };
    let updating = match (all_updated, paused) {
        (true, _) => String::new(),
        (false, true) => format!("Pool is paused; will not update to {target}"),
        (false, false) => format!("All nodes are updating to {target}"),
    };
    let nodes_reason = if degraded > 0 {
        format!("{degraded} nodes are reporting degraded status on sync")
    } else {
        String::new()
    };
    let render_message = observed
        .render_error
        .map(ToOwned::to_owned)
        .or_else(|| (!observed.conflicts.is_empty()).then(|| observed.conflicts.join(", ")));
    let render_degraded = render_message.is_some();
    let render_message = render_message.unwrap_or_default();
    let mut conditions = observed.status.map(|status| status.conditions.clone()).unwrap_or_default();
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        set_condition(&mut conditions, type_, holds, reason, message, now);
    };
    set("RenderDegraded", render_degraded, "", &render_message);
    set("Updated", all_updated, "", &updated);
    set("Updating", !all_updated && !paused, "", &updating);
    set("NodeDegraded", degraded > 0, &nodes_reason, &node_reasons(observed.nodes));
    // The real condition has no message of its own; for a conflict of roles it repeats the words, since that is
    // the only place where a person would look.
    let message = if observed.conflicts.is_empty() { "" } else { &render_message };
    set("Degraded", render_degraded || degraded > 0, "", message);
    conditions
}

fn node_reasons(nodes: &[Arc<NodeView>]) -> String {
    let mut text = String::new();
    for node in nodes.iter().filter(|node| node.is_failing()) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}Node {} is reporting: {:?}", node.name, node.reason);
    }
    text
}

fn set_condition(
    conditions: &mut Vec<PoolCondition>,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: &Time,
) {
    let status = if holds { "True" } else { "False" };
    let known = conditions.iter_mut().find(|known| known.type_ == type_);
    let since = known
        .as_ref()
        .filter(|known| known.status == status)
        .and_then(|known| known.last_transition_time.clone());
    let condition = PoolCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::super::node_view::State;
    use super::*;
    use jiff::Timestamp;
    use osc_api::openshift::PoolConfiguration;

    fn configuration(name: &str) -> PoolConfiguration {
        PoolConfiguration { name: Some(name.to_owned()), source: None }
    }

    fn node(name: &str, state: State, current: &str, desired: &str) -> NodeView {
        NodeView {
            name: name.to_owned(),
            ready: true,
            state,
            current: Some(current.to_owned()),
            desired: Some(desired.to_owned()),
            ..NodeView::default()
        }
    }

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn status(nodes: Vec<NodeView>, paused: bool, conflicts: &[String]) -> MachineConfigPoolStatus {
        let spec = MachineConfigPoolSpec {
            paused: Some(paused),
            configuration: Some(configuration("new")),
            ..MachineConfigPoolSpec::default()
        };
        let old = MachineConfigPoolStatus {
            configuration: Some(configuration("old")),
            ..MachineConfigPoolStatus::default()
        };
        let nodes: Vec<_> = nodes.into_iter().map(Arc::new).collect();
        let observed = Observed {
            spec: &spec,
            generation: Some(4),
            status: Some(&old),
            nodes: &nodes,
            conflicts,
            render_error: None,
        };
        compute(&observed, &at(100))
    }

    fn words(status: &MachineConfigPoolStatus) -> Vec<(String, String)> {
        let short =
            |c: &PoolCondition| (format!("{}={}", c.type_, c.status), format!("{}{}", c.reason, c.message));
        status.conditions.iter().map(short).collect()
    }

    fn counts(status: &MachineConfigPoolStatus) -> [i32; 5] {
        [
            status.machine_count,
            status.updated_machine_count,
            status.ready_machine_count,
            status.unavailable_machine_count,
            status.degraded_machine_count,
        ]
    }

    #[test]
    fn a_finished_rollout_becomes_the_pools_configuration() {
        let done = status(vec![node("a", State::Done, "new", "new")], false, &[]);
        assert_eq!(counts(&done), [1, 1, 1, 0, 0]);
        assert_eq!(done.configuration, Some(configuration("new")));
        assert!(words(&done).contains(&("Updated=True".into(), "All nodes are updated with new".into())));
        assert!(done.is_true("Updated") && !done.is_true("Updating"));
        assert_eq!(done.observed_generation, Some(4));
    }

    #[test]
    fn a_pool_without_nodes_is_up_to_date() {
        assert!(status(vec![], false, &[]).is_true("Updated"));
    }

    #[test]
    fn a_running_rollout_keeps_the_old_configuration() {
        let nodes = vec![
            node("a", State::Done, "new", "new"),
            NodeView { cordoned: true, ..node("b", State::Working, "old", "new") },
            node("c", State::Done, "old", "old"),
        ];
        let running = status(nodes, false, &[]);
        assert_eq!(counts(&running), [3, 1, 1, 1, 0]);
        assert_eq!(running.configuration, Some(configuration("old")));
        assert!(words(&running).contains(&("Updating=True".into(), "All nodes are updating to new".into())));
    }

    #[test]
    fn a_paused_pool_is_neither_updated_nor_updating() {
        let paused = status(vec![node("c", State::Done, "old", "old")], true, &[]);
        assert!(!paused.is_true("Updated") && !paused.is_true("Updating"));
        assert!(
            words(&paused)
                .contains(&("Updating=False".into(), "Pool is paused; will not update to new".into()))
        );
    }

    #[test]
    fn a_degraded_node_degrades_its_pool() {
        let broken = NodeView { reason: "no \"disk\"".into(), ..node("b", State::Degraded, "old", "new") };
        let degraded = status(vec![broken, node("a", State::Done, "old", "old")], false, &[]);
        assert_eq!(counts(&degraded), [2, 0, 0, 0, 1]);
        assert!(degraded.is_true("Degraded") && degraded.is_true("Updating"));
        let text = "1 nodes are reporting degraded status on syncNode b is reporting: \"no \\\"disk\\\"\"";
        assert!(words(&degraded).contains(&("NodeDegraded=True".into(), text.into())));
    }

    #[test]
    fn a_conflict_of_roles_is_told() {
        let why = "node n belongs to 2 custom roles, cannot proceed with this Node".to_owned();
        let status = status(vec![], false, std::slice::from_ref(&why));
        assert!(words(&status).contains(&("RenderDegraded=True".into(), why)));
        assert!(status.is_true("Degraded"));
    }

    #[test]
    fn times_change_only_with_their_condition() {
        let spec = MachineConfigPoolSpec {
            configuration: Some(configuration("new")),
            ..MachineConfigPoolSpec::default()
        };
        let with = |status: Option<&MachineConfigPoolStatus>, nodes: &[Arc<NodeView>], now| {
            let observed =
                Observed { spec: &spec, generation: None, status, nodes, conflicts: &[], render_error: None };
            compute(&observed, &at(now))
        };
        let first = with(None, &[], 100);
        assert_eq!(with(Some(&first), &[], 200), first);
        let later = with(Some(&first), &[Arc::new(node("a", State::Done, "old", "old"))], 300);
        let time = |type_: &str| {
            later.conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.clone()
        };
        assert_eq!((time("Updated"), time("NodeDegraded")), (Some(at(300)), Some(at(100))));
    }
}
