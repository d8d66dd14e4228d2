//! What is told to the kubelet and to Prometheus, over HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use osc_admission::certificate::Current;

use crate::cache::Cache;
use crate::clock::{Clock, WallClock};
use crate::metrics::Metrics;

/// How long a pass may go without finishing a step. Each request ends within half a minute by itself, so that a pass that
/// is silent for this long will not go on; a new process will.
const STUCK_AFTER: Duration = Duration::from_mins(10);

/// Whether the loop gets on: since when it has been at the step that it is at. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// A pass begins, or has finished a step.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The pass is over. Waiting for news may take as long as it likes.
    pub fn rest(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long it has been at one step, if that is too long.
    fn stuck(&self) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed()).filter(|silent| *silent > STUCK_AFTER)
    }
}

/// What is told.
#[derive(Clone)]
pub struct Sources {
    /// What is known of the cluster.
    pub cache: Cache,
    /// Figures.
    pub metrics: Metrics,
    /// Whether the loop gets on.
    pub pulse: Pulse,
    /// The certificate of the webhooks, if any are served.
    pub certificate: Option<Current>,
}

/// Binds the address; separate from serving, so that a taken port is told at start.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/healthz`, `/readyz` and `/metrics` until cancelled.
pub async fn serve(
    listener: TcpListener,
    sources: Sources,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(sources);
    axum::serve(listener, router).with_graceful_shutdown(async move { cancel.cancelled().await }).await
}

async fn alive(State(sources): State<Sources>) -> impl IntoResponse {
    match sources.pulse.stuck() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(silent) => {
            let minutes = silent.as_secs() / 60;
            let words = format!(
                "a pass has been at the same step for {minutes} minutes; a restart will take it up\n"
            );
            (StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    let ready = sources.cache.readiness().map_err(|reason| reason.to_string());
    match ready.and_then(|()| webhooks_ready(sources.certificate.as_ref())) {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// An operator that API servers cannot ask is not ready: the Service of the webhooks shall lead to another one.
fn webhooks_ready(certificate: Option<&Current>) -> Result<(), String> {
    let Some(certificate) = certificate else { return Ok(()) };
    match certificate.not_after() {
        None => Err("the webhooks have no serving certificate yet: see the Secrets webhook-server-cert (OpenShift) and \
                     osc-webhook-certificates in the operator's namespace, and the operator's log"
            .to_owned()),
        Some(end) if end <= WallClock.now() => Err(format!("the serving certificate of the webhooks has expired at {end}")),
        Some(_) => Ok(()),
    }
}

async fn scrape(State(sources): State<Sources>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match sources.metrics.text() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(pulse: &Pulse) -> (StatusCode, String) {
        let (cache, metrics) = (Cache::default(), Metrics::default());
        let sources = Sources { cache, metrics, pulse: pulse.clone(), certificate: None };
        let (head, body) = alive(State(sources)).await.into_response().into_parts();
        let body = axum::body::to_bytes(body, 1_000).await.unwrap();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_gets_nowhere_is_told_and_a_long_one_that_does_is_not() {
        let pulse = Pulse::default();
        for _ in 0..10 {
            pulse.beat();
            tokio::time::advance(Duration::from_mins(9)).await;
            assert_eq!(answer(&pulse).await, (StatusCode::OK, "ok\n".to_owned()));
        }
        tokio::time::advance(Duration::from_mins(2)).await;
        let words = "a pass has been at the same step for 11 minutes; a restart will take it up\n";
        assert_eq!(answer(&pulse).await, (StatusCode::SERVICE_UNAVAILABLE, words.to_owned()));
    }

    #[test]
    fn webhooks_without_a_certificate_are_not_ready() {
        assert_eq!(webhooks_ready(None), Ok(()));
        let words = webhooks_ready(Some(&Current::default())).unwrap_err();
        assert!(words.starts_with("the webhooks have no serving certificate yet"), "{words}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_news_is_no_illness() {
        let pulse = Pulse::default();
        pulse.beat();
        pulse.rest();
        tokio::time::advance(Duration::from_hours(24)).await;
        assert_eq!(answer(&pulse).await.0, StatusCode::OK);
    }
}
