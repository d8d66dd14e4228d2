//! Which nodes get Kata, how the selection changes, and the log level.

use std::collections::BTreeMap;

use osc_api::names;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{KATA, World};

pub const UPDATING: &str = "True Updating: Adding and/or removing kata-enabled nodes";
pub const IDLE: &str = "False : ";

/// Four workers; `kata=yes` on those named.
fn labelled(nodes: &[&str]) -> World {
    let mut world = World::regular(&["worker-0", "worker-1", "worker-2", "worker-3"]);
    for node in nodes {
        world.label(node, "kata", "yes");
    }
    world
}

fn by_label() -> Value {
    json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes"}}})
}

fn once(nodes: &[&'static str]) -> BTreeMap<&'static str, u32> {
    nodes.iter().map(|node| (*node, 1)).collect()
}

/// Whether one of the statuses told so.
fn told(world: &World, condition: &str) -> bool {
    world.told.iter().any(|(_, status)| {
        let found = status.condition("InProgress").unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message) == condition
    })
}

#[test]
fn without_a_selector_all_workers_get_kata_with_one_reboot_each() {
    let mut world = labelled(&[]);
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.reboots(), once(&["worker-0", "worker-1", "worker-2", "worker-3"]));
    assert_eq!(world.kata_nodes(), ["worker-0", "worker-1", "worker-2", "worker-3"]);
    let ready = "True Installed: Kata is installed on 4 nodes; pods use it with runtimeClassName: kata";
    assert_eq!(world.condition(KATA, "Ready"), ready);
    assert_eq!(world.condition(KATA, "InProgress"), IDLE);
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    assert!(!world.status().waiting_for_mco_to_start);
    let config = &world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).unwrap();
    assert_eq!(config["spec"]["extensions"], json!(["sandboxed-containers"]));
    assert!(world.object(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG).is_none());
    assert!(world.object(Kind::SecurityContextConstraints, names::MONITOR_SCC).is_some());
    let daemon_sets: Vec<&Value> = world.objects_of(Kind::DaemonSet).collect();
    assert_eq!(daemon_sets.len(), 1);
    assert_eq!(world.objects_of(Kind::ConfigMap).count(), 2, "the dashboard is copied");
}

#[rstest]
#[case::match_labels(json!({"matchLabels": {"kata": "yes"}}), &["worker-1", "worker-3"])]
#[case::two_labels(json!({"matchLabels": {"kata": "yes", "zone": "b"}}), &["worker-3"])]
#[case::is_in(json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "c"]}]}), &["worker-3"])]
#[case::is_not_in(
    json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["b"]}]}),
    &["worker-0", "worker-1", "worker-2"]
)]
#[case::exists(json!({"matchExpressions": [{"key": "kata", "operator": "Exists"}]}), &["worker-1", "worker-3"])]
#[case::is_absent(json!({"matchExpressions": [{"key": "kata", "operator": "DoesNotExist"}]}), &["worker-0", "worker-2"])]
#[case::both(
    json!({"matchLabels": {"kata": "yes"}, "matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}),
    &["worker-1"]
)]
#[case::empty(json!({}), &["worker-0", "worker-1", "worker-2", "worker-3"])]
fn only_selected_workers_get_kata(#[case] selector: Value, #[case] expected: &[&'static str]) {
    let mut world = labelled(&["worker-1", "worker-3"]);
    world.label("worker-3", "zone", "b");
    world.create(KATA, json!({"kataConfigPoolSelector": selector}));
    world.run();
    assert_eq!(world.kata_nodes(), expected);
    assert_eq!(world.reboots(), once(expected));
    assert_eq!(world.status().kata_nodes.installed, expected);
}

