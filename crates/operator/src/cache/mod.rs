//! What the watches know, and a snapshot of it for the engine.

mod node;
pub mod project;
mod standing;
mod table;
mod watch;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::api::DynamicObject;
use osc_api::names;
use osc_api::openshift::MachineConfig;
use osc_api::peerpods::{self, webhook};
use osc_engine::labels::RelevantLabels;
use osc_engine::observed::{AdaptorView, ImagePodView, PeerPodView, Pods};
use osc_engine::peerpods::release::Record;
use osc_engine::peerpods::{credentials, identity};
use osc_engine::{Capabilities, KataConfigView, Kind, ObjectId, Observed, PodView, PoolView, Rendered};
use serde_json::Value;
use tokio::sync::Notify;

use node::KnownNode;
use standing::Standing;
use table::Table;
pub use watch::Watches;
pub(crate) use watch::api;

/// Shared knowledge about the cluster. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cache {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    peer_pods_changed: Arc<Notify>,
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKey {
    /// Which optional APIs there are.
    CustomResourceDefinitions,
    /// All KataConfigs.
    KataConfigs,
    /// All nodes.
    Nodes,
    /// All machine config pools.
    Pools,
    /// Pods that have not ended.
    Pods,
    /// Pods of the adaptor, in the operator's namespace.
    AdaptorPods,
    /// Pods of the jobs that make and delete pod VM images, in the operator's namespace.
    ImagePods,
    /// All PeerPods.
    PeerPods,
    /// All runtime classes: there are few, and which of them are ours, their owners and finalizers tell.
    RuntimeClasses,
    /// One object, by name.
    Object(ObjectId),
}

impl WatchKey {
    /// The kind that is watched.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CustomResourceDefinitions => "CustomResourceDefinition",
            Self::KataConfigs => "KataConfig",
            Self::Nodes => "Node",
            Self::Pools => "MachineConfigPool",
            Self::Pods | Self::AdaptorPods | Self::ImagePods => "Pod",
            Self::PeerPods => Kind::PeerPod.name(),
            Self::RuntimeClasses => Kind::RuntimeClass.name(),
            Self::Object(id) => id.kind.name(),
        }
    }
}

#[derive(Default)]
struct State {
    crds: Table<String, ()>,
    kata_configs: Table<String, Arc<KataConfigView>>,
    nodes: Table<String, KnownNode>,
    /// Which of their labels the engine sees.
    relevant: Arc<RelevantLabels>,
    pools: Table<String, Arc<PoolView>>,
    pods: Table<(String, String), PodView>,
    objects: BTreeMap<ObjectId, Table<ObjectId, Arc<Value>>>,
    runtime_classes: Table<ObjectId, Arc<Value>>,
    adaptors: Table<String, AdaptorView>,
    image_pods: Table<String, ImagePodView>,
    peer_pods: Table<(String, String), Record>,
    /// Why virtual machines of PeerPods could not be deleted.
    unreleased: BTreeMap<(String, String), String>,
    /// Virtual machines of this cluster that no PeerPod knows.
    strays: Vec<String>,
    /// The API server's release: the number after `1.`.
    minor: Option<u32>,
    rendered: BTreeMap<String, Rendered>,
    /// The watches that run, and how they fare.
    watches: BTreeMap<WatchKey, Standing>,
}

/// Definitions of the optional APIs.
const MACHINE_CONFIGS: &str = "machineconfigs.machineconfiguration.openshift.io";
const POOLS: &str = "machineconfigpools.machineconfiguration.openshift.io";
const CONTAINER_RUNTIME_CONFIGS: &str = "containerruntimeconfigs.machineconfiguration.openshift.io";
const SCCS: &str = "securitycontextconstraints.security.openshift.io";
const CLUSTER_VERSIONS: &str = "clusterversions.config.openshift.io";
const INFRASTRUCTURES: &str = "infrastructures.config.openshift.io";
const API_SERVERS: &str = "apiservers.config.openshift.io";
const CREDENTIALS_REQUESTS: &str = "credentialsrequests.cloudcredential.openshift.io";
const PEER_POD_CONFIGS: &str = "peerpodconfigs.confidentialcontainers.org";
const PEER_PODS: &str = "peerpods.confidentialcontainers.org";

