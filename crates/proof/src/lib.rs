//! Proofs about the whole: what no single crate can say about itself.
//!
//! Each proof is a module with a function that runs it and a report that says how much was tried and what was found.
//! `cargo xtask <proof>` runs it at full size, a test of the same name runs it smaller with `make test`.
//!
//! - [`conformance`]: the embedded server answers as a real kube-apiserver does.
//! - [`crash`]: the operator dies after every write.
//! - [`faults`]: random trouble by the thousand.
//! - [`takeover`]: what the Go operator left is gone on with.
//! - [`simulation`]: the operator and a cluster in simulated time, for the proofs that need thousands of runs.
//! - [`control_plane`]: a real etcd, kube-apiserver and kube-controller-manager, for the proofs that need one.
//! - [`explore`]: every interleaving of a small world.
//! - [`bed`]: a cluster with the operator at work on it: the embedded server or a real control plane, one as the other.
//! - [`stories`]: what people do from beginning to end, told on both.
//! - [`rights`]: what the operator may do, held against what it did in all of them.

// Nothing here is shipped: a proof that cannot go on says where and stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]
// Assertions are chained, and the last one is the end of it.
#![allow(clippy::return_self_not_must_use)]

pub mod bed;
pub mod conformance;
pub mod control_plane;
pub mod crash;
pub mod explore;
pub mod faults;
pub mod leaks;
mod parallel;
pub mod rights;
pub mod simulation;
pub mod stories;
pub mod takeover;

/// The folder of the source tree.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
