//! The heart of every update: PUT, PATCH and what the server itself changes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::create;
use crate::object::ownership;
use crate::server::admission::Admission;
use crate::server::body::Body;
use crate::server::call::{Call, DEFINITIONS, Reply};
use crate::server::decode::{self, Origin};
use crate::server::metadata::{self, finalizers, text};
use crate::server::status::{ApiError, Cause};
use crate::server::store::{Changed, Expect};
use crate::server::{convert, defaults, definition, validate};

const ATTEMPTS: usize = 100;

/// What an update does to the object, and how it is recorded.
pub struct Update<'a> {
    /// Makes the wanted object from the present one.
    pub compute: &'a (dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
    /// How complaints are worded.
    pub origin: Origin,
    /// Whether `compute` has already recorded field ownership.
    pub owned: bool,
    /// Whether a PUT without a resource version is possible.
    pub unconditional: bool,
}

/// PUT of an object or of its status.
pub async fn replace(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let mut wanted = body.object()?;
    let warnings = decode::decode(call, &mut wanted, Origin::Body)?;
    check_names(call, &mut wanted)?;
    let missing = call.state.store.get(&call.resource.collection, &call.key()).is_none();
    if missing && call.info.subresource.is_empty() && is_created_by_put(call) {
        let versioned = !matches!(text(&wanted, "resourceVersion"), "" | "0");
        if !versioned && text(&wanted, "uid").is_empty() {
            let created = create::insert(call, wanted, false).await?;
            return Ok(Reply::object(201, created).warn(warnings));
        }
    }
    let update = Update {
        compute: &|_| Ok(wanted.clone()),
        origin: Origin::Body,
        owned: false,
        unconditional: allows_unconditional(call),
    };
    let object = run(call, &update).await?;
    Ok(Reply::object(200, object).warn(warnings))
}

/// Kinds for which the real server creates what a PUT does not find.
fn is_created_by_put(call: &Call) -> bool {
    !call.resource.is_custom()
        && (call.resource.group == "rbac.authorization.k8s.io"
            || matches!(call.resource.plural.as_str(), "leases" | "endpoints" | "events" | "services"))
}

fn allows_unconditional(call: &Call) -> bool {
    !call.resource.is_custom()
        && !matches!(
            call.resource.plural.as_str(),
            "runtimeclasses"
                | "leases"
                | "poddisruptionbudgets"
                | "customresourcedefinitions"
                | "mutatingwebhookconfigurations"
                | "validatingwebhookconfigurations"
        )
}

/// Name and namespace in the body have to be those of the path, or absent.
pub fn check_names(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let info = &call.info;
    let name = text(object, "name");
    if !name.is_empty() && name != info.name {
        return Err(other_name(name, &info.name));
    }
    object["metadata"]["name"] = json!(info.name);
    check_namespace(call, object)
}

fn other_name(found: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the name of the object ({found}) does not match the name on the URL ({wanted})"
    ))
}

fn other_namespace(found: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the namespace of the provided object does not match the namespace sent on the request ({found} vs {wanted})"
    ))
}

/// The namespace in the body has to be that of the path, or absent.
pub fn check_namespace(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let wanted = &call.info.namespace;
    let found = text(object, "namespace");
    if !found.is_empty() && found != wanted && !wanted.is_empty() {
        return Err(other_namespace(found, wanted));
    }
    if wanted.is_empty() {
        if let Some(map) = object["metadata"].as_object_mut() {
            map.remove("namespace");
        }
    } else {
        object["metadata"]["namespace"] = json!(wanted);
    }
    Ok(())
}

