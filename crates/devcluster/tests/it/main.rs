//! The embedded API server as its clients see it: through kube-rs and through `kubectl`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail like tests"
)]

mod crds;
mod crud;
mod deletion;
mod faults;
mod kubectl;
mod lists;
mod metadata;
mod patches;
mod pods;
mod support;
mod watches;
