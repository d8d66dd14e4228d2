//! Peer pods from a config map to nothing: the real operator and the real webhook on an embedded cluster, with a cloud in
//! memory.

// The helpers are tests as well, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain;
mod world;
