//! Jobs: pods until enough of them have succeeded or too many have failed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::job_status;
use super::{PodView, count, pod_from};
use crate::sim::options::hex;
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, owned_by};

/// The least and the most that a Job waits after a failure. It doubles from one to the next.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

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
    /// How long it may take.
    pub deadline: Option<Duration>,
}

/// What has become of a Job's pods so far, those that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// How many have succeeded.
    pub succeeded: i32,
    /// How many have failed.
    pub failed: i32,
    /// How long ago the last one failed.
    pub since_failure: Duration,
    /// How long ago the Job was started.
    pub since_start: Duration,
}

/// Why a Job fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many pods failed.
    BackoffLimit,
    /// It took too long.
    Deadline,
}

/// What to do about a Job.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Create so many pods.
    Create(usize),
    /// Create pods, but not before that.
    Later(Duration),
    /// Delete these pods.
    Delete(Vec<String>),
    /// It has succeeded.
    Complete,
    /// It has failed.
    Fail(Failure),
    /// Pods are at work.
    Wait,
}

impl Wish {
    /// Reads it from a spec.
    pub fn read(spec: &JobSpec) -> Self {
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            parallelism: spec.parallelism.unwrap_or(1),
            // Without a number, one success ends the Job.
            completions: spec.completions.unwrap_or(1),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            suspended: spec.suspend.unwrap_or(false),
            deadline: spec.active_deadline_seconds.map(seconds),
        }
    }

    fn failure(&self, past: Past) -> Option<Failure> {
        if past.failed > self.backoff_limit {
            return Some(Failure::BackoffLimit);
        }
        let late = !self.suspended && self.deadline.is_some_and(|deadline| past.since_start >= deadline);
        late.then_some(Failure::Deadline)
    }
}

/// How long after its last failure a Job makes another pod.
fn back_off(failures: i32) -> Duration {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(16);
    BACK_OFF.0.saturating_mul(1 << doublings).min(BACK_OFF.1)
}

/// Decides.
pub fn plan(wish: Wish, past: Past, pods: &[PodView]) -> Plan {
    let failure = wish.failure(past);
    let active: Vec<&PodView> = pods.iter().filter(|pod| pod.active()).collect();
    let complete = past.succeeded >= wish.completions;
    if (wish.suspended || failure.is_some() || complete) && !active.is_empty() {
        return Plan::Delete(active.iter().map(|pod| pod.name.clone()).collect());
    }
    // Somebody wants fewer at a time than there are.
    let surplus = count(active.len()) - wish.parallelism;
    if let Some(surplus) = usize::try_from(surplus).ok().filter(|surplus| *surplus > 0) {
        return Plan::Delete(active.iter().rev().take(surplus).map(|pod| pod.name.clone()).collect());
    }
    // The Job is over only when its last pod is.
    if pods.iter().any(|pod| pod.terminating && pod.finished.is_none()) {
        return Plan::Wait;
    }
    if let Some(failure) = failure {
        return Plan::Fail(failure);
    }
    if complete {
        return Plan::Complete;
    }
    let wanted = wish.parallelism.min(wish.completions - past.succeeded) - count(active.len());
    let Some(wanted) = usize::try_from(wanted).ok().filter(|wanted| *wanted > 0 && !wish.suspended) else {
        return Plan::Wait;
    };
    let wait = if past.failed > 0 { back_off(past.failed) } else { Duration::ZERO };
    match wait.checked_sub(past.since_failure).filter(|left| !left.is_zero()) {
        Some(left) => Plan::Later(left),
        None => Plan::Create(wanted),
    }
}

/// What is remembered of a Job's pods that are gone. The real controller holds each pod by a finalizer until it is
/// counted.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    succeeded: i32,
    failed: i32,
    last_failure: Option<Timestamp>,
}

#[derive(Default)]
struct Memory {
    gone: HashMap<String, Gone>,
    /// Pods that this controller deleted itself: they did not fail.
    stopped: HashSet<String>,
}

struct Controller {
    world: Arc<World>,
    memory: Mutex<Memory>,
}

type Work = (Key, String);

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("jobs"));
    let controller = Arc::new(Controller { world, memory: Mutex::default() });
    connect(&controller, &queue);
    queue
        .run(4, &cancel, |(key, uid)| {
            let controller = controller.clone();
            async move { controller.sync(key, uid).await }
        })
        .await;
}

