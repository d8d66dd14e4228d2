//! The simulated controllers against the embedded API server, in fast simulated time.

// The helpers are tests as well, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod faults;
mod jobs;
mod peerpods;
mod programs;
mod rollout;
mod scale;
mod service_ca;
mod workloads;
