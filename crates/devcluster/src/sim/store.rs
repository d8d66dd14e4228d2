//! A cache of one kind, fed by a watch and by the answers to our own writes.
//!
//! Own writes enter at once, so that a controller never decides twice on the state before its last write. Versions
//! keep the two sources in order: what is older than what we know is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::{Resource, ResourceExt};
use tokio::sync::watch;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace or nothing.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: &str) -> Self {
        Self { namespace: String::new(), name: name.to_owned() }
    }

    /// The namespace as the client library wants it.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An object before and after; one of them may be absent.
pub struct Change<K> {
    /// What was known before.
    pub before: Option<Arc<K>>,
    /// What is known now.
    pub after: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest state of the object.
    pub fn object(&self) -> Option<&Arc<K>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Whether `of`, applied to both sides, differs.
    pub fn differs<V: PartialEq>(&self, of: impl Fn(&K) -> V) -> bool {
        self.before.as_deref().map(&of) != self.after.as_deref().map(&of)
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The objects of one kind.
pub struct Store<K> {
    items: RwLock<Items<K>>,
    indexer: fn(&K) -> Vec<String>,
    handlers: RwLock<Vec<Handler<K>>>,
    /// Held from a change until every handler has seen it, so that they see changes in order.
    turn: Mutex<()>,
    synced: watch::Sender<bool>,
}

struct Items<K> {
    objects: BTreeMap<Key, Entry<K>>,
    index: HashMap<String, BTreeSet<Key>>,
    counter: u64,
    /// Identities of objects that went last: the answer to a write may arrive after the news that its object is gone.
    gone: VecDeque<String>,
}

/// How many of them are remembered: many times what can be on its way at once.
const REMEMBERED: usize = 1_000;

struct Entry<K> {
    object: Arc<K>,
    version: Option<u64>,
    /// When it was stored, counted in writes to this store.
    stored: u64,
}

impl<K: Resource<DynamicType = ()>> Store<K> {
    /// An empty store whose objects are found under the words that `indexer` gives.
    pub fn new(indexer: fn(&K) -> Vec<String>) -> Self {
        Self {
            items: RwLock::new(Items {
                objects: BTreeMap::new(),
                index: HashMap::new(),
                counter: 0,
                gone: VecDeque::new(),
            }),
            indexer,
            handlers: RwLock::new(Vec::new()),
            turn: Mutex::new(()),
            synced: watch::channel(false).0,
        }
    }

    /// Calls `handler` on everything that is there, as if it were new, and on every change from now on. Nothing is
    /// lost or told out of order in between. Handlers must be quick and must not write to this store.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let _turn = self.take_turn();
        for object in self.all() {
            handler(&Change { before: None, after: Some(object) });
        }
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Calls no handler any more. Handlers hold what holds this store, so somebody has to let go.
    pub fn forget_handlers(&self) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().objects.get(key).map(|entry| entry.object.clone())
    }

    /// All objects, by key.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().objects.values().map(|entry| entry.object.clone()).collect()
    }

    /// The objects under an index word, by key.
    pub fn indexed(&self, word: &str) -> Vec<Arc<K>> {
        let items = self.read();
        let keys = items.index.get(word).into_iter().flatten();
        keys.filter_map(|key| items.objects.get(key)).map(|entry| entry.object.clone()).collect()
    }

    /// How many objects are under an index word.
    pub fn count(&self, word: &str) -> usize {
        self.read().index.get(word).map_or(0, BTreeSet::len)
    }

    /// Takes in the newer state of an object.
    pub fn apply(&self, object: K) {
        let _turn = self.take_turn();
        let change = {
            let mut items = self.write();
            let old = items.knows_newer(&object) || items.knows_gone(&object);
            if old { None } else { Some(items.put(Arc::new(object), self.indexer)) }
        };
        self.notify(change);
    }

    /// Takes in that an object is gone.
    pub fn remove(&self, object: &K) {
        let key = Key::of(object);
        let _turn = self.take_turn();
        let change = {
            let mut items = self.write();
            items.remember_gone(object);
            if items.knows_later(object) { None } else { items.take(&key, self.indexer) }
        };
        self.notify(change);
    }

