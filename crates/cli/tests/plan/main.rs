//! `osc plan`, `osc preflight` and `osc snapshot` as a person or a script runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod guide;
mod refusals;
mod stories;
mod truth;