fn connect(controller: &Arc<Controller>, queue: &Arc<Queue<Work>>) {
    let world = &controller.world;
    let delay = world.settle(world.options.timing.workload_delay);
    let adds = queue.clone();
    world.jobs.on_change(move |change| {
        if let Some(job) = change.object()
            && change.differs(|job| {
                let over = job_status::finished_at(job);
                (job.spec.clone(), job.metadata.deletion_timestamp.clone(), job.uid(), over)
            })
        {
            adds.add_after((Key::of(&**job), job.uid().unwrap_or_default()), delay);
        }
    });
    let (adds, shared) = (queue.clone(), controller.clone());
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        if let Some(("Job", name, uid)) = controller_of(&**pod)
            && change.differs(|pod| PodView::read(pod, "", ""))
        {
            if change.after.is_none() {
                shared.remember(pod, uid);
            }
            let namespace = pod.namespace().unwrap_or_default();
            adds.add_after((Key { namespace, name: name.to_owned() }, uid.to_owned()), delay);
        }
    });
}

impl Controller {
    /// A pod is gone; what became of it still counts.
    fn remember(&self, pod: &Pod, job: &str) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = memory.stopped.remove(&pod.uid().unwrap_or_default());
        let gone = memory.gone.entry(job.to_owned()).or_default();
        match PodView::read(pod, "", "").finished {
            Some(true) => gone.succeeded += 1,
            // A pod that somebody deletes before it is done has failed.
            None if stopped => {}
            Some(false) | None => {
                gone.failed += 1;
                gone.last_failure = Some(self.world.now());
            }
        }
    }

    /// What has become of the pods so far. After a start of this simulation the status tells what was counted before.
    fn past(&self, job: &Job, uid: &str, pods: &[Arc<Pod>]) -> Past {
        let finished = |wanted: bool| {
            let pods = pods.iter().filter(|pod| PodView::read(pod, "", "").finished == Some(wanted));
            count(pods.count())
        };
        let (succeeded, failed) = (finished(true), finished(false));
        let status = job.status.as_ref();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = memory.gone.entry(uid.to_owned()).or_insert_with(|| Gone {
            succeeded: (status.and_then(|status| status.succeeded).unwrap_or(0) - succeeded).max(0),
            failed: (status.and_then(|status| status.failed).unwrap_or(0) - failed).max(0),
            last_failure: None,
        });
        let last = pods.iter().filter_map(|pod| failed_at(pod)).chain(gone.last_failure).max();
        let since = |time: Option<Timestamp>| {
            let passed = time.map(|time| self.world.now().duration_since(time));
            passed.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or(Duration::ZERO)
        };
        Past {
            succeeded: succeeded + gone.succeeded,
            failed: failed + gone.failed,
            since_failure: since(last),
            since_start: since(status.and_then(|status| status.start_time.as_ref()).map(|time| time.0)),
        }
    }

    async fn sync(&self, key: Key, uid: String) -> Next {
        let world = &self.world;
        let pods = world.pods.indexed(&owned_by(&uid));
        let Some(job) = world.jobs.get(&key).filter(|job| job.uid().as_deref() == Some(uid.as_str())) else {
            // A Job that was deleted without its pods has set them free, which the cache of pods may not know yet.
            for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
                world.delete_as_seen(&world.pods, &**pod).await?;
            }
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).gone.remove(&uid);
            return Ok(None);
        };
        let Some(spec) = job.spec.as_ref().filter(|_| job.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        if let Some(over) = job_status::finished_at(&job) {
            return self.tidy(&job, spec, over).await;
        }
        let wish = Wish::read(spec);
        let past = self.past(&job, &uid, &pods);
        let views: Vec<PodView> = pods.iter().map(|pod| PodView::read(pod, "", "")).collect();
        let decision = plan(wish, past, &views);
        match &decision {
            Plan::Create(number) => self.create(&job, spec, *number, &views).await?,
            Plan::Delete(names) => self.stop(&pods, names).await?,
            Plan::Complete | Plan::Fail(_) | Plan::Wait | Plan::Later(_) => {}
        }
        let views = world.pods.indexed(&owned_by(&uid));
        let views: Vec<PodView> = views.iter().map(|pod| PodView::read(pod, "", "")).collect();
        job_status::write(world, &key, &job, wish, past, &decision, &views).await?;
        let deadline =
            wish.deadline.filter(|_| !wish.suspended).map(|all| all.saturating_sub(past.since_start));
        let later = if let Plan::Later(left) = decision { Some(left) } else { None };
        Ok([deadline, later].into_iter().flatten().min().map(|left| world.settle(left)))
    }

    /// A Job that is over goes after a while if it says so.
    async fn tidy(&self, job: &Job, spec: &JobSpec, over: Timestamp) -> Next {
        let Some(seconds) = spec.ttl_seconds_after_finished.and_then(|ttl| u64::try_from(ttl).ok()) else {
            return Ok(None);
        };
        let passed = Duration::try_from(self.world.now().duration_since(over)).unwrap_or_default();
        match Duration::from_secs(seconds).checked_sub(passed).filter(|left| !left.is_zero()) {
            Some(left) => Ok(Some(self.world.settle(left))),
            None => self.world.delete(&self.world.jobs, job, None).await.map(|()| None),
        }
    }

    async fn stop(&self, pods: &[Arc<Pod>], names: &[String]) -> Result<(), kube::Error> {
        for pod in pods.iter().filter(|pod| names.contains(&pod.name_any())) {
            let uid = pod.uid().unwrap_or_default();
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).stopped.insert(uid);
            self.world.delete(&self.world.pods, &**pod, None).await?;
        }
        Ok(())
    }

    async fn create(
        &self,
        job: &Job,
        spec: &JobSpec,
        number: usize,
        present: &[PodView],
    ) -> Result<(), kube::Error> {
        let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
        let names = (0..).map(|index: usize| format!("{name}-{}", hex(&[&uid, &index.to_string()], 5)));
        let free = names.filter(|name| !present.iter().any(|pod| pod.name == *name));
        for pod_name in free.take(number) {
            let labels = [
                ("job-name", name.as_str()),
                ("batch.kubernetes.io/job-name", name.as_str()),
                ("controller-uid", uid.as_str()),
                ("batch.kubernetes.io/controller-uid", uid.as_str()),
            ];
            self.world.create(&self.world.pods, &pod_from(job, &spec.template, pod_name, &labels)).await?;
        }
        Ok(())
    }
}

