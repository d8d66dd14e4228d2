//! What happens after deletions: dependants of owners, content of namespaces, objects of definitions.
//!
//! One task that follows every change of the store. It keeps an index of uids and owners, so that a change costs
//! what it concerns and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::call::{DEFINITIONS, NAMESPACES, State};
use super::definition;
use super::metadata::{self, finalizers, is_deleting, text};
use super::store::{Change, Expect, Feed, Key};
use super::verbs::delete::{self, DeleteOptions, FOREGROUND, ORPHAN, Propagation};

type Place = (Arc<str>, Key);

/// Follows the store until the server stops.
pub async fn run(state: Arc<State>, mut feed: mpsc::UnboundedReceiver<Feed>) {
    let mut cleaner = Cleaner { state: state.clone(), uids: HashMap::new(), dependants: HashMap::new() };
    loop {
        let next = tokio::select! {
            biased;
            next = feed.recv() => next,
            () = state.shutdown.cancelled() => None,
        };
        let Some((collection, change)) = next else { return };
        let _guard = state.loading.lock().unwrap_or_else(PoisonError::into_inner);
        cleaner.follow(&collection, &change);
    }
}

struct Cleaner {
    state: Arc<State>,
    /// Where the object with a uid is.
    uids: HashMap<String, Place>,
    /// The objects that name a uid as their owner.
    dependants: HashMap<String, BTreeSet<Place>>,
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
}

impl Cleaner {
    fn follow(&mut self, collection: &Arc<str>, change: &Change) {
        let place: Place = (collection.clone(), change.key.clone());
        let object = &*change.object;
        let uid = text(object, "uid").to_owned();
        self.index(&place, change, &uid);
        if change.deleted {
            self.owner_is_gone(&uid);
            self.last_of_its_kind(&place, change);
            return;
        }
        if is_deleting(object) {
            self.begin(&place, object, &uid);
        }
        let newly_owned = change.before.as_deref().is_none_or(|b| !owners(b).eq(owners(object)));
        if newly_owned && owners(object).next().is_some() {
            self.check_owners(&place);
        }
    }

    fn index(&mut self, place: &Place, change: &Change, uid: &str) {
        if let Some(before) = change.before.as_deref() {
            for owner in owners(before) {
                if let Some(set) = self.dependants.get_mut(owner) {
                    set.remove(place);
                    if set.is_empty() {
                        self.dependants.remove(owner);
                    }
                }
            }
            if text(before, "uid") != uid {
                self.uids.remove(text(before, "uid"));
            }
        }
        if change.deleted {
            self.uids.remove(uid);
            return;
        }
        self.uids.insert(uid.to_owned(), place.clone());
        for owner in owners(&change.object) {
            self.dependants.entry(owner.to_owned()).or_default().insert(place.clone());
        }
    }

