//! Simulated controllers of an OpenShift cluster: ordinary clients of whatever API server they are given.
//!
//! They run against the embedded server and against a real `kube-apiserver` alike, in simulated time. What they do
//! can be bent by [annotations]; what they start from is made by [topology], or taken from another cluster by [adopt]. Each decides with a pure function and
//! carries it out apart from that:
//!
//! - [`machine_config`]: the Machine Config Operator: rendered configs, pools, the daemon on each node.
//! - [`pods`]: the scheduler and the kubelets.
//! - [`program`]: real code that runs in simulated pods; [`adaptor`] is one that plays the remote hypervisor.
//! - [`workload`]: DaemonSets, Deployments, Jobs, PodDisruptionBudgets.
//! - [`node`]: the taints that follow from a node's state.
//! - [`service_ca`]: certificates of Services, as OpenShift makes them.
//! - [`node_agent`]: the agents that install Kata where there is no Machine Config Operator.
//!
//! A kind that the cluster does not serve counts as a kind without objects, so plain Kubernetes is fine too.
//! Outages are survived: watches are taken up again, writes are tried again.

pub mod adaptor;
pub mod adopt;
pub mod annotations;
mod feed;
pub mod machine_config;
pub mod node;
pub mod node_agent;
mod options;
pub mod placement;
pub mod pods;
pub mod program;
mod queue;
pub mod resources;
pub mod script;
pub mod service_ca;
mod since;
mod store;
pub mod topology;
pub mod workload;
mod world;

pub use options::{SimOptions, Timing};
pub use pods::sources::{EnvError, env_of, env_of_container};

use std::sync::Arc;

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use machine_config::RenderErrors;
use machine_config::membership::Fleet;
use queue::Queue;
use world::World;

/// Why a simulation could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A controller ended although nobody asked it to; a defect of this crate.
    #[error("a simulated controller ended unexpectedly: {0}")]
    Controller(String),
    /// An object of the [topology] cannot be created.
    #[error("cannot create {what}: {source}")]
    Create {
        /// Kind and name.
        what: String,
        /// What the server said.
        source: Box<kube::Error>,
    },
    /// An object of the topology is of a kind that nobody told the client about.
    #[error("cannot create {what}: it has no apiVersion, kind or name")]
    Malformed {
        /// What there is of it.
        what: String,
    },
}

/// Runs all controllers until cancelled.
pub async fn run(client: Client, options: SimOptions, cancel: CancellationToken) -> Result<(), SimError> {
    let world = Arc::new(World::new(client, options));
    let mut tasks = JoinSet::new();
    let shared = world.clone();
    tasks.spawn(async move { Box::pin(shared.watch()).await });
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = world.wait_synced() => spawn_controllers(&world, &cancel, &mut tasks),
    }
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            // Controllers end when cancelled, which may be noticed here first.
            Ok(()) if cancel.is_cancelled() => Ok(()),
            Ok(()) => Err(SimError::Controller("it returned".to_owned())),
            Err(error) => Err(SimError::Controller(error.to_string())),
        },
    };
    tasks.shutdown().await;
    world.forget_handlers();
    result
}

fn spawn_controllers(world: &Arc<World>, cancel: &CancellationToken, tasks: &mut JoinSet<()>) {
    let start = || (world.clone(), cancel.clone());
    let (w, c) = start();
    tasks.spawn(node::run(w, c));
    let (w, c) = start();
    tasks.spawn(node_agent::run(w, c));
    let (w, c) = start();
    tasks.spawn(pods::scheduler::run(w, c));
    let (w, c) = start();
    tasks.spawn(pods::kubelet::run(w, c));
    let (w, c) = start();
    tasks.spawn(pods::allocatable::run(w, c));
    let (w, c) = start();
    tasks.spawn(workload::daemon_set::run(w, c));
    let (w, c) = start();
    tasks.spawn(workload::deployment::run(w, c));
    let (w, c) = start();
    tasks.spawn(workload::job::run(w, c));
    let (w, c) = start();
    tasks.spawn(workload::disruption::run(w, c));
    let (w, c) = start();
    tasks.spawn(workload::replacement::run(w, c));
    let (w, c) = start();
    tasks.spawn(machine_config::container_runtime::run(w, c));
    let (w, c) = start();
    tasks.spawn(service_ca::run(w, c));

    let fleet = Arc::new(Fleet::default());
    let errors = Arc::new(RenderErrors::default());
    let pools = Arc::new(Queue::new("machine-config-pools"));
    // The fleet has to know every node before the daemons ask which pool theirs is.
    machine_config::pool::connect(world, &fleet, &pools);
    let (w, c) = start();
    tasks.spawn(machine_config::pool::run(w, fleet.clone(), errors.clone(), pools.clone(), c));
    let (w, c) = start();
    let notify = move |pool: &str| pools.add(pool.to_owned());
    tasks.spawn(machine_config::render::run(w, errors, notify, c));
    let (w, c) = start();
    tasks.spawn(machine_config::agent::run(w, fleet, c));
}
