//! `osc-podvm-image` as a job runs it, and disks for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::cloud::Cloud;

pub struct Tool {
    pub environment: BTreeMap<String, String>,
    folder: TempDir,
}

pub struct Ran {
    pub code: i32,
    /// The message of the container.
    pub message: String,
    pub log: String,
}

impl Ran {
    /// The result, if it went well.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.message, self.log);
        serde_json::from_str(&self.message).unwrap()
    }

    /// Fails unless it failed with these words, without a secret.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.message, self.log);
        for word in words {
            assert!(self.message.contains(word), "{word:?} is not in: {}", self.message);
        }
        assert!(self.message.len() <= 2048);
        for secret in ["hush", "c2VjcmV0", crate::registry::AUTH] {
            assert!(!self.message.contains(secret) && !self.log.contains(secret), "{}", self.log);
        }
    }
}

impl Tool {
    /// For AWS.
    pub fn new(cloud: &Cloud, region: &str, cluster: &str) -> Self {
        Self::plain(&[
            ("CLOUD_PROVIDER", "aws"),
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_ENDPOINT_URL", &cloud.address),
            ("CLUSTER_ID", cluster),
        ])
    }

    pub fn plain(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        Self { environment: environment.collect(), folder }
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(key.to_owned(), value.into());
        self
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osc-podvm-image"));
        command
            .env_clear()
            .envs(&self.environment)
            .env("PATH", self.environment.get("PATH").cloned().unwrap_or(std::env::var("PATH").unwrap()))
            .args(arguments)
            .args(["--pace", "0", "--result"])
            .arg(self.folder.path().join("message"));
        if arguments.first() == Some(&"create") && !arguments.contains(&"--store") {
            command.arg("--store").arg(self.store());
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let message = self.folder.path().join("message");
        let _ = std::fs::remove_file(&message);
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            message: std::fs::read_to_string(message).unwrap_or_default(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What `show` shows.
    pub fn show(&self) -> Value {
        let output = self.command(&["show"]).output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    pub fn bucket(&self) -> String {
        self.show()["bucket"].as_str().unwrap().to_owned()
    }
}

/// A qcow2 image of so many MiB, each with other content, and the raw disk that it is.
pub fn disk(folder: &Path, mebibytes: u64, seed: u64) -> (PathBuf, Vec<u8>) {
    let mut random = seed;
    let mut raw = Vec::new();
    for _ in 0..mebibytes {
        let mut block = vec![0; 1 << 20];
        for byte in block.iter_mut().step_by(509) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = random.to_le_bytes()[7];
        }
        raw.extend(block);
    }
    let (from, to) = (folder.join(format!("{seed}.raw")), folder.join(format!("{seed}.qcow2")));
    std::fs::write(&from, &raw).unwrap();
    let made = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([&from, &to])
        .status()
        .expect("qemu-img is missing: run hack/test-deps.sh");
    assert!(made.success());
    (to, raw)
}
