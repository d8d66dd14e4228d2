//! A server on a socket, and a client with TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self as client, SendRequest};
use jiff::Timestamp;
use rstest::rstest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;
use crate::certificate::authority::{Bundle, Lifetimes, Next};
use crate::certificate::{Serving, directory::Directory};

/// An authority and a serving certificate.
fn bundle() -> Bundle {
    let (names, now, lifetimes) = (["127.0.0.1".to_owned()], Timestamp::now(), Lifetimes::default());
    let mut bundle = Bundle::default();
    for step in [Next::Authority, Next::Leaf(0)] {
        bundle.take(step, &names, now, &lifetimes).unwrap();
    }
    bundle
}

struct Running {
    address: SocketAddr,
    certificate: Current,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), rustls::Error>>,
    asked: Arc<AtomicUsize>,
}

impl Running {
    /// Refuses what comes to `/refuse`; answers what comes to `/slow` after half a second.
    async fn start() -> Self {
        let certificate = Current::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let server = Server::new(certificate.clone())
            .route("/refuse", move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                async { Verdict::Refuse("not so".to_owned()) }
            })
            .route("/slow", |_| async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Verdict::allow()
            });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(server.serve(listener, cancel.clone()));
        Self { address, certificate, cancel, task, asked }
    }

    async fn with_certificate() -> (Self, String) {
        let running = Self::start().await;
        let bundle = bundle();
        running.certificate.set(bundle.serving().unwrap().unwrap());
        (running, bundle.stored().authorities)
    }

    async fn connect(&self, trusted: &str) -> Result<SendRequest<Full<Bytes>>, std::io::Error> {
        self.connect_with(trusted, &[&rustls::version::TLS13, &rustls::version::TLS12]).await
    }

    async fn connect_with(
        &self,
        trusted: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<SendRequest<Full<Bytes>>, std::io::Error> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn request(
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder().method(method).uri(path).header("host", "webhook");
    request.header("content-type", content_type).body(Full::new(body.into())).unwrap()
}

fn question() -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "7", "operation": "CREATE", "userInfo": {},
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
    }})
    .to_string()
}

fn review(path: &str) -> http::Request<Full<Bytes>> {
    request(Method::POST, path, "application/json; charset=utf-8", question())
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: http::Request<Full<Bytes>>,
) -> (StatusCode, String) {
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_question_is_answered_with_either_version_of_tls() {
    let (running, trusted) = Running::with_certificate().await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut sender = running.connect_with(&trusted, &[version]).await.unwrap();
        let (status, body) = send(&mut sender, review("/refuse?timeout=10s")).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["response"]["uid"]), (StatusCode::OK, &json!("7")));
        assert_eq!(body["response"]["status"]["message"], "not so");
    }
    assert_eq!(running.asked.load(Ordering::Relaxed), 2);
}

