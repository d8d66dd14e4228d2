//! Logins of registries, as container tools keep them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Reference;
use super::error::{Error, Result};
use super::settings::Settings;

/// Where jobs have logins mounted: the pull secret of the operator, then that of the node.
const PLACES: [&str; 2] = ["/tmp/regauth/auth.json", "/var/lib/kubelet/config.json"];

/// A user and a password. They are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic(String);

impl Basic {
    /// For the header `authorization`.
    pub fn header(&self) -> String {
        format!("Basic {}", self.0)
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// The login for an image: of the file that is named, else of the first known place that has one.
pub fn find(settings: &Settings, reference: &Reference) -> Result<Option<Basic>> {
    let named = settings.auth_file.clone().or_else(|| settings.get("REGISTRY_AUTH_FILE").map(PathBuf::from));
    if let Some(path) = named {
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error.to_string()))?;
        return lookup(&text, reference).map_err(|why| unusable(&path, &why));
    }
    for path in PLACES.map(Path::new) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        match lookup(&text, reference) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(why) => tracing::warn!("{} is left out: {why}", path.display()),
        }
    }
    Ok(None)
}

fn unusable(path: &Path, why: &str) -> Error {
    let found = format!("{} cannot be used: {why}", path.display());
    Error::setting("REGISTRY_AUTH_FILE", found, "it is a file like the auth.json of podman")
}

/// The entry that fits best: of the image, of what it is under, of the registry.
fn lookup(text: &str, reference: &Reference) -> std::result::Result<Option<Basic>, String> {
    // The words of the parser have parts of the file in them.
    let file: File = serde_json::from_str(text)
        .map_err(|error| format!("it is no such JSON at line {} column {}", error.line(), error.column()))?;
    let mut name = format!("{}/{}", reference.registry, reference.repository);
    loop {
        let matching = file.auths.iter().find(|(key, _)| plain(key) == name);
        if let Some((key, entry)) = matching {
            return entry.basic().map(Some).ok_or_else(|| format!("the entry for {key} has no login"));
        }
        match name.rfind('/') {
            Some(at) => name.truncate(at),
            None if name == "docker.io" => "index.docker.io".clone_into(&mut name),
            None => return Ok(None),
        }
    }
}

/// Old entries are addresses.
fn plain(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2")
}

impl Entry {
    fn basic(&self) -> Option<Basic> {
        if !self.auth.is_empty() {
            let pair = STANDARD.decode(self.auth.trim()).ok()?;
            return pair.contains(&b':').then(|| Basic(STANDARD.encode(pair)));
        }
        let both = !self.username.is_empty() && !self.password.is_empty();
        both.then(|| Basic(STANDARD.encode(format!("{}:{}", self.username, self.password))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    const FILE: &str = r#"{"auths": {
        "https://quay.io/v2/": {"auth": "YTpxdWF5"},
        "quay.io/org": {"username": "a", "password": "org"},
        "r.test:5000": {"auth": "YTpwb3J0"},
        "https://index.docker.io/v1/": {"auth": "YTpodWI="},
        "broken.test": {"auth": "!"}
    }}"#;

    #[rstest]
    #[case("quay.io/other/podvm", Some("a:quay"))]
    #[case("quay.io/org/podvm", Some("a:org"))]
    #[case("quay.io/organization/podvm", Some("a:quay"))]
    #[case("r.test:5000/podvm", Some("a:port"))]
    #[case("r.test:5001/podvm", None)]
    #[case("docker.io/podvm", Some("a:hub"))]
    fn the_nearest_entry_is_taken(#[case] image: &str, #[case] expected: Option<&str>) {
        let found = lookup(FILE, &reference(image)).unwrap();
        assert_eq!(
            found.map(|basic| basic.header()),
            expected.map(|pair| format!("Basic {}", STANDARD.encode(pair)))
        );
    }

    #[rstest]
    #[case(FILE, "broken.test/podvm", "the entry for broken.test has no login")]
    #[case("{\"auths\": {\"x\": {\"auth\": \"secret", "x.test/a", "no such JSON at line 1")]
    fn broken_files_are_told_without_their_content(
        #[case] text: &str,
        #[case] image: &str,
        #[case] words: &str,
    ) {
        let error = lookup(text, &reference(image)).err().unwrap();
        assert!(error.contains(words) && !error.contains("secret"), "{error}");
    }
}
