//! What all simulated controllers share: the caches, the client, the clock.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Client, Resource, ResourceExt};
use osc_api::openshift::{ContainerRuntimeConfig, MachineConfig, MachineConfigPool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::feed::feed;
use super::options::SimOptions;
use super::store::{Key, Store};

/// Field manager of everything that the simulation writes.
pub const FIELD_MANAGER: &str = "osc-devcluster";

/// How long a request may take in real time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shared part of a running simulation.
pub struct World {
    /// The API server.
    pub client: Client,
    /// Clock, durations, seed.
    pub options: SimOptions,
    /// Nodes.
    pub nodes: Arc<Store<Node>>,
    /// Pods, indexed by [`on_node`], [`owned_by`] and [`in_namespace`].
    pub pods: Arc<Store<Pod>>,
    /// DaemonSets.
    pub daemon_sets: Arc<Store<DaemonSet>>,
    /// Deployments.
    pub deployments: Arc<Store<Deployment>>,
    /// Jobs.
    pub jobs: Arc<Store<Job>>,
    /// PodDisruptionBudgets, indexed by [`in_namespace`].
    pub budgets: Arc<Store<PodDisruptionBudget>>,
    /// Machine configs, rendered ones included.
    pub machine_configs: Arc<Store<MachineConfig>>,
    /// Pools.
    pub pools: Arc<Store<MachineConfigPool>>,
    /// Settings of CRI-O.
    pub runtime_configs: Arc<Store<ContainerRuntimeConfig>>,
    /// What pods are configured with.
    pub config_maps: Arc<Store<ConfigMap>>,
    /// The same, secretly.
    pub secrets: Arc<Store<Secret>>,
    /// Runtime classes.
    pub runtime_classes: Arc<Store<RuntimeClass>>,
}

/// Index word of the pods on a node.
pub fn on_node(name: &str) -> String {
    format!("node/{name}")
}

/// Index word of the pods that a controller owns.
pub fn owned_by(uid: &str) -> String {
    format!("owner/{uid}")
}

/// Index word of the objects in a namespace.
pub fn in_namespace(name: &str) -> String {
    format!("namespace/{name}")
}

/// Index word of pods that wait for a node.
pub const UNBOUND: &str = "unbound";

/// The owner that controls an object: kind, name, uid.
pub fn controller_of<K: Resource>(object: &K) -> Option<(&str, &str, &str)> {
    let owners = object.meta().owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| (owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()))
        .next()
}

fn pod_index(pod: &Pod) -> Vec<String> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
    let mut words = vec![node.map_or_else(|| UNBOUND.to_owned(), on_node)];
    words.extend(controller_of(pod).map(|(_, _, uid)| owned_by(uid)));
    words.extend(pod.metadata.namespace.as_deref().map(in_namespace));
    words
}

fn namespace_index<K: Resource>(object: &K) -> Vec<String> {
    object.meta().namespace.as_deref().map(in_namespace).into_iter().collect()
}

impl World {
    /// A world that knows nothing yet.
    pub fn new(client: Client, options: SimOptions) -> Self {
        Self {
            client,
            options,
            nodes: Arc::new(Store::new(|_| Vec::new())),
            pods: Arc::new(Store::new(pod_index)),
            daemon_sets: Arc::new(Store::new(|_| Vec::new())),
            deployments: Arc::new(Store::new(|_| Vec::new())),
            jobs: Arc::new(Store::new(|_| Vec::new())),
            budgets: Arc::new(Store::new(namespace_index)),
            machine_configs: Arc::new(Store::new(|_| Vec::new())),
            pools: Arc::new(Store::new(|_| Vec::new())),
            runtime_configs: Arc::new(Store::new(|_| Vec::new())),
            config_maps: Arc::new(Store::new(|_| Vec::new())),
            secrets: Arc::new(Store::new(|_| Vec::new())),
            runtime_classes: Arc::new(Store::new(|_| Vec::new())),
        }
    }

    /// Keeps all caches up to date, for ever.
    pub async fn watch(&self) {
        let client = || self.client.clone();
        tokio::join!(
            feed(client(), self.nodes.clone()),
            feed(client(), self.pods.clone()),
            feed(client(), self.daemon_sets.clone()),
            feed(client(), self.deployments.clone()),
            feed(client(), self.jobs.clone()),
            feed(client(), self.budgets.clone()),
            feed(client(), self.machine_configs.clone()),
            feed(client(), self.pools.clone()),
            feed(client(), self.runtime_configs.clone()),
            feed(client(), self.config_maps.clone()),
            feed(client(), self.secrets.clone()),
            feed(client(), self.runtime_classes.clone()),
        );
    }

