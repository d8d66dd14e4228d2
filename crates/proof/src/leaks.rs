//! Nothing is left behind: no virtual machine, volume or image in the cloud, no object and no room in the cluster that
//! nobody made and nobody removed.
//!
//! Every scenario is played to its end twice: undisturbed, and with an operator that dies after each of its writes.

use clap::Args;

use crate::crash::{Point, killer};
use crate::parallel;
use crate::simulation::play;
use crate::simulation::scenario::{self, Scenario};

/// Options of `cargo xtask leaks`.
#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
}

/// What a scenario left, a line each. `dies`: with an operator that dies after each of its writes.
pub fn left_behind(scenario: &Scenario, dies: bool) -> Vec<String> {
    let (end, rig) = if dies {
        play(scenario, 0, |rig| killer(rig, Point::AfterEach))
    } else {
        play(scenario, 0, |_| async {})
    };
    match end {
        Ok(_) => rig.left_behind(),
        Err(stuck) => vec![stuck.to_string()],
    }
}

/// Plays the chosen scenarios and prints what they left. True: nothing.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let scenarios = scenario::chosen(arguments.scenario.as_deref())?;
    let all: Vec<(&Scenario, bool)> =
        scenarios.iter().flat_map(|scenario| [(*scenario, false), (*scenario, true)]).collect();
    let found = parallel::map(&all, |(scenario, dies)| left_behind(scenario, *dies));
    for ((scenario, dies), left) in all.iter().zip(&found) {
        for line in left {
            println!("{}{}: {line}", scenario.name, if *dies { ", with deaths" } else { "" });
        }
    }
    let left: usize = found.iter().map(Vec::len).sum();
    println!("leaks: {} scenarios, {left} left behind", scenarios.len());
    Ok(left == 0)
}
