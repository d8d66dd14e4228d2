//! The topology of the built-in kinds, as tables.
//!
//! Taken from the list and map types (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type`) and the patch
//! strategies (`x-kubernetes-patch-strategy`, `-patch-merge-key`) that the Kubernetes OpenAPI document states.

use super::{ListMerge, MapKey, Node, PatchMerge, Topology};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// What is said about one path.
#[derive(Clone, Copy)]
enum Rule {
    /// A list whose items apply tells apart by these fields (`name=default`), and a strategic patch by that one.
    Keyed(&'static [&'static str], &'static str),
    /// The same, but a strategic patch replaces the list.
    KeyedApply(&'static [&'static str]),
    /// A list that apply replaces, while a strategic patch tells items apart by this field.
    KeyedPatch(&'static str),
    /// A list of distinct values that both merge.
    Set,
    /// An object that apply replaces as a whole.
    Atomic,
    /// An object whose names are data.
    Map,
    /// An object or list that the Go type has even when it is empty.
    AlwaysThere,
}
use Rule::{AlwaysThere, Atomic, Keyed, KeyedApply, KeyedPatch, Map, Set};

type Rows = &'static [(&'static str, Rule)];

const TYPE: &[&str] = &["type"];
const NAME: &[&str] = &["name"];

const OBJECT_META: Rows = &[
    ("", AlwaysThere),
    ("annotations", Map),
    ("labels", Map),
    ("finalizers", Set),
    ("ownerReferences", Keyed(&["uid"], "uid")),
    ("ownerReferences[]", Atomic),
];

/// A container of any sort, below the item of its list.
const CONTAINER: Rows = &[
    ("env", Keyed(NAME, "name")),
    ("env[].valueFrom.configMapKeyRef", Atomic),
    ("env[].valueFrom.fieldRef", Atomic),
    ("env[].valueFrom.fileKeyRef", Atomic),
    ("env[].valueFrom.resourceFieldRef", Atomic),
    ("env[].valueFrom.secretKeyRef", Atomic),
    ("ports", Keyed(&["containerPort", "protocol=TCP"], "containerPort")),
    ("resources.claims", KeyedApply(NAME)),
    ("resources.limits", Map),
    ("resources.requests", Map),
    ("volumeDevices", Keyed(&["devicePath"], "devicePath")),
    ("volumeMounts", Keyed(&["mountPath"], "mountPath")),
];

const POD_SPEC: Rows = &[
    ("", AlwaysThere),
    ("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution", Atomic),
    ("containers", Keyed(NAME, "name")),
    ("containers", AlwaysThere),
    ("ephemeralContainers", Keyed(NAME, "name")),
    ("hostAliases", Keyed(&["ip"], "ip")),
    ("imagePullSecrets", Keyed(NAME, "name")),
    ("imagePullSecrets[]", Atomic),
    ("initContainers", Keyed(NAME, "name")),
    ("nodeSelector", Map),
    ("nodeSelector", Atomic),
    ("overhead", Map),
    ("resourceClaims", Keyed(NAME, "name")),
    ("schedulingGates", Keyed(NAME, "name")),
    ("topologySpreadConstraints", Keyed(&["topologyKey", "whenUnsatisfiable"], "topologyKey")),
    ("topologySpreadConstraints[].labelSelector", Atomic),
    ("volumes", Keyed(NAME, "name")),
    ("volumes[].cephfs.secretRef", Atomic),
    ("volumes[].csi.nodePublishSecretRef", Atomic),
    ("volumes[].flexVolume.secretRef", Atomic),
    ("volumes[].iscsi.secretRef", Atomic),
    ("volumes[].rbd.secretRef", Atomic),
    ("volumes[].scaleIO.secretRef", Atomic),
    ("volumes[].storageos.secretRef", Atomic),
];

/// Lists of containers in a pod spec.
const CONTAINER_LISTS: &[&str] = &["containers[]", "initContainers[]", "ephemeralContainers[]"];

const POD_STATUS: Rows = &[
    ("conditions", Keyed(TYPE, "type")),
    ("hostIPs", KeyedPatch("ip")),
    ("podIPs", Keyed(&["ip"], "ip")),
    ("resourceClaimStatuses", Keyed(NAME, "name")),
];

