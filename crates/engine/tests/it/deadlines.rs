//! Every wait has an end: before it, the plan says when to look again; at it, the person is told.

use jiff::{SignedDuration, Timestamp};
use osc_api::names;
use osc_engine::observed::Pods;
use rstest::rstest;
use serde_json::json;

use crate::world::{KATA, World};

const FINE: &str = "False AsExpected: ";

/// Nothing is told until `limit` after now, and the plan asks to be woken just then; then it is told, once.
fn assert_told_after(world: &mut World, limit: SignedDuration, expected: &str) {
    let deadline: Timestamp = world.cluster.now + limit;
    let second = SignedDuration::from_secs(1);
    for elapsed in [SignedDuration::ZERO, limit / 2, limit - second] {
        world.cluster.now = deadline - limit + elapsed;
        world.run();
        assert_eq!(world.condition(KATA, "Degraded"), FINE, "after {elapsed:#}");
        let plan = world.plan();
        assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
        assert_eq!(plan.wake_at, Some(deadline), "after {elapsed:#}");
    }
    world.cluster.now = deadline;
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), expected);
    assert!(world.plan().steps.is_empty(), "told once");
    let told = world.events.iter().filter(|event| expected.ends_with(&event.message)).count();
    assert_eq!(told, 1, "{:#?}", world.events);
}

fn drain(minutes: i64, node: &str) -> String {
    format!(
        "True NodeNotDraining: draining for more than {minutes} minutes: {node}; a PodDisruptionBudget without room or a \
         pod that does not end holds it up: oc get pdb -A and oc get pods -A --field-selector spec.nodeName={node}"
    )
}

fn stuck(minutes: i64, node: &str) -> String {
    format!(
        "True NodeStuck: no progress for more than {minutes} minutes on {node}: see the console of the machine and oc \
         describe node {node}"
    )
}

fn silent(minutes: i64, what: &str) -> String {
    format!(
        "True WaitingForMachineConfigOperator: waiting for more than {minutes} minutes for the Machine Config Operator \
         {what}; see oc get clusteroperator machine-config and oc logs -n openshift-machine-config-operator \
         deployment/machine-config-controller"
    )
}

#[rstest]
#[case::default(None, 15)]
#[case::setting(Some(3), 3)]
fn a_node_may_take_so_long_to_drain(#[case] setting: Option<i64>, #[case] minutes: i64) {
    let mut world = World::two_workers();
    if let Some(minutes) = setting {
        world.settings.drain_deadline = SignedDuration::from_mins(minutes);
    }
    world.machine("worker-1").cannot_drain = true;
    world.create(KATA, json!({}));
    assert_told_after(&mut world, SignedDuration::from_mins(minutes), &drain(minutes, "worker-1"));
}

#[rstest]
#[case::default(None, 90)]
#[case::setting(Some(30), 30)]
fn a_node_may_take_so_long_to_come_back(#[case] setting: Option<i64>, #[case] minutes: i64) {
    let mut world = World::two_workers();
    if let Some(minutes) = setting {
        world.settings.node_deadline = SignedDuration::from_mins(minutes);
    }
    world.machine("worker-1").cannot_boot = true;
    world.create(KATA, json!({}));
    assert_told_after(&mut world, SignedDuration::from_mins(minutes), &stuck(minutes, "worker-1"));
}

#[test]
fn the_same_deadlines_hold_for_removal() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.machine("worker-1").cannot_drain = true;
    world.remove(KATA);
    assert_told_after(&mut world, SignedDuration::from_mins(15), &drain(15, "worker-1"));
    world.machine("worker-1").cannot_drain = false;
    world.machine("worker-0").cannot_boot = true;
    world.events.clear();
    assert_told_after(&mut world, SignedDuration::from_mins(90), &stuck(90, "worker-0"));
}

#[test]
fn the_machine_config_operator_may_take_so_long_to_render() {
    let mut world = World::two_workers();
    world.mco_runs = false;
    world.create(KATA, json!({}));
    let what = "to render pool kata-oc with 50-enable-sandboxed-containers-extension";
    assert_told_after(&mut world, SignedDuration::from_mins(10), &silent(10, what));
    assert!(world.kata_nodes().is_empty());
}

#[test]
fn the_machine_config_operator_may_take_so_long_to_begin_with_a_node() {
    let mut world = World::two_workers();
    world.settings.start_deadline = SignedDuration::from_mins(4);
    world.create(KATA, json!({}));
    world.run_until(|world| !world.kata_nodes().is_empty());
    world.mco_runs = false;
    assert_told_after(&mut world, SignedDuration::from_mins(4), &silent(4, "to begin with the next node"));
    world.mco_runs = true;
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), FINE);
}

#[test]
fn the_machine_config_operator_may_take_so_long_to_begin_with_removal() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.mco_runs = false;
    world.remove(KATA);
    assert_told_after(&mut world, SignedDuration::from_mins(10), &silent(10, "to begin with the next node"));
    assert!(world.status().waiting_for_mco_to_start);
}

/// Each node that gets its turn starts the wait for the next one anew.
#[test]
fn a_wait_begins_when_something_happened_last() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run_until(|world| world.kata_config(KATA).unwrap().status.kata_nodes.installed == ["worker-1"]);
    world.advance(SignedDuration::from_mins(9));
    world.mco_runs = false;
    let begun = world.cluster.now - SignedDuration::from_mins(9);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), FINE);
    assert_eq!(world.plan().wake_at, Some(begun + SignedDuration::from_mins(10)));
}

#[test]
fn a_cordoned_node_is_mentioned_after_a_minute() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run_until(|world| world.object(osc_engine::Kind::MachineConfigPool, names::KATA_POOL).is_some());
    world.cordon("worker-1", true);
    let expected = "True NodeCordoned: cordoned, and therefore counted as unavailable by the Machine Config Operator: \
                    worker-1; when the work on them is done: oc adm uncordon worker-1";
    assert_told_after(&mut world, SignedDuration::from_mins(1), expected);
}

#[test]
fn a_node_that_is_not_ready_is_mentioned_after_a_minute() {
    let mut world = World::two_workers();
    world.node_mut("worker-1").ready = false;
    world.create(KATA, json!({}));
    let expected = "True NodeNotReady: not ready, and therefore counted as unavailable by the Machine Config Operator: \
                    worker-1; see oc describe node worker-1";
    assert_told_after(&mut world, SignedDuration::from_mins(1), expected);
}

/// The start deadline is not told on top of a cause that is known.
#[test]
fn a_known_cause_silences_the_unknown_one() {
    let mut world = World::two_workers();
    world.cordon("worker-1", true);
    world.create(KATA, json!({}));
    world.run();
    world.advance(SignedDuration::from_hours(5));
    world.run();
    assert!(world.condition(KATA, "Degraded").starts_with("True NodeCordoned: "));
    assert!(!world.condition(KATA, "Degraded").contains("waiting for more than"));
}

#[test]
fn nothing_is_waited_for_on_a_cluster_that_is_as_it_should_be() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.plan().wake_at, None);
    let mut observed = world.observe();
    observed.kata_configs.clear();
    observed.pods = Pods::Unknown;
    assert_eq!(osc_engine::decide(&observed, &world.settings), osc_engine::Plan::default());
}
