//! `osc-operator`: the operator as a process, in a cluster or outside of it with `KUBECONFIG` set.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use osc_admission::logs::LogFormat;
use osc_operator::metrics::Metrics;
use osc_operator::{Options, WallClock, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How the operator calls itself in audit logs.
const USER_AGENT: &str = concat!("osc-operator/", env!("CARGO_PKG_VERSION"));

/// Installs, updates and removes Kata on a cluster, as its KataConfig asks.
#[derive(Parser)]
#[command(name = "osc-operator", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,

    /// How log lines look.
    #[arg(long, env = "OSC_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.log_format.init();
    match start(arguments.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("osc-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start(options: Options) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider is installed already"))?;
    let mut config = kube::Config::infer()
        .await
        .context("no cluster to work for: neither a usable kubeconfig (KUBECONFIG, ~/.kube/config) nor a ServiceAccount")?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    let address = config.cluster_url.to_string();
    let client =
        kube::Client::try_from(config).with_context(|| format!("cannot set up a client for {address}"))?;
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "starting");
    let cancel = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let on_signal = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        on_signal.cancel();
    });
    run(client, options, Arc::new(WallClock), Metrics::default(), cancel).await?;
    Ok(())
}
