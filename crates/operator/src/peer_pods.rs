//! Lets PeerPods go: deletes the virtual machines of pods that are gone, whoever forgot them, and tells of those that no
//! PeerPod knows.
//!
//! Apart from the loop that installs: a cloud may take minutes to answer, and nothing else should wait for it. What is to
//! be done about a PeerPod is decided in [`osc_engine::peerpods::release`]; here it is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use osc_api::names;
use osc_api::peerpods::{self, PEER_POD_FINALIZER, PeerPod, Provider as Kind};
use osc_cloud::{
    Account, Connect, Deletion, Error as CloudError, Instance, Owner, Provider, Secret as Credential,
};
use osc_engine::peerpods::config;
use osc_engine::peerpods::release::{self, Record, Release};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::words;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::options::Sweep;

/// Virtual machines that are deleted at a time.
const AT_A_TIME: usize = 8;
/// How long a cloud may take for one deletion.
const DELETION_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// The pause after the first failure; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// The longest pause between two tries.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How often it is looked for machines that no PeerPod knows.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// How old a machine has to be to be told: its PeerPod is written a moment after it was made.
const SETTLED: SignedDuration = SignedDuration::from_mins(15);
/// How long a cloud may take to log in to.
const CONNECT_LIMIT: SignedDuration = SignedDuration::from_mins(1);
/// How long the API server may take to answer.
const API_LIMIT: Duration = Duration::from_secs(30);

/// Namespace and name of a PeerPod.
type Key = (String, String);

/// What is remembered of a PeerPod that could not be let go.
struct Failure {
    words: String,
    pause: SignedDuration,
    next: Timestamp,
}

/// Lets PeerPods go.
pub struct Keeper {
    /// The API server.
    pub client: Client,
    /// Where the settings are.
    pub namespace: String,
    /// What is known.
    pub cache: Cache,
    /// How clouds are reached.
    pub clouds: Arc<dyn Connect>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is told to Prometheus.
    pub metrics: Metrics,
    /// What becomes of machines that no PeerPod knows.
    pub sweep: Sweep,
}

/// What lasts from one look to the next.
#[derive(Default)]
struct Memory {
    failures: BTreeMap<Key, Failure>,
    /// The cloud, and whose account it was reached with.
    cloud: Option<(Account, Arc<dyn Provider>)>,
    next_sweep: Option<Timestamp>,
    /// Machines that were found unknown at the last look: only what is found twice is believed.
    suspects: Vec<String>,
}

