//! A real containerd: handlers come and go, `runc` stays, and nothing else changes.

use osc_node::state::State;
use osc_node::work::Outcome;

use crate::scratch::{Scratch, borrowed, bundle, difference, node};

#[test]
fn a_bundle_is_installed_and_removed_and_every_byte_is_as_before() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let bundle = bundle(host.folder(), "kata-static.tar.zst", &[]);
    let variables = bundle.variables();
    let work = host.work(&borrowed(&variables));

    assert_eq!(work.install(&node(), State::WaitingToInstall).unwrap(), Outcome::NeedsTurn);
    assert_eq!(host.tree(), before, "without a turn, nothing is touched");
    let outcome = work.install(&node(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some(format!("bundle sha256:{}", bundle.digest))));
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
    let dump = host.run(&["containerd", "config", "dump"]);
    for kept in [
        "registry.example.com/pause:3.9",
        "/usr/lib/cni",
        "SystemdCgroup = true",
        "/opt/kata/bin/containerd-shim",
    ] {
        assert!(dump.contains(kept), "{kept}: {dump}");
    }
    let config = host.read("etc/containerd/config.toml");
    assert!(config.contains("# Shipped by the distribution."), "{config}");

    let installed = host.tree();
    assert_eq!(work.install(&node(), State::Installed).unwrap(), outcome, "nothing is left to do");
    assert_eq!(host.tree(), installed, "and nothing was done");

    assert_eq!(work.remove(&node(), State::Uninstalling).unwrap(), Outcome::Done(None));
    assert_eq!(host.handlers(), ["runc"]);
    let after = host.tree();
    assert!(after == before, "{}", difference(&before, &after));
    println!(
        "byte comparison: {} paths before, {} while installed, {} after; {} differ",
        before.len(),
        installed.len(),
        after.len(),
        difference(&before, &after).lines().count()
    );
}

/// Why the drop-in repeats what is there. If this fails, containerd has learnt to merge, and the small one does.
#[test]
fn a_drop_in_with_our_handlers_only_would_take_runc_away() {
    let host = Scratch::with_containerd();
    let config = host
        .read("etc/containerd/config.toml")
        .replace("version = 2", "version = 2\nimports = [\"/etc/naive.toml\"]");
    host.write("etc/with-naive.toml", config);
    host.write(
        "etc/naive.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\nruntime_type = \"io.containerd.kata.v2\"\n",
    );
    let dump = host.run(&["containerd", "--config", "/etc/with-naive.toml", "config", "dump"]);
    assert!(
        dump.contains("containerd.runtimes.kata]") && !dump.contains("containerd.runtimes.runc]"),
        "{dump}"
    );
    assert!(!dump.contains("registry.example.com/pause:3.9"), "nor is any other setting kept: {dump}");
}

#[test]
fn a_configuration_that_is_edited_later_is_carried_anew() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata-static.tar.zst", &[]);
    let variables = bundle.variables();
    let work = host.work(&borrowed(&variables));
    work.install(&node(), State::Installing).unwrap();
    let config = host.read("etc/containerd/config.toml").replace("pause:3.9", "pause:3.10");
    host.write("etc/containerd/config.toml", &config);
    assert_eq!(work.install(&node(), State::Installed).unwrap(), Outcome::NeedsTurn);
    assert!(matches!(work.install(&node(), State::Installing).unwrap(), Outcome::Done(_)));
    let dump = host.run(&["containerd", "config", "dump"]);
    assert!(dump.contains("registry.example.com/pause:3.10"), "{dump}");
    assert_eq!(host.read("etc/containerd/config.toml"), config, "what the administrator wrote stays");
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
}

#[test]
fn another_bundle_and_another_log_level_replace_the_first() {
    let host = Scratch::with_containerd();
    let before = host.tree();
    let first = bundle(host.folder(), "first.tar.zst", &[]);
    let second = bundle(
        host.folder(),
        "second.tar.xz",
        &[(
            "./opt/kata/share/defaults/kata-containers/configuration-qemu-tdx.toml",
            b"[hypervisor.qemu]\n#tdx\n",
        )],
    );
    let variables = first.variables();
    host.work(&borrowed(&variables)).install(&node(), State::Installing).unwrap();
    let variables = second.variables();
    let mut variables = borrowed(&variables);
    variables.push(("LOG_LEVEL", "debug"));
    let work = host.work(&variables);
    assert_eq!(work.install(&node(), State::Installed).unwrap(), Outcome::NeedsTurn);
    let outcome = work.install(&node(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some(format!("bundle sha256:{}", second.digest))));
    assert_eq!(host.handlers(), ["kata", "kata-snp", "kata-tdx", "runc"]);
    assert!(host.run(&["containerd", "config", "dump"]).contains("level = \"debug\""));
    work.remove(&node(), State::Uninstalling).unwrap();
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

#[test]
fn a_host_without_a_configuration_gets_one_and_loses_it_again() {
    let host = Scratch::new();
    host.start_containerd();
    let before = host.tree();
    let work = work_on(&host);
    assert!(matches!(work.install(&node(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
    work.remove(&node(), State::Uninstalling).unwrap();
    assert_eq!(host.handlers(), ["runc"]);
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

#[test]
fn a_configuration_of_version_1_is_refused() {
    let host = Scratch::new();
    host.write("etc/containerd/config.toml", "");
    let error = work_on(&host).install(&node(), State::Installing).unwrap_err().to_string();
    assert!(
        error.contains("has version 1 (none is said)") && error.contains("containerd config migrate"),
        "{error}"
    );
    assert!(!host.exists("etc/containerd/osc-node.d"));
}

fn work_on(host: &Scratch) -> osc_node::work::Work {
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let variables = bundle.variables();
    host.work(&borrowed(&variables))
}

/// Stands for containerd 2, which is not packaged for this machine: its configuration has version 3, and what is
/// imported is merged.
const CONTAINERD_2: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376"; exit 0; fi
echo 'version = 3'
printf '[plugins."io.containerd.cri.v1.runtime".containerd]\ndefault_runtime_name = "runc"\n'
printf '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
for file in $(sed -n 's/^imports = \[\(.*\)\]$/\1/p' "$2" | tr -d '",'); do grep -v '^version' "$file"; done
exit 0
"#;

#[test]
fn containerd_2_gets_a_small_drop_in_of_version_3() {
    let host = Scratch::new();
    host.program("containerd", CONTAINERD_2);
    let wanted = osc_node::runtime::Wanted {
        handlers: ["kata", "kata-tdx"]
            .into_iter()
            .map(|name| osc_node::handlers::Handler {
                name,
                shim: "/opt/kata/bin/containerd-shim-kata-v2",
                config: format!("/opt/kata/share/defaults/kata-containers/{name}.toml"),
            })
            .collect(),
        log_level: osc_node::settings::LogLevel::parse("debug").unwrap(),
    };
    // With and without a configuration of its own.
    for config in [None, Some("version = 3\n# nothing else\n")] {
        if let Some(config) = config {
            host.write("etc/containerd/config.toml", config);
        }
        let changes = osc_node::runtime::containerd::changes(&host.host(), &wanted).unwrap();
        let [drop_in, main] = changes.as_slice() else { panic!("{changes:?}") };
        insta::allow_duplicates! { insta::assert_snapshot!("containerd_2_drop_in", drop_in.content) };
        assert_eq!(main.path, "/etc/containerd/config.toml");
        let import = "imports = [\"/etc/containerd/osc-node.d/*.toml\"]\n";
        assert!(
            main.content.starts_with("version = 3\n") && main.content.contains(import),
            "{}",
            main.content
        );
    }
}