/// When a pod failed, if it did.
fn failed_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    let containers = status.container_statuses.iter().flatten();
    let ends = containers
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const WISH: Wish =
        Wish { parallelism: 2, completions: 3, backoff_limit: 1, suspended: false, deadline: None };

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

    /// An hour after the last failure.
    fn past(pods: &[PodView]) -> Past {
        let number = |of: bool| count(pods.iter().filter(|pod| pod.finished == Some(of)).count());
        let hour = Duration::from_hours(1);
        Past { succeeded: number(true), failed: number(false), since_failure: hour, since_start: hour }
    }

    fn decide(wish: Wish, list: &str) -> Plan {
        let pods = pods(list);
        plan(wish, past(&pods), &pods)
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
    #[case::failed("ff", Plan::Fail(Failure::BackoffLimit))]
    fn decisions(#[case] present: &str, #[case] decision: Plan) {
        assert_eq!(decide(WISH, present), decision);
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let wish = Wish { suspended: true, deadline: Some(Duration::ZERO), ..WISH };
        assert_eq!(decide(wish, ""), Plan::Wait);
        assert_eq!(decide(wish, "a"), Plan::Delete(vec!["a0".into()]));
    }

    #[test]
    fn whoever_wants_fewer_at_a_time_gets_fewer() {
        let wish = |parallelism| Wish { parallelism, ..WISH };
        assert_eq!(decide(wish(1), "aa"), Plan::Delete(vec!["a1".into()]));
        assert_eq!(decide(wish(0), "aa"), Plan::Delete(vec!["a1".into(), "a0".into()]));
        assert_eq!(decide(wish(0), "sx"), Plan::Wait);
        assert_eq!(decide(wish(0), "s"), Plan::Wait);
    }

    #[test]
    fn a_job_that_takes_too_long_fails() {
        let wish = |minutes| Wish { deadline: Some(Duration::from_mins(minutes)), ..WISH };
        assert_eq!(decide(wish(61), "a"), Plan::Create(1));
        assert_eq!(decide(wish(60), "a"), Plan::Delete(vec!["a0".into()]));
        assert_eq!(decide(wish(60), ""), Plan::Fail(Failure::Deadline));
    }

    #[rstest]
    #[case::first(1, 0, Plan::Later(Duration::from_secs(10)))]
    #[case::almost(1, 9, Plan::Later(Duration::from_secs(1)))]
    #[case::over(1, 10, Plan::Create(2))]
    #[case::third(3, 10, Plan::Later(Duration::from_secs(30)))]
    #[case::most(40, 0, Plan::Later(Duration::from_mins(10)))]
    fn failures_slow_a_job_down(#[case] failed: i32, #[case] seconds: u64, #[case] decision: Plan) {
        // The pods that failed are gone.
        let past = Past { failed, since_failure: Duration::from_secs(seconds), ..Past::default() };
        assert_eq!(plan(Wish { backoff_limit: 50, ..WISH }, past, &[]), decision);
    }
}
