//! DaemonSet mode: an agent on every node brings Kata there, without the Machine Config Operator.
//!
//! Agent and operator talk by one label of the node:
//!
//! ```text
//!                  operator                operator          agent
//! (chosen) --> waiting_to_install --turn--> installing --> installed
//!                      ^                        |---------> waiting_for_reboot --> installed
//!                      |                        `---------> install_failed ----> (tries again by itself)
//!                      `--- agent: there is something new to install
//!
//! (to lose it) --> waiting_to_uninstall --turn--> uninstalling --> uninstalled --> (no label)
//!                                                      |---------> waiting_for_reboot, uninstall_failed
//! ```
//!
//! A turn restarts the node's container runtime, so that few nodes have one at a time. The label `kata-oc` marks the nodes
//! that are to have Kata, as it does with machine configs: the agent that installs runs where it is, the one that removes
//! where it is not and the state says that there is something to remove.

mod config;
pub mod desired;
mod install;
mod select;
mod state;
mod trouble;
mod turns;
mod uninstall;

pub use config::{AgentConfig, MaxUnavailable};
pub(crate) use desired::pull_secret;
pub use install::plan;
pub use state::{AgentState, survey};
pub(crate) use turns::is_leaving;
pub(crate) use uninstall::Removal;
