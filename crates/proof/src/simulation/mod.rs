//! The operator and a whole cluster in one thread, in simulated time.
//!
//! Nothing waits: when every task sleeps, the clock jumps to the next one that wants to wake up, so that a rollout of
//! an hour takes some milliseconds. And nothing is left to chance: one seed, one sequence of events.

mod lasting;
mod leaks;
mod peer_pods;
mod rig;
pub mod scenario;
mod writes;

use std::collections::BTreeMap;

pub use lasting::{differences, lasting};
pub use rig::{OPERATOR, Rig, Stuck, peer_pods_options};
pub use writes::{Findings, after_each_write, is_operators_write};

use scenario::Scenario;
use serde_json::Value;

/// Runs `work` in a runtime of its own, in simulated time. `seed` decides everything that is random.
pub fn simulate<F: Future>(seed: u64, work: F) -> F::Output {
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// What is left of a run when everything has come to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Everything that lasts.
    pub objects: BTreeMap<String, Value>,
    /// How often each node rebooted.
    pub reboots: BTreeMap<String, u32>,
}

/// Plays a scenario to its end while nothing goes wrong but what `trouble` makes of it.
pub fn play<T, F>(scenario: &Scenario, seed: u64, trouble: T) -> (Result<End, Stuck>, Rig)
where
    T: FnOnce(Rig) -> F,
    F: Future<Output = ()>,
{
    // Before the simulation begins: some contents come out of one of their own.
    let contents = scenario.contents();
    simulate(seed, async {
        let rig = Rig::start(contents, seed).await;
        let result = tokio::select! {
            biased;
            never = async { trouble(rig.clone()).await; std::future::pending().await } => never,
            result = async {
                scenario.play(&rig).await?;
                rig.be_satisfied();
                rig.rest().await?;
                Ok(rig.end())
            } => result,
        };
        (result, rig)
    })
}
