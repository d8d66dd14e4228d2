//! The embedded API server as its clients see it: through kube-rs and through `kubectl`.

// The helpers are tests as well, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crds;
mod crud;
mod deletion;
mod faults;
mod kubectl;
mod lists;
mod local;
mod metadata;
mod patches;
mod pods;
mod support;
mod watches;
mod webhook_server;
mod webhooks;
