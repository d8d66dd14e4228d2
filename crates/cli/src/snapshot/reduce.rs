//! What of an object is kept: names and numbers that a plan needs, and nothing that anybody would mind to hand on.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::kinds::Kind;

/// Turns contents into fingerprints: equal contents have equal ones within one snapshot, and since nobody keeps the
/// salt, contents cannot be guessed from them.
pub struct Fingerprints {
    salt: [u8; 16],
}

impl Fingerprints {
    /// With a salt of its own.
    pub fn new() -> Self {
        Self { salt: uuid::Uuid::new_v4().into_bytes() }
    }

    fn of(&self, content: &Value) -> String {
        let digest = Sha256::new().chain_update(self.salt).chain_update(canonical(content)).finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        format!("fingerprint:{}", uuid::Uuid::from_bytes(half).simple())
    }
}

/// JSON with sorted keys, whatever order the map type keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> =
                map.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        leaf => leaf.to_string(),
    }
}

/// Whether a machine config is the result of others, not a source.
pub fn is_rendered(name: &str) -> bool {
    name.starts_with("rendered-")
}

/// The object with what is kept of it.
pub fn reduce(kind: &Kind, object: &Value, fingerprints: &Fingerprints) -> Value {
    let mut kept = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name,
        "metadata": metadata(&object["metadata"]),
    });
    let (spec, status) = (&object["spec"], &object["status"]);
    match kind.name {
        "Node" => {
            kept["spec"] = pick(spec, &["unschedulable", "taints"]);
            kept["status"] = node_status(status);
        }
        "Pod" => {
            kept["spec"] = pod_spec(spec);
            kept["status"] = pick(status, &["phase"]);
            kept["status"]["conditions"] = conditions(status, &["Ready"]);
        }
        "MachineConfig" => kept["spec"] = machine_config(object, fingerprints),
        "ClusterVersion" => {
            kept["spec"] = json!({});
            kept["status"] = pick(status, &["desired"]);
        }
        "Infrastructure" => {
            kept["spec"] = json!({});
            kept["status"] = pick(status, &["platform", "controlPlaneTopology", "infrastructureTopology"]);
        }
        "VirtualMachineInstance" => {
            kept["spec"] = pick(spec, &["evictionStrategy"]);
            kept["status"] = pick(status, &["nodeName", "phase"]);
            kept["status"]["conditions"] = conditions(status, &["LiveMigratable", "Ready"]);
        }
        "CustomResourceDefinition" => kept["spec"] = pick(spec, &["group", "names", "scope"]),
        "Namespace" => {}
        _ => {
            let others = object.as_object().into_iter().flatten();
            for (field, value) in others.filter(|(field, _)| !kept_already(field)) {
                kept[field] = value.clone();
            }
        }
    }
    kept
}

fn kept_already(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind" | "metadata")
}

/// Only these annotations: others carry whatever people put there, such as the last applied configuration.
const ANNOTATIONS: [&str; 3] = [
    "machineconfiguration.openshift.io/",
    "kubernetes.io/config.mirror",
    "kataconfiguration.openshift.io/kata-ds-",
];

fn metadata(metadata: &Value) -> Value {
    let mut kept = pick(
        metadata,
        &[
            "name",
            "namespace",
            "labels",
            "ownerReferences",
            "finalizers",
            "uid",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
        ],
    );
    let annotations: Map<String, Value> = metadata["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !annotations.is_empty() {
        kept["annotations"] = Value::Object(annotations);
    }
    kept
}

/// The fields of that name, where there are any.
fn pick(object: &Value, fields: &[&str]) -> Value {
    let present = fields.iter().filter_map(|&field| Some((field.to_owned(), object.get(field)?.clone())));
    Value::Object(present.filter(|(_, value)| !value.is_null()).collect())
}

fn conditions(status: &Value, types: &[&str]) -> Value {
    let all = status["conditions"].as_array().into_iter().flatten();
    let wanted = all.filter(|condition| types.iter().any(|&type_| condition["type"] == type_));
    wanted
        .map(|condition| pick(condition, &["type", "status", "reason", "message", "lastTransitionTime"]))
        .collect()
}

fn node_status(status: &Value) -> Value {
    let mut kept = json!({"conditions": conditions(status, &["Ready"])});
    kept["allocatable"] = pick(&status["allocatable"], &["cpu", "memory", "pods"]);
    kept["nodeInfo"] = status["nodeInfo"].clone();
    for identity in ["machineID", "systemUUID"] {
        if kept["nodeInfo"].get(identity).is_some() {
            kept["nodeInfo"][identity] = json!("");
        }
    }
    kept
}

fn pod_spec(spec: &Value) -> Value {
    let mut kept = pick(
        spec,
        &[
            "nodeName",
            "runtimeClassName",
            "nodeSelector",
            "tolerations",
            "overhead",
            "terminationGracePeriodSeconds",
        ],
    );
    if let Some(affinity) = spec["affinity"].get("nodeAffinity") {
        kept["affinity"] = json!({"nodeAffinity": affinity});
    }
    for containers in ["containers", "initContainers"] {
        let Some(list) = spec[containers].as_array() else { continue };
        kept[containers] = list.iter().map(container).collect();
    }
    kept
}

fn container(container: &Value) -> Value {
    let mut kept = pick(container, &["name", "restartPolicy"]);
    // An API server takes no container without an image; which one does not matter.
    kept["image"] = json!("-");
    kept["resources"] = pick(&container["resources"], &["requests"]);
    kept
}

