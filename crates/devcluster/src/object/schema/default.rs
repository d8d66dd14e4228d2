//! Defaulting.

use super::{Additional, SchemaNode};
use serde_json::{Map, Value};

/// Fields of the root and of embedded resources that are the server's.
pub(super) fn is_servers(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// Fills in the defaults of a whole resource.
pub(super) fn root(node: &SchemaNode, object: &mut Value) {
    if let Value::Object(object) = object {
        fields(node, object, true);
    }
}

/// Whether a schema or one below it has a default.
pub(super) fn is_anywhere(node: &SchemaNode) -> bool {
    let additional = match &node.additional {
        Additional::Schema(schema) => is_anywhere(schema),
        _ => false,
    };
    node.default.is_some()
        || additional
        || node.items.as_deref().is_some_and(is_anywhere)
        || node.properties.values().any(is_anywhere)
}

fn value(node: &SchemaNode, value: &mut Value) {
    match value {
        Value::Object(object) => fields(node, object, node.embedded),
        Value::Array(list) => {
            if let Some(items) = &node.items {
                for item in list {
                    self::value(items, item);
                }
            }
        }
        _ => {}
    }
}

fn fields(node: &SchemaNode, object: &mut Map<String, Value>, is_resource: bool) {
    object.retain(|name, value| {
        let schema = match (node.properties.get(name), &node.additional) {
            (Some(schema), _) => schema,
            (None, Additional::Schema(schema)) => schema,
            (None, _) => return true,
        };
        !value.is_null() || schema.nullable || (is_resource && is_servers(name))
    });
    for (name, schema) in &node.properties {
        if is_resource && is_servers(name) {
            continue;
        }
        if let Some(default) = &schema.default
            && !object.contains_key(name)
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name) {
            self::value(schema, value);
        }
    }
    if let Additional::Schema(schema) = &node.additional {
        for (_, value) in object.iter_mut().filter(|(name, _)| !node.properties.contains_key(*name)) {
            self::value(schema, value);
        }
    }
}
