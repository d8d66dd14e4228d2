//! An embedded Kubernetes API server with a simulated OpenShift, for demos, plans and tests.
//!
//! It keeps everything in memory, starts in milliseconds and is no product feature for production. Three rooms:
//!
//! - [`object`]: what can be said about one JSON object without a server: selectors, patches, structural schemas,
//!   field ownership.
//! - [`server`]: the HTTP server: storage, watches, verbs, discovery, tables, faults, the request log.
//! - [`sim`]: simulated controllers (machine-config pools, DaemonSets, nodes, pods). Ordinary API clients, so they
//!   also run against a real API server.

pub mod clock;
pub mod cluster;
pub mod object;
pub mod server;
pub mod sim;

pub use clock::Clock;
pub use cluster::{Cluster, ClusterConfig, Contents};
