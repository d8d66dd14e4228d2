//! The operator's namespace, its ServiceAccounts and its Deployment.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use osc_api::{names, peerpods};
use osc_engine::security::namespace_labels;
use osc_engine::security::network::OPERATOR_METRICS_PORT;
use osc_engine::security::webhooks;
use serde_json::{Value, json};

use super::{
    ADAPTOR_IMAGE, AGENT_IMAGE, IMAGE_TOOL_IMAGE, MONITOR_IMAGE, OPERATOR_IMAGE, POD_VM_IMAGE, WEBHOOK_IMAGE,
    image, typed,
};

/// Name of the Deployment; the Go operator's, so that one replaces the other.
pub const DEPLOYMENT: &str = "controller-manager";
/// Label of the operator's pods.
pub const POD_LABEL: (&str, &str) = ("control-plane", "controller-manager");
/// Port of health and metrics.
pub const METRICS_PORT: u16 = OPERATOR_METRICS_PORT;
/// Name of that port.
pub const METRICS_PORT_NAME: &str = "metrics";
/// Volume with the certificate of the webhooks.
const CERTIFICATE_VOLUME: &str = "webhook-certificate";

/// The namespace, with the labels that the operator sees to afterwards.
pub fn namespace() -> anyhow::Result<Value> {
    let labels = namespace_labels();
    typed::<Namespace>(json!({"metadata": {"name": names::OPERATOR_NAMESPACE, "labels": labels}}))
}

/// Neither mounts a token by itself: the operator's pod asks for its own, kata-monitor needs none.
pub fn service_accounts() -> anyhow::Result<Vec<Value>> {
    [names::OPERATOR_NAME, names::MONITOR_SERVICE_ACCOUNT]
        .into_iter()
        .map(|name| {
            typed::<ServiceAccount>(json!({
                "metadata": {"name": name, "namespace": names::OPERATOR_NAMESPACE},
                "automountServiceAccountToken": false,
            }))
        })
        .collect()
}

/// The operator.
pub fn deployment() -> anyhow::Result<Value> {
    let labels = json!({(POD_LABEL.0): POD_LABEL.1});
    typed::<Deployment>(json!({
        "metadata": {"name": DEPLOYMENT, "namespace": names::OPERATOR_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            // Never two at a time, even for a moment; the Lease would hold the second one back anyway.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"kubectl.kubernetes.io/default-container": "manager"},
                },
                "spec": {
                    "serviceAccountName": names::OPERATOR_NAME,
                    "automountServiceAccountToken": true,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "tolerations": tolerations(),
                    "containers": [container()],
                    // OpenShift's service CA fills it; elsewhere it stays empty, and the operator has an authority of
                    // its own.
                    // The others are for clouds: the key for a KVM host, and the token by which a cloud knows the cluster.
                    "volumes": [
                        {
                            "name": CERTIFICATE_VOLUME,
                            "secret": {"secretName": webhooks::CERTIFICATE_SECRET, "optional": true},
                        },
                        {
                            "name": "ssh",
                            "secret": {"secretName": peerpods::SSH_KEYS, "optional": true, "defaultMode": 0o444},
                        },
                        {
                            "name": "bound-sa-token",
                            "projected": {"sources": [{"serviceAccountToken": {
                                "audience": "openshift", "path": "token", "expirationSeconds": 3600,
                            }}]},
                        },
                    ],
                },
            },
        },
    }))
}

/// The operator runs on control-plane nodes, too, and leaves a node that is gone soon: it has nodes to care for.
fn tolerations() -> Value {
    json!([
        {"key": names::MASTER_NODE_ROLE, "operator": "Exists", "effect": "NoSchedule"},
        {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 120,
        },
        {
            "key": "node.kubernetes.io/not-ready",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 120,
        },
        {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    ])
}

fn container() -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    json!({
        "name": "manager",
        "image": image(OPERATOR_IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/osc-operator"],
        "args": [
            "--leader-elect",
            format!("--metrics-bind-address=0.0.0.0:{METRICS_PORT}"),
            format!("--webhook-bind-address=0.0.0.0:{}", webhooks::PORT),
        ],
        // SANDBOXED_CONTAINERS_EXTENSION is left out on purpose: the cluster's release tells the extension.
        "env": [
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_NAME", "metadata.name"),
            {"name": "RELATED_IMAGE_KATA_MONITOR", "value": image(MONITOR_IMAGE)},
            {"name": "RELATED_IMAGE_NODE_AGENT", "value": image(AGENT_IMAGE)},
            {"name": "RELATED_IMAGE_CAA", "value": image(ADAPTOR_IMAGE)},
            {"name": "RELATED_IMAGE_PEERPODS_WEBHOOK", "value": image(WEBHOOK_IMAGE)},
            {"name": "RELATED_IMAGE_PODVM_BUILDER", "value": image(IMAGE_TOOL_IMAGE)},
            {"name": "RELATED_IMAGE_PODVM_OCI", "value": image(POD_VM_IMAGE)},
        ],
        "ports": [
            {"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT, "protocol": "TCP"},
            {"name": webhooks::PORT_NAME, "containerPort": webhooks::PORT, "protocol": "TCP"},
        ],
        "volumeMounts": [
            {"name": CERTIFICATE_VOLUME, "mountPath": webhooks::CERTIFICATE_DIRECTORY, "readOnly": true},
            {"name": "ssh", "mountPath": "/root/.ssh/", "readOnly": true},
            {"name": "bound-sa-token", "mountPath": peerpods::TOKEN_DIRECTORY, "readOnly": true},
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": METRICS_PORT_NAME},
            "initialDelaySeconds": 15,
            "periodSeconds": 20,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": METRICS_PORT_NAME},
            "initialDelaySeconds": 5,
            "periodSeconds": 10,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "40Mi"},
            "limits": {"cpu": "200m", "memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
        },
    })
}