/// `status` of a kind that keeps conditions and nothing else that merges.
const CONDITIONS: Rows = &[("status.conditions", Keyed(TYPE, "type"))];

const NODE: Rows = &[
    ("spec.podCIDRs", Set),
    ("status.addresses", Keyed(TYPE, "type")),
    ("status.allocatable", Map),
    ("status.capacity", Map),
    ("status.conditions", Keyed(TYPE, "type")),
    ("status.daemonEndpoints", AlwaysThere),
    ("status.daemonEndpoints.kubeletEndpoint", AlwaysThere),
    ("status.nodeInfo", AlwaysThere),
];

const SERVICE: Rows = &[
    ("spec.ports", Keyed(&["port", "protocol=TCP"], "port")),
    ("spec.selector", Map),
    ("spec.selector", Atomic),
    ("status.conditions", Keyed(TYPE, "type")),
    ("status.loadBalancer", AlwaysThere),
];

const SERVICE_ACCOUNT: Rows =
    &[("secrets", Keyed(NAME, "name")), ("secrets[]", Atomic), ("imagePullSecrets[]", Atomic)];

const DATA: Rows = &[("data", Map), ("binaryData", Map), ("stringData", Map)];

const WORKLOAD: Rows = &[
    ("spec.selector", Atomic),
    ("spec.strategy", AlwaysThere),
    ("spec.updateStrategy", AlwaysThere),
    ("status.conditions", Keyed(TYPE, "type")),
];

const STATEFUL_SET: Rows = &[
    ("spec.selector", Atomic),
    ("spec.updateStrategy", AlwaysThere),
    ("status.conditions", Keyed(TYPE, "type")),
];

const JOB: Rows = &[("spec.selector", Atomic), ("status.conditions", KeyedPatch("type"))];

const REPLICATION_CONTROLLER: Rows =
    &[("spec.selector", Map), ("spec.selector", Atomic), ("status.conditions", Keyed(TYPE, "type"))];

const CRON_JOB: Rows = &[
    ("spec.jobTemplate", AlwaysThere),
    ("spec.jobTemplate.spec", AlwaysThere),
    ("spec.jobTemplate.spec.selector", Atomic),
    ("status.active[]", Atomic),
];

const CLAIM: Rows = &[
    ("spec.dataSource", Atomic),
    ("spec.resources", AlwaysThere),
    ("spec.resources.limits", Map),
    ("spec.resources.requests", Map),
    ("spec.selector", Atomic),
    ("status.allocatedResourceStatuses", Map),
    ("status.conditions", Keyed(TYPE, "type")),
];

const VOLUME: Rows = &[
    ("spec.capacity", Map),
    ("spec.claimRef", Atomic),
    ("spec.csi.controllerPublishSecretRef", Atomic),
    ("spec.csi.nodePublishSecretRef", Atomic),
    ("spec.csi.nodeStageSecretRef", Atomic),
    ("spec.nodeAffinity.required", Atomic),
];

const DISRUPTION_BUDGET: Rows =
    &[("spec.selector", Atomic), ("status.conditions", Keyed(TYPE, "type")), ("status.disruptedPods", Map)];

const WEBHOOKS: Rows = &[
    ("webhooks", Keyed(NAME, "name")),
    ("webhooks[].clientConfig", AlwaysThere),
    ("webhooks[].matchConditions", Keyed(NAME, "name")),
    ("webhooks[].namespaceSelector", Atomic),
    ("webhooks[].objectSelector", Atomic),
];

const RUNTIME_CLASS: Rows =
    &[("overhead.podFixed", Map), ("scheduling.nodeSelector", Map), ("scheduling.nodeSelector", Atomic)];

const BINDING: Rows = &[("roleRef", AlwaysThere), ("roleRef", Atomic)];

const DEFINITION: Rows = &[("spec.names", AlwaysThere), ("status.conditions", KeyedApply(TYPE))];

const NETWORK_POLICY: Rows = &[("spec.podSelector", Atomic)];

const EVENT: Rows = &[("involvedObject", Atomic), ("related", Atomic), ("source", AlwaysThere)];

