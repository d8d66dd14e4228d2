//! What a cluster looks like before anything is installed: nodes, pools, machine configs, versions, namespaces.

mod apply;
mod machine_config;
mod nodes;
mod openshift;

pub use apply::apply;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// OpenShift with a control plane and workers of its own.
    #[default]
    Regular,
    /// OpenShift whose control-plane nodes are its workers; the pool `worker` is empty.
    Compact,
    /// OpenShift on one node.
    SingleNode,
    /// Kubernetes without anything of OpenShift.
    PlainKubernetes,
    /// The same on small servers: the control plane takes pods, and its roles have values, as k3s has it.
    K3s,
}

/// What an OpenShift cluster itself runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Platform {
    /// Nothing that it knows of.
    #[default]
    None,
    /// AWS.
    Aws,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Its kind.
    pub kind: Kind,
    /// Nodes of the control plane; a single-node cluster has one, whatever is said here.
    pub control_plane: u32,
    /// Workers; compact and single-node clusters have none, whatever is said here.
    pub workers: u32,
    /// Release of OpenShift, for instance `4.19.28`; of Kubernetes, for instance `1.32.5`, on a plain cluster.
    pub version: String,
    /// The product (OCP on RHCOS); else OKD on SCOS. Without meaning on a plain cluster.
    pub product: bool,
    /// Labels that every worker carries in addition, for instance those of Node Feature Discovery.
    pub worker_labels: BTreeMap<String, String>,
    /// What it runs on. Without meaning on a plain cluster.
    pub platform: Platform,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            kind: Kind::Regular,
            control_plane: 3,
            workers: 3,
            version: "4.19.28".to_owned(),
            product: true,
            worker_labels: BTreeMap::new(),
            platform: Platform::None,
        }
    }
}

/// Namespaces of OpenShift that the operator has to do with.
const NAMESPACES: [&str; 7] = [
    osc_api::names::OPERATOR_NAMESPACE,
    "openshift-config",
    "openshift-config-managed",
    "openshift-machine-config-operator",
    "openshift-monitoring",
    "openshift-dns",
    osc_api::peerpods::CREDENTIALS_REQUEST_NAMESPACE,
];

impl Topology {
    /// Everything to load into an empty cluster, in an order in which it can be created.
    pub fn objects(&self, now: Timestamp) -> Vec<Value> {
        let mut objects = Vec::new();
        if self.is_openshift() {
            for definition in osc_api::openshift::crds() {
                objects.push(typed("apiextensions.k8s.io/v1", "CustomResourceDefinition", &definition));
            }
        }
        objects.extend(self.namespaces());
        if self.is_openshift() {
            objects.extend(openshift::objects(self, now));
            objects.extend(machine_config::objects(self, now));
        }
        objects.extend(nodes::objects(self, now));
        objects
    }

    fn is_openshift(&self) -> bool {
        !matches!(self.kind, Kind::PlainKubernetes | Kind::K3s)
    }

    /// Whether control-plane nodes are workers as well.
    fn is_converged(&self) -> bool {
        matches!(self.kind, Kind::Compact | Kind::SingleNode)
    }

    fn masters(&self) -> u32 {
        if self.kind == Kind::SingleNode { 1 } else { self.control_plane }
    }

    fn own_workers(&self) -> u32 {
        if self.is_converged() { 0 } else { self.workers }
    }

    fn namespaces(&self) -> Vec<Value> {
        let names = NAMESPACES.into_iter().take(if self.is_openshift() { NAMESPACES.len() } else { 1 });
        names
            .map(|name| {
                json!({
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                })
            })
            .collect()
    }
}

/// The JSON of a typed object together with its type.
fn typed<T: serde::Serialize>(api_version: &str, kind: &str, object: &T) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn kinds(objects: &[Value]) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for object in objects {
            *kinds.entry(object["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        kinds
    }

    #[rstest]
    #[case(Kind::Regular, 6, 3, 3)]
    #[case(Kind::Compact, 3, 3, 0)]
    #[case(Kind::SingleNode, 1, 1, 0)]
    fn pools_know_their_nodes(
        #[case] kind: Kind,
        #[case] nodes: usize,
        #[case] masters: i64,
        #[case] workers: i64,
    ) {
        let objects = Topology { kind, ..Topology::default() }.objects(now());
        assert_eq!(kinds(&objects)["Node"], nodes);
        let count = |name: &str| {
            let pool =
                objects.iter().find(|o| o["kind"] == "MachineConfigPool" && o["metadata"]["name"] == name);
            pool.unwrap()["status"]["machineCount"].as_i64().unwrap()
        };
        assert_eq!((count("master"), count("worker")), (masters, workers));
    }

    #[test]
    fn every_node_runs_what_its_pool_says() {
        let objects = Topology::default().objects(now());
        let find = |kind: &str, name: &str| {
            objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap().clone()
        };
        for (node, pool) in [("master-0", "master"), ("worker-2", "worker")] {
            let pool = find("MachineConfigPool", pool);
            let rendered = pool["spec"]["configuration"]["name"].as_str().unwrap();
            let annotations = &find("Node", node)["metadata"]["annotations"];
            assert_eq!(annotations["machineconfiguration.openshift.io/currentConfig"], rendered);
            assert_eq!(annotations["machineconfiguration.openshift.io/state"], "Done");
            find("MachineConfig", rendered);
        }
    }

    #[test]
    fn a_plain_cluster_knows_nothing_of_openshift() {
        let topology =
            Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), ..Topology::default() };
        let kinds = kinds(&topology.objects(now()));
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["Namespace", "Node"]);
    }

    #[test]
    fn the_objects_are_typed_and_what_the_types_expect() {
        use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
        use osc_api::openshift::{ClusterVersion, Infrastructure, MachineConfig, MachineConfigPool};
        fn read<T: serde::de::DeserializeOwned>(object: &Value) {
            serde_json::from_value::<T>(object.clone()).unwrap();
        }
        for object in Topology::default().objects(now()) {
            assert!(object["apiVersion"].is_string());
            match object["kind"].as_str().unwrap() {
                "Node" => read::<Node>(&object),
                "MachineConfig" => read::<MachineConfig>(&object),
                "MachineConfigPool" => read::<MachineConfigPool>(&object),
                "ClusterVersion" => read::<ClusterVersion>(&object),
                "Infrastructure" => read::<Infrastructure>(&object),
                "Secret" => read::<Secret>(&object),
                "ConfigMap" => read::<ConfigMap>(&object),
                "CustomResourceDefinition" | "Namespace" => {}
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn the_platform_shows_in_the_infrastructure() {
        let told = |platform: Platform| {
            let objects = Topology { platform, ..Topology::default() }.objects(now());
            objects.into_iter().find(|o| o["kind"] == "Infrastructure").unwrap()["status"]["platformStatus"]
                .clone()
        };
        assert_eq!(told(Platform::None), json!({"type": "None"}));
        assert_eq!(told(Platform::Aws), json!({"type": "AWS", "aws": {"region": "eu-west-1"}}));
    }

    #[test]
    fn okd_shows_in_image_and_operating_system() {
        let objects = Topology { product: false, ..Topology::default() }.objects(now());
        let version = objects.iter().find(|o| o["kind"] == "ClusterVersion").unwrap();
        let image = version["status"]["desired"]["image"].as_str().unwrap();
        assert!(image.starts_with("quay.io/okd/scos-release@sha256:"), "{image}");
        let node = objects.iter().find(|o| o["kind"] == "Node").unwrap();
        assert!(node["status"]["nodeInfo"]["osImage"].as_str().unwrap().starts_with("CentOS Stream CoreOS"));
    }
}
