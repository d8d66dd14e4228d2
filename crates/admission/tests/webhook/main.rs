//! `osc-webhook` as a process, asked over TLS.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod guide;
mod process;

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{BOTH, Client, NEW, OLD, get, head};
use k8s_openapi::ByteString;
use osc_admission::certificate::authority::Stored;
use process::{Webhook, certificates, command, put};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A process with a certificate, and whom to trust.
fn running(flags: &[&str], variables: &[(&str, &str)]) -> (Webhook, Stored, TempDir) {
    let (folder, stored) = (tempfile::tempdir().unwrap(), certificates());
    put(folder.path(), &stored);
    let mut command = command(folder.path());
    command.args(flags).envs(variables.iter().copied());
    let webhook = Webhook::start(command);
    eventually("it is ready", || get(&webhook.health, "/readyz").unwrap().0 == 200);
    (webhook, stored, folder)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn question(class: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "0c9a8d74", "operation": "CREATE", "dryRun": false, "name": "p", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
        "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"runtimeClassName": class, "containers": [{"name": "c", "image": "i",
                "env": [{"name": "PASSWORD", "value": "nobody-shall-see-this"}],
                "resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}}]}},
        "oldObject": null, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}}})
    .to_string()
}

fn response((status, body): (u16, String)) -> Value {
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["response"].clone()
}

