//! Puts the operator together.

use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;
use osc_cloud::{Clouds, Connect};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::apply::Applier;
use crate::cache::{Cache, Watches};
use crate::clock::Clock;
use crate::health::{self, Pulse, Sources};
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::peer_pods;
use crate::reconcile::Reconciler;
use crate::webhook;

/// Why the operator could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address for health and metrics is taken or not ours.
    #[error(
        "cannot listen on {address} for health and metrics: {source}; choose another with --metrics-bind-address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The address for webhooks is taken or not ours.
    #[error("cannot listen on {address} for webhooks: {source}; choose another with --webhook-bind-address")]
    BindWebhooks {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The task that renews the Lease ended by itself.
    #[error("the task that renews the lease ended; its last log line tells why")]
    LeaseLost,
}

/// A task that ends when nobody holds it any more.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the operator until cancelled.
pub async fn run(
    client: Client,
    options: Options,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    cancel: CancellationToken,
) -> Result<(), Error> {
    run_with_clouds(client, options, clock, metrics, Arc::new(Clouds), cancel).await
}

/// The same, with other clouds than the real ones.
pub async fn run_with_clouds(
    client: Client,
    options: Options,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    clouds: Arc<dyn Connect>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let cache = Cache::default();
    let pulse = Pulse::default();
    let webhooks = match options.webhook.webhook_bind_address.0 {
        Some(address) => {
            let listener =
                health::bind(address).await.map_err(|source| Error::BindWebhooks { address, source })?;
            Some(webhook::start(listener, &client, &cache, &options, &cancel))
        }
        None => None,
    };
    if let Some(address) = options.metrics_bind_address.0 {
        let listener = health::bind(address).await.map_err(|source| Error::Bind { address, source })?;
        let certificate = webhooks.as_ref().map(|webhooks| webhooks.certificate.clone());
        let sources =
            Sources { cache: cache.clone(), metrics: metrics.clone(), pulse: pulse.clone(), certificate };
        let server = health::serve(listener, sources, cancel.clone());
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "serving health and metrics failed");
            }
        });
    }
    let leadership = if options.leader_elect {
        tracing::info!(identity = options.identity, "waiting for the lease");
        Leadership::elect(client.clone(), &options.namespace, &options.identity, clock.clone())
    } else {
        Leadership::alone()
    };
    let watches = Watches::new(
        client.clone(),
        cache.clone(),
        options.namespace.clone(),
        clock.clone(),
        metrics.clone(),
    );
    let applier =
        Applier::new(client.clone(), cache.clone(), clock.clone(), metrics.clone(), options.identity.clone());
    let keeper = peer_pods::Keeper {
        client: client.clone(),
        namespace: options.namespace.clone(),
        cache: cache.clone(),
        clouds,
        clock: clock.clone(),
        metrics: metrics.clone(),
        sweep: options.peer_pods.unknown_vms,
    };
    // Ends with the operator, however that ends: who is killed does nothing any more.
    let keeper = AbortOnDrop(tokio::spawn(keeper.run(leadership.of_peer_pods(), cancel.clone())));
    let certificates = webhook::keep_peer_pods(client.clone(), options.clone(), cancel.clone());
    let certificates = AbortOnDrop(tokio::spawn(certificates));
    let settings = options.settings();
    let reconciler =
        Reconciler { client, cache, watches, applier, settings, clock, metrics, pulse, release_asked: None };
    let in_order = reconciler.run(leadership, cancel.clone()).await;
    cancel.cancel();
    drop((keeper, certificates));
    if let Some(webhooks) = webhooks {
        webhooks.finished().await;
    }
    if in_order { Ok(()) } else { Err(Error::LeaseLost) }
}
