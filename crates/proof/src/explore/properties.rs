//! What has to hold, each with a name.

use osc_api::names;
use osc_engine::status::{DEGRADED, IN_PROGRESS, READY};
use osc_engine::{Kind, ObjectId, Step};

use super::cluster::{Level, Pods, Rendered, World};
use super::mco::{self, is_member};
use super::observe::{node_name, our_pool};
use super::people::{Wanted, effective, wanted};
use super::scope::Scope;
use super::store::{Rest, Store};

/// What has to hold in every world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Once people stop changing things, operator and Machine Config Operator reach what was asked for, from wherever
    /// they are. What waits for a person (a paused pool, a pod) says so.
    ReachesTheWish,
    /// A node reboots at most once for each change of what it is to be, counted from the last time that everything was
    /// at rest.
    RebootsOnlyForChanges,
    /// The pool is not removed while a node is in it or runs its configuration.
    PoolOutlivesItsMembers,
    /// Whatever is ours is held by a KataConfig with our finalizer.
    FinalizerHolds,
    /// A removal goes on unless a paused pool or a pod holds it, and ends with the KataConfig gone.
    RemovalIsNeverStuck,
    /// The runtime class is created when a node can serve it, and gone before a removal touches a node.
    ClassOnlyWhereServed,
    /// In a world that is as it should be, there is nothing to write.
    RestIsQuiet,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ReachesTheWish,
        Self::RebootsOnlyForChanges,
        Self::PoolOutlivesItsMembers,
        Self::FinalizerHolds,
        Self::RemovalIsNeverStuck,
        Self::ClassOnlyWhereServed,
        Self::RestIsQuiet,
    ];

    /// Its name in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ReachesTheWish => "the wish is reached",
            Self::RebootsOnlyForChanges => "no reboot without a change",
            Self::PoolOutlivesItsMembers => "the pool outlives its members",
            Self::FinalizerHolds => "the finalizer holds what is ours",
            Self::RemovalIsNeverStuck => "a removal is never stuck",
            Self::ClassOnlyWhereServed => "the runtime class is there only where it is served",
            Self::RestIsQuiet => "rest is quiet",
        }
    }
}

/// A property that does not hold, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub property: Property,
    /// What was seen.
    pub words: String,
}

fn broken(property: Property, words: impl Into<String>) -> Option<Broken> {
    Some(Broken { property, words: words.into() })
}

/// Finds objects by what they are for.
fn body(store: &mut Store, world: &World, kind: Kind, name: &str) -> u8 {
    let slot = store.slot(&ObjectId::cluster(kind, name));
    world.cluster.objects[slot]
}

fn class_exists(store: &mut Store, world: &World) -> bool {
    body(store, world, Kind::RuntimeClass, names::KATA_RUNTIME_CLASS) != 0
}

/// What must hold before a write is done.
pub fn of_write(scope: &Scope, store: &mut Store, world: &World, rest: Rest, step: &Step) -> Option<Broken> {
    let takes_away = match step {
        Step::LabelNode { value: None, .. } => true,
        Step::Delete { id } => {
            matches!(id.kind, Kind::MachineConfig | Kind::ContainerRuntimeConfig | Kind::MachineConfigPool)
        }
        _ => false,
    };
    if takes_away && rest.removing && class_exists(store, world) {
        return broken(
            Property::ClassOnlyWhereServed,
            "a removal takes Kata from nodes, and the runtime class exists",
        );
    }
    match step {
        Step::Delete { id } if id.kind == Kind::MachineConfigPool => {
            let in_it = |index: &usize| {
                let node = &world.cluster.nodes[*index];
                node.role || !scope.compact && (node.current.is_ours() || node.desired.is_ours())
            };
            let member = (0..scope.nodes).find(in_it)?;
            broken(
                Property::PoolOutlivesItsMembers,
                format!("the pool is deleted, and {} is in it", node_name(member)),
            )
        }
        Step::Create { id, .. } if id.kind == Kind::RuntimeClass && !class_exists(store, world) => {
            let serves =
                |index| is_member(scope, world, index) && world.cluster.nodes[index].current.has_kata();
            if (0..scope.nodes).any(serves) {
                return None;
            }
            broken(Property::ClassOnlyWhereServed, "the runtime class is created, and no node can serve it")
        }
        _ => None,
    }
}

