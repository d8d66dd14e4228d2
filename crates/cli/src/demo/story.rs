//! The story, scene by scene.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use osc_api::openshift::MachineConfigPool;
use osc_api::{KataConfig, names};
use osc_cloud::memory::Left;
use osc_devcluster::sim::annotations;
use serde_json::{Value, json};

use super::Arguments;
use super::gates::{play_agents, play_confidential};
use super::inventory::Inventory;
use super::peerpods::play_peer_pods;
use super::scenario::Scenario;
use super::stage::{Stage, read_manifest};
use crate::view::{Snapshot, style};

/// Where KataConfigs are.
pub const KATA_CONFIGS: &str = "/apis/kataconfiguration.openshift.io/v1/kataconfigs";
/// Where runtime classes are.
pub const RUNTIME_CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
const POOLS: &str = "/apis/machineconfiguration.openshift.io/v1/machineconfigpools";
/// Where the pods of the story are.
pub const POD_NAMESPACE: &str = "default";
const POD_MANIFEST: &str = "docs/examples/pod-kata.yaml";

/// Plays the story that the arguments ask for.
pub async fn play(stage: &Stage, arguments: &Arguments) -> anyhow::Result<()> {
    introduce(stage, arguments);
    let before = Inventory::take(&stage.client).await.context("cannot list what is on the cluster")?;
    if let Scenario::Daemonset | Scenario::Confidential | Scenario::Peerpods = arguments.scenario {
        match arguments.scenario {
            Scenario::Daemonset => play_agents(stage, arguments).await?,
            Scenario::Confidential => play_confidential(stage, arguments).await?,
            _ => play_peer_pods(stage, arguments).await?,
        }
        return if arguments.keep { keep(stage).await } else { prove(stage, &before).await };
    }
    let name = match arguments.scenario {
        Scenario::Degraded => install_with_a_degraded_node(stage, arguments).await?,
        Scenario::Paused => install_into_a_paused_pool(stage, arguments).await?,
        _ => install(stage, arguments).await?,
    };
    if arguments.keep {
        return keep(stage).await;
    }
    if arguments.scenario != Scenario::Paused {
        change_log_level(stage, &name).await?;
        if !arguments.scenario.converged() && arguments.workers > 1 {
            select_fewer_nodes(stage, &name).await?;
        }
        blocked_uninstall(stage, &name).await?;
    }
    uninstalled(stage).await?;
    prove(stage, &before).await
}

fn introduce(stage: &Stage, arguments: &Arguments) {
    let cluster = arguments.scenario.describe(arguments.workers);
    stage.say(&format!(
        "An embedded {} cluster ({cluster}); one second here is {} seconds there.\nThe operator runs against it over \
         HTTP, as it would in a real one.\nKUBECONFIG={}",
        arguments.scenario.product(),
        arguments.speed,
        stage.kubeconfig.display()
    ));
}

/// Applies the KataConfig; returns its name.
pub async fn apply_kata_config(stage: &Stage, arguments: &Arguments) -> anyhow::Result<String> {
    stage.scene("Install Kata");
    let object = read_manifest(arguments.kata_config())?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let command = format!("{} apply -f {}", stage.tool, arguments.kata_config().display());
    stage.typed(&command, &told(&name, "created"), stage.apply(&object)).await?;
    Ok(name)
}

/// What `oc` prints about a KataConfig.
fn told(name: &str, what: &str) -> String {
    format!("kataconfig.kataconfiguration.openshift.io/{name} {what}")
}

async fn install(stage: &Stage, arguments: &Arguments) -> anyhow::Result<String> {
    let name = apply_kata_config(stage, arguments).await?;
    installed(stage).await?;
    Ok(name)
}

/// Waits for the installation and shows what there is.
pub async fn installed(stage: &Stage) -> anyhow::Result<()> {
    stage.until("Kata is installed", |snapshot| is_ready(snapshot) && snapshot.settled()).await?;
    stage.get("oc get kataconfig", KATA_CONFIGS).await?;
    stage.get("oc get runtimeclass", RUNTIME_CLASSES).await?;
    get_pools(stage).await
}

