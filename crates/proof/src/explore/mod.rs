//! Every interleaving of a small world: the operator a single write at a time, the Machine Config Operator a single
//! change at a time, people, pods, deaths of the operator and caches that lag behind, in any order.
//!
//! - [`cluster`]: the world as a small value; [`store`]: what is too large for that, once for all.
//! - [`scope`]: how large a world is and what may happen in it; [`mod@worlds`]: those that are explored.
//! - [`observe`]: what the engine is told; [`server`]: what its steps do; [`mco`], [`people`]: who else there is.
//! - [`properties`]: what has to hold; [`model`]: all that can happen next; [`search`]: all that can come about.
//!
//! Decisions are the real ones, of `osc_engine::decide`.

// What makes up a world is a few bytes long, grows with every new question, and is passed on as one thing; that a rule
// is broken always comes with what is broken.
#![allow(clippy::trivially_copy_pass_by_ref, clippy::unnecessary_wraps, clippy::struct_excessive_bools)]

pub mod cluster;
pub mod mco;
pub mod model;
pub mod observe;
pub mod people;
pub mod properties;
pub mod scope;
pub mod search;
pub mod server;
pub mod store;
pub mod worlds;

use std::io::Write;

use clap::Args;

use model::Model;
use search::{Exploration, explore};
use worlds::worlds;

/// Explores every interleaving of small worlds.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Only worlds whose name contains this.
    #[arg(long)]
    world: Option<String>,
    /// Another number of nodes.
    #[arg(long)]
    nodes: Option<usize>,
    /// Another number of changes that people make.
    #[arg(long)]
    edits: Option<u8>,
    /// Gives a world up, and fails, when it has had so many states.
    #[arg(long, default_value_t = 8_000_000)]
    limit: usize,
}

/// Explores all worlds that `arguments` ask for; true if nothing is broken in any of them.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let (mut states, mut violations, mut complete) = (0, 0, true);
    for mut scope in worlds() {
        if arguments.world.as_ref().is_some_and(|part| !scope.name.contains(part)) {
            continue;
        }
        scope.nodes = arguments.nodes.unwrap_or(scope.nodes);
        scope.edits = arguments.edits.unwrap_or(scope.edits);
        anyhow::ensure!((1..=cluster::NODES).contains(&scope.nodes), "--nodes: 1 to {}", cluster::NODES);
        write!(out, "{:<44}", scope.name)?;
        out.flush()?;
        let exploration = explore(&mut Model::new(scope, Box::new(osc_engine::decide)), arguments.limit);
        report(&mut out, &exploration)?;
        states += exploration.states;
        violations += exploration.violations.len();
        complete &= exploration.complete;
    }
    anyhow::ensure!(states > 0, "no world is called so: {}", arguments.world.clone().unwrap_or_default());
    writeln!(out, "states: {states} explored, {violations} violations")?;
    Ok(violations == 0 && complete)
}

fn report(out: &mut impl Write, exploration: &Exploration) -> std::io::Result<()> {
    writeln!(
        out,
        "{:>9} states {:>9} transitions  depth {:>3}  {:>6} at rest  {:>6.1} s{}",
        exploration.states,
        exploration.transitions,
        exploration.depth,
        exploration.resting,
        exploration.elapsed.as_secs_f64(),
        if exploration.complete { "" } else { "  NOT COMPLETE: --limit" },
    )?;
    for violation in &exploration.violations {
        writeln!(out, "  VIOLATION: {} ({} times)", violation.broken.property.words(), violation.times)?;
        for (index, line) in violation.trace.iter().enumerate() {
            writeln!(out, "    {:>3}  {line}", index + 1)?;
        }
        writeln!(out, "         {}", violation.broken.words)?;
    }
    Ok(())
}
