//! What the adaptor of peer pods and the jobs that make pod VM images may do in the cluster.
//!
//! The adaptor reads what a pod's image is pulled with, and writes down which virtual machines it made. How many a node may
//! have is the operator's to say. The jobs may do nothing: they say at their end what they made.

use osc_api::peerpods::{ADAPTOR_SERVICE_ACCOUNT, IMAGE_SERVICE_ACCOUNT};
use serde_json::{Value, json};

/// Both ServiceAccounts. Only the adaptor has use for its token.
pub fn service_accounts(namespace: &str) -> [Value; 2] {
    let account = |name: &str, token: bool| {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
            "automountServiceAccountToken": token,
        })
    };
    [account(ADAPTOR_SERVICE_ACCOUNT, true), account(IMAGE_SERVICE_ACCOUNT, false)]
}

/// What the adaptor may do, and that it may.
pub fn roles(namespace: &str) -> [Value; 2] {
    let name = ADAPTOR_SERVICE_ACCOUNT;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            // Whose sandbox it is, and whether pods came back after a restart.
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            // The owner of a PeerPod is its pod, which it keeps from going first.
            {"apiGroups": [""], "resources": ["pods/finalizers"], "verbs": ["update"]},
            // What the images of a pod are pulled with, in the pod's own namespace.
            {"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": ["get"]},
            {
                "apiGroups": ["confidentialcontainers.org"],
                "resources": ["peerpods"],
                "verbs": ["create", "get", "list", "patch", "update"],
            },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    });
    [role, binding]
}
