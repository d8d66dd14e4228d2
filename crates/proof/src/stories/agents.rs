//! DaemonSet mode: node agents instead of the Machine Config Operator.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use osc_api::openshift::{MachineConfig, MachineConfigPool};
use osc_api::{DeploymentMode, KataConfig, names};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::{Story, story};
use crate::bed::{Bed, NAME, eventually, is, message, reason, workers};

pub fn stories() -> Vec<Story> {
    let k3s = Topology { kind: Kind::K3s, control_plane: 1, workers: 0, ..kubernetes(0) };
    vec![
        story!(without_the_machine_config_operator_agents_install_and_remove, kubernetes(2)),
        story!(a_k3s_server_is_its_own_worker, k3s),
        story!(a_node_whose_agent_fails_is_told_and_goes_on_when_it_is_mended, kubernetes(2)),
        story!(a_node_that_joins_gets_kata_and_one_that_vanishes_blocks_nothing, kubernetes(1)),
        story!(a_node_that_has_to_be_rebooted_is_told, kubernetes(1)),
        story!(a_node_that_is_no_longer_selected_waits_for_its_pods, kubernetes(2)),
        story!(a_fallback_uses_the_machine_config_operator_where_it_is, workers(1)),
        story!(agents_can_be_forced_on_openshift, workers(2)),
        story!(an_edit_of_the_mode_changes_nothing, workers(1)),
    ]
}

fn kubernetes(workers: u32) -> Topology {
    Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), workers, ..Topology::default() }
}

/// Somebody writes a ConfigMap in the operator's namespace.
pub async fn config_map(bed: &Bed, name: &str, data: Value) {
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let map = json!({"metadata": {"name": name}, "data": data});
    let map: ConfigMap = serde_json::from_value(map).unwrap();
    match maps.get_opt(name).await.unwrap() {
        None => maps.create(&PostParams::default(), &map).await,
        Some(_) => maps.replace(name, &PostParams::default(), &map).await,
    }
    .unwrap();
}

async fn states(bed: &Bed) -> Vec<(String, String)> {
    let state = |node: &Node| {
        let state = node.labels().get(names::DAEMON_SET_MODE_LABEL).cloned();
        state.map(|state| (node.name_any(), state))
    };
    bed.nodes().await.iter().filter_map(state).collect()
}

async fn nothing_is_left(bed: &Bed) {
    assert_eq!(states(bed).await, [], "no node has the agents' label");
    assert!(bed.nodes().await.iter().all(|node| !node.labels().contains_key(names::KATA_NODE_ROLE)));
    assert_eq!(bed.names_of::<RuntimeClass>().await, Vec::<String>::new());
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let none = || async { pods.list(&ListParams::default()).await.unwrap().items.is_empty() };
    assert!(eventually(none).await, "pods go with their DaemonSets");
    bed.assert_reboots(&[]).await;
}

fn fails(why: &Value) -> Value {
    json!({"metadata": {"annotations": {annotations::AGENT_FAILS: why}}})
}

async fn without_the_machine_config_operator_agents_install_and_remove(bed: &mut Bed) {
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.until(NAME, "one works, one waits", |status| {
        status.kata_nodes.installing == ["worker-0"] && status.kata_nodes.waiting_to_install == ["worker-1"]
    })
    .await;
    bed.installed(NAME).await;
    let status = bed.status(NAME).await;
    assert_eq!(status.kata_nodes.installed, ["worker-0", "worker-1"], "never the control plane");
    assert_eq!(status.deployment_mode, Some(DeploymentMode::DaemonSet));
    assert_eq!(status.runtime_classes, ["kata", "kata-nvidia-gpu"]);
    assert_eq!(reason(&status, "Degraded"), ("False", "AsExpected"));
    let sets: Api<DaemonSet> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let monitor = serde_json::to_value(sets.get(names::MONITOR).await.unwrap()).unwrap();
    let command = monitor.pointer("/spec/template/spec/containers/0/command/3").unwrap();
    assert_eq!(command, "--runtime-endpoint=/run/containerd/containerd.sock");

    bed.delete(NAME).await;
    bed.until(NAME, "one is cleaned, one waits", |status| {
        status.kata_nodes.uninstalling == ["worker-0"]
            && status.kata_nodes.waiting_to_uninstall == ["worker-1"]
    })
    .await;
    bed.gone(NAME).await;
    nothing_is_left(bed).await;
}

