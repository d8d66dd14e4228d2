//! Defects of the Go operator that must not come back. Each test says what goes wrong there and asserts the opposite.

use jiff::SignedDuration;
use osc_api::names;
use osc_engine::observed::Pods;
use osc_engine::{Kind, Step};
use serde_json::json;

use crate::removal::assert_clean;
use crate::world::{KATA, World};

fn installed() -> World {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world
}

const UNTOUCHED: [(&str, u32); 2] = [("worker-0", 1), ("worker-1", 1)];

/// Upstream creates runtime classes at the start of a pass, before any node has the handler: pods that use one are
/// scheduled and fail.
#[test]
fn defect_2_the_class_does_not_exist_before_every_node_has_the_handler() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run_until(|world| world.object(Kind::RuntimeClass, "kata").is_some());
    for node in ["worker-0", "worker-1"] {
        let current = world.node_mut(node).current_config.clone().unwrap();
        assert!(current.starts_with("rendered-kata-oc-"), "{node} runs {current}");
    }
}

/// Upstream never updates an existing class: turning on the eligibility check leaves pods free to land on any Kata node.
#[test]
fn defect_4_the_node_selector_of_the_class_follows_the_kata_config() {
    let mut world = installed();
    let role = json!({"node-role.kubernetes.io/kata-oc": ""});
    let checked =
        json!({"node-role.kubernetes.io/kata-oc": "", "feature.node.kubernetes.io/runtime.kata": "true"});
    for node in ["worker-0", "worker-1"] {
        world.label(node, names::NODE_ELIGIBLE_LABEL, "true");
    }
    for (check, expected) in [(true, &checked), (false, &role)] {
        world.respec(KATA, json!({"checkNodeEligibility": check}));
        world.run();
        let class = world.object(Kind::RuntimeClass, "kata").unwrap();
        assert_eq!(class["scheduling"]["nodeSelector"], *expected);
    }
    world.edit(Kind::RuntimeClass, "kata", |class| class["scheduling"]["nodeSelector"]["zone"] = json!("a"));
    world.run();
    assert_eq!(world.object(Kind::RuntimeClass, "kata").unwrap()["scheduling"]["nodeSelector"], role);
    assert_eq!(world.reboots(), UNTOUCHED.into());
}

/// Upstream takes the role from the nodes that the selector matches at the time of removal: nodes whose labels changed
/// keep the role of a pool that is gone.
#[test]
fn defect_6_nodes_whose_labels_changed_lose_the_role_at_removal() {
    let mut world = World::two_workers();
    world.label("worker-0", "kata", "yes");
    world.create(KATA, json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes"}}}));
    world.run();
    // In one moment, so that no pass of installation sees the changed label.
    world.unlabel("worker-0", "kata");
    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("worker-0", 2)].into());
}

/// Upstream counts pods that ended among those that block. The shell hands over pods that have not ended; the engine
/// must not demand more than that list, and only look at its own classes.
#[test]
fn defect_7_only_pods_that_run_with_our_classes_block_removal() {
    let mut world = installed();
    world.add_pod("shop", "web", "gvisor");
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

/// Upstream keeps a flag "waiting for the Machine Config Operator to start" and hangs forever if the start was missed.
/// A status that was taken over may say so although everything is done.
#[test]
fn defect_8_a_stale_waiting_flag_does_not_hang_the_installation() {
    let mut world = installed();
    world.kata_config_mut(KATA).status.waiting_for_mco_to_start = true;
    world.kata_config_mut(KATA).status.conditions[0].status = "True".to_owned();
    world.run();
    assert!(!world.status().waiting_for_mco_to_start);
    assert_eq!(world.condition(KATA, "InProgress"), "False : ");
}

/// The same while Kata is being removed, and the whole rollout is missed: it begins and ends while the operator is away.
#[test]
fn defect_8_a_rollout_that_nobody_saw_does_not_hang_anything() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    for _ in 0..3 {
        world.pass();
        world.settle_mco();
    }
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    world.remove(KATA);
    for _ in 0..3 {
        world.pass();
    }
    world.settle_mco();
    world.kata_config_mut(KATA).status.waiting_for_mco_to_start = true;
    world.run();
    assert_clean(&world);
}

