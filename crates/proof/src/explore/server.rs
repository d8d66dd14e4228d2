//! What an API server does with the operator's writes, and what the operator's shell makes of the answers.

use osc_engine::{Kind, ObjectId, Step};
use serde_json::{Value, json};

use super::cluster::{Body, Group, Kata, Pools, Versions, World};
use super::observe::node_index;
use super::scope::Scope;
use super::store::{Store, kata_index, merge, uid};

/// What the shell makes of the answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes on with the next step.
    Done(Told),
    /// Somebody else was faster, or what was to be changed is gone: the pass ends.
    Refused,
}

/// What the answer to a write brings into the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// A KataConfig.
    Kata(usize, Kata),
    /// A node.
    Node(usize),
    /// Another object.
    Object(usize, Body),
}

impl World {
    /// An object was written: whoever read it before holds an old version.
    pub fn touch(&mut self, version: Versions) {
        self.view_current = self.view_current.without(version);
        self.plan_current = self.plan_current.without(version);
    }
}

/// Does one write.
pub fn write(store: &mut Store, world: &mut World, step: &Step) -> Answer {
    match step {
        Step::Apply { id, object } => {
            let slot = store.slot(id);
            let mut next = Value::clone(store.body(world.cluster.objects[slot]));
            merge(&mut next, object);
            put(store, world, slot, next)
        }
        // No world is an OpenShift cluster in DaemonSet mode, or has peer pods.
        Step::CopySecret { .. } | Step::Merge { .. } | Step::Advertise { .. } => Answer::Refused,
        Step::Create { id, object } => {
            let slot = store.slot(id);
            if world.cluster.objects[slot] != 0 {
                return Answer::Done(Told::Object(slot, world.cluster.objects[slot]));
            }
            put(store, world, slot, object.clone())
        }
        Step::Replace { id, path, value } => {
            let slot = store.slot(id);
            let mut next = Value::clone(store.body(world.cluster.objects[slot]));
            if next.is_null() {
                return Answer::Refused;
            }
            next[path.trim_start_matches('/')] = value.clone();
            put(store, world, slot, next)
        }
        Step::Delete { id } => {
            let slot = store.slot(id);
            delete(store, world, slot);
            Answer::Done(Told::Nothing)
        }
        Step::LabelNode { node, value, .. } => {
            let node = node_index(node);
            world.cluster.nodes[node].role = value.is_some();
            Answer::Done(Told::Node(node))
        }
        Step::SetFinalizers { id, finalizers, .. } if id.kind == Kind::KataConfig => {
            set_kata_finalizers(store, world, kata_index(&id.name), finalizers)
        }
        Step::SetFinalizers { id, finalizers, .. } => set_finalizers(store, world, id, finalizers),
        Step::PatchStatus { name, status } => {
            let index = kata_index(name);
            let Some(mut kata) = world.cluster.katas[index] else { return Answer::Done(Told::Nothing) };
            let status = store.put_status(status);
            if kata.status != status {
                kata.status = status;
                world.cluster.katas[index] = Some(kata);
                world.touch(Versions::kata(index));
            }
            Answer::Done(Told::Kata(index, kata))
        }
        Step::Emit(_) => Answer::Done(Told::Nothing),
    }
}

fn put(store: &mut Store, world: &mut World, slot: usize, object: Value) -> Answer {
    let body = store.put(object);
    if world.cluster.objects[slot] != body {
        world.cluster.objects[slot] = body;
        world.touch(Versions::slot(slot));
        world.cluster.pools.exists |= kind(store, slot) == Kind::MachineConfigPool;
    }
    Answer::Done(Told::Object(slot, body))
}

/// The kind of the object in a slot.
pub fn kind(store: &Store, slot: usize) -> Kind {
    store.slots().find(|(found, _)| *found == slot).map(|(_, id)| id.kind).expect("a slot has a kind")
}

