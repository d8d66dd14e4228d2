//! What a virtual machine of a peer pod is marked with, so that it is found again without any memory but the cloud's own.
//!
//! Tags where the cloud has tags, labels where it has labels, an element of the domain's metadata with libvirt.

/// The cluster: its identity, never its name. What the sweep goes by.
pub const CLUSTER: &str = "kata.peerpods.io/cluster";
/// The node whose adaptor asked for it.
pub const NODE: &str = "kata.peerpods.io/node";
/// Namespace of the pod.
pub const NAMESPACE: &str = "kata.peerpods.io/namespace";
/// Name of the pod.
pub const POD: &str = "kata.peerpods.io/pod";
/// UID of the pod. A pod of the same name that came later has another.
pub const POD_UID: &str = "kata.peerpods.io/pod-uid";
/// The sandbox. Each try to start a pod has another.
pub const SANDBOX: &str = "kata.peerpods.io/sandbox";

/// All of them, in the order in which they are told.
pub const ALL: [&str; 6] = [CLUSTER, NODE, NAMESPACE, POD, POD_UID, SANDBOX];
