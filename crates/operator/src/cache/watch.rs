//! The watches: which ones are to run, and what they put into the cache.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use osc_api::names;
use osc_api::openshift::MachineConfigPool;
use osc_api::peerpods::{self, PeerPod};
use osc_engine::labels::RelevantLabels;
use osc_engine::{Kind, ObjectId};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::node::KnownNode;
use super::standing::{PROOF, Standing};
use super::table::Table;
use super::{Cache, State, WatchKey, project, single_objects, wire};
use crate::apply::words;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// The longest pause between two tries.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The watches that run.
pub struct Watches {
    context: Context,
    running: BTreeMap<WatchKey, Running>,
}

#[derive(Clone)]
struct Context {
    client: Client,
    namespace: String,
    cache: Cache,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Ends the task when dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The resource of a kind.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let kind_name = GroupVersionKind::gvk(kind.group(), kind.version(), kind.name());
    ApiResource::from_gvk_with_plural(&kind_name, kind.plural())
}

/// The client for one object's kind and namespace.
pub(crate) fn api(client: Client, id: &ObjectId) -> Api<DynamicObject> {
    let resource = resource(id.kind);
    match &id.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

impl Watches {
    /// No watch runs yet.
    pub fn new(
        client: Client,
        cache: Cache,
        namespace: String,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let context = Context { client, namespace, cache, clock, metrics };
        Self { context, running: BTreeMap::new() }
    }

    /// Starts and ends watches so that those run that the cluster's APIs allow and the work needs.
    pub fn adjust(&mut self, pods_needed: bool) {
        let wanted = self.wanted(pods_needed);
        self.running.retain(|key, _| wanted.contains(key));
        self.context.cache.forget_except(&wanted);
        for key in wanted {
            if !self.running.contains_key(&key) {
                let standing = Standing::new(self.context.clock.now());
                self.context.cache.lock().watches.insert(key.clone(), standing);
                let task = Running(tokio::spawn(self.context.clone().watch(key.clone())));
                self.running.insert(key, task);
            }
        }
    }

    fn wanted(&self, pods_needed: bool) -> Vec<WatchKey> {
        let state = self.context.cache.lock();
        let mut wanted = vec![WatchKey::CustomResourceDefinitions];
        if !state.has_crd(names::KATACONFIG_CRD) {
            return wanted;
        }
        wanted.extend([WatchKey::KataConfigs, WatchKey::Nodes, WatchKey::RuntimeClasses]);
        if state.capabilities().machine_config {
            wanted.push(WatchKey::Pools);
        }
        if pods_needed {
            wanted.push(WatchKey::Pods);
        }
        if state.capabilities().peer_pods {
            wanted.extend([WatchKey::AdaptorPods, WatchKey::ImagePods, WatchKey::PeerPods]);
        }
        let served = single_objects(&self.context.namespace)
            .into_iter()
            .filter(|(_, crd)| crd.is_none_or(|crd| state.has_crd(crd)));
        wanted.extend(served.map(|(id, _)| WatchKey::Object(id)));
        wanted
    }
}

impl Cache {
    /// Drops what ended watches knew: it is not known any more.
    fn forget_except(&self, wanted: &[WatchKey]) {
        let mut state = self.lock();
        let ended: Vec<WatchKey> =
            state.watches.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in ended {
            state.watches.remove(&key);
            match &key {
                WatchKey::CustomResourceDefinitions => state.crds = Table::default(),
                WatchKey::KataConfigs => state.kata_configs = Table::default(),
                WatchKey::Nodes => state.nodes = Table::default(),
                WatchKey::Pools => state.pools = Table::default(),
                WatchKey::Pods => state.pods = Table::default(),
                WatchKey::AdaptorPods => state.adaptors = Table::default(),
                WatchKey::ImagePods => state.image_pods = Table::default(),
                WatchKey::PeerPods => state.peer_pods = Table::default(),
                WatchKey::RuntimeClasses => state.runtime_classes = Table::default(),
                WatchKey::Object(id) => {
                    state.objects.remove(id);
                }
            }
        }
    }
}

/// How objects are looked at in this moment.
struct Glance<'a> {
    clock: &'a dyn Clock,
    relevant: Arc<RelevantLabels>,
}

/// How one watch becomes entries of a table.
struct Route<K, I, V> {
    table: for<'a> fn(&'a mut State, &WatchKey) -> Option<&'a mut Table<I, V>>,
    key: fn(&K, &WatchKey) -> I,
    value: fn(&K, &WatchKey, Option<&V>, &Glance<'_>) -> Option<V>,
}

