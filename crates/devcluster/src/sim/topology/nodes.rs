//! Nodes, as a cluster that has been up for some hours has them.

use std::time::Duration;

use jiff::Timestamp;
use osc_api::names;
use serde_json::{Map, Value, json};

use super::machine_config::rendered;
use super::openshift::seconds;
use super::{Kind, Topology};
use crate::sim::machine_config::agent::next_boot_id;
use crate::sim::options::hex;

struct Plan<'a> {
    topology: &'a Topology,
    name: String,
    /// Position among all nodes.
    number: u32,
    control_plane: bool,
    /// The rendered config, on OpenShift.
    config: Option<&'a str>,
    now: Timestamp,
}

/// All nodes, the control plane first.
pub fn objects(topology: &Topology, now: Timestamp) -> Vec<Value> {
    let openshift = topology.is_openshift();
    let config = |role: &str| openshift.then(|| rendered(topology, role).name);
    let (master, worker) = (config(names::MASTER_POOL), config(names::WORKER_POOL));
    let masters = (0..topology.masters()).map(|index| (control_plane_name(topology, index), true));
    let workers = (0..topology.own_workers()).map(|index| (format!("worker-{index}"), false));
    masters
        .chain(workers)
        .zip(0..)
        .map(|((name, control_plane), number)| {
            let config = if control_plane { master.as_deref() } else { worker.as_deref() };
            node(&Plan { topology, name, number, control_plane, config, now })
        })
        .collect()
}

fn control_plane_name(topology: &Topology, index: u32) -> String {
    if topology.is_openshift() { format!("master-{index}") } else { format!("control-plane-{index}") }
}

fn node(plan: &Plan<'_>) -> Value {
    // Machines join one after another, half a minute apart.
    let created = plan.now - Duration::from_hours(5) - Duration::from_mins(30)
        + Duration::from_secs(30) * plan.number.min(600);
    let tainted = plan.control_plane && !plan.topology.is_converged() && plan.topology.kind != Kind::K3s;
    let key =
        if plan.topology.is_openshift() { names::MASTER_NODE_ROLE } else { names::CONTROL_PLANE_NODE_ROLE };
    let mut spec = json!({"providerID": format!("devcluster:///{}", plan.name)});
    if tainted {
        spec["taints"] = json!([{"key": key, "effect": "NoSchedule"}]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": plan.name,
            "labels": labels(plan),
            "annotations": annotations(plan),
            "creationTimestamp": seconds(created),
        },
        "spec": spec,
        "status": status(plan, created),
    })
}

fn labels(plan: &Plan<'_>) -> Map<String, Value> {
    let topology = plan.topology;
    let mut labels = Map::new();
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), json!(value));
    for (key, value) in [("arch", "amd64"), ("os", "linux")] {
        set(&format!("kubernetes.io/{key}"), value);
        set(&format!("beta.kubernetes.io/{key}"), value);
    }
    set("kubernetes.io/hostname", &plan.name);
    if topology.is_openshift() {
        set("node.openshift.io/os_id", if topology.product { "rhel" } else { "centos" });
    }
    if plan.control_plane && topology.kind == Kind::K3s {
        set(names::CONTROL_PLANE_NODE_ROLE, "true");
        set(names::MASTER_NODE_ROLE, "true");
    } else if plan.control_plane {
        set(names::CONTROL_PLANE_NODE_ROLE, "");
        if topology.is_openshift() {
            set(names::MASTER_NODE_ROLE, "");
        }
    }
    let worker = !plan.control_plane || topology.is_converged();
    if worker {
        // Plain Kubernetes gives its workers no role.
        if topology.is_openshift() {
            set(names::WORKER_NODE_ROLE, "");
        }
        for (key, value) in &topology.worker_labels {
            set(key, value);
        }
    }
    labels
}

fn annotations(plan: &Plan<'_>) -> Map<String, Value> {
    let mut annotations = Map::new();
    let mut set = |key: &str, value: &str| annotations.insert(key.to_owned(), json!(value));
    set("volumes.kubernetes.io/controller-managed-attach-detach", "true");
    if let Some(config) = plan.config {
        let single = plan.topology.kind == Kind::SingleNode;
        set(names::MCO_CURRENT_CONFIG, config);
        set(names::MCO_DESIRED_CONFIG, config);
        set(names::MCO_STATE, "Done");
        set(names::MCO_REASON, "");
        set(crate::sim::annotations::DESIRED_DRAIN, &format!("uncordon-{config}"));
        set(crate::sim::annotations::LAST_APPLIED_DRAIN, &format!("uncordon-{config}"));
        let shape = if single { "SingleReplica" } else { "HighlyAvailable" };
        set("machineconfiguration.openshift.io/controlPlaneTopology", shape);
    }
    annotations
}

