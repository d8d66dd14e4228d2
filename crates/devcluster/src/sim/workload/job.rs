//! Jobs: pods until enough of them have succeeded or too many have failed.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{PodView, count, pod_from};
use crate::sim::options::hex;
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, owned_by};

/// What a Job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Pods at a time.
    pub parallelism: i32,
    /// Successes wanted.
    pub completions: i32,
    /// Failures allowed.
    pub backoff_limit: i32,
    /// No pods for now.
    pub suspended: bool,
}

/// What to do about a Job.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Create so many pods.
    Create(usize),
    /// Delete these pods.
    Delete(Vec<String>),
    /// It has succeeded.
    Complete,
    /// It has failed.
    Fail,
    /// Pods are at work.
    Wait,
}

impl Wish {
    /// Reads it from a spec.
    pub fn read(spec: &JobSpec) -> Self {
        let parallelism = spec.parallelism.unwrap_or(1);
        Self {
            parallelism,
            // Without a number, one success ends the Job.
            completions: spec.completions.unwrap_or(1),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            suspended: spec.suspend.unwrap_or(false),
        }
    }
}

/// Decides.
pub fn plan(wish: Wish, pods: &[PodView]) -> Plan {
    let succeeded = count(pods.iter().filter(|pod| pod.finished == Some(true)).count());
    let failed = count(pods.iter().filter(|pod| pod.finished == Some(false)).count());
    let active: Vec<&PodView> = pods.iter().filter(|pod| pod.active()).collect();
    let stop = wish.suspended || failed > wish.backoff_limit || succeeded >= wish.completions;
    if stop && !active.is_empty() {
        return Plan::Delete(active.iter().map(|pod| pod.name.clone()).collect());
    }
    // The Job is over only when its last pod is.
    if pods.iter().any(|pod| pod.terminating && pod.finished.is_none()) {
        return Plan::Wait;
    }
    if failed > wish.backoff_limit {
        Plan::Fail
    } else if succeeded >= wish.completions {
        Plan::Complete
    } else if wish.suspended {
        Plan::Wait
    } else {
        let wanted = wish.parallelism.min(wish.completions - succeeded) - count(active.len());
        match usize::try_from(wanted) {
            Ok(wanted) if wanted > 0 => Plan::Create(wanted),
            _ => Plan::Wait,
        }
    }
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("jobs"));
    let delay = world.settle(world.options.timing.workload_delay);
    let adds = queue.clone();
    world.jobs.on_change(move |change| {
        if let Some(job) = change.object()
            && change.differs(|job| (job.spec.clone(), job.metadata.deletion_timestamp.clone(), job.uid()))
        {
            adds.add_after((Key::of(&**job), job.uid().unwrap_or_default()), delay);
        }
    });
    let adds = queue.clone();
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        if let Some(("Job", name, uid)) = controller_of(&**pod)
            && change.differs(|pod| PodView::read(pod, "", ""))
        {
            let namespace = pod.namespace().unwrap_or_default();
            adds.add_after((Key { namespace, name: name.to_owned() }, uid.to_owned()), delay);
        }
    });
    queue.run(4, &cancel, |(key, uid)| sync(world.clone(), key, uid)).await;
}

async fn sync(world: Arc<World>, key: Key, uid: String) -> Next {
    let pods = world.pods.indexed(&owned_by(&uid));
    let Some(job) = world.jobs.get(&key).filter(|job| job.uid().as_deref() == Some(uid.as_str())) else {
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            world.delete(&world.pods, &**pod, None).await?;
        }
        return Ok(None);
    };
    let Some(spec) =
        job.spec.as_ref().filter(|_| job.metadata.deletion_timestamp.is_none() && !is_over(&job))
    else {
        return Ok(None);
    };
    let views: Vec<PodView> = pods.iter().map(|pod| PodView::read(pod, "", "")).collect();
    let decision = plan(Wish::read(spec), &views);
    match &decision {
        Plan::Create(number) => create(&world, &job, spec, *number, views.len()).await?,
        Plan::Delete(names) => {
            for pod in pods.iter().filter(|pod| names.contains(&pod.name_any())) {
                world.delete(&world.pods, &**pod, None).await?;
            }
        }
        Plan::Complete | Plan::Fail | Plan::Wait => {}
    }
    write_status(&world, &key, &job, &decision, &uid).await?;
    Ok(None)
}

