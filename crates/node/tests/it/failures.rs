//! What goes wrong on nodes: each is told in words on the Node, and the node still runs ordinary pods.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use osc_node::Error;
use osc_node::agent::Mode;
use osc_node::platform::NodeInfo;
use osc_node::state::State;
use osc_node::work::{Outcome, Work};
use rstest::rstest;

use crate::cluster::Cluster;
use crate::scratch::{Bundle, Scratch, Tree, borrowed, bundle, compress, difference, header, node};

/// A host, its state before, and an agent that was given its turn and fails.
fn fails(host: &Scratch, work: Work) -> (String, Tree) {
    let before = host.tree();
    let cluster = Cluster::start(host);
    cluster.label(Some("waiting_to_install"));
    let _agent = cluster.agent(work, Mode::Install);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cluster.told().failure, None, "nothing is told to have failed before its turn");
    cluster.label(Some("installing"));
    let told = cluster.wait_for("install_failed");
    let sentence = told.failure.unwrap();
    assert!(sentence.len() <= 1024, "{sentence}");
    let events = cluster.events();
    assert!(events.contains(&("KataInstallFailed".to_owned(), sentence.clone())), "{events:?}");
    (sentence, before)
}

fn assert_says(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
}

fn work_with(host: &Scratch, bundle: &Bundle) -> Work {
    host.work(&borrowed(&bundle.variables()))
}

/// Apart from the journal's folder, all is as before.
fn assert_unchanged(host: &Scratch, before: &Tree) {
    let mut now = host.tree();
    now.retain(|path, _| !path.starts_with("var/lib/osc-node"));
    assert!(now == *before, "{}", difference(before, &now));
}

#[test]
fn a_wrong_checksum() {
    let host = Scratch::with_containerd();
    let mut bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let found = std::mem::replace(&mut bundle.digest, "0".repeat(64));
    let (sentence, before) = fails(&host, work_with(&host, &bundle));
    let (found, wanted) =
        (format!("its digest is sha256:{found}"), format!("expected is sha256:{}", bundle.digest));
    assert_says(
        &sentence,
        &["kata.tar.zst", &found, &wanted, "Nothing of it was installed", "`bundleDigest`"],
    );
    assert_unchanged(&host, &before);
    host.assert_ordinary_pods();
}

#[test]
fn a_retry_goes_on_by_itself_up_to_the_restart() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let content = fs::read(&bundle.path).unwrap();
    fs::write(&bundle.path, &content[1..]).unwrap();
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let _agent = cluster.agent(work_with(&host, &bundle), Mode::Install);
    cluster.wait_for("install_failed");
    fs::write(&bundle.path, &content).unwrap();
    assert!(cluster.wait_for("waiting_to_install").failure.is_some(), "told until it works");
    assert!(host.exists("opt/kata"));
    assert_eq!(host.handlers(), ["runc"], "no restart without a turn");
    cluster.label(Some("installing"));
    assert_eq!(cluster.wait_for("installed").failure, None);
    let reasons: Vec<String> = cluster.events().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["KataInstallFailed", "KataInstalled"], "each is told once");
}

#[rstest]
#[case("kata.tar.zst")]
#[case("kata.tar.xz")]
fn a_bundle_that_was_cut_off(#[case] name: &str) {
    let host = Scratch::with_containerd();
    let noise: Vec<u8> =
        (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut bundle = bundle(host.folder(), name, &[("./opt/kata/share/noise", &noise)]);
    let content = fs::read(&bundle.path).unwrap();
    let short = &content[..content.len() / 2];
    fs::write(&bundle.path, short).unwrap();
    let (sentence, before) = fails(&host, work_with(&host, &bundle));
    let bytes = format!("({} bytes)", short.len());
    assert_says(&sentence, &[name, &bytes, "expected is sha256:", "It is damaged or was cut off"]);
    assert_unchanged(&host, &before);

    // The digest was made of what was cut off.
    bundle.digest = osc_node::digest::of(short);
    let error = work_with(&host, &bundle).install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["it has the expected digest, but is damaged or was cut off before that was made"]);
    assert_unchanged(&host, &before);
    host.assert_ordinary_pods();
}

