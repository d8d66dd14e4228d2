//! What is told to the kubelet and to Prometheus, in clear text.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::Timestamp;
use osc_admission::certificate::Current;
use osc_api::peerpods::webhook;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What is told.
#[derive(Clone)]
pub struct Sources {
    /// The serving certificate.
    pub certificate: Current,
    /// Whether the process has been asked to end.
    pub leaving: CancellationToken,
    /// Figures.
    pub metrics: Metrics,
}

/// Of the kubelet.
pub fn health(sources: Sources) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(sources)
}

/// Of Prometheus.
pub fn metrics(sources: Sources) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(sources)
}

/// Serves until cancelled.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) {
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { cancel.cancelled().await });
    if let Err(error) = serving.await {
        tracing::error!(%error, "serving health and metrics failed");
    }
}

/// For logs.
pub fn address(listener: Option<&TcpListener>) -> String {
    let address = listener.and_then(|listener| listener.local_addr().ok());
    address.map_or_else(|| "none".to_owned(), |address| address.to_string())
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    match readiness(&sources, Timestamp::now()) {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// One that API servers cannot ask is not ready: the Service shall lead to another one.
fn readiness(sources: &Sources, now: Timestamp) -> Result<(), String> {
    if sources.leaving.is_cancelled() {
        return Err("this process is about to end".to_owned());
    }
    match sources.certificate.not_after() {
        None => Err(format!(
            "there is no serving certificate yet: see the Secret {} in this namespace, and this pod's log",
            webhook::SECRET
        )),
        Some(end) if end <= now => Err(format!("the serving certificate has expired at {end}")),
        Some(_) => Ok(()),
    }
}

async fn scrape(State(sources): State<Sources>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match sources.metrics.text(sources.certificate.not_after()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_admission::certificate::authority::{Bundle, Lifetimes, Next};

    #[test]
    fn it_is_ready_with_a_certificate_that_is_valid_and_until_it_is_to_end() {
        let (certificate, leaving) = (Current::default(), CancellationToken::new());
        let sources = Sources { certificate: certificate.clone(), leaving, metrics: Metrics::default() };
        let now = Timestamp::now();
        let words = readiness(&sources, now).unwrap_err();
        assert!(words.contains("peer-pods-webhook-svc-secret"), "{words}");
        let mut bundle = Bundle::default();
        for step in [Next::Authority, Next::Leaf(0)] {
            bundle.take(step, &["localhost".to_owned()], now, &Lifetimes::default()).unwrap();
        }
        certificate.set(bundle.serving().unwrap().unwrap());
        assert_eq!(readiness(&sources, now), Ok(()));
        let end = certificate.not_after().unwrap();
        let words = readiness(&sources, end).unwrap_err();
        assert_eq!(words, format!("the serving certificate has expired at {end}"));
        sources.leaving.cancel();
        assert_eq!(readiness(&sources, now), Err("this process is about to end".to_owned()));
    }
}
