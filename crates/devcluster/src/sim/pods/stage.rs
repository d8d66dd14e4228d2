//! What really runs on behalf of simulated pods: their [programs](crate::sim::program), and the requests for sandboxes
//! that programs answer. The kubelets look here what to write, and say here what to start and to stop.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::sim::program::{Ask, Context, Exit, Program, SandboxRequest, Sandboxes};
use crate::sim::queue::Queue;
use crate::sim::store::Key;
use crate::sim::world::{World, on_node};

/// A pod's program as its kubelet sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// It does not run.
    Absent,
    /// It runs, ready or not.
    Runs(bool),
    /// It has ended.
    Ended(Exit),
}

/// A pod's sandbox as its kubelet sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Nobody has to make one.
    Unneeded,
    /// Nobody serves the pod's handler on its node; whether there was one before.
    Unserved(bool),
    /// It was not asked for yet.
    Absent,
    /// It is being made.
    Creating,
    /// It is there.
    Ready,
    /// It could not be made.
    Failed(String),
    /// It is being removed.
    Deleting,
    /// It is removed.
    Gone,
}

/// Everything that runs. Empty again when [cleared](Stage::clear).
pub struct Stage {
    world: Arc<World>,
    queue: Arc<Queue<Key>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plays: HashMap<String, Running>,
    crashes: HashMap<String, u32>,
    sandboxes: HashMap<String, Sandbox>,
    services: HashMap<(String, String), (u64, mpsc::UnboundedSender<SandboxRequest>)>,
    serial: u64,
}

struct Running {
    serial: u64,
    ready: bool,
    exit: Option<Exit>,
    cancel: CancellationToken,
    task: Option<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// How a program speaks to its kubelet.
#[derive(Clone)]
pub struct Signals {
    stage: Weak<Stage>,
    key: Key,
    uid: String,
    serial: u64,
}

impl Signals {
    /// The program is ready.
    pub fn ready(&self) {
        self.edit(|play| play.ready = true);
    }

    fn ended(&self, exit: Exit) {
        self.edit(|play| play.exit = Some(exit));
    }

    fn edit(&self, edit: impl FnOnce(&mut Running)) {
        let Some(stage) = self.stage.upgrade() else { return };
        if let Some(play) = stage.lock().plays.get_mut(&self.uid).filter(|play| play.serial == self.serial) {
            edit(play);
        }
        stage.queue.add(self.key.clone());
    }

