//! Rollouts that do not go well.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use osc_api::names;
use osc_api::openshift::{MachineConfig, MachineConfigPool};
use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use osc_devcluster::sim::annotations::{DEGRADE_ROLLOUT, REBOOT_HANGS, REFUSE_DRAIN};
use osc_devcluster::sim::topology::Topology;
use serde_json::json;

use crate::cluster::{Cluster, annotation, condition, cordoned, custom_pool, extension, reboots};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pool_knows_its_target_and_waits() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.install_kata(json!({"paused": true}), &["worker-0"]).await;
    let shared = &cluster;
    cluster
        .until("the pool says that it is paused", || async {
            let status = shared.pool("kata-oc").await.status.unwrap_or_default();
            status.conditions.iter().any(|c| c.type_ == "Updating" && c.message.starts_with("Pool is paused"))
        })
        .await;
    cluster.pass(HOUR).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 0);
    cluster.patch::<MachineConfigPool>("kata-oc", json!({"spec": {"paused": false}})).await;
    cluster.until_updated("kata-oc", 1).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_degraded_node_stalls_its_pool_until_it_recovers() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.annotate("worker-0", DEGRADE_ROLLOUT, Some("disk full")).await;
    cluster.install_kata(json!({}), &["worker-0", "worker-1"]).await;
    let shared = &cluster;
    cluster
        .until("the pool is degraded", || async {
            condition(&shared.pool("kata-oc").await, "NodeDegraded").is_some()
        })
        .await;
    let pool = cluster.pool("kata-oc").await;
    assert_eq!(condition(&pool, "NodeDegraded").unwrap(), "Node worker-0 is reporting: \"disk full\"");
    assert!(condition(&pool, "Degraded").is_some());
    assert_eq!(pool.status.unwrap().degraded_machine_count, 1);
    let node = cluster.node("worker-0").await;
    assert_eq!(
        (annotation(&node, names::MCO_STATE), annotation(&node, names::MCO_REASON)),
        ("Degraded", "disk full")
    );
    cluster.pass(HOUR).await;
    assert_eq!(reboots(&cluster.node("worker-1").await), 0);
    cluster.annotate("worker-0", DEGRADE_ROLLOUT, None).await;
    cluster.until_updated("kata-oc", 2).await;
    assert!(condition(&cluster.pool("kata-oc").await, "Degraded").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_the_system_lacks_degrades_and_a_better_config_heals() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.create(&cluster.api::<MachineConfig>(), extension("kata-containers")).await;
    cluster.label("worker-0", names::KATA_NODE_ROLE, Some("")).await;
    cluster.create(&cluster.api::<MachineConfigPool>(), custom_pool("kata-oc", &json!({}))).await;
    let shared = &cluster;
    cluster
        .until("the node is degraded", || async {
            let node = shared.node("worker-0").await;
            annotation(&node, names::MCO_REASON) == "invalid extensions found: [kata-containers]"
        })
        .await;
    assert!(!cordoned(&cluster.node("worker-0").await));
    let better = json!({"spec": {"extensions": ["sandboxed-containers"]}});
    cluster.patch::<MachineConfig>(names::EXTENSION_MACHINE_CONFIG, better).await;
    cluster
        .until("the node has the better config", || async { reboots(&shared.node("worker-0").await) == 1 })
        .await;
    cluster.until_updated("kata-oc", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_somebody_cordoned_stalls_the_rollout() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.patch::<Node>("worker-1", json!({"spec": {"unschedulable": true}})).await;
    cluster.install_kata(json!({}), &["worker-0", "worker-1"]).await;
    cluster.pass(HOUR).await;
    for node in ["worker-0", "worker-1"] {
        assert_eq!(reboots(&cluster.node(node).await), 0);
    }
    let status = cluster.pool("kata-oc").await.status.unwrap();
    assert_eq!((status.unavailable_machine_count, status.is_true("Updating")), (1, true));
    cluster.patch::<Node>("worker-1", json!({"spec": {"unschedulable": null}})).await;
    cluster.until_updated("kata-oc", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_two_custom_roles_belongs_to_neither_pool() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.create(&cluster.api::<MachineConfigPool>(), custom_pool("infra", &json!({}))).await;
    cluster.label("worker-0", "node-role.kubernetes.io/infra", Some("")).await;
    cluster.install_kata(json!({}), &["worker-0", "worker-1"]).await;
    let why = "node worker-0 belongs to 2 custom roles, cannot proceed with this Node";
    let shared = &cluster;
    cluster
        .until("both pools tell", || async {
            let told = |pool: &MachineConfigPool| condition(pool, "RenderDegraded").as_deref() == Some(why);
            told(&shared.pool("kata-oc").await) && told(&shared.pool("infra").await)
        })
        .await;
    cluster.until("the other node goes on", || async { reboots(&shared.node("worker-1").await) == 1 }).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 0);
    cluster.label("worker-0", "node-role.kubernetes.io/infra", None).await;
    cluster.until_updated("kata-oc", 2).await;
    assert!(condition(&cluster.pool("infra").await, "RenderDegraded").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disruption_budget_holds_a_drain_up() {
    let cluster = Cluster::start(Topology::default()).await;
    let pods = pinned_deployment(&cluster, "worker-0").await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), "demo");
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    cluster.create(&budgets, budget).await;
    let shared = &cluster;
    let all = &budgets;
    cluster
        .until("the budget is counted", || async {
            all.get("web").await.unwrap().status.is_some_and(|status| status.current_healthy == 1)
        })
        .await;
    cluster.install_kata(json!({}), &["worker-0"]).await;
    cluster
        .until("the drain has failed for an hour", || async {
            condition(&shared.pool("kata-oc").await, "NodeDegraded").is_some()
        })
        .await;
    let message = condition(&cluster.pool("kata-oc").await, "NodeDegraded").unwrap();
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    assert!(
        message.contains("Node worker-0 is reporting: \"failed to drain node: worker-0 after 1 hour."),
        "{message}"
    );
    assert!(message.contains(&pod) && message.contains("disruption budget"), "{message}");
    let node = cluster.node("worker-0").await;
    assert!(cordoned(&node) && reboots(&node) == 0);
    budgets.delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until_updated("kata-oc", 1).await;
    assert_eq!(reboots(&cluster.node("worker-0").await), 1);
}

/// A Deployment of one pod that can run on that node only.
async fn pinned_deployment(cluster: &Cluster, node: &str) -> Api<Pod> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    cluster.create(&cluster.api::<Namespace>(), namespace).await;
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "containers": [{"name": "web", "image": "example.com/web:1"}],
                },
            },
        },
    });
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "demo");
    cluster.create(&deployments, deployment).await;
    let shared = &deployments;
    cluster
        .until("the deployment is available", || async {
            let status = shared.get("web").await.unwrap().status.unwrap_or_default();
            status.available_replicas == Some(1)
        })
        .await;
    Api::namespaced(cluster.client.clone(), "demo")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_can_be_refused_and_a_reboot_can_hang() {
    let cluster = Cluster::start(Topology::default()).await;
    cluster.annotate("worker-0", REFUSE_DRAIN, Some("the pod of a test")).await;
    cluster.annotate("worker-0", REBOOT_HANGS, Some("")).await;
    cluster.install_kata(json!({}), &["worker-0"]).await;
    let shared = &cluster;
    cluster.until("the node is cordoned", || async { cordoned(&shared.node("worker-0").await) }).await;
    cluster.pass(HOUR / 2).await;
    assert_eq!(annotation(&cluster.node("worker-0").await, names::MCO_STATE), "Working");
    cluster.annotate("worker-0", REFUSE_DRAIN, None).await;
    let is_down = || async {
        let status = shared.node("worker-0").await.status.unwrap();
        status.conditions.unwrap().iter().any(|c| c.type_ == "Ready" && c.status == "False")
    };
    cluster.until("the node is down", is_down).await;
    cluster.pass(HOUR).await;
    assert!(is_down().await);
    cluster.annotate("worker-0", REBOOT_HANGS, None).await;
    cluster.until_updated("kata-oc", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_cut_watches_and_refused_writes_are_survived() {
    let cluster = Cluster::start(Topology::default()).await;
    let faults = cluster.server.faults();
    cluster.install_kata(json!({}), &["worker-0", "worker-1"]).await;
    let status = |code: u16, reason: &str| FaultAction::Status {
        code,
        reason: reason.into(),
        message: "injected".into(),
        retry_after: None,
    };
    let patches =
        |action: FaultAction| Fault { matcher: Matcher::new(Verb::Patch, "nodes"), times: Some(2), action };
    for round in 0..6 {
        cluster.pass(Duration::from_mins(1)).await;
        faults.inject(patches(status(409, "Conflict")));
        faults.inject(patches(status(500, "InternalError")));
        faults.inject(patches(FaultAction::DropAfter));
        faults.cut_watches(&Matcher::default());
        if round % 2 == 0 {
            faults.pause_all();
            tokio::time::sleep(Duration::from_millis(100)).await;
            faults.resume_all();
        } else {
            faults.expire_watches(&Matcher::default());
        }
    }
    cluster.until_updated("kata-oc", 2).await;
    for node in ["worker-0", "worker-1"] {
        assert_eq!(reboots(&cluster.node(node).await), 1);
    }
}
