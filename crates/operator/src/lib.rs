//! The operator: watches, snapshot, engine, apply, status, events, leader election, health, metrics.
//!
//! It takes no decisions: [`osc_engine::decide()`] does. The parts, in the order of a pass:
//!
//! - [`cache`]: watches keep projections of what the engine reads; a snapshot of them is an `Observed`.
//! - [`reconcile`]: one loop. Any number of events during a pass leads to one more.
//! - [`apply`]: carries out the steps of a plan, one after the other.
//! - [`peer_pods`]: virtual machines of pods that are gone.
//! - [`webhook`]: what the API server asks before it stores a KataConfig.
//! - [`metrics`], [`health`]: what is told to Prometheus and to the kubelet. [`leader`]: who of several works.

pub mod apply;
pub mod cache;
pub mod clock;
pub mod health;
pub mod leader;
pub mod metrics;
pub mod options;
pub mod peer_pods;
pub mod reconcile;
pub mod run;
pub mod webhook;

pub use clock::{Clock, SimulatedTime, WallClock};
pub use options::Options;
pub use run::{Error, run, run_with_clouds};
