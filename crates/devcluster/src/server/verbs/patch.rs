//! PATCH: JSON, merge and strategic merge patches, and server-side apply.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::create;
use super::write::{self, Update};
use crate::object::ownership::{self, ApplyError};
use crate::object::patch::{self, PatchError};
use crate::server::body::{self, Body};
use crate::server::call::{Call, Content, Reply};
use crate::server::decode::{self, Origin};
use crate::server::metadata::text;
use crate::server::status::{ApiError, Cause};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY_YAML: &str = "application/apply-patch+yaml";
const APPLY_JSON: &str = "application/apply-patch+json";

/// PATCH of an object or of one of its subresources.
pub async fn patch(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    match body.media_type.as_str() {
        APPLY_YAML | APPLY_JSON => apply(call, body).await,
        JSON | MERGE => change(call, body).await,
        STRATEGIC if !call.resource.is_custom() => change(call, body).await,
        STRATEGIC => Err(ApiError::unsupported_media_type(&accepted(call))),
        _ => Err(ApiError { details: json!({}), ..ApiError::unsupported_media_type(&accepted(call)) }),
    }
}

fn accepted(call: &Call) -> String {
    let strategic = (!call.resource.is_custom()).then_some(STRATEGIC);
    [JSON, MERGE].into_iter().chain(strategic).chain([APPLY_YAML]).collect::<Vec<_>>().join(", ")
}

async fn change(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    if call.info.flag("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", &[cause]));
    }
    let patch = body::json(&body.bytes)?;
    if body.media_type != JSON && !patch.is_object() {
        return Err(ApiError::bad_request(
            "json: cannot unmarshal the patch into Go value of type map[string]interface {}",
        ));
    }
    let warnings = std::sync::Mutex::new(Vec::new());
    let compute = |before: &Value| {
        let mut after = match body.media_type.as_str() {
            JSON => patch::json(before, &patch).map_err(refused)?,
            MERGE => patch::merge(before, &patch),
            _ => patch::strategic(before, &patch, &call.resource.topology).map_err(refused)?,
        };
        let found = decode::decode(call, &mut after, Origin::Patch)?;
        *warnings.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(after)
    };
    let update = Update { compute: &compute, origin: Origin::Patch, owned: false, unconditional: true };
    let object = write::run(call, &update).await?;
    Ok(Reply::object(200, object).warn(warnings.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn refused(error: PatchError) -> ApiError {
    match error {
        PatchError::Malformed(why) => ApiError::bad_request(why),
        // The real server keeps the reason to itself.
        PatchError::Unprocessable(why) => {
            tracing::debug!(why, "patch does not fit");
            let message = "the server rejected our request due to an error in our request";
            let mut error = ApiError::new(422, "Invalid", message);
            error.details = json!({});
            error
        }
    }
}

async fn apply(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let Some(manager) = call.info.parameter("fieldManager") else {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", &[cause]));
    };
    let mut config = body::yaml(&body.bytes)?;
    if config["metadata"].get("managedFields").is_some_and(|m| m.as_array().is_some_and(|l| !l.is_empty())) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    check_kind(call, &config)?;
    if text(&config, "name").is_empty() {
        let why = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.info.name
        );
        return Err(ApiError::bad_request(why));
    }
    let warnings = decode_config(call, &mut config)?;
    write::check_names(call, &mut config)?;
    let merge = |live: Option<&Value>| {
        let subresource = Some(call.info.subresource.as_str()).filter(|s| !s.is_empty());
        ownership::apply(
            live,
            &config,
            manager,
            subresource,
            call.info.flag("force"),
            &call.resource.api_version(),
            &call.state.now(),
            &call.resource.topology,
        )
        .map_err(conflicts)
    };
    // Between the look and the write the object may come or go; then the other way is right.
    for _ in 0..3 {
        let exists = call.state.store.get(&call.resource.collection, &call.key()).is_some();
        if exists {
            let compute = |before: &Value| {
                let mut after = merge(Some(before))?;
                for field in ["resourceVersion", "uid"] {
                    let wanted = text(&config, field);
                    if !wanted.is_empty() {
                        after["metadata"][field] = json!(wanted);
                    }
                }
                Ok(after)
            };
            let update =
                Update { compute: &compute, origin: Origin::Apply, owned: true, unconditional: true };
            match write::run(call, &update).await {
                Err(error) if error.code == 404 => continue,
                outcome => return Ok(Reply::object(200, outcome?).warn(warnings)),
            }
        }
        match upsert(call, &config, &merge).await {
            Err(error) if error.reason == "AlreadyExists" => {}
            outcome => {
                return Ok(Reply { code: 201, content: Content::Object(outcome?), warnings });
            }
        }
    }
    Err(ApiError::modified(&call.resource, &call.info.name))
}

async fn upsert(
    call: &Call,
    config: &Value,
    merge: &(dyn Fn(Option<&Value>) -> Result<Value, ApiError> + Send + Sync),
) -> Result<Arc<Value>, ApiError> {
    if !call.info.subresource.is_empty() {
        return Err(ApiError::not_found(&call.resource, &call.info.name));
    }
    let object = merge(None)?;
    let uid = text(config, "uid");
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(ApiError::conflict(&call.resource, &call.info.name, &why));
    }
    create::insert(call, object, true).await
}

fn check_kind(call: &Call, config: &Value) -> Result<(), ApiError> {
    for field in ["apiVersion", "kind"] {
        if config[field].as_str().unwrap_or_default().is_empty() {
            let what = if field == "kind" { "Kind" } else { field };
            return Err(ApiError::bad_request(format!("Object '{what}' is missing in '{config}'")));
        }
    }
    let (wanted, kind) = (call.resource.api_version(), &call.resource.kind);
    if config["kind"] != kind.as_str() || config["apiVersion"] != wanted.as_str() {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={}",
            config["apiVersion"].as_str().unwrap_or_default(),
            config["kind"].as_str().unwrap_or_default()
        )));
    }
    Ok(())
}

/// An unknown field is an error of an apply, whatever the field validation: nobody could own it.
fn decode_config(call: &Call, config: &mut Value) -> Result<Vec<String>, ApiError> {
    let sent = config.clone();
    let warnings = decode::decode(call, config, Origin::Apply)?;
    if let Some(first) = warnings.first() {
        let path = first.trim_start_matches("unknown field ").trim_matches('"');
        let message = format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): .{path}: field not declared in schema",
            text(&sent, "namespace"),
            call.info.name,
            call.resource.api_version(),
            call.resource.kind,
        );
        return Err(ApiError::new(500, "", message));
    }
    Ok(warnings)
}

fn conflicts(error: ApplyError) -> ApiError {
    let list = match error {
        ApplyError::Invalid(why) => return ApiError::bad_request(why),
        ApplyError::Conflicts(list) => list,
    };
    let message = ApplyError::Conflicts(list.clone()).to_string();
    let mut error = ApiError::new(409, "Conflict", message);
    let causes: Vec<Value> = list
        .iter()
        .map(|c| json!({ "reason": "FieldManagerConflict", "message": c.message(), "field": c.path }))
        .collect();
    error.details = json!({ "causes": causes });
    error
}