async fn a_k3s_server_is_its_own_worker(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    assert_eq!(bed.status(NAME).await.kata_nodes.installed, ["control-plane-0"]);
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    nothing_is_left(bed).await;
}

async fn a_node_whose_agent_fails_is_told_and_goes_on_when_it_is_mended(bed: &mut Bed) {
    bed.patch::<Node>("worker-0", fails(&json!("no space left on device: /opt/kata"))).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "failed", |status| {
        message(status, "InProgress") == "Node worker-0 Degraded: no space left on device: /opt/kata"
            && reason(status, "Degraded") == ("True", "NodeAgentFailed")
            && status.kata_nodes.failed_to_install == ["worker-0"]
    })
    .await;
    // A rollout that breaks nodes stops.
    bed.sleep(Duration::from_mins(30)).await;
    assert_eq!(bed.status(NAME).await.kata_nodes.waiting_to_install, ["worker-1"]);
    bed.patch::<Node>("worker-0", fails(&json!(null))).await;
    bed.installed(NAME).await;

    // A removal that is stuck, and a node that is given up with the command that the condition shows.
    bed.patch::<Node>("worker-1", fails(&json!("read-only file system"))).await;
    bed.delete(NAME).await;
    bed.until(NAME, "stuck", |status| {
        let give_up = format!("kubectl label node worker-1 {}-", names::DAEMON_SET_MODE_LABEL);
        status.kata_nodes.failed_to_uninstall == ["worker-1"]
            && message(status, "Degraded").ends_with(&give_up)
    })
    .await;
    bed.patch::<Node>("worker-1", json!({"metadata": {"labels": {names::DAEMON_SET_MODE_LABEL: null}}}))
        .await;
    bed.gone(NAME).await;
    nothing_is_left(bed).await;
}

async fn a_node_that_joins_gets_kata_and_one_that_vanishes_blocks_nothing(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let nodes: Api<Node> = Api::all(bed.client.clone());
    let mut joins = nodes.get("worker-0").await.unwrap();
    let status = joins.status.take();
    let labels = joins.metadata.labels.take().unwrap_or_default();
    let own = [names::KATA_NODE_ROLE, names::DAEMON_SET_MODE_LABEL];
    let labels = labels.into_iter().filter(|(key, _)| !own.contains(&key.as_str())).collect();
    joins.metadata = kube::api::ObjectMeta {
        name: Some("worker-9".to_owned()),
        labels: Some(labels),
        ..kube::api::ObjectMeta::default()
    };
    nodes.create(&PostParams::default(), &joins).await.unwrap();
    let ready = kube::api::Patch::Merge(json!({"status": status}));
    nodes.patch_status("worker-9", &kube::api::PatchParams::default(), &ready).await.unwrap();
    bed.until(NAME, "both have it", |status| status.kata_nodes.installed == ["worker-0", "worker-9"]).await;

    bed.patch::<Node>("worker-9", fails(&json!("the disk is broken"))).await;
    bed.delete(NAME).await;
    bed.until(NAME, "stuck", |status| status.kata_nodes.failed_to_uninstall == ["worker-9"]).await;
    nodes.delete("worker-9", &DeleteParams::default()).await.unwrap();
    bed.gone(NAME).await;
    nothing_is_left(bed).await;
}

async fn a_node_that_has_to_be_rebooted_is_told(bed: &mut Bed) {
    let annotate = |key: &str| json!({"metadata": {"annotations": {key: "yes"}}});
    bed.patch::<Node>("worker-0", annotate(annotations::AGENT_NEEDS_REBOOT)).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "Degraded") == ("True", "WaitingForReboot")
            && message(status, "Degraded").contains("kubectl drain worker-0")
            && status.kata_nodes.installing == ["worker-0"]
    })
    .await;
    bed.patch::<Node>("worker-0", annotate(annotations::RESTART)).await;
    bed.installed(NAME).await;
    // The agent is there before the reboot has been counted.
    let counted = || async { bed.reboots().await == [("worker-0".to_owned(), 1)] };
    assert!(eventually(counted).await);
}

