//! Peer pods: what is asked for and whether it can work, before anything is created.
//!
//! - [`shape`]: whether one value looks right.
//! - [`config`]: the settings that hold, aliases, older places and defaults included.
//! - [`check`]: everything that is missing, wrong or suspicious, in words.

pub mod check;
pub mod config;
pub mod shape;
