//! The kubelets of all nodes: start pods, follow their scripts or run their programs, end them.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::sources::{self, Kind};
use super::stage::{Sandbox, Stage, back_off};
use super::status;
use super::step::{Act, Again, Host, Missing, PodView, step};
use crate::sim::annotations::{MIRROR_POD, SCRIPT};
use crate::sim::node::is_ready as node_is_ready;
use crate::sim::options::Timing;
use crate::sim::queue::{Next, Queue};
use crate::sim::script::Script;
use crate::sim::since::Since;
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, in_namespace, on_node};

/// How long a pod may take to end if it does not say so.
const GRACE: Duration = Duration::from_secs(30);

/// What the kubelets share.
struct Kubelet {
    world: Arc<World>,
    stage: Arc<Stage>,
    memory: Since<String, Discriminant<Act>>,
}

/// Ends what runs with the kubelets, also if those are just dropped.
struct Curtain(Arc<Stage>);

impl Drop for Curtain {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Reads what matters from a pod without a look at what runs.
pub fn view(pod: &Pod, timing: &Timing) -> PodView {
    let script = match pod.annotations().get(SCRIPT) {
        Some(text) => Script::parse(text),
        None if controller_of(pod).is_some_and(|(kind, ..)| kind == "Job") => {
            Script::Succeed(timing.job, String::new())
        }
        None => Script::Run,
    };
    let status = pod.status.as_ref();
    let mut containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let waiting = containers.find_map(|container| container.state.as_ref()?.waiting.clone());
    let grace = pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    PodView {
        terminating: pod.metadata.deletion_timestamp.is_some(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".to_owned()),
        ready: status::is_ready(pod),
        waiting: waiting.map(|why| (why.reason.unwrap_or_default(), why.message.unwrap_or_default())),
        script,
        play: None,
        crashes: 0,
        sandbox: Sandbox::Unneeded,
        missing: Missing::default(),
        again: match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => Again::Never,
            Some("OnFailure") => Again::OnFailure,
            _ => Again::Always,
        },
        grace: grace.map_or(GRACE, Duration::from_secs),
    }
}

/// Runs the kubelets until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("kubelet"));
    let stage = Arc::new(Stage::new(world.clone(), queue.clone()));
    let _curtain = Curtain(stage.clone());
    let kubelet = Arc::new(Kubelet { world, stage, memory: Since::new() });
    connect(&kubelet, &queue);
    queue
        .run(16, &cancel, |key| {
            let kubelet = kubelet.clone();
            async move { kubelet.sync(key).await }
        })
        .await;
}

