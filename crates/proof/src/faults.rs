//! Random trouble, by the thousand, each schedule made from one number and repeatable by it.
//!
//! A schedule picks a scenario and plays it while requests of the operator are refused (409, 429 with `Retry-After`,
//! 500, 503, 504), reset before or after they are carried out, delayed or never answered; while watches end, expire,
//! or tell everything late; while the history is compacted, the API server is unreachable for minutes, the operator is
//! killed and started, two of them compete for the Lease, and its clock jumps. When the people in the scenario have
//! what they wanted, the trouble ends. Then everything must be as after an undisturbed run: the same objects, the same
//! number of reboots on every node; and at no moment may anything of ours have been there without a finalizer.

mod schedule;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use osc_devcluster::server::RequestRecord;

use crate::crash;
use crate::parallel;
use crate::simulation::scenario::{SCENARIOS, Scenario};
use crate::simulation::{End, Findings, OPERATOR, Stuck, after_each_write, differences, play};
pub use schedule::Schedule;

/// Options of `cargo xtask faults`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// Number of the first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Plays only the schedule of this number, and prints what the operator asked for and what became of it.
    #[arg(long, conflicts_with_all = ["schedules", "first"])]
    seed: Option<u64>,
}

/// What came of one schedule.
#[derive(Debug)]
pub struct Trial {
    /// Its number.
    pub seed: u64,
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Faults that happened.
    pub faults: usize,
    /// What was different in the end, or wrong on the way; a line each.
    pub divergence: Vec<String>,
    /// Every request of the operator with its answer.
    pub log: Vec<RequestRecord>,
}

/// How every scenario ends when nothing goes wrong, in the order of [`SCENARIOS`].
pub struct Baselines(Vec<End>);

impl Baselines {
    /// Plays every scenario undisturbed.
    pub fn of_all() -> Result<Self, Stuck> {
        let ends =
            parallel::map(SCENARIOS, |scenario| crash::baseline(scenario).map(|baseline| baseline.end));
        ends.into_iter().collect::<Result<_, _>>().map(Self)
    }
}

/// Plays one schedule.
pub fn trial(baselines: &Baselines, seed: u64) -> Trial {
    let schedule = Schedule::new(seed);
    let _told = ToldOnPanic(seed);
    let found = Findings::default();
    let (scenario, expected) = (&SCENARIOS[schedule.scenario], &baselines.0[schedule.scenario]);
    let faults = schedule.faults.clone();
    let (end, rig) = play(scenario, seed, |rig| {
        let found = found.clone();
        async move {
            tokio::join!(after_each_write(&rig, &found, async |_| {}), schedule.trouble(rig.clone()));
        }
    });
    let mut divergence = std::mem::take(&mut *found.lock().unwrap());
    match end {
        Err(stuck) => divergence.push(stuck.to_string()),
        Ok(end) => {
            divergence.extend(differences(&expected.objects, &end.objects));
            divergence.extend(rig.left_behind());
            divergence.extend(reboots(scenario, &expected.reboots, &end.reboots));
        }
    }
    let mut log = rig.cluster().server().requests().snapshot();
    log.retain(|record| record.request.user_agent.starts_with(OPERATOR));
    Trial {
        seed,
        scenario: scenario.name,
        faults: faults.load(std::sync::atomic::Ordering::Relaxed),
        divergence,
        log,
    }
}

/// Says on the way out of a panic which schedule it was.
struct ToldOnPanic(u64);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with: cargo xtask faults --seed {}", self.0);
        }
    }
}

fn reboots(
    scenario: &Scenario,
    expected: &BTreeMap<String, u32>,
    found: &BTreeMap<String, u32>,
) -> Option<String> {
    let fine = |(node, count): (&String, &u32)| {
        expected.get(node).is_some_and(|wanted| (*wanted..=wanted + scenario.splits).contains(count))
    };
    let same = expected.len() == found.len() && found.iter().all(fine);
    (!same).then(|| format!("reboots are {found:?} instead of {expected:?}"))
}

/// The figures that the command ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Schedules tried.
    pub tried: usize,
    /// Those after which something was different.
    pub diverged: usize,
    /// Faults in all of them.
    pub faults: usize,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "fault schedules: {} tried, {} diverged", self.tried, self.diverged)
    }
}

/// Plays many schedules; tells of each that diverged.
pub fn many(first: u64, schedules: u64, tell: impl Fn(&Trial) + Sync) -> Result<Figures, Stuck> {
    let baselines = Baselines::of_all()?;
    let seeds: Vec<u64> = (first..first.saturating_add(schedules)).collect();
    let results = parallel::map(&seeds, |seed| {
        let trial = trial(&baselines, *seed);
        if !trial.divergence.is_empty() {
            tell(&trial);
        }
        (trial.divergence.is_empty(), trial.faults)
    });
    Ok(Figures {
        tried: results.len(),
        diverged: results.iter().filter(|(fine, _)| !fine).count(),
        faults: results.iter().map(|(_, faults)| faults).sum(),
    })
}

/// A divergence in words, with the command that repeats it.
pub fn told(trial: &Trial) -> String {
    let Trial { scenario, seed, divergence, .. } = trial;
    format!(
        "{scenario} diverged; again with: cargo xtask faults --seed {seed}\n  {}",
        divergence.join("\n  ")
    )
}

/// Plays the schedules and prints what came of them. True: none diverged.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(seed) = arguments.seed {
        return replay(seed);
    }
    let begun = Instant::now();
    let figures = many(arguments.first, arguments.schedules, |trial| println!("{}", told(trial)))?;
    let seconds = begun.elapsed().as_secs();
    println!("{} faults in {} schedules, {seconds} s", figures.faults, figures.tried);
    println!("{figures}");
    Ok(figures.diverged == 0)
}

fn replay(seed: u64) -> anyhow::Result<bool> {
    let schedule = Schedule::new(seed);
    println!("{}", schedule.in_words());
    let trial = trial(&Baselines::of_all()?, seed);
    for record in &trial.log {
        let request = &record.request;
        let answer = if record.code == 0 { "no answer".to_owned() } else { record.code.to_string() };
        println!("{:.1} {} {:?} {} {answer}", record.time, request.user_agent, request.verb, request.path);
    }
    if trial.divergence.is_empty() {
        println!("{} did not diverge, {} faults", trial.scenario, trial.faults);
    } else {
        println!("{}", told(&trial));
    }
    Ok(trial.divergence.is_empty())
}

/// A duration between two, drawn from `random`.
fn between(random: &mut fastrand::Rng, least: Duration, most: Duration) -> Duration {
    least + most.saturating_sub(least).mul_f64(random.f64())
}
