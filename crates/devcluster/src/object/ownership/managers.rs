//! The entries of `metadata.managedFields`.

use super::field_set::FieldSet;
use super::fields_v1;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What a manager did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One manager and what it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) set: FieldSet,
}

impl Entry {
    /// Whether this is the entry of the given manager. Appliers are the same across versions, updaters are not.
    pub(super) fn belongs_to(
        &self,
        manager: &str,
        operation: Operation,
        subresource: Option<&str>,
        api_version: &str,
    ) -> bool {
        self.manager == manager
            && self.operation == operation
            && self.subresource.as_deref() == subresource
            && (operation == Operation::Apply || self.api_version == api_version)
    }

    /// The manager as the server prints it in conflicts.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if let Some(subresource) = &self.subresource {
            // Writing to a `String` cannot fail.
            let _ = write!(text, " with subresource {subresource:?}");
        }
        if self.operation == Operation::Update {
            let _ = write!(text, " using {}", self.api_version);
        }
        text
    }

    fn read(value: Value) -> Option<Self> {
        let Value::Object(mut entry) = value else { return None };
        let text = |field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let operation = match entry.get("operation").and_then(Value::as_str) {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager").unwrap_or_default(),
            operation,
            api_version: text("apiVersion").unwrap_or_default(),
            time: text("time"),
            subresource: text("subresource").filter(|s| !s.is_empty()),
            set: fields_v1::from_value(entry.remove("fieldsV1")?)?,
        })
    }

    fn write(self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), self.manager.into());
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        entry.insert("operation".to_owned(), operation.into());
        entry.insert("apiVersion".to_owned(), self.api_version.into());
        if let Some(time) = self.time {
            entry.insert("time".to_owned(), time.into());
        }
        entry.insert("fieldsType".to_owned(), "FieldsV1".into());
        entry.insert("fieldsV1".to_owned(), fields_v1::to_value(self.set));
        if let Some(subresource) = self.subresource {
            entry.insert("subresource".to_owned(), subresource.into());
        }
        Value::Object(entry)
    }
}

/// Reads `metadata.managedFields`; `None` if it is absent, empty or not of that shape.
pub(super) fn read(value: Value) -> Option<Vec<Entry>> {
    match value {
        Value::Array(list) if !list.is_empty() => list.into_iter().map(Entry::read).collect(),
        _ => None,
    }
}

/// Writes the entries into an object, without those that own nothing, in the server's order.
pub(super) fn write(entries: Vec<Entry>, object: &mut Value) {
    let mut entries: Vec<Entry> = entries.into_iter().filter(|e| !e.set.is_empty()).collect();
    entries.sort_by(|a, b| {
        a.operation
            .cmp(&b.operation)
            .then_with(|| a.time.cmp(&b.time))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    put(Some(Value::Array(entries.into_iter().map(Entry::write).collect())), object);
}

/// Writes `metadata.managedFields` as it is; nothing or an empty list removes the field.
pub(super) fn put(value: Option<Value>, object: &mut Value) {
    let Value::Object(object) = object else { return };
    let value = value.filter(|v| v.as_array().is_some_and(|list| !list.is_empty()));
    match (value, object.get_mut("metadata")) {
        (Some(value), Some(Value::Object(metadata))) => {
            metadata.insert("managedFields".to_owned(), value);
        }
        (Some(value), None | Some(Value::Null)) => {
            object.insert("metadata".to_owned(), json!({ "managedFields": value }));
        }
        (None, Some(Value::Object(metadata))) => {
            metadata.remove("managedFields");
        }
        _ => {}
    }
}

/// Whether this is a list of managers that [`read`] can read.
pub(super) fn is_valid(value: &Value) -> bool {
    read(value.clone()).is_some()
}