fn connect(kubelet: &Arc<Kubelet>, queue: &Arc<Queue<Key>>) {
    let world = &kubelet.world;
    let (adds, shared) = (queue.clone(), kubelet.clone());
    world.pods.on_change(move |change| {
        let uid = |pod: &Pod| pod.uid().unwrap_or_default();
        if let Some(before) = &change.before
            && change.after.as_deref().map(uid) != Some(uid(before))
        {
            shared.memory.forget(&uid(before));
            shared.stage.forget(&uid(before));
        }
        if let Some(pod) = change.after.as_ref().filter(|pod| node_of(pod).is_some()) {
            adds.add(Key::of(&**pod));
        }
    });
    let (adds, shared) = (queue.clone(), kubelet.clone());
    world.nodes.on_change(move |change| {
        if let Some(node) = change.object()
            && change.differs(node_is_ready)
        {
            for pod in shared.world.pods.indexed(&on_node(&node.name_any())) {
                adds.add(Key::of(&*pod));
            }
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.config_maps.on_change(move |change| {
        if let Some(map) = change.object() {
            look_again(&shared, &adds, &map.namespace().unwrap_or_default());
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.secrets.on_change(move |change| {
        if let Some(secret) = change.object() {
            look_again(&shared, &adds, &secret.namespace().unwrap_or_default());
        }
    });
}

/// Pods that have not started may wait for what is there now.
fn look_again(world: &World, queue: &Queue<Key>, namespace: &str) {
    for pod in world.pods.indexed(&in_namespace(namespace)) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if node_of(&pod).is_some() && matches!(phase, None | Some("Pending")) {
            queue.add(Key::of(&*pod));
        }
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

impl Kubelet {
    async fn sync(&self, key: Key) -> Next {
        let Some(pod) = self.world.pods.get(&key) else { return Ok(None) };
        let Some(node_name) = node_of(&pod) else { return Ok(None) };
        if pod.annotations().contains_key(MIRROR_POD) {
            return Ok(None);
        }
        let uid = pod.uid().unwrap_or_default();
        let node = self.world.nodes.get(&Key::cluster(node_name));
        let host = match &node {
            None => Host::Gone,
            Some(node) if node_is_ready(node) => Host::Ready,
            Some(_) => Host::NotReady,
        };
        if host != Host::Ready {
            self.stage.abort(&uid);
        }
        let timing = &self.world.options.timing;
        let view = self.look(&pod, node_name);
        if view.terminating {
            self.stage.cancel(&uid);
        }
        let (after, act) = step(&view, host, timing);
        if act == Act::Rest {
            return Ok(None);
        }
        let elapsed = self.memory.elapsed(uid, discriminant(&act), self.world.now());
        if let Some(left) = after.checked_sub(elapsed).filter(|left| !left.is_zero()) {
            return Ok(Some(self.world.real(left)));
        }
        self.perform(&key, &pod, &node.unwrap_or_default(), act).await?;
        Ok(None)
    }

    /// The pod with everything that runs for it.
    fn look(&self, pod: &Arc<Pod>, node: &str) -> PodView {
        let mut view = view(pod, &self.world.options.timing);
        let uid = pod.uid().unwrap_or_default();
        view.play = self.stage.program(pod).map(|_| self.stage.play(&uid));
        view.crashes = self.stage.crashes(&uid);
        view.sandbox = self.stage.sandbox(pod, node);
        if view.phase == "Pending" && !self.world.options.partial {
            let namespace = pod.namespace().unwrap_or_default();
            let find = |kind: Kind, name: &str| sources::cached(&self.world, &namespace, kind, name);
            let volumes = sources::unmountable(pod, &find);
            view.missing = Missing { volumes, environment: sources::unconfigured(pod, &find) };
        }
        view
    }

    async fn perform(&self, key: &Key, pod: &Arc<Pod>, node: &Node, act: Act) -> Result<(), kube::Error> {
        let now = self.world.time();
        let uid = pod.uid().unwrap_or_default();
        let plays = matches!(act, Act::Start(_) | Act::Restart | Act::Resume);
        let crashed = matches!(act, Act::Crash(_));
        let status = match act {
            Act::Rest | Act::Resume => None,
            Act::Sandbox(ask) => {
                self.stage.ask(ask, pod, &node.name_any());
                // What was waited for before does not count for the next time.
                self.memory.forget(&uid);
                self.stage.look_again(key);
                None
            }
            Act::Remove => return self.world.delete(&self.world.pods, &**pod, Some(0)).await,
            Act::Hold(reason, message) => Some(status::pending(pod, node, reason, &message, &now)),
            Act::Start(ready) => Some(status::running(pod, node, ready, false, &now)),
            Act::Ready => Some(status::running(pod, node, true, false, &now)),
            Act::Restart => {
                let ready = self.stage.program(pod).is_none();
                Some(status::running(pod, node, ready, true, &now))
            }
            Act::Unready => Some(status::unready(pod, &now)),
            Act::Crash(ending) => {
                let text = crash_loop(pod, self.stage.crashes(&uid) + 1);
                Some(status::crashed(pod, &ending, &text, &now))
            }
            Act::Finish(ending) => Some(status::finished(pod, &ending, &now)),
        };
        if let Some(status) = status {
            self.world.patch_status(&self.world.pods, key, &json!({"status": status})).await?;
        }
        if crashed {
            self.stage.crashed(&uid);
            self.stage.look_again(key);
        }
        if plays && let Some(program) = self.stage.program(pod) {
            // As it is now, with its address.
            let pod = self.world.pods.get(key).unwrap_or_else(|| pod.clone());
            self.stage.start(program, &pod, &node.name_any());
        }
        Ok(())
    }
}

fn crash_loop(pod: &Pod, crashes: u32) -> String {
    let container =
        pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| &*container.name).next();
    format!(
        "back-off {}s restarting failed container={} pod={}_{}({})",
        back_off(crashes).as_secs(),
        container.unwrap_or_default(),
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default()
    )
}
