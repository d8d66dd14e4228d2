//! Peer pods: what people set, what holds of it, what is wrong with it, and the way from there to pods whose virtual
//! machines run elsewhere, and back.
//!
//! ```text
//! settings checked -> credentials -> limit -> pod VM image (a job) -> webhook -> adaptor on each node
//!   -> room told on each node -> runtime class kata-remote
//! ```
//!
//! - [`config`]: which value holds, under which spelling and from which object. [`check`]: what is missing, wrong or
//!   suspicious. [`shape`]: what single values have to look like.
//! - [`situation`]: all of that read from the cluster. [`progress`]: what one look comes to.
//! - [`credentials`], [`limit`], [`image`] with [`job`] and [`conditions`], [`webhook`], [`adaptor`], [`capacity`]: the
//!   parts, each the way there and the way back. [`tls`], [`digest`], [`identity`]: what several of them need.
//! - [`install`], [`removal`]: their order. [`release`]: what becomes of a PeerPod whose pod is gone.

pub mod adaptor;
pub mod capacity;
pub mod check;
pub mod conditions;
pub mod config;
pub mod credentials;
pub mod digest;
pub mod identity;
pub mod image;
pub mod install;
pub mod job;
pub mod limit;
pub mod progress;
pub mod release;
pub mod removal;
pub mod shape;
pub mod situation;
pub mod tls;
pub mod webhook;

pub use conditions::{ImageCondition, ImageNews};
pub use progress::Progress;
