//! The subresource `scale`: the number of replicas, in a form that all kinds that have one share.

use serde_json::{Value, json};

use super::write::{self, Update};
use crate::object::patch;
use crate::object::selector::LabelSelector;
use crate::server::body::{self, Body};
use crate::server::call::{Call, Reply};
use crate::server::convert;
use crate::server::decode::Origin;
use crate::server::metadata::text;
use crate::server::registry::Resource;
use crate::server::route::Verb;
use crate::server::status::{ApiError, Cause};

/// Where a kind keeps what a scale shows, as JSON pointers.
struct Paths {
    wanted: String,
    present: String,
    /// A label selector in its text form; built-in kinds have an object at `/spec/selector` instead.
    selector: Option<String>,
}

fn paths(resource: &Resource) -> Option<Paths> {
    if let Some(custom) = &resource.custom {
        let pointer = |field: &str| custom.scale[field].as_str().map(|path| path.replace('.', "/"));
        return Some(Paths {
            wanted: pointer("specReplicasPath")?,
            present: pointer("statusReplicasPath")?,
            selector: pointer("labelSelectorPath"),
        });
    }
    let scales = resource.group == "apps"
        && matches!(resource.plural.as_str(), "deployments" | "replicasets" | "statefulsets");
    scales.then(|| Paths {
        wanted: "/spec/replicas".to_owned(),
        present: "/status/replicas".to_owned(),
        selector: None,
    })
}

/// Whether a kind can be scaled.
pub fn is_offered(resource: &Resource) -> bool {
    paths(resource).is_some()
}

/// Reads or writes a scale.
pub async fn handle(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let Some(paths) = paths(&call.resource) else { return Err(ApiError::no_such_path()) };
    if call.info.verb == Verb::Get {
        let object = convert::seen(&call.resource, &call.stored()?);
        return Ok(Reply::json(200, scale(&object, &paths)));
    }
    let sent = match call.info.verb {
        Verb::Update => body.object()?,
        Verb::Patch => body::json(&body.bytes)?,
        _ => return Err(ApiError::method_not_allowed()),
    };
    let compute = |object: &Value| {
        let present = scale(object, &paths);
        let wanted = match (call.info.verb, body.media_type.as_str()) {
            (Verb::Update, _) => sent.clone(),
            (_, "application/json-patch+json") => patch::json(&present, &sent)
                .map_err(|error| ApiError::new(422, "Invalid", error.to_string()))?,
            _ => patch::merge(&present, &sent),
        };
        scaled(object, &wanted, &paths)
    };
    let update = Update { compute: &compute, origin: Origin::Patch, owned: false, unconditional: true };
    let object = write::run(call, &update).await?;
    Ok(Reply::json(200, scale(&object, &paths)))
}

/// The object with as many replicas as a scale wants.
fn scaled(object: &Value, wanted: &Value, paths: &Paths) -> Result<Value, ApiError> {
    let replicas = &wanted["spec"]["replicas"];
    let count = if replicas.is_null() { Some(0) } else { replicas.as_i64() };
    let Some(count) = count.filter(|count| *count >= 0) else {
        let cause = Cause::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid_kind("autoscaling", "Scale", text(object, "name"), &[cause]));
    };
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"].clone();
    if let Some(field) = paths.wanted.strip_prefix("/spec/").filter(|field| !field.contains('/')) {
        object["spec"][field] = json!(count);
    } else if let Some(found) = object.pointer_mut(&paths.wanted) {
        *found = json!(count);
    }
    Ok(object)
}

fn scale(object: &Value, paths: &Paths) -> Value {
    let count = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let from = &object["metadata"];
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !from[field].is_null() {
            metadata[field] = from[field].clone();
        }
    }
    let mut scale = json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {}, "status": { "replicas": count(&paths.present) } });
    if count(&paths.wanted) != 0 {
        scale["spec"]["replicas"] = json!(count(&paths.wanted));
    }
    let selector = match &paths.selector {
        Some(path) => object.pointer(path).and_then(Value::as_str).map(str::to_owned),
        None => LabelSelector::from_value(&object["spec"]["selector"])
            .ok()
            .map(|_| selector_text(&object["spec"]["selector"])),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A label selector as a query would have it.
fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}
