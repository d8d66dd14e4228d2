//! Differences between Kubernetes 1.20, which is the real server here, and the newer releases that the embedded server
//! follows. Whole cases that differ on purpose say so themselves ([`Case::exempt`](super::case::Case::exempt)).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fields that are not compared: what, and why.
pub const FIELDS: &[(&str, &str)] = &[
    (
        "managedFields[].subresource",
        "since 1.22 an entry names the subresource it was written through, and writes through it have an entry of their \
         own; entries are compared after merging those that 1.20 does not tell apart",
    ),
    (
        "fields below f:fieldRef, f:nodeSelector and f:selector",
        "since 1.21 to 1.23 these are owned as one value",
    ),
    (
        "reasons FieldValueTypeInvalid, FieldValueTooLong and FieldValueTooMany",
        "since 1.22 to 1.24; before, all of them were FieldValueInvalid",
    ),
    ("f:ownerReferences[uid]", "since 1.23 a reference is owned as one value"),
    ("column Restarts of pods", "since 1.22 it is text, which also says how long ago"),
    ("creationTimestamp: null", "since 1.34 no longer printed, neither in pod templates nor in bookmarks"),
    ("labels[kubernetes.io/metadata.name]", "since 1.21 every namespace carries its name as a label"),
];

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Drops what only newer servers write.
pub fn drop_fields(object: &mut Map<String, Value>) {
    if object.get("creationTimestamp").is_some_and(Value::is_null) {
        object.remove("creationTimestamp");
    }
    for (name, owned) in object.iter_mut() {
        if name.starts_with("k:{\"uid\":") {
            *owned = json!({});
        }
    }
    for field in ONE_VALUE {
        if let Some(owned) = object.get_mut(field) {
            *owned = json!({});
        }
    }
    for field in ["labels", "f:labels"] {
        let Some(labels) = object.get_mut(field).and_then(Value::as_object_mut) else { continue };
        labels.remove(NAME_LABEL);
        labels.remove(&format!("f:{NAME_LABEL}"));
        if labels.is_empty() && field == "labels" {
            object.remove(field);
        }
    }
}

/// What newer servers own as one value.
const ONE_VALUE: [&str; 3] = ["f:fieldRef", "f:nodeSelector", "f:selector"];

/// Calls reasons as 1.20 does.
pub fn soften_reasons(causes: &mut [Value]) {
    for cause in causes {
        if matches!(
            cause["reason"].as_str(),
            Some("FieldValueTypeInvalid" | "FieldValueTooLong" | "FieldValueTooMany")
        ) {
            cause["reason"] = json!("FieldValueInvalid");
        }
    }
}

/// Conflicts name the subresource since it is part of an entry.
pub fn without_subresource(text: &str) -> String {
    text.replace(" with subresource \"status\"", "")
}

const RESTARTS: &str = "Restarts";

/// Makes the headings of a table text where newer servers have it so.
pub fn restarts_as_text(mut headings: Vec<Value>) -> Vec<Value> {
    for heading in headings.iter_mut().filter(|heading| heading[0] == RESTARTS) {
        heading[1] = json!("string");
    }
    headings
}

/// The same for the cells.
pub fn numbers_as_text(headings: &[Value], rows: &[Value]) -> Vec<Value> {
    let Some(column) = headings.iter().position(|heading| heading[0] == RESTARTS) else {
        return rows.to_vec();
    };
    let mut rows = rows.to_vec();
    for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
        if cell.is_number() {
            *cell = json!(cell.to_string());
        }
    }
    rows
}

/// Merges the entries of field ownership that differ in the subresource only.
pub fn merge_managers(entries: &[Value]) -> Vec<Value> {
    let mut merged: BTreeMap<String, Value> = BTreeMap::new();
    for entry in entries {
        let mut entry = entry.clone();
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("subresource");
        }
        let key = json!([entry["manager"], entry["operation"], entry["apiVersion"]]).to_string();
        match merged.get_mut(&key) {
            Some(present) => union(&mut present["fieldsV1"], &entry["fieldsV1"]),
            None => {
                merged.insert(key, entry);
            }
        }
    }
    merged.into_values().collect()
}

fn union(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        // Alone, a field is written as `{}`; in company as `.`.
        if into.is_empty() != from.is_empty() {
            into.insert(".".to_owned(), json!({}));
        }
        for (name, value) in from {
            match into.get_mut(name) {
                Some(present) => union(present, value),
                None => drop(into.insert(name.clone(), value.clone())),
            }
        }
    }
}
