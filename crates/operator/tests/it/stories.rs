//! What people do with a KataConfig, from beginning to end.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use osc_api::names;
use osc_api::openshift::{ContainerRuntimeConfig, MachineConfig, MachineConfigPool};
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::json;

use crate::bed::{Bed, eventually, is, reason, workers};

const NAME: &str = "example-kataconfig";

fn reboots(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(node, count)| ((*node).to_owned(), (*count).to_owned())).collect()
}

async fn names_of<K>(bed: &Bed) -> Vec<String>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let list = Api::<K>::all(bed.client.clone()).list(&ListParams::default()).await.unwrap();
    list.items.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn the_objects_of_an_installation_are_there_and_go_with_it() {
    let bed = Bed::start(workers(2)).await;
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.installed(NAME).await;
    assert!(names_of::<MachineConfig>(&bed).await.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
    assert!(names_of::<MachineConfigPool>(&bed).await.contains(&names::KATA_POOL.to_owned()));
    assert_eq!(names_of::<ContainerRuntimeConfig>(&bed).await, [names::CONTAINER_RUNTIME_CONFIG]);
    let class: RuntimeClass = Api::all(bed.client.clone()).get("kata").await.unwrap();
    assert_eq!(class.handler, "kata");
    // A first installation with a log level reboots each node once, not twice.
    assert_eq!(bed.reboots().await, reboots(&[("worker-0", "1"), ("worker-1", "1")]));
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let monitors = || async { pods.list(&ListParams::default()).await.unwrap().items.len() == 2 };
    assert!(eventually(monitors).await, "kata-monitor runs on both nodes");

    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(!names_of::<MachineConfig>(&bed).await.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
    assert_eq!(names_of::<MachineConfigPool>(&bed).await, ["master", "worker"]);
    assert!(names_of::<ContainerRuntimeConfig>(&bed).await.is_empty());
    assert!(names_of::<RuntimeClass>(&bed).await.is_empty());
    assert!(bed.nodes().await.iter().all(|node| !node.labels().contains_key(names::KATA_NODE_ROLE)));
    assert!(eventually(|| async { pods.list(&ListParams::default()).await.unwrap().items.is_empty() }).await);
    bed.stop().await;
}

#[tokio::test]
async fn a_selection_moves_nodes_and_only_those() {
    let bed = Bed::start(workers(3)).await;
    let hostname = |values: &[&str]| json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": values}]});
    bed.create(NAME, json!({"kataConfigPoolSelector": hostname(&["worker-0", "worker-1"])})).await;
    bed.installed(NAME).await;
    assert_eq!(bed.reboots().await, reboots(&[("worker-0", "1"), ("worker-1", "1")]));
    let swapped = json!({"spec": {"kataConfigPoolSelector": hostname(&["worker-1", "worker-2"])}});
    bed.patch::<osc_api::KataConfig>(NAME, swapped).await;
    bed.until(NAME, "swapped", |status| {
        status.is_some_and(|status| {
            is(status, "Ready", "True") && status.kata_nodes.installed == ["worker-1", "worker-2"]
        })
    })
    .await;
    assert_eq!(bed.reboots().await, reboots(&[("worker-0", "2"), ("worker-1", "1"), ("worker-2", "1")]));
    bed.stop().await;
}

#[tokio::test]
async fn compact_and_single_node_clusters_use_the_pool_of_the_control_plane() {
    let compact = Topology { kind: Kind::Compact, workers: 0, ..Topology::default() };
    let single = Topology { kind: Kind::SingleNode, control_plane: 1, workers: 0, ..Topology::default() };
    for (topology, nodes) in [(compact, 3), (single, 1)] {
        let bed = Bed::start(topology).await;
        bed.create(NAME, json!({"logLevel": "debug"})).await;
        bed.installed(NAME).await;
        let status = bed.status(NAME).await.unwrap();
        assert_eq!((status.kata_nodes.node_count, status.kata_nodes.ready_node_count), (nodes, nodes));
        assert_eq!(names_of::<MachineConfigPool>(&bed).await, ["master", "worker"]);
        let class: RuntimeClass = Api::all(bed.client.clone()).get("kata").await.unwrap();
        let selector = class.scheduling.unwrap().node_selector.unwrap();
        assert_eq!(selector, [(names::MASTER_NODE_ROLE.to_owned(), String::new())].into());
        bed.delete(NAME).await;
        bed.gone(NAME).await;
        let all = bed.reboots().await;
        assert!(
            all.len() == usize::try_from(nodes).unwrap() && all.iter().all(|(_, count)| count == "2"),
            "{all:?}"
        );
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_running_pod_blocks_removal_and_a_finished_one_does_not() {
    let bed = Bed::start(workers(1)).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    for (name, script) in [("runs", "run"), ("ends", "succeed")] {
        let pod = json!({
            "metadata": {"name": name, "annotations": {osc_devcluster::sim::annotations::SCRIPT: script}},
            "spec": {"runtimeClassName": "kata", "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    let phase = |name: &'static str, wanted: &'static str| {
        let pods = pods.clone();
        async move { pods.get_status(name).await.unwrap().status.unwrap().phase.as_deref() == Some(wanted) }
    };
    assert!(eventually(|| phase("runs", "Running")).await && eventually(|| phase("ends", "Succeeded")).await);
    bed.delete(NAME).await;
    bed.until(NAME, "blocked", |status| {
        status.is_some_and(|status| reason(status, "InProgress") == ("False", "BlockedByExistingKataPods"))
    })
    .await;
    let status = bed.status(NAME).await.unwrap();
    assert_eq!(
        crate::bed::message(&status, "InProgress"),
        "Existing pods using \"kata\" RuntimeClass found. Please delete the pods manually for KataConfig deletion to proceed"
    );
    assert_eq!(
        crate::bed::message(&status, "Ready"),
        "pods that use Kata: default/runs; removal goes on when they are gone"
    );
    assert!(bed.reboots().await == reboots(&[("worker-0", "1")]), "nothing was touched while blocked");
    pods.delete("runs", &DeleteParams::default()).await.unwrap();
    bed.gone(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn an_edited_overhead_survives() {
    let bed = Bed::start(workers(1)).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    // The documentation's way: apply a RuntimeClass that carries the overhead.
    let wanted = json!({
        "kind": "RuntimeClass", "apiVersion": "node.k8s.io/v1", "metadata": {"name": "kata"}, "handler": "kata",
        "overhead": {"podFixed": {"memory": "500Mi", "cpu": "500m"}}
    });
    let classes: Api<RuntimeClass> = Api::all(bed.client.clone());
    classes.patch("kata", &PatchParams::apply("admin").force(), &Patch::Apply(wanted)).await.unwrap();
    bed.patch::<osc_api::KataConfig>(NAME, json!({"spec": {"logLevel": "debug"}})).await;
    bed.until(NAME, "updating", |status| {
        status.is_some_and(|status| reason(status, "InProgress").1 == "Updating")
    })
    .await;
    bed.installed(NAME).await;
    let overhead = classes.get("kata").await.unwrap().overhead.unwrap().pod_fixed.unwrap();
    assert_eq!(overhead["memory"].0, "500Mi");
    bed.stop().await;
}

#[tokio::test]
async fn a_stuck_installation_can_be_deleted() {
    let bed = Bed::start(workers(3)).await;
    let fault = json!({"metadata": {"annotations": {osc_devcluster::sim::annotations::DEGRADE_ROLLOUT: "disk full"}}});
    bed.patch::<k8s_openapi::api::core::v1::Node>("worker-0", fault).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "failed", |status| {
        status.is_some_and(|status| {
            crate::bed::message(status, "InProgress") == "Node worker-0 Degraded: disk full"
        })
    })
    .await;
    let repaired =
        json!({"metadata": {"annotations": {osc_devcluster::sim::annotations::DEGRADE_ROLLOUT: null}}});
    bed.delete(NAME).await;
    bed.patch::<k8s_openapi::api::core::v1::Node>("worker-0", repaired).await;
    bed.gone(NAME).await;
    let touched = bed.reboots().await;
    assert!(
        touched.iter().all(|(node, _)| node == "worker-0"),
        "nodes that waited never reboot: {touched:?}"
    );
    bed.stop().await;
}

#[tokio::test]
async fn the_dashboard_is_copied_kept_up_to_date_and_removed() {
    let bed = Bed::start(workers(1)).await;
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let maps =
        |namespace: &str| Api::<DynamicObject>::namespaced_with(bed.client.clone(), namespace, &resource);
    let source = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::DASHBOARD_CONFIG_MAP}, "data": {"d.json": "{}"}
    });
    let params = PatchParams::apply("admin").force();
    maps(names::OPERATOR_NAMESPACE)
        .patch(names::DASHBOARD_CONFIG_MAP, &params, &Patch::Apply(&source))
        .await
        .unwrap();
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let copy = maps(names::DASHBOARD_NAMESPACE).get(names::DASHBOARD_CONFIG_MAP).await.unwrap();
    assert_eq!(
        (copy.labels()[names::DASHBOARD_LABEL].as_str(), &copy.data["data"]),
        ("true", &json!({"d.json": "{}"}))
    );
    let mut changed = source.clone();
    changed["data"] = json!({"d.json": "{\"v\": 2}"});
    maps(names::OPERATOR_NAMESPACE)
        .patch(names::DASHBOARD_CONFIG_MAP, &params, &Patch::Apply(&changed))
        .await
        .unwrap();
    let updated = || async {
        maps(names::DASHBOARD_NAMESPACE).get(names::DASHBOARD_CONFIG_MAP).await.unwrap().data["data"]
            == changed["data"]
    };
    assert!(eventually(updated).await, "the copy follows its source");
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(maps(names::DASHBOARD_NAMESPACE).get_opt(names::DASHBOARD_CONFIG_MAP).await.unwrap().is_none());
    bed.stop().await;
}
