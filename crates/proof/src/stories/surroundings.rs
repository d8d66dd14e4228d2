//! Bad surroundings: what the person is told, and that the work is done when they are mended.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use osc_api::openshift::MachineConfigPool;
use osc_api::{KataConfigStatus, names};
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::json;

use super::Beginning::Bare;
use super::agents::config_map;
use super::{Story, story};
use crate::bed::{self, Bed, NAME, On, eventually, message, reason, workers};

pub fn stories() -> Vec<Story> {
    let plain = Topology { kind: Kind::PlainKubernetes, ..workers(1) };
    vec![
        story!(without_the_machine_config_operator_the_person_is_told, plain),
        story!(a_node_without_machine_config_annotations_is_named, workers(2)),
        story!(a_pool_deleted_by_hand_during_installation_is_made_again, workers(2)),
        story!(a_missing_definition_is_waited_for, workers(1)).from(Bare),
        // One that has just started refuses until it has read the roles.
        story!(an_api_server_that_is_gone_for_a_while_is_waited_for, workers(2)).takes_rights(),
        story!(a_paused_pool_and_a_cordoned_node_are_told_with_the_remedy, workers(2)),
        story!(a_node_of_another_custom_pool_is_refused_with_both_names, workers(2)),
        story!(a_node_that_is_not_drained_is_told_with_the_place_to_look, workers(1)),
        story!(a_disruption_budget_that_holds_a_node_is_told, workers(1))
            .only(On::Embedded, "the real server is older than policy/v1"),
    ]
}

async fn without_the_machine_config_operator_the_person_is_told(bed: &mut Bed) {
    config_map(bed, names::FEATURE_GATES, json!({"deploymentMode": "MachineConfig"})).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "InProgress") == ("False", "MachineConfigOperatorAbsent")
            && message(status, "InProgress")
                .starts_with("deployment mode is set to MachineConfig, but it's not available: ")
            && message(status, "InProgress").contains("--from-literal=deploymentMode=DaemonSetFallback")
    })
    .await;
    // What it says mends it.
    config_map(bed, names::FEATURE_GATES, json!({"deploymentMode": "DaemonSetFallback"})).await;
    bed.installed(NAME).await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
}

async fn a_node_without_machine_config_annotations_is_named(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    // Nobody puts them back.
    bed.stop_simulation().await;
    let stripped =
        json!({"metadata": {"annotations": {names::MCO_STATE: null, names::MCO_CURRENT_CONFIG: null}}});
    bed.patch::<Node>("worker-1", stripped).await;
    bed.until(NAME, "named", |status| {
        reason(status, "Degraded") == ("True", "NodeUnmanaged")
            && message(status, "Degraded")
                .starts_with("the Machine Config Operator does not manage worker-1: ")
    })
    .await;
}

async fn a_pool_deleted_by_hand_during_installation_is_made_again(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "begun", |status| !status.kata_nodes.installing.is_empty()).await;
    let pools: Api<MachineConfigPool> = Api::all(bed.client.clone());
    pools.delete(names::KATA_POOL, &DeleteParams::default()).await.unwrap();
    let again = || async { pools.get_opt(names::KATA_POOL).await.unwrap().is_some() };
    assert!(eventually(again).await);
    bed.installed(NAME).await;
    assert_eq!(bed.status(NAME).await.kata_nodes.ready_node_count, 2);
}

async fn a_missing_definition_is_waited_for(bed: &mut Bed) {
    bed.install_without(&["CustomResourceDefinition"]).await;
    bed.run_operator(bed::options()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    bed.install().await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
}

async fn an_api_server_that_is_gone_for_a_while_is_waited_for(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "begun", |status| !status.kata_nodes.installing.is_empty()).await;
    bed.server.outage(Duration::from_secs(2)).await;
    bed.installed(NAME).await;
    bed.assert_reboots(&[("worker-0", 1), ("worker-1", 1)]).await;
}

