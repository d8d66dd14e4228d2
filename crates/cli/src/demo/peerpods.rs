//! The story of peer pods: their virtual machines are in a cloud, which is in memory here.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use osc_api::names::{OPERATOR_NAMESPACE, WORKER_NODE_ROLE};
use osc_api::peerpods::{
    ADAPTOR, CREDENTIALS, PEER_POD_CONFIG, PeerPod, PeerPodConfig, SETTINGS, VM_RESOURCE,
};
use osc_cloud::memory::Left;
use osc_devcluster::sim::annotations::ADAPTOR_FORGETS;
use serde_json::{Value, json};

use super::Arguments;
use super::stage::{Stage, read_manifest};
use super::story::{
    KATA_CONFIGS, POD_NAMESPACE, RUNTIME_CLASSES, apply_kata_config, delete_kata_config, has_reason,
    is_ready, listed, told_in, uninstalled,
};
use crate::view::Snapshot;

const EXAMPLES: &str = "docs/examples/peerpods";
const POD: &str = "pod-resources";
const DEPLOYMENT: &str = "web-remote";
/// What the placeholders of the examples stand for.
const FILLED: [(&str, &str); 8] = [
    ("<aws_access_key_id>", "AKIA0DEMO0DEMO0DEMO0"),
    ("<aws_secret_access_key>", "a-key-that-opens-nothing"),
    ("<aws_region>", "eu-west-1"),
    ("<aws_subnet_id>", "subnet-0a1b2c"),
    ("<aws_vpc_id>", "vpc-0a1b2c"),
    ("<aws_sg_ids>", "sg-0a1b2c"),
    ("<bucket_name>", "podvm-images"),
    ("<machine_type>", "t3.large"),
];

/// From a config map to pods that are scheduled, accounted and never leaked.
pub async fn play_peer_pods(stage: &Stage, arguments: &Arguments) -> anyhow::Result<()> {
    settings(stage).await?;
    let name = apply_kata_config(stage, arguments).await?;
    installed(stage).await?;
    if arguments.keep {
        return Ok(());
    }
    one_pod(stage).await?;
    limit(stage).await?;
    forgotten(stage).await?;
    removal(stage, &name).await
}

async fn settings(stage: &Stage) -> anyhow::Result<()> {
    stage.scene("Say where peer pods run");
    stage.say("What is in <angle brackets> in these two files is filled in. The cloud is in memory, too, and stands for AWS.");
    for (file, told) in [
        ("aws/peer-pods-secret.yaml", "secret/peer-pods-secret"),
        ("aws/peer-pods-cm.yaml", "configmap/peer-pods-cm"),
    ] {
        apply(stage, file, told).await?;
    }
    let lines = crate::peerpods::check_of_cluster(&stage.client).await?;
    stage.typed("osc peerpods check", &lines.join("\n"), std::future::ready(Ok(()))).await
}

/// `oc apply -f` of an example.
async fn apply(stage: &Stage, file: &str, told: &str) -> anyhow::Result<()> {
    let file = format!("{EXAMPLES}/{file}");
    let object = filled(&read_manifest(Path::new(&file))?);
    stage.typed(&format!("oc apply -f {file}"), &format!("{told} created"), stage.apply(&object)).await?;
    Ok(())
}

fn filled(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            FILLED.iter().fold(text.clone(), |text, (open, value)| text.replace(open, value)).into()
        }
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), filled(value))).collect())
        }
        other => other.clone(),
    }
}