#[test]
fn a_bundle_for_another_architecture_or_of_something_else() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let install = |bundle: &Bundle| {
        let error = work_with(&host, bundle).install(&node(), State::Installing).unwrap_err().to_string();
        assert_unchanged(&host, &before);
        error
    };
    let mut shim = fs::read("/usr/bin/true").unwrap();
    shim[18] = 183;
    let mut archive = tar::Builder::new(Vec::new());
    let mut file = header(tar::EntryType::Regular, shim.len() as u64, 0o755);
    archive.append_data(&mut file, "opt/kata/bin/containerd-shim-kata-v2", shim.as_slice()).unwrap();
    let arm = compress(host.folder(), "arm.tar.zst", &archive.into_inner().unwrap());
    assert_says(&install(&arm), &["it is for arm64, and this node is amd64", "kubernetes.io/arch"]);

    let outside = bundle(host.folder(), "outside.tar.zst", &[("./etc/cron.d/x", b"x")]);
    assert_says(&install(&outside), &["etc/cron.d/x", "not below opt/kata"]);

    let mut archive = tar::Builder::new(Vec::new());
    let mut link = header(tar::EntryType::Symlink, 0, 0o777);
    archive.append_link(&mut link, "opt/kata/out", "../../etc").unwrap();
    let mut file = header(tar::EntryType::Regular, 1, 0o644);
    archive.append_data(&mut file, "opt/kata/out/passwd", &b"x"[..]).unwrap();
    let link = compress(host.folder(), "link.tar.zst", &archive.into_inner().unwrap());
    assert_says(&install(&link), &["/opt/kata/out", "outside of /opt/kata"]);

    let text = Bundle { path: host.folder().join("text"), digest: osc_node::digest::of(b"text") };
    fs::write(&text.path, "text").unwrap();
    assert_says(&install(&text), &["neither a .tar.zst nor a .tar.xz"]);

    let nothing =
        host.work(&[("KATA_BUNDLE", "/no/such/bundle.tar.zst"), ("KATA_BUNDLE_DIGEST", &text.digest)]);
    let error = nothing.install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["/no/such/bundle.tar.zst", "neither in the image of osc-node nor on the host"]);
    let undigested = host.work(&[("KATA_BUNDLE", text.path.to_str().unwrap())]);
    let error = undigested.install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["no digest to check it against", "`bundleDigest`"]);
    host.assert_ordinary_pods();
}

/// The agent as a process, with file systems of its own below the host's root. Stopped when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(host: &Scratch, cluster: &Cluster, bundle: &Bundle, mounts: &str) -> Process {
    let kubeconfig = host.folder().join("kubeconfig");
    fs::write(&kubeconfig, cluster.server.kubeconfig().unwrap()).unwrap();
    let log = fs::File::create(host.folder().join("agent.log")).unwrap();
    let child = Command::new(host.enter())
        .arg(&host.root)
        .args(["--outside", env!("CARGO_BIN_EXE_osc-node"), "install"])
        .env("OSC_MOUNTS", mounts)
        .env("KUBECONFIG", kubeconfig)
        .env("NODE_NAME", "worker-0")
        .env("HOST_ROOT", &host.root)
        .env("LOG_LEVEL", "")
        .env("EXTENSION_IMAGE", "")
        .envs(bundle.variables())
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Process(child)
}

fn fails_as_process(mounts: &str, more: &[(&str, &[u8])]) -> String {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", more);
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let agent = process(&host, &cluster, &bundle, mounts);
    let sentence = cluster.wait_for("install_failed").failure.unwrap();
    drop(agent);
    assert_unchanged(&host, &before);
    host.assert_ordinary_pods();
    sentence
}

#[test]
fn a_full_disk() {
    let zeroes = vec![0; 8 << 20];
    let sentence = fails_as_process(
        "mount -t tmpfs -o size=4m none \"$root/opt\"",
        &[("./opt/kata/share/image", &zeroes)],
    );
    assert_says(
        &sentence,
        &["not enough space for /opt/kata/share/image", "MiB are free", "8 MiB are needed"],
    );
}

/// The disk fills while a file is written: what was checked before does not hold any more.
#[test]
fn a_disk_that_fills_up_meanwhile() {
    // No more files than there are inodes.
    let sentence = fails_as_process("mount -t tmpfs -o size=64m,nr_inodes=8 none \"$root/opt\"", &[]);
    assert_says(&sentence, &["not enough space for /opt/kata/", "MiB are free"]);
}

