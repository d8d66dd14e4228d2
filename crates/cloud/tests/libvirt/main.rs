//! Pod VMs on the real libvirt: each test has a host of its own, in namespaces, with emulated machines.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failures;
mod host;
mod image;
mod machines;
mod ssh;
mod storage;
