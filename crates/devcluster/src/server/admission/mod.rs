//! Admission: what is changed in, or held against, an object after it has been decoded and before it is stored.
//!
//! Built-in plugins and mutating webhooks first, in the order of their configurations' names, and once more where a
//! webhook asks for that after somebody else's change. Then the object is validated. Then validating webhooks are asked,
//! all at once. No lock is held meanwhile, and the write that follows still compares and swaps.
//!
//! The server's own cleaners (garbage collection, emptying of namespaces and definitions) ask nobody.

mod client;
pub mod conditions;
mod hook;
mod plugins;
pub mod registration;
mod review;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Call, NAMESPACES};
use super::names::random_uid;
use super::registry::{Resource, split_api_version};
use super::status::ApiError;
use super::store::Key;
use super::{convert, decode, metadata};
use crate::object::patch;
use client::Target;
use conditions::Match;
use hook::{Operation, Phase, Subject, Webhook};
use review::Verdict;

const REGISTRATIONS: &str = "admissionregistration.k8s.io";

/// One write on its way through admission.
pub struct Admission<'a> {
    call: &'a Call,
    operation: Operation,
    /// `apiVersion` and `kind` of the object where it is not the resource's own.
    kind: Option<(&'static str, &'static str)>,
    old: Option<&'a Value>,
    options: Value,
    dry_run: bool,
}

/// How webhooks see the client: nobody is told apart here.
fn user() -> Value {
    json!({ "username": "admin", "uid": "admin", "groups": ["system:masters", "system:authenticated"] })
}

fn options(call: &Call, kind: &str) -> Value {
    let mut options = json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" });
    if call.info.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    for parameter in ["fieldManager", "fieldValidation"] {
        if let Some(value) = call.info.parameter(parameter) {
            options[parameter] = json!(value);
        }
    }
    options
}

impl<'a> Admission<'a> {
    /// Of an object that is to be made.
    pub fn create(call: &'a Call) -> Self {
        let options = options(call, "CreateOptions");
        Self {
            call,
            operation: Operation::Create,
            kind: None,
            old: None,
            options,
            dry_run: call.info.dry_run,
        }
    }

    /// Of an object that is to be changed.
    pub fn update(call: &'a Call, old: &'a Value) -> Self {
        let options = options(call, "UpdateOptions");
        let dry_run = call.info.dry_run;
        Self { call, operation: Operation::Update, kind: None, old: Some(old), options, dry_run }
    }

    /// Of an object that is to be deleted.
    pub fn delete(call: &'a Call, old: &'a Value, mut options: Value, dry_run: bool) -> Self {
        options["kind"] = json!("DeleteOptions");
        options["apiVersion"] = json!("meta.k8s.io/v1");
        Self { call, operation: Operation::Delete, kind: None, old: Some(old), options, dry_run }
    }

    /// For objects of another kind than the resource's own, as some subresources take.
    pub fn of_kind(mut self, api_version: &'static str, kind: &'static str) -> Self {
        self.kind = Some((api_version, kind));
        self
    }

    /// Runs plugins and mutating webhooks, which may change the object.
    pub async fn mutate(&self, object: &mut Value) -> Result<(), ApiError> {
        self.plugins(object)?;
        let hooks = self.hooks(Phase::Mutating);
        if hooks.is_empty() {
            return Ok(());
        }
        let mut rounds = Rounds::default();
        self.round(&hooks, object, &mut rounds, false).await?;
        if rounds.changed {
            let seen = object.clone();
            self.plugins(object)?;
            if *object != seen {
                rounds.require();
            }
            self.round(&hooks, object, &mut rounds, true).await?;
        }
        Ok(())
    }

    /// Asks the validating webhooks, all at once.
    pub async fn validate(&self, object: &Value) -> Result<(), ApiError> {
        self.ask_validating(Some(object)).await
    }

    /// Asks all webhooks about a deletion, in which there is nothing to change.
    pub async fn permit(&self) -> Result<(), ApiError> {
        for hook in &self.hooks(Phase::Mutating) {
            let Some(resource) = self.concerned(hook, None)? else { continue };
            let verdict = self.ask(hook, Phase::Mutating, &resource, None).await?;
            if verdict.is_some_and(|verdict| !verdict.patch.is_empty()) {
                return Err(ApiError::internal_error(&format!(
                    "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                    hook.name
                )));
            }
        }
        self.ask_validating(None).await
    }

    fn plugins(&self, object: &mut Value) -> Result<(), ApiError> {
        if self.operation == Operation::Create && self.call.info.subresource.is_empty() {
            plugins::create(self.call, object)?;
        }
        Ok(())
    }

    /// Webhooks have no say about their own configurations: whoever locked everyone out could never be removed.
    fn hooks(&self, phase: Phase) -> Vec<Webhook> {
        if self.call.resource.group == REGISTRATIONS {
            return Vec::new();
        }
        hook::configured(&self.call.state, phase)
    }

