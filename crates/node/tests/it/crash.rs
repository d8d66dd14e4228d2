//! The agent dies before every single change that it makes on a host; the next one, which knows nothing, gets to the same
//! end. One host has the real containerd, the other one stand-ins for CRI-O and rpm-ostree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use osc_node::Error;
use osc_node::host::Gate;
use osc_node::platform::NodeInfo;
use osc_node::state::State;
use osc_node::work::{Outcome, Work};

use crate::ostree::{self, coreos};
use crate::packages::IMAGE;
use crate::scratch::{Scratch, Tree, borrowed, bundle, difference, node, timeless};

/// A gate that lets so many changes pass, and then nothing any more.
fn gate(limit: usize) -> Gate {
    let passed = AtomicUsize::new(0);
    Arc::new(move |what: &str| {
        if passed.fetch_add(1, Ordering::SeqCst) < limit {
            Ok(())
        } else {
            Err(Error::Stopped(what.to_owned()))
        }
    })
}

/// Without the journal, which holds times, and the agent's own files beside it.
fn comparable(tree: &Tree) -> Tree {
    timeless(tree).into_iter().filter(|(path, _)| !path.starts_with("var/lib/osc-node/")).collect()
}

/// A host, what is asked for on it, and how to look at it.
struct Journey<'a> {
    host: &'a Scratch,
    node: NodeInfo,
    variables: Vec<(&'static str, &'a str)>,
    /// What of the host has to be the same each time.
    look: fn(&Scratch) -> Tree,
    /// Whether it has to be so with times, once Kata is removed.
    exact: bool,
}

impl Journey<'_> {
    /// Does something, dying at the given change, then again from nothing. Whether it died.
    fn with_death(&self, limit: usize, act: impl Fn(&Work) -> osc_node::Result<Outcome>) -> bool {
        let died = match act(&self.host.gated(&self.variables, gate(limit))) {
            Ok(_) => false,
            Err(Error::Stopped(_)) => true,
            Err(error) => panic!("change {limit}: {error}"),
        };
        if died {
            let outcome = act(&self.host.work(&self.variables))
                .unwrap_or_else(|error| panic!("after {limit}: {error}"));
            assert!(matches!(outcome, Outcome::Done(_)), "after {limit}: {outcome:?}");
        }
        died
    }

    /// Installs and removes until each has died before each of its changes. How many deaths that were.
    fn play(&self) -> (usize, usize) {
        let install = |work: &Work| work.install(&self.node, State::Installing);
        let remove = |work: &Work| work.remove(&self.node, State::Uninstalling);
        let as_removed = || {
            let found = (self.look)(self.host);
            if self.exact { found } else { timeless(&found) }
        };
        let before = as_removed();
        install(&self.host.work(&self.variables)).unwrap();
        let installed = comparable(&(self.look)(self.host));
        remove(&self.host.work(&self.variables)).unwrap();

        let (mut installs, mut removals) = (0, 0);
        let (mut more_installs, mut more_removals) = (true, true);
        while more_installs || more_removals {
            if more_installs {
                more_installs = self.with_death(installs, install);
                installs += usize::from(more_installs);
            } else {
                install(&self.host.work(&self.variables)).unwrap();
            }
            let found = comparable(&(self.look)(self.host));
            assert!(found == installed, "installed, death {installs}: {}", difference(&installed, &found));
            if more_removals {
                more_removals = self.with_death(removals, remove);
                removals += usize::from(more_removals);
            } else {
                remove(&self.host.work(&self.variables)).unwrap();
            }
            let found = as_removed();
            assert!(found == before, "removed, death {removals}: {}", difference(&before, &found));
        }
        (installs, removals)
    }
}

/// The tree, and the handlers that the runtime behind a socket knows.
fn tree_and_handlers(host: &Scratch, socket: &str) -> Tree {
    let mut tree = host.tree();
    tree.insert("handlers".to_owned(), host.handlers_behind(socket).join(" "));
    tree
}

#[test]
fn a_bundle_with_containerd_survives_a_death_before_any_change() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata-static.tar.xz", &[]);
    let variables = bundle.variables();
    let look: fn(&Scratch) -> Tree = |host| tree_and_handlers(host, "/run/containerd/containerd.sock");
    let journey = Journey { host: &host, node: node(), variables: borrowed(&variables), look, exact: true };
    let (installs, removals) = journey.play();
    assert!(installs > 30 && removals > 15, "{installs} and {removals} changes are too few to be all");
    println!(
        "node agent, bundle and containerd: {installs} deaths while installing, {removals} while removing, 0 diverged"
    );
}

#[test]
fn packages_with_rpm_ostree_and_crio_survive_a_death_before_any_change() {
    let host = coreos();
    let variables = vec![("EXTENSION_IMAGE", IMAGE), ("LOG_LEVEL", "debug")];
    // Live layers stay until the machine is started anew.
    let look: fn(&Scratch) -> Tree = |host| {
        let mut tree = tree_and_handlers(host, ostree::SOCKET);
        tree.retain(|path, _| path.starts_with("etc") || path.starts_with("opt") || path == "handlers");
        tree
    };
    let journey = Journey { host: &host, node: ostree::crio(), variables, look, exact: true };
    let (installs, removals) = journey.play();
    assert!(installs > 25 && removals > 15, "{installs} and {removals} changes are too few to be all");
    println!(
        "node agent, packages and CRI-O: {installs} deaths while installing, {removals} while removing, 0 diverged"
    );
}
