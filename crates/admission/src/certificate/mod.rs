//! With which certificate the server answers. It may change while it serves: connections that are open go on, new ones get
//! the new certificate.
//!
//! Certificates come from a [`directory`] that somebody else fills (OpenShift's service CA, cert-manager), or from an
//! [`authority`] of one's own.

pub mod authority;
pub mod directory;

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::Profile;

/// Why a certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text is no certificate.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// The file or the key of the Secret.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The private key is that of another certificate, or the certificate of no use for a server.
    #[error("certificate and key do not fit together: {0}")]
    Unfit(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

fn unreadable(what: &str, why: impl std::fmt::Display) -> CertificateError {
    CertificateError::Unreadable { what: what.to_owned(), why: why.to_string() }
}

/// A certificate with its key, as a server uses it.
#[derive(Clone, Debug)]
pub struct Serving {
    key: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Serving {
    /// Reads a chain, the server's own certificate first, and its key.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable("tls.crt", error))?;
        let first =
            certificates.first().ok_or_else(|| unreadable("tls.crt", "there is no certificate in it"))?;
        let not_after = authority::validity(first)?.1;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unreadable("tls.key", error))?;
        let key = CertifiedKey::from_der(certificates, key, &rustls::crypto::ring::default_provider())
            .map_err(|error| CertificateError::Unfit(error.to_string()))?;
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// The certificate in use. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Current(Arc<RwLock<Option<Serving>>>);

impl Current {
    /// From now on, this one.
    pub fn set(&self, serving: Serving) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(serving);
    }

    /// When the one in use ends; none if there is none yet.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.get().map(|serving| serving.not_after)
    }

    /// Whether that one is in use.
    pub fn shows(&self, serving: &Serving) -> bool {
        self.get().is_some_and(|current| current.key.cert == serving.key.cert)
    }

    fn get(&self) -> Option<Serving> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS as the profile has it, with whatever certificate is in use when a client comes.
    pub fn server_config(&self, profile: &Profile) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(profile.provider()))
            .with_protocol_versions(profile.versions())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get().map(|serving| serving.key)
    }
}
