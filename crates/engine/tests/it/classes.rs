//! Runtime classes in the life of an installation: they come, go, are held by pods, and keep what a person changed.

use jiff::SignedDuration;
use osc_api::names;
use osc_engine::{Kind, ObjectId};
use serde_json::{Value, json};

use crate::removal::assert_clean;
use crate::store;
use crate::world::{KATA, World};

const TDX: &str = "intel.feature.node.kubernetes.io/tdx";
const SNP: &str = "amd.feature.node.kubernetes.io/snp";
const ELIGIBLE: &str = names::NODE_ELIGIBLE_LABEL;

/// Somebody writes the feature gates.
pub fn gates(world: &mut World, data: &Value) {
    let id = ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::FEATURE_GATES);
    store::put(&mut world.cluster, &mut world.serial, id, json!({"data": data}));
}

fn confidential(spec: Value, labels: &[(&str, &str)]) -> World {
    let mut world = World::two_workers();
    gates(&mut world, &json!({"confidential": "true"}));
    for (node, label) in labels {
        world.label(node, label, "true");
    }
    world.create(KATA, spec);
    world.run();
    world
}

fn classes(world: &World) -> Vec<String> {
    let class = |class: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        format!("{} {}", text(&class["metadata"]["name"]), text(&class["handler"]))
    };
    world.objects_of(Kind::RuntimeClass).map(class).collect()
}

/// Labels have been quiet for long.
fn later(world: &mut World) {
    world.advance(SignedDuration::from_mins(6));
    world.run();
}

#[test]
fn the_classes_of_the_documentation_are_made_at_the_end_and_go_first() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    let all = [
        "kata kata",
        "kata-cc kata-tdx",
        "kata-cc-nvidia-gpu kata-tdx-nvidia-gpu",
        "kata-nvidia-gpu kata-nvidia-gpu",
    ];
    assert_eq!(classes(&world), all);
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu", "kata-cc", "kata-cc-nvidia-gpu"]);
    let first_class = world.trace.iter().position(|line| line.contains("kind: RuntimeClass")).unwrap();
    let last_node = world.trace.iter().rposition(|line| line.contains("installing: [\"worker")).unwrap();
    assert!(first_class > last_node, "no class before the nodes have the handler");
    let class = world.object(Kind::RuntimeClass, "kata-cc").unwrap();
    assert_eq!(
        class["overhead"]["podFixed"],
        json!({"cpu": "250m", "memory": "350Mi", "tdx.intel.com/keys": "1"})
    );
    assert_eq!(class["scheduling"]["nodeSelector"], json!({names::KATA_NODE_ROLE: ""}));
    assert_eq!(class["metadata"]["finalizers"], json!([names::RUNTIME_CLASS_FINALIZER]));
    assert!(world.plan().steps.is_empty());
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn with_the_check_a_class_comes_with_its_node_and_goes_after_a_while() {
    let mut world = confidential(
        json!({"checkNodeEligibility": true}),
        &[("worker-0", ELIGIBLE), ("worker-1", ELIGIBLE)],
    );
    assert_eq!(classes(&world), ["kata kata"]);
    assert!(world.condition(KATA, "Degraded").starts_with("True TeeNotFound: "));
    world.label("worker-1", SNP, "true");
    world.run();
    assert_eq!(classes(&world), ["kata kata", "kata-cc kata-snp"]);
    let selector = &world.object(Kind::RuntimeClass, "kata-cc").unwrap()["scheduling"]["nodeSelector"];
    assert_eq!(*selector, json!({names::KATA_NODE_ROLE: "", ELIGIBLE: "true", SNP: "true"}));
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");

    let now = world.cluster.now;
    world.unlabel("worker-1", SNP);
    world.node_mut("worker-1").labels_changed_at = now;
    world.run();
    assert_eq!(classes(&world).len(), 2, "Node Feature Discovery may be back in a moment");
    assert_eq!(world.plan().wake_at, Some(now + SignedDuration::from_mins(5)));
    later(&mut world);
    assert_eq!(classes(&world), ["kata kata"]);
    assert_eq!(world.status().runtime_classes, ["kata"]);
}

#[test]
fn a_class_that_goes_is_held_by_the_pods_that_use_it() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    world.add_pod("shop", "vault", "kata-cc");
    gates(&mut world, &json!({"confidential": "false"}));
    world.run();
    assert_eq!(classes(&world), ["kata kata", "kata-cc kata-tdx", "kata-nvidia-gpu kata-nvidia-gpu"]);
    let told = world.condition(KATA, "Degraded");
    assert!(
        told.starts_with("True RuntimeClassInUse: RuntimeClass kata-cc goes") && told.ends_with("shop/vault"),
        "{told}"
    );
    world.pods.clear();
    world.run();
    assert_eq!(classes(&world), ["kata kata", "kata-nvidia-gpu kata-nvidia-gpu"]);
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
}