impl Context {
    async fn watch(self, key: WatchKey) {
        let all = watcher::Config::default();
        match &key {
            WatchKey::CustomResourceDefinitions => self.watch_definitions(&key).await,
            WatchKey::KataConfigs => {
                let api = Api::all_with(self.client.clone(), &resource(Kind::KataConfig));
                let route = Route {
                    table: |state, _| Some(&mut state.kata_configs),
                    key: |object: &DynamicObject, _| object.name_any(),
                    value: |object, _, _, _| Some(Arc::new(project::kata_config(object))),
                };
                self.follow(&key, || watcher(api.clone(), all.clone()), route).await;
            }
            WatchKey::Nodes => {
                let api: Api<wire::Node> = Api::all(self.client.clone());
                let route = Route {
                    table: |state, _| Some(&mut state.nodes),
                    key: |node: &wire::Node, _| node.name_any(),
                    value: |node, _, before, glance| {
                        Some(KnownNode::new(node, before, &glance.relevant, glance.clock.now()))
                    },
                };
                self.follow(&key, || watcher(api.clone(), all.clone()), route).await;
            }
            WatchKey::Pools => {
                let api: Api<MachineConfigPool> = Api::all(self.client.clone());
                let route = Route {
                    table: |state, _| Some(&mut state.pools),
                    key: |pool: &MachineConfigPool, _| pool.name_any(),
                    value: |pool, _, _, _| Some(Arc::new(project::pool(pool))),
                };
                self.follow(&key, || watcher(api.clone(), all.clone()), route).await;
            }
            WatchKey::Pods => self.watch_pods(&key).await,
            WatchKey::AdaptorPods => self.watch_adaptor_pods(&key).await,
            WatchKey::ImagePods => self.watch_image_pods(&key).await,
            WatchKey::PeerPods => {
                let api: Api<PeerPod> = Api::all(self.client.clone());
                let route = Route {
                    table: |state, _| Some(&mut state.peer_pods),
                    key: |object: &PeerPod, _| (object.namespace().unwrap_or_default(), object.name_any()),
                    value: |object, _, _, _| Some(project::peer_pod(object)),
                };
                self.follow(&key, || watcher(api.clone(), all.clone()), route).await;
            }
            WatchKey::RuntimeClasses => {
                let api: Api<DynamicObject> =
                    Api::all_with(self.client.clone(), &resource(Kind::RuntimeClass));
                let route = Route {
                    table: |state, _| Some(&mut state.runtime_classes),
                    key: |class: &DynamicObject, _| ObjectId::cluster(Kind::RuntimeClass, &class.name_any()),
                    value: |class, _, _, _| Some(Arc::new(project::whole(Kind::RuntimeClass, class))),
                };
                self.follow(&key, || watcher(api.clone(), all.clone()), route).await;
            }
            WatchKey::Object(id) => self.watch_object(&key, id).await,
        }
    }

