//! The snapshot as the engine sees a cluster, so that what is said beforehand is decided by the code that decides later.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use osc_api::openshift::MachineConfig;
use osc_engine::observed::Pods;
use osc_engine::{Capabilities, Kind, ObjectId, Observed, PodView, Rendered};
use osc_operator::cache::{project, wire};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Snapshot;
use super::reduce::is_rendered;

/// Kinds of which the engine reads whole objects.
const WHOLE: [Kind; 10] = [
    Kind::MachineConfig,
    Kind::MachineConfigPool,
    Kind::ContainerRuntimeConfig,
    Kind::RuntimeClass,
    Kind::SecurityContextConstraints,
    Kind::DaemonSet,
    Kind::ConfigMap,
    Kind::Namespace,
    Kind::ClusterVersion,
    Kind::Infrastructure,
];

fn read<T: DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}

impl Snapshot {
    /// The cluster as the operator would observe it.
    pub fn observed(&self) -> Observed {
        let now = self.info.taken.unwrap_or(Timestamp::UNIX_EPOCH);
        let served = |resource: &str| self.serves(resource) == Some(true);
        let group = "machineconfiguration.openshift.io";
        let capabilities = Capabilities {
            machine_config: served(&format!("machineconfigs.{group}"))
                && served(&format!("machineconfigpools.{group}")),
            container_runtime_config: served(&format!("containerruntimeconfigs.{group}")),
            scc: served(super::kinds::SCC_DEFINITION),
            openshift: served("clusterversions.config.openshift.io"),
            ..Capabilities::default()
        };
        let nodes = self.of("Node").filter_map(read::<wire::Node>);
        let mut nodes: Vec<_> = nodes.map(|node| Arc::new(project::node(&node, None, now))).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let configs = self.of("KataConfig").filter_map(read::<DynamicObject>);
        let mut observed = Observed {
            now,
            capabilities,
            nodes,
            kata_configs: configs.map(|object| Arc::new(project::kata_config(&object))).collect(),
            pools: self.pools.iter().map(|pool| Arc::new(project::pool(pool))).collect(),
            pods: Pods::Known(self.kata_pods()),
            ..Observed::default()
        };
        for kind in WHOLE {
            for object in self.of(kind.name()).filter_map(read::<DynamicObject>) {
                let name = object.metadata.name.clone().unwrap_or_default();
                if kind == Kind::MachineConfig && is_rendered(&name) {
                    continue;
                }
                let id = match &object.metadata.namespace {
                    Some(namespace) => ObjectId::namespaced(kind, namespace, &name),
                    None => ObjectId::cluster(kind, &name),
                };
                observed.objects.insert(id, Arc::new(project::whole(kind, &object)));
            }
        }
        observed.rendered = self.rendered();
        observed
    }

    /// Pods that have a runtime class and have not ended.
    fn kata_pods(&self) -> Vec<PodView> {
        let running = |pod: &&Value| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        self.of("Pod")
            .filter(running)
            .filter_map(read::<wire::Pod>)
            .filter_map(|pod| project::pod(&pod))
            .collect()
    }

    fn rendered(&self) -> BTreeMap<String, Rendered> {
        let configs = self.of("MachineConfig").filter_map(read::<MachineConfig>);
        let rendered = configs.filter(|config| is_rendered(&config.name_any()));
        rendered.map(|config| (config.name_any(), project::rendered(&config))).collect()
    }
}
