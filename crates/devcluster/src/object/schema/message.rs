//! Complaints about fields, in the words of a Kubernetes API server.

use serde_json::Value;
use std::fmt;

/// One complaint about one field. Its text is `path: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, as `spec.foo[0].bar`; `<nil>` where the server names none.
    pub path: String,
    /// The machine-readable reason, as `FieldValueInvalid`: the `reason` of a status cause.
    pub reason: String,
    /// The complaint without the path, as `Required value`: the `message` of a status cause.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl FieldError {
    fn new(path: &str, reason: &str, message: String) -> Self {
        Self { path: path.to_owned(), reason: reason.to_owned(), message }
    }

    /// A value is missing.
    pub(super) fn required(path: &str, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self::new(path, "FieldValueRequired", message)
    }

    /// A value breaks a rule.
    pub(super) fn invalid(path: &str, value: &Value, detail: &str) -> Self {
        Self::new(path, "FieldValueInvalid", format!("Invalid value: {value}: {detail}"))
    }

    /// A value is of the wrong type or format. `shown` is the value, or the name of its type.
    pub(super) fn mistyped(path: &str, expected: &str, shown: &str) -> Self {
        let message =
            format!("Invalid value: {shown:?}: {} must be of type {expected}: {shown:?}", in_body(path));
        Self::new(path, "FieldValueTypeInvalid", message)
    }

    /// A value is none of those allowed.
    pub(super) fn unsupported(path: &str, value: &Value, allowed: &[Value]) -> Self {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|v| match v {
                Value::String(text) => format!("{text:?}"),
                other => format!("{:?}", other.to_string()),
            })
            .collect();
        let message = format!("Unsupported value: {value}: supported values: {}", allowed.join(", "));
        Self::new(path, "FieldValueNotSupported", message)
    }

    /// A value stands twice where it may stand once.
    pub(super) fn duplicate(path: &str, value: &Value) -> Self {
        Self::new(path, "FieldValueDuplicate", format!("Duplicate value: {value}"))
    }

    /// A text is too long.
    pub(super) fn too_long(path: &str, max: u64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::new(path, "FieldValueTooLong", format!("Too long: may not be more than {max} {unit}"))
    }

    /// A list has too many items.
    pub(super) fn too_many(path: &str, count: usize, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(path, "FieldValueTooMany", format!("Too many: {count}: must have at most {max} {unit}"))
    }

    /// None, or too many, of several schemas fit. The server gives no path for these.
    pub(super) fn composite(path: &str, detail: &str) -> Self {
        Self::new("<nil>", "FieldValueInvalid", format!("Invalid value: \"\": \"{path}\" {detail}"))
    }
}

/// The name of a field in the middle of a message.
pub(super) fn in_body(path: &str) -> String {
    if path.is_empty() { "body".to_owned() } else { format!("{path} in body") }
}

/// The path of a field of an object.
pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of an item of a list.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}