impl Keeper {
    /// Works until cancelled, while `leads` says so.
    pub async fn run(self, mut leads: watch::Receiver<bool>, cancel: CancellationToken) {
        let mut memory = Memory::default();
        loop {
            let pause = if *leads.borrow_and_update() {
                // Who does not lead any more writes nothing any more, whatever a cloud is being waited for.
                let mut lost = leads.clone();
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    _ = lost.wait_for(|leads| !leads) => None,
                    pause = self.look(&mut memory) => pause,
                }
            } else {
                None
            };
            let pause = pause.map(|until| self.clock.real_duration(until.duration_since(self.clock.now())));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.cache.peer_pods_changed() => {}
                changed = leads.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    /// Does what there is to do; says when to look again.
    async fn look(&self, memory: &mut Memory) -> Option<Timestamp> {
        let all = self.cache.peer_pods()?;
        let keys: BTreeSet<Key> = all.iter().map(key_of).collect();
        memory.failures.retain(|key, _| keys.contains(key));
        let pods = release::Pods::of(&all);
        let now = self.clock.now();
        let due =
            |record: &&Record| memory.failures.get(&key_of(record)).is_none_or(|failure| failure.next <= now);
        let work: Vec<(Record, Release)> = all
            .iter()
            .filter(due)
            .map(|record| (record.clone(), release::decide(record, &pods)))
            .filter(|(_, release)| *release != Release::Keep)
            .collect();
        if !work.is_empty() {
            self.work(work, memory).await;
        }
        let next_sweep = self.sweep(&all, memory).await;
        let told = memory.failures.iter().map(|(key, failure)| (key.clone(), failure.words.clone()));
        self.cache.unreleased(told.collect());
        memory.failures.values().map(|failure| failure.next).chain(next_sweep).min()
    }

    async fn work(&self, work: Vec<(Record, Release)>, memory: &mut Memory) {
        let needed = work.iter().any(|(_, release)| *release == Release::Free);
        let cloud = if needed { Some(self.cloud(memory).await) } else { None };
        let cloud = cloud.as_ref();
        let results: Vec<(Record, Result<(), String>)> = futures::stream::iter(work)
            .map(|(record, release)| async move {
                let result = self.carry_out(&record, &release, cloud).await;
                (record, result)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        for (record, result) in results {
            let key = key_of(&record);
            match result {
                Ok(()) => {
                    memory.failures.remove(&key);
                }
                Err(words) => self.failed(memory, &record, words),
            }
        }
    }

    fn failed(&self, memory: &mut Memory, record: &Record, words: String) {
        let before = memory.failures.get(&key_of(record));
        let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        if before.is_none_or(|before| before.words != words) {
            tracing::warn!(
                peer_pod = format!("{}/{}", record.namespace, record.name),
                instance = record.instance,
                error = words,
                "a PeerPod could not be let go; trying again"
            );
        }
        let next = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        memory.failures.insert(key_of(record), Failure { words, pause, next });
    }

    async fn carry_out(
        &self,
        record: &Record,
        release: &Release,
        cloud: Option<&Result<Arc<dyn Provider>, String>>,
    ) -> Result<(), String> {
        match release {
            Release::Keep => Ok(()),
            Release::Delete => self.delete(record).await,
            Release::LetGo => self.let_go(record).await,
            Release::Free => {
                let cloud = match cloud {
                    Some(Ok(cloud)) => cloud,
                    Some(Err(words)) => return Err(words.clone()),
                    None => return Ok(()),
                };
                self.free(record, cloud.as_ref()).await?;
                self.let_go(record).await
            }
        }
    }

    async fn free(&self, record: &Record, cloud: &dyn Provider) -> Result<(), String> {
        if record.provider != cloud.kind().name() {
            return Err(format!(
                "it is on {:?}, and CLOUD_PROVIDER of ConfigMap {}/{} is {}",
                record.provider,
                self.namespace,
                peerpods::SETTINGS,
                cloud.kind().name()
            ));
        }
        let limit = self.clock.real_duration(DELETION_LIMIT);
        let answer = tokio::time::timeout(limit, cloud.delete(&record.instance)).await;
        let (result, outcome) = match answer {
            Ok(Ok(Deletion::Deleted)) => ("deleted", Ok(())),
            Ok(Ok(Deletion::WasGone)) => ("gone", Ok(())),
            Ok(Err(error)) => ("failed", Err(error.to_string())),
            Err(_) => ("failed", Err(format!("no answer within {} minutes", DELETION_LIMIT.as_mins()))),
        };
        self.metrics.vm_released(cloud.kind().name(), result);
        if outcome.is_ok() {
            tracing::info!(
                instance = record.instance,
                peer_pod = format!("{}/{}", record.namespace, record.name),
                result,
                "virtual machine of a pod that is gone"
            );
        }
        outcome
    }

    fn api(&self, record: &Record) -> Api<PeerPod> {
        Api::namespaced(self.client.clone(), &record.namespace)
    }

    /// Asks for the end of a PeerPod: of that one, and not of one that got its name meanwhile.
    async fn delete(&self, record: &Record) -> Result<(), String> {
        let preconditions = Preconditions { uid: Some(record.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = self.api(record);
        settled(tokio::time::timeout(API_LIMIT, api.delete(&record.name, &params)).await)
    }

    /// Takes our finalizer away: as it was read, so that nobody else's goes with it.
    async fn let_go(&self, record: &Record) -> Result<(), String> {
        let Some(index) = record.finalizers.iter().position(|finalizer| finalizer == PEER_POD_FINALIZER)
        else {
            return Ok(());
        };
        let at = format!("/metadata/finalizers/{index}");
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": record.uid},
            {"op": "test", "path": at, "value": PEER_POD_FINALIZER},
            {"op": "remove", "path": at},
        ]);
        let patch = Patch::<()>::Json(serde_json::from_value(operations).map_err(|error| error.to_string())?);
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(record);
        settled(tokio::time::timeout(API_LIMIT, api.patch(&record.name, &params, &patch)).await)
    }

    /// The cloud that the settings name, logged in; or why not.
    async fn cloud(&self, memory: &mut Memory) -> Result<Arc<dyn Provider>, String> {
        let account = self.account().await?;
        if let Some((known, cloud)) = &memory.cloud
            && *known == account
        {
            return Ok(cloud.clone());
        }
        let limit = self.clock.real_duration(CONNECT_LIMIT);
        let cloud = tokio::time::timeout(limit, self.clouds.connect(&account)).await;
        let cloud = cloud
            .map_err(|_| format!("the cloud gave no answer within {} s", CONNECT_LIMIT.as_secs()))?
            .map_err(|error| error.to_string())?;
        memory.cloud = Some((account, cloud.clone()));
        Ok(cloud)
    }

    /// Settings and credentials as they are now: read each time, so that what people mend counts at once.
    async fn account(&self) -> Result<Account, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let missing = |kind: &str, name: &str| {
            format!("{kind} {}/{name} does not exist; the cloud cannot be reached without it", self.namespace)
        };
        let map = answered(tokio::time::timeout(API_LIMIT, maps.get_opt(peerpods::SETTINGS)).await)?;
        let map = map.ok_or_else(|| missing("ConfigMap", peerpods::SETTINGS))?;
        let secret = answered(tokio::time::timeout(API_LIMIT, secrets.get_opt(peerpods::CREDENTIALS)).await)?;
        let secret = secret.ok_or_else(|| missing("Secret", peerpods::CREDENTIALS))?;
        let settings = map.data.unwrap_or_default();
        let credentials: BTreeMap<String, String> = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
            .collect();
        let provider: Kind = config::provider(&settings, Some(&credentials)).ok_or_else(|| {
            format!(
                "CLOUD_PROVIDER of ConfigMap {}/{} is none of {}",
                self.namespace,
                peerpods::SETTINGS,
                Kind::ALL.map(Kind::name).join(", ")
            )
        })?;
        let credentials = credentials.into_iter().map(|(key, value)| (key, Credential::new(value)));
        let ssh_identity = (provider == Kind::Libvirt).then(|| SSH_IDENTITY.into());
        Ok(Account { provider, settings, credentials: credentials.collect(), ssh_identity })
    }

    /// Looks for machines of this cluster that no PeerPod knows. Says when to look again.
    async fn sweep(&self, all: &[Record], memory: &mut Memory) -> Option<Timestamp> {
        if self.sweep == Sweep::Off || !self.cache.has_peer_pod_settings(&self.namespace) {
            self.cache.strays(Vec::new());
            return None;
        }
        let now = self.clock.now();
        // Known a moment after the start.
        let Some(cluster) = self.cache.cluster_identity().filter(|_| self.cache.readiness().is_ok()) else {
            return now.saturating_add(FIRST_PAUSE).ok();
        };
        if let Some(next) = memory.next_sweep.filter(|next| *next > now) {
            return Some(next);
        }
        let next = now.saturating_add(SWEEP_EVERY).ok();
        memory.next_sweep = next;
        // What is wrong with the settings is told by whoever installs.
        let Ok(cloud) = self.cloud(memory).await else { return next };
        let limit = self.clock.real_duration(DELETION_LIMIT);
        let machines = match tokio::time::timeout(limit, cloud.list(&Owner::new(cluster))).await {
            Ok(Ok(machines)) => machines,
            Ok(Err(error @ CloudError::Unsupported(_))) => {
                tracing::debug!(%error, "machines cannot be listed");
                return next;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot look for virtual machines that no PeerPod knows; trying again");
                return next;
            }
            Err(_) => return next,
        };
        let settled_before = now.saturating_sub(SETTLED).unwrap_or(Timestamp::MIN);
        let unknown =
            release::unknown(&machines, all, |one: &Instance| &one.id, |one| one.created, settled_before);
        let (twice, once): (Vec<&Instance>, Vec<&Instance>) =
            unknown.into_iter().partition(|one| memory.suspects.contains(&one.id));
        memory.suspects = twice.iter().chain(&once).map(|one| one.id.clone()).collect();
        let mut strays = Vec::new();
        for machine in twice {
            if !self.stray(machine, cloud.as_ref()).await {
                strays.push(format!("{} ({})", machine.id, machine.name));
            }
        }
        self.metrics.strays(strays.len());
        self.cache.strays(strays);
        // What was found once is looked at again soon.
        if once.is_empty() {
            next
        } else {
            now.saturating_add(FIRST_PAUSE * 12).ok().inspect(|soon| memory.next_sweep = Some(*soon))
        }
    }

    /// Tells of a machine that no PeerPod knows, and deletes it if that was asked for. True: it is gone.
    async fn stray(&self, machine: &Instance, cloud: &dyn Provider) -> bool {
        if self.sweep != Sweep::Delete {
            return false;
        }
        // The adaptor may have failed to write a PeerPod down, and the pod runs all the same.
        match self.pod_lives(machine).await {
            Ok(false) => {}
            Ok(true) => return false,
            Err(error) => {
                tracing::warn!(
                    instance = machine.id,
                    error,
                    "cannot see whether the pod of a virtual machine lives"
                );
                return false;
            }
        }
        let limit = self.clock.real_duration(DELETION_LIMIT);
        let answer = tokio::time::timeout(limit, cloud.delete(&machine.id)).await;
        let late = || CloudError::Cancelled(format!("deletion of {}", machine.id));
        match answer.unwrap_or_else(|_| Err(late())) {
            Ok(_) => {
                tracing::warn!(
                    instance = machine.id,
                    name = machine.name,
                    "deleted a virtual machine that no PeerPod knew"
                );
                self.metrics.vm_released(cloud.kind().name(), "stray");
                true
            }
            Err(error) => {
                tracing::warn!(instance = machine.id, %error, "cannot delete a virtual machine that no PeerPod knows");
                false
            }
        }
    }
}

impl Keeper {
    /// Whether the pod that a machine was made for is there. One whose machine says nothing about it counts as there.
    async fn pod_lives(&self, machine: &Instance) -> Result<bool, String> {
        let tags = &machine.tags;
        if tags.namespace.is_empty() || tags.pod.is_empty() {
            return Ok(true);
        }
        // By name and yet a list: the right that the watch of pods needs, too.
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.client.clone(), &tags.namespace);
        let params = ListParams::default().fields(&format!("metadata.name={}", tags.pod));
        let found = answered(tokio::time::timeout(API_LIMIT, pods.list(&params)).await)?;
        let same =
            |uid: &Option<String>| tags.pod_uid.is_empty() || uid.as_deref() == Some(tags.pod_uid.as_str());
        Ok(found.items.iter().any(|pod| same(&pod.metadata.uid)))
    }
}

/// Where the operator's pod has the key for SSH.
const SSH_IDENTITY: &str = "/root/.ssh/id_rsa";

fn key_of(record: &Record) -> Key {
    (record.namespace.clone(), record.name.clone())
}

type Answer<T> = Result<Result<T, kube::Error>, tokio::time::error::Elapsed>;

fn answered<T>(answer: Answer<T>) -> Result<T, String> {
    match answer {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Err(format!("the API server gave no answer within {} s", API_LIMIT.as_secs())),
    }
}

/// What is gone needs nothing more. What somebody else changed is looked at again.
fn settled<T>(answer: Answer<T>) -> Result<(), String> {
    match answer {
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        other => answered(other).map(drop),
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