/// Shows the pools once they have counted their nodes, which is a little after the nodes are done.
async fn get_pools(stage: &Stage) -> anyhow::Result<()> {
    let pools: Api<MachineConfigPool> = Api::all(stage.client.clone());
    for _ in 0..100 {
        let list = pools.list(&ListParams::default()).await.context("cannot list the pools")?;
        let updating =
            |pool: &MachineConfigPool| pool.status.as_ref().is_none_or(|status| status.is_true("Updating"));
        if !list.items.iter().any(updating) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.get("oc get mcp", POOLS).await
}

/// Whether Kata can be used wherever it is asked for.
pub fn is_ready(snapshot: &Snapshot) -> bool {
    snapshot.condition("Ready").is_some_and(|(status, ..)| status == "True")
}

/// The message of a condition.
pub fn told_in(snapshot: &Snapshot, type_: &str) -> String {
    snapshot.condition(type_).map(|(.., message)| message).unwrap_or_default()
}

/// Whether a condition has that reason.
pub fn has_reason(snapshot: &Snapshot, type_: &str, wanted: &str) -> bool {
    snapshot.condition(type_).is_some_and(|(_, reason, _)| reason == wanted)
}

async fn install_with_a_degraded_node(stage: &Stage, arguments: &Arguments) -> anyhow::Result<String> {
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let workers = nodes.list(&ListParams::default().labels(names::WORKER_NODE_ROLE)).await?;
    let victim = workers.items.first().context("there is no worker node")?.name_any();
    let fault = "unexpected on-disk state validating against rendered-worker: mode mismatch for file /etc/crio/crio.conf";
    stage
        .merge::<Node>(&victim, json!({"metadata": {"annotations": {annotations::DEGRADE_ROLLOUT: fault}}}))
        .await?;
    stage.say(&format!("Something is wrong on {victim}, and nobody knows yet."));
    let name = apply_kata_config(stage, arguments).await?;
    stage.until("the node is degraded", |snapshot| has_reason(snapshot, "InProgress", "Failed")).await?;
    stage.get("oc get mcp", POOLS).await?;
    stage.scene("Somebody mends the node");
    stage
        .merge::<Node>(&victim, json!({"metadata": {"annotations": {annotations::DEGRADE_ROLLOUT: null}}}))
        .await?;
    installed(stage).await?;
    Ok(name)
}

async fn install_into_a_paused_pool(stage: &Stage, arguments: &Arguments) -> anyhow::Result<String> {
    let name = apply_kata_config(stage, arguments).await?;
    stage.until("a node is being changed", |snapshot| !rows_in(snapshot, "installing").is_empty()).await?;
    let pool = names::KATA_POOL;
    let patch = json!({"spec": {"paused": true}});
    stage
        .typed(
            &format!("oc patch mcp {pool} --type merge -p '{patch}'"),
            &format!("machineconfigpool.machineconfiguration.openshift.io/{pool} patched"),
            stage.merge::<MachineConfigPool>(pool, patch.clone()),
        )
        .await?;
    stage.until("the paused pool is told", |snapshot| has_reason(snapshot, "Degraded", "PoolPaused")).await?;
    stage.scene("Give the installation up: nodes that wait are never rebooted");
    delete_kata_config(stage, &name).await?;
    Ok(name)
}

fn rows_in(snapshot: &Snapshot, state: &str) -> Vec<String> {
    snapshot.rows().into_iter().filter(|row| row.state == state).map(|row| row.name).collect()
}

async fn change_log_level(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.scene("Change the log level of CRI-O");
    patch_kata_config(stage, name, json!({"spec": {"logLevel": "debug"}})).await?;
    stage
        .until("the rollout of the log level begins", |snapshot| {
            has_reason(snapshot, "InProgress", "Updating")
        })
        .await?;
    stage.until("the log level is rolled out", Snapshot::settled).await?;
    get_pools(stage).await
}

async fn patch_kata_config(stage: &Stage, name: &str, patch: Value) -> anyhow::Result<()> {
    let command = format!("oc patch kataconfig {name} --type merge --patch '{patch}'");
    stage.typed(&command, &told(name, "patched"), stage.merge::<KataConfig>(name, patch.clone())).await
}

async fn select_fewer_nodes(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.scene("Keep Kata on fewer nodes");
    let all: Vec<String> = stage.follow.latest().rows().into_iter().map(|row| row.name).collect();
    let kept = &all[..all.len() - 1];
    for node in kept {
        let label = stage.merge::<Node>(node, json!({"metadata": {"labels": {"kata": "true"}}}));
        stage
            .typed(&format!("oc label node {node} kata=true"), &format!("node/{node} labeled"), label)
            .await?;
    }
    let selector = json!({"matchLabels": {"kata": "true"}});
    patch_kata_config(stage, name, json!({"spec": {"kataConfigPoolSelector": selector}})).await?;
    let wanted = kept.len();
    let done =
        move |snapshot: &Snapshot| snapshot.settled() && rows_in(snapshot, "installed").len() == wanted;
    stage.until("Kata is on the selected nodes only", done).await?;
    stage.get("oc get kataconfig", KATA_CONFIGS).await?;
    get_pools(stage).await
}

/// Deletes the KataConfig while a pod uses Kata, then the pod.
pub async fn blocked_uninstall(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.scene("A running pod blocks removal");
    let file = Path::new(POD_MANIFEST);
    let pod = read_manifest(file)?;
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let command = format!("{} apply -f {POD_MANIFEST}", stage.tool);
    stage.typed(&command, &format!("pod/{pod_name} created"), stage.apply(&pod)).await?;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), POD_NAMESPACE);
    wait_for_pod(&pods, pod_name, |pod| {
        pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.phase.as_deref()) == Some("Running")
    })
    .await?;
    stage
        .get(&format!("{} get pods", stage.tool), &format!("/api/v1/namespaces/{POD_NAMESPACE}/pods"))
        .await?;
    delete_kata_config(stage, name).await?;
    let blocked = |snapshot: &Snapshot| has_reason(snapshot, "InProgress", "BlockedByExistingKataPods");
    let snapshot = stage.until("removal is blocked", blocked).await?;
    stage.say(&told_in(&snapshot, "Ready"));
    let deletion =
        async { pods.delete(pod_name, &DeleteParams::default()).await.context("cannot delete the pod") };
    let command = format!("{} delete pod {pod_name}", stage.tool);
    stage.typed(&command, &format!("pod \"{pod_name}\" deleted"), deletion).await?;
    Ok(())
}