/// Upstream reads a pool that cannot be looked up as "not updating" and goes on: the class appears too early.
#[test]
fn defect_9_an_absent_pool_never_finishes_an_installation() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.pass();
    world.settle_mco();
    world.pass();
    world.settle_mco();
    let mut observed = world.observe();
    observed.pools.retain(|pool| pool.name != names::KATA_POOL);
    let plan = osc_engine::decide(&observed, &world.settings);
    let created = plan.steps.iter().any(|step| matches!(step, Step::Create { .. } | Step::Delete { .. }));
    assert!(!created, "{:#?}", plan.steps);
    assert!(!plan.steps.iter().any(|step| matches!(
        step,
        Step::PatchStatus { status, .. } if status.condition("InProgress").unwrap().status == "False"
    )));
}

/// The same at removal: the pool `kata-oc` was deleted and the nodes, still with Kata, were left in it.
#[test]
fn defect_9_pools_that_are_absent_or_unreadable_never_finish_a_removal() {
    let mut world = installed();
    world.remove(KATA);
    world.run_until(|world| world.kata_nodes().is_empty());
    for (pool, unreadable) in
        [(names::WORKER_POOL, false), (names::KATA_POOL, false), (names::WORKER_POOL, true)]
    {
        let mut observed = world.observe();
        observed.pods = Pods::Known(Vec::new());
        observed.pools.retain(|found| found.name != pool);
        if unreadable {
            observed.unreadable.insert("machineconfigpools", "timeout".to_owned());
        }
        let plan = osc_engine::decide(&observed, &world.settings);
        let gone_too_far = plan.steps.iter().any(|step| match step {
            Step::Delete { id } => id.kind == Kind::MachineConfigPool,
            Step::SetFinalizers { id, .. } => id.kind == Kind::KataConfig,
            _ => false,
        });
        assert!(!gone_too_far, "without {pool}: {:#?}", plan.steps);
    }
}

/// Upstream counts and lists control-plane nodes that are workers, too, in clusters that have other workers.
#[test]
fn defect_10_control_plane_nodes_of_a_regular_cluster_are_neither_counted_nor_listed() {
    let mut world = World::compact(3);
    world.add_node("worker-0", &["worker"]);
    world.create(KATA, json!({}));
    world.run();
    let nodes = &world.status().kata_nodes;
    assert_eq!(
        (nodes.node_count, nodes.ready_node_count, nodes.installed.as_slice()),
        (1, 1, &["worker-0".to_owned()][..])
    );
    assert!(nodes.waiting_to_install.is_empty() && nodes.waiting_to_uninstall.is_empty());
    assert_eq!(world.reboots(), [("worker-0", 1)].into());
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
}

/// The same with a role that somebody put on a control-plane node by hand.
#[test]
fn defect_10_a_control_plane_node_with_the_role_is_not_counted() {
    let mut world = installed();
    world.label("master-0", names::KATA_NODE_ROLE, "");
    world.run();
    assert_eq!(world.status().kata_nodes.node_count, 2);
    assert_eq!(world.condition(KATA, "InProgress"), "False : ");
}

/// A control-plane node that a selector names is told: it cannot be in a custom pool.
#[test]
fn defect_10_a_selected_control_plane_node_is_named() {
    let mut world = World::compact(1);
    world.add_node("worker-0", &["worker"]);
    world.create(KATA, json!({"kataConfigPoolSelector": {}}));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True ControlPlaneNodeSelected: selected, but of the control plane, whose nodes cannot be in the pool kata-oc: \
         master-0; change spec.kataConfigPoolSelector"
    );
    assert_eq!(world.kata_nodes(), ["worker-0"]);
}

/// Upstream takes a compact cluster with any third pool for a regular one: its pool never gets a node.
#[test]
fn defect_11_an_extra_pool_does_not_make_a_compact_cluster_regular() {
    let mut world = World::compact(3);
    world.add_pool("infra", &["worker", "infra"]);
    world.settle_mco();
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.status().kata_nodes.ready_node_count, 3);
    assert!(world.object(Kind::MachineConfigPool, names::KATA_POOL).is_none());
}

/// Upstream gives the role to a node that is in another custom pool, and the Machine Config Operator degrades.
#[test]
fn defect_11_a_node_of_another_custom_pool_is_refused_by_name() {
    let mut world = World::two_workers();
    world.add_pool("infra", &["worker", "infra"]);
    world.settle_mco();
    world.add_node("infra-0", &["worker", "infra"]);
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.kata_nodes(), ["worker-0", "worker-1"]);
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True NodeInTwoPools: node infra-0 is selected for kata-oc and belongs to the custom pool infra; the Machine \
         Config Operator allows one custom pool a node: take the node out of infra or change spec.kataConfigPoolSelector"
    );
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "), "the others have Kata");
    assert_eq!(world.reboots(), UNTOUCHED.into());
}