const INGRESS: Rows = &[("spec.defaultBackend.resource", Atomic), ("status.loadBalancer", AlwaysThere)];

const ENDPOINT_SLICE: Rows = &[("endpoints[].targetRef", Atomic)];

/// A built-in kind: its group, its own rows, and where it has a pod spec (the path of the pod's own object).
struct Kind(&'static str, &'static str, Rows, Option<&'static str>);

const KINDS: &[Kind] = &[
    Kind("", "Node", NODE, None),
    Kind("", "Pod", &[], Some("")),
    Kind("", "PodTemplate", &[], Some("template")),
    Kind("", "ReplicationController", REPLICATION_CONTROLLER, Some("spec.template")),
    Kind("", "Service", SERVICE, None),
    Kind("", "ServiceAccount", SERVICE_ACCOUNT, None),
    Kind("", "Namespace", CONDITIONS, None),
    Kind("", "ConfigMap", DATA, None),
    Kind("", "Secret", DATA, None),
    Kind("", "Event", EVENT, None),
    Kind("", "PersistentVolume", VOLUME, None),
    Kind("", "PersistentVolumeClaim", CLAIM, None),
    Kind("apps", "DaemonSet", WORKLOAD, Some("spec.template")),
    Kind("apps", "Deployment", WORKLOAD, Some("spec.template")),
    Kind("apps", "ReplicaSet", WORKLOAD, Some("spec.template")),
    Kind("apps", "StatefulSet", STATEFUL_SET, Some("spec.template")),
    Kind("batch", "CronJob", CRON_JOB, Some("spec.jobTemplate.spec.template")),
    Kind("batch", "Job", JOB, Some("spec.template")),
    Kind("admissionregistration.k8s.io", "MutatingWebhookConfiguration", WEBHOOKS, None),
    Kind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", WEBHOOKS, None),
    Kind("apiextensions.k8s.io", "CustomResourceDefinition", DEFINITION, None),
    Kind("apiregistration.k8s.io", "APIService", CONDITIONS, None),
    Kind("discovery.k8s.io", "EndpointSlice", ENDPOINT_SLICE, None),
    Kind("networking.k8s.io", "Ingress", INGRESS, None),
    Kind("networking.k8s.io", "NetworkPolicy", NETWORK_POLICY, None),
    Kind("node.k8s.io", "RuntimeClass", RUNTIME_CLASS, None),
    Kind("policy", "PodDisruptionBudget", DISRUPTION_BUDGET, None),
    Kind("rbac.authorization.k8s.io", "ClusterRoleBinding", BINDING, None),
    Kind("rbac.authorization.k8s.io", "RoleBinding", BINDING, None),
];

static TABLE: LazyLock<HashMap<(&str, &str), Topology>> =
    LazyLock::new(|| KINDS.iter().map(|kind| ((kind.0, kind.1), build(kind.2, kind.3))).collect());

static OTHER: LazyLock<Topology> = LazyLock::new(|| build(&[], None));

pub(super) fn topology(group: &str, kind: &str) -> Topology {
    TABLE.get(&(group, kind)).unwrap_or(&OTHER).clone()
}

/// The node of object metadata.
pub(super) fn object_meta() -> Node {
    let mut node = Node::default();
    add(&mut node, "", OBJECT_META);
    node
}

fn build(rows: Rows, pod: Option<&str>) -> Topology {
    let mut root = Node::default();
    add(&mut root, "", &[("spec", AlwaysThere), ("status", AlwaysThere)]);
    add(&mut root, "metadata", OBJECT_META);
    add(&mut root, "", rows);
    if let Some(path) = pod {
        add_pod(&mut root, path);
    }
    Topology { root: Arc::new(root) }
}

fn add_pod(root: &mut Node, path: &str) {
    add(root, path, &[("", AlwaysThere)]);
    let pod = root.at(path);
    add(pod, "metadata", OBJECT_META);
    add(pod, "spec", POD_SPEC);
    for list in CONTAINER_LISTS {
        add(pod, &format!("spec.{list}"), CONTAINER);
    }
    if path.is_empty() {
        add(pod, "status", POD_STATUS);
    }
}

fn add(node: &mut Node, prefix: &str, rows: Rows) {
    let base = node.at(prefix);
    for (path, rule) in rows {
        apply(base.at(path), *rule);
    }
}

fn apply(node: &mut Node, rule: Rule) {
    match rule {
        Keyed(keys, merge_key) => {
            node.list = keyed(keys);
            node.patch = PatchMerge::By(merge_key.to_owned());
        }
        KeyedApply(keys) => node.list = keyed(keys),
        KeyedPatch(merge_key) => node.patch = PatchMerge::By(merge_key.to_owned()),
        Set => {
            node.list = ListMerge::Set;
            node.patch = PatchMerge::Values;
        }
        Atomic => node.atomic = true,
        Map => node.is_map = true,
        AlwaysThere => node.always_there = true,
    }
}

fn keyed(keys: &[&str]) -> ListMerge {
    let key = |text: &&str| match text.split_once('=') {
        Some((name, default)) => MapKey { name: name.to_owned(), default: Some(Value::from(default)) },
        None => MapKey { name: (*text).to_owned(), default: None },
    };
    ListMerge::Map(keys.iter().map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn find<'a>(root: &'a Node, path: &str) -> &'a Node {
        path.split('.').fold(root, |node, segment| {
            let field = node.field(segment.trim_end_matches("[]"));
            if segment.ends_with("[]") { field.item() } else { field }
        })
    }

    #[rstest]
    #[case("", "Pod", "spec.containers", &["name"], Some("name"))]
    #[case("", "Pod", "spec.initContainers[].env", &["name"], Some("name"))]
    #[case("apps", "Deployment", "spec.template.spec.containers[].ports", &["containerPort", "protocol"], Some("containerPort"))]
    #[case("apps", "DaemonSet", "spec.template.spec.volumes", &["name"], Some("name"))]
    #[case("batch", "CronJob", "spec.jobTemplate.spec.template.spec.containers[].volumeMounts", &["mountPath"], Some("mountPath"))]
    #[case("apps", "DaemonSet", "spec.template.metadata.ownerReferences", &["uid"], Some("uid"))]
    #[case("", "Node", "status.conditions", &["type"], Some("type"))]
    #[case("", "Node", "spec.taints", &[], None)]
    #[case("", "Service", "spec.ports", &["port", "protocol"], Some("port"))]
    #[case("batch", "Job", "status.conditions", &[], Some("type"))]
    #[case("", "Pod", "spec.tolerations", &[], None)]
    #[case("apiextensions.k8s.io", "CustomResourceDefinition", "status.conditions", &["type"], None)]
    #[case("example.com", "Unknown", "spec.things", &[], None)]
    #[case("example.com", "Unknown", "metadata.ownerReferences", &["uid"], Some("uid"))]
    fn lists(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] path: &str,
        #[case] keys: &[&str],
        #[case] merge_key: Option<&str>,
    ) {
        let topology = Topology::builtin(group, kind);
        let node = find(topology.root(), path);
        match &node.list {
            ListMerge::Map(found) => {
                assert_eq!(found.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), keys);
            }
            other => assert!(keys.is_empty() && *other == ListMerge::Atomic),
        }
        assert_eq!(node.patch, merge_key.map_or(PatchMerge::Replace, |key| PatchMerge::By(key.to_owned())));
    }

    #[rstest]
    #[case("apps", "Deployment", "spec.selector")]
    #[case("", "Pod", "spec.nodeSelector")]
    #[case("node.k8s.io", "RuntimeClass", "scheduling.nodeSelector")]
    #[case("rbac.authorization.k8s.io", "RoleBinding", "roleRef")]
    fn atomic_objects(#[case] group: &str, #[case] kind: &str, #[case] path: &str) {
        assert!(find(Topology::builtin(group, kind).root(), path).atomic);
    }

    #[test]
    fn finalizers_are_a_set() {
        let topology = Topology::builtin("", "Pod");
        let node = find(topology.root(), "metadata.finalizers");
        assert_eq!((&node.list, &node.patch), (&ListMerge::Set, &PatchMerge::Values));
    }
}
