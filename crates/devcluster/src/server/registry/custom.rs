//! Resources declared by a CustomResourceDefinition.

use std::sync::Arc;

use serde_json::Value;

use super::{ALL_VERBS, Resource, collection_name};
use crate::object::schema::Schema;
use crate::object::topology::Topology;

/// What is particular to a resource declared by a CustomResourceDefinition.
pub struct Custom {
    /// The structural schema; none when the definition has none that holds.
    pub schema: Option<Schema>,
    /// The schema as written.
    pub openapi: Arc<Value>,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Column>,
    /// The subresource `scale` as declared; null for none.
    pub scale: Value,
    /// Whether the definition is being deleted.
    pub terminating: bool,
}

/// One of `additionalPrinterColumns`.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// OpenAPI format, mostly empty.
    pub format: String,
    /// Description shown by nobody, but part of the table.
    pub description: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i64,
    /// Path of the value.
    pub json_path: String,
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The served versions of a definition, as resources.
pub fn resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let names = if definition["status"]["acceptedNames"]["kind"].is_string() {
        &definition["status"]["acceptedNames"]
    } else {
        &spec["names"]
    };
    let group = text(spec, "group");
    spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let openapi = Arc::new(version["schema"]["openAPIV3Schema"].clone());
            let schema = Schema::from_openapi(&openapi).ok();
            let topology = schema.as_ref().map_or_else(|| Topology::builtin("", ""), Topology::of_schema);
            let plural = text(&spec["names"], "plural");
            let kind = text(names, "kind");
            let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned);
            let list_kind = names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned);
            Resource {
                version: text(version, "name"),
                singular,
                list_kind,
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: spec["scope"] == "Namespaced",
                status: version["subresources"]["status"].is_object(),
                generation: true,
                verbs: ALL_VERBS,
                collection: collection_name(&group, &plural).into(),
                custom: Some(Custom {
                    schema,
                    openapi,
                    columns: columns(version),
                    scale: version["subresources"]["scale"].clone(),
                    terminating: definition["metadata"]["deletionTimestamp"].is_string(),
                }),
                generate: None,
                topology,
                plural,
                kind,
                group: group.clone(),
            }
        })
        .collect()
}

fn columns(version: &Value) -> Vec<Column> {
    let mut columns: Vec<Column> = version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description: text(column, "description"),
            priority: column["priority"].as_i64().unwrap_or(0),
            json_path: text(column, "jsonPath"),
        })
        .collect();
    if columns.is_empty() {
        columns.push(Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".to_owned(),
        });
    }
    columns
}
