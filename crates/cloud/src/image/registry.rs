//! Pulls from a registry: manifests and layers, each checked against its digest.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::thread::sleep;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Reference;
use super::auth::Basic;
use super::error::{Error, Result};
use crate::aws::hex;
use crate::http_client::{self, Redirects};

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// The longest manifest that registries have to take.
const LONGEST_MANIFEST: u64 = 4 << 20;
/// How often a layer is gone on with after the line broke.
const TRIES: u32 = 5;

/// A manifest, or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Something with a digest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// `sha256:...`
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// Which machine it is for.
    pub platform: Option<Platform>,
}

/// A kind of machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Platform {
    architecture: String,
    os: String,
}

/// An image that was found.
#[derive(Debug)]
pub struct Pulled {
    /// Digest of its manifest: the same digest is the same image.
    pub digest: String,
    /// From the lowest to the uppermost.
    pub layers: Vec<Descriptor>,
}

/// A registry, with a login for one image.
pub struct Registry {
    agent: ureq::Agent,
    reference: Reference,
    login: Option<Basic>,
    authorization: Option<String>,
}

type Response = http::Response<ureq::Body>;

impl Registry {
    /// Nothing is asked yet.
    pub fn new(reference: Reference, login: Option<Basic>) -> Self {
        Self { agent: http_client::agent(Redirects::Followed), reference, login, authorization: None }
    }

    /// Finds the image for an architecture, in the words of Go: `amd64`, `s390x`.
    pub fn image(&mut self, architecture: &str) -> Result<Pulled> {
        let asked = self.reference.digest.clone();
        let name = asked.clone().unwrap_or_else(|| self.reference.tag.clone());
        let (manifest, digest) = self.manifest(&name, asked.as_deref())?;
        if manifest.manifests.is_empty() {
            return self.pulled(manifest, digest);
        }
        let fits = |one: &&Descriptor| {
            one.platform
                .as_ref()
                .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
        };
        let Some(chosen) = manifest.manifests.iter().find(fits) else {
            let platforms = manifest.manifests.iter().filter_map(|one| one.platform.as_ref());
            let names: Vec<String> =
                platforms.map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect();
            let why =
                format!("it is there for {} only, and linux/{architecture} is needed", names.join(", "));
            return Err(self.failed(why));
        };
        let wanted = chosen.digest.clone();
        let (manifest, digest) = self.manifest(&wanted, Some(&wanted))?;
        self.pulled(manifest, digest)
    }

    fn pulled(&self, manifest: Manifest, digest: String) -> Result<Pulled> {
        if manifest.layers.is_empty() {
            return Err(self.failed("it has no layers".to_owned()));
        }
        for layer in &manifest.layers {
            if !is_digest(&layer.digest) {
                return Err(self.failed(format!("its layer {:?} has no SHA-256 digest", layer.digest)));
            }
        }
        Ok(Pulled { digest, layers: manifest.layers })
    }

    fn manifest(&mut self, name: &str, digest: Option<&str>) -> Result<(Manifest, String)> {
        let accept = INDEXES.iter().chain(&MANIFESTS).copied().collect::<Vec<_>>().join(", ");
        let mut response = self.get(&format!("manifests/{name}"), &[("accept", accept)])?;
        let announced = response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = response
            .body_mut()
            .with_config()
            .limit(LONGEST_MANIFEST)
            .read_to_vec()
            .map_err(|error| self.failed(format!("its manifest cannot be read: {error}")))?;
        let found = format!("sha256:{}", hex(&Sha256::digest(&body)));
        if let Some(expected) = digest.or(announced.as_deref()).filter(|expected| *expected != found) {
            return Err(self.damaged("manifest", expected, &found));
        }
        let manifest = serde_json::from_slice(&body)
            .map_err(|error| self.failed(format!("its manifest is not understood: {error}")))?;
        Ok((manifest, found))
    }

