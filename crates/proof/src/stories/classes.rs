//! Runtime classes and feature gates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use osc_api::openshift::MachineConfig;
use osc_api::{KataConfigStatus, names};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::Topology;
use serde_json::{Value, json};

use super::agents::config_map;
use super::{Story, story};
use crate::bed::{Bed, NAME, is, message, reason, workers};

const TDX: &str = "intel.feature.node.kubernetes.io/tdx";
const SNP: &str = "amd.feature.node.kubernetes.io/snp";
const SE: &str = "ibm.feature.node.kubernetes.io/se";
const GPU: [(&str, &str); 5] = [
    ("nvidia.com/gpu.present", "true"),
    ("nvidia.com/gpu.deploy.vfio-manager", "true"),
    ("nvidia.com/gpu.deploy.kata-sandbox-device-plugin", "true"),
    ("nvidia.com/cc.mode.state", "off"),
    ("nvidia.com/cc.ready.state", "false"),
];

pub fn stories() -> Vec<Story> {
    let labelled = |labels: &[&str], count| {
        let labels =
            labels.iter().map(|key| ((*key).to_owned(), "true".to_owned())).collect::<BTreeMap<_, _>>();
        Topology { worker_labels: labels, ..workers(count) }
    };
    let confidential = |tee: &'static str, label, handlers: &'static [&'static str]| {
        Story::new(format!("confidential_containers_on_{tee}"), labelled(&[label], 1), move |bed| {
            Box::pin(confidential_containers(bed, handlers))
        })
    };
    vec![
        confidential("tdx", TDX, &["kata-tdx", "kata-tdx-nvidia-gpu"]),
        confidential("snp", SNP, &["kata-snp", "kata-snp-nvidia-gpu"]),
        confidential("secure_execution", SE, &["kata-se"]),
        story!(several_kinds_of_confidential_hardware_are_told_and_block_nothing, labelled(&[TDX], 2)),
        story!(
            a_class_comes_with_its_node_and_goes_when_no_node_is_left,
            labelled(&[names::NODE_ELIGIBLE_LABEL], 2)
        ),
        story!(a_gpu_gets_its_class_where_labels_are_checked, labelled(&[names::NODE_ELIGIBLE_LABEL], 1)),
        story!(garbage_in_the_gates_is_told_and_defaults_hold, workers(1)),
        story!(a_layered_image_is_installed_by_its_gate, workers(1)),
    ]
}

async fn classes(bed: &Bed) -> Vec<String> {
    let api: Api<RuntimeClass> = Api::all(bed.client.clone());
    let mut all: Vec<String> = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|class| class.handler)
        .collect();
    all.sort();
    all
}

async fn confidential_containers(bed: &mut Bed, handlers: &'static [&'static str]) {
    config_map(bed, names::FEATURE_GATES, json!({"confidential": "true"})).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let mut expected: Vec<&str> = handlers.iter().copied().chain(["kata", "kata-nvidia-gpu"]).collect();
    expected.sort_unstable();
    assert_eq!(classes(bed).await, expected);
    let class: RuntimeClass = Api::all(bed.client.clone()).get("kata-cc").await.unwrap();
    let overhead = class.overhead.unwrap().pod_fixed.unwrap();
    let resources = overhead.keys().filter(|key| key.contains('/')).count();
    assert_eq!(resources, usize::from(handlers[0] != "kata-se"), "{overhead:?}");
    let status = bed.status(NAME).await;
    assert_eq!(reason(&status, "Degraded"), ("False", "AsExpected"));
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert_eq!(classes(bed).await, Vec::<String>::new());
}

async fn several_kinds_of_confidential_hardware_are_told_and_block_nothing(bed: &mut Bed) {
    bed.patch::<Node>("worker-1", json!({"metadata": {"labels": {TDX: null, SNP: "true"}}})).await;
    config_map(bed, names::FEATURE_GATES, json!({"confidential": "true"})).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "installed and told", |status| {
        is(status, "Ready", "True")
            && reason(status, "Degraded") == ("True", "SeveralTees")
            && message(status, "Degraded").contains("Intel TDX on worker-0; AMD SEV-SNP on worker-1")
    })
    .await;
    assert_eq!(classes(bed).await, ["kata", "kata-nvidia-gpu"]);
    bed.delete(NAME).await;
    bed.gone(NAME).await;
}

fn lists(names: &'static [&'static str]) -> impl Fn(&KataConfigStatus) -> bool {
    move |status| status.runtime_classes == names
}