/// The first release of Kubernetes in which conditions of webhooks are on by default.
const MATCH_CONDITIONS: u32 = 28;

impl State {
    fn has_crd(&self, name: &str) -> bool {
        self.crds.get(&name.to_owned()).is_some()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            machine_config: self.has_crd(MACHINE_CONFIGS) && self.has_crd(POOLS),
            container_runtime_config: self.has_crd(CONTAINER_RUNTIME_CONFIGS),
            scc: self.has_crd(SCCS),
            openshift: self.has_crd(CLUSTER_VERSIONS),
            credentials_requests: self.has_crd(CREDENTIALS_REQUESTS),
            peer_pods: self.has_crd(PEER_POD_CONFIGS) && self.has_crd(PEER_PODS),
            match_conditions: self.minor >= Some(MATCH_CONDITIONS),
            release_known: self.minor.is_some(),
        }
    }

    /// Shows the engine the labels that matter, once others do: KataConfigs or pools select in another way.
    fn show_relevant_labels(&mut self) {
        let kata_configs = self.kata_configs.iter().map(|(_, view)| view.as_ref());
        let pools = self.pools.iter().map(|(_, view)| view.as_ref());
        let relevant = RelevantLabels::of(kata_configs, pools);
        if relevant != *self.relevant {
            self.nodes.for_each(|node| node.show(&relevant));
            self.relevant = Arc::new(relevant);
        }
    }

    fn synced(&self, key: &WatchKey) -> bool {
        match key {
            WatchKey::CustomResourceDefinitions => self.crds.synced(),
            WatchKey::KataConfigs => self.kata_configs.synced(),
            WatchKey::Nodes => self.nodes.synced(),
            WatchKey::Pools => self.pools.synced(),
            WatchKey::Pods => self.pods.synced(),
            WatchKey::AdaptorPods => self.adaptors.synced(),
            WatchKey::ImagePods => self.image_pods.synced(),
            WatchKey::PeerPods => self.peer_pods.synced(),
            WatchKey::RuntimeClasses => self.runtime_classes.synced(),
            WatchKey::Object(id) => self.objects.get(id).is_some_and(Table::synced),
        }
    }

    /// Watches, other than that of pods, that know nothing yet and have not said why.
    fn missing(&self) -> Vec<&'static str> {
        let missing = |(key, standing): &(&WatchKey, &Standing)| {
            **key != WatchKey::Pods && standing.unreadable().is_none() && !self.synced(key)
        };
        self.watches.iter().filter(missing).map(|(key, _)| key.kind()).collect()
    }

    fn pods(&self) -> Pods {
        let Some(standing) = self.watches.get(&WatchKey::Pods) else { return Pods::Unknown };
        if let Some(error) = standing.unreadable() {
            Pods::Unreadable(error.to_owned())
        } else if self.pods.synced() && !standing.is_refused() {
            Pods::Known(self.pods.iter().map(|(_, pod)| pod.clone()).collect())
        } else {
            Pods::Awaited { since: standing.waiting_since(), error: standing.error().map(str::to_owned) }
        }
    }
}

impl State {
    fn peer_pods(&self) -> Vec<PeerPodView> {
        let views = self.peer_pods.iter().map(|(key, record)| PeerPodView {
            namespace: record.namespace.clone(),
            name: record.name.clone(),
            provider: record.provider.clone(),
            instance: record.instance.clone(),
            deleted: record.deleting,
            error: self.unreleased.get(key).cloned(),
        });
        views.collect()
    }
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The API server has not answered some first lists: of these kinds.
    Syncing(Vec<&'static str>),
    /// The definition of KataConfig is not installed.
    KataConfigCrdMissing,
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syncing(kinds) => write!(f, "waiting for the API server to list {}", kinds.join(", ")),
            Self::KataConfigCrdMissing => write!(
                f,
                "CustomResourceDefinition {} is missing: install it with kubectl apply -k deploy/",
                names::KATACONFIG_CRD
            ),
        }
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while holding the lock left complete values behind: each change is one insertion.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changed since the last call; changes in between count as one.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn notify(&self) {
        self.changed.notify_one();
    }

