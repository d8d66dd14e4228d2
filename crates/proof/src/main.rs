//! `osc-proof`: runs one proof and ends with its figures. People call it as `cargo xtask <proof>`.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use osc_proof::{conformance, crash, explore, faults, leaks, stories, takeover};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Runs one proof.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// Sends the same requests to the embedded server and to a real kube-apiserver, and shows what differs.
    Conformance(conformance::Arguments),
    /// Explores every interleaving of small worlds.
    Explore(explore::Arguments),
    /// Kills the operator after every single write of every scenario.
    Crash(crash::Arguments),
    /// Plays scenarios while everything goes wrong that can, thousands of times.
    Faults(faults::Arguments),
    /// Plays every scenario and looks what is left behind in the cloud and in the cluster.
    Leaks(leaks::Arguments),
    /// Tells every story on real control planes and holds what the operator did against what it may do.
    Rbac,
    /// Takes over installations of the Go operator: no machine config and no pool changes, no node reboots.
    Takeover(takeover::Arguments),
}

fn main() -> ExitCode {
    // Logs of what runs inside: RUST_LOG=osc_operator=debug cargo xtask ...
    let silent = LevelFilter::OFF.into();
    let filter = EnvFilter::builder().with_default_directive(silent).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match Arguments::parse().proof {
        Proof::Conformance(arguments) => conformance::run(&arguments),
        Proof::Explore(options) => explore::run(&options),
        Proof::Crash(arguments) => crash::run(&arguments),
        Proof::Faults(arguments) => faults::run(&arguments),
        Proof::Leaks(arguments) => leaks::run(&arguments),
        Proof::Rbac => rbac(),
        Proof::Takeover(arguments) => takeover::run(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn rbac() -> anyhow::Result<bool> {
    let told = stories::tell_all();
    let verdict = told.rights.context("a story failed, so that the rights cannot be judged")?;
    Ok(told.passed && verdict.holds())
}
