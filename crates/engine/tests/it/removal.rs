//! Removing Kata, in whatever state the installation is.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use osc_api::names;
use osc_engine::observed::Pods;
use osc_engine::{Kind, ObjectId, Step, decide};
use rstest::rstest;
use serde_json::json;

use crate::world::{KATA, World};

/// Nothing of ours is left, and every node runs what it ran before.
pub fn assert_clean(world: &World) {
    assert!(world.cluster.kata_configs.is_empty(), "{:#?}", world.cluster.kata_configs);
    for (kind, name) in [
        (Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG),
        (Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG),
        (Kind::MachineConfigPool, names::KATA_POOL),
        (Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG),
        (Kind::SecurityContextConstraints, names::MONITOR_SCC),
    ] {
        assert!(world.object(kind, name).is_none(), "{kind:?} {name} is left");
    }
    assert_eq!(world.objects_of(Kind::RuntimeClass).count(), 0);
    assert_eq!(world.objects_of(Kind::DaemonSet).count(), 0);
    let copy = ObjectId::namespaced(Kind::ConfigMap, names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP);
    assert!(!world.cluster.objects.contains_key(&copy));
    assert!(world.kata_nodes().is_empty());
    for node in &world.cluster.nodes {
        assert_eq!(node.current_config, world.pool_of(node).unwrap().target, "{}", node.name);
        assert_eq!((node.mco_state.as_deref(), node.unschedulable), (Some("Done"), false), "{}", node.name);
    }
}

fn installed() -> World {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world
}

#[test]
fn a_kata_config_that_was_never_seen_goes_at_once() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert!(world.reboots().is_empty() && world.trace.is_empty());
}

/// Deletion is requested after so many passes; installation takes about 20 of them.
#[test]
fn removal_is_clean_from_every_phase_and_nodes_that_were_not_changed_never_reboot() {
    let mut phases = BTreeSet::new();
    for passes in 0..40 {
        let mut world = World::two_workers();
        world.create(KATA, json!({"logLevel": "debug"}));
        for _ in 0..passes {
            world.pass();
            world.mco_step();
        }
        phases.insert(world.condition(KATA, "InProgress"));
        let untouched: Vec<String> = world
            .cluster
            .nodes
            .iter()
            .filter(|node| {
                let kata =
                    |config: &Option<String>| config.as_ref().is_some_and(|name| name.contains("kata-oc"));
                !kata(&node.current_config) && !kata(&node.desired_config)
            })
            .map(|node| node.name.clone())
            .collect();
        world.remove(KATA);
        world.run();
        assert_clean(&world);
        for node in &untouched {
            assert_eq!(world.machine(node).reboots, 0, "{node} after {passes} passes");
        }
        assert!(world.machines.values().all(|machine| machine.reboots <= 2), "after {passes} passes");
    }
    assert_eq!(phases.len(), 3, "nothing yet, installing, installed: {phases:?}");
}

#[test]
fn a_half_done_installation_is_removed_without_finishing_it() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run_until(|world| {
        world.kata_config(KATA).is_some_and(|found| found.status.kata_nodes.installing == ["worker-1"])
    });
    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("worker-1", 2)].into());
}

#[test]
fn an_installation_with_a_degraded_node_is_removed() {
    let mut world = World::two_workers();
    let reason = "invalid extensions found: [sandboxed-containers]";
    world.machine("worker-1").fails = Some(reason.to_owned());
    world.create(KATA, json!({}));
    world.run();
    let failed = format!("True Failed: Node worker-1 Degraded: {reason}");
    assert_eq!(world.condition(KATA, "InProgress"), failed);
    assert_eq!(world.status().kata_nodes.failed_to_install, ["worker-1"]);
    assert!(world.condition(KATA, "Degraded").starts_with(&format!(
        "True NodeDegraded: node worker-1 is degraded ({reason}): mend that, then the Machine Config Operator tries \
         again; its log: oc logs -n openshift-machine-config-operator -c machine-config-daemon"
    )));

    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert!(world.reboots().is_empty());
}

