//! Where an image of pod VMs comes from: `<type>::<image>[:tag|@digest][::path]`, the value of `PODVM_IMAGE_URI`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Where images carry their disk if nobody says otherwise.
pub const DEFAULT_DISK: &str = "/image/podvm.qcow2";
/// Of a path in an image.
const LONGEST_PATH: usize = 160;

/// Where the disk of pod VMs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A file of an image in a registry.
    Oci {
        /// The image.
        reference: Reference,
        /// The file, from the root of the image.
        path: String,
    },
    /// A bootable container, of which a disk has to be made first.
    Bootc {
        /// The container.
        reference: Reference,
        /// Whether its type is written; the documentation of Google Cloud has bare references, and means bootc.
        typed: bool,
    },
    /// A file.
    File(PathBuf),
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, perhaps with port.
    pub registry: String,
    /// The image's name there.
    pub repository: String,
    /// Its tag; what has neither tag nor digest is `latest`.
    pub tag: String,
    /// `sha256:...`; it goes before the tag.
    pub digest: Option<String>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}/{}@{digest}", self.registry, self.repository),
            None => write!(f, "{}/{}:{}", self.registry, self.repository, self.tag),
        }
    }
}

impl ImageSource {
    /// Reads it; an error says what was found, a phrase with the value in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match parts(text).as_slice() {
            ["oci", reference] => Self::oci(reference, DEFAULT_DISK),
            ["oci", reference, path] => Self::oci(reference, path),
            ["file", path] if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            ["file", path] => Err(format!("{path:?} is no absolute path")),
            ["bootc", reference] => Self::bootc(reference, true),
            [""] | [] => Err("nothing, neither a disk in an image nor a bootable container".to_owned()),
            [reference] => Self::bootc(reference, false),
            [kind, ..] => {
                Err(format!("{text:?} has type {kind:?} or too many parts; types are oci, bootc and file"))
            }
        }
    }

    fn oci(reference: &str, path: &str) -> Result<Self, String> {
        let dots = path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || path.ends_with('/') || dots {
            return Err(format!("{path:?} is no absolute path of a file in the image"));
        }
        // It becomes part of tags.
        let fine = |c: char| c.is_ascii_alphanumeric() || "._/+=@-".contains(c);
        if path.len() > LONGEST_PATH || !path.chars().all(fine) {
            let what = "has other characters than letters, digits and . _ / + = @ -, or more than";
            return Err(format!("{path:?} {what} {LONGEST_PATH}"));
        }
        Ok(Self::Oci { reference: named(reference)?, path: path.to_owned() })
    }

    fn bootc(reference: &str, typed: bool) -> Result<Self, String> {
        Ok(Self::Bootc { reference: named(reference)?, typed })
    }
}

fn named(reference: &str) -> Result<Reference, String> {
    Reference::parse(reference).map_err(|why| format!("{reference:?} {why}"))
}

/// At `::`, but for those of an address in brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let address = if rest.starts_with('[') { rest.find(']').unwrap_or(0) } else { 0 };
        let Some(at) = rest[address..].find("::") else {
            parts.push(rest);
            return parts;
        };
        parts.push(&rest[..address + at]);
        rest = &rest[address + at + 2..];
    }
}

impl Reference {
    /// Reads a reference; what is wrong with it is the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err("has a digest other than sha256: and 64 hexadecimal digits".to_owned());
            }
        }
        let (registry, rest) = name.split_once('/').ok_or("does not say which registry it is in")?;
        if !is_registry(registry) {
            return Err(format!("begins with {registry:?}, which is no registry: it has no dot and no port"));
        }
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !repository.split('/').all(is_component) {
            return Err(format!(
                "has {repository:?}, which is no name: names are of lower-case letters, digits and . _ -"
            ));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("has {tag:?}, which is no tag"));
        }
        // What people write for the first registry of all, which has another host and a prefix for its own images.
        let (registry, repository) = match registry {
            "docker.io" | "index.docker.io" if !repository.contains('/') => {
                ("docker.io", format!("library/{repository}"))
            }
            other => (other, repository.to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.unwrap_or("latest").to_owned(),
            digest: digest.map(str::to_owned),
        })
    }

    /// The host that answers for the registry.
    pub fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether the registry is on this machine, where no certificate is expected.
    pub fn is_local(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }
}

/// `host.name`, `host:port`, `[v6]:port` or `localhost`.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let port = if rest.is_empty() { Some(None) } else { rest.strip_prefix(':').map(Some) };
            return address.parse::<Ipv6Addr>().is_ok() && port.is_some_and(|port| port.is_none_or(is_port));
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label)
        && port.is_none_or(is_port)
        && (host.contains('.') || port.is_some() || host == "localhost")
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_component(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn images_are_read() {
        for (text, registry, repository, tag, path) in [
            ("oci::quay.io/org/podvm", "quay.io", "org/podvm", "latest", DEFAULT_DISK),
            ("oci::quay.io:5000/org/podvm:1.12", "quay.io:5000", "org/podvm", "1.12", DEFAULT_DISK),
            ("oci::[::1]:5000/podvm::/disk.qcow2", "[::1]:5000", "podvm", "latest", "/disk.qcow2"),
            ("oci::[fd00::1]/podvm", "[fd00::1]", "podvm", "latest", DEFAULT_DISK),
            ("oci::docker.io/podvm", "docker.io", "library/podvm", "latest", DEFAULT_DISK),
        ] {
            let reference = Reference {
                registry: registry.to_owned(),
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                digest: None,
            };
            assert_eq!(ImageSource::parse(text), Ok(ImageSource::Oci { reference, path: path.to_owned() }));
        }
    }

    #[test]
    fn a_digest_goes_before_a_tag() {
        let reference = Reference::parse(&format!("r:5000/podvm:1@{DIGEST}")).unwrap();
        assert_eq!(reference.to_string(), format!("r:5000/podvm@{DIGEST}"));
    }

    #[test]
    fn files_and_bootable_containers_are_told_apart() {
        let file = ImageSource::parse("file::/disks/podvm.qcow2");
        assert_eq!(file, Ok(ImageSource::File(PathBuf::from("/disks/podvm.qcow2"))));
        for (text, expected) in [("bootc::quay.io/org/podvm", true), ("quay.io/org/podvm", false)] {
            let Ok(ImageSource::Bootc { reference, typed }) = ImageSource::parse(text) else {
                panic!("{text}")
            };
            assert_eq!((reference.to_string().as_str(), typed), ("quay.io/org/podvm:latest", expected));
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for (text, words) in [
            ("", "nothing"),
            ("bootc::", "does not say which registry"),
            ("bootc::org/podvm", "\"org\", which is no registry"),
            ("podvm", "does not say which registry"),
            ("oci::", "does not say which registry"),
            ("docker::quay.io/org/podvm", "has type \"docker\""),
            ("quay.io/org/podvm::/disk.qcow2", "has type \"quay.io/org/podvm\""),
            ("oci::quay.io/a/b::/x::/y", "too many parts"),
            ("oci::[fd00::g]/podvm", "which is no registry"),
            ("oci::[fd00::1/podvm", "no absolute path of a file"),
            ("oci::quay.io/org/podvm@sha256:abc", "has a digest other than"),
            ("oci::quay.io/org/podvm::disk.qcow2", "no absolute path of a file"),
            ("oci::quay.io/org/podvm::/../etc/shadow", "no absolute path of a file"),
            ("file::disk.qcow2", "no absolute path"),
        ] {
            let why = ImageSource::parse(text).unwrap_err();
            assert!(why.contains(words), "{text:?}: {why}");
        }
    }
}
