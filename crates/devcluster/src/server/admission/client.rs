//! The HTTPS call of a webhook.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use ::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::server::call::{NAMESPACES, State};
use crate::server::config::ServicePort;
use crate::server::store::Key;

const ANSWER_LIMIT: usize = 3 * 1024 * 1024;

/// Where a webhook is and how it is trusted.
pub struct Target {
    url: Url,
    /// Where to connect instead of what the URL says: the address of a service.
    address: Option<SocketAddr>,
    authority: RootCertStore,
    timeout: Duration,
}

impl Target {
    /// Reads `clientConfig`. The error says why the call cannot even be tried.
    pub fn new(state: &State, config: &Value, seconds: u64) -> Result<Self, String> {
        let service = &config["service"];
        let mut url = if service.is_object() { service_url(service)? } else { plain_url(config)? };
        // What the real server tells a webhook about the time it has.
        url.query_pairs_mut().append_pair("timeout", &format!("{seconds}s"));
        let address = service.is_object().then(|| address(state, service)).transpose();
        let address = address.map_err(|why| format!("failed to call webhook: Post \"{url}\": {why}"))?;
        let authority = authority(&config["caBundle"])?;
        Ok(Self { url, address, authority, timeout: Duration::from_secs(seconds) })
    }

    /// Sends a review and returns the answer's body. The error is a reason in the real server's words.
    pub async fn post(self, body: Vec<u8>) -> Result<Bytes, String> {
        // On a thread with a clock of its own: time that is paused for a simulation would stand still for the
        // timeout, or rush past it while the answer is on its way.
        let exchange = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("failed to call webhook: {error}"))?;
            let outcome = runtime.block_on(self.exchange(body));
            runtime.shutdown_background();
            outcome
        });
        exchange.await.unwrap_or_else(|error| Err(format!("failed to call webhook: {error}")))
    }

    async fn exchange(self, body: Vec<u8>) -> Result<Bytes, String> {
        let failed = |why: String| format!("failed to call webhook: Post \"{}\": {why}", self.url);
        let answer = tokio::time::timeout(self.timeout, self.send(body)).await;
        let (code, body) =
            answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).map_err(failed)?;
        match code {
            200..=206 => Ok(body),
            404 => Err("failed to call webhook: the server could not find the requested resource".to_owned()),
            _ => {
                let text = String::from_utf8_lossy(&body);
                let text = text.trim();
                Err(format!(
                    "failed to call webhook: an error on the server ({text:?}) has prevented the request from succeeding"
                ))
            }
        }
    }

    async fn send(&self, body: Vec<u8>) -> Result<(u16, Bytes), String> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(443);
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((host.trim_matches(['[', ']']), port)).await,
        };
        let stream = stream.map_err(|error| {
            let at = self.address.map_or_else(|| format!("{host}:{port}"), |address| address.to_string());
            format!("dial tcp {at}: {}", connect_failure(&error))
        })?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate could have"))?;
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let stream = connector.connect(name, stream).await.map_err(|error| tls_failure(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(plain)?;
        tokio::spawn(connection);
        let response = sender.send_request(self.request(body)?).await.map_err(plain)?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(plain)?;
        Ok((code, body.to_bytes()))
    }

    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*")
            .header(USER_AGENT, "kube-apiserver-admission")
            .body(Full::from(body))
            .map_err(plain)
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(plain)?;
        Ok(builder.with_root_certificates(self.authority.clone()).with_no_client_auth())
    }
}

fn plain(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn plain_url(config: &Value) -> Result<Url, String> {
    let text = config["url"].as_str().unwrap_or_default();
    Url::parse(text).map_err(|error| format!("clientConfig.url {text:?} cannot be read: {error}"))
}

fn service_port(service: &Value) -> ServicePort {
    let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
    let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
    ServicePort { namespace: text("namespace"), name: text("name"), port }
}

fn service_url(service: &Value) -> Result<Url, String> {
    let ServicePort { namespace, name, port } = service_port(service);
    let path = service["path"].as_str().unwrap_or_default().trim_start_matches('/');
    let text = format!("https://{name}.{namespace}.svc:{port}/{path}");
    Url::parse(&text).map_err(|error| format!("clientConfig.service makes no URL ({text}): {error}"))
}

/// There is no network behind services here: an address is given for them, or somebody answers for them.
fn address(state: &State, service: &Value) -> Result<SocketAddr, String> {
    let wanted = service_port(service);
    if let Some(address) = state.services.get(&wanted) {
        return Ok(*address);
    }
    let ServicePort { namespace, name, port } = &wanted;
    let found = state.store.get(NAMESPACES, &Key::new("", namespace)).and_then(|_| {
        // The namespace goes before what is in it is gone.
        state.store.get("/services", &Key::new(namespace, name))
    });
    let Some(found) = found else { return Err(format!("service {name:?} not found")) };
    let ports = found["spec"]["ports"].as_array();
    if !ports.is_some_and(|ports| ports.iter().any(|known| known["port"] == json!(port))) {
        return Err(format!("no service port {port} found for service {name:?}"));
    }
    state.endpoints.pick(&wanted).ok_or_else(|| {
        format!(
            "no endpoints available for service {name:?}: the embedded server reaches only services that somebody \
             answers for, and nobody does for {namespace}/{name}:{port}"
        )
    })
}

fn authority(bundle: &Value) -> Result<RootCertStore, String> {
    let mut authority = RootCertStore::empty();
    let Some(encoded) = bundle.as_str().filter(|text| !text.is_empty()) else { return Ok(authority) };
    let bad = |why: String| format!("unable to load root certificates: clientConfig.caBundle: {why}");
    let pem = STANDARD.decode(encoded).map_err(|error| bad(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        authority.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if authority.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(authority)
}

fn connect_failure(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// The sentences of the Go server, which people search for.
fn tls_failure(error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = cause else { return error.to_string() };
    let why = match why {
        // Another authority of the same name shows in the signature only.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}
