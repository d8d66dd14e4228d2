//! The kubelets of all nodes: start pods, follow their scripts, end them.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::status;
use crate::sim::annotations::{MIRROR_POD, SCRIPT};
use crate::sim::node::is_ready as node_is_ready;
use crate::sim::options::Timing;
use crate::sim::queue::{Next, Queue};
use crate::sim::script::Script;
use crate::sim::since::Since;
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, on_node};

/// Whether a pod's node is there and works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// It is there and ready.
    Ready,
    /// It is there but not ready: nothing happens on it.
    NotReady,
    /// It does not exist.
    Gone,
}

/// What a kubelet sees of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// It is being deleted.
    pub terminating: bool,
    /// `Pending`, `Running`, ...
    pub phase: String,
    /// It is ready.
    pub ready: bool,
    /// Its container waits for this reason.
    pub waiting: Option<String>,
    /// What becomes of it.
    pub script: Script,
}

/// What a kubelet does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing, until something changes.
    Rest,
    /// Say why the container does not start.
    Hold(&'static str, String),
    /// Start it, ready or not.
    Start(bool),
    /// Start it again after a reboot.
    Restart,
    /// Say that it is not ready, since the node is not.
    Unready,
    /// End it.
    Finish(bool, String),
    /// Remove it.
    Remove,
}

/// What to do about a pod, and after how long in the present situation.
pub fn step(pod: &PodView, host: Host, timing: &Timing) -> (Duration, Act) {
    const NOW: Duration = Duration::ZERO;
    if host == Host::Gone {
        // Nothing runs on a node that does not exist; the pod's garbage collector removes the object.
        return (NOW, Act::Remove);
    }
    if host == Host::NotReady {
        return (NOW, if pod.ready { Act::Unready } else { Act::Rest });
    }
    if pod.terminating {
        return (timing.pod_stop, Act::Remove);
    }
    match (pod.phase.as_str(), &pod.script) {
        ("Succeeded" | "Failed", _) | ("Running", Script::NeverReady) => (NOW, Act::Rest),
        ("Running", Script::Succeed(after)) => (*after, Act::Finish(true, String::new())),
        ("Running", Script::Fail(after, message)) => (*after, Act::Finish(false, message.clone())),
        ("Running", _) if pod.ready => (NOW, Act::Rest),
        ("Running", _) => (timing.pod_start, Act::Restart),
        (_, Script::Pending(reason, _)) if pod.waiting.as_deref() == Some(reason) => (NOW, Act::Rest),
        (_, Script::Pending(reason, message)) => (NOW, Act::Hold(reason, message.clone())),
        (_, Script::NeverReady) => (timing.pod_start, Act::Start(false)),
        _ => (timing.pod_start, Act::Start(true)),
    }
}

