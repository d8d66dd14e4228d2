//! The three patterns by which controllers go wrong, each followed step by step: a death between two writes, decisions on
//! an old view, a change that came and went unseen.

use osc_proof::explore::cluster::{Group, Level, World};
use osc_proof::explore::mco::Change;
use osc_proof::explore::model::{Action, Model};
use osc_proof::explore::people::Deed;
use osc_proof::explore::scope::{Scope, Selected, Wish};

const ALL: Wish = Wish { nodes: Selected::All, level: Level::Unset };
const FIRST: Wish = Wish { nodes: Selected::Only(0), level: Level::Unset };

struct Walk {
    model: Model,
    world: World,
}

impl Walk {
    fn new(scope: Scope) -> Self {
        let scope = Scope { edits: 9, wishes: vec![ALL, FIRST], ..scope };
        let mut model = Model::new(scope, Box::new(osc_engine::decide));
        let world = model.initial();
        Self { model, world }
    }

    /// Whether that can happen; then it does.
    fn try_to(&mut self, action: Action) -> bool {
        let successors = self.model.successors(&self.world);
        let Some(found) = successors.into_iter().find(|found| found.action == action) else { return false };
        assert_eq!(found.broken, None, "{action:?}");
        self.world = found.world;
        true
    }

    fn take(&mut self, action: Action) {
        assert!(self.try_to(action), "{action:?} cannot happen now");
    }

    fn person(&mut self, deed: Deed) {
        self.take(Action::People(deed));
    }

    /// One pass of the operator.
    fn pass(&mut self) {
        self.take(Action::Decide);
        while self.try_to(Action::Write) {}
    }

    /// Everything that happens by itself.
    fn complete(&mut self) {
        loop {
            let successors = self.model.successors(&self.world);
            let Some(next) = successors.into_iter().find(|next| next.action.is_fair()) else { break };
            assert_eq!(next.broken, None, "{:?}", next.action);
            self.world = next.world;
        }
    }

    fn assert_as_wished(&mut self) {
        self.complete();
        assert_eq!(self.model.of_rest(&self.world), None);
        assert!(self.model.is_as_wished(&self.world));
    }

    fn roles(&self) -> [bool; 2] {
        [0, 1].map(|index| self.world.cluster.nodes[index].role)
    }
}

/// Every write of an installation and of a removal is the last one that the operator does before it dies.
#[test]
fn intermediate_state_the_operator_dies_between_two_writes() {
    let mut walk = Walk::new(Scope::small("deaths"));
    let mut deaths = 0;
    for deed in [Deed::Create(0, 0), Deed::Change(0, 1), Deed::Delete(0)] {
        walk.person(deed);
        loop {
            let successors = walk.model.successors(&walk.world);
            let Some(next) = successors.into_iter().find(|next| next.action.is_fair()) else { break };
            if walk.world.plan != 0 {
                deaths += 1;
                let alive = walk.world;
                walk.take(Action::Crash);
                assert_eq!((walk.world.plan, walk.world.cluster), (0, alive.cluster));
                walk.assert_as_wished();
                walk.world = alive;
            }
            walk.world = next.world;
        }
        walk.assert_as_wished();
    }
    assert!(deaths > 20, "the operator writes less than it is known to: {deaths}");
}

/// The operator goes on installing after the KataConfig was deleted, since it has not heard of it, and gives nodes the
/// role that they will not have.
#[test]
fn stale_state_the_operator_installs_what_is_being_deleted() {
    let mut walk = Walk::new(Scope { lags: vec![Group::KataConfigs], ..Scope::small("old view") });
    walk.person(Deed::Create(0, 0));
    walk.take(Action::Observe(Group::KataConfigs));
    walk.pass();
    walk.person(Deed::Delete(0));
    walk.take(Action::Mco(Change::Render));
    walk.pass();
    assert_eq!(walk.roles(), [true, true], "it decided on the old view");
    let heard = walk.world.view.katas[0].is_some_and(|kata| kata.deleting);
    assert!(heard, "the answer to the write of the status, the last of the pass, tells of the deletion");
    walk.assert_as_wished();
    assert_eq!(walk.world.cluster.katas, [None, None]);
}

/// A finalizer is set on what the operator read before somebody changed it: the write is refused, and repeated on what
/// is there by then.
#[test]
fn stale_state_a_write_on_an_old_version_is_refused() {
    let mut walk = Walk::new(Scope { lags: vec![Group::KataConfigs], ..Scope::small("old version") });
    walk.person(Deed::Create(0, 0));
    walk.take(Action::Observe(Group::KataConfigs));
    walk.take(Action::Decide);
    walk.person(Deed::Change(0, 1));
    let before = walk.world.cluster;
    walk.take(Action::Write);
    assert_eq!((walk.world.plan, walk.world.cluster), (0, before), "it is refused, and the pass ends");
    walk.assert_as_wished();
    assert_eq!(walk.roles(), [true, false]);
}

/// The KataConfig is gone before the first write of its installation: nothing may be written for it.
#[test]
fn stale_state_nothing_is_installed_for_what_is_gone() {
    let mut walk = Walk::new(Scope { lags: vec![Group::KataConfigs], ..Scope::small("gone") });
    let empty = walk.world.cluster;
    walk.person(Deed::Create(0, 0));
    walk.take(Action::Observe(Group::KataConfigs));
    walk.person(Deed::Delete(0));
    walk.take(Action::Decide);
    while walk.try_to(Action::Write) {}
    assert_eq!(walk.world.cluster, empty);
    walk.assert_as_wished();
}

/// The selector changes and changes back before the operator looks again: there is nothing to do, and no node moves.
#[test]
fn unobserved_state_a_change_that_came_and_went() {
    let mut walk = Walk::new(Scope { lags: vec![Group::KataConfigs], ..Scope::small("unseen") });
    walk.person(Deed::Create(0, 0));
    walk.assert_as_wished();
    let installed = walk.world.cluster;
    walk.person(Deed::Change(0, 1));
    walk.person(Deed::Change(0, 0));
    walk.take(Action::Observe(Group::KataConfigs));
    assert!(!walk.try_to(Action::Decide), "the operator would write");
    assert_eq!(walk.world.cluster, installed);
}

/// A rollout begins and ends, and the operator has seen none of it.
#[test]
fn unobserved_state_a_rollout_that_came_and_went() {
    let lags = vec![Group::Nodes, Group::Pools];
    let mut walk = Walk::new(Scope { lags, ..Scope::small("unseen rollout") });
    walk.person(Deed::Create(0, 0));
    walk.pass();
    walk.take(Action::Mco(Change::Render));
    walk.take(Action::Observe(Group::Pools));
    walk.pass();
    for node in [0, 1] {
        walk.take(Action::Mco(Change::Choose(node)));
        walk.take(Action::Mco(Change::Daemon(node)));
        walk.take(Action::Mco(Change::Daemon(node)));
    }
    assert!(walk.world.cluster.nodes[..2].iter().all(|node| node.current.has_kata()));
    assert!(walk.world.view.nodes[..2].iter().all(|node| !node.desired.has_kata()), "nothing was seen");
    walk.assert_as_wished();
}
