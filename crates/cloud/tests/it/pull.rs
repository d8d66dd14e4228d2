//! What can be wrong with the image that is pulled: nothing is made of it, and the words say what to do.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use crate::cloud::shared;
use crate::registry::{AUTH, Registry, digest, layer};
use crate::tool::{Tool, disk};

const REGION: &str = "ap-south-1";
const CLUSTER: &str = "eeeeeeee-0000-4000-8000-000000000001";

fn tool(registry: &Registry, image: &str) -> Tool {
    let mut tool = Tool::new(shared(), REGION, CLUSTER);
    tool.set("PODVM_IMAGE_URI", format!("oci::{}/{image}", registry.host));
    tool
}

fn small(seed: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::read(disk(folder.path(), 1, seed).0).unwrap()
}

fn assert_nothing_made(tool: &Tool) {
    shared().assert_nothing_left(REGION, &tool.bucket());
    assert!(std::fs::read_dir(tool.store()).unwrap().next().is_none(), "the job's disk is empty");
}

#[test]
fn images_that_cannot_be_used_are_told() {
    let registry = Registry::start();
    let good = small(10);
    let upper = layer(&[("image/podvm.qcow2", &good)]);
    registry.push("a", "good", vec![upper.clone()]);
    registry.push("a", "other", vec![layer(&[("disk/other.qcow2", &good)])]);
    registry.push("a", "removed", vec![upper.clone(), layer(&[("image/.wh.podvm.qcow2", b"")])]);
    registry.push("a", "hidden", vec![upper.clone(), layer(&[("image/.wh..wh..opq", b"")])]);
    registry.push("a", "raw", vec![layer(&[("image/podvm.qcow2", b"a boot sector")])]);
    registry.push("a", "noise", vec![b"no archive at all, but long enough to be looked at".to_vec()]);
    let mut backed = good.clone();
    backed[15] = 200;
    registry.push("a", "backed", vec![layer(&[("image/podvm.qcow2", &backed)])]);
    let amd = registry.push("a", "s390x-only", vec![upper]);
    registry.push_index("a", "index", &[("s390x", &amd)]);
    for (image, words) in [
        ("a:absent", "has no such image or tag (404)"),
        ("b:good", "has no such image or tag (404)"),
        ("a:other", "it has /disk/other.qcow2"),
        ("a:removed", "a layer of the image removes it"),
        ("a:hidden", "a layer of the image removes it"),
        ("a:raw", "it is no qcow2 image"),
        ("a:noise", "is no archive"),
        ("a:backed", "it has a backing file"),
        ("a:index", "it is there for linux/s390x only, and linux/amd64 is needed"),
    ] {
        let tool = tool(&registry, image);
        tool.run(&["create"]).failed(1, &[words]);
        assert_nothing_made(&tool);
    }
    let tool = tool(&registry, "a:good");
    tool.run(&["create", "--most", "0"]).failed(1, &["at most 0 are taken"]);
    tool.run(&["create", "--source", "oci::podvm"])
        .failed(1, &["PODVM_IMAGE_URI: \"podvm\" does not say which registry"]);
    tool.run(&["create", "--source", "bootc::quay.io/a/b"])
        .failed(3, &["bootable container", "bootc-image-builder"]);
    tool.run(&["create", "--source", "file::/no/such.qcow2"]).failed(1, &["/no/such.qcow2"]);
    let mut none = tool;
    none.environment.remove("PODVM_IMAGE_URI");
    none.run(&["create"]).failed(1, &["PODVM_IMAGE_URI: not set", "not to delete one"]);
    assert_nothing_made(&none);
}

#[test]
fn what_was_changed_or_lost_on_the_way_is_told() {
    let registry = Registry::start();
    let disk = small(11);
    let whole = layer(&[("image/podvm.qcow2", &disk)]);
    let manifest = registry.push("a", "1", vec![whole.clone()]);
    registry.corrupt(&digest(&whole));
    let tool = tool(&registry, "a:1");
    tool.run(&["create"])
        .failed(1, &["layer sha256:", "is damaged", "were expected and sha256:", "nothing was made of it"]);
    assert_nothing_made(&tool);
    registry.lose(&digest(&whole));
    tool.run(&["create"]).failed(1, &["lacks a part of it", "push it again"]);
    registry.corrupt(&manifest);
    let by_digest = format!("oci::{}/a@{manifest}", registry.host);
    let changed = tool.run(&["create", "--source", &by_digest]);
    assert_eq!(changed.code, 1, "{}", changed.message);
    assert_nothing_made(&tool);
}