    /// Waits until every cache has been filled once. Deciding earlier would mean creating what exists.
    pub async fn wait_synced(&self) {
        tokio::join!(
            self.nodes.wait_synced(),
            self.pods.wait_synced(),
            self.daemon_sets.wait_synced(),
            self.deployments.wait_synced(),
            self.jobs.wait_synced(),
            self.budgets.wait_synced(),
            self.machine_configs.wait_synced(),
            self.pools.wait_synced(),
            self.runtime_configs.wait_synced(),
            self.config_maps.wait_synced(),
            self.secrets.wait_synced(),
            self.runtime_classes.wait_synced(),
        );
    }

    /// Ends the mutual ownership of caches and controllers.
    pub fn forget_handlers(&self) {
        self.nodes.forget_handlers();
        self.pods.forget_handlers();
        self.daemon_sets.forget_handlers();
        self.deployments.forget_handlers();
        self.jobs.forget_handlers();
        self.budgets.forget_handlers();
        self.machine_configs.forget_handlers();
        self.pools.forget_handlers();
        self.runtime_configs.forget_handlers();
        self.config_maps.forget_handlers();
        self.secrets.forget_handlers();
        self.runtime_classes.forget_handlers();
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// The simulated time as the API writes it: in whole seconds.
    pub fn time(&self) -> Time {
        Time(Timestamp::from_second(self.now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// How long a simulated duration really lasts.
    pub fn real(&self, simulated: Duration) -> Duration {
        self.options.clock.real_duration(simulated)
    }

    /// Like [`real`](Self::real), but long enough that a burst of events becomes one piece of work.
    pub fn settle(&self, simulated: Duration) -> Duration {
        self.real(simulated).max(Duration::from_millis(3))
    }

    /// Merge-patches an object and takes in the answer.
    pub async fn patch<K: Simulated>(
        &self,
        store: &Store<K>,
        key: &Key,
        patch: &Value,
    ) -> Result<(), kube::Error> {
        let request = path::<K>(key.namespace()).patch(&key.name, &patch_params(), &Patch::Merge(patch));
        store.apply(answered(self.client.request(request.map_err(kube::Error::BuildRequest)?)).await?);
        Ok(())
    }

    /// Merge-patches the status of an object and takes in the answer.
    pub async fn patch_status<K: Simulated>(
        &self,
        store: &Store<K>,
        key: &Key,
        patch: &Value,
    ) -> Result<(), kube::Error> {
        let patch = Patch::Merge(patch);
        let request =
            path::<K>(key.namespace()).patch_subresource("status", &key.name, &patch_params(), &patch);
        store.apply(answered(self.client.request(request.map_err(kube::Error::BuildRequest)?)).await?);
        Ok(())
    }

    /// Creates an object and takes in the answer. One that exists already is fine: the watch will show it.
    pub async fn create<K: Simulated>(&self, store: &Store<K>, object: &K) -> Result<(), kube::Error> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = path::<K>(object.meta().namespace.as_deref()).create(&post_params(), body);
        match answered(self.client.request(request.map_err(kube::Error::BuildRequest)?)).await {
            Ok(created) => store.apply(created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Deletes exactly this object, not a namesake. One that is gone already is fine.
    pub async fn delete<K: Simulated>(
        &self,
        store: &Store<K>,
        object: &K,
        grace: Option<u32>,
    ) -> Result<(), kube::Error> {
        self.delete_if(store, object, grace, None).await
    }

    /// Deletes an object if it still is as it was seen.
    pub async fn delete_as_seen<K: Simulated>(
        &self,
        store: &Store<K>,
        object: &K,
    ) -> Result<(), kube::Error> {
        self.delete_if(store, object, None, object.resource_version()).await
    }

    async fn delete_if<K: Simulated>(
        &self,
        store: &Store<K>,
        object: &K,
        grace: Option<u32>,
        resource_version: Option<String>,
    ) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: object.uid(), resource_version };
        let params = DeleteParams {
            grace_period_seconds: grace,
            preconditions: Some(preconditions),
            ..DeleteParams::background()
        };
        let key = Key::of(object);
        let request =
            path::<K>(key.namespace()).delete(&key.name, &params).map_err(kube::Error::BuildRequest)?;
        match answered(self.client.request_status::<K>(request)).await {
            // The answer carries the object only while it is still there, waiting for its grace period.
            Ok(answer) => {
                if let Some(left) = answer.left()
                    && left.meta().deletion_timestamp.is_some()
                    && grace != Some(0)
                {
                    store.apply(left);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Gives up on a request that is never answered, so that it cannot hold up its controller for ever.
async fn answered<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = |_| kube::Error::Service("the API server did not answer in time".into());
    tokio::time::timeout(PATIENCE, request).await.map_err(late)?
}

/// What a kind needs to be read and written here.
pub trait Simulated:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send
{
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send> Simulated for K {}

fn path<K: Simulated>(namespace: Option<&str>) -> Request {
    Request::new(K::url_path(&(), namespace))
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

pub(crate) fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
