//! An authority of one's own, for clusters that have none for services, and its rotation.
//!
//! Clients trust all authorities of a [`Bundle`]. A new authority is told to them first, and signs only once they have had
//! time to take notice; an old one stays until it ends. So that at every moment every client trusts the certificate that it
//! is shown:
//!
//! ```text
//! authority 1   [=======================================]        trusted
//! authority 2                            [=====|=======================    trusted | signs, too
//! certificates    [a][b][c]...                   [x][y]...
//! ```
//!
//! What comes next is decided by [`Bundle::next`], without clock and cluster.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::{CertificateError, Serving, unreadable};

/// Certificates are valid from a little before they were made, for clients whose clock is slow.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// How long what is made is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority. A new one is made when a third is left.
    pub authority: SignedDuration,
    /// A serving certificate. A new one is made when a third is left.
    pub serving: SignedDuration,
    /// How long clients get to take notice of a new authority.
    pub settle: SignedDuration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: SignedDuration::from_hours(365 * 24),
            serving: SignedDuration::from_hours(30 * 24),
            settle: SignedDuration::from_mins(10),
        }
    }
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    certificate: String,
    key: String,
    subject: Vec<u8>,
    since: Timestamp,
    not_after: Timestamp,
}

/// A serving certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    certificate: String,
    key: String,
    issuer: Vec<u8>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Authorities, the oldest first, and the serving certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    authorities: Vec<Authority>,
    leaf: Option<Leaf>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make a new authority, to be told to clients.
    Authority,
    /// Make a new serving certificate, signed by the authority of this index.
    Leaf(usize),
    /// Forget authorities that have ended.
    Forget,
    /// Nothing before that time.
    Wait(Timestamp),
}

/// A bundle as it is stored: PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Certificates of the authorities: whom clients are to trust.
    pub authorities: String,
    /// Their keys, in the same order.
    pub authority_keys: String,
    /// The serving certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// From when until when a certificate is valid.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), CertificateError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable("a certificate", error))?;
    times(&parsed)
}

fn times(parsed: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), CertificateError> {
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| unreadable("validity of a certificate", error))
    };
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

/// The time at which a third of a life is left.
fn renewal(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let third = not_after.duration_since(not_before) / 3;
    not_after.checked_sub(third).unwrap_or(not_before)
}

impl Bundle {
    /// Reads what is stored. Nothing stored is an empty bundle.
    pub fn read(stored: &Stored) -> Result<Self, CertificateError> {
        let authorities = documents(&stored.authorities);
        let keys = documents(&stored.authority_keys);
        if authorities.len() != keys.len() {
            let why = format!("{} certificates, but {} keys", authorities.len(), keys.len());
            return Err(unreadable("ca.crt and ca.key", why));
        }
        let authorities = authorities
            .into_iter()
            .zip(keys)
            .map(|(certificate, key)| Authority::read(certificate, key))
            .collect::<Result<_, _>>()?;
        let leaf = (!stored.certificate.is_empty()).then(|| Leaf::read(stored)).transpose()?;
        Ok(Self { authorities, leaf })
    }

    /// As it is to be stored.
    pub fn stored(&self) -> Stored {
        let all = |text: fn(&Authority) -> &str| self.authorities.iter().map(text).collect::<String>();
        let leaf = |text: fn(&Leaf) -> &str| self.leaf.as_ref().map_or("", text).to_owned();
        Stored {
            authorities: all(|authority| &authority.certificate),
            authority_keys: all(|authority| &authority.key),
            certificate: leaf(|leaf| &leaf.certificate),
            key: leaf(|leaf| &leaf.key),
        }
    }

    /// The certificate to serve with, if there is one.
    pub fn serving(&self) -> Result<Option<Serving>, CertificateError> {
        self.leaf.as_ref().map(|leaf| Serving::from_pem(&leaf.certificate, &leaf.key)).transpose()
    }

    /// Decides what comes next. `told`: whether clients are told of all authorities, which is done as soon as possible.
    pub fn next(&self, names: &[String], told: bool, now: Timestamp, lifetimes: &Lifetimes) -> Next {
        let ended = |authority: &Authority| authority.not_after <= now;
        let Some(newest) = self.authorities.last().filter(|newest| !ended(newest)) else {
            return Next::Authority;
        };
        let old = renewal(newest.since, newest.not_after);
        if old <= now {
            return Next::Authority;
        }
        if self.authorities.iter().any(ended) {
            return Next::Forget;
        }
        let settled = |authority: &Authority| told && authority.since + lifetimes.settle <= now;
        let signs = self.authorities.iter().rposition(settled).unwrap_or(0);
        let fits = |leaf: &&Leaf| {
            let trusted = self.authorities.iter().any(|authority| authority.subject == leaf.issuer);
            trusted && leaf.names == names && renewal(leaf.not_before, leaf.not_after) > now
        };
        match self.leaf.as_ref().filter(fits) {
            None => Next::Leaf(signs),
            Some(leaf) => {
                let forget = self.authorities[0].not_after;
                Next::Wait(old.min(renewal(leaf.not_before, leaf.not_after)).min(forget))
            }
        }
    }

