//! `osc-podvm-image` brings an image to a host, and takes it away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{Host, disk};

const CLUSTER: &str = "0d6fa3c8-7a52-4a5f-8f5e-1f4c7e1d9a01";

struct Job<'a> {
    host: &'a Host,
    folder: TempDir,
    cluster: &'a str,
    source: PathBuf,
}

impl<'a> Job<'a> {
    fn new(host: &'a Host, cluster: &'a str, source: &Path) -> Self {
        Self { host, folder: tempfile::tempdir().unwrap(), cluster, source: source.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osc-podvm-image"));
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("CLOUD_PROVIDER", "libvirt")
            .env("CLUSTER_ID", self.cluster)
            .env("LIBVIRT_URI", self.host.uri())
            .env("LIBVIRT_POOL", "images")
            .env("LIBVIRT_DIR_NAME", self.directory())
            .env("LIBVIRT_VOL_NAME", "podvm-base.qcow2")
            .env("PODVM_IMAGE_URI", format!("file::{}", self.source.display()))
            .args(arguments)
            .arg("--result")
            .arg(self.folder.path().join("message"));
        if arguments.first() == Some(&"create") {
            command.arg("--store").arg(self.folder.path());
        }
        command
    }

    fn directory(&self) -> PathBuf {
        self.host.directory.path().join("images")
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let message = fs::read_to_string(self.folder.path().join("message")).unwrap_or_default();
        (output.status.code().unwrap_or(-1), message)
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> Value {
        let (code, message) = self.run(arguments);
        assert_eq!(code, 0, "{message}");
        serde_json::from_str(&message).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) {
        let (code, message) = self.run(arguments);
        assert!(code == 4 && message.contains(words), "{code}: {message}");
    }

    fn volumes(&self) -> Vec<String> {
        self.host.virsh("pool-refresh images");
        let list = self.host.virsh("vol-list images");
        let mut names: Vec<_> =
            list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        names.sort();
        names
    }

    fn ours(&self) -> [String; 2] {
        ["podvm-base.qcow2".to_owned(), format!("podvm-base.qcow2.made-for-{}", self.cluster)]
    }
}

/// An image of random content: larger than anything that counts as empty.
fn large(folder: &Path) -> PathBuf {
    let (raw, image) = (folder.join("large.raw"), folder.join("large.qcow2"));
    let mut random = fs::File::open("/dev/urandom").unwrap();
    std::io::copy(&mut std::io::Read::take(&mut random, 80 << 20), &mut fs::File::create(&raw).unwrap())
        .unwrap();
    let made =
        Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &image]).status().unwrap();
    assert!(made.success());
    image
}

#[test]
fn a_volume_is_made_found_again_replaced_and_deleted_with_its_pool() {
    let host = Host::start();
    let mut job = Job::new(&host, CLUSTER, disk());
    let made = job.done(&["create"]);
    assert_eq!(
        (&made["image"], &made["annotations"], &made["made"]),
        (&json!("podvm-base.qcow2"), &json!({}), &json!(true))
    );
    let image = fs::read(disk()).unwrap();
    assert_eq!(fs::read(job.directory().join("podvm-base.qcow2")).unwrap()[..image.len()], image);
    assert_eq!(job.volumes(), job.ours());
    assert_eq!(job.done(&["create"])["made"], json!(false));

    let folder = tempfile::tempdir().unwrap();
    job.source = large(folder.path());
    let replaced = job.done(&["create"]);
    assert!(replaced["made"] == json!(true) && replaced["source"] != made["source"], "{replaced}");
    assert_eq!(job.volumes(), job.ours());

    // Another cluster on the same host neither replaces nor deletes it.
    let other = Job::new(&host, "ffffffff-0000-4000-8000-000000000002", disk());
    other.refused(&["create"], &format!("belongs to cluster {CLUSTER}"));
    other.refused(&["delete", "--image", "podvm-base.qcow2"], "was not made for this cluster");
    assert_eq!(other.done(&["delete"]), json!({"deleted": null}));
    assert_eq!(job.volumes(), job.ours());

    assert_eq!(job.done(&["delete", "--image", "podvm-base.qcow2"]), json!({"deleted": "podvm-base.qcow2"}));
    // The pool was made by the job, and is empty now.
    assert!(!job.directory().exists() && !host.virsh("pool-list --all").contains("images"));
    assert_eq!(job.done(&["delete"]), json!({"deleted": null}));
}

#[test]
fn a_volume_of_a_person_is_used_if_it_is_empty_and_left_if_not() {
    let host = Host::start();
    let job = Job::new(&host, CLUSTER, disk());
    fs::create_dir(job.directory()).unwrap();
    let directory = job.directory();
    host.virsh(&format!("pool-create-as images dir --target {}", directory.display()));
    // As the product documentation has it.
    host.virsh(
        "vol-create-as --pool images --name podvm-base.qcow2 --capacity 20G --allocation 2G --prealloc-metadata --format qcow2",
    );
    assert_eq!(job.done(&["create"])["made"], json!(true));
    assert_eq!(job.done(&["delete"]), json!({"deleted": "podvm-base.qcow2"}));
    assert!(host.virsh("pool-list").contains("images"), "a pool that a person made stays");

    let folder = tempfile::tempdir().unwrap();
    let theirs = large(folder.path());
    fs::copy(&theirs, directory.join("podvm-base.qcow2")).unwrap();
    host.virsh("pool-refresh images");
    job.refused(&["create"], "has content, and was not made for this cluster");
    job.refused(&["delete", "--image", "podvm-base.qcow2"], "it is not deleted");
    assert_eq!(fs::read(directory.join("podvm-base.qcow2")).unwrap(), fs::read(theirs).unwrap());
}

#[test]
fn a_job_that_is_killed_anywhere_is_taken_up() {
    let host = Host::start();
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(&host, CLUSTER, &large(folder.path()));
    let mut killed = 0;
    for pause in [5, 20, 40, 80, 120, 200, 300, 500, 800, 1200] {
        let mut child = job.command(&["create"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        job.done(&["create"]);
        assert_eq!(job.volumes(), job.ours(), "killed after {pause} ms");
        let mut child = job.command(&["delete"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause / 10));
        let _ = child.kill();
        child.wait().unwrap();
        job.done(&["delete"]);
        assert!(!job.directory().exists(), "deletion killed after {} ms", pause / 10);
    }
    assert!(killed >= 3, "only {killed} were killed in time");
}
