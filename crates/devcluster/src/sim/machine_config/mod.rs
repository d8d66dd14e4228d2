//! The Machine Config Operator: renders configs for pools, hands them to nodes a few at a time, and plays the
//! daemon that installs them on each node.
//!
//! ```text
//! MachineConfig, ContainerRuntimeConfig          MachineConfigPool                Node
//!        │ container_runtime, render                   │ pool                      │ daemon
//!        └──▶ rendered-<pool>-<hash> ──▶ spec.configuration ──▶ desiredConfig ──▶ Working: cordon, drain,
//!                                                                reboot ──▶ currentConfig, Done, uncordon
//!                                              status ◀── counts, conditions ◀──┘
//! ```

pub mod agent;
pub mod container_runtime;
pub mod daemon;
mod drain;
pub mod membership;
pub mod node_view;
pub mod pool;
pub mod pool_status;
pub mod render;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Errors of rendering, by pool: the pool's status tells them. Written by [`render`], read by [`pool`].
#[derive(Default)]
pub struct RenderErrors(Mutex<HashMap<String, String>>);

impl RenderErrors {
    /// Remembers or forgets the error of a pool; says whether that was news.
    pub fn set(&self, pool: &str, error: Option<String>) -> bool {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.get(pool) == error.as_ref() {
            return false;
        }
        match error {
            Some(error) => map.insert(pool.to_owned(), error),
            None => map.remove(pool),
        };
        true
    }

    /// The error of a pool.
    pub fn get(&self, pool: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned()
    }
}

/// Labels, or none.
fn labels_of(labels: Option<&BTreeMap<String, String>>) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    labels.unwrap_or(&NONE)
}
