//! The operator against the embedded cluster: over HTTP, as in a real one.

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
