//! What cannot be done, and how it is told. Every message is literal: people act on it.

use osc_api::names;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::removal::assert_clean;
use crate::world::{KATA, World};

/// All three conditions say it, and no step but events and status is planned.
fn assert_refused(world: &World, name: &str, reason: &str, message: &str) {
    let expected = format!("{reason}: {message}");
    assert_eq!(world.condition(name, "InProgress"), format!("False {expected}"));
    assert_eq!(world.condition(name, "Ready"), format!("False {expected}"));
    assert_eq!(world.condition(name, "Degraded"), format!("True {expected}"));
    assert!(world.plan().steps.is_empty());
}

#[rstest]
#[case::not_a_map(json!("all"), "spec cannot be read: invalid type: string \"all\", expected struct KataConfigSpec")]
#[case::type_of_field(
    json!({"checkNodeEligibility": "yes"}),
    "spec cannot be read: invalid type: string \"yes\", expected a boolean"
)]
#[case::log_level(
    json!({"logLevel": "verbose"}),
    "spec.logLevel is \"verbose\", which CRI-O does not know; use one of fatal, panic, error, warn, info, debug, trace"
)]
#[case::operator(
    json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0].operator is \"Near\"; use In, NotIn, Exists or DoesNotExist"
)]
#[case::no_values(
    json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "In"}]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0].values is empty, but operator In needs at least one value"
)]
#[case::values(
    json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "Exists", "values": ["a"]}]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0].values must be empty with operator Exists; found [\"a\"]"
)]
#[case::key(
    json!({"kataConfigPoolSelector": {"matchLabels": {"-kata": "true"}}}),
    "spec.kataConfigPoolSelector.matchLabels: \"-kata\" is no label key: its name must be 1 to 63 letters, digits, '-', \
     '_' or '.', and begin and end with a letter or digit"
)]
#[case::prefix(
    json!({"kataConfigPoolSelector": {"matchLabels": {"Kata_X/y": "true"}}}),
    "spec.kataConfigPoolSelector.matchLabels: label key \"Kata_X/y\" has a prefix that is no DNS name (lower-case \
     letters, digits, '-' and '.')"
)]
#[case::value(
    json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes, please"}}}),
    "spec.kataConfigPoolSelector.matchLabels[kata]: \"yes, please\" is no label value: it must be empty or at most 63 \
     letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
)]
#[case::own_role_absent(
    json!({"kataConfigPoolSelector": {"matchExpressions": [
        {"key": "node-role.kubernetes.io/kata-oc", "operator": "DoesNotExist"}
    ]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0] excludes nodes with label node-role.kubernetes.io/kata-oc, which every \
     selected node is given: nodes would enter and leave the pool forever; select by another label"
)]
#[case::own_role_other(
    json!({"kataConfigPoolSelector": {"matchExpressions": [
        {"key": "zone", "operator": "DoesNotExist"},
        {"key": "node-role.kubernetes.io/kata-oc", "operator": "NotIn", "values": [""]}
    ]}}),
    "spec.kataConfigPoolSelector.matchExpressions[1] excludes nodes with label node-role.kubernetes.io/kata-oc, which every \
     selected node is given: nodes would enter and leave the pool forever; select by another label"
)]
#[case::two_at_once(
    json!({"logLevel": "loud", "kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "="}]}}),
    "spec.logLevel is \"loud\", which CRI-O does not know; use one of fatal, panic, error, warn, info, debug, trace; \
     spec.kataConfigPoolSelector.matchExpressions[0].operator is \"=\"; use In, NotIn, Exists or DoesNotExist"
)]
fn an_invalid_specification_is_told_and_nothing_is_done(#[case] spec: Value, #[case] message: &str) {
    let mut world = World::two_workers();
    world.create(KATA, spec.clone());
    world.run();
    assert_refused(&world, KATA, "InvalidConfiguration", message);
    assert_eq!(world.events.len(), 1, "one cause, one event: {:?}", world.events);
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_none());

    world.respec(KATA, json!({}));
    world.run();
    assert_eq!(world.status().kata_nodes.ready_node_count, 2);

    world.respec(KATA, spec);
    world.run();
    assert_refused(&world, KATA, "InvalidConfiguration", message);
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"], "what is installed stays");
    assert_eq!(world.reboots(), [("worker-0", 1), ("worker-1", 1)].into());
}

#[test]
fn a_null_spec_means_all_workers() {
    let mut world = World::two_workers();
    world.create(KATA, Value::Null);
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
}

#[test]
fn without_the_machine_config_operator_installation_is_refused() {
    let mut world = World::two_workers();
    world.cluster.capabilities.machine_config = false;
    world.create(KATA, json!({}));
    world.run();
    let message = "deployment mode is set to MachineConfig, but it's not available: the cluster does not serve \
                   machineconfiguration.openshift.io/v1 MachineConfig and MachineConfigPool. To install by a node agent, \
                   set deploymentMode to DaemonSetFallback: oc create configmap osc-feature-gates -n \
                   openshift-sandboxed-containers-operator --from-literal=deploymentMode=DaemonSetFallback, or, where the \
                   map exists, oc patch configmap osc-feature-gates -n openshift-sandboxed-containers-operator --type merge \
                   -p '{\"data\":{\"deploymentMode\":\"DaemonSetFallback\"}}'";
    assert_refused(&world, KATA, "MachineConfigOperatorAbsent", message);
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
}