    /// Whether a snapshot could be taken.
    pub fn readiness(&self) -> Result<(), NotReady> {
        let state = self.lock();
        if !state.crds.synced() {
            return Err(NotReady::Syncing(vec![WatchKey::CustomResourceDefinitions.kind()]));
        }
        if !state.has_crd(names::KATACONFIG_CRD) {
            return Err(NotReady::KataConfigCrdMissing);
        }
        let missing = state.missing();
        // The watches of optional kinds start once the definitions are known.
        if !state.watches.contains_key(&WatchKey::KataConfigs) || !missing.is_empty() {
            return Err(NotReady::Syncing(missing));
        }
        Ok(())
    }

    /// The cluster as it is known now.
    pub fn observe(&self, now: Timestamp) -> Result<Observed, NotReady> {
        self.readiness()?;
        let state = self.lock();
        let unreadable = state
            .watches
            .iter()
            .filter(|(key, _)| **key != WatchKey::Pods)
            .filter_map(|(key, standing)| Some((key.kind(), standing.unreadable()?.to_owned())))
            .collect();
        let objects = state.objects.values().flat_map(Table::iter).chain(state.runtime_classes.iter());
        Ok(Observed {
            now,
            capabilities: state.capabilities(),
            unreadable,
            kata_configs: state.kata_configs.iter().map(|(_, view)| view.clone()).collect(),
            nodes: state.nodes.iter().map(|(_, node)| node.view()).collect(),
            pools: state.pools.iter().map(|(_, view)| view.clone()).collect(),
            objects: objects.map(|(id, object)| (id.clone(), object.clone())).collect(),
            rendered: state.rendered.clone(),
            pods: state.pods(),
            adaptors: state.adaptors.iter().map(|(_, view)| view.clone()).collect(),
            image_pods: state.image_pods.iter().map(|(_, view)| view.clone()).collect(),
            peer_pods: state.peer_pods(),
            strays: state.strays.clone(),
        })
    }

    /// Takes in the answer to a write, so that the next pass does not decide on what was before it.
    pub fn written(&self, id: &ObjectId, object: &DynamicObject, now: Timestamp) {
        let mut state = self.lock();
        let version = project::version(object.metadata.resource_version.as_deref());
        let mut news = match id.kind {
            Kind::KataConfig => {
                state.kata_configs.put(id.name.clone(), version, Arc::new(project::kata_config(object)))
            }
            Kind::Node => {
                let before = state.nodes.get(&id.name).cloned();
                parse(object).is_some_and(|node: wire::Node| {
                    let node = KnownNode::new(&node, before.as_ref(), &state.relevant, now);
                    state.nodes.put(id.name.clone(), version, node)
                })
            }
            Kind::MachineConfigPool => parse(object).is_some_and(|pool| {
                state.pools.put(id.name.clone(), version, Arc::new(project::pool(&pool)))
            }),
            Kind::RuntimeClass => {
                state.runtime_classes.put(id.clone(), version, Arc::new(project::whole(id.kind, object)))
            }
            _ => false,
        };
        if let Some(table) = state.objects.get_mut(id) {
            news |= table.put(id.clone(), version, Arc::new(project::whole(id.kind, object)));
        }
        state.show_relevant_labels();
        drop(state);
        // The watch will tell the same version again, which is no news then: so the pass to come is asked for here.
        if news {
            self.notify();
        }
    }

    /// Rendered machine configs among `names` whose content is not known yet.
    pub fn unknown_rendered(&self, names: &BTreeSet<String>) -> Vec<String> {
        let state = self.lock();
        names.iter().filter(|name| !state.rendered.contains_key(*name)).cloned().collect()
    }

    /// Remembers what a rendered machine config says. Rendered machine configs never change.
    pub fn rendered(&self, name: String, config: &MachineConfig) {
        self.lock().rendered.insert(name, project::rendered(config));
    }

