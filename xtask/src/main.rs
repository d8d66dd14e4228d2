//! `cargo xtask`: what the project generates and checks about itself.

mod check;
#[cfg(test)]
mod docs;
mod manifests;
mod yaml;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Generates and checks the files of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes deploy/ from the Rust types.
    Manifests {
        /// Writes nothing; lists the files that differ, and fails if there are any.
        #[arg(long)]
        check: bool,
    },
    /// Format, lints, manifests, dependencies, API docs: runs all, then lists what failed.
    Check,
    /// Runs a proof of crates/proof: conformance, crash, faults, explore, leaks, rbac or takeover; each has --help.
    #[command(external_subcommand)]
    Proof(Vec<OsString>),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Manifests { check: false } => manifests::write(&root()),
        Command::Manifests { check: true } => manifests::check(&root()),
        Command::Check => check::all(&root()),
        Command::Proof(arguments) => return proof(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a proof. It is a program of its own, so that this one stays quick to build.
fn proof(arguments: &[OsString]) -> ExitCode {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--quiet", "--locked", "--package", "osc-proof", "--"]);
    match cargo.args(arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
