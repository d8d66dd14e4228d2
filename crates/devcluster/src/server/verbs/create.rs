//! POST.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{reviews, write};
use crate::server::admission::Admission;
use crate::server::body::Body;
use crate::server::call::{Call, Content, DEFINITIONS, Reply, State};
use crate::server::decode::{self, Origin};
use crate::server::metadata::{self, text};
use crate::server::names::{random_suffix, random_uid};
use crate::server::registry::Resource;
use crate::server::status::ApiError;
use crate::server::store::{Changed, Expect};
use crate::server::{convert, defaults, definition, validate};

const NAME_ATTEMPTS: usize = 8;

/// Creates an object from a request.
pub async fn create(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let mut object = body.object()?;
    if call.resource.custom.as_ref().is_some_and(|custom| custom.terminating) {
        let why = "create not allowed while custom resource definition is terminating";
        let mut error = ApiError::new(405, "MethodNotAllowed", why);
        error.details = json!({ "group": call.resource.group, "kind": call.resource.plural });
        return Err(error);
    }
    let warnings = decode::decode(call, &mut object, Origin::Body)?;
    if call.resource.verbs == ["create"] {
        return reviews::answer(call, object).await;
    }
    write::check_namespace(call, &mut object)?;
    let created = insert(call, object, false).await?;
    Ok(Reply { code: 201, content: Content::Object(created), warnings })
}

/// Completes, checks and stores a new object. `owned` says that field ownership is already recorded.
pub async fn insert(call: &Call, mut object: Value, owned: bool) -> Result<Arc<Value>, ApiError> {
    if !matches!(text(&object, "resourceVersion"), "" | "0") {
        return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
    }
    prepare(call, &mut object)?;
    // What comes after this, admission included, nobody owns.
    if !owned {
        write::own(call, None, &mut object);
    }
    defaults::finish(&call.resource, &mut object);
    let admission = Admission::create(call);
    admission.mutate(&mut object).await?;
    prepare(call, &mut object)?;
    defaults::finish(&call.resource, &mut object);
    write::check_namespace(call, &mut object)?;
    let generated = text(&object, "name").is_empty() && !text(&object, "generateName").is_empty();
    for _ in 0..NAME_ATTEMPTS {
        let mut candidate = object.clone();
        if generated {
            let base: String = text(&object, "generateName").chars().take(58).collect();
            candidate["metadata"]["name"] = json!(format!("{base}{}", random_suffix()));
        }
        stamp(call, &mut candidate)?;
        let causes = validate::written(&call.resource, None, &candidate);
        let name = text(&candidate, "name").to_owned();
        if !causes.is_empty() {
            return Err(ApiError::invalid(&call.resource, &name, &causes));
        }
        defaults::classify(&call.resource, &mut candidate);
        admission.validate(&candidate).await?;
        metadata::tidy(&mut candidate);
        if call.resource.collection.as_ref() == DEFINITIONS {
            definition::establish(&call.state, &mut candidate);
        }
        match store(call, candidate) {
            Ok(object) => return Ok(object),
            Err(Changed) if generated => {}
            Err(Changed) => return Err(ApiError::already_exists(&call.resource, &name)),
        }
    }
    let name = text(&object, "generateName").to_owned();
    object["metadata"]["name"] = json!(name);
    Err(ApiError::already_exists(&call.resource, &name))
}

fn store(call: &Call, candidate: Value) -> Result<Arc<Value>, Changed> {
    let (state, resource) = (&call.state, &call.resource);
    let candidate = convert::stored(resource, candidate);
    if call.info.dry_run {
        let key = crate::server::store::Key::of(&candidate);
        return match state.store.get(&resource.collection, &key) {
            Some(_) => Err(Changed),
            None => Ok(convert::seen(resource, &Arc::new(candidate))),
        };
    }
    let object = state.store.put(&resource.collection, Expect::Absent, candidate)?;
    after_write(state, resource);
    Ok(convert::seen(resource, &object))
}

/// Takes away what only the server writes, whoever wrote it, and fills in defaults.
fn prepare(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let map = metadata::map(object)?;
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "selfLink",
    ] {
        map.remove(field);
    }
    // A node registers itself with its status; elsewhere a status in a POST is ignored.
    if resource.status
        && !resource.is("", "nodes")
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    decode::complete(call, object);
    if !resource.is_custom() && resource.status && object["status"].is_null() {
        object["status"] = json!({});
    }
    Ok(())
}

/// What the server itself writes into a new object.
fn stamp(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let map = metadata::map(object)?;
    map.insert("uid".into(), json!(random_uid()));
    map.insert("creationTimestamp".into(), json!(call.state.now()));
    if call.resource.generation {
        map.insert("generation".into(), json!(1));
    }
    // Some defaults are made of the uid.
    decode::complete(call, object);
    Ok(())
}

/// Consequences of a stored change that have to be in effect when the answer is sent.
pub fn after_write(state: &State, resource: &Resource) {
    if resource.collection.as_ref() == DEFINITIONS {
        state.refresh_registry();
    }
}
