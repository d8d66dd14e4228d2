//! The embedded API server as its clients see it: through kube-rs and through `kubectl`.

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