    /// Waits until a PeerPod changed since the last call; changes in between count as one.
    pub async fn peer_pods_changed(&self) {
        self.peer_pods_changed.notified().await;
    }

    /// All PeerPods; none while they could not be listed yet.
    pub fn peer_pods(&self) -> Option<Vec<Record>> {
        let state = self.lock();
        // While reading is refused, what is known may be old.
        let reads = state.watches.get(&WatchKey::PeerPods).is_some_and(|standing| !standing.is_refused());
        (reads && state.peer_pods.synced())
            .then(|| state.peer_pods.iter().map(|(_, record)| record.clone()).collect())
    }

    /// Whether a KataConfig asks for peer pods.
    pub fn wants_peer_pods(&self) -> bool {
        let state = self.lock();
        state.kata_configs.iter().any(|(_, view)| view.spec.as_ref().is_ok_and(|spec| spec.enable_peer_pods))
    }

    /// Whether somebody set up peer pods: else there never was a virtual machine of one.
    pub fn has_peer_pod_settings(&self, namespace: &str) -> bool {
        let id = ObjectId::namespaced(Kind::ConfigMap, namespace, peerpods::SETTINGS);
        self.lock().objects.get(&id).is_some_and(|table| table.get(&id).is_some())
    }

    /// What tells this cluster from others, if it is known.
    pub fn cluster_identity(&self) -> Option<String> {
        let state = self.lock();
        let object = |id: ObjectId| state.objects.get(&id).and_then(|table| table.get(&id)).cloned();
        identity::of(object(identity::version_id()).as_deref(), object(identity::system_id()).as_deref())
    }

    /// Remembers virtual machines of this cluster that no PeerPod knows.
    pub fn strays(&self, strays: Vec<String>) {
        let mut state = self.lock();
        let news = state.strays != strays;
        state.strays = strays;
        drop(state);
        if news {
            self.notify();
        }
    }

    /// Remembers what kept virtual machines from being deleted: of these PeerPods, and of no others.
    pub fn unreleased(&self, errors: BTreeMap<(String, String), String>) {
        let mut state = self.lock();
        let news = state.unreleased != errors;
        state.unreleased = errors;
        drop(state);
        if news {
            self.notify();
        }
    }

    /// Takes in the API server's release.
    pub fn released(&self, minor: u32) {
        let mut state = self.lock();
        let news = state.minor.replace(minor) != Some(minor);
        drop(state);
        if news {
            self.notify();
        }
    }

    /// The runtime classes that there are for KataConfigs.
    pub fn runtime_classes(&self) -> BTreeSet<String> {
        let state = self.lock();
        state.kata_configs.iter().flat_map(|(_, view)| view.status.runtime_classes.clone()).collect()
    }

    /// The version that a KataConfig was last seen with.
    pub fn kata_config(&self, name: &str) -> Option<Arc<KataConfigView>> {
        self.lock().kata_configs.get(&name.to_owned()).cloned()
    }
}

/// Reads an answer as the kind that it is.
fn parse<T: serde::de::DeserializeOwned>(object: &DynamicObject) -> Option<T> {
    serde_json::to_value(object).and_then(serde_json::from_value).ok()
}