/// The image is made, then everything else comes.
async fn installed(stage: &Stage) -> anyhow::Result<()> {
    let making = |snapshot: &Snapshot| has_reason(snapshot, "InProgress", "PodVMImageJobRunning");
    stage.until("the image is being made", making).await?;
    let mut begun = Left::default();
    stage
        .wait("something of the image is in the cloud", async || {
            begun = stage.cloud.left();
            Ok(!begun.is_empty())
        })
        .await?;
    let own = format!("-n {OPERATOR_NAMESPACE}");
    let jobs = format!("/apis/batch/v1/namespaces/{OPERATOR_NAMESPACE}/jobs");
    stage.get(&format!("oc get jobs {own}"), &jobs).await?;
    show_cloud(stage, &begun);
    stage.until("peer pods are ready", |snapshot| is_ready(snapshot) && snapshot.settled()).await?;
    let map: ConfigMap = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE)
        .get(SETTINGS)
        .await
        .context("no settings")?;
    let image = map.data.unwrap_or_default().remove("PODVM_AMI_ID").unwrap_or_default();
    let command = format!("oc get configmap {SETTINGS} {own} -o jsonpath='{{.data.PODVM_AMI_ID}}'");
    stage.typed(&command, &image, std::future::ready(Ok(()))).await?;
    cloud(stage);
    let path = |kind: &str| format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/{kind}");
    stage.get(&format!("oc get daemonsets {own}"), &path("daemonsets")).await?;
    stage.get(&format!("oc get deployments {own}"), &path("deployments")).await?;
    stage.get("oc get kataconfig", KATA_CONFIGS).await?;
    stage.get("oc get runtimeclass", RUNTIME_CLASSES).await?;
    rooms(stage).await
}

/// What is in the cloud.
fn cloud(stage: &Stage) {
    show_cloud(stage, &stage.cloud.left());
}

fn show_cloud(stage: &Stage, left: &Left) {
    let mut lines = vec![if left.is_empty() { "in the cloud: nothing" } else { "in the cloud:" }.to_owned()];
    for (kind, names) in [("machine", &left.instances), ("volume", &left.volumes), ("image", &left.images)] {
        lines.extend(names.iter().map(|name| format!("  {kind:<8} {name}")));
    }
    stage.screen.print(&lines);
    stage.screen.json(json!({"type": "cloud", "left": listed(left)}));
}

async fn workers(stage: &Stage) -> anyhow::Result<Vec<Node>> {
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let found = nodes.list(&ListParams::default().labels(WORKER_NODE_ROLE)).await;
    Ok(found.context("cannot list nodes")?.items)
}

/// How many pod VMs a node may have.
fn room(node: &Node) -> String {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    allocatable
        .and_then(|all| all.get(VM_RESOURCE))
        .map_or_else(|| "<none>".to_owned(), |room| room.0.clone())
}

async fn rooms(stage: &Stage) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> =
        workers(stage).await?.iter().map(|node| vec![node.name_any(), room(node)]).collect();
    let columns = ["NODE", "PODVMS"].map(str::to_owned);
    let command = format!(
        r"oc get nodes -l {WORKER_NODE_ROLE} -o custom-columns='NODE:.metadata.name,PODVMS:.status.allocatable.kata\.peerpods\.io/vm'"
    );
    stage.table(&command, &columns, &rows);
    Ok(())
}

fn pods(stage: &Stage) -> Api<Pod> {
    Api::namespaced(stage.client.clone(), POD_NAMESPACE)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

async fn get_pods(stage: &Stage) -> anyhow::Result<()> {
    let found = pods(stage).list(&ListParams::default()).await.context("cannot list pods")?;
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|pod| {
            vec![pod.name_any(), phase(pod).to_owned(), node(pod).unwrap_or_else(|| "<none>".to_owned())]
        })
        .collect();
    let columns = ["POD", "STATUS", "NODE"].map(str::to_owned);
    let command =
        "oc get pods -o custom-columns='POD:.metadata.name,STATUS:.status.phase,NODE:.spec.nodeName'";
    stage.table(command, &columns, &rows);
    Ok(())
}

async fn get_peer_pods(stage: &Stage) -> anyhow::Result<()> {
    let path = format!("/apis/confidentialcontainers.org/v1alpha1/namespaces/{POD_NAMESPACE}/peerpods");
    stage.get("oc get peerpods", &path).await
}

