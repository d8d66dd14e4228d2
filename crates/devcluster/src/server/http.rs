//! The listener: connections, TLS, and what happens to a request before and after it is handled.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, Method, Request, Response};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::call::{Call, State, Warnings};
use super::faults::{FaultAction, is_pause};
use super::output::{self, ResponseBody};
use super::request_log::RequestRecord;
use super::route::RequestInfo;
use super::status::ApiError;
use super::watch::{Event, EventStream};
use super::{discovery, openapi, verbs};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// How long a stopping server waits for requests that are being answered.
pub const STOP_BOUND: Duration = Duration::from_secs(1);

/// Accepts connections until the server stops.
pub async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = state.shutdown.cancelled() => break,
        };
        match accepted {
            // Closing at once is as near as a listening socket comes to "connection refused".
            Ok((stream, _)) if is_pause(state.faults.pauses().get()) => drop(stream),
            Ok((stream, _)) => {
                connections.spawn(connection(stream, tls.clone(), state.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(listener);
    // Connections stop by themselves; whatever is still going on after this is cut when the set is dropped.
    let _ =
        tokio::time::timeout(STOP_BOUND, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, state).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve(stream, state).await,
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        },
    }
}

async fn serve<S>(stream: S, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = CancellationToken::new();
    let pauses = state.faults.pauses().clone();
    let begun = pauses.get();
    let shutdown = state.shutdown.clone();
    let service = {
        let cut = cut.clone();
        service_fn(move |request| {
            let (state, cut) = (state.clone(), cut.clone());
            async move {
                let answered = answer(&state, request).await;
                if answered.is_err() {
                    cut.cancel();
                }
                answered
            }
        })
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stopping = tokio::select! {
        // A client that goes away in the middle of something is not worth a word.
        _ = connection.as_mut() => false,
        () = cut.cancelled() => false,
        _ = pauses.until(|now| now != begun) => false,
        () = shutdown.cancelled() => true,
    };
    if stopping {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(STOP_BOUND, connection).await;
    }
}

/// The connection that a request came over is cut instead of an answer being sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("connection reset by the server")]
pub struct CutOff;

fn record(state: &State, info: &Arc<RequestInfo>, code: u16) {
    state.requests.push(RequestRecord { time: state.clock.now(), request: info.clone(), code });
}

/// Answers one request, whatever way it came.
pub async fn answer<B>(state: &Arc<State>, request: Request<B>) -> Result<Response<ResponseBody>, CutOff>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, incoming) = request.into_parts();
    let info = Arc::new(RequestInfo::parse(&head.method, &head.uri, &head.headers));
    let fault = state.faults.decide(&info);
    match &fault {
        Some(FaultAction::Status { code, reason, message, retry_after }) => {
            let mut error = ApiError::new(*code, reason, message.clone());
            error.retry_after = *retry_after;
            record(state, &info, *code);
            return Ok(output::error(&error));
        }
        Some(FaultAction::Delay(duration)) => tokio::time::sleep(*duration).await,
        Some(FaultAction::Drop) => {
            record(state, &info, 0);
            return Err(CutOff);
        }
        Some(FaultAction::Hang) => {
            record(state, &info, 0);
            return std::future::pending().await;
        }
        _ => {}
    }
    let outcome = match check_token(state, &info, &head.headers) {
        Ok(()) => match read_body(&head.headers, incoming).await {
            Ok(body) => dispatch(state, &info, &head.method, &head.headers, &body, fault.as_ref()).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let response = outcome.unwrap_or_else(|error| output::error(&error));
    if fault == Some(FaultAction::DropAfter) {
        record(state, &info, 0);
        return Err(CutOff);
    }
    record(state, &info, response.status().as_u16());
    Ok(response)
}

fn check_token(state: &State, info: &RequestInfo, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = &state.token else { return Ok(()) };
    let health = matches!(info.path.as_str(), "/healthz" | "/livez" | "/readyz" | "/version");
    let sent = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let sent = sent.and_then(|value| value.strip_prefix("Bearer "));
    if health || sent == Some(token) { Ok(()) } else { Err(ApiError::unauthorized()) }
}

async fn read_body<B>(headers: &HeaderMap, incoming: B) -> Result<Body, ApiError>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<BoxError>,
{
    let media_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let bytes = Limited::new(incoming, BODY_LIMIT).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let message = format!("Request entity too large: limit is {BODY_LIMIT}");
            ApiError::new(413, "RequestEntityTooLarge", message)
        } else {
            ApiError::bad_request(format!("cannot read the request: {error}"))
        }
    })?;
    Ok(Body { media_type, bytes: bytes.to_bytes() })
}

/// The same events, later.
fn late(events: EventStream, lag: Duration) -> EventStream {
    const MOST_AT_ONCE: usize = 1_000;
    let chunks = events.ready_chunks(MOST_AT_ONCE).then(move |chunk| async move {
        tokio::time::sleep(lag).await;
        futures::stream::iter(chunk)
    });
    Box::pin(chunks.flatten())
}

/// Whether a path leads into an API group that is not built in.
fn is_foreign(state: &State, path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/apis/") else { return false };
    let group = rest.split('/').next().unwrap_or_default();
    !state.registry().all().any(|resource| resource.group == group && !resource.is_custom())
}

async fn dispatch(
    state: &Arc<State>,
    info: &Arc<RequestInfo>,
    method: &Method,
    headers: &HeaderMap,
    body: &Body,
    fault: Option<&FaultAction>,
) -> Result<Response<ResponseBody>, ApiError> {
    if !info.is_resource {
        return if *method == Method::GET || *method == Method::HEAD {
            match discovery::answer(state, info, headers).or_else(|| openapi::answer(state, info, headers)) {
                Some(response) => Ok(response),
                None if is_foreign(state, &info.path) => Ok(output::no_page()),
                None => Err(ApiError::no_such_path()),
            }
        } else {
            Err(ApiError::method_not_allowed())
        };
    }
    let registry = state.registry();
    let Some(resource) = registry.find(&info.group, &info.version, &info.resource).cloned() else {
        // Nobody is behind such a path, not even somebody who could refuse it in JSON.
        let is_known = registry.of_version(&info.group, &info.version).any(|resource| !resource.is_custom());
        return if is_known { Err(ApiError::no_such_path()) } else { Ok(output::no_page()) };
    };
    let misplaced = if resource.namespaced {
        info.namespace.is_empty() && !info.name.is_empty()
    } else {
        !info.namespace.is_empty()
    };
    if misplaced && resource.is_custom() {
        return Ok(output::no_page());
    }
    let form = output::form(headers)?;
    let warnings = Warnings::default();
    let call = Call { state: state.clone(), info: info.clone(), resource, registry, warnings };
    let mut reply = match verbs::handle(&call, body).await {
        Ok(reply) => reply.warn(call.warnings.take()),
        Err(error) => {
            let mut response = output::error(&error);
            output::warn(&mut response, &call.warnings.take());
            return Ok(response);
        }
    };
    if let super::call::Content::Watch(watching) = &mut reply.content {
        match fault {
            Some(FaultAction::CutWatch) => watching.stream = Box::pin(futures::stream::empty()),
            Some(FaultAction::GoneWatch) => {
                let status = ApiError::expired("too old resource version").to_value();
                watching.stream = Box::pin(futures::stream::iter([Event::Error(status)]));
            }
            Some(FaultAction::LagWatch(lag)) => {
                let events = std::mem::replace(&mut watching.stream, Box::pin(futures::stream::empty()));
                watching.stream = late(events, *lag);
            }
            _ => {}
        }
    }
    Ok(output::render(&call, reply, form))
}