#[test]
fn a_node_that_fails_to_lose_kata_holds_removal_until_it_is_mended() {
    let mut world = installed();
    world.machine("worker-1").fails = Some("disk full".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "InProgress"), "True Failed: Node worker-1 Degraded: disk full");
    assert_eq!(world.status().kata_nodes.failed_to_uninstall, ["worker-1"]);
    assert!(world.object(Kind::MachineConfigPool, names::KATA_POOL).is_some());

    world.machine("worker-1").fails = None;
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("worker-0", 2), ("worker-1", 2)].into());
}

fn paused(pool: &str) -> String {
    format!(
        "True PoolPaused: MachineConfigPool {pool} is paused, so that no node of it is changed; to let it go on: oc \
         patch mcp {pool} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"
    )
}

#[test]
fn an_installation_whose_pool_is_paused_is_told_and_can_be_removed() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.pass();
    world.pause(names::KATA_POOL, true);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), paused("kata-oc"));
    assert_eq!(world.status().kata_nodes.waiting_to_install, ["worker-0", "worker-1"]);

    let mut resumed = world.clone();
    resumed.pause(names::KATA_POOL, false);
    resumed.run();
    assert_eq!(resumed.condition(KATA, "Degraded"), "False AsExpected: ");
    assert_eq!(resumed.status().kata_nodes.ready_node_count, 2);

    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert!(world.reboots().is_empty());
}

#[test]
fn removal_tells_that_the_pool_of_the_workers_is_paused_and_goes_on_when_it_is_not() {
    let mut world = installed();
    world.pause(names::WORKER_POOL, true);
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), paused("worker"));
    assert_eq!(world.status().kata_nodes.waiting_to_uninstall, ["worker-0", "worker-1"]);
    assert!(world.object(Kind::MachineConfigPool, names::KATA_POOL).is_some());

    world.pause(names::WORKER_POOL, false);
    world.run();
    assert_clean(&world);
}

const BLOCKED: &str = "False BlockedByExistingKataPods: Existing pods using \"kata\" RuntimeClass found. Please delete \
                       the pods manually for KataConfig deletion to proceed";

/// The shell hands over pods that have not ended; completed ones never come this far.
#[test]
fn pods_block_removal_by_name_until_they_are_gone() {
    let mut world = installed();
    world.add_pod("shop", "web-1", "kata");
    world.add_pod("shop", "db-0", "kata");
    world.add_pod("shop", "other", "kata-of-somebody");
    let before = (world.status().kata_nodes.clone(), world.kata_nodes().len());
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "InProgress"), BLOCKED);
    let ready =
        "False Blocked: pods that use Kata: shop/web-1, shop/db-0; removal goes on when they are gone";
    assert_eq!(world.condition(KATA, "Ready"), ready);
    assert_eq!((world.status().kata_nodes.clone(), world.kata_nodes().len()), before, "nothing was touched");
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert!(class["metadata"]["deletionTimestamp"].is_null());
    assert!(world.plan().steps.is_empty());

    world.pods.retain(|pod| pod.runtime_class != "kata");
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("worker-0", 2), ("worker-1", 2)].into());
}

#[test]
fn a_pod_that_comes_between_the_check_and_the_deletion_of_the_class_holds_the_class() {
    let mut world = installed();
    world.remove(KATA);
    world.run_until(|world| {
        let class = world.object(Kind::RuntimeClass, "kata").unwrap();
        !class["metadata"]["deletionTimestamp"].is_null()
    });
    world.add_pod("shop", "late", "kata");
    world.run();
    assert_eq!(world.condition(KATA, "InProgress"), BLOCKED);
    assert_eq!(world.kata_nodes().len(), 2);
    world.pods.clear();
    world.run();
    assert_clean(&world);
}

