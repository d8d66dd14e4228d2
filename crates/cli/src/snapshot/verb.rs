//! `osc snapshot`, and where the other verbs take a snapshot from.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Snapshot, cluster, files};
use crate::kubeconfig::ClusterFlags;

/// Flags of `osc snapshot`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: ClusterFlags,

    /// Where to write it: a file (JSON if it ends with .json, else YAML), or a directory if it is one or ends with `/`.
    /// Without it, YAML goes to standard output.
    #[arg(long, short, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
}

/// Where a verb takes what it knows from: a file, or else a cluster.
#[derive(clap::Args)]
pub struct Source {
    /// A snapshot (`osc snapshot`) or must-gather, file or directory, instead of a cluster.
    #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["kubeconfig", "context"])]
    snapshot: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Source {
    /// Reads it.
    pub async fn read(&self) -> anyhow::Result<Snapshot> {
        match &self.snapshot {
            Some(path) => files::read(path),
            None => from_cluster(&self.cluster).await,
        }
    }
}

async fn from_cluster(flags: &ClusterFlags) -> anyhow::Result<Snapshot> {
    let (client, address) = flags.client_and_address().await?;
    cluster::read(&client, &address).await
}

/// Takes a snapshot.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let snapshot = from_cluster(&arguments.cluster).await?;
    for missing in &snapshot.info.missing {
        anstream::eprintln!(
            "{}: {} cannot be read, so that {}: {}",
            crate::view::style::busy("warning"),
            missing.resource,
            missing.consequence(),
            missing.why
        );
    }
    match &arguments.output {
        Some(path) => anstream::eprintln!("{}", files::write(&snapshot, path)?),
        None => std::io::stdout().write_all(files::text(&snapshot, false)?.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}
