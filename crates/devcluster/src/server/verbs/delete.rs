//! DELETE of one object and of many, for clients and for the server's own cleaners.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::selector::{FieldSelector, LabelSelector};
use crate::server::admission::Admission;
use crate::server::body::Body;
use crate::server::call::{Call, Content, DEFINITIONS, Listing, NAMESPACES, PODS, Reply, State};
use crate::server::metadata::{self, finalizers, text};
use crate::server::registry::Resource;
use crate::server::route::RequestInfo;
use crate::server::status::{self, ApiError};
use crate::server::store::{Changed, Expect, Key};
use crate::server::{convert, definition};

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay and lose their reference.
    Orphan,
}

/// Finalizer of a deletion in the foreground.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of a deletion that orphans.
pub const ORPHAN: &str = "orphan";

/// Options of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds to wait for the pod to end.
    pub grace: Option<i64>,
    /// What happens to what the object owns.
    pub propagation: Option<Propagation>,
    /// Required uid.
    pub uid: Option<String>,
    /// Required resource version.
    pub version: Option<String>,
    /// Only say what would happen.
    pub dry_run: bool,
    /// As they came, for webhooks.
    pub sent: Value,
}

impl DeleteOptions {
    fn read(info: &RequestInfo, body: &Value) -> Result<Self, ApiError> {
        let policy = body["propagationPolicy"].as_str().or_else(|| info.parameter("propagationPolicy"));
        let orphan = body["orphanDependents"].as_bool();
        if policy.is_some() && orphan.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let cause = status::Cause::invalid("propagationPolicy", &policy.into(), why);
            return Err(ApiError::invalid_kind("meta.k8s.io", "DeleteOptions", "", &[cause]));
        }
        let propagation = match (policy, orphan) {
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (None, None) => None,
            (Some(other), _) => {
                let supported = ["Background", "Foreground", "Orphan"];
                let cause = status::Cause::unsupported("propagationPolicy", &other.into(), &supported);
                return Err(ApiError::invalid_kind("meta.k8s.io", "DeleteOptions", "", &[cause]));
            }
        };
        let grace = body["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| info.parameter("gracePeriodSeconds").and_then(|g| g.parse().ok()));
        let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
        Ok(Self {
            grace,
            propagation,
            uid: precondition("uid"),
            version: precondition("resourceVersion"),
            dry_run: info.dry_run || body["dryRun"][0] == "All",
            sent: sent(info, body),
        })
    }
}

/// The body, or the parameters that stand for it.
fn sent(info: &RequestInfo, body: &Value) -> Value {
    if body.is_object() {
        return body.clone();
    }
    let mut options = json!({});
    if let Some(policy) = info.parameter("propagationPolicy") {
        options["propagationPolicy"] = json!(policy);
    }
    if let Some(grace) = info.parameter("gracePeriodSeconds").and_then(|text| text.parse::<i64>().ok()) {
        options["gracePeriodSeconds"] = json!(grace);
    }
    if info.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// The outcome of a deletion.
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// Deletion has begun; somebody has to finish it.
    Begun(Arc<Value>),
}

/// DELETE of the object that the path names.
pub async fn delete(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let options = DeleteOptions::read(&call.info, &body.options()?)?;
    if call.resource.collection.as_ref() == NAMESPACES
        && matches!(call.info.name.as_str(), "default" | "kube-system" | "kube-public")
    {
        return Err(ApiError::forbidden(
            &call.resource,
            &call.info.name,
            "this namespace may not be deleted",
        ));
    }
    match remove_admitted(call, &call.key(), &options).await? {
        Deleted::Begun(object) => Ok(Reply::object(200, convert::seen(&call.resource, &object))),
        Deleted::Gone(object) if returns_object(&call.resource) => Ok(Reply::object(200, object)),
        Deleted::Gone(object) => {
            let uid = text(&object, "uid");
            Ok(Reply::json(200, status::deleted(&call.resource, &call.info.name, uid)))
        }
    }
}

fn returns_object(resource: &Resource) -> bool {
    let plural = resource.plural.as_str();
    !resource.is_custom()
        && matches!(
            plural,
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "storageclasses"
        )
}

/// Deletes one object, or begins to, without asking any webhook.
pub fn remove(
    state: &State,
    resource: &Resource,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    loop {
        let before = present(state, resource, key, options)?;
        if let Ok(done) = step(state, resource, before, options) {
            return Ok(done);
        }
    }
}

/// The same for a client: webhooks may refuse it.
async fn remove_admitted(call: &Call, key: &Key, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    loop {
        let before = present(&call.state, &call.resource, key, options)?;
        let seen = convert::seen(&call.resource, &before);
        Admission::delete(call, &seen, options.sent.clone(), options.dry_run).permit().await?;
        if let Ok(done) = step(&call.state, &call.resource, before, options) {
            return Ok(done);
        }
    }
}