    async fn watch_definitions(&self, key: &WatchKey) {
        let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.client.clone());
        let route = Route {
            table: |state, _| Some(&mut state.crds),
            key: |definition: &PartialObjectMeta<CustomResourceDefinition>, _| definition.name_any(),
            value: |_, _, _, _| Some(()),
        };
        self.follow(key, || watcher(api.clone(), watcher::Config::default()), route).await;
    }

    /// The server leaves out the pods that ended; those without a runtime class are dropped here.
    async fn watch_pods(&self, key: &WatchKey) {
        let api: Api<wire::Pod> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let route = Route {
            table: |state, _| Some(&mut state.pods),
            key: |pod: &wire::Pod, _| (pod.namespace().unwrap_or_default(), pod.name_any()),
            value: |pod, _, _, _| project::pod(pod),
        };
        self.follow(key, || watcher(api.clone(), config.clone()), route).await;
    }

    async fn watch_adaptor_pods(&self, key: &WatchKey) {
        let api: Api<wire::Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = watcher::Config::default().labels(&format!("name={}", peerpods::ADAPTOR));
        let route = Route {
            table: |state, _| Some(&mut state.adaptors),
            key: |pod: &wire::Pod, _| pod.name_any(),
            value: |pod, _, before, glance| project::adaptor(pod, before, glance.clock.now()),
        };
        self.follow(key, || watcher(api.clone(), config.clone()), route).await;
    }

    async fn watch_image_pods(&self, key: &WatchKey) {
        let api: Api<wire::Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let jobs = peerpods::IMAGE_JOBS.join(",");
        let config = watcher::Config::default().labels(&format!("{} in ({jobs})", peerpods::JOB_LABEL));
        let route = Route {
            table: |state, _| Some(&mut state.image_pods),
            key: |pod: &wire::Pod, _| pod.name_any(),
            value: |pod, _, _, _| project::image_pod(pod),
        };
        self.follow(key, || watcher(api.clone(), config.clone()), route).await;
    }

    async fn watch_object(&self, key: &WatchKey, id: &ObjectId) {
        let api = api(self.client.clone(), id);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", id.name));
        self.cache.lock().objects.entry(id.clone()).or_default();
        let route = Route {
            table: |state, key| match key {
                WatchKey::Object(id) => state.objects.get_mut(id),
                _ => None,
            },
            key: |object: &DynamicObject, key| match key {
                WatchKey::Object(id) => id.clone(),
                _ => ObjectId::cluster(Kind::KataConfig, &object.name_any()),
            },
            value: |object, key, _, _| match key {
                WatchKey::Object(id) => Some(Arc::new(project::whole(id.kind, object))),
                _ => None,
            },
        };
        self.follow(key, || watcher(api.clone(), config.clone()), route).await;
    }

    /// Feeds a table from a watch, for ever. After an error it is tried again, ever more slowly until it has worked for a
    /// while; where reading is refused, from the start. What was known stays.
    async fn follow<K, S, I, V>(&self, key: &WatchKey, open: impl Fn() -> S, route: Route<K, I, V>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        S: futures::Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        I: Ord + Clone,
        V: PartialEq,
    {
        let backoff =
            ExponentialBuilder::new().with_min_delay(Duration::from_secs(1)).with_max_delay(MAX_RETRY);
        let mut delays = backoff.without_max_times().with_jitter().build();
        loop {
            let mut stream = Box::pin(open());
            // When the watch will have worked long enough to count; none before its list and after that moment.
            let mut proven: Option<Instant> = None;
            let proof = || Instant::now() + self.clock.real_duration(PROOF);
            loop {
                let item = tokio::select! {
                    biased;
                    item = stream.next() => item,
                    () = reached(proven) => {
                        proven = None;
                        delays = backoff.without_max_times().with_jitter().build();
                        self.works(key);
                        continue;
                    }
                };
                match item {
                    Some(Ok(event)) => {
                        if matches!(event, Event::InitDone) {
                            proven = Some(proof());
                        }
                        self.take(key, event, &route);
                    }
                    Some(Err(error)) => {
                        let refused = self.failed(key, &error);
                        // The stream does nothing while it is not asked for its next item.
                        self.pause(key, delays.next().unwrap_or(MAX_RETRY)).await;
                        if refused {
                            break;
                        }
                        proven = proven.map(|_| proof());
                    }
                    None => break,
                }
            }
        }
    }

    /// Takes in an error. True if reading is refused.
    fn failed(&self, key: &WatchKey, error: &watcher::Error) -> bool {
        let words = in_words(error);
        self.metrics.watch_error(key.kind());
        tracing::warn!(kind = key.kind(), error = words, "watch failed; trying again");
        if let Some(refusal) = refusal(error) {
            self.judge(key, |standing| standing.refused(refusal, self.clock.now()));
            return true;
        }
        self.judge(key, |standing| {
            standing.failed(words);
            false
        });
        false
    }

    fn works(&self, key: &WatchKey) {
        self.judge(key, Standing::works);
    }

    /// Waits before the next try, and tells on the way that a refusal has lasted.
    async fn pause(&self, key: &WatchKey, pause: Duration) {
        let left = self.cache.lock().watches.get(key).and_then(|standing| standing.left(self.clock.now()));
        let left = left.map(|left| self.clock.real_duration(left)).filter(|left| *left < pause);
        if let Some(left) = left {
            tokio::time::sleep(left).await;
            self.judge(key, |standing| standing.check(self.clock.now()));
        }
        tokio::time::sleep(pause.saturating_sub(left.unwrap_or_default())).await;
    }

    /// Changes how a watch stands; if that is news, a pass is asked for.
    fn judge(&self, key: &WatchKey, change: impl FnOnce(&mut Standing) -> bool) {
        let news = self.cache.lock().watches.get_mut(key).is_some_and(change);
        if news {
            self.cache.notify();
        }
    }

    fn take<K, I, V>(&self, key: &WatchKey, event: Event<K>, route: &Route<K, I, V>)
    where
        K: Resource + ResourceExt,
        I: Ord + Clone,
        V: PartialEq,
    {
        let version = |object: &K| project::version(object.meta().resource_version.as_deref());
        let mut state = self.cache.lock();
        let glance = Glance { clock: self.clock.as_ref(), relevant: state.relevant.clone() };
        let Some(table) = (route.table)(&mut state, key) else { return };
        let changed = match event {
            Event::Init => {
                table.begin();
                false
            }
            Event::InitApply(object) => {
                let id = (route.key)(&object, key);
                if let Some(value) = (route.value)(&object, key, table.get(&id), &glance) {
                    table.receive(id, version(&object), value);
                }
                false
            }
            Event::InitDone => table.finish(),
            Event::Apply(object) => {
                let id = (route.key)(&object, key);
                match (route.value)(&object, key, table.get(&id), &glance) {
                    Some(value) => table.put(id, version(&object), value),
                    None => table.remove(&id, version(&object)),
                }
            }
            Event::Delete(object) => table.remove(&(route.key)(&object, key), version(&object)),
        };
        if matches!(key, WatchKey::KataConfigs | WatchKey::Pools) {
            state.show_relevant_labels();
        }
        drop(state);
        if changed {
            self.cache.notify();
            if *key == WatchKey::PeerPods {
                self.cache.peer_pods_changed.notify_one();
            }
        }
    }
}

/// Waits for a moment; without one, for ever.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn in_words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => words(cause),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The error in words, if it says that the kind cannot be read at all: no rights, or no such API.
fn refusal(error: &watcher::Error) -> Option<String> {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return None;
    };
    match cause {
        kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404) => Some(status.message.clone()),
        _ => None,
    }
}
