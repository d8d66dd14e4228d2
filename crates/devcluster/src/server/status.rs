//! What the server answers when it refuses: the `Status` object of the Kubernetes API.

use serde_json::{Map, Value, json};

use super::registry::Resource;

/// A refusal: HTTP code, reason, message and details, in the words of the real API server.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, for instance `NotFound`; empty for none.
    pub reason: String,
    /// The sentence a person reads.
    pub message: String,
    /// `details` of the `Status`, null for none.
    pub details: Value,
    /// Seconds after which the client may try again.
    pub retry_after: Option<u32>,
    /// `metadata.continue`: a token with which an expired list can go on.
    pub continue_token: Option<String>,
}

/// One entry of `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For instance `FieldValueInvalid`.
    pub reason: String,
    /// The sentence without the field's name.
    pub message: String,
    /// Path of the field, for instance `spec.replicas`.
    pub field: String,
}

impl Cause {
    /// A cause with an explicit reason.
    pub fn new(reason: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), field: field.into(), message: message.into() }
    }

    /// `Invalid value: <value>: <why>`, with the value printed as the real server prints it.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {}: {why}", shown(value)))
    }

    /// `Required value`, with an optional hint.
    pub fn required(field: impl Into<String>, hint: &str) -> Self {
        let message =
            if hint.is_empty() { "Required value".to_owned() } else { format!("Required value: {hint}") };
        Self::new("FieldValueRequired", field, message)
    }

    /// `Forbidden: <why>`.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    /// `Unsupported value: "x": supported values: "a", "b"`.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {list}", shown(value));
        Self::new("FieldValueNotSupported", field, message)
    }
}

/// Strings in quotes, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// `pods` or `daemonsets.apps`: how messages name a resource.
pub fn qualified(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: Value::Null,
            retry_after: None,
            continue_token: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = details(&resource.group, &resource.plural, name);
        self
    }

    /// 404 for one object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let what = qualified(&resource.group, &resource.plural);
        Self::new(404, "NotFound", format!("{what} \"{name}\" not found")).about(resource, name)
    }

    /// 404 for a namespace that does not exist.
    pub fn namespace_not_found(name: &str) -> Self {
        let mut error = Self::new(404, "NotFound", format!("namespaces \"{name}\" not found"));
        error.details = details("", "namespaces", name);
        error
    }

    /// 404 for a path that no resource is served at.
    pub fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = json!({});
        error
    }

    /// 409 for a name that is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let what = qualified(&resource.group, &resource.plural);
        Self::new(409, "AlreadyExists", format!("{what} \"{name}\" already exists")).about(resource, name)
    }

    /// 409 with a free text.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let what = qualified(&resource.group, &resource.plural);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} \"{name}\": {why}"))
            .about(resource, name)
    }

    /// 409 for a write based on an old version.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 500 for what went wrong behind the server.
    pub fn internal_error(why: &str) -> Self {
        let mut error = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        error.details = json!({ "causes": [{ "message": why }] });
        error
    }

    /// 500, for what the real server did not expect either.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 in the wording of an admission refusal.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let what = qualified(&resource.group, &resource.plural);
        Self::new(403, "Forbidden", format!("{what} \"{name}\" is forbidden: {why}")).about(resource, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut error = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = json!({});
        error
    }

    /// 406: the client accepts nothing that this server offers.
    pub fn not_acceptable(offered: &str) -> Self {
        let message = format!("only the following media types are accepted: {offered}");
        Self { details: json!({}), ..Self::new(406, "NotAcceptable", message) }
    }

    /// 410: the resource version is older than the history that is kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422 with one or more causes.
    pub fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_kind(&resource.group, &resource.kind, name, causes)
    }

    /// 422 for a kind that need not be a served resource.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let mut lines: Vec<String> = Vec::new();
        for cause in causes {
            let line = format!("{}: {}", cause.field, cause.message);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let list = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let what = qualified(group, kind);
        let mut error = Self::new(422, "Invalid", format!("{what} \"{name}\" is invalid: {list}"));
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field }))
            .collect();
        let mut map = details_map(group, kind, name);
        map.insert("causes".into(), Value::Array(causes));
        error.details = Value::Object(map);
        error
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            if details.is_null() {
                details = json!({});
            }
            details["retryAfterSeconds"] = json!(seconds);
        }
        if !details.is_null() {
            status["details"] = details;
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = json!(token);
        }
        if self.reason.is_empty()
            && let Some(map) = status.as_object_mut()
        {
            map.remove("reason");
        }
        status
    }
}

fn details_map(group: &str, kind: &str, name: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if !name.is_empty() {
        map.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        map.insert("group".into(), group.into());
    }
    if !kind.is_empty() {
        map.insert("kind".into(), kind.into());
    }
    map
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    Value::Object(details_map(group, kind, name))
}

/// The `Status` of a completed deletion.
pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut map = details_map(&resource.group, &resource.plural, name);
    map.insert("uid".into(), uid.into());
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": map })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_stands_alone_and_several_in_brackets() {
        let a = Cause::required("spec.a", "");
        let b = Cause::invalid("spec.b", &json!("x"), "must be y");
        let one = ApiError::invalid_kind("apps", "DaemonSet", "d", std::slice::from_ref(&a));
        assert_eq!(one.message, "DaemonSet.apps \"d\" is invalid: spec.a: Required value");
        let two = ApiError::invalid_kind("", "Pod", "p", &[a, b]);
        assert_eq!(
            two.message,
            "Pod \"p\" is invalid: [spec.a: Required value, spec.b: Invalid value: \"x\": must be y]"
        );
        assert_eq!(two.details["causes"][1]["field"], "spec.b");
    }
}
