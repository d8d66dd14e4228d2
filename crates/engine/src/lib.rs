//! The decisions: pure functions from an observed cluster to a plan. No I/O, no clock, no async.
//!
//! ```text
//! watch caches --snapshot--> Observed --decide()--> Plan { steps, wake_at } --apply--> cluster
//! ```
//!
//! [`decide()`] is total and deterministic. Its steps are ordered and each is idempotent: stopping after any prefix
//! leaves a cluster from which the next [`decide()`] continues. On a converged cluster the plan is empty.
//!
//! Where to look for what:
//!
//! - [`observed`], [`object`]: what the shell tells the engine; [`plan`]: what the engine tells the shell.
//! - [`spec`], [`selector`]: from the wire's KataConfig to one that can be relied on, or to words about what is
//!   wrong with it.
//! - [`labels`]: which labels of nodes can matter at all.
//! - [`layout`]: regular or converged cluster, which pool, which nodes are to have Kata.
//! - [`gates`], [`mode`]: what the feature gates say, and how Kata comes to the nodes.
//! - [`delivery`], [`runtime_class`]: what another operator chose and made, and what of it is ours.
//! - [`nodes`]: how far each node is. [`trouble`]: what keeps a rollout from going on.
//! - [`desired`]: the objects that we own, as they should be.
//! - [`install`], [`uninstall`]: the two directions; [`agent`]: the same by node agents. [`status`]: what is told about it.
//! - [`catalog`], [`offer`], [`workload`]: the runtime classes that there can be, which of them are to be there, and
//!   what else pods need.
//! - [`peerpods`]: the settings of peer pods. [`quantity`]: what Kubernetes writes of CPU and memory.

pub mod agent;
pub mod catalog;
pub mod decide;
pub mod delivery;
pub mod desired;
pub mod gates;
pub mod install;
pub mod labels;
pub mod layout;
pub mod mode;
pub mod nodes;
pub mod object;
pub mod observed;
pub mod offer;
pub mod peerpods;
pub mod plan;
pub mod quantity;
pub mod runtime_class;
pub mod security;
pub mod selector;
pub mod spec;
pub mod status;
pub mod trouble;
pub mod uninstall;
pub mod workload;

pub use decide::{Precedence, decide};
pub use object::{Kind, ObjectId};
pub use observed::{Capabilities, KataConfigView, NodeView, Observed, PodView, PoolView, Rendered, Settings};
pub use plan::{Event, EventKind, Plan, Step};
