//! Clients in this process of a server without a socket.
//!
//! A request is a function call and a watch is a stream: nothing depends on the operating system, so that in a
//! runtime of one thread with a paused clock a simulation runs as fast as it can and repeats exactly.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, USER_AGENT};
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use tower::retry::{Policy, RetryLayer};
use tower::{Layer as _, Service};

use super::ServerError;
use super::call::State;
use super::http::{self, CutOff};
use super::output::ResponseBody;

/// How long a client waits for an answer, as kube's does over HTTP.
const READ_TIMEOUT: Duration = Duration::from_secs(295);

type LocalBody = UnsyncBoxBody<Bytes, LocalError>;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum LocalError {
    /// As when a connection is reset.
    #[error(transparent)]
    CutOff(#[from] CutOff),
    /// As when nobody listens.
    #[error("connection refused")]
    Refused,
    /// As when the other side died silently.
    #[error("no answer within {} s", READ_TIMEOUT.as_secs())]
    TimedOut,
}

/// A client that calls the server directly.
pub fn client(state: &Arc<State>, user_agent: &str) -> Result<kube::Client, ServerError> {
    let bad = |error: ::http::header::InvalidHeaderValue| ServerError::Client(error.to_string());
    let user_agent = HeaderValue::from_str(user_agent).map_err(bad)?;
    let token = state.token.as_ref().map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
    let door = Door { state: state.clone(), user_agent, token: token.transpose().map_err(bad)? };
    Ok(kube::Client::new(RetryLayer::new(Retries::default()).layer(door), "default"))
}

/// Hands requests to the server.
#[derive(Clone)]
struct Door {
    state: Arc<State>,
    user_agent: HeaderValue,
    token: Option<HeaderValue>,
}

impl Service<Request<Body>> for Door {
    type Response = Response<LocalBody>;
    type Error = LocalError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, LocalError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LocalError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let state = self.state.clone();
        Box::pin(async move {
            let mut paused = state.faults.paused();
            if *paused.borrow() || state.shutdown.is_cancelled() {
                return Err(LocalError::Refused);
            }
            // A task of its own: what the server has begun it ends, even if the client is no more.
            let handler = tokio::spawn({
                let state = state.clone();
                async move { http::answer(&state, request).await }
            });
            let response = tokio::select! {
                biased;
                _ = paused.wait_for(|paused| *paused) => return Err(CutOff.into()),
                () = state.shutdown.cancelled() => return Err(CutOff.into()),
                answer = handler => answer.map_err(|_| CutOff)??,
                () = tokio::time::sleep(READ_TIMEOUT) => return Err(LocalError::TimedOut),
            };
            Ok(response.map(|body| severable(&state, body)))
        })
    }
}

/// A body that breaks off when the server becomes unreachable or ends.
fn severable(state: &Arc<State>, body: ResponseBody) -> LocalBody {
    let paused = state.faults.paused();
    let shutdown = state.shutdown.clone();
    let frames = body.into_stream();
    let severed = futures::stream::unfold(Some((frames, paused)), move |open| {
        let shutdown = shutdown.clone();
        async move {
            let (mut frames, mut paused) = open?;
            let frame = tokio::select! {
                biased;
                _ = paused.wait_for(|paused| *paused) => return Some((Err(LocalError::from(CutOff)), None)),
                frame = frames.next() => frame?.unwrap_or_else(|never| match never {}),
                () = shutdown.cancelled() => return None,
            };
            Some((Ok(frame), Some((frames, paused))))
        }
    });
    StreamBody::new(severed).boxed_unsync()
}

/// Tries again what kube's client over HTTP tries again, without its jitter.
#[derive(Clone, Default)]
struct Retries {
    tried: u32,
}

const MOST_RETRIES: u32 = 15;
const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(1000);

impl<B> Policy<Request<Body>, Response<B>, LocalError> for Retries {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, LocalError>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        let again = matches!(
            response.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if !again || self.tried == MOST_RETRIES {
            return None;
        }
        let own = FIRST_DELAY.saturating_mul(1 << self.tried).min(LONGEST_DELAY);
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let delay = asked.map_or(own, |seconds| own.max(Duration::from_secs(seconds)));
        self.tried += 1;
        Some(Box::pin(tokio::time::sleep(delay)))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let mut copy = Request::new(request.body().try_clone()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }
}
