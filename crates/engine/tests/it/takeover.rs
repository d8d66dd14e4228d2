//! What the Go operator left: gone on with where that is possible, told where it is not.

use osc_api::kataconfig::StatusCondition;
use osc_api::{DeploymentMode, KataConfigStatus, names};
use osc_engine::{Kind, ObjectId, Step};
use rstest::rstest;
use serde_json::{Value, json};

use crate::removal::assert_clean;
use crate::world::{KATA, World};

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
            | Step::CopySecret { id, .. }
            | Step::Create { id, .. }
            | Step::Replace { id, .. }
            | Step::Merge { id, .. }
            | Step::Delete { id } => id.to_string(),
            Step::LabelNode { node, .. } | Step::Advertise { node, .. } => format!("Node {node}"),
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
            "RuntimeClass kata-nvidia-gpu".to_owned(),
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

/// A runtime class as the Go operator makes it.
fn class(name: &str, handler: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": handler,
        "metadata": {
            "name": name,
            "finalizers": ["kataconfig.openshift.io/runtime-class-cleanup"],
            "ownerReferences": [{"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "name": KATA,
                "uid": format!("uid-of-{KATA}"), "controller": true, "blockOwnerDeletion": true}],
        },
        "overhead": {"podFixed": {"cpu": "1", "memory": "4096Mi"}},
        "scheduling": {"nodeSelector": selector},
    })
}

/// Peer pods are asked for, and what they need is not there: so their class is left as it is.
fn with_all_classes() -> World {
    let mut world = left_by_the_go_operator();
    world.respec(KATA, json!({"enablePeerPods": true}));
    crate::classes::gates(&mut world, &json!({"confidential": "true"}));
    world.label("worker-0", "intel.feature.node.kubernetes.io/tdx", "true");
    let gpu = json!({"node-role.kubernetes.io/kata-oc": ""});
    for (name, handler) in [
        ("kata-nvidia-gpu", "kata-nvidia-gpu"),
        ("kata-remote", "kata-remote"),
        ("kata-cc", "kata-tdx"),
        ("kata-cc-nvidia-gpu", "kata-tdx-nvidia-gpu"),
    ] {
        world.put(Kind::RuntimeClass, name, class(name, handler, &gpu));
    }
    world
}

#[test]
fn all_runtime_classes_are_kept_as_they_are_and_go_with_the_kata_config() {
    let mut world = with_all_classes();
    world.kata_config_mut(KATA).status.runtime_classes =
        vec!["kata-cc".to_owned(), "kata".to_owned(), "gone-meanwhile".to_owned()];
    let before: Vec<Value> = world.objects_of(Kind::RuntimeClass).cloned().collect();
    world.run();
    assert_eq!(world.objects_of(Kind::RuntimeClass).cloned().collect::<Vec<_>>(), before);
    assert_eq!(
        world.status().runtime_classes,
        ["kata-cc", "kata", "kata-nvidia-gpu", "kata-cc-nvidia-gpu", "kata-remote"]
    );
    assert!(world.plan().steps.is_empty());

    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn pods_of_any_of_the_classes_block_removal() {
    let mut world = with_all_classes();
    world.run();
    world.add_pod("shop", "model", "kata-cc-nvidia-gpu");
    world.remove(KATA);
    world.run();
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "False BlockedByExistingKataPods: Existing pods using \"kata-cc-nvidia-gpu\" RuntimeClass found. Please delete the \
         pods manually for KataConfig deletion to proceed"
    );
    assert!(
        world.objects_of(Kind::RuntimeClass).all(|class| class["metadata"]["deletionTimestamp"].is_null())
    );
    world.pods.clear();
    world.run();
    assert_clean(&world);
}

#[test]
fn a_class_that_somebody_deletes_waits_for_its_own_pods_only() {
    let mut world = with_all_classes();
    world.run();
    world.add_pod("shop", "web", "kata");
    world.add_pod("shop", "far", "kata-remote");
    world.delete(Kind::RuntimeClass, "kata-remote");
    let old = world.object(Kind::RuntimeClass, "kata-nvidia-gpu").unwrap()["metadata"]["uid"].clone();
    world.delete(Kind::RuntimeClass, "kata-nvidia-gpu");
    world.run();
    let gpu = world.object(Kind::RuntimeClass, "kata-nvidia-gpu").unwrap();
    assert_ne!(gpu["metadata"]["uid"], old, "it is made again");
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_some());
    assert_eq!(
        world.status().runtime_classes,
        ["kata", "kata-nvidia-gpu", "kata-cc", "kata-cc-nvidia-gpu", "kata-remote"]
    );
    world.pods.retain(|pod| pod.runtime_class == "kata");
    world.run();
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none(), "it is not made again");
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu", "kata-cc", "kata-cc-nvidia-gpu"]);
}

