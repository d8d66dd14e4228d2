//! Jobs that fail, wait, are suspended, are over, and go.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use osc_devcluster::sim::annotations::RESTART;
use serde_json::{Value, json};

use crate::cluster::Cluster;

async fn cluster() -> Cluster {
    Cluster::with_programs(Vec::new()).await
}

fn job(name: &str, script: &str, spec: &Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {"devcluster.osc/script": script}},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/job:1"}]}}},
    });
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

/// The reason of a condition that is `True`.
fn condition(job: &Job, type_: &str) -> Option<String> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|c| c.type_ == type_ && c.status == "True").map(|c| c.reason.clone().unwrap()).next()
}

async fn until(cluster: &Cluster, what: &str, holds: impl Fn(&Job) -> bool) -> Job {
    let jobs = cluster.demo::<Job>();
    cluster.until(what, || async { jobs.get("j").await.is_ok_and(|job| holds(&job)) }).await;
    jobs.get("j").await.unwrap()
}

async fn pods(cluster: &Cluster) -> Vec<Pod> {
    cluster.demo::<Pod>().list(&ListParams::default().labels("job-name=j")).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_are_told_by_the_container() {
    let cluster = cluster().await;
    cluster.create(&cluster.demo::<Job>(), job("j", "succeed after 10s: ami-0123", &json!({}))).await;
    let job = until(&cluster, "it is complete", |job| condition(job, "Complete").is_some()).await;
    let status = job.status.clone().unwrap();
    assert_eq!((status.succeeded, status.failed, status.active), (Some(1), Some(0), Some(0)));
    assert!(status.start_time.unwrap().0 < status.completion_time.unwrap().0);
    let pods = pods(&cluster).await;
    assert_eq!(pods[0].labels()["controller-uid"], job.uid().unwrap());
    let state = pods[0].status.clone().unwrap().container_statuses.unwrap().remove(0).state.unwrap();
    let ended = state.terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (0, Some("Completed")));
    assert_eq!(ended.message.as_deref(), Some("ami-0123"));
    let took = ended.finished_at.unwrap().0.duration_since(ended.started_at.unwrap().0);
    assert!((10..60).contains(&took.as_secs()), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gives_up_after_so_many_failures_with_pauses_between_them() {
    let cluster = cluster().await;
    let spec = json!({"backoffLimit": 2});
    cluster.create(&cluster.demo::<Job>(), job("j", "fail after 1s: no quota", &spec)).await;
    let job = until(&cluster, "it has failed", |job| condition(job, "Failed").is_some()).await;
    assert_eq!(condition(&job, "Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(job.status.unwrap().failed, Some(3));
    let mut times: Vec<_> =
        pods(&cluster).await.iter().map(|pod| pod.creation_timestamp().unwrap().0).collect();
    times.sort();
    let pauses: Vec<i64> = times.windows(2).map(|two| two[1].duration_since(two[0]).as_secs()).collect();
    assert!(pauses.len() == 2 && pauses[0] >= 10 && pauses[1] >= 20, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_goes_down_with_its_node_has_failed_and_is_made_again() {
    let cluster = cluster().await;
    cluster.create(&cluster.demo::<Job>(), job("j", "succeed after 30m", &json!({"backoffLimit": 1}))).await;
    let shared = &cluster;
    cluster
        .until("the pod runs", || async {
            let pods = pods(shared).await;
            pods.first().and_then(|pod| pod.status.as_ref()?.phase.clone()).as_deref() == Some("Running")
        })
        .await;
    let first = pods(&cluster).await.remove(0);
    let node = first.spec.as_ref().unwrap().node_name.clone().unwrap();
    cluster.annotate(&node, RESTART, Some("")).await;
    let job = until(&cluster, "it is complete", |job| condition(job, "Complete").is_some()).await;
    let status = job.status.unwrap();
    assert_eq!((status.failed, status.succeeded), (Some(1), Some(1)));
    let lost = cluster.demo::<Pod>().get_opt(&first.name_any()).await.unwrap();
    // The drain before the reboot may have removed it; if not, it says what became of it.
    if let Some(lost) = lost {
        let state = lost.status.unwrap().container_statuses.unwrap().remove(0).state.unwrap();
        assert_eq!(state.terminated.unwrap().reason.as_deref(), Some("ContainerStatusUnknown"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_deletes_has_failed() {
    let cluster = cluster().await;
    cluster.create(&cluster.demo::<Job>(), job("j", "succeed after 1h", &json!({"backoffLimit": 0}))).await;
    let shared = &cluster;
    cluster.until("there is a pod", || async { !pods(shared).await.is_empty() }).await;
    let name = pods(&cluster).await[0].name_any();
    cluster.demo::<Pod>().delete(&name, &DeleteParams::default()).await.unwrap();
    let job = until(&cluster, "it has failed", |job| condition(job, "Failed").is_some()).await;
    assert_eq!(job.status.unwrap().failed, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_at_its_deadline_and_goes_after_its_time() {
    let cluster = cluster().await;
    let spec = json!({"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 600});
    cluster.create(&cluster.demo::<Job>(), job("j", "succeed after 1h", &spec)).await;
    let job = until(&cluster, "it has failed", |job| condition(job, "Failed").is_some()).await;
    assert_eq!(condition(&job, "Failed").as_deref(), Some("DeadlineExceeded"));
    assert!(pods(&cluster).await.is_empty(), "the pod was stopped");
    let jobs = cluster.demo::<Job>();
    cluster.until("it is gone", || async { jobs.get_opt("j").await.unwrap().is_none() }).await;
    let status = job.status.unwrap();
    let end =
        status.conditions.unwrap().iter().find(|c| c.type_ == "Failed").unwrap().last_transition_time.clone();
    let passed = cluster.options.clock.now().duration_since(end.unwrap().0).as_secs();
    assert!(passed >= 600, "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_job_stops_and_goes_on() {
    let cluster = cluster().await;
    let jobs = cluster.demo::<Job>();
    cluster.create(&jobs, job("j", "succeed after 5m", &json!({"suspend": true}))).await;
    let job = until(&cluster, "it says so", |job| condition(job, "Suspended").is_some()).await;
    assert_eq!((job.status.unwrap().start_time, pods(&cluster).await.len()), (None, 0));
    let suspend = async |suspend: bool| {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        jobs.patch("j", &PatchParams::default(), &patch).await.unwrap();
    };
    suspend(false).await;
    until(&cluster, "it works", |job| job.status.as_ref().is_some_and(|s| s.active == Some(1))).await;
    suspend(true).await;
    until(&cluster, "it rests", |job| {
        condition(job, "Suspended").is_some() && job.status.as_ref().unwrap().active.unwrap_or(0) == 0
    })
    .await;
    suspend(false).await;
    let job = until(&cluster, "it is complete", |job| condition(job, "Complete").is_some()).await;
    // What was stopped did not fail.
    assert_eq!(job.status.unwrap().failed.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_takes_its_pods_with_it_or_leaves_them() {
    let cluster = cluster().await;
    let jobs = cluster.demo::<Job>();
    for (params, left) in [(DeleteParams::background(), 0), (DeleteParams::orphan(), 1)] {
        cluster.create(&jobs, job("j", "succeed after 1h", &json!({}))).await;
        let shared = &cluster;
        cluster.until("there is a pod", || async { pods(shared).await.len() == 1 }).await;
        jobs.delete("j", &params).await.unwrap();
        cluster.until("it is gone", || async { jobs.get_opt("j").await.unwrap().is_none() }).await;
        if left == 0 {
            cluster.until("the pod is gone", || async { pods(shared).await.is_empty() }).await;
        }
        cluster.pass(Duration::from_mins(5)).await;
        let pods = pods(&cluster).await;
        assert_eq!(pods.len(), left);
        assert!(pods.iter().all(|pod| pod.owner_references().is_empty()));
    }
}