    /// A layer, as it comes. [`Layer::finish`] checks it.
    pub fn layer(&mut self, layer: &Descriptor) -> Result<Layer<'_>> {
        let body = self.blob(&layer.digest, 0)?;
        let what = format!("layer {} of {}", layer.digest, self.reference);
        Ok(Layer {
            registry: self,
            what,
            described: layer.clone(),
            body,
            hash: Sha256::new(),
            read: 0,
            tries: 0,
        })
    }

    fn blob(&mut self, digest: &str, from: u64) -> Result<Box<dyn Read + Send>> {
        let range: Vec<_> = (from > 0).then(|| ("range", format!("bytes={from}-"))).into_iter().collect();
        let response = self.get(&format!("blobs/{digest}"), &range)?;
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let mut body = response.into_body().into_reader();
        if from > 0 && !partial {
            // A registry that knows no ranges sends all of it again.
            io::copy(&mut (&mut body).take(from), &mut io::sink())
                .map_err(|error| self.failed(format!("a layer cannot be read: {error}")))?;
        }
        Ok(Box::new(body))
    }

    fn get(&mut self, path: &str, headers: &[(&str, String)]) -> Result<Response> {
        let scheme = if self.reference.is_local() { "http" } else { "https" };
        let uri = format!("{scheme}://{}/v2/{}/{path}", self.reference.host(), self.reference.repository);
        let mut response = self.send(&uri, headers)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let offers: Vec<String> = response
                .headers()
                .get_all("www-authenticate")
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            self.authorization = self.answer(&offers)?;
            if self.authorization.is_some() {
                response = self.send(&uri, headers)?;
            }
        }
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.refused(status, path))
    }

    fn send(&self, uri: &str, headers: &[(&str, String)]) -> Result<Response> {
        let mut tries = 0;
        loop {
            let mut request = self.agent.get(uri);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            if let Some(authorization) = &self.authorization {
                request = request.header("authorization", authorization);
            }
            tries += 1;
            match request.call() {
                Ok(response) if tries < TRIES && is_passing(response.status()) => {
                    tracing::warn!(
                        "{} answered {}; it is asked again",
                        self.reference.registry,
                        response.status()
                    );
                }
                Ok(response) => return Ok(response),
                Err(error) if tries < TRIES && is_passing_error(&error) => {
                    tracing::warn!("{} does not answer: {error}; it is asked again", self.reference.registry);
                }
                Err(error) => {
                    let why = format!("registry {} cannot be reached: {error}", self.reference.registry);
                    return Err(self.failed(why));
                }
            }
            sleep(pause(tries));
        }
    }

    /// What the registry wants to see, by what it says.
    fn answer(&self, offers: &[String]) -> Result<Option<String>> {
        let bearer = offers.iter().find_map(|offer| parameters(offer, "bearer"));
        let Some(offer) = bearer else {
            let basic = offers.iter().any(|offer| parameters(offer, "basic").is_some());
            return Ok(self.login.as_ref().filter(|_| basic).map(Basic::header));
        };
        let realm = offer.get("realm").cloned().unwrap_or_default();
        let schemes: &[&str] =
            if self.reference.is_local() { &["https://", "http://"] } else { &["https://"] };
        if !schemes.iter().any(|scheme| realm.starts_with(scheme)) {
            return Err(self.failed(format!("its registry sends logins to {realm:?}, which is not https://")));
        }
        let mut request = self.agent.get(&realm);
        for key in ["service", "scope"] {
            if let Some(value) = offer.get(key) {
                request = request.query(key, value);
            }
        }
        if let Some(login) = &self.login {
            request = request.header("authorization", login.header());
        }
        let unreachable = |error: ureq::Error| self.failed(format!("{realm} gives no token: {error}"));
        let mut response = request.call().map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(self.refused(response.status(), "token"));
        }
        let body =
            response.body_mut().with_config().limit(LONGEST_MANIFEST).read_to_vec().map_err(unreachable)?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| self.failed(format!("{realm} gives something else than a token")))?;
        Ok(token.token.or(token.access_token).map(|token| format!("Bearer {token}")))
    }

    fn refused(&self, status: StatusCode, path: &str) -> Error {
        let registry = &self.reference.registry;
        let why = match status.as_u16() {
            401 | 403 if self.login.is_none() => format!(
                "registry {registry} wants a login ({status}) and there is none for it; add one to secret auth-json-secret, \
                 which is made of the cluster's pull secret"
            ),
            401 | 403 => format!(
                "registry {registry} does not accept the login that there is for it ({status}); correct it in the cluster's \
                 pull secret"
            ),
            404 if path.starts_with("manifests/") => {
                format!(
                    "registry {registry} has no such image or tag (404); correct PODVM_IMAGE_URI of the image config map"
                )
            }
            404 => format!("registry {registry} lacks a part of it, {path} (404); push it again"),
            429 => format!("registry {registry} allows no more pulls for now (429); try later, or log in"),
            _ => format!("registry {registry} answers {path} with {status}"),
        };
        self.failed(why)
    }

    fn failed(&self, why: String) -> Error {
        Error::Registry { image: self.reference.to_string(), why }
    }

    fn damaged(&self, what: &str, expected: &str, found: &str) -> Error {
        Error::Damaged {
            what: format!("{what} of {}", self.reference),
            why: format!("{expected} was expected and {found} came"),
        }
    }
}

