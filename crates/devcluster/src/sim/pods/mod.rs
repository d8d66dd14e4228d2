//! Pods: the scheduler that gives them nodes and the kubelets that run them.

pub mod allocatable;
pub mod kubelet;
pub mod scheduler;
pub mod sources;
pub mod stage;
mod status;
pub mod step;
