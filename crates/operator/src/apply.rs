//! Carries out the steps of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use osc_api::{names, peerpods};
use osc_engine::peerpods::credentials;
use osc_engine::plan::Translation;
use osc_engine::{Event, EventKind, Kind, ObjectId, Step};
use serde_json::{Value, json};

use crate::cache::{Cache, api};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// How long the API server may take to answer one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an event may take, retries included.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is done to finalizers.
const SET_FINALIZERS: &str = "set finalizers of";

/// Namespace for events about cluster-scoped objects.
const EVENT_NAMESPACE: &str = "default";

/// Who tells about the jobs of pod VM images: a name that people filter by.
const IMAGE_GENERATOR: &str = "image-generator";

/// What can go wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The API server refused, or could not be reached.
    #[error("failed to {verb} {object}: {}", words(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        object: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("failed to {verb} {object}: no answer within {} s", WRITE_TIMEOUT.as_secs())]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        object: String,
    },
}

impl StepError {
    /// Whether somebody else was faster: nothing is wrong, only the picture is old.
    ///
    /// An object whose finalizers were to be set and that is gone counts, too: what follows in the plan relies on it.
    pub fn is_conflict(&self) -> bool {
        let Self::Api { verb, source, .. } = self else { return false };
        match code(source) {
            Some(409) => true,
            Some(404) => *verb == SET_FINALIZERS,
            _ => false,
        }
    }

    /// Whether the write may have been done all the same.
    fn leaves_doubt(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Api { source, .. } => code(source).is_none_or(|code| code >= 500),
        }
    }

    /// A word for metrics, out of a small set.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Api { source, .. } => match code(source) {
                Some(409) => "conflict",
                Some(401 | 403) => "forbidden",
                Some(404) => "not_found",
                Some(422 | 400) => "invalid",
                Some(429) => "throttled",
                Some(_) => "server",
                None => "connection",
            },
        }
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same request would be refused again.
fn is_final(error: &kube::Error) -> bool {
    matches!(code(error), Some(400 | 403 | 404 | 422))
}

/// What the API server said, without the debris around it.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let inner = error.to_string();
                if !text.contains(&inner) {
                    text = format!("{text}: {inner}");
                }
                cause = error.source();
            }
            text
        }
    }
}

/// Writes to the cluster.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    cache: Cache,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    identity: String,
    /// Objects that were perhaps written, and whose state is not known.
    doubted: Arc<Mutex<BTreeSet<ObjectId>>>,
}

impl Applier {
    /// Writes through `client`; answers go into `cache`.
    pub fn new(
        client: Client,
        cache: Cache,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        identity: String,
    ) -> Self {
        Self { client, cache, clock, metrics, identity, doubted: Arc::default() }
    }

