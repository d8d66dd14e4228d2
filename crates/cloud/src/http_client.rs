//! The client for HTTP: trusts what the system trusts, goes through the proxies of the environment.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Variables that name a file of authorities, the first wins.
const AUTHORITY_VARIABLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// How long one request may take to be sent: a part of an image over a slow line.
const SEND_LIMIT: Duration = Duration::from_mins(10);
/// How long nothing may come of a body.
const SILENCE_LIMIT: Duration = Duration::from_mins(2);

/// What to do with redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// They are an answer like any other: a signature is for one address.
    Shown,
    /// They are followed, and credentials stay with the server that they are for.
    Followed,
}

/// A client. Statuses are never errors: each service says more about them in its answer.
pub fn agent(redirects: Redirects) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let followed = if redirects == Redirects::Followed { 5 } else { 0 };
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(followed)
        .max_redirects_will_error(redirects == Redirects::Followed)
        .tls_config(tls)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_send_body(Some(SEND_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .timeout_per_read(Some(SILENCE_LIMIT))
        .user_agent(concat!("osc-cloud/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// None is possible, too: endpoints without TLS need none, and TLS fails with the certificate's own words.
fn authorities() -> Vec<Certificate<'static>> {
    let named = AUTHORITY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
    for path in named.filter(|path| !path.is_empty()).chain(AUTHORITIES.map(str::to_owned)) {
        let Ok(pem) = std::fs::read(&path) else { continue };
        let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .flatten()
            .map(|certificate| Certificate::from_der(&certificate).to_owned())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}
