//! A webhook server: HTTPS on loopback, answers by path, and a record of what was asked.
//!
//! The conformance proof uses it too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a webhook answers.
pub enum Answer {
    /// The review's `response`; the uid is filled in unless it is there.
    Response(Value),
    /// Something else: HTTP status and body.
    Raw(u16, String),
    /// Nothing for a long time.
    Never,
}

type Handler = Box<dyn Fn(&Value) -> Answer + Send + Sync>;

#[derive(Default)]
struct Shared {
    handlers: Mutex<BTreeMap<String, Handler>>,
    /// Requests by path.
    seen: Mutex<BTreeMap<String, Vec<Value>>>,
}

/// A running server. It ends when dropped.
pub struct WebhookServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// `caBundle` of its clients.
    pub authority: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The request may go on.
pub fn allow() -> Answer {
    Answer::Response(json!({ "allowed": true }))
}

/// It may not.
#[allow(clippy::needless_pass_by_value)] // json!() at the call reads better without an ampersand
pub fn deny(status: Value) -> Answer {
    Answer::Response(json!({ "allowed": false, "status": status }))
}

/// It may, with a change.
#[allow(clippy::needless_pass_by_value)]
pub fn patch(operations: Value) -> Answer {
    let patch = STANDARD.encode(operations.to_string());
    Answer::Response(json!({ "allowed": true, "patchType": "JSONPatch", "patch": patch }))
}

/// A certificate authority in the form of `caBundle`, and a server's identity.
fn identity(names: Vec<String>) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (STANDARD.encode(authority.pem()), TlsAcceptor::from(Arc::new(config)))
}

/// An authority that has signed nothing.
pub fn other_authority() -> String {
    identity(vec!["localhost".to_owned()]).0
}

impl WebhookServer {
    /// Starts one with a certificate for loopback and `webhook.default.svc`.
    pub async fn start() -> Self {
        let names = ["127.0.0.1", "localhost", "webhook.default.svc"];
        let (authority, acceptor) = identity(names.map(str::to_owned).to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(accept(listener, acceptor, shared.clone()));
        Self { address, authority, shared, task }
    }

    /// Answers requests at `/path`.
    pub fn on(&self, path: &str, handler: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
        self.shared.handlers.lock().unwrap().insert(path.to_owned(), Box::new(handler));
    }

    /// What was asked at `/path`, oldest first.
    pub fn seen(&self, path: &str) -> Vec<Value> {
        self.shared.seen.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    /// `clientConfig` for `/path`.
    pub fn client(&self, path: &str) -> Value {
        json!({ "url": format!("https://{}/{path}", self.address), "caBundle": self.authority })
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(shared.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let request = &review["request"];
    shared.seen.lock().unwrap().entry(path.clone()).or_default().push(request.clone());
    let found = shared.handlers.lock().unwrap().get(&path).map(|handler| handler(request));
    let (code, text) = match found {
        Some(Answer::Response(mut response)) => {
            if response["uid"].is_null() {
                response["uid"] = request["uid"].clone();
            }
            let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
            (200, review.to_string())
        }
        Some(Answer::Raw(code, text)) => (code, text),
        Some(Answer::Never) => {
            tokio::time::sleep(Duration::from_mins(5)).await;
            (500, String::new())
        }
        None => (404, format!("nothing at /{path}")),
    };
    let response = Response::builder().status(code).header("content-type", "application/json");
    Ok(response.body(Full::from(text)).unwrap())
}
