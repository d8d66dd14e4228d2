//! The server that stands in for AWS; the tests of the command use it, too.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// As in hack/test-deps.sh.
const MOTO: &str = "5.2.5";

pub struct Cloud {
    child: Child,
    pub address: String,
}

/// One for all tests that keep to a region of their own.
pub fn shared() -> &'static Cloud {
    static SHARED: OnceLock<Cloud> = OnceLock::new();
    SHARED.get_or_init(Cloud::start)
}

fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join(format!("osc/python-moto-{MOTO}/bin/python"))
}

impl Cloud {
    pub fn start() -> Self {
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../cloud/tests/it/aws_server.py");
        let mut child = Command::new(python())
            .arg(server)
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
            // The server ends with its input, and that with this process, however it ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{} cannot be started ({error}): run hack/test-deps.sh", python().display())
            });
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://127.0.0.1:"), "the server did not start: {address:?}");
        Self { child, address }
    }

    /// Tells the server something, or asks it.
    pub fn control(&self, what: &str, body: &Value) -> Value {
        let address = format!("{}/osc-test/{what}", self.address);
        let mut answer = ureq::post(&address).send(body.to_string()).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Asks EC2 for something as its administrator; an element of the answer.
    pub fn ec2(&self, region: &str, form: &str, element: &str) -> String {
        let auth =
            format!("AWS4-HMAC-SHA256 Credential=AKIA/20260101/{region}/ec2/aws4_request, Signature=0");
        let text = ureq::post(&self.address)
            .header("authorization", auth)
            .header("content-type", "application/x-www-form-urlencoded")
            .send(format!("{form}&Version=2016-11-15"))
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap();
        let (_, rest) = text.split_once(&format!("<{element}>")).unwrap_or_else(|| panic!("{text}"));
        rest.split_once('<').unwrap().0.to_owned()
    }

    /// Images, snapshots, machines, volumes, imports of a region; buckets are of no region.
    pub fn left(&self, region: &str) -> Value {
        let mut all = self.control("everything", &json!({}));
        for kind in ["images", "snapshots", "machines", "volumes", "imports"] {
            let list = all[kind].as_array_mut().unwrap();
            list.retain(|one| one["region"] == region);
        }
        all
    }

    /// Fails if anything is there that costs money.
    pub fn assert_nothing_left(&self, region: &str, bucket_of: &str) {
        let left = self.left(region);
        for kind in ["images", "snapshots", "machines", "volumes", "imports"] {
            assert_eq!(left[kind], json!([]), "{kind} left in {region}");
        }
        let buckets = left["buckets"].as_object().unwrap();
        let ours: Vec<_> = buckets.iter().filter(|(name, _)| *name == bucket_of).collect();
        assert!(ours.is_empty(), "bucket left: {ours:?}");
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
