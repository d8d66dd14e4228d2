//! The objects, the revision counter and the history that watches and continue tokens read.
//!
//! Objects are immutable and shared; a write replaces the pointer. Every collection keeps its last changes, and a
//! watch is a cursor into that history, so a slow watcher costs nothing and never holds a writer up: when the
//! history it needs is gone, it is told so.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tokio::sync::mpsc;

use super::signal::Signal;

/// Where an object is within its collection. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Namespace or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// In the order of etcd, where a key is one text: `a-b/x` comes before `a/x`.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self.namespace == other.namespace {
            return self.name.cmp(&other.name);
        }
        let (one, two) = (self.namespace.bytes().chain([b'/']), other.namespace.bytes().chain([b'/']));
        one.cmp(two)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of a stored object.
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self::new(
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap_or_default(),
        )
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct Change {
    /// Revision of the change.
    pub revision: u64,
    /// Which object.
    pub key: Key,
    /// State before, none for a creation.
    pub before: Option<Arc<Value>>,
    /// State after; for a deletion the last state, with the revision of the deletion.
    pub object: Arc<Value>,
    /// Whether the object is gone.
    pub deleted: bool,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug)]
pub enum Expect<'a> {
    /// No object.
    Absent,
    /// Exactly this state.
    Is(&'a Arc<Value>),
}

/// The object is not what the write expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed;

/// The history asked for is no longer kept; holds the oldest revision that can still be read from.
#[derive(Debug, PartialEq, Eq)]
pub struct Compacted(pub u64);

#[derive(Default)]
struct Collection {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Arc<Change>>,
    /// Revision of the newest change that the log no longer holds.
    compacted: u64,
    signal: Signal,
}

#[derive(Default)]
struct Inner {
    revision: u64,
    collections: HashMap<Arc<str>, Collection>,
}

/// A change together with the collection it happened in.
pub type Feed = (Arc<str>, Arc<Change>);

/// All objects of a server.
pub struct Store {
    inner: RwLock<Inner>,
    history: usize,
    feed: mpsc::UnboundedSender<Feed>,
}

