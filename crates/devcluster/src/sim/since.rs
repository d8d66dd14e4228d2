//! Remembers how long something has been in the phase it is in.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// For each key its phase and when that began. A simulation that is started anew starts every phase anew.
pub struct Since<K, P>(Mutex<HashMap<K, (P, Timestamp)>>);

impl<K: Eq + Hash, P: PartialEq> Since<K, P> {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// How long `key` has been in `phase`; nothing if it was in another one until now.
    pub fn elapsed(&self, key: K, phase: P, now: Timestamp) -> Duration {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.get(&key) {
            Some((known, since)) if *known == phase => {
                Duration::try_from(now.duration_since(*since)).unwrap_or_default()
            }
            _ => {
                map.insert(key, (phase, now));
                Duration::ZERO
            }
        }
    }

    /// Forgets a key.
    pub fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_phase_starts_at_nothing() {
        let since = Since::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(since.elapsed("n", 1, at(10)), Duration::ZERO);
        assert_eq!(since.elapsed("n", 1, at(15)), Duration::from_secs(5));
        assert_eq!(since.elapsed("n", 2, at(20)), Duration::ZERO);
        // A clock that was set back is no reason to fail.
        assert_eq!(since.elapsed("n", 2, at(3)), Duration::ZERO);
        since.forget(&"n");
        assert_eq!(since.elapsed("n", 2, at(30)), Duration::ZERO);
    }
}