#[test]
fn with_the_eligibility_check_only_eligible_workers_get_kata_and_pods_go_there() {
    let mut world = labelled(&[]);
    world.label("worker-2", names::NODE_ELIGIBLE_LABEL, "true");
    world.label("worker-3", names::NODE_ELIGIBLE_LABEL, "false");
    world.create(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    assert_eq!(world.reboots(), once(&["worker-2"]));
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert_eq!(
        class["scheduling"]["nodeSelector"],
        json!({"node-role.kubernetes.io/kata-oc": "", "feature.node.kubernetes.io/runtime.kata": "true"})
    );
}

#[rstest]
#[case::grows(&["worker-0"], &["worker-0", "worker-1"])]
#[case::shrinks(&["worker-0", "worker-1"], &["worker-1"])]
#[case::swaps(&["worker-0"], &["worker-3"])]
#[case::swaps_back(&["worker-3"], &["worker-0"])]
#[case::swaps_two(&["worker-0", "worker-2"], &["worker-1", "worker-3"])]
#[case::to_nothing(&["worker-0"], &[])]
#[case::from_nothing(&[], &["worker-0"])]
fn a_changed_selection_reboots_those_that_change_once_and_nobody_else(
    #[case] before: &[&'static str],
    #[case] after: &[&'static str],
) {
    let mut world = labelled(before);
    world.create(KATA, by_label());
    world.run();
    let installed = once(before);
    assert_eq!(world.reboots(), installed);
    world.told.clear();
    for node in ["worker-0", "worker-1", "worker-2", "worker-3"] {
        if after.contains(&node) { world.label(node, "kata", "yes") } else { world.unlabel(node, "kata") }
    }
    world.run();
    let mut expected = installed;
    for node in before.iter().filter(|node| !after.contains(node)) {
        *expected.entry(node).or_default() += 1;
    }
    for node in after.iter().filter(|node| !before.contains(node)) {
        *expected.entry(node).or_default() += 1;
    }
    assert_eq!(world.reboots(), expected);
    assert_eq!(world.kata_nodes(), after);
    assert_eq!(world.status().kata_nodes.installed, after);
    assert_eq!(world.condition(KATA, "InProgress"), IDLE);
    let first = if before.is_empty() {
        "True Installing: Performing initial installation of kata on cluster"
    } else {
        UPDATING
    };
    assert!(told(&world, first), "{:#?}", world.told);
}

#[test]
fn a_changed_selector_moves_the_nodes_as_changed_labels_do() {
    let mut world = labelled(&["worker-0"]);
    world.create(KATA, by_label());
    world.run();
    let selector = json!({"matchExpressions": [{"key": "kata", "operator": "DoesNotExist"}]});
    world.respec(KATA, json!({"kataConfigPoolSelector": selector}));
    world.run();
    assert_eq!(world.kata_nodes(), ["worker-1", "worker-2", "worker-3"]);
    let reboots: Vec<u32> = world.reboots().into_values().collect();
    assert_eq!(reboots, [2, 1, 1, 1]);
}

#[test]
fn a_worker_that_joins_later_gets_kata() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.add_node("worker-9", &["worker"]);
    world.told.clear();
    world.run();
    assert!(told(&world, UPDATING));
    assert_eq!(world.reboots(), once(&["worker-0", "worker-1", "worker-9"]));
    assert_eq!((world.status().kata_nodes.node_count, world.status().kata_nodes.ready_node_count), (3, 3));
}

#[test]
fn no_selected_nodes_is_told_and_nothing_reboots() {
    let mut world = labelled(&[]);
    world.create(KATA, by_label());
    world.run();
    let expected = "False NoNodesSelected: no worker node is selected: label nodes so that \
                    spec.kataConfigPoolSelector matches them, or change the selector";
    assert_eq!(world.condition(KATA, "Ready"), expected);
    assert_eq!(world.condition(KATA, "InProgress"), IDLE);
    assert!(world.reboots().is_empty());
    assert!(world.object(Kind::RuntimeClass, "kata").is_none());
    assert!(world.plan().steps.is_empty());
}

fn log_level(world: &World) -> Value {
    let found = world.object(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG);
    found.map_or(Value::Null, |found| found["spec"]["containerRuntimeConfig"]["logLevel"].clone())
}

#[test]
fn a_log_level_goes_there_and_back_and_its_object_stays() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(log_level(&world), Value::Null);
    for (level, reboots) in [("debug", 2), ("info", 3)] {
        world.told.clear();
        world.respec(KATA, json!({"logLevel": level}));
        world.run();
        assert!(told(&world, UPDATING), "level {level}");
        assert_eq!(world.condition(KATA, "InProgress"), IDLE);
        assert_eq!(log_level(&world), json!(level));
        assert_eq!(world.reboots(), [("worker-0", reboots), ("worker-1", reboots)].into());
    }
    world.remove(KATA);
    world.run();
    assert_eq!(log_level(&world), Value::Null);
    assert_eq!(world.reboots(), [("worker-0", 4), ("worker-1", 4)].into());
}

/// Also if the pool is rendered once without the log level before it is rendered with it.
#[rstest]
fn an_installation_with_a_log_level_reboots_each_node_exactly_once(#[values(false, true)] late: bool) {
    let mut world = World::two_workers();
    world.mco_generates_late = late;
    world.create(KATA, json!({"logLevel": "debug"}));
    world.run();
    assert_eq!(log_level(&world), json!("debug"));
    assert_eq!(world.reboots(), once(&["worker-0", "worker-1"]));
}

#[test]
fn another_rollout_of_the_pool_is_shown_as_updating() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.told.clear();
    let metadata = json!({"name": "99-own", "labels": {names::MACHINE_CONFIG_ROLE: "worker"}});
    world.put(
        Kind::MachineConfig,
        "99-own",
        json!({"metadata": metadata, "spec": {"kernelArguments": ["quiet"]}}),
    );
    world.run();
    assert!(told(&world, UPDATING));
    assert_eq!(world.condition(KATA, "InProgress"), IDLE);
    assert_eq!(world.reboots(), [("worker-0", 2), ("worker-1", 2)].into());
}

#[rstest]
#[case::product("quay.io/openshift-release-dev/ocp-release@sha256:1", "sandboxed-containers")]
#[case::okd("quay.io/okd/scos-release@sha256:1", "kata-containers")]
fn the_extension_is_that_of_the_release(#[case] image: &str, #[case] extension: &str) {
    let mut world = World::two_workers();
    world.put(Kind::ClusterVersion, "version", json!({"status": {"desired": {"image": image}}}));
    world.create(KATA, json!({}));
    world.run();
    let config = world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).unwrap();
    assert_eq!(config["spec"]["extensions"], json!([extension]));
    assert_eq!(world.status().kata_nodes.ready_node_count, 2);
}
