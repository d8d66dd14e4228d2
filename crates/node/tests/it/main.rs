//! The agent on hosts that are folders, with the real containerd and rpm of this machine, and an embedded API server.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod containerd;
mod crash;
mod download;
mod failures;
mod ostree;
mod packages;
mod rancher;
mod scratch;
