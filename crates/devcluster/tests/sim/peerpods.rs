//! Peer pods: capacity, machines, and what is left when something goes wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use osc_api::peerpods::PeerPod;
use osc_devcluster::sim::adaptor::{Adaptor, FINALIZER, MachineRequest, Machines, OWNER, RESOURCE};
use osc_devcluster::sim::annotations::{ADAPTOR_DIES, ADAPTOR_FORGETS, MACHINE_FAILS, RESTART};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A cloud that only counts.
#[derive(Default)]
struct Cloud {
    machines: Mutex<BTreeMap<String, MachineRequest>>,
    made: AtomicU32,
}

impl Machines for Cloud {
    fn create(&self, request: MachineRequest) -> BoxFuture<'_, Result<String, String>> {
        async move {
            let id = format!("i-{}", self.made.fetch_add(1, Ordering::SeqCst));
            self.machines.lock().unwrap().insert(id.clone(), request);
            Ok(id)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move { self.machines.lock().unwrap().remove(id).map(|_| ()).ok_or("no such machine".to_owned()) }.boxed()
    }
}

impl Cloud {
    fn ids(&self) -> Vec<String> {
        self.machines.lock().unwrap().keys().cloned().collect()
    }
}

struct Setting {
    cluster: Cluster,
    cloud: Arc<Cloud>,
}

/// Three workers, a runtime class, and the adaptor on those with the label `kata: yes`.
async fn setting(settings: Value, env: Value) -> Setting {
    let cloud = Arc::new(Cloud::default());
    let cluster = Cluster::with_programs(vec![Arc::new(Adaptor::new(cloud.clone()))]).await;
    let definitions = osc_api::peerpods::crds();
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata-remote"},
        "handler": "kata-remote", "scheduling": {"nodeSelector": {"kata": "yes"}}});
    cluster.server.load(definitions.iter().map(|definition| json!(definition)).collect()).unwrap();
    cluster.create(&cluster.api::<RuntimeClass>(), class).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "peer-pods-cm"}, "data": settings});
    cluster.create(&cluster.demo::<ConfigMap>(), map).await;
    let mut variables =
        vec![json!({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})];
    variables.extend(env.as_array().unwrap().iter().cloned());
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "osc-caa-ds"},
        "spec": {
            "selector": {"matchLabels": {"name": "osc-caa-ds"}},
            "template": {"metadata": {"labels": {"name": "osc-caa-ds"}}, "spec": {
                "nodeSelector": {"kata": "yes"},
                "containers": [{"name": "caa-pod", "image": "example.com/caa:1", "env": variables,
                    "envFrom": [{"configMapRef": {"name": "peer-pods-cm"}}]}]}},
        },
    });
    cluster.create(&cluster.demo::<DaemonSet>(), set).await;
    Setting { cluster, cloud }
}

fn peer_pod(name: &str, vms: u32) -> Value {
    let amount = json!({RESOURCE: vms.to_string()});
    let resources = if vms > 0 { json!({"requests": amount, "limits": amount}) } else { json!({}) };
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"runtimeClassName": "kata-remote", "containers": [
            {"name": "main", "image": "example.com/x:1", "resources": resources}]}})
}

fn amounts(node: &Node) -> (Option<String>, Option<String>) {
    let status = node.status.clone().unwrap_or_default();
    let get = |list: Option<BTreeMap<_, _>>| list.unwrap_or_default().remove(RESOURCE);
    let text =
        |quantity: Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity>| quantity.map(|q| q.0);
    (text(get(status.capacity)), text(get(status.allocatable)))
}

fn both(amount: &str) -> (Option<String>, Option<String>) {
    (Some(amount.to_owned()), Some(amount.to_owned()))
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn waiting(pod: &Pod) -> String {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut waiting = statuses.filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.message.clone());
    waiting.next().unwrap_or_default()
}

