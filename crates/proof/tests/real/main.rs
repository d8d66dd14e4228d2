//! The operator on a real control plane: etcd and kube-apiserver with RBAC and an audit log, the operator with the rights
//! that `deploy/` gives it, and the simulated nodes and pools as clients.
//!
//! The binaries come from `KUBEBUILDER_ASSETS`, or from `hack/control-plane.sh`, which builds them once.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod rights;
mod takeover;
