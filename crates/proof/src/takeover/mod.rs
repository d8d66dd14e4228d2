//! An installation of the Go operator is gone on with: no machine config and no pool is changed, no node reboots, and what
//! people ask for afterwards costs exactly the reboots that it must.
//!
//! Each [`fixture`] begins on a bare cluster. The Go operator's objects (`go`) are created the way it creates them, and the
//! simulated Machine Config Operator brings the nodes to where they lead; so nodes, pools and rendered machine configs
//! are consistent because they have come about, not because somebody wrote them so. Then our operator is started, and
//! the [`story`] goes on: rest, a change of the log level, of the selection where there is one, and removal.

pub mod bed;
pub mod fixture;
mod go;
pub mod story;

use std::collections::BTreeMap;
use std::sync::Mutex;

use clap::Args;
use osc_devcluster::Contents;
use serde_json::Value;

use crate::parallel;
use crate::simulation::simulate;
use bed::Bed;
use fixture::Fixture;
use story::{Outcome, play};

/// Options of `cargo xtask takeover`.
#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// Only this fixture.
    #[arg(long)]
    fixture: Option<String>,
}

/// The figures that the command ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Fixtures that were played.
    pub fixtures: usize,
    /// Machine configs and pools that were changed, or written, by taking over.
    pub changed: usize,
    /// Whatever else was wrong.
    pub wrong: usize,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "takeover: {} fixtures, {} changed machine configs or pools", self.fixtures, self.changed)
    }
}

/// Plays fixtures on embedded clusters in simulated time.
pub fn play_all(fixtures: &[Fixture]) -> Vec<Outcome> {
    parallel::map(fixtures, |fixture| {
        simulate(0, async {
            let bed = Bed::embedded(fixture.topology.clone()).await;
            let outcome = play(fixture, &bed).await;
            bed.stop().await;
            outcome
        })
    })
}

/// What the Go operator leaves in the cluster of that fixture, nodes and pools included: where our operator begins.
pub fn left_behind(name: &'static str) -> Contents {
    // The same for each of hundreds of runs that begin there.
    static CACHE: Mutex<BTreeMap<&str, Vec<Value>>> = Mutex::new(BTreeMap::new());
    let mut cache = CACHE.lock().unwrap();
    let objects = cache.entry(name).or_insert_with(|| {
        let fixture =
            fixture::all().into_iter().find(|fixture| fixture.name == name).expect("a fixture's name");
        simulate(0, async {
            let bed = Bed::embedded(fixture.topology.clone()).await;
            fixture.happen(&bed).await;
            let objects = bed.objects();
            bed.stop().await;
            objects
        })
    });
    Contents::Objects(objects.clone())
}

/// Plays the chosen fixtures and prints what came of it. True: nothing was wrong.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let all = fixture::all();
    let wanted = arguments.fixture.as_deref();
    let fixtures: Vec<Fixture> =
        all.iter().filter(|fixture| wanted.is_none_or(|name| fixture.name == name)).cloned().collect();
    if fixtures.is_empty() {
        let names: Vec<&str> = all.iter().map(|fixture| fixture.name).collect();
        anyhow::bail!("there is no fixture {:?}; there are {}", wanted.unwrap_or_default(), names.join(", "));
    }
    let mut figures = Figures { fixtures: fixtures.len(), ..Figures::default() };
    for (fixture, outcome) in fixtures.iter().zip(play_all(&fixtures)) {
        println!("{:30} {}", fixture.name, outcome.told.join(", "));
        outcome.changed.iter().for_each(|name| println!("  changed by taking over: {name}"));
        outcome.wrong.iter().for_each(|line| println!("  {line}"));
        figures.changed += outcome.changed.len();
        figures.wrong += outcome.wrong.len();
    }
    println!("{figures}");
    Ok(figures.changed == 0 && figures.wrong == 0)
}