#[test]
fn pods_that_cannot_be_listed_hold_removal_in_words() {
    let mut world = installed();
    world.pods_unreadable = Some("pods is forbidden".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "False BlockedByExistingKataPods: Failed to list kata pods: pods is forbidden"
    );
    assert_eq!(
        world.condition(KATA, "Ready"),
        "False Blocked: cannot tell whether pods use Kata; removal waits"
    );
    assert_eq!(world.kata_nodes().len(), 2);
    world.pods_unreadable = None;
    world.run();
    assert_clean(&world);
}

#[rstest]
#[case(json!("no map"))]
#[case(json!({"logLevel": "verbose"}))]
#[case(json!({"checkNodeEligibility": true}))]
fn what_is_asked_for_does_not_matter_any_more(#[case] spec: serde_json::Value) {
    let mut world = installed();
    world.respec(KATA, spec);
    world.run();
    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots(), [("worker-0", 2), ("worker-1", 2)].into());
}

#[test]
fn the_finalizer_of_release_1_0_goes_with_ours() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.kata_config_mut(KATA).finalizers = vec![names::KATACONFIG_FINALIZER_1_0.to_owned()];
    world.run();
    let both = [names::KATACONFIG_FINALIZER_1_0, names::KATACONFIG_FINALIZER];
    assert_eq!(world.kata_config(KATA).unwrap().finalizers, both);
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn a_finalizer_of_somebody_else_stays_and_is_told() {
    let mut world = installed();
    world.kata_config_mut(KATA).finalizers.insert(0, "example.com/hold".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(world.kata_config(KATA).unwrap().finalizers, ["example.com/hold"]);
    let removed = "False Removed: Kata is removed; other finalizers keep this object";
    assert_eq!(world.condition(KATA, "Ready"), removed);
    assert_eq!(world.condition(KATA, "InProgress"), "False : ");
    assert!(world.kata_nodes().is_empty() && world.plan().steps.is_empty());
}

#[test]
fn a_runtime_class_held_by_somebody_else_is_told() {
    let mut world = installed();
    world.edit(Kind::RuntimeClass, "kata", |class| {
        class["metadata"]["finalizers"].as_array_mut().unwrap().push(json!("example.com/hold"));
    });
    world.remove(KATA);
    world.run();
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True RuntimeClassHeld: RuntimeClass kata is held by finalizer example.com/hold: whoever set it has to take it \
         away before removal goes on"
    );
    assert_eq!(world.kata_nodes().len(), 2);
    world.edit(Kind::RuntimeClass, "kata", |class| class["metadata"]["finalizers"] = json!([]));
    world.delete(Kind::RuntimeClass, "kata");
    world.run();
    assert_clean(&world);
}

/// As long as the list of pods does not come, nothing is done; after half a minute, that is told.
#[test]
fn a_list_of_pods_that_does_not_come_is_told_after_a_while() {
    let mut world = installed();
    world.remove(KATA);
    let since = world.cluster.now;
    let mut observed = world.observe();
    for (error, expected) in [
        (None, "no answer within 30 s"),
        (Some("etcdserver: request timed out"), "etcdserver: request timed out"),
    ] {
        observed.pods = Pods::Awaited { since, error: error.map(str::to_owned) };
        observed.now = since + SignedDuration::from_secs(29);
        let plan = decide(&observed, &world.settings);
        assert_eq!((plan.steps.len(), plan.wake_at), (0, Some(since + SignedDuration::from_secs(30))));
        observed.now = since + SignedDuration::from_secs(30);
        let plan = decide(&observed, &world.settings);
        let Some(Step::PatchStatus { status, .. }) = plan.steps.first() else { panic!("{plan:?}") };
        let told = status.condition("InProgress").unwrap();
        assert_eq!(told.reason, "BlockedByExistingKataPods");
        assert_eq!(told.message, format!("Failed to list kata pods: {expected}"));
        assert!(plan.steps[1..].iter().all(|step| matches!(step, Step::Emit(_))), "{plan:?}");
    }
    world.run();
    assert_clean(&world);
}
