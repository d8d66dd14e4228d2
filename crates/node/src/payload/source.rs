//! Where a bundle comes from: the agent's image, the host, or an https server.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::digest;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::settings::{BUNDLE_IN_IMAGE, Settings, said};

/// Where hosts keep the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// How long a whole bundle may take.
const DOWNLOAD_LIMIT: Duration = Duration::from_hours(1);
/// A digest file is one line.
const DIGEST_FILE_LIMIT: u64 = 4096;

/// A bundle and the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Path or URL.
    pub from: String,
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
}

/// An open bundle.
pub struct Opened {
    /// Its bytes.
    pub reader: Box<dyn Read>,
    /// How many there are, if known.
    pub size: Option<u64>,
}

impl Bundle {
    /// The bundle that is asked for, and its digest: from the settings, or from the file beside it.
    pub fn find(host: &Host, settings: &Settings) -> Result<Self> {
        let from = said(&settings.kata_bundle).unwrap_or(BUNDLE_IN_IMAGE).to_owned();
        let refused = |why: String| Error::Bundle { bundle: from.clone(), why };
        if let Some(text) = said(&settings.kata_bundle_digest) {
            let digest = digest::parse(text).ok_or_else(|| {
                refused(format!(
                    "its digest (`bundleDigest` of config map osc-daemonset-config) is `{text}`; expected is `sha256:` \
                     and 64 hexadecimal digits"
                ))
            })?;
            return Ok(Self { from, digest });
        }
        let beside = format!("{from}.sha256");
        let mut text = String::new();
        match open(host, &beside) {
            Ok(opened) => {
                let read = opened.reader.take(DIGEST_FILE_LIMIT).read_to_string(&mut text);
                read.map_err(|error| refused(format!("{beside} cannot be read: {error}")))?;
            }
            Err(error) => {
                return Err(refused(format!(
                    "it has no digest to check it against: set `bundleDigest` of config map osc-daemonset-config to \
                     `sha256:...`, or put the digest into {beside} ({error})"
                )));
            }
        }
        let digest = digest::parse(&text)
            .ok_or_else(|| refused(format!("{beside} holds no SHA-256 digest of 64 hexadecimal digits")))?;
        Ok(Self { from, digest })
    }

    /// Opens it.
    pub fn open(&self, host: &Host) -> Result<Opened> {
        open(host, &self.from)
    }
}

fn open(host: &Host, from: &str) -> Result<Opened> {
    let failed = |why: String| Error::Bundle { bundle: from.to_owned(), why };
    if from.starts_with("https://") {
        return download(host, from);
    }
    if from.contains("://") {
        return Err(failed("a bundle is a path or an https:// address".to_owned()));
    }
    let on_host = host.at(from)?;
    for path in [Path::new(from), &on_host] {
        match File::open(path) {
            Ok(file) => {
                let size = file.metadata().ok().map(|metadata| metadata.len());
                return Ok(Opened { reader: Box::new(file), size });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    Err(failed("there is no such file, neither in the image of osc-node nor on the host".to_owned()))
}

/// The server is trusted if the host trusts it; the digest decides in any case.
fn download(host: &Host, address: &str) -> Result<Opened> {
    let failed = |why: String| Error::Bundle { bundle: address.to_owned(), why };
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(authorities(host)?))).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .https_only(true)
        .tls_config(tls)
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .timeout_global(Some(DOWNLOAD_LIMIT))
        .user_agent(concat!("osc-node/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let answer =
        agent.get(address).call().map_err(|error| failed(format!("it cannot be downloaded: {error}")))?;
    let size = answer.body().content_length();
    Ok(Opened { reader: Box::new(answer.into_body().into_reader()), size })
}

fn authorities(host: &Host) -> Result<Vec<Certificate<'static>>> {
    for path in AUTHORITIES {
        let Some(pem) = host.read(path)? else { continue };
        let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .flatten()
            .map(|certificate| Certificate::from_der(&certificate).to_owned())
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Error::Refused(format!(
        "the host has no list of trusted authorities ({}), so nothing can be downloaded over https: put the bundle on \
         the host and name its path in `bundle` of config map osc-daemonset-config",
        AUTHORITIES.join(", ")
    )))
}