fn finalizers_of(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// Deletes an object; one with finalizers is only marked.
pub fn delete(store: &mut Store, world: &mut World, slot: usize) {
    let object = store.body(world.cluster.objects[slot]).clone();
    if object.is_null() {
        return;
    }
    if finalizers_of(&object) == 0 {
        remove(store, world, slot);
    } else if object["metadata"]["deletionTimestamp"].is_null() {
        let mut marked = Value::clone(&object);
        marked["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
        put(store, world, slot, marked);
    }
}

fn remove(store: &Store, world: &mut World, slot: usize) {
    world.cluster.objects[slot] = 0;
    world.touch(Versions::slot(slot));
    if kind(store, slot) == Kind::MachineConfigPool {
        let workers_paused = world.cluster.pools.workers_paused;
        world.cluster.pools = Pools { workers_paused, ..Pools::default() };
    }
}

fn set_kata_finalizers(store: &mut Store, world: &mut World, index: usize, finalizers: &[String]) -> Answer {
    let version = Versions::kata(index);
    let Some(mut kata) = world.cluster.katas[index] else { return Answer::Refused };
    if !world.plan_current.has(version) {
        return Answer::Refused;
    }
    kata.finalizers = store.put_finalizers(finalizers);
    let gone = kata.deleting && finalizers.is_empty();
    world.cluster.katas[index] = (!gone).then_some(kata);
    world.touch(version);
    Answer::Done(Told::Kata(index, kata))
}

fn set_finalizers(store: &mut Store, world: &mut World, id: &ObjectId, finalizers: &[String]) -> Answer {
    let slot = store.slot(id);
    let mut next = Value::clone(store.body(world.cluster.objects[slot]));
    if next.is_null() {
        return Answer::Refused;
    }
    if !world.plan_current.has(Versions::slot(slot)) {
        return Answer::Refused;
    }
    next["metadata"]["finalizers"] = json!(finalizers);
    let gone = finalizers.is_empty() && !next["metadata"]["deletionTimestamp"].is_null();
    let answer = put(store, world, slot, next);
    if gone {
        remove(store, world, slot);
    }
    answer
}

/// Takes the answer to a write into those caches that may lag behind; the others have it anyway.
pub fn hear(scope: &Scope, store: &Store, world: &mut World, told: Told) {
    match told {
        Told::Kata(index, kata) if scope.lags(Group::KataConfigs) => {
            world.view.katas[index] = Some(kata);
            if world.cluster.katas[index] == Some(kata) {
                world.view_current = world.view_current.with(Versions::kata(index));
            }
        }
        Told::Node(node) if scope.lags(Group::Nodes) => world.view.nodes[node] = world.cluster.nodes[node],
        Told::Object(slot, body) if scope.lags(group(store, slot)) => {
            world.view.objects[slot] = body;
            if world.cluster.objects[slot] == body {
                world.view_current = world.view_current.with(Versions::slot(slot));
            }
            if kind(store, slot) == Kind::MachineConfigPool {
                let workers_paused = world.view.pools.workers_paused;
                world.view.pools = Pools { workers_paused, ..world.cluster.pools };
            }
        }
        _ => {}
    }
}

/// The watch that brings the object in a slot.
pub fn group(store: &Store, slot: usize) -> Group {
    match kind(store, slot) {
        Kind::MachineConfig | Kind::MachineConfigPool | Kind::ContainerRuntimeConfig => Group::Pools,
        _ => Group::Workload,
    }
}

/// Objects whose owner is gone: the garbage collector deletes them, one at a time.
pub fn orphans(store: &Store, world: &World) -> Vec<usize> {
    let owners: Vec<String> =
        world.cluster.katas.iter().flatten().map(|kata| uid(kata.incarnation)).collect();
    let is_orphan = |slot: usize| {
        let metadata = &store.body(world.cluster.objects[slot])["metadata"];
        let owner = metadata["ownerReferences"][0]["uid"].as_str();
        metadata["deletionTimestamp"].is_null()
            && owner.is_some_and(|owner| !owners.iter().any(|uid| uid == owner))
    };
    store.slots().map(|(slot, _)| slot).filter(|slot| is_orphan(*slot)).collect()
}