#[test]
fn a_read_only_host() {
    let sentence = fails_as_process("mount -t tmpfs -o ro none \"$root/opt\"", &[]);
    assert_says(&sentence, &["/opt/kata", "file system there is read-only", "nothing was changed"]);
    let sentence = fails_as_process(
        "mount --bind \"$root/var\" \"$root/var\"; mount -o remount,bind,ro \"$root/var\"",
        &[],
    );
    assert_says(&sentence, &["/var/lib/osc-node", "file system there is read-only"]);
}

/// The agent as a process on a healthy host: chroot, environment and signals are those of production.
#[test]
fn the_process_installs() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    cluster.label(Some("waiting_to_install"));
    let _agent = process(&host, &cluster, &bundle, "");
    std::thread::sleep(Duration::from_millis(500));
    cluster.label(Some("installing"));
    let told = cluster.wait_for("installed");
    assert_eq!(told.version, Some(format!("bundle sha256:{}", bundle.digest)));
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
}

#[test]
fn a_runtime_that_does_not_come_back_gets_its_configuration_back() {
    let host = Scratch::with_containerd();
    host.write("run/fails-with-kata", "");
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let config = host.read("etc/containerd/config.toml");
    let (sentence, _) = fails(&host, work_with(&host, &bundle));
    assert_says(
        &sentence,
        &[
            "`systemctl restart containerd.service` failed",
            "What was there before is back",
            "ordinary pods run",
            "journalctl -u containerd",
        ],
    );
    assert_eq!(host.read("etc/containerd/config.toml"), config);
    assert!(!host.exists("etc/containerd/osc-node.d/kata.toml"));
    assert_eq!(host.handlers(), ["runc"]);
}

#[test]
fn an_update_that_fails_goes_back_to_what_worked_last() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let variables = bundle.variables();
    let mut variables = borrowed(&variables);
    host.work(&variables).install(&node(), State::Installing).unwrap();
    let drop_in = host.read("etc/containerd/osc-node.d/kata.toml");
    variables.push(("LOG_LEVEL", "debug"));
    let work = host.work(&variables);
    host.write("run/fails-once", "");
    let error = work.install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["What was there before is back"]);
    assert_eq!(host.read("etc/containerd/osc-node.d/kata.toml"), drop_in, "not what was there before Kata");
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
    assert!(matches!(work.install(&node(), State::Installing).unwrap(), Outcome::Done(_)));
    assert!(host.read("etc/containerd/osc-node.d/kata.toml").contains("level = \"debug\""));
    work.remove(&node(), State::Uninstalling).unwrap();
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