#[test]
fn a_pod_is_changed_and_nobody_else_learns_of_it() {
    let (mut webhook, stored, _folder) = running(&[], &[("PASSWORD", "x"), ("TARGET_RUNTIME_CLASS", "far")]);
    let mut client = Client::connect(&webhook.address, &stored.authorities, BOTH).unwrap();
    let changed = response(client.review(&question("far")).unwrap());
    assert_eq!((&changed["uid"], &changed["allowed"]), (&json!("0c9a8d74"), &json!(true)));
    assert_eq!(changed["patchType"], "JSONPatch");
    let patch: ByteString = serde_json::from_value(changed["patch"].clone()).unwrap();
    let patch: Value = serde_json::from_slice(&patch.0).unwrap();
    let one = json!({"kata.peerpods.io/vm": "1"});
    let expected = json!([
        {"op": "add", "path": "/spec/containers/0/resources", "value": {"requests": one, "limits": one}},
        {"op": "add", "path": "/metadata/annotations", "value": {
            "io.katacontainers.config.hypervisor.default_vcpus": "2",
            "io.katacontainers.config.hypervisor.default_memory": "1024"}},
    ]);
    assert_eq!(patch, expected);
    let unchanged = response(client.review(&question("kata-remote")).unwrap());
    assert_eq!((&unchanged["allowed"], &unchanged["patch"]), (&json!(true), &Value::Null));
    let malformed = question("far").replace("1500m", "nobody-shall-see-this-either");
    let malformed = response(client.review(&malformed).unwrap());
    assert_eq!((&malformed["allowed"], &malformed["status"]["code"]), (&json!(false), &json!(400)));

    let (_, metrics) = get(&webhook.metrics, "/metrics").unwrap();
    for result in ["changed", "unchanged", "malformed"] {
        let line = format!("osc_webhook_reviews_total{{result=\"{result}\"}} 1\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(metrics.contains("osc_webhook_review_duration_seconds_count 3\n"), "{metrics}");
    assert!(!metrics.contains("certificate_not_after_seconds 0\n"), "{metrics}");
    assert_eq!(get(&webhook.health, "/healthz").unwrap(), (200, "ok\n".to_owned()));

    eventually("the refusal is logged", || {
        webhook.log().iter().any(|line| line.contains("refused as malformed"))
    });
    let log = webhook.log();
    assert!(log.iter().any(|line| line.contains("TARGET_RUNTIME_CLASS is the older name")), "{log:?}");
    for line in log {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
        assert!(!line.contains("nobody-shall-see-this"), "{line}");
    }
}

#[rstest]
#[case::nothing("", 400, "the body is empty")]
#[case::no_json("{\"apiVersion\":", 400, "the body is no AdmissionReview")]
#[case::no_text("\u{0}\u{1}", 400, "the body is no AdmissionReview")]
#[case::another_version(&question("kata-remote").replace("k8s.io/v1", "k8s.io/v1beta1"), 400, "the body is \"AdmissionReview\" of")]
#[case::no_metadata(&question("kata-remote").replace("{\"name\":\"p\",\"namespace\":\"shop\"}", "7"), 400, "the body is no AdmissionReview")]
#[case::deep(&"[".repeat(100_000), 400, "the body is no AdmissionReview")]
fn what_is_no_review_is_told_and_the_next_one_answered(
    #[case] body: impl AsRef<str>,
    #[case] status: u16,
    #[case] words: &str,
) {
    let (webhook, stored, _folder) = running(&[], &[]);
    let mut client = Client::connect(&webhook.address, &stored.authorities, BOTH).unwrap();
    let (found, said) = client.review(body.as_ref()).unwrap();
    assert_eq!(found, status, "{said}");
    assert!(said.starts_with(words), "{said}");
    assert!(response(client.review(&question("kata-remote")).unwrap())["patch"].is_string());
    let (_, metrics) = get(&webhook.metrics, "/metrics").unwrap();
    assert!(metrics.contains("osc_webhook_reviews_total{result=\"no_review\"} 1\n"), "{metrics}");
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let (webhook, stored, _folder) = running(&[], &[]);
    let mut client = Client::connect(&webhook.address, &stored.authorities, BOTH).unwrap();
    client.send(head(1 << 30).as_bytes()).unwrap();
    let (status, words) = client.answer().unwrap();
    assert_eq!(
        (status, words.as_str()),
        (413, "the body is larger than 7340032 bytes, the most that is read\n")
    );
    let mut client = Client::connect(&webhook.address, &stored.authorities, BOTH).unwrap();
    let large = question("kata-remote").replace("nobody", &"x".repeat(3 << 20));
    assert!(response(client.review(&large).unwrap())["patch"].is_string());
}

#[test]
fn a_slow_client_is_given_up_and_holds_nobody_up() {
    let (webhook, stored, _folder) = running(&["--deadline-ms", "400"], &[]);
    let connect = || Client::connect(&webhook.address, &stored.authorities, BOTH).unwrap();
    let body = question("kata-remote");
    let mut slow: Vec<_> = (0..50).map(|_| connect()).collect();
    for client in &mut slow {
        client.send(head(body.len()).as_bytes()).unwrap();
        client.send(&body.as_bytes()[..10]).unwrap();
    }
    let begin = Instant::now();
    assert!(response(connect().review(&body).unwrap())["patch"].is_string());
    assert!(begin.elapsed() < Duration::from_millis(400));
    let (status, words) = slow[49].answer().unwrap();
    assert_eq!((status, words.as_str()), (408, "the body did not arrive within 400 ms\n"));
}

#[test]
fn certificates_change_without_a_request_that_fails() {
    let (webhook, first, folder) = running(&[], &[]);
    let all: Vec<Stored> = std::iter::once(first).chain((0..4).map(|_| certificates())).collect();
    let trusted: String = all.iter().map(|stored| stored.authorities.as_str()).collect();
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let body = question("kata-remote");
    let connect = |trusted: &str| Client::connect(&webhook.address, trusted, BOTH);
    std::thread::scope(|scope| {
        for fresh in [false, true] {
            let (connect, body, trusted, done, answered) = (&connect, &body, &trusted, &done, &answered);
            scope.spawn(move || {
                let mut client = connect(trusted).unwrap();
                while !done.load(Ordering::Relaxed) {
                    if fresh {
                        client = connect(trusted).unwrap();
                    }
                    assert!(response(client.review(body).unwrap())["patch"].is_string());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for stored in &all[1..] {
            // As the kubelet would not do it: one file after the other, with a pause.
            std::fs::write(folder.path().join("tls.crt"), &stored.certificate).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            std::fs::write(folder.path().join("tls.key"), &stored.key).unwrap();
            eventually("the new certificate is shown", || connect(&stored.authorities).is_ok());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 100);
    assert!(connect(&all[0].authorities).is_err());
}

#[test]
fn without_a_certificate_it_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let webhook = Webhook::start(command(folder.path()));
    assert_eq!(get(&webhook.health, "/healthz").unwrap().0, 200);
    let (status, words) = get(&webhook.health, "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(words.starts_with("there is no serving certificate yet"), "{words}");
    let stored = certificates();
    assert!(Client::connect(&webhook.address, &stored.authorities, BOTH).is_err());
    put(folder.path(), &stored);
    eventually("it is ready", || get(&webhook.health, "/readyz").unwrap().0 == 200);
    assert!(Client::connect(&webhook.address, &stored.authorities, BOTH).is_ok());
}

fn terminate(webhook: &Webhook) {
    let id = webhook.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

#[test]
fn asked_to_end_it_answers_what_has_begun_and_what_still_comes() {
    let (mut webhook, stored, _folder) = running(&["--drain-ms", "1000", "--deadline-ms", "10000"], &[]);
    let connect = || Client::connect(&webhook.address, &stored.authorities, BOTH);
    let body = question("kata-remote");
    let mut begun = connect().unwrap();
    begun.send(head(body.len()).as_bytes()).unwrap();
    begun.send(&body.as_bytes()[..100]).unwrap();
    let mut idle = connect().unwrap();
    terminate(&webhook);
    eventually("it is not ready any more", || get(&webhook.health, "/readyz").unwrap().0 == 503);
    assert!(response(connect().unwrap().review(&body).unwrap())["patch"].is_string(), "a new connection");
    assert!(response(idle.review(&body).unwrap())["patch"].is_string(), "an old connection");
    eventually("nobody is let in any more", || connect().is_err());
    begun.send(&body.as_bytes()[100..]).unwrap();
    assert!(response(begun.answer().unwrap())["patch"].is_string(), "what has begun");
    assert!(webhook.child.wait().unwrap().success());
}

#[test]
fn the_profile_of_the_cluster_is_followed_and_doubts_are_told() {
    let suites = "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA";
    let variables = [("TLS_MIN_VERSION", "VersionTLS13"), ("TLS_CIPHER_SUITES", suites)];
    let (mut webhook, stored, _folder) = running(&[], &variables);
    let connect = |versions| Client::connect(&webhook.address, &stored.authorities, versions);
    let mut client = connect(NEW).unwrap();
    assert!(response(client.review(&question("kata-remote")).unwrap())["patch"].is_string());
    assert!(connect(OLD).is_err());
    let told = webhook.log().iter().any(|line| line.contains("TLS_RSA_WITH_RC4_128_SHA"));
    assert!(told, "{:?}", webhook.log());
    let (webhook, stored, _folder) = running(&[], &[]);
    assert!(Client::connect(&webhook.address, &stored.authorities, OLD).is_ok());
}

#[rstest]
#[case::class(&[], &[("TARGET_RUNTIMECLASS", "Kata Remote")], "TARGET_RUNTIMECLASS is \"Kata Remote\"; write the name")]
#[case::resource(&[], &[("POD_VM_EXTENDED_RESOURCE", "vm")], "POD_VM_EXTENDED_RESOURCE is \"vm\"; write an extended")]
#[case::sizes(&[], &[("POD_VM_SIZE_ANNOTATIONS", "cpu")], "POD_VM_SIZE_ANNOTATIONS is \"cpu\"; write some of")]
#[case::flag(&["--deadline-ms", "0"], &[], "0 is not in 10..=30000")]
fn what_it_cannot_work_with_ends_it_in_words(
    #[case] flags: &[&str],
    #[case] variables: &[(&str, &str)],
    #[case] words: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path()).args(flags).envs(variables.iter().copied()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_port_that_is_taken_is_told_with_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc-webhook"));
    command.args(["--webhook-bind-address", &address, "--cert-dir"]).arg(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let words = format!("cannot listen on {address}; choose another with --webhook-bind-address");
    assert!(!output.status.success() && said.contains(&words), "{said}");
}

#[test]
fn clear_text_is_not_answered() {
    let (webhook, ..) = running(&[], &[]);
    let mut stream = std::net::TcpStream::connect(&webhook.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head(2).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