/// Computes, checks and stores an update; repeats when somebody else was faster and the client did not insist on
/// a version. Returns the object as stored, or as it would be for a dry run.
pub async fn run(call: &Call, update: &Update<'_>) -> Result<Arc<Value>, ApiError> {
    for _ in 0..ATTEMPTS {
        let before = call.stored()?;
        let seen = convert::seen(&call.resource, &before);
        let mut after = (update.compute)(&seen)?;
        check_version(call, &seen, &after, update)?;
        keep_rules(call, &seen, &mut after)?;
        // Before admission: what webhooks change belongs to nobody.
        if !update.owned {
            own(call, Some(&seen), &mut after);
        }
        let admission = Admission::update(call, &seen);
        if is_admitted(call) {
            admission.mutate(&mut after).await?;
            keep_rules(call, &seen, &mut after)?;
        }
        bump_generation(call, &seen, &mut after);
        // Only a binding may set the node of a pod.
        let compared = (call.info.subresource != "binding").then_some(&*seen);
        let causes = validate::written(&call.resource, compared, &after);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&call.resource, &call.info.name, &causes));
        }
        if is_admitted(call) {
            admission.validate(&after).await?;
        }
        metadata::tidy(&mut after);
        keep_ownership_times(&seen, &mut after);
        if after == *seen {
            return Ok(seen);
        }
        if call.info.dry_run {
            return Ok(Arc::new(after));
        }
        if let Ok(object) = store(call, &before, after) {
            return Ok(object);
        }
    }
    Err(ApiError::modified(&call.resource, &call.info.name))
}

/// What holds for every change, whoever made it: the client or a webhook.
fn keep_rules(call: &Call, before: &Value, after: &mut Value) -> Result<(), ApiError> {
    inherit(call, before, after)?;
    decode::complete(call, after);
    defaults::finish(&call.resource, after);
    merge_scope(call, before, after);
    if call.resource.collection.as_ref() == DEFINITIONS && call.info.subresource.is_empty() {
        definition::follow(after);
    }
    Ok(())
}

/// A binding has been through admission as an object of its own.
fn is_admitted(call: &Call) -> bool {
    call.info.subresource != "binding"
}

fn store(call: &Call, before: &Arc<Value>, after: Value) -> Result<Arc<Value>, Changed> {
    let state = &call.state;
    let after = convert::stored(&call.resource, after);
    let done = metadata::is_deleting(&after)
        && finalizers(&after).is_empty()
        && metadata::grace(&after).unwrap_or(0) == 0
        && !namespace_unfinished(call, &after);
    let object = if done {
        // Watchers see the object as it was stored last, the client as it wanted it to be.
        state.store.remove(&call.resource.collection, before, (**before).clone())?;
        Arc::new(after)
    } else {
        state.store.put(&call.resource.collection, Expect::Is(before), after)?
    };
    create::after_write(state, &call.resource);
    Ok(convert::seen(&call.resource, &object))
}

/// A namespace goes only when `spec.finalizers` is empty too.
fn namespace_unfinished(call: &Call, object: &Value) -> bool {
    call.resource.is("", "namespaces")
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

/// Records who wrote what.
pub fn own(call: &Call, before: Option<&Value>, after: &mut Value) {
    let subresource = Some(call.info.subresource.as_str()).filter(|s| !s.is_empty());
    ownership::update(
        before,
        after,
        &call.info.field_manager,
        subresource,
        &call.resource.api_version(),
        &call.state.now(),
        &call.resource.topology,
    );
}

fn check_version(call: &Call, before: &Value, after: &Value, update: &Update<'_>) -> Result<(), ApiError> {
    let wanted = text(after, "resourceVersion");
    let name = &call.info.name;
    if wanted.is_empty() || wanted == "0" {
        if update.origin == Origin::Body && !update.unconditional {
            let cause = Cause::new(
                "FieldValueInvalid",
                "metadata.resourceVersion",
                "Invalid value: 0x0: must be specified for an update",
            );
            let mut error = ApiError::invalid(&call.resource, name, &[cause]);
            // Here, and only here, the real server puts the plural in place of the kind.
            error.details["kind"] = json!(call.resource.plural);
            return Err(error);
        }
    } else if wanted.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing \"{wanted}\": invalid syntax");
        return Err(ApiError::internal(why));
    } else if wanted != text(before, "resourceVersion") {
        return Err(ApiError::modified(&call.resource, name));
    }
    let (uid, found) = (text(after, "uid"), text(before, "uid"));
    if !uid.is_empty() && uid != found && update.origin == Origin::Patch {
        let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
        return Err(ApiError::invalid(&call.resource, name, &[cause]));
    }
    if !uid.is_empty() && uid != found {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(&call.resource, name, &why));
    }
    Ok(())
}