/// What must hold in every moment.
pub fn of_world(scope: &Scope, store: &mut Store, world: &World) -> Option<Broken> {
    let katas = world.cluster.katas.iter().flatten();
    if katas.into_iter().any(|kata| store.holds_kata_config(kata.finalizers)) {
        return None;
    }
    let what = ours(scope, store, world)?;
    broken(Property::FinalizerHolds, format!("{what}, and no KataConfig with our finalizer exists"))
}

/// Something that is ours, if there is anything.
fn ours(scope: &Scope, store: &mut Store, world: &World) -> Option<String> {
    let objects = [
        (Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG),
        (Kind::MachineConfigPool, names::KATA_POOL),
        (Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG),
        (Kind::RuntimeClass, names::KATA_RUNTIME_CLASS),
    ];
    if let Some((kind, name)) = objects.into_iter().find(|(kind, name)| body(store, world, *kind, name) != 0)
    {
        return Some(format!("{} {name} exists", kind.name()));
    }
    for (index, node) in world.cluster.nodes.iter().enumerate().take(scope.nodes) {
        if node.role {
            return Some(format!("{} has the role kata-oc", node_name(index)));
        }
        if node.current.has_kata() || node.desired.has_kata() {
            return Some(format!("{} has Kata, or is to have it", node_name(index)));
        }
    }
    None
}

/// Counts a reboot: each has to be paid for by a change of what people want of that node.
pub fn of_reboot(world: &mut World, index: usize) -> Option<Broken> {
    match world.reboots[index].checked_sub(1) {
        Some(left) => {
            world.reboots[index] = left;
            None
        }
        None => broken(
            Property::RebootsOnlyForChanges,
            format!("{} reboots more often than what is asked of it changed", node_name(index)),
        ),
    }
}

/// Grants each node a reboot if what is wanted of it changed, and a second one where the log level cannot be had
/// together with the rest:
///
/// - A node enters a pool that was, or may be, rendered with another level. What a pool is rendered from is known by
///   name only, so that the node may be given the old level first.
/// - On a compact cluster, extension and level are two objects for nodes that are in the pool already. That of the level
///   is there even for the default once there was another one.
pub fn grant(scope: &Scope, store: &mut Store, before: &Wanted, world: &mut World) {
    let after = wanted(scope, store, world);
    if *before == after {
        return;
    }
    let level_object = world.generated != Level::Unset
        || body(store, world, Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG) != 0;
    let default = |wanted: &Option<Level>| wanted.unwrap_or(Level::Info);
    let other_level = match (level(before), level(&after)) {
        (Some(before), Some(after)) => before != after,
        (None, Some(after)) => world.generated != Level::Unset && world.generated != after,
        _ => false,
    };
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let enters = before.is_none() && after.is_some();
        let twice = if scope.compact {
            before.is_some() != after.is_some() && (default(before) != default(after) || level_object)
        } else {
            enters && other_level
        };
        world.reboots[index] += u8::from(before != after) + u8::from(twice);
    }
}

/// The log level of the nodes that are to have Kata.
fn level(wanted: &Wanted) -> Option<Level> {
    wanted.iter().flatten().next().copied()
}