    /// Carries out one step.
    pub async fn step(&self, step: &Step) -> Result<(), StepError> {
        let target = Target::of(step);
        if let Step::Emit(event) = step {
            self.tell(event).await;
            return Ok(());
        }
        let result = tokio::time::timeout(WRITE_TIMEOUT, self.write(step, &target)).await;
        let answer = match result {
            Err(_) => Err(StepError::Timeout { verb: target.verb, object: target.object() }),
            Ok(Err(source)) => {
                Err(StepError::Api { verb: target.verb, object: target.object(), source: Box::new(source) })
            }
            Ok(Ok(answer)) => Ok(answer),
        };
        self.metrics.write(target.verb, target.kind);
        let existed = matches!(step, Step::Create { .. }) && matches!(answer, Ok(None));
        let doubt = existed || answer.as_ref().is_err_and(StepError::leaves_doubt);
        self.doubted().extend(target.id.clone().filter(|_| doubt));
        if let (Some(id), Some(object)) = (&target.id, answer?) {
            tracing::info!(verb = target.verb, object = %id, "written");
            self.cache.written(id, &object, self.clock.now());
        }
        Ok(())
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<ObjectId>> {
        // A thread that panicked while holding the lock left a complete set behind.
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the objects that were perhaps written: a decision on what was before such a write could, for instance, let
    /// a KataConfig go while something is left of it. True if there were any.
    pub async fn look_again(&self) -> Result<bool, StepError> {
        let doubted = self.doubted().clone();
        for id in &doubted {
            // By name and yet a list: the right that the watch of it needs, too.
            let params = ListParams::default().fields(&format!("metadata.name={}", id.name));
            let object = id.to_string();
            let answer =
                tokio::time::timeout(WRITE_TIMEOUT, api(self.client.clone(), id).list(&params)).await;
            let found = match answer {
                Err(_) => return Err(StepError::Timeout { verb: "read", object }),
                Ok(Err(source)) => {
                    return Err(StepError::Api { verb: "read", object, source: Box::new(source) });
                }
                Ok(Ok(found)) => found,
            };
            for object in found.items {
                self.cache.written(id, &object, self.clock.now());
            }
            self.doubted().remove(id);
        }
        Ok(!doubted.is_empty())
    }

    async fn write(&self, step: &Step, target: &Target) -> Result<Option<DynamicObject>, kube::Error> {
        let Some(id) = &target.id else { return Ok(None) };
        let api = api(self.client.clone(), id);
        let managed =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match step {
            Step::Apply { object, .. } => {
                let params = PatchParams::apply(names::FIELD_MANAGER).force();
                api.patch(&id.name, &params, &Patch::Apply(object)).await.map(Some)
            }
            Step::Create { object, .. } => {
                let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
                let params = PostParams { field_manager: managed.field_manager, ..PostParams::default() };
                tolerate(api.create(&params, &object).await, Status::is_already_exists)
            }
            Step::Replace { path, value, .. } => {
                let patch = json!([{"op": "add", "path": path, "value": value}]);
                let patch =
                    Patch::<()>::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
                api.patch(&id.name, &managed, &patch).await.map(Some)
            }
            Step::Merge { resource_version, patch, .. } => {
                let mut patch = patch.clone();
                if let Some(version) = resource_version {
                    patch["metadata"]["resourceVersion"] = json!(version);
                }
                api.patch(&id.name, &managed, &Patch::Merge(patch)).await.map(Some)
            }
            Step::Advertise { limit, .. } => {
                // Allocatable, too: that is what the scheduler reads, and a kubelet copies it only with its next report.
                let capacity = json!({peerpods::VM_RESOURCE: limit});
                let patch = Patch::Merge(json!({"status": {"capacity": capacity, "allocatable": capacity}}));
                tolerate(api.patch_status(&id.name, &managed, &patch).await, Status::is_not_found)
            }
            Step::CopySecret { object, from, translation, .. } => {
                let secrets: Api<Secret> =
                    Api::namespaced(self.client.clone(), from.namespace.as_deref().unwrap_or_default());
                let source = secrets.get(&from.name).await?;
                let mut object = object.clone();
                object["data"] = translated(source.data.unwrap_or_default(), *translation);
                let params = PatchParams::apply(names::FIELD_MANAGER).force();
                api.patch(&id.name, &params, &Patch::Apply(&object)).await.map(Some)
            }
            Step::Delete { .. } => {
                // The answer may be the object as it last was: nothing to learn from.
                tolerate(api.delete(&id.name, &DeleteParams::background()).await, Status::is_not_found)
                    .map(|_| None)
            }
            Step::LabelNode { key, value, .. } => {
                let patch = Patch::Merge(json!({"metadata": {"labels": {*key: value}}}));
                tolerate(api.patch(&id.name, &managed, &patch).await, Status::is_not_found)
            }
            Step::SetFinalizers { resource_version, finalizers, .. } => {
                let metadata = json!({"resourceVersion": resource_version, "finalizers": finalizers});
                let patch = Patch::Merge(json!({"metadata": metadata}));
                api.patch(&id.name, &managed, &patch).await.map(Some)
            }
            Step::PatchStatus { status, .. } => {
                // Replaces the status whole, so that lists that became empty go.
                let patch = json!([{"op": "add", "path": "/status", "value": status}]);
                let patch =
                    Patch::<()>::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
                tolerate(api.patch_status(&id.name, &managed, &patch).await, Status::is_not_found)
            }
            Step::Emit(_) => Ok(None),
        }
    }

    /// Tells a person, as well as it goes: an event that cannot be written keeps nothing else from being done.
    async fn tell(&self, event: &Event) {
        let policy = ExponentialBuilder::new().with_min_delay(Duration::from_millis(50)).with_max_times(3);
        let attempts = (|| self.emit(event)).retry(policy).when(|error| !is_final(error));
        let told = tokio::time::timeout(EVENT_TIMEOUT, attempts).await;
        self.metrics.write("create", "Event");
        let error = match told {
            Ok(Ok(())) => return,
            Ok(Err(error)) => words(&error),
            Err(_) => format!("no answer within {} s", EVENT_TIMEOUT.as_secs()),
        };
        self.metrics.failed("event");
        tracing::warn!(
            reason = event.reason,
            message = event.message,
            error,
            "an event could not be written"
        );
    }

    /// One event for one transition: the engine tells each only once.
    async fn emit(&self, event: &Event) -> Result<(), kube::Error> {
        let now = self.clock.now();
        let namespace = event.about.namespace.as_deref().unwrap_or(EVENT_NAMESPACE);
        let controller = match event.about.kind {
            Kind::Job => IMAGE_GENERATOR,
            _ => names::OPERATOR_NAME,
        };
        let metadata = ObjectMeta {
            name: Some(format!("{}.{:x}", event.about.name, now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let regarding = ObjectReference {
            api_version: Some(event.about.kind.api_version()),
            kind: Some(event.about.kind.name().to_owned()),
            name: Some(event.about.name.clone()),
            namespace: event.about.namespace.clone(),
            uid: Some(event.uid.clone()).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        };
        let kube_event = KubeEvent {
            metadata,
            event_time: Some(MicroTime(now)),
            action: Some("Reconcile".to_owned()),
            reason: Some(event.reason.clone()),
            note: Some(shortened(&event.message)),
            regarding: Some(regarding),
            reporting_controller: Some(controller.to_owned()),
            reporting_instance: Some(self.identity.clone()),
            type_: Some(event_type(event).to_owned()),
            ..KubeEvent::default()
        };
        let events: Api<KubeEvent> = Api::namespaced(self.client.clone(), namespace);
        tolerate(events.create(&PostParams::default(), &kube_event).await, Status::is_already_exists)
            .map(drop)
    }
}

fn event_type(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Normal => "Normal",
        EventKind::Warning => "Warning",
    }
}

/// Notes of events may have 1,024 bytes.
fn shortened(message: &str) -> String {
    const LIMIT: usize = 1_000;
    if message.len() <= LIMIT {
        return message.to_owned();
    }
    let end = (0..=LIMIT).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{} ...", &message[..end])
}

/// The values of a Secret, as they are to be written into another one.
fn translated(source: BTreeMap<String, ByteString>, translation: Translation) -> Value {
    let source: BTreeMap<String, Vec<u8>> = source.into_iter().map(|(key, value)| (key, value.0)).collect();
    let written = match translation {
        Translation::Key { from, to } => {
            source.get(from).map(|value| (to.to_owned(), value.clone())).into_iter().collect()
        }
        Translation::CloudCredentials => credentials::translate(&source),
    };
    let encoded = written.into_iter().map(|(key, value)| (key, json!(ByteString(value))));
    Value::Object(encoded.collect())
}

/// Turns one refusal into success: what was asked for holds already.
fn tolerate<T>(
    answer: Result<T, kube::Error>,
    tolerated: impl Fn(&Status) -> bool,
) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if tolerated(&status) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a step is about.
struct Target {
    verb: &'static str,
    kind: &'static str,
    id: Option<ObjectId>,
}

impl Target {
    fn of(step: &Step) -> Self {
        let (verb, id) = match step {
            Step::Apply { id, .. } | Step::CopySecret { id, .. } => ("apply", id.clone()),
            Step::Create { id, .. } => ("create", id.clone()),
            Step::Replace { id, .. } | Step::Merge { id, .. } => ("change", id.clone()),
            Step::Advertise { node, .. } => ("advertise pod VMs on", ObjectId::cluster(Kind::Node, node)),
            Step::Delete { id } => ("delete", id.clone()),
            Step::LabelNode { node, .. } => ("label", ObjectId::cluster(Kind::Node, node)),
            Step::SetFinalizers { id, .. } => (SET_FINALIZERS, id.clone()),
            Step::PatchStatus { name, .. } => {
                ("write the status of", ObjectId::cluster(Kind::KataConfig, name))
            }
            Step::Emit(_) => return Self { verb: "create", kind: "Event", id: None },
        };
        Self { verb, kind: id.kind.name(), id: Some(id) }
    }

    fn object(&self) -> String {
        self.id.as_ref().map_or_else(|| self.kind.to_owned(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let message = "\u{e9}".repeat(600);
        let short = shortened(&message);
        assert!(short.len() <= 1_024 && short.ends_with(" ..."), "{}", short.len());
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn only_finalizers_of_an_object_that_is_gone_are_a_conflict() {
        let refused = |verb, code| {
            let status = Status { code, ..Status::default() };
            let source = Box::new(kube::Error::Api(Box::new(status)));
            StepError::Api { verb, object: "KataConfig example-kataconfig".to_owned(), source }
        };
        assert!(refused(SET_FINALIZERS, 404).is_conflict());
        assert!(refused(SET_FINALIZERS, 409).is_conflict());
        assert!(refused("apply", 409).is_conflict());
        assert!(!refused("apply", 404).is_conflict(), "the API is not served: nothing that passes soon");
        assert!(!refused(SET_FINALIZERS, 403).is_conflict());
    }

    #[test]
    fn a_refusal_that_says_it_is_done_is_success() {
        let refusal = |code, reason: &str| {
            let status = Status { code, reason: reason.to_owned(), ..Status::default() };
            Err::<(), _>(kube::Error::Api(Box::new(status)))
        };
        assert!(tolerate(refusal(404, "NotFound"), Status::is_not_found).unwrap().is_none());
        assert!(tolerate(refusal(403, "Forbidden"), Status::is_not_found).is_err());
        assert!(tolerate(refusal(409, "AlreadyExists"), Status::is_already_exists).unwrap().is_none());
        let other = tolerate(refusal(409, "Conflict"), Status::is_already_exists);
        assert!(other.is_err(), "nothing was created: a status after that would tell of what is not there");
    }
}
