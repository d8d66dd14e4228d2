//! What people and other software do to our objects, and what the Go operator left.

use osc_api::kataconfig::StatusCondition;
use osc_api::{KataConfigStatus, names};
use osc_engine::{Kind, ObjectId, Step};
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
    assert_eq!(world.status().runtime_classes, ["kata"]);
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
    assert!(world.status().runtime_classes.is_empty());

    let mut freed = world.clone();
    freed.delete(Kind::RuntimeClass, "kata");
    freed.run();
    assert_eq!(freed.object(Kind::RuntimeClass, "kata").unwrap()["handler"], "kata");
    assert_eq!(freed.condition(KATA, "Degraded"), "False AsExpected: ");
    assert_eq!(freed.status().runtime_classes, ["kata"]);

    world.add_pod("theirs", "web", "kata");
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none(), "their pods do not block");
    assert_eq!(world.object(Kind::RuntimeClass, "kata").cloned(), before);
    world.delete(Kind::RuntimeClass, "kata");
    assert_clean(&world);
}

/// An installation as the Go operator leaves it, written out; nothing of it comes from this engine.
fn left_by_the_go_operator() -> World {
    let mut world = World::two_workers();
    let role = names::MACHINE_CONFIG_ROLE;
    world.create(KATA, json!({"checkNodeEligibility": false, "logLevel": "info", "enablePeerPods": false}));
    let owner = json!([{"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "name": KATA,
        "uid": format!("uid-of-{KATA}"), "controller": true, "blockOwnerDeletion": true}]);
    let name = names::EXTENSION_MACHINE_CONFIG;
    world.put(Kind::MachineConfig, name, json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {role: "kata-oc", "app": KATA}},
        "spec": {
            "config": {"ignition": {"version": "3.2.0"}}, "extensions": ["sandboxed-containers"],
            "baseOSExtensionsContainerImage": "", "fips": false, "kernelArguments": null, "kernelType": "",
        },
    }));
    world.put(
        Kind::MachineConfigPool,
        "kata-oc",
        json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
            "metadata": {
                "name": "kata-oc", "labels": {"pools.operator.machineconfiguration.openshift.io/kata-oc": ""}
            },
            "spec": {
                "machineConfigSelector": {"matchExpressions": [
                    {"key": role, "operator": "In", "values": ["kata-oc", "worker"]}
                ]},
                "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/kata-oc": ""}},
            },
        }),
    );
    world.put(Kind::RuntimeClass, "kata", json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "kata",
        "metadata": {
            "name": "kata", "ownerReferences": owner, "finalizers": ["kataconfig.openshift.io/runtime-class-cleanup"],
        },
        "overhead": {"podFixed": {"cpu": "250m", "memory": "350Mi"}},
        "scheduling": {"nodeSelector": {"node-role.kubernetes.io/kata-oc": ""}},
    }));
    for node in ["worker-0", "worker-1"] {
        world.label(node, names::KATA_NODE_ROLE, "");
    }
    world.settle_mco();
    let now = world.cluster.now;
    let kata_config = world.kata_config_mut(KATA);
    kata_config.finalizers = vec![names::KATACONFIG_FINALIZER.to_owned()];
    kata_config.status = KataConfigStatus {
        runtime_classes: vec!["kata".to_owned()],
        conditions: vec![StatusCondition {
            type_: "InProgress".to_owned(),
            status: "False".to_owned(),
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
            reason: String::new(),
            message: String::new(),
        }],
        ..KataConfigStatus::default()
    };
    kata_config.status.kata_nodes.node_count = 2;
    kata_config.status.kata_nodes.ready_node_count = 2;
    kata_config.status.kata_nodes.installed = vec!["worker-0".to_owned(), "worker-1".to_owned()];
    world.trace.clear();
    world
}

#[test]
fn an_installation_of_the_go_operator_is_taken_over_without_touching_a_node() {
    let mut world = left_by_the_go_operator();
    let before = world.reboots().len();
    let written: Vec<String> = world
        .plan()
        .steps
        .iter()
        .map(|step| match step {
            Step::Apply { id, .. }
            | Step::Create { id, .. }
            | Step::Replace { id, .. }
            | Step::Delete { id } => id.to_string(),
            Step::LabelNode { node, .. } => format!("Node {node}"),
            Step::SetFinalizers { id, .. } => format!("finalizers of {id}"),
            Step::PatchStatus { name, .. } => format!("status of {name}"),
            Step::Emit(event) => format!("event {}", event.reason),
        })
        .collect();
    let namespace = names::OPERATOR_NAMESPACE;
    assert_eq!(
        written,
        [
            format!("Namespace {namespace}"),
            format!("SecurityContextConstraints {}", names::MONITOR_SCC),
            format!("DaemonSet {namespace}/{}", names::MONITOR),
            format!("ConfigMap {}/{}", names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP),
            format!("status of {KATA}"),
            "event Installed".to_owned(),
        ]
    );
    world.run();
    assert_eq!(world.reboots().len(), before);
    assert!(world.reboots().values().all(|reboots| *reboots == 1), "those of the first installation");
    assert!(world.told.iter().all(|(_, status)| status.condition("InProgress").unwrap().status == "False"));
    assert!(world.plan().steps.is_empty());

    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

/// Releases before the finalizer existed.
#[test]
fn a_runtime_class_without_the_finalizer_is_given_it() {
    let mut world = left_by_the_go_operator();
    world.edit(Kind::RuntimeClass, "kata", |class| {
        class["metadata"].as_object_mut().unwrap().remove("finalizers");
    });
    world.run();
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert_eq!(class["metadata"]["finalizers"], json!([names::RUNTIME_CLASS_FINALIZER]));
    assert_eq!(class["overhead"]["podFixed"]["memory"], "350Mi");
}

/// The version that the finalizers are set for must not be outdated by a step before.
#[test]
fn a_runtime_class_that_lacks_the_finalizer_and_has_another_selector_is_mended_in_one_pass() {
    let mut world = left_by_the_go_operator();
    world.edit(Kind::RuntimeClass, "kata", |class| {
        class["metadata"].as_object_mut().unwrap().remove("finalizers");
        class["scheduling"] = json!({"nodeSelector": {"node-role.kubernetes.io/worker": ""}});
    });
    world.pass();
    let class = world.object(Kind::RuntimeClass, "kata").unwrap();
    assert_eq!(class["metadata"]["finalizers"], json!([names::RUNTIME_CLASS_FINALIZER]));
    assert_eq!(class["scheduling"]["nodeSelector"], json!({"node-role.kubernetes.io/kata-oc": ""}));
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
