//! What the node agent of DaemonSet mode may do: change two things about the node that it runs on.
//!
//! RBAC cannot tell nodes apart by who asks. Where the cluster serves ValidatingAdmissionPolicies (Kubernetes 1.30, which
//! also puts the node's name into the tokens of ServiceAccounts), one of them does: an agent whose node was taken over
//! cannot relabel another one.

use osc_api::names;
use serde_json::{Value, json};

/// ServiceAccount, ClusterRole and binding of the node agent.
pub const NAME: &str = names::AGENT_SERVICE_ACCOUNT;
/// SecurityContextConstraints of the node agent.
pub const SCC: &str = names::AGENT_SCC;
/// Policy that keeps an agent to its node.
pub const POLICY: &str = "kata-install-own-node";
/// Where a token says on which node its pod runs.
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";

fn user(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{NAME}")
}

/// The SecurityContextConstraints of the node agent. For DaemonSet mode on OpenShift only.
///
/// `projected` is for the token of the ServiceAccount, which Kubernetes mounts by such a volume.
pub fn scc(namespace: &str) -> Value {
    json!({
        "apiVersion": "security.openshift.io/v1",
        "kind": "SecurityContextConstraints",
        "metadata": {"name": SCC},
        "allowHostDirVolumePlugin": true,
        "allowHostIPC": false,
        "allowHostNetwork": false,
        "allowHostPID": true,
        "allowHostPorts": false,
        "allowPrivilegeEscalation": true,
        "allowPrivilegedContainer": true,
        "readOnlyRootFilesystem": false,
        "runAsUser": {"type": "RunAsAny"},
        "seLinuxContext": {"type": "RunAsAny"},
        "users": [user(namespace)],
        "volumes": ["configMap", "hostPath", "projected", "secret"],
    })
}

/// The ServiceAccount. Only the node agent runs under it, and needs its token.
pub fn service_account(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}})
}

/// What it may do, and that it may.
pub fn roles(namespace: &str) -> [Value; 2] {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": NAME},
        "rules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    });
    [role, binding]
}

/// A rule of the policy, and what is said when it does not hold.
struct Rule {
    expression: String,
    message: &'static str,
}

/// A field of an object, or what is put in its place where there is none.
fn field(object: &str, path: &str, otherwise: &str) -> String {
    format!("(has({object}.{path}) ? {object}.{path} : {otherwise})")
}

/// Both maps are the same but for these keys.
fn same_but(path: &str, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    let keys = keys.join(", ");
    let (new, old) = (field("object", path, "{}"), field("oldObject", path, "{}"));
    format!(
        "{new}.all(key, key in [{keys}] || (key in {old} && {new}[key] == {old}[key])) && \
         {old}.all(key, key in [{keys}] || key in {new})"
    )
}

fn same(path: &str, otherwise: &str) -> String {
    format!("{} == {}", field("object", path, otherwise), field("oldObject", path, otherwise))
}

fn rules() -> Vec<Rule> {
    vec![
        Rule {
            expression: format!(
                "has(request.userInfo.extra) && '{NODE_CLAIM}' in request.userInfo.extra && \
                 request.userInfo.extra['{NODE_CLAIM}'].size() == 1 && \
                 request.userInfo.extra['{NODE_CLAIM}'][0] == request.name"
            ),
            message: "the node agent may change only the node that it runs on, with the token of its pod",
        },
        Rule {
            expression: same_but("metadata.labels", &[names::DAEMON_SET_MODE_LABEL]),
            message: "the node agent may change only one label: kataconfiguration.openshift.io/kata-ds-rpm-install",
        },
        Rule {
            expression: same_but("metadata.annotations", &[names::AGENT_FAILURE, names::AGENT_VERSION]),
            message: "the node agent may change only two annotations: \
                      kataconfiguration.openshift.io/kata-ds-rpm-install-failure and \
                      kataconfiguration.openshift.io/kata-ds-version",
        },
        Rule {
            expression: format!(
                "{} && {} && {}",
                same("spec", "{}"),
                same("metadata.finalizers", "[]"),
                same("metadata.ownerReferences", "[]")
            ),
            message: "the node agent may change nothing of a node but a label and two annotations",
        },
    ]
}

/// The policy that keeps an agent to its node, and its binding.
pub fn own_node(namespace: &str) -> [Value; 2] {
    let validations: Vec<Value> = rules()
        .iter()
        .map(|rule| json!({"expression": rule.expression, "message": rule.message, "reason": "Forbidden"}))
        .collect();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["nodes", "nodes/status"],
            }]},
            "matchConditions": [{
                "name": "asked-by-the-node-agent",
                "expression": format!("request.userInfo.username == '{}'", user(namespace)),
            }],
            "validations": validations,
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

#[cfg(test)]
#[path = "node_agent_tests.rs"]
mod tests;
