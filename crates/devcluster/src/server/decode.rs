//! From what a client sent to an object of the resource: type check, field validation, pruning, defaults.

use serde_json::{Value, json};

use super::call::Call;
use super::defaults;
use super::metadata;
use super::status::{ApiError, Cause};

/// What to do about fields that the resource does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    /// The query parameter; the default is to warn.
    pub fn of(call: &Call) -> Result<Self, ApiError> {
        match call.info.parameter("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(ApiError::invalid_kind(
                "meta.k8s.io",
                &format!(
                    "{}Options",
                    if call.info.verb == super::Verb::Create { "Create" } else { "Update" }
                ),
                "",
                &[Cause::unsupported("fieldValidation", &other.into(), &["", "Ignore", "Warn", "Strict"])],
            )),
        }
    }
}

/// Where the object came from, which decides how complaints are worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A whole object in the body.
    Body,
    /// The result of a patch.
    Patch,
    /// A server-side apply configuration.
    Apply,
}

/// Checks and completes an object. Returns warnings.
pub fn decode(call: &Call, object: &mut Value, origin: Origin) -> Result<Vec<String>, ApiError> {
    let validation = FieldValidation::of(call)?;
    check_manager(call)?;
    identify(call, object, origin)?;
    metadata::map(object)?;
    let unknown = match &call.resource.custom {
        Some(custom) => match &custom.schema {
            Some(schema) => schema.prune(object),
            None => Vec::new(),
        },
        None => call
            .state
            .schemas
            .decode(&call.resource, object)
            .map_err(|mismatch| cannot_unmarshal(call, &mismatch, object, origin))?,
    };
    metadata::tidy(object);
    let complaints: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if complaints.is_empty() || validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    if validation == FieldValidation::Strict {
        let why = format!("strict decoding error: {}", complaints.join(", "));
        return Err(refused(call, object, origin, &why));
    }
    Ok(complaints)
}

/// Fills in defaults; for objects that are about to be stored, not for apply configurations.
pub fn complete(call: &Call, object: &mut Value) {
    match &call.resource.custom {
        Some(custom) => {
            if let Some(schema) = &custom.schema {
                schema.default(object);
            }
        }
        None => defaults::apply(&call.resource, object),
    }
}

/// Brings an object that a webhook has patched back into the resource's form: what the resource does not know is
/// dropped, what is missing gets its default.
pub fn again(call: &Call, object: &mut Value) -> Result<(), String> {
    let resource = &call.resource;
    if object["apiVersion"] != resource.api_version() || object["kind"] != resource.kind.as_str() {
        let found = format!("{} {}", object["apiVersion"], object["kind"]);
        return Err(format!("the object became one of {found} instead of {}", resource.kind));
    }
    metadata::map(object).map_err(|error| error.message)?;
    match &resource.custom {
        Some(custom) => {
            if let Some(schema) = &custom.schema {
                schema.prune(object);
            }
        }
        None => {
            call.state.schemas.decode(resource, object).map_err(|mismatch| {
                let (found, field, wanted) = (mismatch.found, mismatch.field, mismatch.wanted);
                format!(
                    "json: cannot unmarshal {found} into Go struct field {}.{field} of type {wanted}",
                    resource.kind
                )
            })?;
        }
    }
    metadata::tidy(object);
    complete(call, object);
    Ok(())
}

fn check_manager(call: &Call) -> Result<(), ApiError> {
    let Some(manager) = call.info.parameter("fieldManager") else { return Ok(()) };
    let why = if manager.len() > 128 {
        "may not be longer than 128 bytes"
    } else if manager.chars().any(char::is_control) {
        "should only contain printable characters"
    } else {
        return Ok(());
    };
    let kind = match call.info.verb {
        super::Verb::Create => "CreateOptions",
        super::Verb::Patch => "PatchOptions",
        _ => "UpdateOptions",
    };
    let cause = Cause::invalid("fieldManager", &manager.into(), why);
    Err(ApiError::invalid_kind("meta.k8s.io", kind, "", &[cause]))
}

fn identify(call: &Call, object: &mut Value, origin: Origin) -> Result<(), ApiError> {
    let resource = &call.resource;
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is not a JSON object"));
    }
    let wanted = resource.api_version();
    for (field, wanted) in [("apiVersion", wanted.as_str()), ("kind", resource.kind.as_str())] {
        let found = object[field].as_str().unwrap_or_default();
        if found.is_empty() {
            if resource.is_custom() && field == "kind" {
                return Err(ApiError::bad_request(format!("Object 'Kind' is missing in '{object}'")));
            }
            object[field] = json!(wanted);
        } else if found != wanted && resource.is_custom() && field == "kind" {
            let cause = Cause::invalid("kind", &found.into(), &format!("must be {wanted}"));
            return Err(ApiError::invalid_kind(
                &resource.group,
                found,
                metadata::text(object, "name"),
                &[cause],
            ));
        } else if found != wanted && origin == Origin::Patch {
            let why = format!("the {field} in the data ({found}) does not match the expected one ({wanted})");
            return Err(refused(call, object, origin, &why));
        } else if found != wanted {
            let what = if field == "kind" { "kind" } else { "API version" };
            return Err(ApiError::bad_request(format!(
                "the {what} in the data ({found}) does not match the expected {what} ({wanted})"
            )));
        }
    }
    Ok(())
}

fn refused(call: &Call, object: &Value, origin: Origin, why: &str) -> ApiError {
    let Call { resource, .. } = call;
    match origin {
        Origin::Patch => {
            ApiError::invalid_kind("", "", "", &[Cause::invalid("patch", &object.to_string().into(), why)])
        }
        Origin::Body | Origin::Apply => ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}",
            kind = resource.kind,
            version = resource.version,
        )),
    }
}

fn cannot_unmarshal(
    call: &Call,
    mismatch: &super::builtin_schema::Mismatch,
    object: &Value,
    origin: Origin,
) -> ApiError {
    let why = format!(
        "json: cannot unmarshal {} into Go struct field {}.{} of type {}",
        mismatch.found, call.resource.kind, mismatch.field, mismatch.wanted
    );
    refused(call, object, origin, &why)
}