/// Upstream remembers the KataConfig in memory and loses what happens after a restart. The engine has no memory: a
/// decision depends on what is observed only, and on all KataConfigs of it.
#[test]
fn defect_12_a_restarted_operator_decides_as_the_one_before() {
    let mut world = World::two_workers();
    world.create("another", json!({"logLevel": "debug"}));
    world.create(KATA, json!({}));
    for _ in 0..30 {
        let mut turned = world.observe();
        turned.kata_configs.reverse();
        turned.pools.reverse();
        assert_eq!(world.plan(), osc_engine::decide(&turned, &world.settings));
        world.pass();
        world.mco_step();
    }
}

/// Upstream overwrites the monitor and others with every pass. The model's API server fills in defaults in every kind.
#[test]
fn defect_15_a_converged_cluster_is_left_alone() {
    for mut world in [World::two_workers(), World::compact(3), World::compact(1)] {
        world.create(KATA, json!({"logLevel": "debug"}));
        world.run();
        for _ in 0..2 {
            let plan = world.plan();
            assert!(plan.steps.is_empty() && plan.wake_at.is_none(), "{plan:#?}");
            world.advance(SignedDuration::from_hours(24));
        }
    }
}

/// Upstream reads every pod of the cluster all the time. Pods are needed while something is being deleted, and only then;
/// rendered machine configs, which are large, on converged clusters only.
#[test]
fn defect_16_large_lists_are_asked_for_only_when_needed() {
    let mut world = installed();
    assert!(!osc_engine::uninstall::pods_needed(&world.cluster));
    assert!(osc_engine::layout::rendered_needed(&world.cluster).is_empty());
    world.remove(KATA);
    assert!(osc_engine::uninstall::pods_needed(&world.cluster));
    let compact = World::compact(3);
    assert_eq!(osc_engine::layout::rendered_needed(&compact.cluster).len(), 1);
}

/// Upstream says nothing about nodes that hold a rollout up.
#[test]
fn defect_21_a_cordoned_node_is_named() {
    let mut world = World::two_workers();
    world.cordon("worker-1", true);
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    world.advance(SignedDuration::from_mins(1));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True NodeCordoned: cordoned, and therefore counted as unavailable by the Machine Config Operator: worker-1; \
         when the work on them is done: oc adm uncordon worker-1"
    );
    world.cordon("worker-1", false);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    assert_eq!(world.status().kata_nodes.ready_node_count, 2);
}

/// Upstream takes any `Updating` of the pool for a rollout. The pool also says that while somebody merely cordons a node.
#[test]
fn cordoning_a_node_is_no_rollout() {
    let mut world = installed();
    world.cordon("worker-1", true);
    world.run();
    assert_eq!(world.condition(KATA, "InProgress"), "False : ");
    assert!(world.condition(KATA, "Ready").starts_with("True Installed"));
}

/// A node with Kata that somebody cordons holds the others up just as well.
#[test]
fn defect_21_a_cordoned_node_that_has_kata_already_is_named() {
    let mut world = installed();
    world.cordon("worker-0", true);
    world.add_node("worker-9", &["worker"]);
    world.run();
    world.advance(SignedDuration::from_mins(1));
    world.run();
    assert!(
        world.condition(KATA, "Degraded").contains("NodeCordoned: "),
        "{}",
        world.condition(KATA, "Degraded")
    );
    assert!(world.condition(KATA, "Degraded").ends_with("oc adm uncordon worker-0"));
}

#[test]
fn defect_21_a_node_that_does_not_drain_is_named() {
    let mut world = World::two_workers();
    world.machine("worker-1").cannot_drain = true;
    world.create(KATA, json!({}));
    world.run();
    world.advance(SignedDuration::from_mins(15));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True NodeNotDraining: draining for more than 15 minutes: worker-1; a PodDisruptionBudget without room or a pod \
         that does not end holds it up: oc get pdb -A and oc get pods -A --field-selector spec.nodeName=worker-1"
    );
    assert!(world.condition(KATA, "InProgress").starts_with("True Installing: "));
}

#[test]
fn defect_21_a_node_that_does_not_come_back_is_named() {
    let mut world = World::two_workers();
    world.machine("worker-1").cannot_boot = true;
    world.create(KATA, json!({}));
    world.run();
    world.advance(SignedDuration::from_mins(90));
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True NodeStuck: no progress for more than 90 minutes on worker-1: see the console of the machine and oc \
         describe node worker-1"
    );
    world.machine("worker-1").cannot_boot = false;
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
}
