//! Who may do what on the nodes and in the network, and what is asked at the door: the objects behind it, as they should
//! be.
//!
//! Nothing here depends on a KataConfig, so that all of it is part of `deploy/`, with two exceptions: the
//! SecurityContextConstraints of the node agent, which are there only in DaemonSet mode on OpenShift, and the memory
//! overhead webhook, which is there only when it is asked for.
//!
//! - [`node_agent`]: what the node agent of DaemonSet mode may do.
//! - [`peer_pods`]: what the adaptor of peer pods and the jobs that make their images may do.
//! - [`network`]: who may talk to whom.
//! - [`webhooks`]: which questions the API server asks.

pub mod network;
pub mod node_agent;
pub mod peer_pods;
pub mod webhooks;

use serde_json::{Value, json};

/// The operator's namespace: its labels say that pods with host paths (kata-monitor) and privileged ones (the node agent)
/// may run there. Pod Security knows one level for a namespace, and both need the most permissive.
pub fn namespace_labels() -> Value {
    json!({
        "openshift.io/cluster-monitoring": "true",
        "pod-security.kubernetes.io/enforce": "privileged",
        "pod-security.kubernetes.io/audit": "privileged",
        "pod-security.kubernetes.io/warn": "privileged",
    })
}
