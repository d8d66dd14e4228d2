//! What is known about a cluster: read from its API server, from a snapshot of ours or from a must-gather.

mod cluster;
mod files;
pub mod kinds;
mod observed;
mod reduce;
mod verb;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use osc_api::KataConfig;
use osc_api::openshift::{MachineConfigPool, MachineConfigSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use kinds::KINDS;

pub use cluster::Right;
pub use verb::{Arguments, Source, run};

/// What is known about a cluster at one moment. Everything that is read of it later was readable when it was made.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Where it comes from and what it lacks.
    pub info: Info,
    /// What the person who asks may do; `None` where nobody can be asked.
    pub rights: Option<Vec<Right>>,
    /// All objects, reduced.
    pub objects: Vec<Value>,
    /// Nodes, by name.
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// PodDisruptionBudgets.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Pools.
    pub pools: Vec<MachineConfigPool>,
    /// KataConfigs.
    pub kata_configs: Vec<KataConfig>,
}

/// Where a snapshot comes from and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The API server's address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// Which of the kinds the cluster serves; `None` if that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<BTreeSet<String>>,
    /// Kinds that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// A kind that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// `poddisruptionbudgets.policy`.
    pub resource: String,
    /// What the API server said, or what was looked for.
    pub why: String,
}

impl Missing {
    /// What a plan cannot say without it.
    pub fn consequence(&self) -> &'static str {
        KINDS.iter().find(|kind| kind.resource() == self.resource).map_or("", |kind| kind.without)
    }
}

impl Snapshot {
    /// Takes in objects of kinds that are known; says which one cannot be read, and why.
    pub fn new(info: Info, objects: Vec<Value>) -> anyhow::Result<Self> {
        let mut snapshot = Self { info, objects: without_unused(objects), ..Self::default() };
        snapshot.nodes = snapshot.read("Node")?;
        snapshot.pods = snapshot.read("Pod")?;
        snapshot.budgets = snapshot.read("PodDisruptionBudget")?;
        snapshot.pools = snapshot.read("MachineConfigPool")?;
        snapshot.kata_configs = snapshot.read("KataConfig")?;
        // Read later, by the simulation.
        for (object, spec) in snapshot.of("MachineConfig").map(|object| (object, object["spec"].clone())) {
            serde_json::from_value::<Option<MachineConfigSpec>>(spec).with_context(|| unreadable(object))?;
        }
        snapshot.nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(snapshot)
    }

    /// The objects of a kind.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// A cluster-scoped object.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.of(kind).find(|object| object["metadata"]["name"] == name)
    }

    fn read<K: DeserializeOwned>(&self, kind: &str) -> anyhow::Result<Vec<K>> {
        self.of(kind)
            .map(|object| serde_json::from_value(object.clone()).with_context(|| unreadable(object)))
            .collect()
    }

    /// Whether the cluster serves `machineconfigs.machineconfiguration.openshift.io`, say; `None`: not known.
    pub fn serves(&self, resource: &str) -> Option<bool> {
        let defined = self.object("CustomResourceDefinition", resource).is_some();
        let kind = KINDS.iter().find(|kind| kind.resource() == resource);
        if defined || kind.is_some_and(|kind| self.of(kind.name).next().is_some()) {
            return Some(true);
        }
        match &self.info.served {
            Some(served) => Some(served.contains(resource)),
            // Where other definitions were collected, this one would have been.
            None => self.of("CustomResourceDefinition").next().is_some().then_some(false),
        }
    }

    /// The release: `4.19.28`.
    pub fn version(&self) -> Option<&str> {
        self.object("ClusterVersion", osc_api::names::CLUSTER_VERSION)?["status"]["desired"]["version"]
            .as_str()
    }
}

fn unreadable(object: &Value) -> String {
    format!("{} is not what its kind says", title(object))
}

/// `Pod shop/db-0`.
pub fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().map_or(String::new(), |namespace| format!("{namespace}/"));
    format!("{} {namespace}{}", text(&object["kind"]), text(&metadata["name"]))
}

/// Without rendered machine configs that no node and no pool names: the Machine Config Operator keeps all that it ever
/// rendered. Of objects that come twice, the last counts.
fn without_unused(objects: Vec<Value>) -> Vec<Value> {
    use osc_api::names::{MCO_CURRENT_CONFIG, MCO_DESIRED_CONFIG};
    let mut used = BTreeSet::new();
    for object in &objects {
        let annotations = &object["metadata"]["annotations"];
        let named = [
            &annotations[MCO_CURRENT_CONFIG],
            &annotations[MCO_DESIRED_CONFIG],
            &object["spec"]["configuration"]["name"],
            &object["status"]["configuration"]["name"],
        ];
        used.extend(named.into_iter().filter_map(Value::as_str).map(str::to_owned));
    }
    let unused = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["kind"] == "MachineConfig" && reduce::is_rendered(name) && !used.contains(name)
    };
    let kept = objects.into_iter().filter(|object| !unused(object));
    let by_title: BTreeMap<String, Value> = kept.map(|object| (title(&object), object)).collect();
    by_title.into_values().collect()
}

#[cfg(test)]
pub mod tests {
    use super::kinds::Kind;
    use super::*;
    use osc_devcluster::sim::topology::Topology;
    use serde_json::json;

    /// The snapshot of a simulated cluster.
    pub fn snapshot(topology: &Topology) -> Snapshot {
        with(topology, Vec::new())
    }

    /// The same with more objects, or others of the same name.
    pub fn with(topology: &Topology, more: Vec<Value>) -> Snapshot {
        let prints = reduce::Fingerprints::new();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": osc_api::names::KATACONFIG_CRD},
        });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": osc_api::names::OPERATOR_NAMESPACE}});
        let objects = topology.objects(now).into_iter().chain([definition, namespace]).chain(more);
        let reduced = objects.filter_map(|object| {
            let kind = Kind::of(object["apiVersion"].as_str()?, object["kind"].as_str()?)?;
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let wanted = kind.wants(text("namespace"), text("name"));
            wanted.then(|| reduce::reduce(kind, &object, &prints))
        });
        let info = Info { taken: Some(now), ..Info::default() };
        Snapshot::new(info, reduced.collect()).unwrap()
    }

    #[test]
    fn rendered_configs_that_nobody_names_are_left_out() {
        let rendered = |name: &str| {
            json!({"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
                "metadata": {"name": name}, "spec": {}})
        };
        let snapshot = with(&Topology::default(), vec![rendered("rendered-worker-old")]);
        let names: Vec<&str> =
            snapshot.of("MachineConfig").filter_map(|object| object["metadata"]["name"].as_str()).collect();
        assert!(!names.contains(&"rendered-worker-old"), "{names:?}");
        assert_eq!(names.iter().filter(|name| reduce::is_rendered(name)).count(), 2, "{names:?}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a"},
            "spec": {"nodeName": 5}});
        let error = Snapshot::new(Info::default(), vec![pod]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("Pod a/p is not what its kind says: invalid type"), "{text}");
    }

    #[test]
    fn what_the_cluster_serves_is_told_by_definitions_objects_and_records() {
        let resource = "machineconfigs.machineconfiguration.openshift.io";
        let empty = Snapshot::default();
        assert_eq!(empty.serves(resource), None);
        let regular = snapshot(&Topology::default());
        assert_eq!(regular.serves(resource), Some(true));
        assert_eq!(regular.serves("virtualmachineinstances.kubevirt.io"), Some(false));
        let info = Info { served: Some([resource.to_owned()].into()), ..Info::default() };
        assert_eq!(Snapshot::new(info, Vec::new()).unwrap().serves(resource), Some(true));
    }
}
