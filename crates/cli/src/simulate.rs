//! `osc simulate`: the simulated controllers, against any API server.

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use osc_devcluster::Clock;
use osc_devcluster::sim::topology::{Kind, Topology};
use osc_devcluster::sim::{self, SimOptions};
use tokio_util::sync::CancellationToken;

use crate::kubeconfig::ClusterFlags;

/// Flags of `osc simulate`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: ClusterFlags,

    /// Create this cluster's nodes, pools and definitions first; what exists is left alone.
    #[arg(long, value_enum)]
    seed: Option<SeedKind>,

    /// Worker nodes to create.
    #[arg(long, default_value_t = 3, requires = "seed")]
    workers: u32,

    /// Simulated seconds in a real one.
    #[arg(long, default_value_t = 1.0, value_parser = crate::demo::speed)]
    speed: f64,
}

/// Clusters that can be created.
#[derive(Clone, Copy, ValueEnum)]
enum SeedKind {
    /// Three control-plane nodes and workers.
    Regular,
    /// Three control-plane nodes that do the work.
    Compact,
    /// One node.
    SingleNode,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.cluster.client().await?;
    if let Some(seed) = arguments.seed {
        let topology = match seed {
            SeedKind::Regular => Topology { workers: arguments.workers, ..Topology::default() },
            SeedKind::Compact => Topology { kind: Kind::Compact, workers: 0, ..Topology::default() },
            SeedKind::SingleNode => {
                Topology { kind: Kind::SingleNode, control_plane: 1, workers: 0, ..Topology::default() }
            }
        };
        sim::topology::apply(&client, &topology).await.context("cannot create the simulated cluster")?;
    }
    let version = client.apiserver_version().await.context("cannot reach the API server")?;
    let cancel = CancellationToken::new();
    let on_signal = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.cancel();
        }
    });
    anstream::println!(
        "simulating nodes, pools and workloads on Kubernetes {}; Ctrl-C ends it",
        version.git_version
    );
    let clock = Clock::scaled(arguments.speed, jiff::Timestamp::now());
    sim::run(client, SimOptions { clock, ..SimOptions::default() }, cancel).await?;
    Ok(ExitCode::SUCCESS)
}