async fn one_pod(stage: &Stage) -> anyhow::Result<()> {
    stage.scene("A pod in a virtual machine of the cloud");
    apply(stage, "pods/resources.yaml", &format!("pod/{POD}")).await?;
    let pod = pods(stage).get(POD).await.context("the pod is not there")?;
    let resources = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.resources.clone());
    stage.say("It asks for 1500m of CPU and 3Gi of memory. The webhook has made of it:");
    let command = |path: &str| format!("oc get pod {POD} -o jsonpath='{{{path}}}'");
    for (path, value) in [
        (".metadata.annotations", json!(pod.annotations())),
        (".spec.containers[0].resources", json!(resources)),
    ] {
        stage.typed(&command(path), &value.to_string(), std::future::ready(Ok(()))).await?;
    }
    runs(stage, POD).await?;
    get_pods(stage).await?;
    get_peer_pods(stage).await?;
    cloud(stage);
    for machine in stage.cloud.instances() {
        let tags = machine.tags.pairs().into_iter().map(|(key, value)| format!("\n  {key}={value}"));
        stage.say(&format!("Machine {} carries the tags{}", machine.name, tags.collect::<String>()));
    }
    Ok(())
}

async fn runs(stage: &Stage, pod: &str) -> anyhow::Result<()> {
    let pods = pods(stage);
    stage
        .wait(&format!("pod {pod} runs"), async || {
            Ok(phase(&pods.get(pod).await.with_context(|| format!("no pod {pod}"))?) == "Running")
        })
        .await
}

/// Identities and restarts of the adaptor's pods.
async fn adaptors(stage: &Stage) -> anyhow::Result<Vec<(Option<String>, i32)>> {
    let api: Api<Pod> = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
    let found = api.list(&ListParams::default().labels(&format!("name={ADAPTOR}"))).await;
    let restarts = |pod: &Pod| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.map(|status| status.restart_count).sum()
    };
    let mut all: Vec<(Option<String>, i32)> = found
        .context("cannot list the adaptor's pods")?
        .iter()
        .map(|pod| (pod.uid(), restarts(pod)))
        .collect();
    all.sort();
    Ok(all)
}

/// One pod VM a node, and more pods than that; then more.
async fn limit(stage: &Stage) -> anyhow::Result<()> {
    stage.scene("A limit holds at once");
    let before = adaptors(stage).await?;
    set_limit(stage, 1).await?;
    rooms(stage).await?;
    ensure!(before == adaptors(stage).await?, "an adaptor was restarted for a limit");
    stage.say("No adaptor was restarted for it.");

    stage.scene("More pods than room");
    apply(stage, "pods/deployment.yaml", &format!("deployment.apps/{DEPLOYMENT}")).await?;
    // One more than there is room for, with the pod that is there.
    let replicas = workers(stage).await?.len().max(2);
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), POD_NAMESPACE);
    let scaling = merge(&deployments, DEPLOYMENT, json!({"spec": {"replicas": replicas}}));
    let command = format!("oc scale deployment {DEPLOYMENT} --replicas={replicas}");
    stage.typed(&command, &format!("deployment.apps/{DEPLOYMENT} scaled"), scaling).await?;
    let (wanted, room) = (replicas + 1, workers(stage).await?.len());
    let running = |all: &[Pod]| all.iter().filter(|pod| phase(pod) == "Running").count();
    let mut left = Vec::new();
    stage
        .wait("the last pod is told why it waits", async || {
            let all = pods(stage).list(&ListParams::default()).await.context("cannot list pods")?.items;
            left = all.iter().filter_map(|pod| Some((pod.name_any(), unscheduled(pod)?))).collect();
            Ok(running(&all) == room && left.len() == wanted - room)
        })
        .await?;
    get_pods(stage).await?;
    for (name, why) in &left {
        let path = r#"{.status.conditions[?(@.type=="PodScheduled")].message}"#;
        let command = format!("oc get pod {name} -o jsonpath='{path}'");
        stage.typed(&command, why, std::future::ready(Ok(()))).await?;
    }
    set_limit(stage, 5).await?;
    stage
        .wait("all pods run", async || {
            let all = pods(stage).list(&ListParams::default()).await.context("cannot list pods")?.items;
            Ok(running(&all) == wanted)
        })
        .await?;
    get_pods(stage).await?;
    cloud(stage);
    Ok(())
}

/// Why no node has room for it.
fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    condition.message.clone()
}

async fn merge<K>(api: &Api<K>, name: &str, patch: Value) -> anyhow::Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let merged = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    merged.map(drop).with_context(|| format!("cannot patch {name}"))
}