    /// Answers requests for sandboxes from now on.
    pub fn serve(&self, node: &str, handler: &str) -> Sandboxes {
        let (sender, requests) = mpsc::unbounded_channel();
        let at = (node.to_owned(), handler.to_owned());
        let mut serial = 0;
        if let Some(stage) = self.stage.upgrade() {
            serial = stage.next_serial();
            stage.lock().services.insert(at.clone(), (serial, sender));
            stage.look_at(node);
        }
        Sandboxes { requests, _service: Service { stage: self.stage.clone(), at, serial } }
    }
}

/// A handler that is served on a node as long as this exists.
pub struct Service {
    stage: Weak<Stage>,
    at: (String, String),
    serial: u64,
}

impl Drop for Service {
    fn drop(&mut self) {
        let Some(stage) = self.stage.upgrade() else { return };
        let mut known = stage.lock();
        if known.services.get(&self.at).is_some_and(|(serial, _)| *serial == self.serial) {
            known.services.remove(&self.at);
        }
        drop(known);
        stage.look_at(&self.at.0);
    }
}

impl Stage {
    /// An empty stage; `queue` is where the kubelets hear that they have to look at a pod again.
    pub fn new(world: Arc<World>, queue: Arc<Queue<Key>>) -> Self {
        Self { world, queue, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_serial(&self) -> u64 {
        let mut state = self.lock();
        state.serial += 1;
        state.serial
    }

    /// Has the kubelet look at a pod again.
    pub fn look_again(&self, key: &Key) {
        self.queue.add(key.clone());
    }

    fn look_at(&self, node: &str) {
        for pod in self.world.pods.indexed(&on_node(node)) {
            self.queue.add(Key::of(&*pod));
        }
    }

    /// Ends everything at once.
    pub fn clear(&self) {
        let old = std::mem::take(&mut *self.lock());
        // Outside of the lock: services say goodbye.
        drop(old);
    }

    /// The program that takes a pod.
    pub fn program(&self, pod: &Pod) -> Option<&Arc<dyn Program>> {
        self.world.options.programs.iter().find(|program| program.takes(pod))
    }

    /// How the pod's program is.
    pub fn play(&self, uid: &str) -> Play {
        match self.lock().plays.get(uid) {
            None => Play::Absent,
            Some(Running { exit: Some(exit), .. }) => Play::Ended(exit.clone()),
            Some(play) => Play::Runs(play.ready),
        }
    }

    /// How often the pod's program has ended although it should run.
    pub fn crashes(&self, uid: &str) -> u32 {
        self.lock().crashes.get(uid).copied().unwrap_or(0)
    }

    /// Starts a program, unless one runs for the pod.
    pub fn start(self: &Arc<Self>, program: &Arc<dyn Program>, pod: &Arc<Pod>, node: &str) {
        let (uid, serial) = (pod.uid().unwrap_or_default(), self.next_serial());
        let cancel = CancellationToken::new();
        {
            let mut state = self.lock();
            if state.plays.get(&uid).is_some_and(|play| play.exit.is_none()) {
                return;
            }
            let play = Running { serial, ready: false, exit: None, cancel: cancel.clone(), task: None };
            state.plays.insert(uid.clone(), play);
        }
        let signals = Signals { stage: Arc::downgrade(self), key: Key::of(&**pod), uid: uid.clone(), serial };
        let context = Context {
            client: self.world.client.clone(),
            pod: pod.clone(),
            node: node.to_owned(),
            clock: self.world.options.clock.clone(),
            cancel,
            signals: signals.clone(),
        };
        let future = program.run(context);
        let task = tokio::spawn(async move {
            let exit = AssertUnwindSafe(future).catch_unwind().await;
            signals.ended(exit.unwrap_or_else(|_| Exit::Failure("the program panicked".to_owned())));
        });
        if let Some(play) = self.lock().plays.get_mut(&uid).filter(|play| play.serial == serial) {
            play.task = Some(task.abort_handle());
        } else {
            task.abort();
        }
    }

    /// Asks the pod's program to end.
    pub fn cancel(&self, uid: &str) {
        if let Some(play) = self.lock().plays.get(uid) {
            play.cancel.cancel();
        }
    }

    /// The pod's program has ended although it should run: notes that and makes room for the next.
    pub fn crashed(&self, uid: &str) {
        let mut state = self.lock();
        let old = state.plays.remove(uid);
        *state.crashes.entry(uid.to_owned()).or_default() += 1;
        drop(state);
        drop(old);
    }

    /// The pod's node is down: what ran there is no more, sandboxes included.
    pub fn abort(&self, uid: &str) {
        let mut state = self.lock();
        let old = (state.plays.remove(uid), state.sandboxes.remove(uid));
        drop(state);
        drop(old);
    }

    /// The pod is no more.
    pub fn forget(&self, uid: &str) {
        self.abort(uid);
        self.lock().crashes.remove(uid);
    }

    /// The handler of the pod's runtime class, if some program serves it.
    fn handler(&self, pod: &Pod) -> Option<String> {
        let class = pod.spec.as_ref()?.runtime_class_name.as_deref()?;
        let class = self.world.runtime_classes.get(&Key::cluster(class))?;
        let mut served = self.world.options.programs.iter().filter_map(|program| program.serves());
        served.find(|handler| *handler == class.handler).map(str::to_owned)
    }

    /// How the pod's sandbox is.
    pub fn sandbox(&self, pod: &Pod, node: &str) -> Sandbox {
        let Some(handler) = self.handler(pod) else { return Sandbox::Unneeded };
        let state = self.lock();
        let known = state.sandboxes.get(&pod.uid().unwrap_or_default());
        match known {
            Some(Sandbox::Creating | Sandbox::Deleting | Sandbox::Gone) => {}
            _ if !state.services.contains_key(&(node.to_owned(), handler)) => {
                return Sandbox::Unserved(known == Some(&Sandbox::Ready));
            }
            _ => {}
        }
        known.cloned().unwrap_or(Sandbox::Absent)
    }

    /// Asks for the sandbox to be made or removed. An answer that never comes counts as a failure once whoever
    /// should give it is gone.
    pub fn ask(self: &Arc<Self>, ask: Ask, pod: &Arc<Pod>, node: &str) {
        let Some(handler) = self.handler(pod) else { return };
        let (reply, answer) = oneshot::channel();
        let (uid, key) = (pod.uid().unwrap_or_default(), Key::of(&**pod));
        {
            let mut state = self.lock();
            let Some((_, service)) = state.services.get(&(node.to_owned(), handler)) else { return };
            if service.send(SandboxRequest { ask, pod: pod.clone(), reply }).is_err() {
                return;
            }
            let now = if ask == Ask::Create { Sandbox::Creating } else { Sandbox::Deleting };
            state.sandboxes.insert(uid.clone(), now);
        }
        let stage = Arc::downgrade(self);
        tokio::spawn(async move {
            let lost = || Err("the connection to the hypervisor was lost".to_owned());
            let outcome = answer.await.unwrap_or_else(|_| lost());
            let Some(stage) = stage.upgrade() else { return };
            stage.answered(ask, &uid, outcome);
            stage.queue.add(key);
        });
    }

    fn answered(&self, ask: Ask, uid: &str, outcome: Result<(), String>) {
        let mut state = self.lock();
        // The node may have gone down meanwhile.
        let Some(known) = state.sandboxes.get_mut(uid) else { return };
        *known = match (ask, outcome) {
            (Ask::Create, Ok(())) => Sandbox::Ready,
            (Ask::Create, Err(why)) => Sandbox::Failed(why),
            // A container runtime lets a pod go even if its hypervisor failed.
            (Ask::Delete, outcome) => {
                if let Err(why) = outcome {
                    tracing::debug!(uid, why, "a sandbox was not removed");
                }
                Sandbox::Gone
            }
        };
    }
}

/// How long a container waits for its next start after so many crashes.
pub fn back_off(crashes: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_mins(5);
    FIRST.saturating_mul(1 << crashes.saturating_sub(1).min(10)).min(LONGEST)
}
