//! Clusters whose control plane does the work: Kata goes to the pool `master`, whole.

use osc_api::names;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::json;

use crate::removal::assert_clean;
use crate::world::{KATA, World};

const MASTERS: [&str; 3] = ["master-0", "master-1", "master-2"];

#[rstest]
#[case::single_node(1, "info")]
#[case::single_node_with_log_level(1, "debug")]
#[case::compact(3, "info")]
#[case::compact_with_log_level(3, "debug")]
fn each_node_reboots_once_at_installation_and_once_at_removal(#[case] count: usize, #[case] level: &str) {
    let mut world = World::compact(count);
    world.create(KATA, json!({"logLevel": level}));
    world.run();
    assert_eq!(world.reboots(), MASTERS[..count].iter().map(|name| (*name, 1)).collect());
    assert!(world.kata_nodes().is_empty(), "no node gets a role label");
    assert!(world.object(Kind::MachineConfigPool, names::KATA_POOL).is_none());
    assert_eq!(world.status().kata_nodes.installed, MASTERS[..count]);
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert_eq!(class["scheduling"]["nodeSelector"], json!({"node-role.kubernetes.io/master": ""}));
    assert!(world.plan().steps.is_empty());
    assert_eq!(world.object(Kind::ContainerRuntimeConfig, "kata-crio-config").is_some(), level == "debug");

    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), MASTERS[..count].iter().map(|name| (*name, 2)).collect());
}

#[test]
fn a_log_level_on_a_compact_cluster_reboots_each_node_once_more() {
    let mut world = World::compact(3);
    world.create(KATA, json!({}));
    world.run();
    world.respec(KATA, json!({"logLevel": "debug"}));
    world.run();
    assert_eq!(world.reboots(), MASTERS.iter().map(|name| (*name, 2)).collect());
    assert_eq!(world.condition(KATA, "InProgress"), "False : ");
}

#[test]
fn a_compact_cluster_that_grew_by_a_worker_is_still_removed_as_converged() {
    let mut world = World::compact(3);
    world.create(KATA, json!({}));
    world.run();
    world.add_node("worker-0", &["worker"]);
    world.run();
    assert_eq!(world.status().kata_nodes.installed, MASTERS);
    assert!(world.plan().steps.is_empty());

    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), MASTERS.iter().map(|name| (*name, 2)).collect());
}

#[test]
fn removal_waits_for_a_degraded_control_plane_node_even_after_the_cluster_grew_by_a_worker() {
    let mut world = World::compact(1);
    world.create(KATA, json!({}));
    world.run();
    world.add_node("worker-0", &["worker"]);
    world.machine("master-0").fails = Some("disk full".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "InProgress"), "True Failed: Node master-0 Degraded: disk full");
    assert_eq!(world.status().kata_nodes.failed_to_uninstall, ["master-0"]);

    world.machine("master-0").fails = None;
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("master-0", 2)].into());
}

/// It is listed in the status while it loses Kata; that must not make the cluster look converged.
#[test]
fn a_control_plane_node_with_the_configuration_of_the_kata_pool_does_not_change_the_layout() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    let config = Some("rendered-kata-oc-0".to_owned());
    let node = world.node_mut("master-0");
    (node.current_config, node.desired_config) = (config.clone(), config);
    node.mco_state = Some("Rebooting".to_owned());
    world.mco_runs = false;
    world.remove(KATA);
    world.delete(Kind::MachineConfigPool, names::KATA_POOL);
    world.run();
    assert_eq!(world.status().kata_nodes.uninstalling, ["master-0"]);
    assert_eq!(world.status().kata_nodes.waiting_to_uninstall, ["worker-0", "worker-1"]);
    assert!(world.plan().steps.is_empty());
}
