//! Selection by labels and fields: which fields can be asked for, and what they read as.

use serde_json::{Value, json};

use super::registry::Resource;
use super::route::RequestInfo;
use super::status::ApiError;
use crate::object::selector::{FieldSelector, LabelSelector};

/// The selectors of one request.
pub struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    /// Boolean fields asked for that read as `false` when absent.
    booleans: Vec<&'static str>,
}

const BOOLEANS: [&str; 2] = ["spec.unschedulable", "spec.hostNetwork"];

impl Selection {
    /// Reads the selectors of a request.
    pub fn read(resource: &Resource, info: &RequestInfo) -> Result<Self, ApiError> {
        let labels = match info.parameter("labelSelector") {
            Some(query) => Some(LabelSelector::parse(query).map_err(ApiError::bad_request)?),
            None => None,
        };
        let fields = match info.parameter("fieldSelector") {
            Some(query) => Some(FieldSelector::parse(query).map_err(ApiError::bad_request)?),
            None => None,
        };
        let mut booleans = Vec::new();
        for field in fields.iter().flat_map(FieldSelector::fields) {
            if !is_known(resource, field) {
                return Err(ApiError::bad_request(unknown_field(resource, field)));
            }
            booleans.extend(BOOLEANS.into_iter().filter(|b| *b == field));
        }
        Ok(Self { labels, fields, booleans })
    }

    /// Whether everything is selected.
    pub fn is_all(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        if let Some(labels) = &self.labels
            && !labels.matches(object["metadata"]["labels"].as_object())
        {
            return false;
        }
        let Some(fields) = &self.fields else { return true };
        if self.booleans.is_empty() {
            return fields.matches(object);
        }
        let mut object = object.clone();
        for field in &self.booleans {
            if let Some((outer, inner)) = field.split_once('.')
                && object[outer][inner].is_null()
            {
                object[outer][inner] = json!(false);
            }
        }
        fields.matches(&object)
    }
}

fn is_known(resource: &Resource, field: &str) -> bool {
    match field {
        "metadata.name" => return true,
        "metadata.namespace" => return resource.namespaced || resource.is_custom() || !is_special(resource),
        _ => {}
    }
    known_fields(resource).contains(&field)
}

fn known_fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "secrets") => &["type"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    }
}

/// Kinds with fields of their own word the refusal in their own way.
fn is_special(resource: &Resource) -> bool {
    !known_fields(resource).is_empty()
}

fn unknown_field(resource: &Resource, field: &str) -> String {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps" | "batch", _) if is_special(resource) => {
            format!("field label \"{field}\" not supported for {}", resource.kind)
        }
        _ if is_special(resource) || resource.is_custom() => format!("field label not supported: {field}"),
        _ => format!(
            "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ),
    }
}
