//! Pods: the scheduler that gives them nodes and the kubelets that run them.

pub mod kubelet;
pub mod scheduler;
mod status;