#[test]
fn kinds_that_cannot_be_read_stop_everything_in_words() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.cluster.unreadable.insert("nodes", "nodes is forbidden".to_owned());
    world.cluster.unreadable.insert("machineconfigpools", "connection refused".to_owned());
    let message = "cannot read machineconfigpools: connection refused; cannot read nodes: nodes is forbidden; nothing is \
                   changed until that works";
    world.run();
    assert_refused(&world, KATA, "ClusterUnreadable", message);
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);

    world.remove(KATA);
    world.run();
    assert_refused(&world, KATA, "ClusterUnreadable", message);
    world.cluster.unreadable.clear();
    world.run();
    assert_clean(&world);
}

#[test]
fn a_node_that_the_machine_config_operator_does_not_manage_is_named() {
    let mut world = World::two_workers();
    let node = world.node_mut("worker-0");
    (node.mco_state, node.current_config, node.desired_config) = (None, None, None);
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True NodeUnmanaged: the Machine Config Operator does not manage worker-0: annotation \
         machineconfiguration.openshift.io/state or machineconfiguration.openshift.io/currentConfig is missing; see \
         whether machine-config-daemon runs there"
    );
    assert_eq!(world.status().kata_nodes.installed, ["worker-1"]);
    assert_eq!(world.status().kata_nodes.node_count, 2);
    assert!(world.object(Kind::RuntimeClass, "kata").is_none());
}

#[test]
fn a_missing_monitor_image_is_told_and_kata_is_installed_without() {
    let mut world = World::two_workers();
    world.settings.monitor_image = None;
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True MonitorImageMissing: no image is known for kata-monitor, so that it does not run: set \
         RELATED_IMAGE_KATA_MONITOR in the operator's Deployment"
    );
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    assert_eq!(world.objects_of(Kind::DaemonSet).count(), 0);
}

const NOBODY_ELIGIBLE: &str = "no Nodes with required labels found. Is NFD running? spec.checkNodeEligibility is true, so \
                               that a node must carry feature.node.kubernetes.io/runtime.kata=true: run Node Feature \
                               Discovery, label nodes by hand, or set it to false";

#[test]
fn without_eligible_nodes_nothing_is_installed() {
    let mut world = World::two_workers();
    world.create(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    assert_refused(&world, KATA, "NoEligibleNodes", NOBODY_ELIGIBLE);
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_none());
    world.label("worker-0", names::NODE_ELIGIBLE_LABEL, "true");
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0"]);
}

#[test]
fn labels_that_vanish_while_kata_is_installed_reboot_nobody() {
    let mut world = World::two_workers();
    for node in ["worker-0", "worker-1"] {
        world.label(node, names::NODE_ELIGIBLE_LABEL, "true");
    }
    world.create(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    for node in ["worker-0", "worker-1"] {
        world.unlabel(node, names::NODE_ELIGIBLE_LABEL);
    }
    world.run();
    assert_refused(&world, KATA, "NoEligibleNodes", NOBODY_ELIGIBLE);
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
    assert_eq!(world.reboots(), [("worker-0", 1), ("worker-1", 1)].into());
    assert_eq!(world.kata_nodes(), ["worker-0", "worker-1"]);
}

#[test]
fn a_second_kata_config_is_told_and_the_first_is_untouched() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    let before = world.kata_config(KATA).unwrap().resource_version.clone();
    world.create("another", json!({"logLevel": "debug"}));
    world.run();
    let message = "A KataConfig instance already exists: \"example-kataconfig\". This one is ignored; change the first one, \
                   or delete one of the two: oc delete kataconfig another";
    assert_refused(&world, "another", "KataConfigAlreadyExists", message);
    assert!(world.kata_config("another").unwrap().finalizers.is_empty());
    assert_eq!(world.kata_config(KATA).unwrap().resource_version, before);

    let mut without = world.clone();
    without.remove("another");
    without.run();
    assert!(without.kata_config("another").is_none());
    assert_eq!(without.reboots(), [("worker-0", 1), ("worker-1", 1)].into());
}

#[test]
fn the_second_kata_config_takes_over_when_the_first_is_gone() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.create("another", json!({"logLevel": "debug"}));
    world.run();
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    let another = world.kata_config("another").unwrap();
    assert_eq!(another.status.kata_nodes.installed, ["worker-0", "worker-1"]);
    assert_eq!(world.condition("another", "Degraded"), "False AsExpected: ");
    assert_eq!(another.finalizers, [names::KATACONFIG_FINALIZER]);
    let config = world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).unwrap();
    assert_eq!(config["metadata"]["labels"]["app"], "another");
    assert_eq!(another.status.runtime_classes, ["kata", "kata-nvidia-gpu"]);
    world.remove("another");
    world.run();
    assert_clean(&world);
}

#[test]
fn a_first_kata_config_that_others_hold_lets_the_second_one_work() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.kata_config_mut(KATA).finalizers.push("example.com/audit".to_owned());
    world.run();
    world.remove(KATA);
    world.run();
    assert_eq!(world.kata_config(KATA).unwrap().finalizers, ["example.com/audit"]);
    world.create("another", json!({}));
    world.run();
    assert_eq!(world.kata_config("another").unwrap().status.kata_nodes.installed, ["worker-0", "worker-1"]);
}

/// Node Feature Discovery removes its labels node by node.
#[test]
fn a_node_that_loses_its_eligibility_keeps_kata_and_is_not_rebooted() {
    let mut world = World::two_workers();
    for node in ["worker-0", "worker-1"] {
        world.label(node, names::NODE_ELIGIBLE_LABEL, "true");
    }
    world.create(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    world.unlabel("worker-0", names::NODE_ELIGIBLE_LABEL);
    world.run();
    assert_eq!(world.reboots(), [("worker-0", 1), ("worker-1", 1)].into());
    assert_eq!(world.kata_nodes(), ["worker-0", "worker-1"]);
}