impl Setting {
    async fn until_capacity(&self, node: &str, amount: (Option<String>, Option<String>)) {
        let what = format!("{node} has {amount:?}");
        self.cluster.until(&what, || async { amounts(&self.cluster.node(node).await) == amount }).await;
    }

    async fn until_pod(&self, name: &str, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let pods = self.cluster.demo::<Pod>();
        self.cluster.until(what, || async { pods.get(name).await.is_ok_and(|pod| holds(&pod)) }).await;
        pods.get(name).await.unwrap()
    }

    async fn create(&self, name: &str, vms: u32) {
        self.cluster.create(&self.cluster.demo::<Pod>(), peer_pod(name, vms)).await;
    }

    async fn delete(&self, name: &str) {
        let pods = self.cluster.demo::<Pod>();
        pods.delete(name, &DeleteParams::default()).await.unwrap();
        self.cluster.until("the pod is gone", || async { pods.get_opt(name).await.unwrap().is_none() }).await;
    }

    async fn peer_pods(&self) -> Vec<PeerPod> {
        self.cluster.demo::<PeerPod>().list(&ListParams::default()).await.unwrap().items
    }

    /// Takes the adaptor away from a node.
    async fn without_adaptor(&self, node: &str) {
        self.cluster.label(node, "kata", None).await;
        let pods = self.cluster.demo::<Pod>();
        let list = ListParams::default().labels("name=osc-caa-ds").fields(&format!("spec.nodeName={node}"));
        self.cluster.until("it is gone", || async { pods.list(&list).await.unwrap().items.is_empty() }).await;
    }
}

