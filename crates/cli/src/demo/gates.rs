//! The stories of DaemonSet mode and of confidential containers.

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use osc_api::names;
use osc_devcluster::sim::annotations;
use serde_json::{Value, json};

use super::Arguments;
use super::stage::Stage;
use super::story::{
    KATA_CONFIGS, RUNTIME_CLASSES, apply_kata_config, blocked_uninstall, has_reason, installed, is_ready,
    told_in,
};
use crate::view::Snapshot;

const TDX: &str = "intel.feature.node.kubernetes.io/tdx";
const SNP: &str = "amd.feature.node.kubernetes.io/snp";

/// Nodes with the label of the node agents.
fn nodes_with_state() -> String {
    format!("/api/v1/nodes?labelSelector={}", names::DAEMON_SET_MODE_LABEL)
}

/// Kubernetes without the Machine Config Operator; the disk of one node is full at first.
pub async fn play_agents(stage: &Stage, arguments: &Arguments) -> anyhow::Result<()> {
    let victim = "worker-0";
    let fails = |why: Value| json!({"metadata": {"annotations": {annotations::AGENT_FAILS: why}}});
    stage.merge::<Node>(victim, fails(json!("no space left on device: /opt/kata needs 1.2 GiB"))).await?;
    stage.say(&format!(
        "There is no Machine Config Operator here. The disk of {victim} is full, and nobody knows yet."
    ));
    let name = apply_kata_config(stage, arguments).await?;
    stage
        .until("the agent's failure is told", |snapshot| has_reason(snapshot, "InProgress", "Failed"))
        .await?;
    stage.scene("Somebody makes room on the node");
    stage.merge::<Node>(victim, fails(Value::Null)).await?;
    stage.until("Kata is installed", |snapshot| is_ready(snapshot) && snapshot.settled()).await?;
    stage.get("kubectl get kataconfig", KATA_CONFIGS).await?;
    let command = format!("kubectl get nodes -l {}", names::DAEMON_SET_MODE_LABEL);
    stage.get(&command, &nodes_with_state()).await?;
    stage.get("kubectl get runtimeclass", RUNTIME_CLASSES).await?;
    if arguments.keep {
        return Ok(());
    }
    blocked_uninstall(stage, &name).await?;
    stage.until("the KataConfig is gone", |snapshot| snapshot.kata_configs.is_empty()).await?;
    stage.get(&command, &nodes_with_state()).await?;
    stage.get("kubectl get runtimeclass", RUNTIME_CLASSES).await
}

/// Confidential hardware, its gate, and what becomes of the classes.
pub async fn play_confidential(stage: &Stage, arguments: &Arguments) -> anyhow::Result<()> {
    stage.scene("Open the gate");
    let map = names::FEATURE_GATES;
    let namespace = names::OPERATOR_NAMESPACE;
    let command = format!("oc create configmap {map} -n {namespace} --from-literal=confidential=true");
    stage.typed(&command, &format!("configmap/{map} created"), gate(stage, "true")).await?;
    let name = apply_kata_config(stage, arguments).await?;
    installed(stage).await?;
    if arguments.keep {
        return Ok(());
    }

    stage.scene("A node with hardware of another kind joins");
    let label = |key: &str, value: Value| json!({"metadata": {"labels": {key: value}}});
    let node = "worker-1";
    let command = format!("oc label node {node} {TDX}- {SNP}=true");
    let both = json!({"metadata": {"labels": {TDX: null, SNP: "true"}}});
    stage.typed(&command, &format!("node/{node} labeled"), stage.merge::<Node>(node, both)).await?;
    let told = |snapshot: &Snapshot| has_reason(snapshot, "Degraded", "SeveralTees");
    let snapshot = stage.until("the second kind is told", told).await?;
    stage.say(&told_in(&snapshot, "Degraded"));
    let command = format!("oc label node {node} {SNP}-");
    stage
        .typed(
            &command,
            &format!("node/{node} unlabeled"),
            stage.merge::<Node>(node, label(SNP, Value::Null)),
        )
        .await?;
    stage.until("one kind is left", |snapshot| has_reason(snapshot, "Degraded", "AsExpected")).await?;

    stage.scene("Close the gate");
    let patch = json!({"data": {"confidential": "false"}});
    let command = format!("oc patch configmap {map} -n {namespace} --type merge -p '{patch}'");
    stage.typed(&command, &format!("configmap/{map} patched"), gate(stage, "false")).await?;
    let closed = |snapshot: &Snapshot| {
        let status = snapshot.kata_config().and_then(|found| found.status.as_ref());
        status.is_some_and(|status| !status.runtime_classes.iter().any(|class| class.starts_with("kata-cc")))
    };
    stage.until("the classes go", closed).await?;
    stage.get("oc get runtimeclass", RUNTIME_CLASSES).await?;
    blocked_uninstall(stage, &name).await?;
    stage.until("the KataConfig is gone", |snapshot| snapshot.kata_configs.is_empty()).await?;
    let maps = maps(stage);
    let deletion =
        async { maps.delete(map, &DeleteParams::default()).await.context("cannot delete the feature gates") };
    let command = format!("oc delete configmap {map} -n {namespace}");
    stage.typed(&command, &format!("configmap \"{map}\" deleted"), deletion).await?;
    // The label that was taken away on the way.
    stage.merge::<Node>(node, label(TDX, json!("true"))).await
}

fn maps(stage: &Stage) -> Api<ConfigMap> {
    Api::namespaced(stage.client.clone(), names::OPERATOR_NAMESPACE)
}

async fn gate(stage: &Stage, value: &str) -> anyhow::Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": names::FEATURE_GATES}, "data": {"confidential": value},
    });
    let params = PatchParams::apply("kubectl").force();
    let applied = maps(stage).patch(names::FEATURE_GATES, &params, &Patch::Apply(&map)).await;
    applied.map(drop).context("cannot write the feature gates")
}