/// The name alone makes nobody's class ours.
#[test]
fn a_class_of_a_user_with_one_of_the_names_stays_and_its_pods_do_not_block() {
    let mut world = left_by_the_go_operator();
    let theirs = json!({"metadata": {"name": "kata-remote"}, "handler": "remote"});
    world.put(Kind::RuntimeClass, "kata-remote", theirs);
    world.run();
    let before = world.object(Kind::RuntimeClass, "kata-remote").cloned();
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu"]);
    world.add_pod("shop", "far", "kata-remote");
    world.remove(KATA);
    world.run();
    assert_eq!(world.object(Kind::RuntimeClass, "kata-remote").cloned(), before);
    world.delete(Kind::RuntimeClass, "kata-remote");
    assert_clean(&world);
}

/// The Go operator did not give it to all classes.
#[test]
fn classes_without_the_finalizer_are_given_it() {
    let mut world = with_all_classes();
    world.edit(Kind::RuntimeClass, "kata-nvidia-gpu", |class| {
        class["metadata"].as_object_mut().unwrap().remove("finalizers");
    });
    world.run();
    let class = world.object(Kind::RuntimeClass, "kata-nvidia-gpu").unwrap();
    assert_eq!(class["metadata"]["finalizers"], json!([names::RUNTIME_CLASS_FINALIZER]));
}

/// A choice of the Go operator's person, by its environment. To guess again would reboot every node.
#[test]
fn the_extension_that_is_installed_stays() {
    let mut world = left_by_the_go_operator();
    world.edit(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG, |config| {
        config["spec"]["extensions"] = json!(["kata-containers"]);
    });
    world.settle_mco();
    let before = world.reboots().values().sum::<u32>();
    world.run();
    assert_eq!(world.reboots().values().sum::<u32>(), before);
}

/// The machine config of a layered image instead of that of the extension.
fn with_layered_image(mut world: World, role: &str) -> World {
    world.delete(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG);
    let name = names::IMAGE_MACHINE_CONFIG;
    world.put(Kind::MachineConfig, name, json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {names::MACHINE_CONFIG_ROLE: role, "app": KATA}},
        "spec": {"osImageURL": "quay.io/example/os@sha256:1", "kernelArguments": ["kvm_intel.tdx=1", "nohibernate"]},
    }));
    world.settle_mco();
    world
}

fn compact_with_layered_image() -> World {
    let mut world = with_layered_image(World::compact(3), "master");
    world.create(KATA, json!({}));
    let masters = ["master-0", "master-1", "master-2"].map(str::to_owned).to_vec();
    let mut class = class("kata", "kata", &json!({"node-role.kubernetes.io/master": ""}));
    class["overhead"] = json!({"podFixed": {"cpu": "250m", "memory": "350Mi"}});
    world.put(Kind::RuntimeClass, "kata", class);
    let kata_config = world.kata_config_mut(KATA);
    kata_config.finalizers = vec![names::KATACONFIG_FINALIZER.to_owned()];
    kata_config.status.runtime_classes = vec!["kata".to_owned()];
    kata_config.status.kata_nodes.installed = masters;
    world
}

#[rstest]
#[case::regular(with_layered_image(left_by_the_go_operator(), "kata-oc"), 2)]
#[case::compact(compact_with_layered_image(), 3)]
fn a_layered_image_is_honoured_and_goes_with_the_kata_config(#[case] mut world: World, #[case] nodes: u32) {
    let config = world.object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).cloned();
    let before = world.reboots().values().sum::<u32>();
    world.run();
    assert_eq!(world.reboots().values().sum::<u32>(), before);
    assert_eq!(world.object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).cloned(), config);
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_none());
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "), "{:?}", world.status());
    assert!(world.plan().steps.is_empty());

    world.respec(KATA, json!({"logLevel": "debug"}));
    world.run();
    assert_eq!(world.reboots().values().sum::<u32>(), before + nodes);
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "), "{:?}", world.status());

    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(world.reboots().values().sum::<u32>(), before + 2 * nodes);
}

/// The role that the Go operator chose decides, as with an extension.
#[test]
fn a_compact_cluster_with_a_layered_image_that_grew_is_removed_as_converged() {
    let mut world = compact_with_layered_image();
    world.run();
    world.add_node("worker-0", &["worker"]);
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["master-0", "master-1", "master-2"]);
    world.remove(KATA);
    world.run_until(|world| world.object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).is_none());
    world.pass();
    let nodes = &world.status().kata_nodes;
    assert_eq!(
        nodes.waiting_to_uninstall,
        ["master-0", "master-1", "master-2"],
        "nobody has been changed yet"
    );
    world.run();
    assert_clean(&world);
}

#[test]
fn a_machine_config_of_a_user_with_the_name_of_the_layered_image_is_left_alone() {
    let mut world = World::two_workers();
    let name = names::IMAGE_MACHINE_CONFIG;
    world.put(Kind::MachineConfig, name, json!({
        "metadata": {"name": name, "labels": {names::MACHINE_CONFIG_ROLE: "worker"}}, "spec": {"osImageURL": "theirs"},
    }));
    world.settle_mco();
    world.create(KATA, json!({}));
    world.run();
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_some());
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert!(world.object(Kind::MachineConfig, name).is_some());
}

