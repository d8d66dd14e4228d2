//! Objects of one watch, by key, each with the version it was read at.

use std::collections::BTreeMap;

/// The version of an object whose version is no number: what comes later counts as newer.
pub const UNKNOWN_VERSION: u64 = u64::MAX;

/// What a watch told so far.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    items: BTreeMap<K, (u64, V)>,
    /// Versions at which objects went, so that a late answer to an older write does not bring them back.
    gone: BTreeMap<K, u64>,
    /// A list that is being received.
    incoming: Option<BTreeMap<K, (u64, V)>>,
    synced: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), gone: BTreeMap::new(), incoming: None, synced: false }
    }
}

impl<K: Ord + Clone, V: PartialEq> Table<K, V> {
    /// Whether the first list has been received whole.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// The object.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.items.get(key).map(|(_, value)| value)
    }

    /// All objects, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.items.iter().map(|(key, (_, value))| (key, value))
    }

    /// Looks at every object in another way.
    pub fn for_each(&mut self, change: impl FnMut(&mut V)) {
        let incoming = self.incoming.iter_mut().flat_map(BTreeMap::values_mut);
        self.items.values_mut().chain(incoming).map(|(_, value)| value).for_each(change);
    }

    /// Takes in an object unless what is held is newer. True if that changed something.
    pub fn put(&mut self, key: K, version: u64, value: V) -> bool {
        let newest = self.items.get(&key).map(|(held, _)| *held).max(self.gone.get(&key).copied());
        if version != UNKNOWN_VERSION && newest.is_some_and(|held| held >= version) {
            return false;
        }
        self.gone.remove(&key);
        let news = self.items.get(&key).is_none_or(|(_, held)| *held != value);
        self.items.insert(key, (version, value));
        news
    }

    /// Takes out an object unless what is held is newer. True if it was there.
    pub fn remove(&mut self, key: &K, version: u64) -> bool {
        let newer = |(held, _): &(u64, V)| *held > version && *held != UNKNOWN_VERSION;
        if self.items.get(key).is_some_and(newer) {
            return false;
        }
        self.gone.insert(key.clone(), version);
        self.items.remove(key).is_some()
    }

    /// A list begins.
    pub fn begin(&mut self) {
        self.incoming = Some(BTreeMap::new());
    }

    /// The list goes on.
    pub fn receive(&mut self, key: K, version: u64, value: V) {
        if let Some(incoming) = &mut self.incoming {
            incoming.insert(key, (version, value));
        }
    }

    /// The list is complete and replaces what was held. True if that changed something, or is the first.
    pub fn finish(&mut self) -> bool {
        let Some(incoming) = self.incoming.take() else { return false };
        let same = incoming.len() == self.items.len()
            && incoming
                .iter()
                .zip(&self.items)
                .all(|((key, (_, value)), (held, (_, other)))| key == held && value == other);
        let changed = !same || !self.synced;
        self.items = incoming;
        self.gone.clear();
        self.synced = true;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_does_not_undo_a_newer_write() {
        let mut table = Table::default();
        assert!(table.put("node", 7, "new"));
        assert!(!table.put("node", 6, "old"));
        assert_eq!(table.get(&"node"), Some(&"new"));
    }

    #[test]
    fn an_object_that_went_does_not_come_back_with_an_older_version() {
        let mut table = Table::default();
        table.put("pool", 3, 1);
        assert!(table.remove(&"pool", 5));
        assert!(!table.put("pool", 4, 1));
        assert!(table.put("pool", 6, 1));
    }

    #[test]
    fn without_numbers_the_last_one_counts() {
        let mut table = Table::default();
        assert!(table.put("node", UNKNOWN_VERSION, 1) && table.put("node", UNKNOWN_VERSION, 2));
        assert_eq!(table.get(&"node"), Some(&2));
        assert!(table.remove(&"node", UNKNOWN_VERSION));
        assert!(table.put("node", UNKNOWN_VERSION, 3));
    }

    #[test]
    fn a_change_that_is_none_is_not_news() {
        let mut table = Table::default();
        table.put("node", 1, "same");
        assert!(!table.put("node", 2, "same"));
    }

    #[test]
    fn a_list_replaces_what_was_held_only_when_it_is_complete() {
        let mut table = Table::default();
        table.put("old", 1, 1);
        table.begin();
        table.receive("new", 2, 2);
        assert_eq!((table.get(&"old"), table.get(&"new"), table.synced()), (Some(&1), None, false));
        assert!(table.finish());
        assert_eq!((table.get(&"old"), table.get(&"new"), table.synced()), (None, Some(&2), true));
    }

    #[test]
    fn the_same_list_again_is_not_news() {
        let mut table = Table::default();
        for expected in [true, false] {
            table.begin();
            table.receive("node", 2, 2);
            assert_eq!(table.finish(), expected);
        }
    }
}