/// CRI-O's restart may end the agent that asked for it. The next one must not ask again, or it would never end.
#[test]
fn an_agent_that_dies_of_its_own_restart_does_not_restart_again() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let variables = bundle.variables();
    let restarted = AtomicBool::new(false);
    let gate = move |what: &str| {
        if restarted.load(Ordering::SeqCst) {
            return Err(Error::Stopped(what.to_owned()));
        }
        restarted.store(what.starts_with("run systemctl restart"), Ordering::SeqCst);
        Ok(())
    };
    let stopped = host.gated(&borrowed(&variables), Arc::new(gate)).install(&node(), State::Installing);
    assert!(matches!(stopped, Err(Error::Stopped(_))), "{stopped:?}");
    let restarts = || host.calls().iter().filter(|call| call.starts_with("systemctl restart")).count();
    assert_eq!(restarts(), 1);
    let work = work_with(&host, &bundle);
    assert!(matches!(work.install(&node(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(restarts(), 1);
}

/// What the agent itself writes on the Node is no news that would end its pause.
#[test]
fn a_failed_restart_is_not_tried_again_at_once() {
    let host = Scratch::with_containerd();
    host.write("run/fails-with-kata", "");
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let _agent = cluster.patient_agent(work_with(&host, &bundle), Mode::Install, Duration::from_mins(1));
    cluster.wait_for("install_failed");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(cluster.told().label.as_deref(), Some("install_failed"));
    let restarts = || host.calls().iter().filter(|call| call.starts_with("systemctl restart")).count();
    assert_eq!(restarts(), 2, "one with the handlers, one with what was there before");
    // Somebody who grants a turn is heard at once.
    fs::remove_file(host.root.join("run/fails-with-kata")).unwrap();
    cluster.label(Some("installing"));
    assert_eq!(cluster.wait_for("installed").failure, None);
    assert_eq!(restarts(), 3);
}

#[test]
fn a_runtime_that_never_lists_the_handler() {
    let host = Scratch::with_containerd();
    host.write("run/restart-does-nothing", "");
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let work = Work { patience: Duration::from_secs(2), ..work_with(&host, &bundle) };
    let (sentence, _) = fails(&host, work);
    assert_says(
        &sentence,
        &[
            "containerd did not come back as it should within 2 s",
            "it does not know the handlers kata, kata-snp",
            "ordinary pods run",
        ],
    );
    assert!(!host.read("etc/containerd/config.toml").contains("osc-node"));
    host.assert_ordinary_pods();
}

#[rstest]
#[case("docker://24.0.7", "amd64", &["\"docker://24.0.7\"", "osc-node knows CRI-O and containerd", "selector"])]
#[case("", "amd64", &["the container runtime of this node is \"\""])]
#[case("containerd://1.6.20", "riscv64", &["architecture is \"riscv64\"", "amd64, arm64 and s390x", "selector"])]
fn a_node_that_is_not_served(#[case] runtime: &str, #[case] architecture: &str, #[case] says: &[&str]) {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let info = NodeInfo { architecture: architecture.to_owned(), runtime: runtime.to_owned(), ..node() };
    let cluster = Cluster::with_node(&host, &info);
    cluster.label(Some("installing"));
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let _agent = cluster.agent(work_with(&host, &bundle), Mode::Install);
    assert_says(&cluster.wait_for("install_failed").failure.unwrap(), says);
    assert_unchanged(&host, &before);
    host.assert_ordinary_pods();
}

#[test]
fn a_reboot_half_way() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let variables = bundle.variables();
    for point in [
        "unpack /opt/kata/share/kata-containers/vmlinux.container",
        "move into place /etc/containerd/config.toml",
    ] {
        let gate = move |what: &str| {
            if what == point { Err(Error::Stopped(what.to_owned())) } else { Ok(()) }
        };
        let stopped = host.gated(&borrowed(&variables), Arc::new(gate)).install(&node(), State::Installing);
        assert!(matches!(stopped, Err(Error::Stopped(_))), "{point}: {stopped:?}");
        host.reboot();
        host.assert_ordinary_pods();
    }
    let work = host.work(&borrowed(&variables));
    assert!(matches!(work.install(&node(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
    host.reboot();
    assert!(matches!(work.install(&node(), State::Installed).unwrap(), Outcome::Done(_)), "it lasts");
    work.remove(&node(), State::Uninstalling).unwrap();
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

#[test]
fn a_label_edited_by_hand() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    let _agent = cluster.agent(work_with(&host, &bundle), Mode::Install);
    for text in [None, Some("Installing"), Some("yes"), Some("uninstalling"), Some("uninstalled")] {
        cluster.label(text);
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(cluster.told().label.as_deref(), text, "left to the operator");
        assert_unchanged(&host, &before);
    }
    // It claims what is not so: the agent asks for its turn.
    cluster.label(Some("installed"));
    cluster.wait_for("waiting_to_install");
    assert_unchanged(&host, &before);
    cluster.label(Some("installing"));
    let version = cluster.wait_for("installed").version;
    assert_eq!(version, Some(format!("bundle sha256:{}", bundle.digest)));
    // It is so, whatever the label says: nothing is done again.
    let calls = host.calls();
    cluster.label(Some("waiting_to_install"));
    cluster.wait_for("installed");
    let restarts =
        |calls: &[String]| calls.iter().filter(|call| call.starts_with("systemctl restart")).count();
    assert_eq!(restarts(&host.calls()), restarts(&calls));
    host.assert_ordinary_pods();
}

#[test]
fn two_agents_on_one_node() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let first = cluster.agent(work_with(&host, &bundle), Mode::Install);
    cluster.wait_for("installed");
    let installed = host.tree();
    let _second = cluster.agent(host.work(&[]), Mode::Uninstall);
    cluster.label(Some("uninstalling"));
    std::thread::sleep(Duration::from_millis(700));
    let events = cluster.events();
    let waits = events.iter().find(|(reason, _)| reason == "KataAgentWaits");
    assert_says(
        &waits.expect("KataAgentWaits").1,
        &["another agent works on this node", "osc-node install as process"],
    );
    assert!(host.tree() == installed, "the second does nothing while the first is there");
    drop(first);
    cluster.wait_for("uninstalled");
    assert_eq!(host.handlers(), ["runc"]);
    assert!(!host.exists("opt/kata"));
}

#[test]
fn a_label_that_may_not_be_written() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let forbidden = FaultAction::Status {
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "nodes \"worker-0\" is forbidden: User \"kata-install\" cannot patch resource \"nodes\""
            .to_owned(),
        retry_after: None,
    };
    let matcher = Matcher { user_agent: Some("osc-node".to_owned()), ..Matcher::new(Verb::Patch, "nodes") };
    cluster.server.faults().inject(Fault { matcher, times: None, action: forbidden });
    let work = work_with(&host, &bundle);
    let agent = cluster.agent(work.clone(), Mode::Install);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(cluster.told().label.as_deref(), Some("installing"));
    assert_unchanged(&host, &before);
    assert!(!host.exists("var/lib/osc-node"), "nothing is done that could not be told");
    host.assert_ordinary_pods();

    // What a person reads in the log of the pod.
    let client = host.runtime().block_on(async { cluster.server.client_named("osc-node") }).unwrap();
    let own = osc_node::node::OwnNode::new(client, "worker-0", crate::cluster::LABEL);
    let error =
        host.runtime().block_on(async { own.check_rights(&own.get().await.unwrap()).await }).unwrap_err();
    assert_says(
        &error.to_string(),
        &["cannot label the Node worker-0", "cannot patch resource", "ClusterRole kata-install"],
    );

    cluster.server.faults().clear();
    cluster.wait_for("installed");
    drop(agent);
    host.assert_ordinary_pods();
}

#[test]
fn files_that_somebody_else_changed_are_left_and_named() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let cluster = Cluster::start(&host);
    cluster.label(Some("installing"));
    let agent = cluster.agent(work_with(&host, &bundle), Mode::Install);
    cluster.wait_for("installed");
    drop(agent);

    let config = host.read("etc/containerd/config.toml");
    let original = fs::read(host.root.join("etc/containerd/config.toml")).unwrap();
    host.write("etc/containerd/config.toml", format!("{config}# tuned by an administrator\n"));
    host.write("opt/kata/share/mine", "mine");
    cluster.label(Some("uninstalling"));
    let agent = cluster.agent(host.work(&[]), Mode::Uninstall);
    let failure = cluster.wait_for("uninstall_failed").failure.unwrap();
    assert_says(
        &failure,
        &["/etc/containerd/config.toml", "changed by somebody else since osc-node wrote it", "originals"],
    );
    assert!(host.read("etc/containerd/config.toml").ends_with("# tuned by an administrator\n"));
    assert!(host.exists("opt/kata/bin/containerd-shim-kata-v2"), "what a handler may still start stays");

    // The administrator takes the change back; what is in the bundle's folder is found next.
    host.write("etc/containerd/config.toml", original);
    cluster.wait_for("waiting_to_uninstall");
    cluster.label(Some("uninstalling"));
    let failure = cluster.wait_for("uninstall_failed").failure.unwrap();
    assert_says(&failure, &["/opt/kata/share/mine", "move these files away"]);
    fs::remove_file(host.root.join("opt/kata/share/mine")).unwrap();
    let told = cluster.wait_for("uninstalled");
    assert_eq!((told.failure, told.version), (None, None));
    drop(agent);
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

#[test]
fn what_is_there_already_is_left_alone() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    host.write("opt/kata/bin/qemu", "somebody else's");
    let before = host.tree();
    let error = work_with(&host, &bundle).install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["/opt/kata is on the host already and was not put there by osc-node"]);
    assert_unchanged(&host, &before);

    fs::remove_dir_all(host.root.join("opt/kata")).unwrap();
    let config = host.read("etc/containerd/config.toml");
    let kata = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\nruntime_type = \"io.containerd.kata.v2\"\n";
    host.write("etc/containerd/config.toml", format!("{config}{kata}"));
    let error = work_with(&host, &bundle).install(&node(), State::Installing).unwrap_err().to_string();
    assert_says(&error, &["containerd has a handler kata already", "which osc-node did not write"]);
    host.assert_ordinary_pods();
}
