//! Putting objects straight into the store: seeds and snapshots.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::ServerError;
use super::call::{DEFINITIONS, NAMESPACES, State};
use super::names::random_uid;
use super::registry::Resource;
use super::store::{Expect, Key};
use super::{convert, defaults, definition, metadata, validate};

/// Stores objects as they are and fills in what is missing. Definitions and namespaces come first, and a namespace
/// that nobody declares is made.
pub fn load(state: &Arc<State>, mut objects: Vec<Value>) -> Result<(), ServerError> {
    let rank = |object: &Value| match object["kind"].as_str() {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        _ => 2,
    };
    objects.sort_by_key(rank);
    let _guard = state.loading.lock().unwrap_or_else(PoisonError::into_inner);
    objects.into_iter().try_for_each(|object| one(state, object))
}

fn failure(object: &Value, why: impl std::fmt::Display) -> ServerError {
    let part = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let what = format!("{} {}", part(&object["kind"]), part(&object["metadata"]["name"]));
    ServerError::Load { what, why: why.to_string() }
}

fn one(state: &Arc<State>, mut object: Value) -> Result<(), ServerError> {
    let registry = state.registry();
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let Some(resource) = registry.find_kind(api_version, kind).cloned() else {
        return Err(failure(&object, format!("no resource {api_version} {kind} is served")));
    };
    metadata::map(&mut object).map_err(|error| failure(&Value::Null, error.message))?;
    complete(state, &resource, &mut object)?;
    let causes = validate::object(&resource, None, &object);
    if let Some(cause) = causes.first() {
        return Err(failure(&object, format!("{}: {}", cause.field, cause.message)));
    }
    put(state, &resource, object);
    if resource.collection.as_ref() == DEFINITIONS {
        state.refresh_registry();
    }
    Ok(())
}

fn complete(state: &Arc<State>, resource: &Resource, object: &mut Value) -> Result<(), ServerError> {
    if resource.namespaced {
        let namespace = metadata::text(object, "namespace").to_owned();
        let namespace = if namespace.is_empty() { "default".to_owned() } else { namespace };
        object["metadata"]["namespace"] = json!(namespace);
        ensure_namespace(state, &namespace)?;
    }
    let now = state.now();
    let uid = random_uid();
    let map = metadata::map(object).map_err(|error| failure(&Value::Null, error.message))?;
    map.remove("resourceVersion");
    for (field, value) in [("uid", json!(uid)), ("creationTimestamp", json!(now))] {
        if map.get(field).is_none_or(Value::is_null) {
            map.insert(field.to_owned(), value);
        }
    }
    if resource.generation && map.get("generation").is_none_or(Value::is_null) {
        map.insert("generation".to_owned(), json!(1));
    }
    if let Some(custom) = &resource.custom {
        if let Some(schema) = &custom.schema {
            schema.prune(object);
            schema.default(object);
        }
    } else {
        state
            .schemas
            .decode(resource, object)
            .map_err(|m| failure(object, format!("{}: {} instead of {}", m.field, m.found, m.wanted)))?;
        defaults::apply(resource, object);
    }
    if resource.collection.as_ref() == DEFINITIONS {
        definition::establish(state, object);
    }
    metadata::tidy(object);
    Ok(())
}

/// Makes a namespace unless it exists.
pub fn ensure_namespace(state: &Arc<State>, name: &str) -> Result<(), ServerError> {
    if state.store.get(NAMESPACES, &Key::new("", name)).is_some() {
        return Ok(());
    }
    one(state, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
}

fn put(state: &State, resource: &Resource, object: Value) {
    let object = convert::stored(resource, object);
    let key = Key::of(&object);
    loop {
        let before = state.store.get(&resource.collection, &key);
        let expect = before.as_ref().map_or(Expect::Absent, Expect::Is);
        if state.store.put(&resource.collection, expect, object.clone()).is_ok() {
            return;
        }
    }
}