/// What a client cannot change stays as it is.
fn inherit(call: &Call, before: &Value, after: &mut Value) -> Result<(), ApiError> {
    let old = &before["metadata"];
    let name = text(after, "name");
    if !name.is_empty() && name != call.info.name {
        return Err(other_name(name, &call.info.name));
    }
    let namespace = text(after, "namespace");
    if !namespace.is_empty() && namespace != call.info.namespace {
        return Err(other_namespace(namespace, &call.info.namespace));
    }
    let map = metadata::map(after)?;
    let deletion = map.get("deletionTimestamp").filter(|time| !time.is_null());
    if let Some(time) = deletion.filter(|time| Some(*time) != old.get("deletionTimestamp")) {
        let cause = Cause::invalid("metadata.deletionTimestamp", time, "field is immutable");
        return Err(ApiError::invalid(&call.resource, &call.info.name, &[cause]));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        metadata::put(map, field, old.get(field));
    }
    Ok(())
}

/// The main resource does not write the status, the status subresource nothing else.
fn merge_scope(call: &Call, before: &Value, after: &mut Value) {
    let resource = &call.resource;
    match call.info.subresource.as_str() {
        "status" => {
            let status = after.get("status").cloned();
            let mut merged = before.clone();
            if let Some(map) = merged.as_object_mut() {
                metadata::put(map, "status", status.as_ref());
            }
            if let Some(map) = merged["metadata"].as_object_mut() {
                if !resource.is_custom() {
                    metadata::put(map, "annotations", after["metadata"].get("annotations"));
                    if resource.plural != "deployments" {
                        metadata::put(map, "labels", after["metadata"].get("labels"));
                    }
                }
                metadata::put(map, "managedFields", after["metadata"].get("managedFields"));
            }
            *after = merged;
        }
        "binding" => {}
        "finalize" => {
            let list = after["spec"]["finalizers"].clone();
            let managed = after["metadata"].get("managedFields").cloned();
            *after = before.clone();
            after["spec"]["finalizers"] = list;
            if let Some(map) = after["metadata"].as_object_mut() {
                metadata::put(map, "managedFields", managed.as_ref());
            }
        }
        _ => {
            if resource.is("", "namespaces") {
                after["spec"]["finalizers"] = before["spec"]["finalizers"].clone();
            }
            if resource.status
                && let Some(map) = after.as_object_mut()
            {
                metadata::put(map, "status", before.get("status"));
            }
        }
    }
}

/// The generation counts changes of everything but metadata and status.
fn bump_generation(call: &Call, before: &Value, after: &mut Value) {
    if !call.resource.generation {
        return;
    }
    let ignored = |field: &str| field == "metadata" || (field == "status" && call.resource.status);
    let differs = |a: &Value, b: &Value| {
        a.as_object()
            .into_iter()
            .flatten()
            .any(|(field, value)| !ignored(field) && b.get(field) != Some(value))
    };
    if differs(before, after) || differs(after, before) {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        after["metadata"]["generation"] = json!(generation);
    }
}

/// A write that changes nothing but the time of an ownership entry changes nothing.
fn keep_ownership_times(before: &Value, after: &mut Value) {
    let timeless = |object: &Value| {
        let mut fields = object["metadata"]["managedFields"].clone();
        for entry in fields.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        fields
    };
    let without = |object: &Value| {
        let top = object.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata");
        let metadata = object["metadata"].as_object().into_iter().flatten();
        let metadata = metadata.filter(|(field, _)| *field != "managedFields");
        top.chain(metadata).map(|(field, value)| (field.clone(), value.clone())).collect::<Vec<_>>()
    };
    if before["metadata"]["managedFields"] != after["metadata"]["managedFields"]
        && timeless(before) == timeless(after)
        && without(before) == without(after)
    {
        after["metadata"]["managedFields"] = before["metadata"]["managedFields"].clone();
    }
}