/// Contents become fingerprints, file by file and unit by unit, so that what differs still differs and what replaces
/// something still replaces it. Of a rendered config nothing is kept but what is read of it.
fn machine_config(object: &Value, fingerprints: &Fingerprints) -> Value {
    let spec = &object["spec"];
    let mut kept = pick(spec, &["extensions", "kernelArguments", "kernelType", "osImageURL", "fips"]);
    if is_rendered(object["metadata"]["name"].as_str().unwrap_or_default()) {
        return kept;
    }
    let mut config = Map::new();
    for (section, value) in spec["config"].as_object().into_iter().flatten() {
        let reduced = match section.as_str() {
            "ignition" => pick(value, &["version"]),
            "storage" => json!({"files": entries(&value["files"], "path", fingerprints)}),
            "systemd" => json!({"units": entries(&value["units"], "name", fingerprints)}),
            _ => json!(fingerprints.of(value)),
        };
        config.insert(section.clone(), reduced);
    }
    if !config.is_empty() {
        kept["config"] = Value::Object(config);
    }
    kept
}

fn entries(list: &Value, key: &str, fingerprints: &Fingerprints) -> Value {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| json!({key: entry[key], "contents": fingerprints.of(entry)})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(object: &Value) -> Value {
        let kind =
            Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        reduce(kind, object, &Fingerprints::new())
    }

    #[test]
    fn of_a_pod_nothing_is_kept_that_could_be_secret() {
        let pod = reduced(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "db-0", "namespace": "shop", "labels": {"app": "db"}, "managedFields": [{}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "secret", "note": "secret"},
            },
            "spec": {
                "nodeName": "worker-0", "runtimeClassName": "kata", "serviceAccountName": "secret",
                "volumes": [{"name": "secret"}],
                "containers": [{"name": "c", "image": "secret", "args": ["secret"], "env": [{"value": "secret"}],
                    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}],
            },
            "status": {"phase": "Running", "podIP": "secret", "conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": null}, {"type": "Initialized", "status": "True"}]},
        }));
        assert!(!pod.to_string().contains("secret"), "{pod}");
        assert_eq!(pod["spec"]["containers"][0]["resources"], json!({"requests": {"cpu": "1"}}));
        assert_eq!(pod["status"]["conditions"], json!([{"type": "Ready", "status": "True"}]));
        assert_eq!(
            (&pod["spec"]["nodeName"], &pod["spec"]["runtimeClassName"]),
            (&json!("worker-0"), &json!("kata"))
        );
    }

    #[test]
    fn of_a_machine_config_only_the_identity_of_its_contents_is_kept() {
        let file = |path: &str, text: &str| json!({"path": path, "contents": {"source": text}, "mode": 420});
        let config = |name: &str, files: Value| {
            json!({
                "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
                "metadata": {"name": name, "labels": {"role": "worker"}},
                "spec": {"extensions": ["usbguard"], "config": {
                    "ignition": {"version": "3.4.0", "config": {"secret": 1}},
                    "passwd": {"users": [{"passwordHash": "secret"}]},
                    "storage": {"files": files}}},
            })
        };
        let prints = Fingerprints::new();
        let kind = Kind::of("machineconfiguration.openshift.io/v1", "MachineConfig").unwrap();
        let of = |object: &Value| reduce(kind, object, &prints)["spec"].clone();
        let first = of(&config("99-x", json!([file("/a", "secret"), file("/b", "secret")])));
        assert!(!first.to_string().contains("secret"), "{first}");
        assert_eq!(first["config"]["storage"]["files"][0]["path"], "/a");
        assert_eq!(first["extensions"], json!(["usbguard"]));
        assert_eq!(first, of(&config("99-y", json!([file("/a", "secret"), file("/b", "secret")]))));
        let other = of(&config("99-x", json!([file("/a", "other"), file("/b", "secret")])));
        assert_ne!(first["config"]["storage"]["files"][0], other["config"]["storage"]["files"][0]);
        assert_eq!(first["config"]["storage"]["files"][1], other["config"]["storage"]["files"][1]);
        assert_eq!(of(&config("rendered-worker-1", json!([]))), json!({"extensions": ["usbguard"]}));
        // Nobody can tell from the outside: another snapshot has other fingerprints.
        let again = reduce(kind, &config("99-x", json!([file("/a", "secret")])), &Fingerprints::new());
        assert_ne!(first["config"]["storage"]["files"][0], again["spec"]["config"]["storage"]["files"][0]);
    }

    #[test]
    fn a_node_keeps_what_drains_rollouts_and_room_go_by() {
        let node = reduced(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "w", "annotations": {
                "machineconfiguration.openshift.io/state": "Done", "k8s.ovn.org/host-addresses": "secret"}},
            "spec": {"unschedulable": true, "providerID": "secret", "podCIDR": "secret"},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "250", "hugepages-1Gi": "0"},
                "addresses": [{"address": "secret"}], "images": [{"names": ["secret"]}],
                "nodeInfo": {"osImage": "Red Hat", "machineID": "secret", "systemUUID": "secret"},
                "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "x"}, {"type": "DiskPressure"}],
            },
        }));
        assert!(!node.to_string().contains("secret"), "{node}");
        assert_eq!(node["metadata"]["annotations"]["machineconfiguration.openshift.io/state"], "Done");
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4", "memory": "8Gi", "pods": "250"}));
        assert_eq!(node["spec"], json!({"unschedulable": true}));
    }
}