/// What must hold where neither the operator nor the Machine Config Operator has anything to do.
pub fn of_rest(scope: &Scope, store: &mut Store, world: &World) -> Option<Broken> {
    let Err(difference) = as_wished(scope, store, world) else { return None };
    let waits = |index: &usize| {
        let (target, paused) = mco::pool_of(scope, world, *index);
        paused && target.is_some_and(|target| target != world.cluster.nodes[*index].current)
    };
    let waiting = (0..scope.nodes).find(waits);
    let Some(kata) = effective(store, world).copied() else {
        // What is left is a log level that the pool no longer has: nobody is there to tell of it.
        return waiting.map_or_else(|| broken(Property::ReachesTheWish, difference), |_| None);
    };
    let property = if kata.deleting { Property::RemovalIsNeverStuck } else { Property::ReachesTheWish };
    let status = store.status(kata.status);
    let says = |type_: &str, word: &str| {
        let found = status.condition(type_);
        found.is_some_and(|found| format!("{} {}", found.reason, found.message).contains(word))
    };
    if kata.deleting && world.cluster.pods == Pods::One {
        if says(IN_PROGRESS, "BlockedByExistingKataPods") {
            return None;
        }
        return broken(property, "a pod holds the removal, and the status does not say so");
    }
    let Some(index) = waiting else { return broken(property, difference) };
    let pool = if is_member(scope, world, index) { our_pool(scope) } else { names::WORKER_POOL };
    if says(DEGRADED, &format!("MachineConfigPool {pool} is paused")) {
        return None;
    }
    let name = node_name(index);
    broken(property, format!("{name} waits for paused pool {pool}, and the status does not say so"))
}

/// Whether everything is as people want it; else the first difference.
pub fn as_wished(scope: &Scope, store: &mut Store, world: &World) -> Result<(), String> {
    let Some(kata) = effective(store, world).copied() else {
        if let Some(what) = ours(scope, store, world) {
            return Err(format!("no KataConfig exists, and {what}"));
        }
        let slot = world.cluster.objects.iter().position(|object| *object != 0);
        nodes_as_wished(scope, store, world)?;
        return slot.map_or(Ok(()), |slot| {
            Err(format!("no KataConfig exists, and {:?} does", store.slots().nth(slot)))
        });
    };
    if kata.deleting {
        return Err("a KataConfig is being deleted and is still there".to_owned());
    }
    nodes_as_wished(scope, store, world)?;
    for other in world.cluster.katas.iter().flatten().filter(|other| other.incarnation != kata.incarnation) {
        let told = store.status(other.status).condition(DEGRADED);
        if told.is_none_or(|told| told.reason != "KataConfigAlreadyExists") {
            return Err("the second KataConfig does not say that the first one counts".to_owned());
        }
    }
    let status = store.status(kata.status).clone();
    if !class_exists(store, world) {
        return Err("there is no runtime class".to_owned());
    }
    if status.condition(READY).is_none_or(|ready| ready.status != "True") {
        return Err(format!(
            "Kata is installed, and the status does not say so: {:?}",
            status.condition(READY)
        ));
    }
    let having = wanted(scope, store, world).into_iter().enumerate().filter(|(_, level)| level.is_some());
    let having: Vec<String> = having.map(|(index, _)| node_name(index)).collect();
    if status.kata_nodes.installed != having || status.runtime_classes != [names::KATA_RUNTIME_CLASS] {
        return Err(format!("the status tells of other nodes or classes: {status:?}"));
    }
    Ok(())
}

fn nodes_as_wished(scope: &Scope, store: &Store, world: &World) -> Result<(), String> {
    let wanted = wanted(scope, store, world);
    for (index, wanted) in wanted.into_iter().enumerate().take(scope.nodes) {
        let (node, name) = (&world.cluster.nodes[index], node_name(index));
        if !node.is_settled() {
            return Err(format!("{name} is being changed"));
        }
        let found = node.current.has_kata().then(|| match node.current.level() {
            Level::Unset => Level::Info,
            level => level,
        });
        let clean = wanted.is_some() || node.current.content() == Rendered::BASE.content();
        if found != wanted || !clean {
            return Err(format!("{name} is to have {wanted:?} and has {found:?}"));
        }
        if !scope.compact && node.role != wanted.is_some() {
            return Err(format!("{name} is in the wrong pool"));
        }
    }
    Ok(())
}
