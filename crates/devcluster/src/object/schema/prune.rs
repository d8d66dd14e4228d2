//! Pruning.

use super::default::is_servers;
use super::message::{child, item};
use super::{Additional, SchemaNode};
use serde_json::{Map, Value};

/// Prunes a whole resource, and returns the paths of what was dropped.
pub(super) fn root(node: &SchemaNode, object: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    if let Value::Object(object) = object {
        fields(node, object, true, "", &mut dropped);
    }
    dropped
}

fn value(node: &SchemaNode, value: &mut Value, path: &str, dropped: &mut Vec<String>) {
    match value {
        Value::Object(object) => fields(node, object, node.embedded, path, dropped),
        Value::Array(list) => {
            if let Some(items) = &node.items {
                for (i, value) in list.iter_mut().enumerate() {
                    self::value(items, value, &item(path, i), dropped);
                }
            }
        }
        _ => {}
    }
}

/// `additionalProperties: true` allows fields, and says nothing of what is in them: the real server drops that.
fn unspecified(value: &mut Value, path: &str, dropped: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            dropped.extend(object.keys().map(|name| child(path, name)));
            object.clear();
        }
        Value::Array(list) => {
            for (i, value) in list.iter_mut().enumerate() {
                unspecified(value, &item(path, i), dropped);
            }
        }
        _ => {}
    }
}

fn fields(
    node: &SchemaNode,
    object: &mut Map<String, Value>,
    is_resource: bool,
    path: &str,
    dropped: &mut Vec<String>,
) {
    object.retain(|name, value| {
        if is_resource && is_servers(name) {
            return true;
        }
        match (node.properties.get(name), &node.additional) {
            (Some(schema), _) => self::value(schema, value, &child(path, name), dropped),
            (None, Additional::Schema(schema)) => self::value(schema, value, &child(path, name), dropped),
            (None, Additional::Any) => unspecified(value, &child(path, name), dropped),
            (None, Additional::None) if node.preserve_unknown => {}
            (None, Additional::None) => {
                dropped.push(child(path, name));
                return false;
            }
        }
        true
    });
}
