//! `osc-proof`: runs one proof and ends with its figures. People call it as `cargo xtask <proof>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs one proof.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// Explores every interleaving of small worlds.
    Explore(osc_proof::explore::Options),
}

fn main() -> ExitCode {
    // Logs of what runs inside: RUST_LOG=osc_operator=debug cargo xtask ...
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result: anyhow::Result<bool> = match Arguments::parse().proof {
        Proof::Explore(options) => osc_proof::explore::run(&options),
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
