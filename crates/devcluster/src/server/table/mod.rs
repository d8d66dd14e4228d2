//! `Table` output: what `kubectl get` prints.

mod age;
mod builtin;
mod json_path;
mod quantity;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::metadata_only;
use super::registry::{Column as CustomColumn, Resource};
use super::route::RequestInfo;

/// How much of each object goes into its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// The `includeObject` parameter.
    pub fn of(info: &RequestInfo) -> Self {
        match info.parameter("includeObject") {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// Heading of a column.
#[derive(Clone, Debug)]
struct Heading {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
}

/// The table of some objects of one resource. Only the first table of a watch has headings.
pub fn render(
    resource: &Resource,
    objects: &[Arc<Value>],
    meta: &Value,
    include: Include,
    now: Timestamp,
    headings: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = match &resource.custom {
                Some(custom) => custom_cells(&custom.columns, object, now),
                None => builtin::cells(resource, object, now),
            };
            let mut row = json!({ "cells": cells });
            match include {
                Include::None => row["object"] = Value::Null,
                Include::Metadata => row["object"] = metadata_only(object),
                Include::Object => row["object"] = (**object).clone(),
            }
            row
        })
        .collect();
    let columns: Option<Vec<Value>> = headings.then(|| {
        let list = match &resource.custom {
            Some(custom) => custom_headings(&custom.columns),
            None => builtin::headings(resource),
        };
        list.iter().map(definition).collect()
    });
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn definition(heading: &Heading) -> Value {
    json!({
        "name": heading.name, "type": heading.kind, "format": heading.format,
        "description": heading.description, "priority": heading.priority,
    })
}

fn name_heading() -> Heading {
    Heading {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: "Name must be unique within a namespace.".to_owned(),
        priority: 0,
    }
}

fn custom_headings(columns: &[CustomColumn]) -> Vec<Heading> {
    let mut list = vec![name_heading()];
    list.extend(columns.iter().map(|column| Heading {
        name: column.name.clone(),
        kind: column.kind.clone(),
        format: column.format.clone(),
        description: if column.description.is_empty() {
            format!("Custom resource definition column (in JSONPath format): {}", column.json_path)
        } else {
            column.description.clone()
        },
        priority: column.priority,
    }));
    list
}

fn custom_cells(columns: &[CustomColumn], object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    cells.extend(columns.iter().map(|column| custom_cell(column, object, now)));
    cells
}

/// One cell of a custom resource: absent and mistyped values are null, which prints as nothing.
fn custom_cell(column: &CustomColumn, object: &Value, now: Timestamp) -> Value {
    let found = json_path::read(&column.json_path, object);
    let Some(first) = found.first() else { return Value::Null };
    match column.kind.as_str() {
        "integer" => first.as_i64().map_or(Value::Null, Value::from),
        // As it is: a whole number has no decimal point in the real server's tables either.
        "number" => {
            if first.is_number() {
                (*first).clone()
            } else {
                Value::Null
            }
        }
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => first.as_str().map_or(Value::Null, |text| match text.parse::<Timestamp>() {
            Ok(time) => json!(age::since(time, now)),
            Err(_) => json!("<invalid>"),
        }),
        _ => {
            let texts: Vec<String> = found.iter().map(|value| plain(value)).collect();
            json!(texts.join(" "))
        }
    }
}

/// A value as Go's JSON path prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}
