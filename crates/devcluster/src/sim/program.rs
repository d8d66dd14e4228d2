//! Programs: real code that runs "in" simulated pods.
//!
//! Whoever starts a simulation gives it programs ([`SimOptions::programs`](super::SimOptions::programs)). A pod that
//! one of them takes follows no script: the kubelet of its node starts the program when it would start the
//! containers, asks it to stop when the pod is deleted, aborts it when the node goes down, and starts it again when
//! the node is back or when it has failed.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::pods::sources::{EnvError, env_of};
use super::pods::stage::{Service, Signals};
use crate::Clock;

/// What runs in pods.
pub trait Program: Send + Sync {
    /// Whether it runs in this pod.
    fn takes(&self, pod: &Pod) -> bool;

    /// Runs until it is done or cancelled.
    fn run(&self, context: Context) -> BoxFuture<'static, Exit>;

    /// The handler of runtime classes whose pods wait for this program: they start only on nodes on which it
    /// [serves](Context::serve) the handler.
    fn serves(&self) -> Option<&str> {
        None
    }
}

impl fmt::Debug for dyn Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("serves", &self.serves()).finish_non_exhaustive()
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exit code 0, with a termination message.
    Success(String),
    /// Exit code 1, with a termination message.
    Failure(String),
}

/// What a program gets.
pub struct Context {
    /// A client of the cluster.
    pub client: Client,
    /// The pod as it was when the program was started.
    pub pod: Arc<Pod>,
    /// The node it runs on.
    pub node: String,
    /// The time there.
    pub clock: Clock,
    /// Cancelled when the pod is deleted. A program that does not end then is aborted after the pod's grace period.
    pub cancel: CancellationToken,
    pub(super) signals: Signals,
}

impl Context {
    /// Says that the pod is ready.
    pub fn ready(&self) {
        self.signals.ready();
    }

    /// The environment of the pod's first container.
    pub async fn env(&self) -> Result<std::collections::BTreeMap<String, String>, EnvError> {
        env_of(&self.client, &self.pod).await
    }

    /// Makes and removes the sandboxes of this node's pods whose runtime class has this handler, until the answer is
    /// dropped. A later call for the same node takes the place of an earlier one.
    pub fn serve(&self, handler: &str) -> Sandboxes {
        self.signals.serve(&self.node, handler)
    }
}

/// What is asked about a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Make it.
    Create,
    /// Remove it.
    Delete,
}

/// One request of the container runtime.
pub struct SandboxRequest {
    /// What for.
    pub ask: Ask,
    /// Whose sandbox.
    pub pod: Arc<Pod>,
    pub(super) reply: oneshot::Sender<Result<(), String>>,
}

impl SandboxRequest {
    /// Answers. A request that is dropped counts as one that failed.
    pub fn answer(self, outcome: Result<(), String>) {
        // Nobody waits any more if the pod is gone.
        let _ = self.reply.send(outcome);
    }
}

/// The requests of one node for one handler.
pub struct Sandboxes {
    pub(super) requests: mpsc::UnboundedReceiver<SandboxRequest>,
    /// Ends the service when dropped.
    pub(super) _service: Service,
}

impl Sandboxes {
    /// The next request; none when somebody else has taken over.
    pub async fn next(&mut self) -> Option<SandboxRequest> {
        self.requests.recv().await
    }
}
