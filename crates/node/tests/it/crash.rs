//! The agent dies before every single change that it makes on a host; the next one, which knows nothing, gets to the same
//! end. The host is one with a real containerd.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use osc_node::Error;
use osc_node::host::Gate;
use osc_node::state::State;
use osc_node::work::{Outcome, Work};

use crate::scratch::{Scratch, Tree, borrowed, bundle, difference, node, timeless};

/// A gate that lets so many changes pass and then nothing any more; and how many passed.
fn gate(limit: usize) -> (Gate, Arc<AtomicUsize>) {
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = passed.clone();
    let gate = move |what: &str| {
        if counter.load(Ordering::SeqCst) >= limit {
            return Err(Error::Stopped(what.to_owned()));
        }
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    (Arc::new(gate), passed)
}

/// Without the journal, which holds times, and the agent's own files beside it.
fn comparable(tree: &Tree) -> Tree {
    timeless(tree).into_iter().filter(|(path, _)| !path.starts_with("var/lib/osc-node/")).collect()
}

struct Journey<'a> {
    host: &'a Scratch,
    variables: Vec<(&'static str, &'a str)>,
}

impl Journey<'_> {
    /// Does something, dying at the given change, then again from nothing. Whether it died.
    fn with_death(&self, limit: usize, act: impl Fn(&Work) -> osc_node::Result<Outcome>) -> bool {
        let (gate, _) = gate(limit);
        let died = match act(&self.host.gated(&self.variables, gate)) {
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
}

#[test]
fn a_death_before_any_change_ends_no_differently() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata-static.tar.xz", &[]);
    let variables = bundle.variables();
    let journey = Journey { host: &host, variables: borrowed(&variables) };
    let install = |work: &Work| work.install(&node(), State::Installing);
    let remove = |work: &Work| work.remove(&node(), State::Uninstalling);

    let before = host.tree();
    install(&host.work(&journey.variables)).unwrap();
    let installed = comparable(&host.tree());
    remove(&host.work(&journey.variables)).unwrap();

    let (mut installs, mut removals) = (0, 0);
    let (mut more_installs, mut more_removals) = (true, true);
    while more_installs || more_removals {
        if more_installs {
            more_installs = journey.with_death(installs, install);
            installs += usize::from(more_installs);
        } else {
            install(&host.work(&journey.variables)).unwrap();
        }
        let found = comparable(&host.tree());
        assert!(
            found == installed,
            "installed, died before change {installs}: {}",
            difference(&installed, &found)
        );
        assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);
        if more_removals {
            more_removals = journey.with_death(removals, remove);
            removals += usize::from(more_removals);
        } else {
            remove(&host.work(&journey.variables)).unwrap();
        }
        let found = host.tree();
        assert!(found == before, "removed, died before change {removals}: {}", difference(&before, &found));
        assert_eq!(host.handlers(), ["runc"]);
    }
    assert!(installs > 30 && removals > 15, "{installs} and {removals} changes are too few to be all");
    println!("node agent: {installs} deaths while installing, {removals} while removing, 0 diverged");
}