    fn dependants_of(&self, uid: &str) -> Vec<Place> {
        self.dependants.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Deletes one object; errors mean that somebody else was faster or that it cannot go yet.
    fn delete(&self, place: &Place, propagation: Option<Propagation>) {
        let registry = self.state.registry();
        let Some(resource) = registry.of_collection(&place.0) else { return };
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        if let Err(error) = delete::remove(&self.state, resource, &place.1, &options) {
            tracing::debug!(?place, %error.message, "not deleted");
        }
    }

    /// Changes one object; finishes its deletion if nothing holds it any more.
    fn change(&self, place: &Place, edit: impl Fn(&mut Value) -> bool) {
        loop {
            let Some(before) = self.state.store.get(&place.0, &place.1) else { return };
            let mut after = (*before).clone();
            if !edit(&mut after) {
                return;
            }
            let held = !finalizers(&after).is_empty()
                || metadata::grace(&after).unwrap_or(0) > 0
                || after["spec"]["finalizers"]
                    .as_array()
                    .is_some_and(|l| !l.is_empty() && *place.0 == *NAMESPACES);
            let done = if is_deleting(&after) && !held {
                self.state.store.remove(&place.0, &before, after).map(|_| ())
            } else {
                self.state.store.put(&place.0, Expect::Is(&before), after).map(|_| ())
            };
            if done.is_ok() {
                break;
            }
        }
        if *place.0 == *DEFINITIONS {
            self.state.refresh_registry();
        }
    }

    /// Dependants without any living owner go; the others lose the reference.
    fn owner_is_gone(&mut self, uid: &str) {
        for place in self.dependants_of(uid) {
            self.check_owners(&place);
        }
    }

    fn check_owners(&self, place: &Place) {
        let Some(object) = self.state.store.get(&place.0, &place.1) else { return };
        let references =
            object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        let gone: Vec<&str> = references
            .iter()
            .filter(|owner| !self.is_alive(owner, &place.1.namespace))
            .filter_map(|owner| owner["uid"].as_str())
            .collect();
        if gone.is_empty() {
            return;
        }
        if gone.len() == references.len() {
            self.delete(place, Some(Propagation::Background));
        } else {
            self.change(place, |object| gone.iter().filter(|uid| drop_owner(object, uid)).count() > 0);
        }
    }

    /// Whether an owner exists: known by its uid, or in the store although its change is yet to be followed.
    fn is_alive(&self, owner: &Value, namespace: &str) -> bool {
        let uid = owner["uid"].as_str().unwrap_or_default();
        if self.uids.contains_key(uid) {
            return true;
        }
        let part = |field: &str| owner[field].as_str().unwrap_or_default();
        let registry = self.state.registry();
        let Some(resource) = registry.find_kind(part("apiVersion"), part("kind")) else { return false };
        let key = Key::new(if resource.namespaced { namespace } else { "" }, part("name"));
        self.state.store.get(&resource.collection, &key).is_some_and(|found| text(&found, "uid") == uid)
    }

    fn begin(&mut self, place: &Place, object: &Value, uid: &str) {
        if finalizers(object).contains(&ORPHAN) {
            for dependant in self.dependants_of(uid) {
                self.change(&dependant, |object| drop_owner(object, uid));
            }
            self.change(place, |object| metadata::remove_finalizer(object, ORPHAN));
        }
        if finalizers(object).contains(&FOREGROUND) {
            for dependant in self.dependants_of(uid) {
                self.delete(&dependant, Some(Propagation::Foreground));
            }
            self.finish_foreground(place, uid);
        }
        if *place.0 == *NAMESPACES {
            self.empty_namespace(&place.1.name);
        }
        if *place.0 == *DEFINITIONS {
            self.empty_definition(place, object);
        }
    }

    /// Ends a deletion in the foreground when no dependant blocks it any more.
    fn finish_foreground(&self, place: &Place, uid: &str) {
        let blocks = |dependant: &Place| {
            self.state.store.get(&dependant.0, &dependant.1).is_some_and(|object| {
                let list = object["metadata"]["ownerReferences"].as_array();
                list.is_some_and(|l| l.iter().any(|o| o["uid"] == uid && o["blockOwnerDeletion"] == true))
            })
        };
        if !self.dependants_of(uid).iter().any(blocks) {
            self.change(place, |object| metadata::remove_finalizer(object, FOREGROUND));
        }
    }

    /// Something may have waited for this object to go: an owner, its namespace, its definition.
    fn last_of_its_kind(&mut self, place: &Place, change: &Change) {
        for owner in owners(&change.object) {
            let Some(at) = self.uids.get(owner) else { continue };
            let waiting = self.state.store.get(&at.0, &at.1);
            if waiting.is_some_and(|o| is_deleting(&o) && finalizers(&o).contains(&FOREGROUND)) {
                self.finish_foreground(at, owner);
            }
        }
        let namespace = &place.1.namespace;
        if !namespace.is_empty() {
            let found = self.state.store.get(NAMESPACES, &Key::new("", namespace));
            if found.is_some_and(|n| is_deleting(&n)) {
                self.finish_namespace(namespace);
            }
        }
        let group_and_plural = place.0.split_once('/');
        if let Some((group, plural)) = group_and_plural {
            let key = Key::new("", &format!("{plural}.{group}"));
            if let Some(found) = self.state.store.get(DEFINITIONS, &key)
                && is_deleting(&found)
            {
                self.finish_definition(&(DEFINITIONS.into(), key), &place.0);
            }
        }
    }

    fn empty_namespace(&self, namespace: &str) {
        for collection in self.state.store.collections() {
            for object in self.state.store.list(&collection, namespace).0 {
                self.delete(&(collection.clone(), Key::of(&object)), Some(Propagation::Background));
            }
        }
        self.finish_namespace(namespace);
    }

    fn finish_namespace(&self, namespace: &str) {
        let store = &self.state.store;
        if store.collections().iter().all(|collection| store.list(collection, namespace).0.is_empty()) {
            self.change(&(NAMESPACES.into(), Key::new("", namespace)), |object| {
                let pending = object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
                object["spec"]["finalizers"] = json!([]);
                pending
            });
        }
    }

    fn empty_definition(&self, place: &Place, definition: &Value) {
        let spec = &definition["spec"];
        let collection: Arc<str> = super::registry::collection_name(
            spec["group"].as_str().unwrap_or_default(),
            spec["names"]["plural"].as_str().unwrap_or_default(),
        )
        .into();
        for object in self.state.store.list(&collection, "").0 {
            self.delete(&(collection.clone(), Key::of(&object)), Some(Propagation::Background));
        }
        self.finish_definition(place, &collection);
    }

    fn finish_definition(&self, place: &Place, collection: &str) {
        if self.state.store.list(collection, "").0.is_empty() {
            self.change(place, |object| metadata::remove_finalizer(object, definition::CLEANUP));
        }
    }
}

fn drop_owner(object: &mut Value, uid: &str) -> bool {
    let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() else { return false };
    let before = list.len();
    list.retain(|owner| owner["uid"] != uid);
    let changed = list.len() != before;
    if list.is_empty()
        && let Some(map) = object["metadata"].as_object_mut()
    {
        map.remove("ownerReferences");
    }
    changed
}