/// A layer as it is read. A line that breaks is taken up where it was.
pub struct Layer<'a> {
    registry: &'a mut Registry,
    what: String,
    described: Descriptor,
    body: Box<dyn Read + Send>,
    hash: Sha256,
    read: u64,
    tries: u32,
}

impl Layer<'_> {
    /// Reads what is left and compares the digest.
    pub fn finish(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink())
            .map_err(|error| self.registry.failed(format!("{} breaks off: {error}", self.what)))?;
        let found = format!("sha256:{}", hex(&self.hash.finalize()));
        if self.read == self.described.size && found == self.described.digest {
            return Ok(());
        }
        let why = format!(
            "{} of {} bytes were expected and {found} of {} came",
            self.described.digest, self.described.size, self.read
        );
        Err(Error::Damaged { what: self.what, why })
    }

    /// Bytes that came so far.
    pub fn position(&self) -> u64 {
        self.read
    }

    fn again(&mut self, why: &str) -> io::Result<()> {
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(io::Error::other(format!("{why}, {TRIES} times")));
        }
        tracing::warn!("{} broke off at {} MiB: {why}; it is gone on with", self.what, self.read >> 20);
        sleep(pause(self.tries));
        self.body = self.registry.blob(&self.described.digest, self.read).map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for Layer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Nobody sends more than was announced.
            let most =
                usize::try_from((self.described.size + 1).saturating_sub(self.read)).unwrap_or(usize::MAX);
            let most = buffer.len().min(most);
            match self.body.read(&mut buffer[..most]) {
                Ok(0) if self.read < self.described.size && most > 0 => self.again("the line was closed")?,
                Ok(count) => {
                    self.read += count as u64;
                    self.hash.update(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.again(&error.to_string())?,
            }
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn is_passing_error(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::HostNotFound
    )
}

fn pause(tries: u32) -> Duration {
    Duration::from_millis(500) * 2u32.saturating_pow(tries.saturating_sub(1)).min(16)
}

/// `Bearer realm="...",service="..."`, if it is of that scheme.
fn parameters(offer: &str, scheme: &str) -> Option<BTreeMap<String, String>> {
    let (named, mut rest) = offer.split_once(' ').unwrap_or((offer, ""));
    if !named.eq_ignore_ascii_case(scheme) {
        return None;
    }
    let mut found = BTreeMap::new();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        found.insert(key.trim_matches([',', ' ']).to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_of_logins_are_read() {
        let offer = "Bearer realm=\"https://auth.test/token\",service=\"registry.test\", scope=\"repository:a:pull,push\"";
        let found = parameters(offer, "bearer").unwrap();
        assert_eq!(found["realm"], "https://auth.test/token");
        assert_eq!(found["scope"], "repository:a:pull,push");
        assert_eq!(parameters(offer, "basic"), None);
        assert_eq!(parameters("Basic", "basic"), Some(BTreeMap::new()));
    }
}
