//! What people do with a KataConfig, from beginning to end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use osc_api::openshift::{ContainerRuntimeConfig, MachineConfig, MachineConfigPool};
use osc_api::{KataConfig, names};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::{Story, story};
use crate::bed::{self, Bed, NAME, eventually, is, message, reason, workers};

pub fn stories() -> Vec<Story> {
    let compact = Topology { kind: Kind::Compact, workers: 0, ..Topology::default() };
    let single = Topology { kind: Kind::SingleNode, control_plane: 1, workers: 0, ..Topology::default() };
    vec![
        story!(the_objects_of_an_installation_are_there_and_go_with_it, workers(2)),
        story!(a_selection_moves_nodes_and_only_those, workers(3)),
        story!(a_compact_cluster_uses_the_pool_of_the_control_plane, compact),
        story!(a_single_node_cluster_uses_the_pool_of_the_control_plane, single),
        story!(a_running_pod_blocks_removal_and_a_finished_one_does_not, workers(1)),
        story!(an_edited_overhead_survives, workers(1)),
        story!(a_stuck_installation_can_be_deleted, workers(3)),
        story!(an_operator_that_is_restarted_in_the_middle_goes_on, workers(2)),
    ]
}

async fn the_objects_of_an_installation_are_there_and_go_with_it(bed: &mut Bed) {
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.installed(NAME).await;
    assert!(bed.names_of::<MachineConfig>().await.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
    assert!(bed.names_of::<MachineConfigPool>().await.contains(&names::KATA_POOL.to_owned()));
    assert_eq!(bed.names_of::<ContainerRuntimeConfig>().await, [names::CONTAINER_RUNTIME_CONFIG]);
    let class: RuntimeClass = Api::all(bed.client.clone()).get("kata").await.unwrap();
    assert_eq!(class.handler, "kata");
    // A first installation with a log level reboots each node once, not twice.
    bed.assert_reboots(&[("worker-0", 1), ("worker-1", 1)]).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let monitors = || async { pods.list(&ListParams::default()).await.unwrap().items.len() == 2 };
    assert!(eventually(monitors).await, "kata-monitor runs on both nodes");

    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(!bed.names_of::<MachineConfig>().await.contains(&names::EXTENSION_MACHINE_CONFIG.to_owned()));
    assert_eq!(bed.names_of::<MachineConfigPool>().await, ["master", "worker"]);
    assert!(bed.names_of::<ContainerRuntimeConfig>().await.is_empty());
    assert!(bed.names_of::<RuntimeClass>().await.is_empty());
    assert!(bed.nodes().await.iter().all(|node| !node.labels().contains_key(names::KATA_NODE_ROLE)));
    assert!(eventually(|| async { pods.list(&ListParams::default()).await.unwrap().items.is_empty() }).await);
}

async fn a_selection_moves_nodes_and_only_those(bed: &mut Bed) {
    let hostname = |values: &[&str]| json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": values}]});
    bed.create(NAME, json!({"kataConfigPoolSelector": hostname(&["worker-0", "worker-1"])})).await;
    bed.installed(NAME).await;
    bed.assert_reboots(&[("worker-0", 1), ("worker-1", 1)]).await;
    let swapped = json!({"spec": {"kataConfigPoolSelector": hostname(&["worker-1", "worker-2"])}});
    bed.patch::<KataConfig>(NAME, swapped).await;
    bed.until(NAME, "swapped", |status| {
        is(status, "Ready", "True") && status.kata_nodes.installed == ["worker-1", "worker-2"]
    })
    .await;
    bed.assert_reboots(&[("worker-0", 2), ("worker-1", 1), ("worker-2", 1)]).await;
}

async fn a_compact_cluster_uses_the_pool_of_the_control_plane(bed: &mut Bed) {
    uses_the_pool_of_the_control_plane(bed, &[("master-0", 2), ("master-1", 2), ("master-2", 2)]).await;
}

async fn a_single_node_cluster_uses_the_pool_of_the_control_plane(bed: &mut Bed) {
    uses_the_pool_of_the_control_plane(bed, &[("master-0", 2)]).await;
}

/// `nodes` with how often each has rebooted when Kata was installed and removed.
async fn uses_the_pool_of_the_control_plane(bed: &Bed, nodes: &[(&str, u32)]) {
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.installed(NAME).await;
    let status = bed.status(NAME).await.kata_nodes;
    let count = i64::try_from(nodes.len()).unwrap();
    assert_eq!((status.node_count, status.ready_node_count), (count, count));
    assert_eq!(bed.names_of::<MachineConfigPool>().await, ["master", "worker"]);
    let class: RuntimeClass = Api::all(bed.client.clone()).get("kata").await.unwrap();
    let selector = class.scheduling.unwrap().node_selector.unwrap();
    assert_eq!(selector, [(names::MASTER_NODE_ROLE.to_owned(), String::new())].into());
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.assert_reboots(nodes).await;
}

async fn a_running_pod_blocks_removal_and_a_finished_one_does_not(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    for (name, script) in [("runs", "run"), ("ends", "succeed")] {
        let pod = json!({
            "metadata": {"name": name, "annotations": {annotations::SCRIPT: script}},
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
        reason(status, "InProgress") == ("False", "BlockedByExistingKataPods")
    })
    .await;
    let status = bed.status(NAME).await;
    assert_eq!(
        message(&status, "InProgress"),
        "Existing pods using \"kata\" RuntimeClass found. Please delete the pods manually for KataConfig deletion to proceed"
    );
    assert_eq!(
        message(&status, "Ready"),
        "pods that use Kata: default/runs; removal goes on when they are gone"
    );
    // Nothing is touched while it is blocked.
    bed.assert_reboots(&[("worker-0", 1)]).await;
    pods.delete("runs", &DeleteParams::default()).await.unwrap();
    bed.gone(NAME).await;
}

async fn an_edited_overhead_survives(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    // The documentation's way: apply a RuntimeClass that carries the overhead.
    let wanted = json!({
        "kind": "RuntimeClass", "apiVersion": "node.k8s.io/v1", "metadata": {"name": "kata"}, "handler": "kata",
        "overhead": {"podFixed": {"memory": "500Mi", "cpu": "500m"}}
    });
    let classes: Api<RuntimeClass> = Api::all(bed.client.clone());
    classes.patch("kata", &PatchParams::apply("admin").force(), &Patch::Apply(wanted)).await.unwrap();
    bed.patch::<KataConfig>(NAME, json!({"spec": {"logLevel": "debug"}})).await;
    bed.updated(NAME).await;
    let overhead = classes.get("kata").await.unwrap().overhead.unwrap().pod_fixed.unwrap();
    assert_eq!(overhead["memory"].0, "500Mi");
}

async fn a_stuck_installation_can_be_deleted(bed: &mut Bed) {
    let fault = |what: Value| json!({"metadata": {"annotations": {annotations::DEGRADE_ROLLOUT: what}}});
    bed.patch::<Node>("worker-0", fault(json!("disk full"))).await;
    let only = json!({"matchLabels": {"kubernetes.io/hostname": "worker-0"}});
    bed.create(NAME, json!({"kataConfigPoolSelector": only})).await;
    bed.until(NAME, "failed", |status| message(status, "InProgress") == "Node worker-0 Degraded: disk full")
        .await;
    bed.patch::<KataConfig>(NAME, json!({"spec": {"kataConfigPoolSelector": null}})).await;
    bed.until(NAME, "two wait", |status| status.kata_nodes.waiting_to_install == ["worker-1", "worker-2"])
        .await;
    bed.delete(NAME).await;
    bed.patch::<Node>("worker-0", fault(json!(null))).await;
    bed.gone(NAME).await;
    let touched = bed.reboots().await;
    assert!(
        touched.iter().all(|(node, _)| node == "worker-0"),
        "nodes that waited never reboot: {touched:?}"
    );
}

async fn an_operator_that_is_restarted_in_the_middle_goes_on(bed: &mut Bed) {
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.until(NAME, "begun", |status| !status.kata_nodes.installing.is_empty()).await;
    bed.stop_operator().await;
    // Nodes go on meanwhile.
    bed.sleep(Duration::from_mins(15)).await;
    bed.run_operator(bed::options()).await;
    bed.installed(NAME).await;
    bed.assert_reboots(&[("worker-0", 1), ("worker-1", 1)]).await;

    bed.delete(NAME).await;
    bed.until(NAME, "begun to be removed", |status| !status.kata_nodes.uninstalling.is_empty()).await;
    bed.stop_operator().await;
    bed.run_operator(bed::options()).await;
    bed.gone(NAME).await;
    bed.assert_reboots(&[("worker-0", 2), ("worker-1", 2)]).await;
    assert!(bed.names_of::<RuntimeClass>().await.is_empty());
}
