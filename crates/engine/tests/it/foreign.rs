//! What people and other software do to our objects.

use osc_api::names;
use osc_engine::{Kind, ObjectId};
use serde_json::json;

use crate::removal::assert_clean;
use crate::world::{KATA, World};

fn installed() -> World {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world
}

const ONE_REBOOT: [(&str, u32); 2] = [("worker-0", 1), ("worker-1", 1)];

#[test]
fn a_pool_deleted_by_hand_during_installation_is_made_again() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run_until(|world| {
        world.kata_config(KATA).is_some_and(|found| found.status.kata_nodes.installing == ["worker-1"])
    });
    world.delete(Kind::MachineConfigPool, names::KATA_POOL);
    world.run();
    assert!(world.object(Kind::MachineConfigPool, names::KATA_POOL).is_some());
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
    assert_eq!(world.reboots(), ONE_REBOOT.into());
}

#[test]
fn a_machine_config_deleted_by_hand_is_made_again_before_a_node_loses_kata() {
    let mut world = installed();
    world.delete(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG);
    world.run();
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_some());
    assert_eq!(world.reboots(), ONE_REBOOT.into());
}

#[test]
fn edits_of_what_we_set_are_undone() {
    let mut world = installed();
    world.edit(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG, |config| {
        config["spec"]["extensions"] = json!([]);
    });
    world.edit(Kind::MachineConfigPool, names::KATA_POOL, |pool| {
        pool["spec"]["machineConfigSelector"]["matchExpressions"][0]["values"] = json!(["worker"]);
    });
    world.edit(Kind::SecurityContextConstraints, names::MONITOR_SCC, |scc| {
        scc["seLinuxContext"] = json!({"type": "MustRunAs"});
    });
    world.run();
    let config = world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).unwrap();
    assert_eq!(config["spec"]["extensions"], json!(["sandboxed-containers"]));
    let pool = world.object(Kind::MachineConfigPool, names::KATA_POOL).unwrap();
    let values = &pool["spec"]["machineConfigSelector"]["matchExpressions"][0]["values"];
    assert_eq!(*values, json!(["kata-oc", "worker"]));
    let scc = world.object(Kind::SecurityContextConstraints, names::MONITOR_SCC).unwrap();
    assert_eq!(scc["seLinuxContext"]["type"], "RunAsAny");
    assert_eq!(world.reboots(), ONE_REBOOT.into());
}

#[test]
fn a_runtime_class_deleted_by_hand_waits_for_its_pods_and_is_made_again() {
    let mut world = installed();
    world.add_pod("shop", "web", "kata");
    world.delete(Kind::RuntimeClass, "kata");
    world.run();
    let held = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert!(!held["metadata"]["deletionTimestamp"].is_null(), "held while a pod uses it");
    let old = held["metadata"]["uid"].clone();
    world.pods.clear();
    world.run();
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert_ne!(class["metadata"]["uid"], old);
    assert!(class["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(class["metadata"]["finalizers"], json!([names::RUNTIME_CLASS_FINALIZER]));
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu"]);
    assert_eq!(world.reboots(), ONE_REBOOT.into());
}

/// The documentation allows it.
#[test]
fn an_overhead_that_a_person_changed_survives() {
    let mut world = installed();
    let overhead = json!({"podFixed": {"cpu": "500m", "memory": "1Gi"}});
    world.edit(Kind::RuntimeClass, "kata", |class| class["overhead"] = overhead.clone());
    world.run();
    world.respec(KATA, json!({"logLevel": "debug"}));
    world.run();
    assert_eq!(world.object(Kind::RuntimeClass, "kata").unwrap()["overhead"], overhead);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn a_runtime_class_of_somebody_else_is_told_and_left_alone() {
    let mut world = World::two_workers();
    let theirs = json!({"metadata": {"name": "kata"}, "handler": "kata-qemu"});
    world.put(Kind::RuntimeClass, "kata", theirs);
    let before = world.object(Kind::RuntimeClass, "kata").cloned();
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.object(Kind::RuntimeClass, "kata").cloned(), before);
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True RuntimeClassCollision: RuntimeClass kata has handler \"kata-qemu\", not \"kata\": somebody else made it; \
         delete or rename it, then it is created anew"
    );
    assert_eq!(
        world.condition(KATA, "Ready"),
        "False RuntimeClassCollision: RuntimeClass kata belongs to handler \"kata-qemu\": pods cannot use Kata"
    );
    assert_eq!(world.status().runtime_classes, ["kata-nvidia-gpu"]);

    let mut freed = world.clone();
    freed.delete(Kind::RuntimeClass, "kata");
    freed.run();
    assert_eq!(freed.object(Kind::RuntimeClass, "kata").unwrap()["handler"], "kata");
    assert_eq!(freed.condition(KATA, "Degraded"), "False AsExpected: ");
    assert_eq!(freed.status().runtime_classes, ["kata-nvidia-gpu", "kata"]);

    world.add_pod("theirs", "web", "kata");
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none(), "their pods do not block");
    assert_eq!(world.object(Kind::RuntimeClass, "kata").cloned(), before);
    world.delete(Kind::RuntimeClass, "kata");
    assert_clean(&world);
}

#[test]
fn the_monitor_of_another_release_is_brought_up_to_date() {
    let mut world = installed();
    world.settings.monitor_image = Some("monitor@sha256:1".to_owned());
    world.run();
    let id = ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, names::MONITOR);
    let image = &world.cluster.objects[&id]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, "monitor@sha256:1");
    assert_eq!(world.reboots(), ONE_REBOOT.into());
}

/// An admission webhook injects a volume into DaemonSets, and a tool adds itself as an owner.
#[test]
fn what_others_add_to_lists_is_no_reason_to_write() {
    let mut world = installed();
    let id = ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, names::MONITOR);
    let mut monitor = world.cluster.objects[&id].as_ref().clone();
    let pod = &mut monitor["spec"]["template"]["spec"];
    pod["volumes"].as_array_mut().unwrap().insert(0, json!({"name": "mesh-certs", "emptyDir": {}}));
    let mount = json!({"name": "mesh-certs", "mountPath": "/etc/mesh"});
    pod["containers"][0]["volumeMounts"].as_array_mut().unwrap().insert(0, mount);
    pod["containers"].as_array_mut().unwrap().insert(0, json!({"name": "mesh-proxy", "image": "proxy"}));
    let owner = json!({"apiVersion": "example.com/v1", "kind": "Tool", "name": "t", "uid": "u"});
    monitor["metadata"]["ownerReferences"].as_array_mut().unwrap().push(owner);
    world.cluster.objects.insert(id.clone(), monitor.clone().into());
    assert_eq!(world.plan().steps, []);

    monitor["spec"]["template"]["spec"]["containers"][1]["image"] = json!("somebody/else");
    world.cluster.objects.insert(id, monitor.into());
    assert_eq!(world.plan().steps.len(), 1, "what is ours is still put right");
}