#[test]
fn logins_are_used_and_not_shown() {
    let registry = Registry::with_login();
    registry.push("private/podvm", "1", vec![layer(&[("image/podvm.qcow2", &small(12))])]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let write = |auth: &str| {
        let text = json!({"auths": {registry.host.clone(): {"auth": auth}}}).to_string();
        std::fs::write(&file, text).unwrap();
    };
    let mut tool = tool(&registry, "private/podvm:1");
    tool.run(&["create"]).failed(1, &["wants a login (401", "add one to secret auth-json-secret"]);
    tool.set("REGISTRY_AUTH_FILE", file.display().to_string());
    tool.run(&["create"]).failed(1, &["REGISTRY_AUTH_FILE", "cannot be used"]);
    // user:wrong
    write("dXNlcjp3cm9uZw==");
    tool.run(&["create"]).failed(1, &["does not accept the login"]);
    write(AUTH);
    tool.set("AWS_REGION", "ap-northeast-1");
    let made = tool.run(&["create"]);
    let image = made.result()["image"].as_str().unwrap().to_owned();
    assert!(!made.log.contains(AUTH), "{}", made.log);
    tool.run(&["delete", "--image", &image]).result();
    shared().assert_nothing_left("ap-northeast-1", &tool.bucket());
}

/// A registry that gives tokens, as the public ones do: the token of the right login opens the image.
#[test]
fn tokens_are_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let layer = layer(&[("image/podvm.qcow2", &small(13))]);
    let manifest = json!({
        "schemaVersion": 2,
        "layers": [{"digest": digest(&layer), "size": layer.len(), "mediaType": "x"}],
    })
    .to_string();
    let own = host.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase().replace("%3a", ":");
            let (status, extra, body) = if head
                .starts_with("get /token?service=here&scope=repository:a:pull ")
            {
                let good = head.contains(&format!("authorization: basic {}", AUTH.to_lowercase()));
                let token = if good { "right" } else { "wrong" };
                ("200 OK", String::new(), json!({"token": token}).to_string().into_bytes())
            } else if !head.contains("authorization: bearer right") {
                let offer = format!(
                    "WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"here\",scope=\"repository:a:pull\"\r\n"
                );
                ("401 Unauthorized", offer, Vec::new())
            } else if head.contains("/manifests/") {
                ("200 OK", String::new(), manifest.clone().into_bytes())
            } else {
                // The line breaks in the middle of the layer, once.
                let from =
                    head.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
                let from: usize = from.unwrap_or(0);
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                let rest = &layer[from..];
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                let part = if from > 0 { rest } else { &rest[..rest.len() / 2] };
                stream.write_all(part).unwrap();
                continue;
            };
            let head = format!(
                "HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    std::fs::write(&file, json!({"auths": {host.clone(): {"auth": AUTH}}}).to_string()).unwrap();
    let region = "ap-northeast-2";
    let mut tool = Tool::new(shared(), region, CLUSTER);
    tool.set("PODVM_IMAGE_URI", format!("oci::{host}/a:1"));
    tool.run(&["create"]).failed(1, &["wants a login (401"]);
    tool.set("REGISTRY_AUTH_FILE", file.display().to_string());
    let made = tool.run(&["create"]);
    made.result();
    assert!(made.log.contains("broke off at") && made.log.contains("gone on with"), "{}", made.log);
    tool.run(&["delete"]).result();
    shared().assert_nothing_left(region, &tool.bucket());
}

#[test]
fn a_disk_that_is_too_small_and_a_missing_program_are_told() {
    let registry = Registry::start();
    registry.push("a", "1", vec![layer(&[("image/podvm.qcow2", &small(14))])]);
    let mut tool = tool(&registry, "a:1");
    let place = tool.store();
    assert!(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&place)
            .status()
            .unwrap()
            .success(),
        "the tests of images mount a small disk, which takes root"
    );
    let full = tool.run(&["create"]);
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    full.failed(1, &["MiB free, and", "needs", "give the volume at /store of the image job more space"]);
    tool.run(&["create", "--store", "/no/store"]).failed(1, &["/no/store is no folder"]);
    tool.set("PATH", "/nowhere");
    tool.run(&["create"]).failed(1, &["qemu-img is missing", "qemu-utils"]);
    tool.environment.remove("PATH");
    assert_nothing_made(&tool);
}