/// Deletes the KataConfig; does not wait until it is gone.
pub async fn delete_kata_config(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let api: Api<KataConfig> = Api::all(stage.client.clone());
    let deletion = async {
        api.delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("cannot delete KataConfig {name}"))
    };
    let output = format!("kataconfig.kataconfiguration.openshift.io \"{name}\" deleted");
    stage.typed(&format!("{} delete kataconfig {name} --wait=false", stage.tool), &output, deletion).await?;
    Ok(())
}

async fn wait_for_pod(
    pods: &Api<Pod>,
    name: &str,
    wished: impl Fn(Option<&Pod>) -> bool,
) -> anyhow::Result<()> {
    let arrived = kube::runtime::wait::await_condition(pods.clone(), name, |pod: Option<&Pod>| wished(pod));
    match tokio::time::timeout(Duration::from_mins(1), arrived).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error).with_context(|| format!("cannot watch pod {name}")),
        Err(_) => bail!("pod {name} did not get there within a minute"),
    }
}

/// Waits until the KataConfig is gone.
pub async fn uninstalled(stage: &Stage) -> anyhow::Result<()> {
    stage.until("the KataConfig is gone", |snapshot| snapshot.kata_configs.is_empty()).await?;
    stage.get("oc get kataconfig", KATA_CONFIGS).await?;
    stage.get("oc get runtimeclass", RUNTIME_CLASSES).await?;
    stage.get("oc get mcp", POOLS).await
}

/// What is in the cloud, for scripts.
pub fn listed(cloud: &Left) -> Value {
    json!({"instances": cloud.instances, "volumes": cloud.volumes, "images": cloud.images})
}

/// Compares all objects of the cluster with those of before.
async fn prove(stage: &Stage, before: &Inventory) -> anyhow::Result<()> {
    stage.scene("Nothing is left behind");
    // Our own label for selecting nodes is not the operator's to remove.
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let mut reboots = BTreeMap::new();
    for node in nodes.list(&ListParams::default()).await? {
        let count = node.annotations().get(annotations::REBOOTS).cloned().unwrap_or_else(|| "0".to_owned());
        reboots.insert(node.name_any(), count);
        if node.labels().contains_key("kata") {
            stage.merge::<Node>(&node.name_any(), json!({"metadata": {"labels": {"kata": null}}})).await?;
        }
    }
    let mut differences = Vec::new();
    // Garbage collection may still be at work.
    for _ in 0..50 {
        let after = Inventory::take(&stage.client).await?;
        differences = after.since(before);
        if differences.is_empty() {
            let seconds = stage.elapsed().as_secs_f64();
            stage.say(&format!(
                "{} {} objects of all kinds, compared with those from before: the same names, labels and finalizers.",
                style::good("ok"),
                after.len()
            ));
            let cloud = stage.cloud.left();
            if stage.has_cloud {
                ensure!(cloud.is_empty(), "left behind in the cloud: {cloud}");
                stage.say(&format!(
                    "{} {cloud} in the cloud: no virtual machine, no volume, no image.",
                    style::good("ok")
                ));
            }
            let told: Vec<String> = reboots.iter().map(|(node, count)| format!("{node} {count}")).collect();
            stage.say(&format!("Reboots: {}. The demo took {seconds:.0} s.", told.join(", ")));
            let mut summary = json!({
                "type": "summary", "leftBehind": [], "objects": after.len(), "reboots": reboots, "seconds": seconds,
            });
            if stage.has_cloud {
                summary["cloud"] = listed(&cloud);
            }
            stage.screen.json(summary);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.screen.json(json!({"type": "summary", "leftBehind": differences}));
    ensure!(differences.is_empty(), "left behind: {}", differences.join("; "));
    Ok(())
}

/// Serves until Ctrl-C.
async fn keep(stage: &Stage) -> anyhow::Result<()> {
    let file = stage.kubeconfig.display();
    stage.scene("The cluster is yours");
    stage.say(&format!(
        "In another terminal:\n\n  export KUBECONFIG={file}\n  kubectl get kataconfig,mcp,nodes,runtimeclass -o wide\n  \
         kubectl describe kataconfig\n  kubectl patch kataconfig example-kataconfig --type merge -p \
         '{{\"spec\":{{\"logLevel\":\"debug\"}}}}'\n  kubectl delete kataconfig example-kataconfig\n\nWhat happens is shown here. \
         Ctrl-C ends it."
    ));
    stage.screen.json(json!({"type": "serving", "kubeconfig": stage.kubeconfig}));
    std::future::pending().await
}
