//! DaemonSets, Jobs, pods: on OpenShift during a reboot, and on plain Kubernetes.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use osc_devcluster::sim::annotations::RESTART;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use crate::cluster::Cluster;

async fn plain() -> Cluster {
    let kind = Kind::PlainKubernetes;
    let cluster = Cluster::start(Topology { kind, version: "1.32.5".into(), ..Topology::default() }).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    cluster.create(&cluster.api::<Namespace>(), namespace).await;
    cluster
}

fn daemon_set(selector: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "demo"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"nodeSelector": selector, "containers": [{"name": "agent", "image": "example.com/agent:1"}]},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_follows_the_labels_of_nodes() {
    let cluster = plain().await;
    let sets: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), "demo");
    cluster.create(&sets, daemon_set(&json!({"kata": "yes"}))).await;
    let ready = |number: i32| {
        let sets = sets.clone();
        move || {
            let sets = sets.clone();
            async move {
                let set = sets.get("agent").await.unwrap();
                let status = set.status.unwrap_or_default();
                status.number_ready == number
                    && status.desired_number_scheduled == number
                    && status.observed_generation == set.metadata.generation
            }
        }
    };
    cluster.label("worker-0", "kata", Some("yes")).await;
    cluster.label("worker-1", "kata", Some("yes")).await;
    cluster.until("two pods run", ready(2)).await;
    cluster.label("worker-1", "kata", None).await;
    cluster.until("one pod runs", ready(1)).await;

    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "demo");
    let before = pods.list(&ListParams::default()).await.unwrap().items;
    let newer = json!({"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "example.com/agent:2"}]}}}});
    sets.patch("agent", &PatchParams::default(), &Patch::Merge(&newer)).await.unwrap();
    let shared = &pods;
    cluster
        .until("the pod was replaced", || async {
            let now = shared.list(&ListParams::default()).await.unwrap().items;
            now.len() == 1 && now[0].uid() != before[0].uid()
        })
        .await;
    cluster.until("the new pod runs", ready(1)).await;

    sets.delete("agent", &DeleteParams::default()).await.unwrap();
    cluster
        .until("no pod is left", || async {
            shared.list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_node_go_down_and_come_back_with_it() {
    let cluster = plain().await;
    let sets: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), "demo");
    cluster.create(&sets, daemon_set(&json!({"kubernetes.io/hostname": "worker-0"}))).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "demo");
    let state = || async {
        let list = pods.list(&ListParams::default()).await.unwrap().items;
        let status = list.first()?.status.clone()?.container_statuses?.first()?.clone();
        Some((status.ready, status.restart_count))
    };
    cluster.until("the pod runs", || async { state().await == Some((true, 0)) }).await;
    cluster.annotate("worker-0", RESTART, Some("")).await;
    cluster.until("the pod is down", || async { state().await == Some((false, 0)) }).await;
    cluster.until("the pod is back", || async { state().await == Some((true, 1)) }).await;
}

fn job(name: &str, script: Option<&str>) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "demo", "annotations": {"devcluster.osc/script": script}},
        "spec": {
            "backoffLimit": 1,
            "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/job:1"}]}},
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_succeed_or_follow_their_script() {
    let cluster = plain().await;
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), "demo");
    cluster.create(&jobs, without_nulls(job("good", None))).await;
    cluster.create(&jobs, job("bad", Some("fail after 5s: no quota"))).await;
    let over = |name: &'static str, type_: &'static str| {
        let jobs = jobs.clone();
        move || {
            let jobs = jobs.clone();
            async move {
                let status = jobs.get(name).await.unwrap().status.unwrap_or_default();
                status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
            }
        }
    };
    cluster.until("the good one is complete", over("good", "Complete")).await;
    cluster.until("the bad one has failed", over("bad", "Failed")).await;
    let status = jobs.get("bad").await.unwrap().status.unwrap();
    assert_eq!((status.failed, status.succeeded.unwrap_or(0)), (Some(2), 0));
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "demo");
    let failed = pods.list(&ListParams::default().labels("job-name=bad")).await.unwrap().items;
    assert_eq!(failed[0].status.as_ref().unwrap().message.as_deref(), Some("no quota"));
}

fn without_nulls(mut job: Value) -> Value {
    job["metadata"]["annotations"] = json!({});
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_starts_when_it_does() {
    let cluster = plain().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "demo");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lonely", "namespace": "demo"},
        "spec": {"nodeSelector": {"gpu": "yes"}, "containers": [{"name": "main", "image": "example.com/x:1"}]},
    });
    cluster.create(&pods, pod).await;
    let shared = &pods;
    cluster
        .until("the scheduler explains itself", || async {
            let status = shared.get("lonely").await.unwrap().status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            conditions.iter().any(|c| {
                c.reason.as_deref() == Some("Unschedulable")
                    && c.message
                        .as_deref()
                        .unwrap_or_default()
                        .starts_with("0/6 nodes are available: 3 node(s)")
            })
        })
        .await;
    cluster.label("worker-2", "gpu", Some("yes")).await;
    cluster
        .until("the pod runs", || async {
            let pod = shared.get("lonely").await.unwrap();
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node == Some("worker-2") && pod.status.unwrap().phase.as_deref() == Some("Running")
        })
        .await;
    pods.delete("lonely", &DeleteParams::default()).await.unwrap();
    cluster.until("the pod is gone", || async { shared.get_opt("lonely").await.unwrap().is_none() }).await;
}