fn is_over(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|c| c.status == "True").any(|c| matches!(c.type_.as_str(), "Complete" | "Failed"))
}

async fn create(
    world: &World,
    job: &Job,
    spec: &JobSpec,
    number: usize,
    before: usize,
) -> Result<(), kube::Error> {
    let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
    for index in before..before + number {
        let pod_name = format!("{name}-{}", hex(&[&uid, &index.to_string()], 5));
        let labels = [
            ("job-name", name.as_str()),
            ("batch.kubernetes.io/job-name", name.as_str()),
            ("controller-uid", uid.as_str()),
            ("batch.kubernetes.io/controller-uid", uid.as_str()),
        ];
        world.create(&world.pods, &pod_from(job, &spec.template, pod_name, &labels)).await?;
    }
    Ok(())
}

async fn write_status(
    world: &World,
    key: &Key,
    job: &Job,
    plan: &Plan,
    uid: &str,
) -> Result<(), kube::Error> {
    let pods: Vec<PodView> =
        world.pods.indexed(&owned_by(uid)).iter().map(|pod| PodView::read(pod, "", "")).collect();
    let number = |of: &dyn Fn(&PodView) -> bool| count(pods.iter().filter(|pod| of(pod)).count());
    let now = world.time();
    let started =
        job.status.as_ref().and_then(|status| status.start_time.clone()).unwrap_or_else(|| now.clone());
    let mut status = json!({
        "startTime": started,
        "active": number(&|pod| pod.active()),
        "ready": number(&|pod| pod.active() && pod.ready),
        "terminating": number(&|pod| pod.terminating && pod.finished.is_none()),
        "succeeded": number(&|pod| pod.finished == Some(true)),
        "failed": number(&|pod| pod.finished == Some(false)),
    });
    let condition = |type_: &str, reason: &str, message: &str| -> Value {
        json!({"type": type_, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": now, "lastTransitionTime": now})
    };
    match plan {
        Plan::Complete => {
            let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
            // The API refuses the second condition without the first.
            status["conditions"] = json!([
                condition("SuccessCriteriaMet", reason, message),
                condition("Complete", reason, message),
            ]);
            status["completionTime"] = json!(now);
        }
        Plan::Fail => {
            let (reason, message) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
            status["conditions"] =
                json!([condition("FailureTarget", reason, message), condition("Failed", reason, message)]);
        }
        Plan::Create(_) | Plan::Delete(_) | Plan::Wait => {}
    }
    if !super::daemon_set::already(job.status.as_ref(), &status) {
        world.patch_status(&world.jobs, key, &json!({"status": status})).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pods(list: &str) -> Vec<PodView> {
        // s: succeeded, f: failed, a: active, x: terminating.
        let pod = |(at, kind): (usize, char)| PodView {
            name: format!("{kind}{at}"),
            terminating: kind == 'x',
            finished: match kind {
                's' => Some(true),
                'f' => Some(false),
                _ => None,
            },
            ..PodView::default()
        };
        list.chars().enumerate().map(pod).collect()
    }

    #[rstest]
    #[case::first("", Plan::Create(2))]
    #[case::running("aa", Plan::Wait)]
    #[case::one_done("sa", Plan::Create(1))]
    #[case::last_one("ssa", Plan::Wait)]
    #[case::done("sss", Plan::Complete)]
    #[case::one_failed("fa", Plan::Create(1))]
    #[case::too_many_failed("ffa", Plan::Delete(vec!["a2".into()]))]
    #[case::still_stopping("ffx", Plan::Wait)]
    #[case::failed("ff", Plan::Fail)]
    fn decisions(#[case] present: &str, #[case] decision: Plan) {
        let wish = Wish { parallelism: 2, completions: 3, backoff_limit: 1, suspended: false };
        assert_eq!(plan(wish, &pods(present)), decision);
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let wish = Wish { parallelism: 2, completions: 3, backoff_limit: 1, suspended: true };
        assert_eq!(plan(wish, &[]), Plan::Wait);
        assert_eq!(plan(wish, &pods("a")), Plan::Delete(vec!["a0".into()]));
    }
}
