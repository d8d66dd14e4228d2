//! `osc-webhook`: the mutating webhook of peer pods as a process. It asks nobody and keeps nothing: any number of it can
//! serve side by side.

mod metrics;
mod options;
mod plain;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use osc_admission::certificate::Current;
use osc_admission::certificate::directory::Directory;
use osc_admission::peer_pod::Settings;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use metrics::Metrics;
use options::Arguments;
use plain::Sources;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.log_format.init();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("osc-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Two threads, whatever the node has: a review takes microseconds.
fn start(arguments: Arguments) -> anyhow::Result<()> {
    let settings = Settings::of_environment(|name| std::env::var(name).ok())?;
    for words in &settings.told {
        tracing::warn!("{words}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(arguments, settings))
}

async fn run(arguments: Arguments, settings: Settings) -> anyhow::Result<()> {
    let (certificate, metrics) = (Current::default(), Metrics::default());
    let (leaving, cancel) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(leave(terminated()?, arguments.drain(), leaving.clone(), cancel.clone()));

    let listener = bind(arguments.webhook_bind_address.0, "--webhook-bind-address").await?;
    let listener = listener.context("--webhook-bind-address is 0; a webhook has to listen somewhere")?;
    let address = listener.local_addr()?;
    let sources = Sources { certificate: certificate.clone(), leaving, metrics: metrics.clone() };
    let health = bind(arguments.health_probe_bind_address.0, "--health-probe-bind-address").await?;
    let figures = bind(arguments.metrics_bind_address.0, "--metrics-bind-address").await?;
    tracing::info!(
        webhook = %address,
        health = plain::address(health.as_ref()),
        metrics = plain::address(figures.as_ref()),
        class = settings.options.class,
        resource = settings.options.resource,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let plain = [(health, plain::health(sources.clone())), (figures, plain::metrics(sources))];
    for (listener, router) in plain.into_iter().filter_map(|(listener, router)| Some((listener?, router))) {
        tokio::spawn(plain::serve(listener, router, cancel.clone()));
    }
    let directory = Directory::new(&arguments.cert_dir);
    tokio::spawn(directory.follow(certificate.clone(), arguments.certificate_period(), cancel.clone()));
    settings
        .server(certificate)
        .deadline(arguments.deadline())
        .observe(move |outcome, took| metrics.reviewed(outcome, took))
        .serve(listener, cancel)
        .await
        .context("cannot serve with this TLS profile")
}

/// An address of `0` listens nowhere.
async fn bind(address: Option<std::net::SocketAddr>, flag: &str) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {address}; choose another with {flag}"))?;
    Ok(Some(listener))
}

/// Ends when the process is asked to end.
fn terminated() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

/// Asked to end, it is not ready any more, but goes on serving until nobody is led here any longer: with a webhook that
/// fails closed, a connection that is refused is a pod that is not created.
async fn leave(
    terminated: impl Future<Output = ()>,
    drain: std::time::Duration,
    leaving: CancellationToken,
    cancel: CancellationToken,
) {
    terminated.await;
    tracing::info!("stopping");
    leaving.cancel();
    tokio::time::sleep(drain).await;
    cancel.cancel();
}
