//! `osc-node`: the node agent as a process, in a DaemonSet.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use osc_node::agent::{Agent, Mode, Pauses};
use osc_node::exec;
use osc_node::host::Host;
use osc_node::node::OwnNode;
use osc_node::settings::Settings;
use osc_node::work::Work;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How the agent calls itself in audit logs.
const USER_AGENT: &str = concat!("osc-node/", env!("CARGO_PKG_VERSION"));
/// How long a container runtime may take to come back after a restart.
const PATIENCE: Duration = Duration::from_secs(90);

/// Makes this node able to run Kata, or takes that back.
#[derive(Parser)]
#[command(name = "osc-node", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Installs Kata on this node and keeps it installed.
    Install(Settings),
    /// Removes Kata from this node.
    Uninstall(Settings),
    /// Runs a command in the root of the host. osc-node starts itself with it.
    #[command(name = exec::VERB, hide = true)]
    HostExec {
        /// Where the host's root is mounted.
        root: PathBuf,
        /// The command.
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let (mode, settings) = match Arguments::parse().verb {
        Verb::Install(settings) => (Mode::Install, settings),
        Verb::Uninstall(settings) => (Mode::Uninstall, settings),
        Verb::HostExec { root, command } => {
            eprintln!("{}", exec::become_command(&root, &command));
            return ExitCode::from(127);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).json().init();
    match run(mode, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("osc-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: Mode, settings: Settings) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work(mode, settings));
    // A step that is under way is not waited for: the next agent goes on from wherever it ends.
    runtime.shutdown_background();
    result
}

async fn work(mode: Mode, settings: Settings) -> anyhow::Result<()> {
    let mut config = kube::Config::infer().await.context("no cluster to work for")?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    let client = kube::Client::try_from(config).context("cannot set up a client")?;
    let launcher = exec::launcher(&settings.host_root).context("cannot find this program")?;
    let host = Host::new(&settings.host_root, launcher, tokio::runtime::Handle::current());
    let node = OwnNode::new(client, &settings.node_name, &settings.node_label);
    tracing::info!(node = settings.node_name, ?mode, version = env!("CARGO_PKG_VERSION"), "starting");
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let on_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        on_signal.cancel();
    });
    let agent =
        Agent { work: Work { host, settings, patience: PATIENCE }, node, mode, pauses: Pauses::default() };
    tokio::select! {
        result = agent.run(stop.clone()) => result.map_err(Into::into),
        () = stop.cancelled() => Ok(()),
    }
}
