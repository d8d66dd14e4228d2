//! A registry on loopback, and images in it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// `user:hush`, as the registry keeps it.
const LOGIN: &str = "user:$2b$04$/s2FAkLe/PlcXqnslrXhXua7yCdbT5PXpxQ4neKchGzvSBUJYZd2m\n";
/// And as clients send it.
pub const AUTH: &str = "dXNlcjpodXNo";

pub struct Registry {
    child: Child,
    pub host: String,
    folder: TempDir,
    login: bool,
}

impl Registry {
    pub fn start() -> Self {
        Self::with(false)
    }

    pub fn with_login() -> Self {
        Self::with(true)
    }

    fn with(login: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("data")}},
            "http": {"addr": host},
        });
        if login {
            let file = folder.path().join("htpasswd");
            fs::write(&file, LOGIN).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": file}});
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is missing: run hack/test-deps.sh");
        let registry = Self { child, host, folder, login };
        for _ in 0..200 {
            if TcpStream::connect(&registry.host).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not listen at {}", registry.host);
    }

    fn send(&self, request: http::request::Builder, body: Vec<u8>) -> http::Response<ureq::Body> {
        let login = format!("Basic {AUTH}");
        let request = if self.login { request.header("authorization", login) } else { request };
        let request = request.body(body).unwrap();
        let answer = match *request.method() {
            http::Method::GET => ureq::run(request.map(|_| ())).unwrap(),
            _ => ureq::run(request).unwrap(),
        };
        assert!(answer.status().is_success(), "{answer:?}");
        answer
    }

    fn blob(&self, name: &str, bytes: Vec<u8>) -> (String, usize) {
        let (digest, size) = (digest(&bytes), bytes.len());
        let begin = http::Request::post(format!("http://{}/v2/{name}/blobs/uploads/", self.host));
        let place = self.send(begin, Vec::new()).headers()["location"].to_str().unwrap().to_owned();
        let place = if place.starts_with("http") { place } else { format!("http://{}{place}", self.host) };
        let mark = if place.contains('?') { '&' } else { '?' };
        let put = http::Request::put(format!("{place}{mark}digest={digest}"));
        self.send(put.header("content-type", "application/octet-stream"), bytes);
        (digest, size)
    }

    fn manifest(&self, name: &str, tag: &str, kind: &str, body: &serde_json::Value) -> (String, usize) {
        let body = body.to_string().into_bytes();
        let found = (digest(&body), body.len());
        let tag = if tag.is_empty() { found.0.as_str() } else { tag };
        let put = http::Request::put(format!("http://{}/v2/{name}/manifests/{tag}", self.host));
        self.send(put.header("content-type", kind), body);
        found
    }

    /// Pushes an image of these layers, the uppermost last, and tells the digest of its manifest.
    pub fn push(&self, name: &str, tag: &str, layers: Vec<Vec<u8>>) -> String {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let config = self.blob(name, br#"{"architecture":"amd64","os":"linux"}"#.to_vec());
        let layers: Vec<_> = layers
            .into_iter()
            .map(|layer| {
                let (digest, size) = self.blob(name, layer);
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size})
            })
            .collect();
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1,
        });
        let body = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        self.manifest(name, tag, kind, &body).0
    }

    /// Pushes an index with the image for each platform.
    pub fn push_index(&self, name: &str, tag: &str, images: &[(&str, &str)]) {
        let kind = "application/vnd.oci.image.index.v1+json";
        let manifests: Vec<_> = images
            .iter()
            .map(|(architecture, digest)| {
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest,
                    "size": self.size(name, digest),
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect();
        let body = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        self.manifest(name, tag, kind, &body);
    }

    fn size(&self, name: &str, digest: &str) -> u64 {
        let get = http::Request::get(format!("http://{}/v2/{name}/manifests/{digest}", self.host))
            .header("accept", "application/vnd.oci.image.manifest.v1+json");
        self.send(get, Vec::new()).body_mut().read_to_vec().unwrap().len() as u64
    }

    /// Changes a byte of what the registry has stored under a digest.
    pub fn corrupt(&self, digest: &str) {
        let file = self.stored(digest);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    /// Makes the registry lose what it has stored under a digest.
    pub fn lose(&self, digest: &str) {
        fs::remove_file(self.stored(digest)).unwrap();
    }

    fn stored(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("sha256:{hex}")
}

/// A compressed layer of files.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    let mut gzip = tar.into_inner().unwrap();
    gzip.flush().unwrap();
    gzip.finish().unwrap()
}
