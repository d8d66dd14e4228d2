//! Reads `openAPIV3Schema`.

use super::message::{FieldError, child};
use super::validate::complaints;
use super::{Additional, Bound, Kind, ListType, Range, Rules, SchemaNode};
use regex::Regex;
use serde_json::{Map, Number, Value};

type Object = Map<String, Value>;

/// Reads a whole schema.
pub(super) fn schema(v: &Value) -> Result<SchemaNode, Vec<FieldError>> {
    let mut reader = Reader { errors: Vec::new() };
    let root = reader.structural(v, "");
    if root.kind != Some(Kind::Object) && reader.errors.is_empty() {
        reader.invalid("type", v.get("type"), "must be object at the root");
    }
    if reader.errors.is_empty() { Ok(root) } else { Err(reader.errors) }
}

struct Reader {
    errors: Vec<FieldError>,
}

impl Reader {
    fn invalid(&mut self, path: &str, value: Option<&Value>, detail: &str) {
        self.errors.push(FieldError::invalid(path, value.unwrap_or(&Value::Null), detail));
    }

    /// A schema that says what a value is: outside of `anyOf` and the like, where a type is required.
    fn structural(&mut self, v: &Value, path: &str) -> SchemaNode {
        let node = self.node(v, path);
        if node.kind.is_none()
            && !node.int_or_string
            && !node.preserve_unknown
            && v.is_object()
            && path.is_empty()
        {
            self.errors.push(FieldError::required("type", "must not be empty at the root"));
        } else if node.kind.is_none() && !node.int_or_string && !node.preserve_unknown && v.is_object() {
            let detail = if path.ends_with("items") || path.ends_with("additionalProperties") {
                "must not be empty for specified array items"
            } else {
                "must not be empty for specified object fields"
            };
            self.errors.push(FieldError::required(&child(path, "type"), detail));
        }
        if node.kind == Some(Kind::Array) && node.items.is_none() {
            self.errors.push(FieldError::required(&child(path, "items"), "must be specified"));
        }
        if let Some(default) = node.default.as_ref().filter(|default| !default.is_null() || !node.nullable) {
            self.errors.extend(complaints(&node, default, &child(path, "default"), false));
        }
        node
    }

    fn node(&mut self, v: &Value, path: &str) -> SchemaNode {
        let Value::Object(map) = v else {
            self.invalid(path, Some(v), "must be a schema object");
            return SchemaNode::default();
        };
        let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
        SchemaNode {
            kind: self.kind(map, path),
            nullable: flag("nullable"),
            properties: self.properties(map, path),
            additional: self.additional(map, path),
            items: map.get("items").map(|items| Box::new(self.structural(items, &child(path, "items")))),
            default: map.get("default").cloned(),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list_type: self.list_type(map, path),
            atomic_map: map.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic"),
            rules: self.rules(map, path),
        }
    }

    fn kind(&mut self, map: &Object, path: &str) -> Option<Kind> {
        let value = map.get("type")?;
        match value.as_str() {
            Some("") => None,
            Some(text) => {
                let kind = Kind::parse(text);
                if kind.is_none() {
                    let allowed =
                        ["array", "boolean", "integer", "number", "object", "string"].map(Value::from);
                    self.errors.push(FieldError::unsupported(&child(path, "type"), value, &allowed));
                }
                kind
            }
            None => {
                self.invalid(&child(path, "type"), Some(value), "must be a text");
                None
            }
        }
    }