    /// A mark for [`replace`](Self::replace): what is stored after it survives that.
    pub fn mark(&self) -> u64 {
        self.read().counter
    }

    /// Takes in a complete list that was read after `mark`.
    pub fn replace(&self, objects: Vec<K>, mark: u64) {
        let listed: BTreeSet<Key> = objects.iter().map(Key::of).collect();
        let turn = self.take_turn();
        for object in objects {
            let change = {
                let mut items = self.write();
                items.gone.retain(|uid| object.meta().uid.as_ref() != Some(uid));
                // A list is the truth even where its versions are lower: the server may have been started afresh.
                let old = items.objects.get(&Key::of(&object)).is_none_or(|entry| entry.stored <= mark);
                let keep = if old { items.knows_exactly(&object) } else { items.knows_newer(&object) };
                if keep { None } else { Some(items.put(Arc::new(object), self.indexer)) }
            };
            self.notify(change);
        }
        let gone: Vec<Key> = {
            let items = self.read();
            let old =
                items.objects.iter().filter(|(key, entry)| entry.stored <= mark && !listed.contains(key));
            old.map(|(key, _)| key.clone()).collect()
        };
        for key in gone {
            let change = {
                let mut items = self.write();
                let change = items.take(&key, self.indexer);
                if let Some(object) = change.as_ref().and_then(|change| change.before.as_ref()) {
                    items.remember_gone(object);
                }
                change
            };
            self.notify(change);
        }
        drop(turn);
        self.set_synced();
    }

    /// Says that the store is as complete as it can be.
    pub fn set_synced(&self) {
        self.synced.send_replace(true);
    }

