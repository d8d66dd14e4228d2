//! What the Go operator writes, an object a function. Nothing of it comes from our own operator's code: a mistake there
//! must not be repeated here.
//!
//! The shapes are those of releases 1.11 and 1.12: names, labels, selectors and overheads as the product documentation and
//! the operator's own manifests and controllers have them. What the first releases, peer pods, layered images and
//! DaemonSet mode add is in `fixtures/takeover/`.

use serde_json::{Value, json};

/// Its KataConfig, as in the documentation's examples.
pub const NAME: &str = "example-kataconfig";
/// Its namespace.
pub const NAMESPACE: &str = "openshift-sandboxed-containers-operator";
/// Its finalizer on a KataConfig.
pub const FINALIZER: &str = "kataconfiguration.openshift.io/finalizer";
/// Label of the Kata nodes.
pub const KATA_ROLE: &str = "node-role.kubernetes.io/kata-oc";
/// Label by which the agent of DaemonSet mode tells how far a node is.
pub const AGENT_LABEL: &str = "kataconfiguration.openshift.io/kata-ds-rpm-install";

/// Owned by the KataConfig, whose identity whoever creates the object fills in.
fn owner() -> Value {
    json!([{
        "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "name": NAME, "uid": "",
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// The KataConfig, all fields written out: the API server filled in the defaults.
pub fn kata_config(
    selector: &Value,
    check_node_eligibility: bool,
    log_level: &str,
    peer_pods: bool,
) -> Value {
    json!({
        "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
        "metadata": {"name": NAME, "finalizers": [FINALIZER]},
        "spec": {
            "kataConfigPoolSelector": selector, "checkNodeEligibility": check_node_eligibility,
            "logLevel": log_level, "enablePeerPods": peer_pods,
        },
    })
}

/// The machine config of the extension. Its empty fields are those that Go's types write: Ignition's structures know no
/// absence, and neither do the plain fields of the machine config.
pub fn machine_config(pool: &str, extension: &str) -> Value {
    let mut config = empty_machine_config("50-enable-sandboxed-containers-extension", pool);
    config["spec"]["extensions"] = json!([extension]);
    config
}

/// The machine config of a layered image.
pub fn image_machine_config(pool: &str) -> Value {
    let mut config = empty_machine_config("50-enable-sandboxed-containers-image", pool);
    let digest = "0000000000000000000000000000000000000000000000000000000000000003";
    config["spec"]["osImageURL"] = json!(format!("quay.io/example/rhcos-kata@sha256:{digest}"));
    config["spec"]["kernelArguments"] = json!(["kvm_intel.tdx=1", "nohibernate"]);
    config
}

fn empty_machine_config(name: &str, pool: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {
            "name": name, "labels": {"machineconfiguration.openshift.io/role": pool, "app": NAME},
        },
        "spec": {
            "baseOSExtensionsContainerImage": "",
            "config": {
                "ignition": {
                    "config": {"replace": {"verification": {}}}, "proxy": {}, "security": {"tls": {}}, "timeouts": {},
                    "version": "3.2.0",
                },
                "passwd": {}, "storage": {}, "systemd": {},
            },
            "extensions": null, "fips": false, "kernelArguments": null, "kernelType": "", "osImageURL": "",
        },
    })
}

/// The pool of the Kata nodes.
pub fn pool() -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
        "metadata": {
            "name": "kata-oc", "labels": {"pools.operator.machineconfiguration.openshift.io/kata-oc": ""},
        },
        "spec": {
            "machineConfigSelector": {"matchExpressions": [{
                "key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["kata-oc", "worker"],
            }]},
            "nodeSelector": {"matchLabels": {KATA_ROLE: ""}},
            "paused": false,
        },
    })
}

/// The log level of CRI-O.
pub fn container_runtime_config(pool: &str, log_level: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "ContainerRuntimeConfig",
        "metadata": {"name": "kata-crio-config"},
        "spec": {
            "machineConfigPoolSelector": {
                "matchLabels": {format!("pools.operator.machineconfiguration.openshift.io/{pool}"): ""},
            },
            "containerRuntimeConfig": {"logLevel": log_level},
        },
    })
}