    fn properties(&mut self, map: &Object, path: &str) -> std::collections::BTreeMap<String, SchemaNode> {
        let empty = Map::new();
        let properties = match map.get("properties") {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(properties)) => properties,
            Some(other) => {
                self.invalid(&child(path, "properties"), Some(other), "must be an object of schemas");
                &empty
            }
        };
        properties
            .iter()
            .map(|(name, schema)| {
                let at = format!("{}[{name}]", child(path, "properties"));
                // The server owns these two at the root and in embedded resources; authors often leave them bare.
                let is_servers = name == "metadata";
                let node = if is_servers { self.node(schema, &at) } else { self.structural(schema, &at) };
                (name.clone(), node)
            })
            .collect()
    }

    fn additional(&mut self, map: &Object, path: &str) -> Additional {
        match map.get("additionalProperties") {
            None | Some(Value::Null | Value::Bool(false)) => Additional::None,
            Some(Value::Bool(true)) => Additional::Any,
            Some(schema) => {
                Additional::Schema(Box::new(self.structural(schema, &child(path, "additionalProperties"))))
            }
        }
    }

    fn list_type(&mut self, map: &Object, path: &str) -> ListType {
        let at = child(path, "x-kubernetes-list-type");
        match map.get("x-kubernetes-list-type") {
            None | Some(Value::Null) => ListType::Atomic,
            Some(Value::String(text)) if text == "atomic" => ListType::Atomic,
            Some(Value::String(text)) if text == "set" => ListType::Set,
            Some(Value::String(text)) if text == "map" => {
                let keys = map.get("x-kubernetes-list-map-keys").map(texts).unwrap_or_default();
                if keys.is_empty() {
                    let detail = "must not be empty if x-kubernetes-list-type is map";
                    self.errors
                        .push(FieldError::required(&child(path, "x-kubernetes-list-map-keys"), detail));
                }
                ListType::Map(keys)
            }
            Some(other) => {
                let allowed = ["atomic", "map", "set"].map(Value::from);
                self.errors.push(FieldError::unsupported(&at, other, &allowed));
                ListType::Atomic
            }
        }
    }

    fn rules(&mut self, map: &Object, path: &str) -> Rules {
        Rules {
            required: map.get("required").map(texts).unwrap_or_default(),
            allowed: map.get("enum").and_then(Value::as_array).cloned(),
            minimum: bound(map, "minimum", "exclusiveMinimum"),
            maximum: bound(map, "maximum", "exclusiveMaximum"),
            multiple_of: number(map, "multipleOf"),
            length: range(map, "minLength", "maxLength"),
            pattern: self.pattern(map, path),
            format: map.get("format").and_then(Value::as_str).map(str::to_owned),
            item_count: range(map, "minItems", "maxItems"),
            unique_items: map.get("uniqueItems") == Some(&Value::Bool(true)),
            property_count: range(map, "minProperties", "maxProperties"),
            all_of: self.alternatives(map, path, "allOf"),
            any_of: self.alternatives(map, path, "anyOf"),
            one_of: self.alternatives(map, path, "oneOf"),
            not: map.get("not").map(|not| Box::new(self.value_rules(not, &child(path, "not")))),
        }
    }

    fn alternatives(&mut self, map: &Object, path: &str, field: &str) -> Vec<SchemaNode> {
        let Some(list) = map.get(field).and_then(Value::as_array) else { return Vec::new() };
        list.iter()
            .enumerate()
            .map(|(i, v)| self.value_rules(v, &format!("{}[{i}]", child(path, field))))
            .collect()
    }

    /// A schema that only restricts values: it needs no types.
    fn value_rules(&mut self, v: &Value, path: &str) -> SchemaNode {
        let before = self.errors.len();
        let node = self.node(v, path);
        let added = self.errors.split_off(before);
        self.errors.extend(added.into_iter().filter(|e| e.reason != "FieldValueRequired"));
        node
    }

    fn pattern(&mut self, map: &Object, path: &str) -> Option<Regex> {
        let text = map.get("pattern")?.as_str().filter(|text| !text.is_empty())?;
        match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let detail = format!("must be a valid regular expression, but isn't: {error}");
                self.invalid(&child(path, "pattern"), map.get("pattern"), &detail);
                None
            }
        }
    }
}

fn texts(v: &Value) -> Vec<String> {
    v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn number(map: &Object, field: &str) -> Option<Number> {
    map.get(field).and_then(Value::as_number).cloned()
}

fn bound(map: &Object, field: &str, exclusive: &str) -> Option<Bound> {
    Some(Bound { limit: number(map, field)?, exclusive: map.get(exclusive) == Some(&Value::Bool(true)) })
}

fn range(map: &Object, min: &str, max: &str) -> Range {
    let count = |field: &str| map.get(field).and_then(Value::as_u64);
    Range { min: count(min), max: count(max) }
}
