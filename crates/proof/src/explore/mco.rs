//! What the Machine Config Operator does, one small change at a time, in any order.

use osc_api::names;
use osc_engine::{Kind, ObjectId};

use super::cluster::{Level, Phase, Rendered, World};
use super::observe::our_pool;
use super::scope::Scope;
use super::store::Store;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The machine config for the log level follows the ContainerRuntimeConfig.
    Generate,
    /// Our pool's target follows its machine configs.
    Render,
    /// A node is given its pool's target.
    Choose(usize),
    /// A node's daemon goes on.
    Daemon(usize),
}

/// What a change did to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No node went down.
    Harmless,
    /// The node went down for a reboot.
    Reboot(usize),
}

/// The changes that can happen now.
pub fn changes(scope: &Scope, store: &mut Store, world: &World) -> Vec<Change> {
    let mut changes = Vec::new();
    if wanted_level(scope, store, world) != world.generated {
        changes.push(Change::Generate);
    }
    if world.cluster.pools.exists && Some(wanted_target(scope, store, world)) != world.cluster.pools.target {
        changes.push(Change::Render);
    }
    for index in 0..scope.nodes {
        if !world.cluster.nodes[index].is_settled() {
            changes.push(Change::Daemon(index));
        } else if can_choose(scope, world, index) {
            changes.push(Change::Choose(index));
        }
    }
    changes
}

/// Makes one change.
pub fn make(scope: &Scope, store: &mut Store, world: &mut World, change: Change) -> Effect {
    match change {
        Change::Generate => world.generated = wanted_level(scope, store, world),
        Change::Render => world.cluster.pools.target = Some(wanted_target(scope, store, world)),
        Change::Choose(index) => {
            let (target, _) = pool_of(scope, world, index);
            world.cluster.nodes[index].desired = target.expect("a node is chosen for what its pool wants");
        }
        Change::Daemon(index) => return daemon(scope, world, index),
    }
    Effect::Harmless
}

/// A node without a difference only takes the new name; any other is drained, and reboots.
fn daemon(scope: &Scope, world: &mut World, index: usize) -> Effect {
    let node = &mut world.cluster.nodes[index];
    match node.phase {
        Phase::Idle if node.current.content() == node.desired.content() => node.current = node.desired,
        Phase::Idle if scope.drains => node.phase = Phase::Draining,
        Phase::Idle | Phase::Draining => {
            node.phase = Phase::Rebooting;
            return Effect::Reboot(index);
        }
        Phase::Rebooting => {
            node.phase = Phase::Idle;
            node.current = node.desired;
        }
    }
    Effect::Harmless
}

/// Whether a node is in our pool.
pub fn is_member(scope: &Scope, world: &World, index: usize) -> bool {
    index < scope.nodes && world.cluster.pools.exists && (scope.compact || world.cluster.nodes[index].role)
}

/// What a node's pool wants, and whether the pool is paused.
pub fn pool_of(scope: &Scope, world: &World, index: usize) -> (Option<Rendered>, bool) {
    let pools = &world.cluster.pools;
    if is_member(scope, world, index) {
        (pools.target, pools.paused)
    } else {
        (Some(Rendered::BASE), pools.workers_paused)
    }
}

/// A pool may have one node at a time that is not available.
fn can_choose(scope: &Scope, world: &World, index: usize) -> bool {
    let (target, paused) = pool_of(scope, world, index);
    let same_pool = |other: &usize| is_member(scope, world, *other) == is_member(scope, world, index);
    let available = |other: usize| world.cluster.nodes[other].is_settled();
    !paused
        && target.is_some_and(|target| target != world.cluster.nodes[index].desired)
        && (0..scope.nodes).filter(same_pool).all(available)
}

/// Recomputes the condition `Updating` of our pool.
pub fn conditions(scope: &Scope, world: &mut World) {
    let pools = world.cluster.pools;
    let behind = |index: usize| {
        let node = &world.cluster.nodes[index];
        is_member(scope, world, index) && !(node.is_settled() && Some(node.current) == pools.target)
    };
    world.cluster.pools.updating = pools.exists && !pools.paused && (0..scope.nodes).any(behind);
}

fn wanted_level(scope: &Scope, store: &mut Store, world: &World) -> Level {
    let id = ObjectId::cluster(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG);
    let slot = store.slot(&id);
    let object = store.body(world.cluster.objects[slot]);
    let label = format!("{}{}", names::POOL_LABEL_PREFIX, our_pool(scope));
    let selects = object["spec"]["machineConfigPoolSelector"]["matchLabels"][&label].is_string();
    match object["spec"]["containerRuntimeConfig"]["logLevel"].as_str() {
        Some(level) if selects && world.cluster.pools.exists => Level::of(level),
        _ => Level::Unset,
    }
}

fn wanted_target(scope: &Scope, store: &mut Store, world: &World) -> Rendered {
    let slot = store.slot(&ObjectId::cluster(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG));
    let object = store.body(world.cluster.objects[slot]);
    let kata = object["spec"]["extensions"].as_array().is_some_and(|extensions| !extensions.is_empty())
        && object["metadata"]["labels"][names::MACHINE_CONFIG_ROLE] == our_pool(scope);
    if scope.compact && !kata && world.generated == Level::Unset {
        return Rendered::BASE;
    }
    Rendered::ours(kata, world.generated)
}