/// A runtime class. With the check for eligibility on, its labels are among those that its nodes need.
pub fn runtime_class(name: &str, node_label: &str, check_node_eligibility: bool) -> Value {
    let (handler, cpu, memory, device) = match name {
        "kata-nvidia-gpu" => ("kata-nvidia-gpu", "1", "4096Mi", None),
        "kata-remote" => ("kata-remote", "250m", "120Mi", None),
        "kata-cc" => ("kata-tdx", "250m", "350Mi", Some("tdx.intel.com/keys")),
        "kata-cc-nvidia-gpu" => ("kata-tdx-nvidia-gpu", "250m", "350Mi", Some("tdx.intel.com/keys")),
        _ => ("kata", "250m", "350Mi", None),
    };
    let mut class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {
            "name": name, "finalizers": ["kataconfig.openshift.io/runtime-class-cleanup"], "ownerReferences": owner(),
        },
        "handler": handler,
        "overhead": {"podFixed": {"cpu": cpu, "memory": memory}},
        "scheduling": {"nodeSelector": {node_label: ""}},
    });
    if let Some(device) = device {
        class["overhead"]["podFixed"][device] = json!("1");
    }
    if check_node_eligibility && name == "kata" {
        class["scheduling"]["nodeSelector"]["feature.node.kubernetes.io/runtime.kata"] = json!("true");
    }
    class
}

/// What kata-monitor's pods may do.
pub fn scc() -> Value {
    json!({
        "apiVersion": "security.openshift.io/v1", "kind": "SecurityContextConstraints",
        "metadata": {"name": "sandboxed-containers-operator-scc", "ownerReferences": owner()},
        "allowHostDirVolumePlugin": true, "allowHostIPC": false, "allowHostNetwork": false, "allowHostPID": false,
        "allowHostPorts": false, "allowPrivilegeEscalation": false, "allowPrivilegedContainer": false,
        "allowedCapabilities": ["DAC_READ_OVERRIDE"], "defaultAddCapabilities": null, "fsGroup": {"type": "RunAsAny"},
        "groups": [], "priority": null, "readOnlyRootFilesystem": false,
        "requiredDropCapabilities": ["MKNOD", "FSETID", "KILL", "FOWNER"],
        "runAsUser": {"type": "MustRunAsNonRoot"}, "seLinuxContext": {"type": "RunAsAny"},
        "supplementalGroups": {"type": "RunAsAny"},
        "users": [format!("system:serviceaccount:{NAMESPACE}:monitor")], "volumes": ["*"],
    })
}

/// kata-monitor.
pub fn monitor(node_label: &str) -> Value {
    let name = "openshift-sandboxed-containers-monitor";
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": owner()},
        "spec": {
            "selector": {"matchLabels": {"name": name}},
            "template": {
                "metadata": {"labels": {"name": name}},
                "spec": {
                    "serviceAccountName": "monitor",
                    "nodeSelector": {node_label: ""},
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{
                        "name": "kata-monitor",
                        "image": "registry.redhat.io/openshift-sandboxed-containers/osc-monitor-rhel9@sha256:1",
                        "imagePullPolicy": "Always",
                        "command": [
                            "/usr/bin/kata-monitor", "--listen-address=:8090", "--log-level=debug",
                            "--runtime-endpoint=/run/crio/crio.sock",
                        ],
                        "securityContext": {
                            "privileged": false, "runAsUser": 1001, "runAsGroup": 1001,
                            "seLinuxOptions": {"type": "osc_monitor.process"},
                        },
                        "volumeMounts": [
                            {"name": "crio-sock", "mountPath": "/run/crio/"}, {"name": "sbs", "mountPath": "/run/vc/sbs/"},
                        ],
                    }],
                    "volumes": [
                        {"name": "crio-sock", "hostPath": {"path": "/run/crio/", "type": ""}},
                        {"name": "sbs", "hostPath": {"path": "/run/vc/sbs/", "type": ""}},
                    ],
                },
            },
        },
    })
}

/// The dashboard that was copied for the console.
pub fn dashboard() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "grafana-dashboard-sandboxed-containers", "namespace": "openshift-config-managed",
            "labels": {"console.openshift.io/dashboard": "true"},
        },
        "data": {"sandboxed-containers.json": "{}"},
    })
}

/// Its status: the one condition that it knows, the nodes by state, the classes.
pub fn status(condition: (&str, &str, &str), lists: &[(&str, Vec<String>)], classes: &[&str]) -> Value {
    let (value, reason, message) = condition;
    let count = |wanted: &[&str]| -> usize {
        lists.iter().filter(|(list, _)| wanted.contains(list)).map(|(_, nodes)| nodes.len()).sum()
    };
    let mut nodes = json!({
        "nodeCount": count(&["installed", "installing", "waitingToInstall"]), "readyNodeCount": count(&["installed"]),
    });
    for (list, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        nodes[*list] = json!(names);
    }
    json!({
        "conditions": [{
            "type": "InProgress", "status": value, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
        "kataNodes": nodes, "runtimeClasses": classes, "waitingForMcoToStart": false,
    })
}
