//! One request and its answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use kube::core::admission::Operation;

use super::{Outcome, Server};
use crate::review::{self, Verdict};

/// The largest question: API servers take objects of 3 MiB, and ask with the old and the new one.
pub const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// A refusal of the exchange itself: status and words.
struct Refusal(StatusCode, String);

pub async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    Ok(match path.as_str() {
        "/healthz" if reads(&method) => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if reads(&method) => match server.certificate.not_after() {
            Some(_) => text(StatusCode::OK, "ok\n".to_owned()),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "there is no serving certificate yet\n".to_owned()),
        },
        _ => {
            let begin = Instant::now();
            let (outcome, response) = match exchange(&server, &path, request).await {
                Ok((outcome, body)) => (outcome, json(body)),
                Err(refusal) => (Outcome::NoReview, refused(&path, refusal)),
            };
            (server.observer)(outcome, begin.elapsed());
            response
        }
    })
}

fn refused(path: &str, Refusal(status, words): Refusal) -> Response<Full<Bytes>> {
    tracing::warn!(path, status = status.as_u16(), words, "a request was refused");
    let mut response = text(status, format!("{words}\n"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("POST"));
    }
    response
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

async fn exchange(
    server: &Server,
    path: &str,
    request: Request<Incoming>,
) -> Result<(Outcome, Vec<u8>), Refusal> {
    let Some(handler) = server.handlers.get(path) else {
        let known: Vec<&str> = server.handlers.keys().copied().collect();
        let words = format!("nothing is served at {path}; known are {}", known.join(", "));
        return Err(Refusal(StatusCode::NOT_FOUND, words));
    };
    if request.method() != Method::POST {
        let words = format!("{} is not for {path}; send reviews by POST", request.method());
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, words));
    }
    content_type(&request)?;
    let late =
        |status, what| move |_| Refusal(status, format!("{what} within {} ms", server.deadline.as_millis()));
    let end = tokio::time::Instant::now() + server.deadline;
    let body = tokio::time::timeout_at(end, body(request)).await;
    let body = body.map_err(late(StatusCode::REQUEST_TIMEOUT, "the body did not arrive"))??;
    let question = review::read(&body).map_err(|error| Refusal(error.status, error.words))?;
    drop(body);
    let (reply, about) = (review::Reply::to(&question), About::of(&question));
    let verdict = tokio::time::timeout_at(end, handler(question)).await;
    let verdict = verdict.map_err(late(StatusCode::GATEWAY_TIMEOUT, "there was no answer"))?;
    about.log(path, &verdict);
    let outcome = Outcome::from(&verdict);
    let answer = reply.with(verdict).map_err(|error| {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the answer: {error}"))
    })?;
    Ok((outcome, answer))
}

/// What of a question is logged.
struct About {
    name: String,
    namespace: String,
    operation: Operation,
}

impl About {
    fn of(question: &review::Request) -> Self {
        let namespace = question.namespace.clone().unwrap_or_default();
        Self { name: question.name.clone(), namespace, operation: question.operation.clone() }
    }

    /// What was not let through. Of something malformed it is not known what it contains: only its author is told.
    fn log(&self, path: &str, verdict: &Verdict) {
        let Self { name, namespace, operation } = self;
        match verdict {
            Verdict::Refuse(why) => tracing::info!(path, name, namespace, ?operation, why, "refused"),
            Verdict::Malformed(_) => {
                tracing::info!(path, name, namespace, ?operation, "refused as malformed");
            }
            Verdict::Allow { .. } => {}
        }
    }
}

fn content_type(request: &Request<Incoming>) -> Result<(), Refusal> {
    let found =
        request.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("unreadable"));
    let media = found.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let words = format!("Content-Type is {found:?}; send application/json");
    Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {BODY_LIMIT} bytes, the most that is read"),
        )
    };
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > BODY_LIMIT) {
        return Err(too_large());
    }
    match Limited::new(request.into_body(), BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Refusal(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))),
    }
}

fn text(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(words));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