async fn a_node_that_is_no_longer_selected_waits_for_its_pods(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    let pod = json!({
        "metadata": {"name": "uses-kata", "annotations": {annotations::SCRIPT: "run"}},
        "spec": {
            "runtimeClassName": "kata", "nodeSelector": {"kubernetes.io/hostname": "worker-1"},
            "containers": [{"name": "c", "image": "i"}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let runs = || async {
        pods.get("uses-kata").await.unwrap().spec.unwrap().node_name.as_deref() == Some("worker-1")
    };
    assert!(eventually(runs).await);
    let only = json!({"matchLabels": {"kubernetes.io/hostname": "worker-0"}});
    bed.patch::<KataConfig>(NAME, json!({"spec": {"kataConfigPoolSelector": only}})).await;
    bed.until(NAME, "held", |status| {
        reason(status, "Degraded") == ("True", "PodsHoldNode")
            && message(status, "Degraded")
                .contains("node worker-1 is to lose Kata, and pods there use it: default/uses-kata")
            && status.kata_nodes.waiting_to_uninstall == ["worker-1"]
    })
    .await;
    pods.delete("uses-kata", &DeleteParams::default()).await.unwrap();
    bed.until(NAME, "one node has it", |status| {
        is(status, "Ready", "True") && status.kata_nodes.installed == ["worker-0"]
    })
    .await;
    assert_eq!(states(bed).await, [("worker-0".to_owned(), "installed".to_owned())]);
}

async fn a_fallback_uses_the_machine_config_operator_where_it_is(bed: &mut Bed) {
    config_map(bed, names::FEATURE_GATES, json!({"deploymentMode": "DaemonSetFallback"})).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    assert_eq!(bed.status(NAME).await.deployment_mode, Some(DeploymentMode::MachineConfig));
    assert_eq!(states(bed).await, []);
    bed.assert_reboots(&[("worker-0", 1)]).await;
}

async fn agents_can_be_forced_on_openshift(bed: &mut Bed) {
    config_map(bed, names::FEATURE_GATES, json!({"deploymentMode": "DaemonSet"})).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    assert_eq!(bed.names_of::<MachineConfigPool>().await, ["master", "worker"]);
    let secrets = |namespace| Api::<Secret>::namespaced(bed.client.clone(), namespace);
    let data = |secret: Secret, key: &str| secret.data.unwrap()[key].0.clone();
    let source = secrets(names::PULL_SECRET_NAMESPACE).get(names::PULL_SECRET).await.unwrap();
    let copy = secrets(names::OPERATOR_NAMESPACE).get(names::AUTH_SECRET).await.unwrap();
    assert_eq!(data(copy, names::AUTH_SECRET_KEY), data(source, names::PULL_SECRET_KEY));
    let sets: Api<DaemonSet> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let agent = serde_json::to_value(sets.get(names::INSTALL_DAEMON_SET).await.unwrap()).unwrap();
    let env = agent.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap().clone();
    let value = |name: &str| env.iter().find(|one| one["name"] == name).unwrap()["value"].as_str().unwrap();
    assert!(value("EXTENSION_IMAGE").contains("@sha256:"), "{env:?}");
    assert_eq!((value("CLOUD_PROVIDER"), value("LOG_LEVEL")), ("libvirt", "info"));

    bed.delete(NAME).await;
    bed.gone(NAME).await;
    nothing_is_left(bed).await;
    let copies = secrets(names::OPERATOR_NAMESPACE);
    assert!(eventually(|| async { copies.get_opt(names::AUTH_SECRET).await.unwrap().is_none() }).await);
}

async fn an_edit_of_the_mode_changes_nothing(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    config_map(bed, names::FEATURE_GATES, json!({"deploymentMode": "DaemonSet"})).await;
    bed.until(NAME, "refused", |status| {
        reason(status, "Degraded") == ("True", "DeploymentModeFixed")
            && message(status, "Degraded")
                .contains("asks for DaemonSet, but Kata is installed by MachineConfig")
            && is(status, "Ready", "True")
    })
    .await;
    assert_eq!(states(bed).await, []);
    bed.assert_reboots(&[("worker-0", 1)]).await;
    // Removal goes the way of the installation.
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.assert_reboots(&[("worker-0", 2)]).await;
    assert!(!bed.names_of::<MachineConfig>().await.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
}
