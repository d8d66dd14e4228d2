//! Proofs about the whole: what no single crate can say about itself.
//!
//! Each proof is a module with a function that runs it and a report that says how much was tried and what was found.
//! `cargo xtask <proof>` runs it at full size, a test of the same name runs it smaller with `make test`.
//!
//! - [`conformance`]: the embedded server answers as a real kube-apiserver does.
//! - [`crash`]: the operator dies after every write.
//! - [`simulation`]: the operator and a cluster in simulated time, for the proofs that need thousands of runs.
//! - [`control_plane`]: a real etcd, kube-apiserver and kube-controller-manager, for the proofs that need one.

// Nothing here is shipped: a proof that cannot go on says where and stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod conformance;
pub mod control_plane;
pub mod crash;
mod parallel;
pub mod simulation;