async fn a_paused_pool_and_a_cordoned_node_are_told_with_the_remedy(bed: &mut Bed) {
    bed.patch::<Node>("worker-0", json!({"spec": {"unschedulable": true}})).await;
    bed.create(NAME, json!({})).await;
    let degraded = |expected: &'static str, part: &'static str| {
        move |status: &KataConfigStatus| {
            reason(status, "Degraded") == ("True", expected) && message(status, "Degraded").contains(part)
        }
    };
    bed.until(NAME, "the cordoned node is told", degraded("NodeCordoned", "oc adm uncordon worker-0")).await;
    bed.patch::<MachineConfigPool>(names::KATA_POOL, json!({"spec": {"paused": true}})).await;
    let remedy = "oc patch mcp kata-oc --type merge -p '{\"spec\":{\"paused\":false}}'";
    bed.until(NAME, "the paused pool is told", degraded("PoolPaused", remedy)).await;
    bed.patch::<MachineConfigPool>(names::KATA_POOL, json!({"spec": {"paused": false}})).await;
    bed.patch::<Node>("worker-0", json!({"spec": {"unschedulable": null}})).await;
    bed.installed(NAME).await;
}

async fn a_node_of_another_custom_pool_is_refused_with_both_names(bed: &mut Bed) {
    let infra = json!({
        "metadata": {"name": "infra"},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [
                {"key": names::MACHINE_CONFIG_ROLE, "operator": "In", "values": ["worker", "infra"]}]},
            "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/infra": ""}}
        }
    });
    let pools: Api<MachineConfigPool> = Api::all(bed.client.clone());
    pools.create(&PostParams::default(), &serde_json::from_value(infra).unwrap()).await.unwrap();
    bed.patch::<Node>("worker-1", json!({"metadata": {"labels": {"node-role.kubernetes.io/infra": ""}}}))
        .await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "Degraded") == ("True", "NodeInTwoPools")
            && message(status, "Degraded")
                .contains("node worker-1 is selected for kata-oc and belongs to the custom pool infra")
    })
    .await;
    bed.until(NAME, "the other node has kata", |status| status.kata_nodes.installed == ["worker-0"]).await;
    let nodes = bed.nodes().await;
    let refused = nodes.iter().find(|node| node.name_any() == "worker-1").unwrap();
    assert!(!refused.labels().contains_key(names::KATA_NODE_ROLE));
}

/// What is said about a node that is drained for too long.
fn told_of_the_drain(status: &KataConfigStatus) -> bool {
    reason(status, "Degraded") == ("True", "NodeNotDraining")
        && message(status, "Degraded")
            .starts_with("draining for more than 15 minutes: worker-0; a PodDisruptionBudget")
}

async fn a_node_that_is_not_drained_is_told_with_the_place_to_look(bed: &mut Bed) {
    let refuses =
        |why: serde_json::Value| json!({"metadata": {"annotations": {annotations::REFUSE_DRAIN: why}}});
    bed.patch::<Node>("worker-0", refuses(json!("a pod does not end"))).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", told_of_the_drain).await;
    bed.patch::<Node>("worker-0", refuses(json!(null))).await;
    bed.installed(NAME).await;
}

async fn a_disruption_budget_that_holds_a_node_is_told(bed: &mut Bed) {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    let pod = json!({
        "metadata": {"name": "stays", "labels": {"app": "stays"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(bed.client.clone(), "default");
    let budget = json!({"metadata": {"name": "stays"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "stays"}}}});
    budgets.create(&PostParams::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
    let runs = || async {
        let phase = pods.get_status("stays").await.unwrap().status.unwrap().phase;
        phase.as_deref() == Some("Running")
    };
    assert!(eventually(runs).await);
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", told_of_the_drain).await;
    budgets.delete("stays", &DeleteParams::default()).await.unwrap();
    bed.installed(NAME).await;
}
