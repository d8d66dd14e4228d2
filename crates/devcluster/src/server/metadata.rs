//! Rules for `metadata`: what a client may set, what the server sets, what may change.

use serde_json::{Map, Value, json};

use super::names;
use super::registry::Resource;
use super::status::{ApiError, Cause};

/// Keys and values of all annotations together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The fields that metadata may have; others are dropped.
const FIELDS: [&str; 16] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "clusterName",
    "managedFields",
];

/// Text of a metadata field, empty if absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Number of seconds in `metadata.deletionGracePeriodSeconds`.
pub fn grace(object: &Value) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

/// Whether deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The finalizers.
pub fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Removes one finalizer; says whether it was there.
pub fn remove_finalizer(object: &mut Value, name: &str) -> bool {
    let Some(list) = object["metadata"]["finalizers"].as_array_mut() else { return false };
    let before = list.len();
    list.retain(|f| f != name);
    let removed = list.len() != before;
    if list.is_empty()
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("finalizers");
    }
    removed
}

/// Adds a finalizer if it is not there.
pub fn add_finalizer(object: &mut Value, name: &str) {
    if !finalizers(object).contains(&name) {
        match object["metadata"]["finalizers"].as_array_mut() {
            Some(list) => list.push(name.into()),
            None => object["metadata"]["finalizers"] = json!([name]),
        }
    }
}

/// `metadata` as a map, made if it is missing.
pub fn map(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is not a JSON object"));
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().ok_or_else(|| ApiError::bad_request("metadata is not a JSON object"))
}

/// Sets or removes one field of a map.
pub fn put(map: &mut Map<String, Value>, field: &str, value: Option<&Value>) {
    match value.filter(|v| !v.is_null()) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

/// Removes empty and null containers that the real server would not print.
pub fn tidy(object: &mut Value) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    metadata.retain(|field, value| match field.as_str() {
        unknown if !FIELDS.contains(&unknown) => false,
        "labels" | "annotations" => value.as_object().is_none_or(|map| !map.is_empty()) && !value.is_null(),
        "finalizers" | "ownerReferences" => {
            value.as_array().is_none_or(|a| !a.is_empty()) && !value.is_null()
        }
        "selfLink" => false,
        "name" | "namespace" | "generateName" => value.as_str().is_none_or(|t| !t.is_empty()),
        _ => !value.is_null(),
    });
}

/// Complaints about name, labels, annotations, finalizers and owners.
pub fn validate(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "name");
    let complaints = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => names::label(name),
        ("", "services") => names::label_1035(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        (_, "events") => Vec::new(),
        _ => names::subdomain(name),
    };
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        causes.extend(complaints.iter().map(|why| Cause::invalid("metadata.name", &name.into(), why)));
    }
    let metadata = &object["metadata"];
    for (field, is_labels) in [("labels", true), ("annotations", false)] {
        let path = format!("metadata.{field}");
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            // Annotation keys may be upper case in their prefix; the rest is as for labels.
            let key_complaints =
                if is_labels { names::qualified(key) } else { names::qualified(&key.to_lowercase()) };
            causes.extend(key_complaints.iter().map(|why| Cause::invalid(&path, &key.as_str().into(), why)));
            if is_labels && let Some(text) = value.as_str() {
                causes.extend(names::label_value(text).iter().map(|why| Cause::invalid(&path, value, why)));
            }
        }
    }
    let size: usize = metadata["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len())
        .sum();
    if size > ANNOTATIONS_LIMIT {
        let message = format!("Too long: must have at most {ANNOTATIONS_LIMIT} bytes");
        causes.push(Cause::new("FieldValueTooLong", "metadata.annotations", message));
    }
    causes.extend(owners(metadata));
    for (index, finalizer) in finalizers(object).into_iter().enumerate() {
        let complaints = names::qualified(finalizer);
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        if complaints.is_empty() && !standard && !finalizer.contains('/') && !resource.is_custom() {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), &finalizer.into(), why));
        }
        let complaints =
            complaints.iter().map(|why| Cause::invalid("metadata.finalizers", &finalizer.into(), why));
        causes.extend(complaints);
    }
    causes
}

fn owners(metadata: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = 0;
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(path, &"".into(), why));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        causes.push(Cause::invalid(
            "metadata.ownerReferences",
            &metadata["ownerReferences"],
            "Only one reference can have Controller set to true",
        ));
    }
    causes
}

/// What an update may not change once deletion has begun.
pub fn validate_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if is_deleting(before) {
        let old = finalizers(before);
        let new: Vec<String> =
            finalizers(after).into_iter().filter(|f| !old.contains(f)).map(|f| format!("{f:?}")).collect();
        if !new.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            );
            causes.push(Cause::forbidden("metadata.finalizers", &why));
        }
    }
    causes
}