async fn set_limit(stage: &Stage, limit: u32) -> anyhow::Result<()> {
    let api: Api<PeerPodConfig> = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
    let patch = json!({"spec": {"limit": limit.to_string()}});
    let command = format!(
        "oc patch peerpodconfig {PEER_POD_CONFIG} -n {OPERATOR_NAMESPACE} --type merge --patch '{patch}'"
    );
    let output = format!("peerpodconfig.confidentialcontainers.org/{PEER_POD_CONFIG} patched");
    stage.typed(&command, &output, merge(&api, PEER_POD_CONFIG, patch.clone())).await?;
    stage
        .wait("all nodes have the new room", async || {
            Ok(workers(stage).await?.iter().all(|node| room(node) == limit.to_string()))
        })
        .await
}

/// The adaptor of a node loses sight of a machine, and its pod goes.
async fn forgotten(stage: &Stage) -> anyhow::Result<()> {
    stage.scene("An adaptor forgets a virtual machine");
    let pods = pods(stage);
    let pod = pods.get(POD).await.with_context(|| format!("no pod {POD}"))?;
    let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
    merge(&pods, POD, json!({"metadata": {"annotations": {ADAPTOR_FORGETS: "true"}}})).await?;
    let of_pod = || stage.cloud.instances().into_iter().find(|machine| machine.tags.pod == POD);
    let Some(machine) = of_pod() else { bail!("pod {POD} has no virtual machine") };
    stage.say(&format!("The adaptor on {node} has forgotten {}, and nobody knows yet.", machine.name));
    delete(stage, &pods, "pod", "pod", POD).await?;
    let deleted = machine.id.clone();
    stage.wait("the operator has deleted the machine", async || Ok(of_pod().is_none())).await?;
    stage.say(&format!("The operator has found machine {deleted} by its PeerPod, and deleted it."));
    let peer_pods: Api<PeerPod> = Api::namespaced(stage.client.clone(), POD_NAMESPACE);
    stage
        .wait("its PeerPod is gone", async || {
            let all = peer_pods.list(&ListParams::default()).await.context("cannot list PeerPods")?;
            Ok(!all.iter().any(|one| one.spec.instance_id == deleted))
        })
        .await?;
    get_peer_pods(stage).await?;
    cloud(stage);
    Ok(())
}

/// `oc delete`, which waits until the object is gone; and how the answer names its kind.
async fn delete<K>(stage: &Stage, api: &Api<K>, kind: &str, told: &str, name: &str) -> anyhow::Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let deletion = async {
        let deleted = api.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("cannot delete {kind} {name}"))?;
        let gone = async || {
            let found = api.get_opt(name).await;
            Ok(found.with_context(|| format!("cannot read {kind} {name}"))?.is_none())
        };
        stage.wait(&format!("{kind} {name} is gone"), gone).await
    };
    stage.typed(&format!("oc delete {kind} {name}"), &format!("{told} \"{name}\" deleted"), deletion).await
}

async fn removal(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.scene("Remove peer pods and Kata");
    delete_kata_config(stage, name).await?;
    let blocked = |snapshot: &Snapshot| has_reason(snapshot, "InProgress", "BlockedByExistingKataPods");
    let snapshot = stage.until("removal is blocked", blocked).await?;
    stage.say(&told_in(&snapshot, "Ready"));
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), POD_NAMESPACE);
    delete(stage, &deployments, "deployment", "deployment.apps", DEPLOYMENT).await?;
    uninstalled(stage).await?;
    cloud(stage);
    stage.say("Config map and secret are people's own: the operator does not delete them.");
    own_object::<ConfigMap>(stage, "configmap", SETTINGS).await?;
    own_object::<Secret>(stage, "secret", CREDENTIALS).await
}

async fn own_object<K>(stage: &Stage, kind: &str, name: &str) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
    let deletion = async {
        api.delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("cannot delete {kind} {name}"))
    };
    let command = format!("oc delete {kind} {name} -n {OPERATOR_NAMESPACE}");
    stage.typed(&command, &format!("{kind} \"{name}\" deleted"), deletion).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_stays_open() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in ["aws/peer-pods-secret.yaml", "aws/peer-pods-cm.yaml", "pods/deployment.yaml"] {
            let object = filled(&read_manifest(&root.join(EXAMPLES).join(file)).unwrap());
            assert!(!object.to_string().contains('<'), "{file}: {object}");
        }
    }
}
