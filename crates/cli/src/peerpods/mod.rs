//! `osc peerpods`: the settings of peer pods, written and checked before anything is created.

mod check;
mod configure;
mod read;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

pub use check::of_cluster as check_of_cluster;

/// Flags of `osc peerpods`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// What is to be done.
#[derive(Subcommand)]
enum What {
    /// Tell what is missing, wrong or suspicious in the settings of peer pods, before anything is created. Changes
    /// nothing. Exits with 0 if peer pods can work, 2 if not.
    Check(check::Arguments),
    /// Print or apply the config map peer-pods-cm, with what the cluster knows filled in and the rest marked.
    Configure(Box<configure::Arguments>),
}

/// Does it.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Check(arguments) => check::run(arguments).await,
        What::Configure(arguments) => configure::run(*arguments).await,
    }
}
