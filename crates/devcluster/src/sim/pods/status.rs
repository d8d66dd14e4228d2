//! The status of a pod in each situation, as the kubelet writes it.

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::sim::node::address;
use crate::sim::options::{draw, hex};

/// The pod's conditions with some of them set: type, status, reason, message. A transition time changes only
/// together with the status.
pub fn condition(pod: &Pod, set: &[(&str, bool, &str, &str)], now: &Time) -> Vec<PodCondition> {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for (type_, status, reason, message) in set {
        let status = if *status { "True" } else { "False" };
        let known = conditions.iter().position(|known| known.type_ == *type_);
        let unchanged = known.map(|at| &conditions[at]).filter(|known| known.status == status);
        let since = unchanged.and_then(|known| known.last_transition_time.clone());
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let condition = PodCondition {
            type_: (*type_).to_owned(),
            status: status.to_owned(),
            reason: text(reason),
            message: text(message),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            ..PodCondition::default()
        };
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

/// Whether the pod's `Ready` condition is `True`.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

/// The container is not created yet, for this reason.
pub fn pending(pod: &Pod, node: &Node, reason: &str, message: &str, now: &Time) -> Value {
    let waiting = json!({"waiting": {"reason": reason, "message": message}});
    let set = [
        ("PodScheduled", true, "", ""),
        ("Initialized", true, "", ""),
        ("ContainersReady", false, "ContainersNotReady", "containers are not ready"),
        ("Ready", false, "ContainersNotReady", "containers are not ready"),
    ];
    json!({
        "phase": "Pending",
        "startTime": start_time(pod, now),
        "hostIP": address(node),
        "conditions": condition(pod, &set, now),
        "containerStatuses": containers(pod, &waiting, false, false),
    })
}

/// The pod runs. `restarted` adds one to the restarts of each container.
pub fn running(pod: &Pod, node: &Node, ready: bool, restarted: bool, now: &Time) -> Value {
    let reason = if ready { ("", "") } else { ("ContainersNotReady", "containers are not ready") };
    let set = [
        ("PodReadyToStartContainers", true, "", ""),
        ("PodScheduled", true, "", ""),
        ("Initialized", true, "", ""),
        ("ContainersReady", ready, reason.0, reason.1),
        ("Ready", ready, reason.0, reason.1),
    ];
    let state = json!({"running": {"startedAt": now}});
    let ip = pod_address(pod, node);
    json!({
        "phase": "Running",
        "startTime": start_time(pod, now),
        "hostIP": address(node),
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": condition(pod, &set, now),
        "containerStatuses": containers(pod, &state, ready, restarted),
    })
}

/// The pod's node is not ready: neither is the pod.
pub fn unready(pod: &Pod, now: &Time) -> Value {
    let mut statuses =
        pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
    for status in &mut statuses {
        status.ready = false;
    }
    let set = [
        ("ContainersReady", false, "ContainersNotReady", "the node is not ready"),
        ("Ready", false, "ContainersNotReady", "the node is not ready"),
    ];
    json!({"conditions": condition(pod, &set, now), "containerStatuses": statuses})
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// 0 for success.
    pub code: i32,
    /// One word.
    pub reason: &'static str,
    /// What it left as its last words.
    pub message: String,
}

impl Ending {
    /// It did its work.
    pub fn success(message: String) -> Self {
        Self { code: 0, reason: "Completed", message }
    }

    /// It did not.
    pub fn failure(message: String) -> Self {
        Self { code: 1, reason: "Error", message }
    }

    /// It was there before its node went down and is not there any more.
    pub fn lost() -> Self {
        let message = "The container could not be located when the pod was terminated".to_owned();
        Self { code: 137, reason: "ContainerStatusUnknown", message }
    }

    fn terminated(&self, pod: &Pod, now: &Time) -> Value {
        json!({"terminated": {
            "exitCode": self.code, "reason": self.reason, "message": self.message,
            "startedAt": running_since(pod).unwrap_or_else(|| start_time(pod, now)), "finishedAt": now,
        }})
    }
}

/// The pod has ended.
pub fn finished(pod: &Pod, ending: &Ending, now: &Time) -> Value {
    let succeeded = ending.code == 0;
    let (phase, why) = if succeeded { ("Succeeded", "PodCompleted") } else { ("Failed", "PodFailed") };
    let set = [("ContainersReady", false, why, ""), ("Ready", false, why, "")];
    json!({
        "phase": phase,
        "message": (!succeeded && !ending.message.is_empty()).then_some(&ending.message),
        "conditions": condition(pod, &set, now),
        "containerStatuses": containers(pod, &ending.terminated(pod, now), false, false),
    })
}

/// The pod's container has ended and is started again after a while.
pub fn crashed(pod: &Pod, ending: &Ending, back_off: &str, now: &Time) -> Value {
    let set = [
        ("ContainersReady", false, "ContainersNotReady", "containers are not ready"),
        ("Ready", false, "ContainersNotReady", "containers are not ready"),
    ];
    let waiting = json!({"waiting": {"reason": CRASH_LOOP, "message": back_off}});
    let mut statuses = containers(pod, &waiting, false, false);
    for status in &mut statuses {
        status["lastState"] = ending.terminated(pod, now);
    }
    json!({"conditions": condition(pod, &set, now), "containerStatuses": statuses})
}

/// The reason of a container that waits for another try.
pub const CRASH_LOOP: &str = "CrashLoopBackOff";

/// Since when the pod's first container has run.
fn running_since(pod: &Pod) -> Option<Time> {
    let mut containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.find_map(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone())
}

fn start_time(pod: &Pod, now: &Time) -> Time {
    pod.status.as_ref().and_then(|status| status.start_time.clone()).unwrap_or_else(|| now.clone())
}

fn containers(pod: &Pod, state: &Value, ready: bool, restarted: bool) -> Vec<Value> {
    let old = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let uid = pod.uid().unwrap_or_default();
    let specs = pod.spec.iter().flat_map(|spec| &spec.containers);
    specs
        .map(|container| {
            let known = old.iter().find(|status| status.name == container.name);
            let restarts = known.map_or(0, |status| status.restart_count);
            let last = known.and_then(|status| status.last_state.as_ref());
            let restarts = restarts + i32::from(restarted);
            let id = hex(&[&uid, &container.name, &restarts.to_string()], 64);
            let started = state.get("running").is_some();
            json!({
                "name": container.name,
                "image": container.image.clone().unwrap_or_default(),
                "imageID": container.image.clone().unwrap_or_default(),
                "containerID": if state.get("waiting").is_some() { String::new() } else { format!("cri-o://{id}") },
                "ready": ready,
                "started": started,
                "restartCount": restarts,
                "state": state,
                "lastState": last.map_or_else(|| json!({}), |last| json!(last)),
            })
        })
        .collect()
}

fn pod_address(pod: &Pod, node: &Node) -> String {
    let host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    if let (true, Some(address)) = (host, address(node)) {
        return address.to_owned();
    }
    let [a, b, c, _] = draw(&["pod-ip", &pod.uid().unwrap_or_default()]).to_be_bytes();
    format!("10.{}.{b}.{}", 128 + a % 4, 2 + c % 250)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn with_status(status: &Value) -> Pod {
        let value = json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_transition_time_changes_only_with_the_status() {
        let node = Node::default();
        let pod = with_status(&running(&with_status(&json!({})), &node, true, false, &at(10)));
        assert!(is_ready(&pod));
        let down = with_status(&running(&pod, &node, false, true, &at(20)));
        let time = |type_: &str| {
            let conditions = down.status.as_ref().unwrap().conditions.as_ref().unwrap();
            conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.clone()
        };
        assert_eq!((time("Initialized"), time("Ready")), (Some(at(10)), Some(at(20))));
        assert_eq!(down.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count, 1);
        assert_eq!(down.status.as_ref().unwrap().start_time, Some(at(10)));
    }

    #[test]
    fn the_end_of_a_pod_is_told_with_its_message() {
        let node = Node::default();
        let runs =
            with_status(&running(&with_status(&json!({"startTime": at(5)})), &node, true, false, &at(10)));
        for (ending, phase, message) in [
            (Ending::failure("out of memory".to_owned()), "Failed", Some("out of memory")),
            (Ending::success("image-1".to_owned()), "Succeeded", None),
        ] {
            let status = with_status(&finished(&runs, &ending, &at(30))).status.unwrap();
            assert_eq!((status.phase.as_deref(), status.message.as_deref()), (Some(phase), message));
            let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
            let told = state.terminated.unwrap();
            assert_eq!((told.exit_code, told.message), (ending.code, Some(ending.message)));
            assert_eq!((told.started_at, told.finished_at), (Some(at(10)), Some(at(30))));
        }
    }

    #[test]
    fn a_crash_is_remembered_over_the_next_start() {
        let node = Node::default();
        let runs = with_status(&running(&with_status(&json!({})), &node, true, false, &at(10)));
        let down = with_status(&crashed(&runs, &Ending::failure("no socket".to_owned()), "wait", &at(20)));
        assert!(!is_ready(&down));
        let again = with_status(&running(&down, &node, false, true, &at(30)));
        let status = again.status.unwrap().container_statuses.unwrap().remove(0);
        assert_eq!(status.restart_count, 1);
        let last = status.last_state.unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.message.as_deref()), (1, Some("no socket")));
    }
}