/// Labels and DaemonSet of the node agent; the nodes have Kata without a machine config.
fn in_daemon_set_mode() -> World {
    let mut world = left_by_the_go_operator();
    world.delete(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG);
    world.delete(Kind::MachineConfigPool, names::KATA_POOL);
    for node in ["worker-0", "worker-1"] {
        world.unlabel(node, names::KATA_NODE_ROLE);
    }
    world.settle_mco();
    for node in ["worker-0", "worker-1"] {
        world.label(node, names::KATA_NODE_ROLE, "");
        world.label(node, names::DAEMON_SET_MODE_LABEL, "installed");
    }
    let id = ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, "osc-rpm-install");
    world.cluster.objects.insert(id, json!({"metadata": {"name": "osc-rpm-install"}}).into());
    world
}

/// It is gone on with: nodes keep what they have, and the status says so from then on.
#[rstest]
#[case::with_the_machine_config_operator(true)]
#[case::without(false)]
fn daemon_set_mode_is_taken_over(#[case] machine_config: bool) {
    let mut world = in_daemon_set_mode();
    world.cluster.capabilities.machine_config = machine_config;
    world.settings.agent_image = Some("agent@sha256:0".to_owned());
    let bundle =
        ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP);
    world.cluster.objects.insert(bundle, json!({"data": {"bundle": "/kata.tar.zst"}}).into());
    let reboots = world.reboots().values().sum::<u32>();
    world.run();
    assert!(
        world.condition(KATA, "Ready").starts_with("True Installed: "),
        "{}",
        world.condition(KATA, "Ready")
    );
    assert_eq!(world.status().deployment_mode, Some(DeploymentMode::DaemonSet));
    assert!(!world.trace.iter().any(|line| line.contains("LabelNode")), "{:#?}", world.trace);
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none() && world.kata_nodes().is_empty());
    assert_eq!(world.reboots().values().sum::<u32>(), reboots);
}

/// Each of the two signs is enough: the operator labels nodes after it has created the DaemonSet.
#[rstest]
#[case::labels_only(true)]
#[case::daemon_set_only(false)]
fn daemon_set_mode_is_told_by_either_sign(#[case] labels: bool) {
    let mut world = in_daemon_set_mode();
    let id = ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, "osc-rpm-install");
    if labels {
        world.cluster.objects.remove(&id);
    } else {
        for node in ["worker-0", "worker-1"] {
            world.unlabel(node, names::DAEMON_SET_MODE_LABEL);
        }
    }
    let kata_config = world.kata_config(KATA).unwrap().clone();
    let mode = osc_engine::mode::installed(&world.cluster, &world.settings, &kata_config);
    assert_eq!(mode, Some(DeploymentMode::DaemonSet));
}

/// Its second container would do what ours does, too; an apply does not take it away.
#[test]
fn the_daemon_set_of_the_go_operator_is_made_anew() {
    let mut world = in_daemon_set_mode();
    world.settings.agent_image = Some("agent@sha256:0".to_owned());
    let bundle =
        ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP);
    world.cluster.objects.insert(bundle, json!({"data": {"bundle": "/kata.tar.zst"}}).into());
    let id = ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, "osc-rpm-install");
    let containers = json!([{"name": "kata-install"}, {"name": "set-log-level"}]);
    let theirs = json!({"metadata": {"name": "osc-rpm-install"}, "spec": {"template": {"spec": {"containers": containers}}}});
    world.cluster.objects.insert(id.clone(), theirs.into());
    world.run();
    let containers = world.cluster.objects[&id]["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["command"], json!(["/usr/bin/osc-node", "install"]));
}

/// Somebody tried DaemonSet mode, then installed by machine configs.
#[test]
fn leftovers_of_daemon_set_mode_do_not_matter_where_a_machine_config_brings_kata() {
    let mut world = left_by_the_go_operator();
    world.label("worker-0", names::DAEMON_SET_MODE_LABEL, "uninstalled");
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
}

/// Releases 1.0 to 1.3: the older finalizer, no list of runtime classes, and fields that nobody reads any more.
#[test]
fn an_installation_of_the_first_releases_is_taken_over() {
    let mut world = left_by_the_go_operator();
    let kata_config = world.kata_config_mut(KATA);
    kata_config.finalizers = vec![names::KATACONFIG_FINALIZER_1_0.to_owned()];
    kata_config.status = KataConfigStatus::default();
    let scc = json!({"metadata": {"name": names::MONITOR_SCC}, "seLinuxContext": {"type": "MustRunAs"}});
    world.put(Kind::SecurityContextConstraints, names::MONITOR_SCC, scc);
    let before = world.reboots().values().sum::<u32>();
    world.run();
    assert_eq!(world.reboots().values().sum::<u32>(), before);
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu"]);
    assert!(world.events.iter().all(|event| event.reason != "Installing"), "{:?}", world.events);
    let scc = world.object(Kind::SecurityContextConstraints, names::MONITOR_SCC).unwrap();
    assert_eq!(scc["seLinuxContext"]["type"], "RunAsAny");
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}