#[test]
fn other_hardware_makes_the_class_anew_when_no_pod_uses_it() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    let old = world.object(Kind::RuntimeClass, "kata-cc").unwrap()["metadata"]["uid"].clone();
    world.add_pod("shop", "vault", "kata-cc");
    world.unlabel("worker-0", TDX);
    world.label("worker-0", SNP, "true");
    world.run();
    let held = world.object(Kind::RuntimeClass, "kata-cc").unwrap();
    assert_eq!((&held["metadata"]["uid"], &held["handler"]), (&old, &json!("kata-tdx")), "a pod uses it");
    assert!(world.condition(KATA, "Degraded").starts_with("True RuntimeClassInUse: "));
    world.pods.clear();
    world.run();
    let class = world.object(Kind::RuntimeClass, "kata-cc").unwrap();
    assert_eq!(
        (&class["handler"], class["metadata"]["deletionTimestamp"].is_null()),
        (&json!("kata-snp"), true)
    );
    assert_eq!(class["overhead"]["podFixed"]["sev-snp.amd.com/esids"], "1");
}

#[test]
fn several_kinds_of_hardware_are_told_and_block_neither_installation_nor_removal() {
    let mut world = confidential(json!({}), &[("worker-0", TDX), ("worker-1", SNP)]);
    assert_eq!(classes(&world), ["kata kata", "kata-nvidia-gpu kata-nvidia-gpu"]);
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    let told = world.condition(KATA, "Degraded");
    assert!(told.starts_with("True SeveralTees: ") && told.contains("Intel TDX on worker-0"), "{told}");
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn a_second_kind_of_hardware_leaves_the_class_as_it_is() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    let before = world.object(Kind::RuntimeClass, "kata-cc").cloned();
    world.label("worker-1", SNP, "true");
    world.run();
    assert_eq!(world.object(Kind::RuntimeClass, "kata-cc").cloned(), before);
    assert!(world.condition(KATA, "Degraded").starts_with("True SeveralTees: "));
}

#[test]
fn an_overhead_that_a_person_changed_survives_in_every_class() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    let overhead = json!({"podFixed": {"cpu": "1", "memory": "2Gi", "tdx.intel.com/keys": "1"}});
    world.edit(Kind::RuntimeClass, "kata-cc", |class| class["overhead"] = overhead.clone());
    world.label("worker-0", ELIGIBLE, "true");
    world.respec(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    let class = world.object(Kind::RuntimeClass, "kata-cc").unwrap();
    assert_eq!(class["overhead"], overhead);
    assert_eq!(class["scheduling"]["nodeSelector"][TDX], "true", "the selector follows the check");
}

#[test]
fn without_any_eligible_node_classes_go_and_nodes_stay() {
    let mut world = World::two_workers();
    world.label("worker-0", ELIGIBLE, "true");
    world.create(KATA, json!({"checkNodeEligibility": true}));
    world.run();
    assert_eq!(classes(&world), ["kata kata"]);
    let reboots = world.reboots().len();
    world.unlabel("worker-0", ELIGIBLE);
    later(&mut world);
    assert!(classes(&world).is_empty());
    assert!(world.condition(KATA, "Degraded").starts_with("True NoEligibleNodes: "));
    assert_eq!((world.kata_nodes(), world.reboots().len()), (vec!["worker-0"], reboots));
    world.label("worker-0", ELIGIBLE, "true");
    world.run();
    assert_eq!(classes(&world), ["kata kata"]);
}

#[test]
fn gates_take_effect_while_it_runs_and_garbage_is_told() {
    let mut world = confidential(json!({}), &[("worker-0", TDX)]);
    gates(&mut world, &json!({"confidential": "yes"}));
    world.run();
    assert_eq!(classes(&world).len(), 2, "the default holds");
    assert_eq!(
        world.condition(KATA, "Degraded"),
        "True InvalidFeatureGate: ConfigMap openshift-sandboxed-containers-operator/osc-feature-gates: confidential is \
         \"yes\", which is none of \"true\" and \"false\"; the default is used: false"
    );
    let told = world.events.iter().filter(|event| event.reason == "InvalidFeatureGate").count();
    assert_eq!(told, 1);
    gates(&mut world, &json!({"confidential": "1"}));
    world.run();
    assert_eq!(classes(&world).len(), 4);
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
}

#[test]
fn a_layered_image_is_installed_where_the_gate_says_so() {
    let mut world = World::two_workers();
    gates(&mut world, &json!({"layeredImageDeployment": "true"}));
    world.create(KATA, json!({}));
    world.run();
    let told = world.condition(KATA, "Degraded");
    assert!(
        told.starts_with("True LayeredImageUnavailable: ") && told.contains("osImageURL not found"),
        "{told}"
    );
    assert!(world.reboots().is_empty());
    let id =
        ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::LAYERED_IMAGE_CONFIG_MAP);
    let data = json!({"osImageURL": "os@sha256:1", "kernelArguments": " kvm_intel.tdx=1  nohibernate "});
    store::put(&mut world.cluster, &mut world.serial, id, json!({"data": data}));
    world.run();
    let config = world.object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).unwrap();
    assert_eq!(config["spec"]["osImageURL"], "os@sha256:1");
    assert_eq!(config["spec"]["kernelArguments"], json!(["kvm_intel.tdx=1", "nohibernate"]));
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_none());
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    // From here on the gate does not matter.
    gates(&mut world, &json!({}));
    world.run();
    assert!(world.plan().steps.is_empty());
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn the_gate_of_layered_images_does_not_change_an_installation() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    gates(&mut world, &json!({"layeredImageDeployment": "true"}));
    world.run();
    assert!(world.object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).is_none());
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
}
