//! Clients: threads, each with one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::questions::Question;
use crate::server::Process;

/// Asks for that long: so many questions a second from all clients together, or as many as it takes. Says how many were
/// answered a second, and how long each answer took from when its question was due.
pub fn ask(
    server: &Process,
    duration: Duration,
    rate: Option<u32>,
    connections: u32,
) -> (f64, Vec<Duration>) {
    // Connections are set up before the first question is due.
    let begin = Instant::now() + Duration::from_millis(500);
    let end = begin + duration;
    let all: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|index| {
                let pace = rate.map(|rate| {
                    let period = Duration::from_secs(1) * connections / rate;
                    (begin + period * index / connections, period)
                });
                scope.spawn(move || one(server, begin, end, pace))
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let took = begin.elapsed().as_secs_f64();
    let answers = u32::try_from(all.len()).unwrap();
    (f64::from(answers) / took, all)
}

/// One client. `pace`: when its first question is due, and how much later each further one.
fn one(server: &Process, begin: Instant, end: Instant, pace: Option<(Instant, Duration)>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sender = runtime.block_on(connect(server));
    let questions: Vec<Question> = (server.questions)();
    let mut latencies = Vec::new();
    let mut due = pace.map_or(begin, |(first, _)| first);
    for (path, body) in questions.iter().cycle() {
        if pace.is_none() {
            due = Instant::now().max(begin);
        }
        if due >= end {
            break;
        }
        // The thread sleeps: its timer is finer than the runtime's.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        runtime.block_on(exchange(&mut sender, path, body));
        latencies.push(due.elapsed());
        if let Some((_, period)) = pace {
            due += period;
        }
    }
    latencies
}

async fn connect(server: &Process) -> SendRequest<Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(&server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, path: &str, body: &[u8]) {
    sender.ready().await.unwrap();
    let request = Request::post(path).header("host", "webhook").header("content-type", "application/json");
    let request = request.body(Full::from(Bytes::copy_from_slice(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    let allowed = answer.windows(14).any(|part| part == b"\"allowed\":true");
    assert!(allowed, "{}", String::from_utf8_lossy(&answer));
}
