//! The status of a Job, as its controller writes it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use serde_json::{Value, json};

use super::daemon_set::already;
use super::job::{Failure, Past, Plan, Wish};
use super::{PodView, count};
use crate::sim::store::Key;
use crate::sim::world::World;

fn conditions(job: &Job) -> impl Iterator<Item = &JobCondition> {
    job.status.iter().flat_map(|status| status.conditions.iter().flatten())
}

/// When the Job ended, if it has.
pub fn finished_at(job: &Job) -> Option<Timestamp> {
    conditions(job)
        .filter(|condition| condition.status == "True")
        .find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"))
        .map(|condition| condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// Conditions to set: type, status, reason, message.
type Set = (&'static str, bool, &'static str, &'static str);

fn news(job: &Job, wish: Wish, plan: &Plan) -> Vec<Set> {
    let suspended = conditions(job).find(|condition| condition.type_ == "Suspended");
    let suspended = suspended.map(|condition| condition.status == "True");
    let mut set: Vec<Set> = Vec::new();
    match (wish.suspended, suspended) {
        (true, None | Some(false)) => set.push(("Suspended", true, "JobSuspended", "Job suspended")),
        (false, Some(true)) => set.push(("Suspended", false, "JobResumed", "Job resumed")),
        _ => {}
    }
    let (criterion, end, reason, message) = match plan {
        Plan::Complete => (
            "SuccessCriteriaMet",
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ),
        Plan::Fail(Failure::BackoffLimit) => {
            ("FailureTarget", "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        }
        Plan::Fail(Failure::Deadline) => {
            ("FailureTarget", "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        }
        Plan::Create(_) | Plan::Later(_) | Plan::Delete(_) | Plan::Wait => return set,
    };
    // The API refuses the second condition without the first.
    set.extend([(criterion, true, reason, message), (end, true, reason, message)]);
    set
}

/// Writes what changed.
pub async fn write(
    world: &World,
    key: &Key,
    job: &Job,
    wish: Wish,
    past: Past,
    plan: &Plan,
    pods: &[PodView],
) -> Result<(), kube::Error> {
    let number = |of: &dyn Fn(&PodView) -> bool| count(pods.iter().filter(|pod| of(pod)).count());
    let now = world.time();
    let started = job.status.as_ref().and_then(|status| status.start_time.clone());
    let mut status = json!({
        // A Job that is suspended starts anew when it goes on.
        "startTime": if wish.suspended { None } else { Some(started.unwrap_or_else(|| now.clone())) },
        "active": number(&|pod| pod.active()),
        "ready": number(&|pod| pod.active() && pod.ready),
        "terminating": number(&|pod| pod.terminating && pod.finished.is_none()),
        "succeeded": past.succeeded,
        "failed": past.failed,
    });
    let news = news(job, wish, plan);
    if !news.is_empty() {
        let kept = conditions(job).filter(|known| !news.iter().any(|(type_, ..)| known.type_ == *type_));
        let new = news.iter().map(|(type_, holds, reason, message)| {
            json!({"type": type_, "status": if *holds { "True" } else { "False" }, "reason": reason,
                "message": message, "lastProbeTime": now, "lastTransitionTime": now})
        });
        status["conditions"] = kept.map(|known| json!(known)).chain(new).collect::<Vec<Value>>().into();
    }
    if *plan == Plan::Complete {
        status["completionTime"] = json!(now);
    }
    if !already(job.status.as_ref(), &status) {
        world.patch_status(&world.jobs, key, &json!({"status": status})).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(conditions: &Value) -> Job {
        serde_json::from_value(json!({"metadata": {"name": "j"}, "status": {"conditions": conditions}}))
            .unwrap()
    }

    fn wish(suspended: bool) -> Wish {
        Wish { parallelism: 1, completions: 1, backoff_limit: 0, suspended, deadline: None }
    }

    #[test]
    fn a_job_says_that_it_is_suspended_and_that_it_goes_on() {
        let types = |job: &Job, suspended: bool, plan: &Plan| -> Vec<(&str, bool)> {
            news(job, wish(suspended), plan).iter().map(|(type_, holds, ..)| (*type_, *holds)).collect()
        };
        let fresh = job(&json!([]));
        assert_eq!(types(&fresh, false, &Plan::Wait), []);
        assert_eq!(types(&fresh, true, &Plan::Wait), [("Suspended", true)]);
        let suspended = job(&json!([{"type": "Suspended", "status": "True"}]));
        assert_eq!(types(&suspended, true, &Plan::Wait), []);
        assert_eq!(types(&suspended, false, &Plan::Create(1)), [("Suspended", false)]);
        let done = types(&fresh, false, &Plan::Complete);
        assert_eq!(done, [("SuccessCriteriaMet", true), ("Complete", true)]);
    }

    #[test]
    fn the_end_of_a_job_is_dated() {
        let failed = json!([{"type": "Suspended", "status": "False"},
            {"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}]);
        assert_eq!(finished_at(&job(&failed)), "2026-01-02T03:04:05Z".parse().ok());
        assert_eq!(finished_at(&job(&json!([{"type": "Failed", "status": "False"}]))), None);
        assert_eq!(finished_at(&job(&json!([{"type": "FailureTarget", "status": "True"}]))), None);
    }
}