fn status(plan: &Plan<'_>, created: Timestamp) -> Value {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": seconds(plan.now),
            "lastTransitionTime": seconds(created + Duration::from_secs(45)),
        })
    };
    let resources = |cpu: &str, memory: &str| {
        json!({"cpu": cpu, "memory": memory, "pods": "250", "ephemeral-storage": "125293548Ki",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0"})
    };
    let pressure = |what: &str, reason: &str| {
        let kubelet = format!("kubelet has {} available", reason.trim_start_matches("KubeletHas"));
        condition(what, "False", reason, &kubelet)
    };
    json!({
        "capacity": resources("16", "65809540Ki"),
        "allocatable": resources("15500m", "64658564Ki"),
        "addresses": [
            {"type": "InternalIP", "address": address(plan.number)},
            {"type": "Hostname", "address": plan.name},
        ],
        "conditions": [
            pressure("MemoryPressure", "KubeletHasSufficientMemory"),
            pressure("DiskPressure", "KubeletHasNoDiskPressure"),
            pressure("PIDPressure", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": node_info(plan),
    })
}

/// `10.0.0.10` and upwards.
fn address(number: u32) -> String {
    let offset = number + 10;
    format!("10.0.{}.{}", offset / 256 % 256, offset % 256)
}

fn node_info(plan: &Plan<'_>) -> Value {
    let topology = plan.topology;
    let (kubelet, runtime) = versions(topology);
    let (os_image, kernel) = match (topology.is_openshift(), topology.product) {
        (true, true) => {
            let image =
                format!("Red Hat Enterprise Linux CoreOS 9.6.{}-0 (Plow)", topology.version.replace('.', ""));
            (image, "5.14.0-570.49.1.el9_6.x86_64")
        }
        (true, false) => ("CentOS Stream CoreOS 9.0.20251010-0".to_owned(), "5.14.0-604.el9.x86_64"),
        (false, _) => ("Ubuntu 24.04.3 LTS".to_owned(), "6.8.0-85-generic"),
    };
    json!({
        "architecture": "amd64",
        "bootID": next_boot_id(0, &plan.name, "first"),
        "machineID": hex(&["machine", &plan.name], 32),
        "systemUUID": next_boot_id(0, &plan.name, "system"),
        "kernelVersion": kernel,
        "osImage": os_image,
        "operatingSystem": "linux",
        "containerRuntimeVersion": runtime,
        "kubeletVersion": kubelet,
        "kubeProxyVersion": kubelet,
    })
}

/// Versions of kubelet and container runtime. OpenShift 4.N is Kubernetes 1.(N+13), and so is its CRI-O.
fn versions(topology: &Topology) -> (String, String) {
    let numbers: Vec<u32> =
        topology.version.trim_start_matches('v').split('.').map_while(|n| n.parse().ok()).collect();
    if !topology.is_openshift() {
        return (format!("v{}", topology.version.trim_start_matches('v')), "containerd://2.1.4".to_owned());
    }
    let minor = numbers.get(1).copied().unwrap_or(19) + 13;
    (format!("v1.{minor}.9"), format!("cri-o://1.{minor}.9-2.rhaos4.{}.el9", minor - 13))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn nodes_differ_where_they_must() {
        let nodes = objects(&Topology { workers: 300, ..Topology::default() }, now());
        for path in ["/metadata/name", "/status/addresses/0/address", "/status/nodeInfo/bootID"] {
            let values: BTreeSet<_> =
                nodes.iter().map(|node| node.pointer(path).unwrap().to_string()).collect();
            assert_eq!(values.len(), nodes.len(), "{path}");
        }
        let created: Vec<_> =
            nodes.iter().map(|node| node["metadata"]["creationTimestamp"].as_str()).collect();
        assert!(created.is_sorted() && created.last().unwrap().unwrap() < "2026-01-02T03:04:05Z");
    }

    #[test]
    fn roles_and_taints_follow_the_kind_of_cluster() {
        let labels =
            BTreeMap::from([("feature.node.kubernetes.io/runtime.kata".to_owned(), "true".to_owned())]);
        let topology = Topology { worker_labels: labels, ..Topology::default() };
        let has = |node: &Value, label: &str| node["metadata"]["labels"].get(label).is_some();
        let regular = objects(&topology, now());
        assert!(has(&regular[0], names::MASTER_NODE_ROLE) && !has(&regular[0], names::WORKER_NODE_ROLE));
        assert!(
            !has(&regular[0], names::NODE_ELIGIBLE_LABEL) && has(&regular[3], names::NODE_ELIGIBLE_LABEL)
        );
        assert!(regular[0]["spec"]["taints"].is_array() && regular[3]["spec"]["taints"].is_null());
        let compact = objects(&Topology { kind: Kind::Compact, ..topology.clone() }, now());
        assert!(has(&compact[0], names::MASTER_NODE_ROLE) && has(&compact[0], names::WORKER_NODE_ROLE));
        assert!(compact[0]["spec"]["taints"].is_null() && has(&compact[0], names::NODE_ELIGIBLE_LABEL));
        let plain =
            objects(&Topology { kind: Kind::PlainKubernetes, version: "1.32.5".into(), ..topology }, now());
        assert_eq!(plain[0]["metadata"]["name"], "control-plane-0");
        assert_eq!(plain[3]["status"]["nodeInfo"]["kubeletVersion"], "v1.32.5");
        assert_eq!(regular[0]["status"]["nodeInfo"]["kubeletVersion"], "v1.32.9");
    }
}
