//! What can be said about one JSON object without a server: selectors, patches, structural schemas, field ownership.
//!
//! Everything here is a pure function on [`serde_json::Value`]: no I/O, no clock, no async. Input is what clients sent,
//! so a bad shape becomes an error, or is ignored where a Kubernetes API server ignores it; it never panics.

pub mod ownership;
pub mod patch;
pub mod schema;
pub mod selector;
pub mod topology;