impl Store {
    /// An empty store that keeps `history` changes of each collection, and the stream of all its changes.
    pub fn new(history: usize) -> (Self, mpsc::UnboundedReceiver<Feed>) {
        let (feed, changes) = mpsc::unbounded_channel();
        let inner = RwLock::new(Inner { revision: 1, collections: HashMap::new() });
        (Self { inner, history, feed }, changes)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub fn get(&self, collection: &str, key: &Key) -> Option<Arc<Value>> {
        self.read().collections.get(collection)?.objects.get(key).cloned()
    }

    /// All objects of a collection, or those of one namespace, with the revision they are of.
    pub fn list(&self, collection: &str, namespace: &str) -> (Vec<Arc<Value>>, u64) {
        let inner = self.read();
        let Some(found) = inner.collections.get(collection) else { return (Vec::new(), inner.revision) };
        (of_namespace(&found.objects, namespace), inner.revision)
    }

    /// The objects as they were at an earlier revision, reconstructed from the history.
    pub fn list_at(
        &self,
        collection: &str,
        namespace: &str,
        revision: u64,
    ) -> Result<Vec<Arc<Value>>, Compacted> {
        let inner = self.read();
        let Some(found) = inner.collections.get(collection) else { return Ok(Vec::new()) };
        if revision < found.compacted {
            return Err(Compacted(found.compacted));
        }
        if found.log.back().is_none_or(|change| change.revision <= revision) {
            return Ok(of_namespace(&found.objects, namespace));
        }
        let mut objects = found.objects.clone();
        for change in found.log.iter().rev().take_while(|change| change.revision > revision) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(of_namespace(&objects, namespace))
    }

    /// The changes after `revision`, oldest first, and the revision up to which they are complete.
    pub fn changes_since(
        &self,
        collection: &str,
        revision: u64,
    ) -> Result<(Vec<Arc<Change>>, u64), Compacted> {
        let inner = self.read();
        let Some(found) = inner.collections.get(collection) else { return Ok((Vec::new(), inner.revision)) };
        if revision < found.compacted {
            return Err(Compacted(found.compacted));
        }
        let start = found.log.partition_point(|change| change.revision <= revision);
        Ok((found.log.range(start..).cloned().collect(), inner.revision))
    }

    /// The revision of the newest change in the collection.
    pub fn signal(&self, collection: &str) -> Signal {
        let mut inner = self.write();
        inner.collections.entry(collection.into()).or_default().signal.clone()
    }

    /// Names of all collections that have objects, in no particular order.
    pub fn collections(&self) -> Vec<Arc<str>> {
        let inner = self.read();
        inner
            .collections
            .iter()
            .filter(|(_, c)| !c.objects.is_empty())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Stores `object` if the present state is the expected one. Sets `metadata.resourceVersion`.
    pub fn put(
        &self,
        collection: &Arc<str>,
        expect: Expect<'_>,
        object: Value,
    ) -> Result<Arc<Value>, Changed> {
        self.commit(collection, expect, object, false)
    }

    /// Removes the object if its present state is the expected one; `last` is what watchers get to see.
    pub fn remove(
        &self,
        collection: &Arc<str>,
        expected: &Arc<Value>,
        last: Value,
    ) -> Result<Arc<Value>, Changed> {
        self.commit(collection, Expect::Is(expected), last, true)
    }

    fn commit(
        &self,
        collection: &Arc<str>,
        expect: Expect<'_>,
        mut object: Value,
        deleted: bool,
    ) -> Result<Arc<Value>, Changed> {
        let key = Key::of(&object);
        let mut inner = self.write();
        let revision = inner.revision + 1;
        let found = inner.collections.entry(collection.clone()).or_default();
        let before = found.objects.get(&key).cloned();
        match (expect, &before) {
            (Expect::Absent, None) => {}
            (Expect::Is(expected), Some(present)) if Arc::ptr_eq(expected, present) => {}
            _ => return Err(Changed),
        }
        object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        let object = Arc::new(object);
        if deleted {
            found.objects.remove(&key);
        } else {
            found.objects.insert(key.clone(), object.clone());
        }
        let change = Arc::new(Change { revision, key, before, object: object.clone(), deleted });
        found.log.push_back(change.clone());
        if found.log.len() > self.history
            && let Some(dropped) = found.log.pop_front()
        {
            found.compacted = dropped.revision;
        }
        found.signal.set(revision);
        inner.revision = revision;
        // Sent under the lock, so that the feed has the order of the revisions. The receiver only goes away when
        // the server stops.
        let _ = self.feed.send((collection.clone(), change));
        Ok(object)
    }

    /// Forgets the history, as a compaction of the real store does: older watches and tokens get 410.
    pub fn compact(&self) {
        let mut inner = self.write();
        let revision = inner.revision;
        for collection in inner.collections.values_mut() {
            collection.log.clear();
            collection.compacted = revision;
        }
    }
}

fn of_namespace(objects: &BTreeMap<Key, Arc<Value>>, namespace: &str) -> Vec<Arc<Value>> {
    if namespace.is_empty() {
        return objects.values().cloned().collect();
    }
    objects
        .range(Key::new(namespace, "")..)
        .take_while(|(key, _)| key.namespace == namespace)
        .map(|(_, object)| object.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, n: u64) -> Value {
        json!({ "metadata": { "name": name, "namespace": "a" }, "n": n })
    }

    #[test]
    fn a_list_at_an_earlier_revision_undoes_later_changes() {
        let (store, _feed) = Store::new(10);
        let c: Arc<str> = "/x".into();
        let one = store.put(&c, Expect::Absent, object("one", 1)).unwrap();
        let at = store.revision();
        let one = store.put(&c, Expect::Is(&one), object("one", 2)).unwrap();
        store.put(&c, Expect::Absent, object("two", 1)).unwrap();
        store.remove(&c, &one, (*one).clone()).unwrap();
        let old = store.list_at(&c, "", at).unwrap();
        assert_eq!(old.len(), 1);
        assert_eq!(old[0]["n"], 1);
        assert_eq!(store.list(&c, "a").0.len(), 1);
        assert_eq!(store.list(&c, "b").0.len(), 0);
    }

    #[test]
    fn a_stale_expectation_is_refused() {
        let (store, _feed) = Store::new(10);
        let c: Arc<str> = "/x".into();
        let one = store.put(&c, Expect::Absent, object("one", 1)).unwrap();
        assert_eq!(store.put(&c, Expect::Absent, object("one", 1)), Err(Changed));
        store.put(&c, Expect::Is(&one), object("one", 2)).unwrap();
        assert_eq!(store.put(&c, Expect::Is(&one), object("one", 3)), Err(Changed));
    }

    #[test]
    fn history_beyond_its_bound_is_compacted() {
        let (store, _feed) = Store::new(2);
        let c: Arc<str> = "/x".into();
        let start = store.revision();
        for name in ["a", "b", "c"] {
            store.put(&c, Expect::Absent, object(name, 1)).unwrap();
        }
        assert!(store.changes_since(&c, start).is_err());
        assert_eq!(store.changes_since(&c, start + 1).unwrap().0.len(), 2);
        store.compact();
        assert!(store.changes_since(&c, start + 2).is_err());
        assert!(store.changes_since(&c, store.revision()).is_ok());
    }
}
