//! The node agent of DaemonSet mode, `osc-node`: makes one host able to run Kata, and takes all of it back.
//!
//! ```text
//!  Node label --> agent --> work --> steps (pure): what comes next, from what the host is like
//!     ^            |          |
//!     +-- report --+          +--> payload   packages or a static bundle
//!                             +--> runtime   configuration and restart of CRI-O or containerd
//!                             +--> journal   every file that was written, and what was there before
//!                             +--> host      the only way to read and change the node
//! ```

pub mod addon;
pub mod agent;
pub mod cri;
pub mod digest;
pub mod error;
pub mod exec;
pub mod handlers;
pub mod host;
pub mod journal;
pub mod lock;
pub mod node;
pub mod payload;
pub mod platform;
pub mod runtime;
pub mod settings;
pub mod state;
pub mod steps;
pub mod work;

pub use error::{Error, Result};
