//! The operator against the embedded cluster: over HTTP, as in a real one.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod events;
mod faults;
mod golden;
mod kubectl;
mod leader;
mod observability;
mod refusals;
mod steady;
mod stories;
