//! `osc-proof`: runs one proof and ends with its figures. People call it as `cargo xtask <proof>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use osc_proof::{conformance, crash};

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
    /// Kills the operator after every single write of every scenario.
    Crash(crash::Arguments),
}

fn main() -> ExitCode {
    // Logs of what runs inside: RUST_LOG=osc_operator=debug cargo xtask ...
    // A control plane that starts refuses connections; that is no news.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,kube_client::client::builder=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match Arguments::parse().proof {
        Proof::Conformance(arguments) => conformance::run(&arguments),
        Proof::Crash(arguments) => crash::run(&arguments),
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