fn present(
    state: &State,
    resource: &Resource,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Arc<Value>, ApiError> {
    let before =
        state.store.get(&resource.collection, key).ok_or_else(|| ApiError::not_found(resource, &key.name))?;
    check_preconditions(resource, key, &before, options)?;
    Ok(before)
}

/// Takes the step that is next, if the object is still as it was.
fn step(
    state: &State,
    resource: &Resource,
    before: Arc<Value>,
    options: &DeleteOptions,
) -> Result<Deleted, Changed> {
    let step = plan(state, resource, &before, options);
    if options.dry_run {
        return Ok(match step {
            Step::Remove => Deleted::Gone(before),
            Step::Keep(next) => Deleted::Begun(Arc::new(next)),
            Step::Nothing => Deleted::Begun(before),
        });
    }
    let done = match step {
        Step::Remove if *resource.collection == *PODS && !already_ended(&before) => {
            // A pod always gets its end announced, if only for the blink of an eye.
            let mut ending = (*before).clone();
            ending["metadata"]["deletionTimestamp"] = json!(deadline(state, 0));
            ending["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            let ending = state.store.put(&resource.collection, Expect::Is(&before), ending)?;
            state.store.remove(&resource.collection, &ending, (*ending).clone())?;
            Deleted::Gone(ending)
        }
        Step::Remove => {
            // Watchers and the client see the object as it was stored last.
            state.store.remove(&resource.collection, &before, (*before).clone())?;
            Deleted::Gone(before)
        }
        Step::Keep(next) => {
            Deleted::Begun(state.store.put(&resource.collection, Expect::Is(&before), next)?)
        }
        Step::Nothing => Deleted::Begun(before),
    };
    super::create::after_write(state, resource);
    Ok(done)
}

fn check_preconditions(
    resource: &Resource,
    key: &Key,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let checks = [
        ("UID", &options.uid, text(object, "uid"), "deleted and then recreated"),
        ("ResourceVersion", &options.version, text(object, "resourceVersion"), "modified"),
    ];
    for (what, wanted, found, meanwhile) in checks {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {meanwhile}"
            );
            let kind = status::qualified(&resource.group, &resource.kind);
            let message = format!("Operation cannot be fulfilled on {kind} \"{}\": {why}", key.name);
            let mut error = ApiError::conflict(resource, &key.name, &why);
            error.message = message;
            error.details["kind"] = json!(resource.kind);
            return Err(error);
        }
    }
    Ok(())
}

fn already_ended(pod: &Value) -> bool {
    metadata::is_deleting(pod) && metadata::grace(pod) == Some(0)
}

enum Step {
    Remove,
    Keep(Value),
    Nothing,
}

/// What the next state of the object is.
fn plan(state: &State, resource: &Resource, before: &Value, options: &DeleteOptions) -> Step {
    let mut next = before.clone();
    match options.propagation {
        Some(Propagation::Foreground) => {
            metadata::remove_finalizer(&mut next, ORPHAN);
            metadata::add_finalizer(&mut next, FOREGROUND);
        }
        Some(Propagation::Orphan) => {
            metadata::remove_finalizer(&mut next, FOREGROUND);
            metadata::add_finalizer(&mut next, ORPHAN);
        }
        Some(Propagation::Background) => {
            metadata::remove_finalizer(&mut next, ORPHAN);
            metadata::remove_finalizer(&mut next, FOREGROUND);
        }
        None => {}
    }
    let grace = grace_seconds(resource, before, options);
    let first = !metadata::is_deleting(before);
    if resource.collection.as_ref() == DEFINITIONS && first {
        definition::terminate(state, &mut next);
    }
    let is_namespace = resource.collection.as_ref() == NAMESPACES;
    let unfinished =
        is_namespace && before["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    if grace == 0 && finalizers(&next).is_empty() && !unfinished {
        return Step::Remove;
    }
    let shorter = metadata::grace(before).is_some_and(|old| grace < old);
    if first || shorter {
        next["metadata"]["deletionTimestamp"] = json!(deadline(state, grace));
        if !is_namespace {
            next["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        }
    }
    if first && let Some(generation) = before["metadata"]["generation"].as_i64().filter(|g| *g > 0) {
        next["metadata"]["generation"] = json!(generation + 1);
    }
    if is_namespace {
        next["status"]["phase"] = json!("Terminating");
    }
    if next == *before { Step::Nothing } else { Step::Keep(next) }
}

/// A pod that runs on a node gets time to end; everything else goes at once.
fn grace_seconds(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if resource.collection.as_ref() != PODS {
        return 0;
    }
    let bound = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !bound || ended {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let asked = options.grace.unwrap_or(own).max(0);
    // A running deletion can be shortened, not lengthened.
    metadata::grace(object).map_or(asked, |running| running.min(asked))
}

fn deadline(state: &State, grace: i64) -> String {
    let now = state.clock.now();
    let later = now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(now);
    later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// DELETE of all objects that match.
pub async fn delete_collection(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let options = DeleteOptions::read(&call.info, &body.options()?)?;
    let labels = LabelSelector::parse(call.info.parameter("labelSelector").unwrap_or_default())
        .map_err(ApiError::bad_request)?;
    let fields = FieldSelector::parse(call.info.parameter("fieldSelector").unwrap_or_default())
        .map_err(ApiError::bad_request)?;
    let (all, _) = call.state.store.list(&call.resource.collection, &call.info.namespace);
    let mut items = Vec::new();
    for object in all {
        let seen = convert::seen(&call.resource, &object);
        if !labels.matches(seen["metadata"]["labels"].as_object()) || !fields.matches(&seen) {
            continue;
        }
        match remove_admitted(call, &Key::of(&object), &options).await {
            // The answer lists what was there before.
            Ok(_) => items.push(seen),
            // Somebody else deleted it meanwhile.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let listing = Listing { items, revision: call.state.store.revision(), token: None, remaining: None };
    Ok(Reply { code: 200, content: Content::List(listing), warnings: Vec::new() })
}