    /// Waits until the first complete list is in.
    pub async fn wait_synced(&self) {
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    fn notify(&self, change: Option<Change<K>>) {
        let Some(change) = change else { return };
        for handler in self.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(&change);
        }
    }

    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Items<K>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Items<K>> {
        self.items.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource> Items<K> {
    fn compare(&self, object: &K, than: impl Fn(u64, u64) -> bool) -> bool {
        let known = self.objects.get(&Key::of(object)).and_then(|entry| entry.version);
        known.zip(version(object)).is_some_and(|(known, new)| than(known, new))
    }

    fn knows_newer(&self, object: &K) -> bool {
        self.compare(object, |known, new| known >= new)
    }

    fn knows_gone(&self, object: &K) -> bool {
        // Most news is about what is there, and need not be looked for among what is not.
        let there = self.objects.contains_key(&Key::of(object));
        !there && object.meta().uid.as_ref().is_some_and(|uid| self.gone.contains(uid))
    }

    fn remember_gone(&mut self, object: &K) {
        if let Some(uid) = &object.meta().uid {
            self.gone.push_back(uid.clone());
            if self.gone.len() > REMEMBERED {
                self.gone.pop_front();
            }
        }
    }

    fn knows_later(&self, object: &K) -> bool {
        self.compare(object, |known, new| known > new)
    }

    fn knows_exactly(&self, object: &K) -> bool {
        let same = self.objects.get(&Key::of(object)).is_some_and(|entry| entry.object.uid() == object.uid());
        same && self.compare(object, |known, new| known == new)
    }

    fn put(&mut self, object: Arc<K>, indexer: fn(&K) -> Vec<String>) -> Change<K> {
        let key = Key::of(&*object);
        let before = self.take(&key, indexer).and_then(|change| change.before);
        for word in indexer(&object) {
            self.index.entry(word).or_default().insert(key.clone());
        }
        self.counter += 1;
        let entry = Entry { version: version(&*object), object: object.clone(), stored: self.counter };
        self.objects.insert(key, entry);
        Change { before, after: Some(object) }
    }

    fn take(&mut self, key: &Key, indexer: fn(&K) -> Vec<String>) -> Option<Change<K>> {
        let entry = self.objects.remove(key)?;
        for word in indexer(&entry.object) {
            if let Some(keys) = self.index.get_mut(&word) {
                keys.remove(key);
                if keys.is_empty() {
                    self.index.remove(&word);
                }
            }
        }
        Some(Change { before: Some(entry.object), after: None })
    }
}

/// Resource versions are compared as numbers, which the API guarantees since Kubernetes 1.35 and which has always
/// been so. One that is no number counts as newer than everything.
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.resource_version().and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;
    use std::sync::Mutex;

    fn pod(name: &str, version: u64, node: &str) -> Pod {
        let value = json!({
            "metadata": {"namespace": "a", "name": name, "resourceVersion": version.to_string()},
            "spec": {"nodeName": node, "containers": []},
        });
        serde_json::from_value(value).unwrap()
    }

    fn store() -> Store<Pod> {
        Store::new(|pod| pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect())
    }

    fn names(store: &Store<Pod>, node: &str) -> Vec<String> {
        store.indexed(node).iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn older_news_is_no_news() {
        let store = store();
        let changes = Arc::new(Mutex::new(0));
        let seen = changes.clone();
        store.on_change(move |_| *seen.lock().unwrap() += 1);
        store.apply(pod("p", 5, "n1"));
        store.apply(pod("p", 4, "n2"));
        store.apply(pod("p", 5, "n2"));
        store.remove(&pod("p", 3, "n1"));
        assert_eq!(names(&store, "n1"), ["p"]);
        store.apply(pod("p", 6, "n2"));
        assert_eq!((names(&store, "n1"), names(&store, "n2")), (vec![], vec!["p".to_owned()]));
        store.remove(&pod("p", 7, "n2"));
        assert_eq!(store.count("n2"), 0);
        assert_eq!(*changes.lock().unwrap(), 3);
    }

    /// Otherwise it would be there for ever: nobody tells once more that it is gone.
    #[test]
    fn the_answer_to_a_write_does_not_bring_back_what_is_gone() {
        let with_uid = |uid: &str, version: u64| {
            let mut pod = pod("p", version, "n");
            pod.metadata.uid = Some(uid.to_owned());
            pod
        };
        let store = store();
        store.apply(with_uid("a", 5));
        store.remove(&with_uid("a", 7));
        store.apply(with_uid("a", 6));
        assert_eq!(store.count("n"), 0);
        // One that was never seen, and a list without it.
        store.remove(&with_uid("b", 9));
        store.apply(with_uid("b", 8));
        store.apply(with_uid("c", 10));
        store.replace(Vec::new(), store.mark());
        store.apply(with_uid("c", 10));
        assert_eq!(store.count("n"), 0);
        // Another one of that name is news, and so is what a list has.
        store.apply(with_uid("d", 11));
        assert_eq!(store.count("n"), 1);
        store.replace(vec![with_uid("a", 5)], store.mark());
        assert_eq!(store.get(&Key::of(&pod("p", 0, "n"))).unwrap().uid().as_deref(), Some("a"));
        store.apply(with_uid("a", 6));
        assert_eq!(store.get(&Key::of(&pod("p", 0, "n"))).unwrap().resource_version().as_deref(), Some("6"));
    }

    #[test]
    fn a_late_handler_hears_of_what_is_there() {
        let store = store();
        store.apply(pod("p", 1, "n"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writes = seen.clone();
        store.on_change(move |change| {
            let name = change.object().map(|pod| pod.name_any());
            writes.lock().unwrap().push((change.before.is_some(), name.unwrap()));
        });
        store.apply(pod("p", 2, "n"));
        assert_eq!(*seen.lock().unwrap(), [(false, "p".to_owned()), (true, "p".to_owned())]);
    }

    #[test]
    fn a_list_counts_even_when_a_new_server_counts_from_one() {
        let store = store();
        store.apply(pod("p", 900, "n1"));
        store.replace(vec![pod("p", 2, "n2")], store.mark());
        assert_eq!(names(&store, "n2"), ["p"]);
    }

    #[test]
    fn a_list_removes_what_it_lacks_but_not_what_was_written_meanwhile() {
        let store = store();
        store.apply(pod("old", 1, "n"));
        store.apply(pod("kept", 2, "n"));
        let mark = store.mark();
        store.apply(pod("new", 9, "n"));
        store.replace(vec![pod("kept", 2, "n"), pod("listed", 3, "n")], mark);
        assert_eq!(names(&store, "n"), ["kept", "listed", "new"]);
    }
}
