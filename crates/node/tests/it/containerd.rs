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
    for kept in ["registry.example.com/pause:3.9", "/usr/lib/cni", "SystemdCgroup = true", "/opt/kata/bin/containerd-shim"] {
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