    /// Does it.
    pub fn take(
        &mut self,
        next: Next,
        names: &[String],
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<(), CertificateError> {
        match next {
            Next::Authority => {
                self.authorities.retain(|authority| authority.not_after > now);
                self.authorities.push(Authority::make(now, lifetimes.authority)?);
            }
            Next::Forget => self.authorities.retain(|authority| authority.not_after > now),
            Next::Leaf(index) => {
                let authority = self
                    .authorities
                    .get(index)
                    .ok_or_else(|| CertificateError::Make("there is no authority to sign it".to_owned()))?;
                self.leaf = Some(Leaf::make(authority, names, now, lifetimes.serving)?);
            }
            Next::Wait(_) => {}
        }
        Ok(())
    }
}

/// The PEM documents of a text, each with its end of line.
fn documents(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut document = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        document.push_str(line);
        document.push('\n');
        if line.starts_with("-----END ") {
            all.push(std::mem::take(&mut document));
        }
    }
    all
}

fn system(time: Timestamp) -> SystemTime {
    SystemTime::from(time)
}

fn make(error: &rcgen::Error) -> CertificateError {
    CertificateError::Make(error.to_string())
}

fn later(now: Timestamp, by: SignedDuration) -> Result<Timestamp, CertificateError> {
    now.checked_add(by).map_err(|error| CertificateError::Make(error.to_string()))
}

impl Authority {
    fn read(certificate: String, key: String) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| unreadable("ca.crt", error))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| unreadable("ca.crt", error))?;
        let (not_before, not_after) = times(&parsed)?;
        let pair = KeyPair::from_pem(&key).map_err(|error| unreadable("ca.key", error))?;
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(CertificateError::Unfit(
                "a key in ca.key is not that of its certificate in ca.crt".to_owned(),
            ));
        }
        let subject = parsed.subject().as_raw().to_vec();
        Ok(Self { certificate, key, subject, since: not_before + BACKDATED, not_after })
    }

    fn make(now: Timestamp, lifetime: SignedDuration) -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(|error| make(&error))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Each has a name of its own, by which clients find it among several.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("osc-webhook-ca@{}", now.as_millisecond()));
        params.not_before = system(now - BACKDATED).into();
        params.not_after = system(later(now, lifetime)?).into();
        let certificate = params.self_signed(&key).map_err(|error| make(&error))?;
        Self::read(normal(&certificate.pem()), normal(&key.serialize_pem()))
    }
}

/// One end of line, whatever the library writes.
fn normal(pem: &str) -> String {
    documents(pem).concat()
}

impl Leaf {
    fn read(stored: &Stored) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(stored.certificate.as_bytes())
            .map_err(|error| unreadable("tls.crt", error))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| unreadable("tls.crt", error))?;
        let (not_before, not_after) = times(&parsed)?;
        let extensions =
            parsed.extensions().iter().map(x509_parser::extensions::X509Extension::parsed_extension);
        let mut names = Vec::new();
        for extension in extensions {
            if let ParsedExtension::SubjectAlternativeName(alternatives) = extension {
                names.extend(alternatives.general_names.iter().filter_map(name));
            }
        }
        Serving::from_pem(&stored.certificate, &stored.key)?;
        Ok(Self {
            certificate: stored.certificate.clone(),
            key: stored.key.clone(),
            issuer: parsed.issuer().as_raw().to_vec(),
            names,
            not_before: not_before + BACKDATED,
            not_after,
        })
    }

    fn make(
        authority: &Authority,
        names: &[String],
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<Self, CertificateError> {
        let signing = KeyPair::from_pem(&authority.key).map_err(|error| make(&error))?;
        let issuer =
            Issuer::from_ca_cert_pem(&authority.certificate, signing).map_err(|error| make(&error))?;
        let mut params = CertificateParams::new(names).map_err(|error| make(&error))?;
        params.distinguished_name.push(DnType::CommonName, "osc-webhook");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = system(now - BACKDATED).into();
        params.not_after = system(later(now, lifetime)?.min(authority.not_after)).into();
        let key = KeyPair::generate().map_err(|error| make(&error))?;
        let certificate = params.signed_by(&key, &issuer).map_err(|error| make(&error))?;
        Self::read(&Stored {
            certificate: normal(&certificate.pem()),
            key: normal(&key.serialize_pem()),
            ..Stored::default()
        })
    }
}

/// A name as it was asked for.
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = match *bytes {
                [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
                _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
            };
            Some(address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