/// Objects that are watched one by one, with the definition that must exist for it; none for built-in kinds.
fn single_objects(namespace: &str) -> Vec<(ObjectId, Option<&'static str>)> {
    let cluster = ObjectId::cluster;
    let namespaced = ObjectId::namespaced;
    let agents = names::DAEMON_SET_MODE_DAEMON_SETS
        .into_iter()
        .map(|name| (namespaced(Kind::DaemonSet, namespace, name), None));
    let maps = [
        names::FEATURE_GATES,
        names::LAYERED_IMAGE_CONFIG_MAP,
        names::DAEMON_SET_CONFIG_MAP,
        names::ADDON_CONFIG_MAP,
    ];
    let maps = maps.into_iter().map(|name| (namespaced(Kind::ConfigMap, namespace, name), None));
    let others = [
        (cluster(Kind::Namespace, namespace), Some(CLUSTER_VERSIONS)),
        (namespaced(Kind::DaemonSet, namespace, names::MONITOR), None),
        (namespaced(Kind::ConfigMap, namespace, names::DASHBOARD_CONFIG_MAP), Some(CLUSTER_VERSIONS)),
        (
            namespaced(Kind::ConfigMap, names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP),
            Some(CLUSTER_VERSIONS),
        ),
        (cluster(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG), Some(MACHINE_CONFIGS)),
        (cluster(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG), Some(MACHINE_CONFIGS)),
        (cluster(Kind::MachineConfigPool, names::KATA_POOL), Some(POOLS)),
        (
            cluster(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG),
            Some(CONTAINER_RUNTIME_CONFIGS),
        ),
        (cluster(Kind::SecurityContextConstraints, names::MONITOR_SCC), Some(SCCS)),
        (cluster(Kind::SecurityContextConstraints, names::AGENT_SCC), Some(SCCS)),
        (cluster(Kind::ClusterVersion, names::CLUSTER_VERSION), Some(CLUSTER_VERSIONS)),
        (cluster(Kind::Infrastructure, names::INFRASTRUCTURE), Some(INFRASTRUCTURES)),
        (namespaced(Kind::Secret, names::PULL_SECRET_NAMESPACE, names::PULL_SECRET), Some(CLUSTER_VERSIONS)),
        (namespaced(Kind::Secret, namespace, names::AUTH_SECRET), Some(CLUSTER_VERSIONS)),
        (
            namespaced(Kind::ConfigMap, names::MCO_NAMESPACE, names::OS_IMAGES_CONFIG_MAP),
            Some(MACHINE_CONFIGS),
        ),
    ];
    agents.chain(maps).chain(others).chain(peer_pods(namespace)).collect()
}

/// What of peer pods is watched one by one.
fn peer_pods(namespace: &str) -> Vec<(ObjectId, Option<&'static str>)> {
    let own = |kind, name: &str| ObjectId::namespaced(kind, namespace, name);
    let maps = peerpods::Provider::ALL.into_iter().flat_map(|provider| provider.image_maps().iter().copied());
    let maps = maps.chain([peerpods::SETTINGS]).map(|name| (own(Kind::ConfigMap, name), None));
    let secrets = [peerpods::CREDENTIALS, peerpods::SSH_KEYS, peerpods::CLOUD_CREDENTIALS];
    let secrets = secrets.into_iter().map(|name| (own(Kind::Secret, name), None));
    let jobs = peerpods::IMAGE_JOBS.into_iter().map(|name| (own(Kind::Job, name), None));
    let requests = credentials::request_ids().map(|id| (id, Some(CREDENTIALS_REQUESTS)));
    let others = [
        (own(Kind::DaemonSet, peerpods::ADAPTOR), None),
        (own(Kind::Deployment, webhook::DEPLOYMENT), None),
        (own(Kind::Service, webhook::SERVICE), None),
        (ObjectId::cluster(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION), None),
        (ObjectId::cluster(Kind::SecurityContextConstraints, peerpods::ADAPTOR_SCC), Some(SCCS)),
        (ObjectId::cluster(Kind::ApiServer, osc_engine::peerpods::tls::API_SERVER), Some(API_SERVERS)),
        (own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG), Some(PEER_POD_CONFIGS)),
        (identity::system_id(), Some(PEER_PODS)),
    ];
    maps.chain(secrets).chain(jobs).chain(requests).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn any_number_of_changes_during_a_pass_leads_to_one_more() {
        let cache = Cache::default();
        for _ in 0..1_000 {
            cache.notify();
        }
        let next = || tokio::time::timeout(Duration::from_mins(1), cache.changed());
        assert!(next().await.is_ok());
        assert!(next().await.is_err(), "the rest counted as one");
    }

    #[test]
    fn without_a_first_list_there_is_no_snapshot() {
        let cache = Cache::default();
        let reason = cache.observe(Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(reason.to_string(), "waiting for the API server to list CustomResourceDefinition");
    }
}