fn aws(limit: &str) -> Value {
    json!({"CLOUD_PROVIDER": "aws", "PEERPODS_LIMIT_PER_NODE": limit})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_a_machine_for_as_long_as_it_lives() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    setting.create("web", 1).await;
    let unscheduled = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .filter_map(|c| c.message.clone())
            .any(|m| m.contains("didn't match Pod's node affinity/selector"))
    };
    setting.until_pod("web", "no node is labelled", unscheduled).await;
    cluster.label("worker-0", "kata", Some("yes")).await;
    let pod = setting.until_pod("web", "it runs", runs).await;
    assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("worker-0"));
    let request = setting.cloud.machines.lock().unwrap()["i-0"].clone();
    assert_eq!(
        (request.node.as_str(), request.namespace.as_str(), request.pod.as_str()),
        ("worker-0", "demo", "web")
    );
    assert!(request.name.starts_with("podvm-web-") && request.name.len() == "podvm-web-".len() + 8);
    assert_eq!(request.env["CLOUD_PROVIDER"], "aws");
    let peer = setting.peer_pods().await.remove(0);
    assert!(peer.name_any().starts_with("web-resource-"), "{}", peer.name_any());
    assert_eq!((peer.spec.cloud_provider.as_str(), peer.spec.instance_id.as_str()), ("aws", "i-0"));
    assert_eq!(peer.finalizers(), [FINALIZER]);
    let owner = &peer.owner_references()[0];
    assert_eq!((owner.kind.as_str(), &owner.uid, owner.controller), ("Pod", &pod.uid().unwrap(), Some(true)));
    assert_eq!(owner.block_owner_deletion, Some(true));
    setting.delete("web").await;
    assert!(setting.cloud.ids().is_empty());
    cluster.until("the PeerPod is gone", || async { setting.peer_pods().await.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_takes_no_more_until_there_is_room() {
    let setting = setting(aws("1"), json!([])).await;
    let cluster = &setting.cluster;
    for node in ["worker-0", "worker-1"] {
        cluster.label(node, "kata", Some("yes")).await;
        setting.until_capacity(node, both("1")).await;
    }
    for name in ["a", "b", "c"] {
        setting.create(name, 1).await;
    }
    let pods = cluster.demo::<Pod>();
    let message = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.filter(|c| c.type_ == "PodScheduled").find_map(|c| c.message.clone()).unwrap_or_default()
    };
    let state = || async {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        let peers: Vec<_> = all.into_iter().filter(|pod| pod.name_any().len() == 1).collect();
        let waits = peers.iter().find(|pod| !runs(pod)).map(|pod| (pod.name_any(), message(pod)));
        (peers.iter().filter(|pod| runs(pod)).count(), waits)
    };
    cluster.until("two run", || async { state().await.0 == 2 }).await;
    let (_, waits) = state().await;
    let (third, why) = waits.unwrap();
    assert_eq!(
        why,
        "0/6 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient \
         kata.peerpods.io/vm, 3 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }. preemption: \
         0/6 nodes are available: 2 No preemption victims found for incoming pod, 4 Preemption is not helpful for \
         scheduling."
    );
    let other = if third == "a" { "b" } else { "a" };
    setting.delete(other).await;
    setting.until_pod(&third, "it has the room", runs).await;
    // More than any node has.
    setting.create("d", 2).await;
    setting
        .until_pod("d", "it is too much", |pod| message(pod).contains("6 Preemption is not helpful"))
        .await;
    // A limit that is raised lets it in.
    for node in ["worker-0", "worker-1"] {
        let patch = Patch::Merge(json!({"status": {"capacity": {RESOURCE: "5"}}}));
        cluster.api::<Node>().patch_status(node, &PatchParams::default(), &patch).await.unwrap();
    }
    setting.until_pod("d", "it runs", runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_goes_with_a_reboot_and_comes_back_with_the_adaptor() {
    let setting = setting(json!({"CLOUD_PROVIDER": "aws"}), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.until_capacity("worker-0", both("10")).await;
    // Nobody says this one anew.
    let other = Patch::Merge(json!({"status": {"capacity": {"example.com/other": "3"}}}));
    cluster.api::<Node>().patch_status("worker-0", &PatchParams::default(), &other).await.unwrap();
    let other = || async {
        let status = cluster.node("worker-0").await.status.unwrap();
        let get = |list: Option<BTreeMap<_, _>>| {
            list.unwrap_or_default().remove("example.com/other").map(|q: Quantity| q.0)
        };
        (get(status.capacity), get(status.allocatable))
    };
    cluster.until("it is allocatable", || async { other().await == both("3") }).await;
    cluster.annotate("worker-0", RESTART, Some("")).await;
    cluster.until("it is reset", || async { other().await == both("0") }).await;
    setting.until_capacity("worker-0", both("10")).await;
    setting.without_adaptor("worker-0").await;
    setting.until_capacity("worker-0", (None, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_leaves_the_capacity_of_its_successor_alone() {
    let uid = json!([{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]);
    let setting = setting(aws("3"), uid).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.until_capacity("worker-0", both("3")).await;
    assert!(cluster.node("worker-0").await.annotations().contains_key(OWNER));
    cluster.annotate("worker-0", OWNER, Some("somebody-else")).await;
    setting.without_adaptor("worker-0").await;
    cluster.pass(Duration::from_mins(5)).await;
    assert_eq!(amounts(&cluster.node("worker-0").await), both("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_below_zero_says_nothing_and_one_that_is_no_number_is_refused() {
    let setting = setting(aws("-1"), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.create("web", 0).await;
    setting.until_pod("web", "it runs", runs).await;
    assert_eq!(amounts(&cluster.node("worker-0").await), (None, None));
    let many = Patch::Merge(json!({"data": {"PEERPODS_LIMIT_PER_NODE": "many"}}));
    cluster.demo::<ConfigMap>().patch("peer-pods-cm", &PatchParams::default(), &many).await.unwrap();
    cluster.label("worker-1", "kata", Some("yes")).await;
    let pods = cluster.demo::<Pod>();
    let list = ListParams::default().labels("name=osc-caa-ds").fields("spec.nodeName=worker-1");
    cluster
        .until("the adaptor complains", || async {
            let pods = pods.list(&list).await.unwrap().items;
            let statuses =
                pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.clone()).flatten();
            let mut ends = statuses.filter_map(|status| status.last_state?.terminated?.message);
            ends.any(|why| why.starts_with("PEERPODS_LIMIT_PER_NODE is \"many\""))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_the_adaptor_and_for_its_machine() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    let mut bound = peer_pod("web", 0);
    bound["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "worker-0"});
    // The node is right, but nobody runs there: the class does not ask for the adaptor's nodes.
    cluster.delete::<RuntimeClass>("kata-remote").await;
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata-remote"},
        "handler": "kata-remote"});
    cluster.create(&cluster.api::<RuntimeClass>(), class).await;
    cluster.create(&cluster.demo::<Pod>(), bound).await;
    let held = |pod: &Pod| waiting(pod).contains("dial unix /run/peerpod/hypervisor.sock");
    setting.until_pod("web", "nobody serves it", held).await;
    cluster.annotate("worker-0", MACHINE_FAILS, Some("no quota")).await;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting
        .until_pod("web", "there is no machine", |pod| {
            waiting(pod).ends_with("creating an instance: no quota")
        })
        .await;
    assert_eq!(setting.cloud.made.load(Ordering::SeqCst), 0);
    cluster.annotate("worker-0", MACHINE_FAILS, None).await;
    setting.until_pod("web", "it runs", runs).await;
    assert_eq!(setting.cloud.made.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_adaptor_a_pod_goes_and_leaves_its_record() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.create("web", 1).await;
    setting.until_pod("web", "it runs", runs).await;
    setting.without_adaptor("worker-0").await;
    setting.delete("web").await;
    cluster
        .until("the record is to go", || async {
            let records = setting.peer_pods().await;
            records.len() == 1 && records[0].metadata.deletion_timestamp.is_some()
        })
        .await;
    assert_eq!(setting.peer_pods().await[0].finalizers(), [FINALIZER]);
    assert_eq!(setting.cloud.ids(), ["i-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adaptor_that_forgets_leaves_machine_and_record() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.create("web", 1).await;
    setting.until_pod("web", "it runs", runs).await;
    cluster.annotate("worker-0", ADAPTOR_FORGETS, Some("")).await;
    setting.delete("web").await;
    cluster.pass(Duration::from_mins(5)).await;
    assert_eq!((setting.cloud.ids(), setting.peer_pods().await.len()), (vec!["i-0".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adaptor_that_dies_in_between_leaves_a_machine_that_nobody_knows() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.until_capacity("worker-0", both("2")).await;
    let mut pod = peer_pod("web", 1);
    pod["metadata"]["annotations"] = json!({ADAPTOR_DIES: ""});
    cluster.create(&cluster.demo::<Pod>(), pod).await;
    setting.until_pod("web", "it runs after all", runs).await;
    assert_eq!(setting.cloud.ids(), ["i-0", "i-1"]);
    let known: Vec<String> =
        setting.peer_pods().await.into_iter().map(|peer| peer.spec.instance_id).collect();
    assert_eq!(known, ["i-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_gives_the_pod_a_second_machine_and_a_second_record() {
    let setting = setting(aws("2"), json!([])).await;
    let cluster = &setting.cluster;
    cluster.label("worker-0", "kata", Some("yes")).await;
    setting.create("web", 1).await;
    setting.until_pod("web", "it runs", runs).await;
    cluster.annotate("worker-0", RESTART, Some("")).await;
    cluster.until("there are two", || async { setting.peer_pods().await.len() == 2 }).await;
    assert_eq!(setting.cloud.ids(), ["i-0", "i-1"]);
    let pod = setting.until_pod("web", "it runs again", |pod| {
        pod.status.as_ref().unwrap().container_statuses.as_ref().is_some_and(|s| s[0].ready)
    });
    let uid = pod.await.uid().unwrap();
    assert!(setting.peer_pods().await.iter().all(|peer| peer.owner_references()[0].uid == uid));
}