    async fn round(
        &self,
        hooks: &[Webhook],
        object: &mut Value,
        rounds: &mut Rounds,
        again: bool,
    ) -> Result<(), ApiError> {
        for (index, hook) in hooks.iter().enumerate() {
            let Some(resource) = self.concerned(hook, Some(object))? else { continue };
            if again && !rounds.due.contains(&index) {
                continue;
            }
            let verdict = self.ask(hook, Phase::Mutating, &resource, Some(object)).await?;
            if let Some(verdict) = verdict
                && self.patch(hook, &resource, object, &verdict.patch)?
            {
                rounds.require();
                rounds.changed = true;
            }
            if hook.is_reinvoked() {
                rounds.asked.insert(index);
            }
        }
        Ok(())
    }

    async fn ask_validating(&self, object: Option<&Value>) -> Result<(), ApiError> {
        let hooks = self.hooks(Phase::Validating);
        let mut calls = Vec::new();
        for hook in &hooks {
            if let Some(resource) = self.concerned(hook, object)? {
                calls.push(async move { self.ask(hook, Phase::Validating, &resource, object).await });
            }
        }
        futures::future::join_all(calls).await.into_iter().try_for_each(|outcome| outcome.map(|_| ()))
    }

    /// The resource as which the webhook is to see the object, if it is to be asked at all.
    fn concerned(&self, hook: &Webhook, object: Option<&Value>) -> Result<Option<Arc<Resource>>, ApiError> {
        let bad = |why: String| ApiError::internal_error(&format!("webhook {:?}: {why}", hook.name));
        if !hook::selects(&hook.object_selector, &[object, self.old]).map_err(bad)? {
            return Ok(None);
        }
        let own = &self.call.resource;
        let alike = self.call.registry.all().filter(|other| {
            other.collection == own.collection
                && !Arc::ptr_eq(other, own)
                && hook.match_policy == "Equivalent"
        });
        let found = [own].into_iter().chain(alike).find(|resource| hook.covers(self.subject(resource)));
        match found {
            Some(resource) if self.in_namespace(hook, object)? && self.meets(hook, resource, object)? => {
                Ok(Some(resource.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Whether the webhook's conditions hold. One that cannot be told counts as a call that fails.
    fn meets(&self, hook: &Webhook, resource: &Resource, object: Option<&Value>) -> Result<bool, ApiError> {
        if hook.match_conditions.is_empty() {
            return Ok(true);
        }
        let request = self.request("", resource, object);
        match self.call.state.expressions.evaluate(&hook.match_conditions, &request) {
            Match::Yes => Ok(true),
            Match::No => Ok(false),
            Match::Unknown(why) if hook.ignores_failures() => {
                tracing::warn!(
                    webhook = hook.name,
                    why,
                    "a condition cannot be told, going on without the webhook"
                );
                Ok(false)
            }
            Match::Unknown(why) => {
                let name = request["name"].as_str().unwrap_or_default();
                Err(ApiError::forbidden(&self.call.resource, name, &why))
            }
        }
    }

    fn subject<'s>(&'s self, resource: &'s Resource) -> Subject<'s> {
        Subject {
            operation: self.operation,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource: &self.call.info.subresource,
            namespaced: resource.namespaced,
        }
    }

    /// What has no namespace is never exempt, except namespaces themselves.
    fn in_namespace(&self, hook: &Webhook, object: Option<&Value>) -> Result<bool, ApiError> {
        let selector = &hook.namespace_selector;
        let is_namespace = self.call.resource.is("", "namespaces");
        let name = if is_namespace { &self.call.info.name } else { &self.call.info.namespace };
        if selector.as_object().is_none_or(serde_json::Map::is_empty) || (name.is_empty() && !is_namespace) {
            return Ok(true);
        }
        let bad = |why: String| ApiError::internal_error(&format!("webhook {:?}: {why}", hook.name));
        if is_namespace
            && self.call.info.subresource.is_empty()
            && let Some(object) = object
        {
            return hook::selects(selector, &[Some(object)]).map_err(bad);
        }
        let namespace = self.call.state.store.get(NAMESPACES, &Key::new("", name));
        let namespace = namespace.ok_or_else(|| ApiError::namespace_not_found(name))?;
        hook::selects(selector, &[Some(&namespace)]).map_err(bad)
    }

    /// Calls one webhook. None if the call failed and that is to be passed over.
    async fn ask(
        &self,
        hook: &Webhook,
        phase: Phase,
        resource: &Resource,
        object: Option<&Value>,
    ) -> Result<Option<Verdict>, ApiError> {
        if self.dry_run && !hook.allows_dry_run() {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(ApiError::bad_request(why));
        }
        match self.exchange(hook, phase, resource, object).await {
            Ok(verdict) => {
                verdict.warnings.iter().for_each(|warning| self.call.warnings.add(warning.clone()));
                verdict.outcome.clone().map(|()| Some(verdict))
            }
            Err(why) if hook.ignores_failures() => {
                tracing::warn!(webhook = hook.name, why, "failed calling a webhook, going on without it");
                Ok(None)
            }
            Err(why) => {
                Err(ApiError::internal_error(&format!("failed calling webhook {:?}: {why}", hook.name)))
            }
        }
    }

    async fn exchange(
        &self,
        hook: &Webhook,
        phase: Phase,
        resource: &Resource,
        object: Option<&Value>,
    ) -> Result<Verdict, String> {
        if !hook.admission_review_versions.iter().any(|version| version == review::VERSION) {
            return Err(format!(
                "webhook does not accept known AdmissionReview versions ({}): its admissionReviewVersions are {}",
                review::VERSION,
                hook.admission_review_versions.join(", ")
            ));
        }
        let target = Target::new(&self.call.state, &hook.client_config, hook.timeout_seconds)?;
        let uid = random_uid();
        let question = review::question(&self.request(&uid, resource, object));
        let answer = target.post(question).await?;
        review::answer(&hook.name, phase, &uid, &answer)
    }

    fn request(&self, uid: &str, resource: &Resource, object: Option<&Value>) -> Value {
        let info = &self.call.info;
        let own = &self.call.resource;
        let kind = |resource: &Resource| match self.kind {
            Some((api_version, kind)) => {
                let (group, version) = split_api_version(api_version);
                json!({ "group": group, "version": version, "kind": kind })
            }
            None => {
                json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
            }
        };
        let plural = |resource: &Resource| json!({ "group": resource.group, "version": resource.version, "resource": resource.plural });
        let shown = |object: Option<&Value>| object.map_or(Value::Null, |o| self.converted(own, resource, o));
        let mut request = json!({
            "uid": uid, "kind": kind(resource), "resource": plural(resource),
            "requestKind": kind(own), "requestResource": plural(own),
            "operation": self.operation.as_str(), "userInfo": user(),
            "object": shown(object), "oldObject": shown(self.old),
            "dryRun": self.dry_run, "options": self.options,
        });
        // By then the real server has taken the old object's ownership out to compute the new one's.
        if self.operation == Operation::Update
            && let Some(metadata) = request["oldObject"]["metadata"].as_object_mut()
        {
            metadata.remove("managedFields");
        }
        let name = match info.name.as_str() {
            "" => object.map_or("", |object| metadata::text(object, "name")),
            name => name,
        };
        // To the real server a namespace is in itself.
        let namespace = if own.is("", "namespaces") { name } else { &info.namespace };
        for (field, value) in [
            ("name", name),
            ("namespace", namespace),
            ("subResource", &info.subresource),
            ("requestSubResource", &info.subresource),
        ] {
            if !value.is_empty() {
                request[field] = json!(value);
            }
        }
        request
    }

    fn converted(&self, from: &Resource, to: &Resource, object: &Value) -> Value {
        if self.kind.is_some() || std::ptr::eq(from, to) {
            return object.clone();
        }
        let stored = Arc::new(convert::stored(from, object.clone()));
        (*convert::seen(to, &stored)).clone()
    }

    /// Applies a webhook's patch; says whether it changed anything.
    fn patch(
        &self,
        hook: &Webhook,
        resource: &Resource,
        object: &mut Value,
        patch: &[u8],
    ) -> Result<bool, ApiError> {
        if patch.is_empty() {
            return Ok(false);
        }
        let bad = |why: String| {
            ApiError::internal_error(&format!(
                "the patch of admission webhook {:?} is of no use: {why}",
                hook.name
            ))
        };
        let operations: Value = serde_json::from_slice(patch).map_err(|error| bad(error.to_string()))?;
        let own = &self.call.resource;
        let shown = self.converted(own, resource, object);
        let patched = patch::json(&shown, &operations).map_err(|error| bad(error.to_string()))?;
        let mut patched = self.converted(resource, own, &patched);
        if self.kind.is_none() {
            decode::again(self.call, &mut patched).map_err(bad)?;
        }
        let changed = patched != *object;
        *object = patched;
        Ok(changed)
    }
}

/// Which webhooks have to be asked again.
#[derive(Default)]
struct Rounds {
    /// Those that want to be asked again after a change, and have seen every change so far.
    asked: BTreeSet<usize>,
    /// Those that have missed a change.
    due: BTreeSet<usize>,
    /// Whether a webhook has changed the object.
    changed: bool,
}

impl Rounds {
    /// After a change.
    fn require(&mut self) {
        self.due.append(&mut self.asked);
    }
}