async fn label(bed: &Bed, node: &str, labels: Value) {
    bed.patch::<Node>(node, json!({"metadata": {"labels": labels}})).await;
}

async fn a_class_comes_with_its_node_and_goes_when_no_node_is_left(bed: &mut Bed) {
    config_map(bed, names::FEATURE_GATES, json!({"confidential": "true"})).await;
    bed.create(NAME, json!({"checkNodeEligibility": true})).await;
    bed.installed(NAME).await;
    assert_eq!(classes(bed).await, ["kata"]);
    label(bed, "worker-1", json!({TDX: "true"})).await;
    bed.until(NAME, "the class comes", lists(&["kata", "kata-cc"])).await;

    // A pod holds it.
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    let pod = json!({
        "metadata": {"name": "vault", "annotations": {annotations::SCRIPT: "run"}},
        "spec": {"runtimeClassName": "kata-cc", "containers": [{"name": "c", "image": "i"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    label(bed, "worker-1", json!({TDX: null})).await;
    bed.until(NAME, "the class is held", |status| {
        message(status, "Degraded").contains("RuntimeClass kata-cc goes")
            && message(status, "Degraded").contains("default/vault")
    })
    .await;
    assert_eq!(classes(bed).await, ["kata", "kata-tdx"]);
    pods.delete("vault", &DeleteParams::default()).await.unwrap();
    bed.until(NAME, "the class goes", lists(&["kata"])).await;
    assert_eq!(classes(bed).await, ["kata"]);
}

async fn a_gpu_gets_its_class_where_labels_are_checked(bed: &mut Bed) {
    bed.create(NAME, json!({"checkNodeEligibility": true})).await;
    bed.installed(NAME).await;
    assert_eq!(classes(bed).await, ["kata"]);
    label(bed, "worker-0", GPU.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect())
        .await;
    bed.until(NAME, "the class comes", lists(&["kata", "kata-nvidia-gpu"])).await;
    let class: RuntimeClass = Api::all(bed.client.clone()).get("kata-nvidia-gpu").await.unwrap();
    let overhead = class.overhead.unwrap().pod_fixed.unwrap();
    // A real API server writes it in the largest unit.
    assert!(["4096Mi", "4Gi"].contains(&overhead["memory"].0.as_str()), "{overhead:?}");
    assert_eq!(overhead["cpu"].0, "1");
    let selector = class.scheduling.unwrap().node_selector.unwrap();
    assert!(
        GPU.iter().all(|(key, value)| selector.get(*key).map(String::as_str) == Some(value)),
        "{selector:?}"
    );
}

async fn garbage_in_the_gates_is_told_and_defaults_hold(bed: &mut Bed) {
    let garbage = json!({"confidential": "yes", "deploymentMode": "daemonset"});
    config_map(bed, names::FEATURE_GATES, garbage).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "installed and told", |status| {
        is(status, "Ready", "True")
            && reason(status, "Degraded") == ("True", "InvalidFeatureGate")
            && message(status, "Degraded")
                .contains("confidential is \"yes\", which is none of \"true\" and \"false\"")
            && message(status, "Degraded")
                .contains("deploymentMode is \"daemonset\", which is none of MachineConfig")
    })
    .await;
    bed.assert_reboots(&[("worker-0", 1)]).await;
    config_map(bed, names::FEATURE_GATES, json!({})).await;
    bed.until(NAME, "mended", |status| is(status, "Degraded", "False")).await;
}

async fn a_layered_image_is_installed_by_its_gate(bed: &mut Bed) {
    config_map(bed, names::FEATURE_GATES, json!({"layeredImageDeployment": "true"})).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "InProgress") == ("False", "LayeredImageUnavailable")
            && message(status, "InProgress").contains("osImageURL not found in ConfigMap")
    })
    .await;
    let image =
        json!({"osImageURL": "quay.io/test/os@sha256:1", "kernelArguments": "kvm_intel.tdx=1 nohibernate"});
    config_map(bed, names::LAYERED_IMAGE_CONFIG_MAP, image).await;
    bed.installed(NAME).await;
    let configs = bed.names_of::<MachineConfig>().await;
    assert!(configs.contains(&names::IMAGE_MACHINE_CONFIG.to_owned()));
    assert!(!configs.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
    bed.assert_reboots(&[("worker-0", 1)]).await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(!bed.names_of::<MachineConfig>().await.contains(&names::IMAGE_MACHINE_CONFIG.to_owned()));
}
