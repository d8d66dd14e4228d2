//! `osc plan`: what would happen, before a single node reboots.
//!
//! The operator itself does it, on the embedded cluster filled with a snapshot, in simulated time; what is told is what
//! it did. Nothing here decides what the operator would do.

mod capacity;
mod diff;
mod pace;
mod record;
mod show;
mod simulation;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::SignedDuration;
use serde::Serialize;

use crate::Output;
use crate::preflight::finding::Finding;
use crate::preflight::{self, Intent};
use crate::snapshot::{Snapshot, Source};
use capacity::RuntimeClass;
use diff::Difference;
use pace::Pace;
use record::Change;
use simulation::{Outcome, Question};

/// Flags of `osc plan`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("intent").required(true).args(["filename", "delete"]))]
pub struct Arguments {
    /// KataConfig that is to be applied. What it does not say counts as not wanted.
    #[arg(long, short, value_name = "FILE")]
    filename: Option<PathBuf>,

    /// Plan the removal of the KataConfig instead.
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    source: Source,

    /// How long a node takes from the beginning of its drain until it takes pods again; without it, measured from the
    /// cluster's last rollout, or 10.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    reboot_minutes: Option<u64>,

    /// Show the objects that are created, changed and deleted line by line.
    #[arg(long)]
    diff: bool,

    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What would happen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// In a sentence.
    pub verdict: String,
    /// Whether it would not get done as it stands.
    pub blocked: bool,
    /// The reboots, in their order.
    pub reboots: Vec<Reboot>,
    /// From the beginning until the last node is back, in minutes.
    pub minutes: i64,
    /// How long a node takes.
    pub pace: Pace,
    /// Where it would stop, if it does not get done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// What it would be like without what blocks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_blocks: Option<Relief>,
    /// Runtime classes that pods can use in the end.
    pub runtime_classes: Vec<RuntimeClass>,
    /// Objects that are not what they were.
    pub objects: Vec<Difference>,
    /// What was found beforehand.
    pub findings: Vec<Finding>,
}

/// One node that reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reboot {
    /// The node.
    pub node: String,
    /// Minutes after the beginning at which its drain begins.
    pub begins: i64,
    /// Minutes after the beginning at which it takes pods again.
    pub ends: Option<i64>,
}

/// Where it stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// What the operator's condition says then.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Nodes that are being changed and do not get on.
    pub stuck: Vec<String>,
    /// Nodes whose turn does not come.
    pub waiting: Vec<String>,
}

/// What it would be like without what blocks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relief {
    /// The reboots, in their order.
    pub reboots: Vec<Reboot>,
    /// From the beginning until the last node is back, in minutes.
    pub minutes: i64,
    /// Whether it would get done then.
    pub finished: bool,
}

/// Plans.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let intent = match &arguments.filename {
        Some(file) => Intent::Apply(Box::new(preflight::read_kata_config(file)?)),
        None => Intent::Delete,
    };
    let snapshot = arguments.source.read().await?;
    let minutes = arguments.reboot_minutes;
    let asked = intent.clone();
    let plan = tokio::task::spawn_blocking(move || plan(&snapshot, &asked, minutes)).await??;
    match arguments.output {
        Output::Text => {
            for line in show::lines(&plan, arguments.diff) {
                anstream::println!("{line}");
            }
        }
        Output::Json => println!("{}", serde_json::to_string_pretty(&plan)?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(&plan)?),
    }
    Ok(if plan.blocked { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// Works it out. Takes as long as the simulation takes, and no thread of a runtime should wait for it.
pub fn plan(snapshot: &Snapshot, intent: &Intent, minutes: Option<u64>) -> anyhow::Result<Plan> {
    let pace = Pace::find(snapshot, minutes);
    let mut findings = preflight::findings(snapshot, intent);
    let name = simulation::name_of(snapshot, intent);
    let question = Question::new(snapshot, intent, &name, pace.duration());
    let outcome = simulation::run(question.clone())?;
    let stop = (!outcome.finished).then(|| stop(&outcome));
    if let Some(stop) = stop.as_ref().filter(|_| !preflight::blocked(&findings)) {
        findings.insert(0, unforeseen(stop));
    }
    let relief = if outcome.finished { None } else { Some(simulation::run(question.relieved())?) };
    // What there is in the end is told of the way that leads there.
    let end = relief.as_ref().filter(|relief| relief.finished).unwrap_or(&outcome);
    let names =
        end.kata_config.as_ref().and_then(|kata_config| kata_config.status.clone()).unwrap_or_default();
    let runtime_classes = capacity::classes(&names.runtime_classes, &end.after, snapshot);
    let mut plan = Plan {
        verdict: String::new(),
        blocked: preflight::blocked(&findings),
        reboots: reboots(&outcome),
        minutes: total(&outcome),
        pace,
        stop,
        without_blocks: relief.as_ref().map(|relief| Relief {
            reboots: reboots(relief),
            minutes: total(relief),
            finished: relief.finished,
        }),
        runtime_classes,
        objects: diff::between(&end.before, &end.after),
        findings,
    };
    plan.verdict = show::verdict(&plan, intent, &name, snapshot.nodes.len());
    Ok(plan)
}

fn stop(outcome: &Outcome) -> Stop {
    let (reason, message) = simulation::trouble(outcome).unwrap_or_default();
    let open = outcome.changes.iter().filter(|change| change.end.is_none());
    Stop {
        reason,
        message,
        stuck: open.map(|change| change.node.clone()).collect(),
        waiting: simulation::waiting(outcome),
    }
}

/// The simulated rollout stopped at something that nobody looked for.
fn unforeseen(stop: &Stop) -> Finding {
    let what = if stop.message.is_empty() {
        "the rollout does not come to an end".to_owned()
    } else {
        stop.message.clone()
    };
    Finding::blocks("RolloutStops", what)
        .at_all(stop.stuck.iter().map(|node| format!("Node {node}")))
        .why("The operator, simulated on this cluster, does not get any further.")
        .remedy("Mend that first, then plan again.")
}

fn reboots(outcome: &Outcome) -> Vec<Reboot> {
    let rebooting = |change: &&Change| change.reboots > 0 || change.end.is_none();
    let changes = outcome.changes.iter().filter(rebooting);
    changes
        .map(|change| Reboot {
            node: change.node.clone(),
            begins: minutes(change.begin),
            ends: change.end.map(minutes),
        })
        .collect()
}

fn total(outcome: &Outcome) -> i64 {
    let ends = outcome.changes.iter().filter_map(|change| change.end);
    ends.max().map_or(0, minutes)
}

/// Rounded, so that what is told adds up.
fn minutes(duration: SignedDuration) -> i64 {
    (duration.as_secs() + 30) / 60
}
