//! The operator dies after every single write that it ever makes, and nothing comes out differently.
//!
//! Each scenario is played once undisturbed. Then once for every write of the operator in that run: the API server
//! carries the write out, its answer is lost, and the operator is killed at that moment and started from nothing. And
//! once more with the operator dying after each of its writes. Every time the end must be the same: the same objects,
//! the same number of reboots on every node; and at no moment may anything of ours be in the cluster without a
//! KataConfig that our finalizer holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use osc_devcluster::server::FaultAction;

use crate::parallel;
use crate::simulation::scenario::{self, Scenario};
use crate::simulation::{End, Findings, Rig, Stuck, after_each_write, differences, is_operators_write, play};

/// Options of `cargo xtask crash`.
#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
    /// Only after this write.
    #[arg(long, requires = "scenario")]
    point: Option<usize>,
}

/// When the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// After its write of this number, counted from 1.
    After(usize),
    /// After each of its writes.
    AfterEach,
}

/// What came of one point.
#[derive(Debug)]
pub struct Trial {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// When the operator died.
    pub point: Point,
    /// How often it died.
    pub deaths: usize,
    /// What was different in the end, or wrong on the way; a line each.
    pub divergence: Vec<String>,
    /// Reboots beyond those of the undisturbed run.
    pub extra_reboots: u32,
}

/// An undisturbed run.
pub struct Baseline {
    /// How it ended.
    pub end: End,
    /// How many writes the operator made.
    pub writes: usize,
}

/// Plays the scenario undisturbed.
pub fn baseline(scenario: &Scenario) -> Result<Baseline, Stuck> {
    let (end, rig) = play(scenario, 0, |_| async {});
    let log = rig.cluster().server().requests().snapshot();
    Ok(Baseline {
        end: end?,
        writes: log.iter().filter(|record| is_operators_write(&record.request)).count(),
    })
}

/// Plays the scenario with an operator that dies.
pub fn trial(scenario: &Scenario, baseline: &Baseline, point: Point) -> Trial {
    let found = Findings::default();
    let deaths = Arc::new(AtomicUsize::new(0));
    let (end, rig) = play(scenario, 0, |rig| kill(rig, point, found.clone(), deaths.clone()));
    let mut divergence = std::mem::take(&mut *found.lock().unwrap());
    let mut extra_reboots = 0;
    match end {
        Err(stuck) => divergence.push(stuck.to_string()),
        Ok(end) => {
            divergence.extend(differences(&baseline.end.objects, &end.objects));
            divergence.extend(rig.left_behind());
            extra_reboots = extra(&baseline.end.reboots, &end.reboots);
        }
    }
    Trial {
        scenario: scenario.name,
        point,
        deaths: deaths.load(Ordering::Relaxed),
        divergence,
        extra_reboots,
    }
}

/// Reboots beyond the expected ones.
pub fn extra(expected: &BTreeMap<String, u32>, found: &BTreeMap<String, u32>) -> u32 {
    found
        .iter()
        .map(|(node, count)| count.saturating_sub(expected.get(node).copied().unwrap_or_default()))
        .sum()
}

/// Kills the operator when its time has come, and starts it anew.
async fn kill(rig: Rig, point: Point, found: Findings, deaths: Arc<AtomicUsize>) {
    let writes = AtomicUsize::new(0);
    rig.cluster().server().faults().set_hook(Arc::new(move |request| {
        if !is_operators_write(request) {
            return None;
        }
        let number = writes.fetch_add(1, Ordering::Relaxed) + 1;
        let dies = point == Point::AfterEach || point == Point::After(number);
        dies.then_some(FaultAction::DropAfter)
    }));
    after_each_write(&rig, &found, async |record| {
        if record.code == 0 {
            rig.kill_operator("first").await;
            deaths.fetch_add(1, Ordering::Relaxed);
            rig.start_operator("first", false);
        }
    })
    .await;
}

/// The same, for those who look only at how it ends.
pub async fn killer(rig: Rig, point: Point) {
    kill(rig, point, Findings::default(), Arc::default()).await;
}

/// All points of a scenario.
pub fn all(scenario: &Scenario) -> Result<Vec<Trial>, Stuck> {
    let baseline = baseline(scenario)?;
    let mut points: Vec<Point> = (1..=baseline.writes).map(Point::After).collect();
    points.push(Point::AfterEach);
    Ok(parallel::map(&points, |point| trial(scenario, &baseline, *point)))
}

/// The figures that the command ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Points tried.
    pub tried: usize,
    /// Points after which something was different.
    pub diverged: usize,
    /// Reboots beyond those of the undisturbed runs.
    pub extra_reboots: u32,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tried, diverged, extra_reboots } = self;
        write!(f, "crash points: {tried} tried, {diverged} diverged, {extra_reboots} extra reboots")
    }
}

/// Tries every point of the chosen scenarios and prints what came of it. True: nothing diverged.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut figures = Figures::default();
    for scenario in scenario::chosen(arguments.scenario.as_deref())? {
        let begun = std::time::Instant::now();
        let trials = match arguments.point {
            Some(point) => vec![trial(scenario, &baseline(scenario)?, Point::After(point))],
            None => all(scenario)?,
        };
        let diverged = trials.iter().filter(|trial| !trial.divergence.is_empty() || trial.extra_reboots > 0);
        for trial in diverged.clone() {
            println!("{} {:?}: {} extra reboots", trial.scenario, trial.point, trial.extra_reboots);
            trial.divergence.iter().for_each(|line| println!("  {line}"));
        }
        println!("{:24} {:4} points in {:.1} s", scenario.name, trials.len(), begun.elapsed().as_secs_f32());
        figures.tried += trials.len();
        figures.diverged += diverged.count();
        figures.extra_reboots += trials.iter().map(|trial| trial.extra_reboots).sum::<u32>();
    }
    println!("{figures}");
    Ok(figures.diverged == 0)
}