/// Reads what matters from a pod.
pub fn view(pod: &Pod, timing: &Timing) -> PodView {
    let script = match pod.annotations().get(SCRIPT) {
        Some(text) => Script::parse(text),
        None if controller_of(pod).is_some_and(|(kind, ..)| kind == "Job") => Script::Succeed(timing.job),
        None => Script::Run,
    };
    let status = pod.status.as_ref();
    let mut containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let waiting = containers.find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    PodView {
        terminating: pod.metadata.deletion_timestamp.is_some(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".to_owned()),
        ready: status::is_ready(pod),
        waiting,
        script,
    }
}

type Memory = Since<String, Discriminant<Act>>;

/// Runs the kubelets until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("kubelet"));
    let memory = Arc::new(Memory::new());
    let (adds, forgets) = (queue.clone(), memory.clone());
    world.pods.on_change(move |change| match (&change.before, &change.after) {
        (_, Some(pod)) if node_of(pod).is_some() => adds.add(Key::of(&**pod)),
        (Some(pod), None) => forgets.forget(&pod.uid().unwrap_or_default()),
        _ => {}
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.nodes.on_change(move |change| {
        if let Some(node) = change.object()
            && change.differs(node_is_ready)
        {
            for pod in shared.pods.indexed(&on_node(&node.name_any())) {
                adds.add(Key::of(&*pod));
            }
        }
    });
    queue.run(16, &cancel, |key| sync(world.clone(), memory.clone(), key)).await;
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

async fn sync(world: Arc<World>, memory: Arc<Memory>, key: Key) -> Next {
    let Some(pod) = world.pods.get(&key) else { return Ok(None) };
    let Some(node_name) = node_of(&pod) else { return Ok(None) };
    let node = world.nodes.get(&Key::cluster(node_name));
    let host = match &node {
        None => Host::Gone,
        Some(node) if node_is_ready(node) => Host::Ready,
        Some(_) => Host::NotReady,
    };
    let timing = &world.options.timing;
    let (after, act) = step(&view(&pod, timing), host, timing);
    if act == Act::Rest || pod.annotations().contains_key(MIRROR_POD) {
        return Ok(None);
    }
    let elapsed = memory.elapsed(pod.uid().unwrap_or_default(), discriminant(&act), world.now());
    if let Some(left) = after.checked_sub(elapsed).filter(|left| !left.is_zero()) {
        return Ok(Some(world.real(left)));
    }
    perform(&world, &key, &pod, &node.unwrap_or_default(), act).await?;
    Ok(None)
}

async fn perform(world: &World, key: &Key, pod: &Pod, node: &Node, act: Act) -> Result<(), kube::Error> {
    let now = world.time();
    let status = match act {
        Act::Rest => return Ok(()),
        Act::Remove => return world.delete(&world.pods, pod, Some(0)).await,
        Act::Hold(reason, message) => status::pending(pod, node, reason, &message, &now),
        Act::Start(ready) => status::running(pod, node, ready, false, &now),
        Act::Restart => status::running(pod, node, true, true, &now),
        Act::Unready => status::unready(pod, &now),
        Act::Finish(succeeded, message) => status::finished(pod, succeeded, &message, &now),
    };
    world.patch_status(&world.pods, key, &json!({"status": status})).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pod(phase: &str, ready: bool, script: &str) -> PodView {
        let script = Script::parse(script);
        PodView { terminating: false, phase: phase.to_owned(), ready, waiting: None, script }
    }

    #[rstest]
    #[case::starts(pod("Pending", false, "run"), Host::Ready, 3, Act::Start(true))]
    #[case::waits_for_its_node(pod("Pending", false, "run"), Host::NotReady, 0, Act::Rest)]
    #[case::runs(pod("Running", true, "run"), Host::Ready, 0, Act::Rest)]
    #[case::node_down(pod("Running", true, "run"), Host::NotReady, 0, Act::Unready)]
    #[case::stays_down(pod("Running", false, "run"), Host::NotReady, 0, Act::Rest)]
    #[case::node_up(pod("Running", false, "run"), Host::Ready, 3, Act::Restart)]
    #[case::node_gone(pod("Running", true, "run"), Host::Gone, 0, Act::Remove)]
    #[case::script_starts_first(pod("Pending", false, "fail: x"), Host::Ready, 3, Act::Start(true))]
    #[case::succeeds(
        pod("Running", true, "succeed after 9s"),
        Host::Ready,
        9,
        Act::Finish(true, String::new())
    )]
    #[case::fails(pod("Running", true, "fail: x"), Host::Ready, 0, Act::Finish(false, "x".into()))]
    #[case::over(pod("Failed", false, "fail: x"), Host::Ready, 0, Act::Rest)]
    #[case::never_ready(pod("Pending", false, "never-ready"), Host::Ready, 3, Act::Start(false))]
    #[case::still_never_ready(pod("Running", false, "never-ready"), Host::Ready, 0, Act::Rest)]
    fn what_a_kubelet_does(#[case] pod: PodView, #[case] host: Host, #[case] after: u64, #[case] act: Act) {
        assert_eq!(step(&pod, host, &Timing::default()), (Duration::from_secs(after), act));
    }

    #[test]
    fn a_terminating_pod_ends_only_on_a_node_that_works() {
        let pod = PodView { terminating: true, ..pod("Running", false, "run") };
        let timing = Timing::default();
        assert_eq!(step(&pod, Host::Ready, &timing), (timing.pod_stop, Act::Remove));
        assert_eq!(step(&pod, Host::NotReady, &timing), (Duration::ZERO, Act::Rest));
        assert_eq!(step(&pod, Host::Gone, &timing), (Duration::ZERO, Act::Remove));
    }

    #[test]
    fn what_is_held_is_said_once() {
        let held = pod("Pending", false, "nonsense");
        let (_, act) = step(&held, Host::Ready, &Timing::default());
        assert!(matches!(act, Act::Hold("InvalidScript", _)));
        let told = PodView { waiting: Some("InvalidScript".into()), ..held };
        assert_eq!(step(&told, Host::Ready, &Timing::default()), (Duration::ZERO, Act::Rest));
    }
}
