//! `osc` as a person or a script runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn osc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc"));
    // The demo reads docs/examples, as from the root of the source tree.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    command.args(arguments).current_dir(root).env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command
}

fn run(arguments: &[&str]) -> Output {
    osc(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The demo as JSON: every line is an object, and the last one is the summary.
fn story(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[&["demo", "-o", "json", "--speed", "600"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stdout(&output).contains("\\u001b"), "no colours for scripts");
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(story: &'a [Value], type_: &str) -> Vec<&'a Value> {
    story.iter().filter(|item| item["type"] == type_).collect()
}

#[test]
fn the_demo_tells_its_whole_story_as_json() {
    let story = story(&[]);
    let summary = story.last().unwrap();
    assert_eq!(
        (&summary["type"], &summary["leftBehind"]),
        (&Value::from("summary"), &Value::Array(Vec::new()))
    );
    assert_eq!(summary["reboots"]["worker-0"], "3");
    assert_eq!(summary["reboots"]["master-0"], "0");
    let reasons: Vec<&str> = of_type(&story, "condition")
        .into_iter()
        .filter(|item| item["condition"] == "InProgress")
        .map(|item| item["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        ["Installing", "", "Updating", "", "Updating", "", "BlockedByExistingKataPods", "Uninstalling"]
    );
    let tables = of_type(&story, "table");
    let first = tables.iter().find(|table| table["command"] == "oc get kataconfig").unwrap();
    assert_eq!(first["columns"], serde_json::json!(["NAME", "INPROGRESS", "COMPLETED", "TOTAL", "AGE"]));
    assert_eq!(
        first["rows"][0].as_array().unwrap()[..4],
        ["example-kataconfig", "False", "3", "3"].map(Value::from)
    );
    let pools = tables.iter().find(|table| table["command"] == "oc get mcp").unwrap();
    assert_eq!(pools["rows"][0][5], "3", "counts have no decimal point: {pools}");
    let states: Vec<&str> = of_type(&story, "node")
        .into_iter()
        .filter(|item| item["name"] == "worker-2")
        .map(|item| item["state"].as_str().unwrap())
        .collect();
    assert!(states.contains(&"uninstalling") && states.ends_with(&["no kata"]), "{states:?}");
}

#[test]
fn every_scenario_ends_with_nothing_left_behind() {
    let scenarios =
        ["okd", "compact", "single-node", "degraded", "paused", "daemonset", "confidential", "peerpods"];
    for scenario in scenarios {
        let story = story(&["--scenario", scenario, "--workers", "2"]);
        assert_eq!(story.last().unwrap()["leftBehind"], Value::Array(Vec::new()), "{scenario}");
    }
}

/// What a command printed, of the first one that begins so.
fn printed<'a>(story: &'a [Value], command: &str) -> &'a str {
    let begins = |item: &&&Value| item["command"].as_str().unwrap().starts_with(command);
    let commands = of_type(story, "command");
    let found = commands.iter().find(begins).unwrap_or_else(|| panic!("{command} is not in {story:#?}"));
    found["output"].as_str().unwrap()
}

#[test]
fn the_demo_of_peer_pods_shows_their_size_their_room_and_the_cloud() {
    let story = story(&["--scenario", "peerpods", "--workers", "1"]);
    let checked = printed(&story, "osc peerpods check");
    assert!(checked.starts_with("Peer pods on AWS: nothing stands in the way."), "{checked}");
    let reasons: Vec<&Value> = of_type(&story, "condition").iter().map(|item| &item["reason"]).collect();
    assert!(reasons.iter().any(|reason| *reason == "PodVMImageJobRunning"), "{reasons:?}");
    let sizes = printed(&story, "oc get pod pod-resources -o jsonpath='{.metadata.annotations}'");
    assert!(
        sizes.contains("default_memory\":\"3072\"") && sizes.contains("default_vcpus\":\"2\""),
        "{sizes}"
    );
    let why = printed(&story, "oc get pod web-remote-");
    assert!(why.contains("Insufficient kata.peerpods.io/vm"), "{why}");
    let rooms: Vec<&Value> = of_type(&story, "table")
        .into_iter()
        .filter(|table| table["columns"][1] == "PODVMS")
        .map(|table| &table["rows"][0][1])
        .collect();
    assert_eq!(rooms, ["10", "1"]);

    // While the image is made, and then: the image, one pod, all pods, all but the forgotten one, nothing.
    let count = |left: &Value, kind: &str| left[kind].as_array().unwrap().len();
    let clouds: Vec<[usize; 3]> = of_type(&story, "cloud")
        .into_iter()
        .map(|item| ["instances", "volumes", "images"].map(|kind| count(&item["left"], kind)))
        .collect();
    assert_eq!(clouds, [[0, 1, 0], [0, 0, 1], [1, 1, 1], [3, 3, 1], [2, 2, 1], [0, 0, 0]]);
    let nothing = serde_json::json!({"instances": [], "volumes": [], "images": []});
    assert_eq!(story.last().unwrap()["cloud"], nothing);
}

#[test]
fn the_demo_in_text_shows_commands_progress_and_proof() {
    let output = run(&["demo", "--speed", "600", "--workers", "1"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for part in [
        "$ oc apply -f docs/examples/example-kataconfig.yaml",
        "InProgress=True Installing: Performing initial installation of kata on cluster",
        "worker-0         [==========] installed",
        "pods that use Kata: default/pod-kata; removal goes on when they are gone",
        "compared with those from before: the same names, labels and finalizers.",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
}

/// A demo that keeps serving; ends with the test.
struct Kept {
    child: Child,
    kubeconfig: PathBuf,
    _directory: tempfile::TempDir,
}

impl Kept {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        let file = kubeconfig.to_str().unwrap();
        let arguments = [
            "demo",
            "--keep",
            "-o",
            "json",
            "--speed",
            "600",
            "--workers",
            "2",
            "--tls",
            "--kubeconfig-out",
            file,
        ];
        let mut child = osc(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("\"serving\"") {
                    let _ = sender.send(());
                }
            }
        });
        receiver.recv_timeout(Duration::from_mins(2)).expect("the demo serves");
        Self { child, kubeconfig, _directory: directory }
    }

    fn status(&self, more: &[&str]) -> Output {
        run(&[&["status", "--kubeconfig", self.kubeconfig.to_str().unwrap()], more].concat())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_kept_cluster_answers_osc_status_and_kubectl() {
    let kept = Kept::start();
    let output = kept.status(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("KataConfig example-kataconfig\n"), "{text}");
    assert!(text.contains("worker-1   installed   -"), "{text}");
    let json: Value = serde_json::from_str(&stdout(&kept.status(&["-o", "json"]))).unwrap();
    assert_eq!(
        (&json["settled"], &json["nodes"][0]["state"]),
        (&Value::from(true), &Value::from("installed"))
    );
    assert!(stdout(&kept.status(&["-o", "yaml"])).contains("settled: true"));

    let patch = "{\"spec\":{\"logLevel\":\"debug\"}}";
    let kubectl = Command::new("kubectl")
        .args(["patch", "kataconfig", "example-kataconfig", "--type", "merge", "--patch", patch])
        .env("KUBECONFIG", &kept.kubeconfig)
        .output()
        .expect("kubectl is needed: hack/test-deps.sh installs it");
    assert!(kubectl.status.success(), "{}", stderr(&kubectl));
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept.status(&[]).status.code() != Some(2) {
        assert!(Instant::now() < deadline, "the rollout reacts: exit code 2 while in progress");
    }
}

#[test]
fn simulate_makes_a_cluster_of_any_api_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime
        .block_on(osc_devcluster::server::Server::start(osc_devcluster::server::ServerConfig::default()));
    let server = server.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig().unwrap()).unwrap();
    let file = kubeconfig.to_str().unwrap();
    let mut child =
        osc(&["simulate", "--kubeconfig", file, "--seed", "regular", "--workers", "2", "--speed", "600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("simulating nodes, pools and workloads on Kubernetes v1."), "{line}");
    let pools = || {
        let output = Command::new("kubectl")
            .args(["get", "mcp", "-o", "name"])
            .env("KUBECONFIG", &kubeconfig)
            .output()
            .unwrap();
        stdout(&output)
    };
    assert!(pools().contains("machineconfigpool.machineconfiguration.openshift.io/worker"), "{}", pools());
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn a_cluster_out_of_reach_or_without_our_definition_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    let output = run(&["status", "--kubeconfig", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("cannot use kubeconfig {}", missing.display())),
        "{}",
        stderr(&output)
    );

    let output = run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no cluster to talk to"), "{}", stderr(&output));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime
        .block_on(osc_devcluster::server::Server::start(osc_devcluster::server::ServerConfig::default()));
    let server = server.unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig().unwrap()).unwrap();
    let output = run(&["status", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("this cluster does not know KataConfig") && told.contains("kubectl apply -k deploy/"),
        "{told}"
    );
}

#[test]
fn wrong_arguments_are_refused_in_words() {
    for (arguments, expected) in [
        (["demo", "--listen", "0.0.0.0:1"], "is not a loopback address"),
        (["demo", "--speed", "fast"], "\"fast\" is no speed"),
        (["demo", "--workers", "0"], "0 is not in 1..=5000"),
        (["demo", "-f", "none.yaml"], "cannot read none.yaml; run the demo from the root of the source tree"),
        (["demo", "-o", "yaml"], "the demo prints text or JSON lines; use -o json"),
    ] {
        let output = run(&arguments);
        assert!(!output.status.success());
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn completions_manual_and_version_are_printed() {
    assert!(stdout(&run(&["completions", "bash"])).contains("_osc()"));
    assert!(stdout(&run(&["man"])).starts_with(".ie"));
    assert!(stdout(&run(&["version"])).starts_with("osc 0."));
}
