//! Programs in pods, and what pods wait for before they start.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerState, Pod, Secret};
use kube::api::DeleteParams;
use osc_devcluster::sim::annotations::RESTART;
use osc_devcluster::sim::program::{Context, Exit, Program};
use serde_json::{Value, json};

use crate::cluster::Cluster;

type Body = Box<dyn Fn(Context) -> BoxFuture<'static, Exit> + Send + Sync>;

/// A program for the pods with the label `app: program`.
struct Test(Body);

impl Program for Test {
    fn takes(&self, pod: &Pod) -> bool {
        pod.metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.get("app").is_some_and(|app| app == "program"))
    }

    fn run(&self, context: Context) -> BoxFuture<'static, Exit> {
        (self.0)(context)
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Notes when it is dropped.
struct Until(Log);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

async fn cluster<F>(run: impl Fn(Context) -> F + Send + Sync + 'static) -> Cluster
where
    F: Future<Output = Exit> + Send + 'static,
{
    let body: Body = Box::new(move |context| run(context).boxed());
    Cluster::with_programs(vec![Arc::new(Test(body))]).await
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "program"}},
        "spec": {"containers": [{"name": "main", "image": "example.com/x:1"}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        match field.as_str() {
            "env" | "envFrom" => pod["spec"]["containers"][0][field] = value.clone(),
            _ => pod["spec"][field] = value.clone(),
        }
    }
    pod
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True")
}

fn state(pod: &Pod) -> ContainerState {
    let status = pod.status.clone().unwrap_or_default().container_statuses.unwrap_or_default();
    status.into_iter().next().and_then(|status| status.state).unwrap_or_default()
}

