//! A certificate authority and a serving certificate, made at start.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::config::ServerError;

/// What a server needs, and what its clients need.
pub struct Identity {
    /// Terminates TLS.
    pub acceptor: TlsAcceptor,
    /// The authority, in PEM.
    pub authority_pem: String,
    /// The authority, in DER.
    pub authority_der: Vec<u8>,
}

/// Makes an authority and a certificate for `address` and `localhost`.
pub fn identity(address: IpAddr) -> Result<Identity, ServerError> {
    let bad = |error: &dyn std::fmt::Display| ServerError::Certificate(error.to_string());
    let authority_key = KeyPair::generate().map_err(|e| bad(&e))?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "osc-devcluster");
    let certificate = authority.self_signed(&authority_key).map_err(|e| bad(&e))?;
    let issuer = Issuer::new(authority, authority_key);

    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), address.to_string()];
    let mut serving = CertificateParams::new(names).map_err(|e| bad(&e))?;
    serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    let serving_key = KeyPair::generate().map_err(|e| bad(&e))?;
    let serving = serving.signed_by(&serving_key, &issuer).map_err(|e| bad(&e))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(serving_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![serving.der().clone(), certificate.der().clone()], key)
        .map_err(|e| bad(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority_pem: certificate.pem(),
        authority_der: certificate.der().to_vec(),
    })
}