#[rstest]
#[case::path(
    request(Method::POST, "/elsewhere", "application/json", question()),
    404,
    "nothing is served at /elsewhere; known are /refuse, /slow"
)]
#[case::method(request(Method::GET, "/refuse", "", ""), 405, "GET is not for /refuse; send reviews by POST")]
#[case::content_type(
    request(Method::POST, "/refuse", "application/yaml", question()),
    415,
    "Content-Type is \"application/yaml\"; send application/json"
)]
#[case::empty(
    request(Method::POST, "/refuse", "application/json", ""),
    400,
    "the body is empty; send an AdmissionReview of admission.k8s.io/v1"
)]
#[case::version(
    request(Method::POST, "/refuse", "application/json", question().replace("k8s.io/v1", "k8s.io/v1beta1")),
    400,
    "the body is \"AdmissionReview\" of apiVersion \"admission.k8s.io/v1beta1\"; this server understands AdmissionReview of \
     admission.k8s.io/v1: say so in admissionReviewVersions of the webhook configuration"
)]
#[case::large(
    request(Method::POST, "/refuse", "application/json", vec![b' '; exchange::BODY_LIMIT + 1]),
    413, "the body is larger than 7340032 bytes, the most that is read"
)]
#[tokio::test]
async fn what_is_no_question_is_refused_in_words(
    #[case] request: http::Request<Full<Bytes>>,
    #[case] status: u16,
    #[case] words: &str,
) {
    let (running, trusted) = Running::with_certificate().await;
    let mut sender = running.connect(&trusted).await.unwrap();
    let (found, body) = send(&mut sender, request).await;
    assert_eq!((found.as_u16(), body.as_str()), (status, format!("{words}\n").as_str()));
    assert_eq!(running.asked.load(Ordering::Relaxed), 0);
    // And it goes on. A client that announced too much has to come again.
    let mut sender = running.connect(&trusted).await.unwrap();
    assert_eq!(send(&mut sender, review("/refuse")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_without_announced_length_is_limited_too() {
    let (running, trusted) = Running::with_certificate().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = ServerName::from(running.address.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let chunks = futures::stream::iter((0..9).map(|_| {
        Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(Bytes::from(vec![b' '; 1024 * 1024])))
    }));
    let request =
        http::Request::post("/refuse").header("host", "webhook").header("content-type", "application/json");
    let response =
        sender.send_request(request.body(http_body_util::StreamBody::new(chunks)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn it_is_ready_when_it_has_a_certificate() {
    let running = Running::start().await;
    let bundle = bundle();
    let error = running.connect(&bundle.stored().authorities).await.unwrap_err();
    assert!(
        error.to_string().contains("HandshakeFailure") || error.to_string().contains("AccessDenied"),
        "{error}"
    );
    running.certificate.set(bundle.serving().unwrap().unwrap());
    let mut sender = running.connect(&bundle.stored().authorities).await.unwrap();
    for path in ["/healthz", "/readyz"] {
        let (status, body) = send(&mut sender, request(Method::GET, path, "", "")).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (running, trusted) = Running::with_certificate().await;
    let mut old = running.connect(&trusted).await.unwrap();
    assert_eq!(send(&mut old, review("/refuse")).await.0, StatusCode::OK);
    let other = bundle();
    running.certificate.set(other.serving().unwrap().unwrap());
    let error = running.connect(&trusted).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let mut new = running.connect(&other.stored().authorities).await.unwrap();
    for sender in [&mut old, &mut new] {
        assert_eq!(send(sender, review("/refuse")).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn it_ends_when_what_is_under_way_is_answered() {
    let (running, trusted) = Running::with_certificate().await;
    let mut sender = running.connect(&trusted).await.unwrap();
    let under_way = tokio::spawn(async move { send(&mut sender, review("/slow")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!under_way.is_finished());
    running.cancel.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!under_way.is_finished());
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody waits at a closed door");
    running.task.await.unwrap().unwrap();
    assert_eq!(under_way.await.unwrap().0, StatusCode::OK);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_directory_is_followed_and_a_half_written_one_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (current, cancel) = (Current::default(), CancellationToken::new());
    let directory = Directory::new(folder.path().join("certificates"));
    assert!(!directory.is_filled());
    let follow = directory.clone().follow(current.clone(), Duration::from_millis(5), cancel.clone());
    let follow = tokio::spawn(follow);
    let wait = async |until: &dyn Fn() -> bool| {
        for _ in 0..400 {
            if until() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came about");
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(current.not_after(), None);
    let (first, second) = (bundle().stored(), bundle().stored());
    let path = folder.path().join("certificates");
    std::fs::create_dir(&path).unwrap();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    write("tls.crt", &first.certificate);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(current.not_after(), None, "there is no key yet");
    write("tls.key", &first.key);
    wait(&|| current.not_after().is_some()).await;
    assert!(directory.is_filled());

    let shown = |stored: &crate::certificate::authority::Stored| {
        let wanted = Serving::from_pem(&stored.certificate, &stored.key).unwrap();
        let current = current.clone();
        move || current.shows(&wanted)
    };
    write("tls.crt", &second.certificate);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(shown(&first)(), "a certificate with the key of another one is not taken");
    write("tls.key", &second.key);
    wait(&shown(&second)).await;
    write("tls.crt", "nothing");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(shown(&second)());
    cancel.cancel();
    follow.await.unwrap();
}

#[tokio::test]
async fn no_client_keeps_others_out_by_doing_nothing() {
    let (running, trusted) = Running::with_certificate().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let mut sender = running.connect(&trusted).await.unwrap();
    assert_eq!(send(&mut sender, review("/refuse")).await.0, StatusCode::OK);
}