fn waiting(pod: &Pod) -> (String, String) {
    let waiting = state(pod).waiting.unwrap_or_default();
    (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
}

async fn until(cluster: &Cluster, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
    let pods = cluster.demo::<Pod>();
    cluster.until(what, || async { pods.get("p").await.is_ok_and(|pod| holds(&pod)) }).await;
    pods.get("p").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_says_when_it_is_ready_and_is_asked_to_end() {
    let (log, go) = (Log::default(), Arc::new(tokio::sync::Notify::new()));
    let (notes, gate) = (log.clone(), go.clone());
    let cluster = cluster(move |context| {
        let (log, go) = (notes.clone(), gate.clone());
        async move {
            log.add(format!("runs on {}", context.node));
            go.notified().await;
            context.ready();
            context.cancel.cancelled().await;
            log.add("cancelled");
            go.notified().await;
            log.add("ended");
            Exit::Success(String::new())
        }
    })
    .await;
    let pods = cluster.demo::<Pod>();
    cluster.create(&pods, pod("p", &json!({"terminationGracePeriodSeconds": 36000}))).await;
    let running = until(&cluster, "it runs", |pod| state(pod).running.is_some()).await;
    let node = running.spec.as_ref().unwrap().node_name.clone().unwrap();
    cluster.pass(Duration::from_mins(5)).await;
    assert!(!is_ready(&pods.get("p").await.unwrap()));
    go.notify_one();
    until(&cluster, "it is ready", is_ready).await;
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    let shared = &log;
    cluster.until("it hears of that", || async { shared.all().len() == 2 }).await;
    cluster.pass(Duration::from_mins(5)).await;
    assert!(pods.get_opt("p").await.unwrap().is_some(), "the pod waits for its program");
    go.notify_one();
    cluster.until("the pod is gone", || async { pods.get_opt("p").await.unwrap().is_none() }).await;
    assert_eq!(log.all(), [format!("runs on {node}"), "cancelled".to_owned(), "ended".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_end_is_aborted_after_the_grace_period() {
    let log = Log::default();
    let notes = log.clone();
    let cluster = cluster(move |context| {
        let until = Until(notes.clone());
        async move {
            context.ready();
            let _until = until;
            std::future::pending().await
        }
    })
    .await;
    let pods = cluster.demo::<Pod>();
    cluster.create(&pods, pod("p", &json!({"terminationGracePeriodSeconds": 60}))).await;
    until(&cluster, "it is ready", is_ready).await;
    let before = cluster.options.clock.now();
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    cluster.until("the pod is gone", || async { pods.get_opt("p").await.unwrap().is_none() }).await;
    assert!(cluster.options.clock.now().duration_since(before).as_secs() >= 60);
    let shared = &log;
    cluster.until("the program is gone", || async { shared.all() == ["dropped"] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_down_with_its_node_and_starts_again() {
    let log = Log::default();
    let notes = log.clone();
    let cluster = cluster(move |context| {
        notes.add("started");
        let until = Until(notes.clone());
        async move {
            context.ready();
            let _until = until;
            context.cancel.cancelled().await;
            panic!("nobody asked it to end");
        }
    })
    .await;
    cluster.create(&cluster.demo::<Pod>(), pod("p", &json!({}))).await;
    let running = until(&cluster, "it is ready", is_ready).await;
    let node = running.spec.as_ref().unwrap().node_name.clone().unwrap();
    cluster.annotate(&node, RESTART, Some("")).await;
    until(&cluster, "it is down", |pod| !is_ready(pod)).await;
    let shared = &log;
    cluster.until("the program is gone", || async { shared.all() == ["started", "dropped"] }).await;
    let again = until(&cluster, "it is back", is_ready).await;
    assert_eq!(log.all(), ["started", "dropped", "started"]);
    assert_eq!(again.status.unwrap().container_statuses.unwrap()[0].restart_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_is_tried_again_after_a_while() {
    let log = Log::default();
    let notes = log.clone();
    let cluster = cluster(move |context| {
        notes.add("started");
        let number = notes.all().len();
        async move {
            match number {
                1 => Exit::Failure("no socket".to_owned()),
                2 => panic!("a defect"),
                _ => {
                    context.ready();
                    context.cancel.cancelled().await;
                    Exit::Success(String::new())
                }
            }
        }
    })
    .await;
    cluster.create(&cluster.demo::<Pod>(), pod("p", &json!({}))).await;
    let crashed = until(&cluster, "it has crashed", |pod| waiting(pod).0 == "CrashLoopBackOff").await;
    let last = crashed.status.unwrap().container_statuses.unwrap().remove(0).last_state.unwrap();
    assert_eq!(last.terminated.unwrap().message.as_deref(), Some("no socket"));
    let well = until(&cluster, "it works", is_ready).await;
    let status = well.status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 2);
    assert_eq!(
        status.last_state.unwrap().terminated.unwrap().message.as_deref(),
        Some("the program panicked")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_program_is_the_end_of_its_job() {
    let cluster = cluster(|context| async move {
        match context.env().await.unwrap().get("WHAT").map(String::as_str) {
            Some("fail") => Exit::Failure("no quota".to_owned()),
            what => Exit::Success(format!("made {}", what.unwrap_or_default())),
        }
    })
    .await;
    for (name, end, code, message) in
        [("image-1", "Complete", 0, "made image-1"), ("fail", "Failed", 1, "no quota")]
    {
        let template = json!({"metadata": {"labels": {"app": "program"}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i", "env": [{"name": "WHAT", "value": name}]}]}});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": template}});
        let jobs = cluster.demo::<Job>();
        cluster.create(&jobs, job).await;
        cluster
            .until("the job is over", || async {
                let status = jobs.get(name).await.unwrap().status.unwrap_or_default();
                status.conditions.iter().flatten().any(|c| c.type_ == end && c.status == "True")
            })
            .await;
        let list = kube::api::ListParams::default().labels(&format!("job-name={name}"));
        let pod = cluster.demo::<Pod>().list(&list).await.unwrap().items.remove(0);
        let ended = state(&pod).terminated.unwrap();
        assert_eq!((ended.exit_code, ended.message.as_deref()), (code, Some(message)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_its_configuration() {
    let cluster = Cluster::with_programs(Vec::new()).await;
    let spec = json!({
        "envFrom": [{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "no", "optional": true}}],
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}],
        "volumes": [{"name": "v", "secret": {"secretName": "files"}},
            {"name": "w", "secret": {"secretName": "no", "optional": true}}],
    });
    cluster.create(&cluster.demo::<Pod>(), pod("p", &spec)).await;
    let says = async |reason: &str, message: &str| {
        until(&cluster, &format!("it says {message}"), |pod| {
            waiting(pod) == (reason.to_owned(), message.to_owned())
        })
        .await
    };
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let volume = "MountVolume.SetUp failed for volume \"v\" : secret \"files\" not found";
    let held = says("ContainerCreating", volume).await;
    assert_eq!(held.status.unwrap().phase.as_deref(), Some("Pending"));
    cluster.create(&cluster.demo::<Secret>(), secret("files")).await;
    says("CreateContainerConfigError", "secret \"keys\" not found").await;
    cluster.create(&cluster.demo::<Secret>(), secret("keys")).await;
    says("CreateContainerConfigError", "configmap \"settings\" not found").await;
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    cluster.create(&cluster.demo::<ConfigMap>(), map.clone()).await;
    says("CreateContainerConfigError", "couldn't find key x in ConfigMap demo/settings").await;
    map["data"] = json!({"x": "1"});
    let patch = kube::api::Patch::Merge(&map);
    cluster.demo::<ConfigMap>().patch("settings", &kube::api::PatchParams::default(), &patch).await.unwrap();
    until(&cluster, "it runs", is_ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_that_is_known_in_part_configuration_is_taken_for_granted() {
    let mut cluster = Cluster::with_programs(Vec::new()).await;
    cluster.stop().await;
    cluster.options.partial = true;
    cluster.resume();
    let spec = json!({"envFrom": [{"secretRef": {"name": "keys"}}],
        "volumes": [{"name": "v", "secret": {"secretName": "files"}}]});
    cluster.create(&cluster.demo::<Pod>(), pod("p", &spec)).await;
    until(&cluster, "it runs", is_ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_with_the_simulation_and_are_resumed_by_the_next() {
    let log = Log::default();
    let notes = log.clone();
    let mut cluster = cluster(move |context| {
        notes.add("started");
        let until = Until(notes.clone());
        async move {
            context.ready();
            let _until = until;
            std::future::pending().await
        }
    })
    .await;
    cluster.create(&cluster.demo::<Pod>(), pod("p", &json!({}))).await;
    until(&cluster, "it is ready", is_ready).await;
    cluster.stop().await;
    let shared = &log;
    cluster.until("the program is gone", || async { shared.all() == ["started", "dropped"] }).await;
    cluster.resume();
    cluster.until("it runs again", || async { shared.all().len() == 3 }).await;
    let status = cluster.demo::<Pod>().get("p").await.unwrap().status.unwrap();
    assert_eq!(status.container_statuses.unwrap()[0].restart_count, 0);
}
