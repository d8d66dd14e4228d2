//! Validation.

use super::default::is_servers;
use super::message::{FieldError, child, in_body, item};
use super::{Additional, Kind, ListType, Rules, SchemaNode, format};
use serde_json::{Map, Number, Value};
use std::collections::HashSet;

/// Validates a whole resource.
pub(super) fn root(node: &SchemaNode, object: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    Check { out: &mut out, is_root: true }.value(node, object, "");
    out
}

pub(super) fn complaints(node: &SchemaNode, value: &Value, path: &str, is_root: bool) -> Vec<FieldError> {
    let mut out = Vec::new();
    Check { out: &mut out, is_root }.value(node, value, path);
    out
}

struct Check<'a> {
    out: &'a mut Vec<FieldError>,
    /// The value at hand is the whole resource: its type and metadata are not looked at.
    is_root: bool,
}

impl Check<'_> {
    fn value(&mut self, node: &SchemaNode, value: &Value, path: &str) {
        if value.is_null() && node.nullable {
            return;
        }
        if !self.kind(node, value, path) {
            return;
        }
        let rules = &node.rules;
        if let Some(allowed) = &rules.allowed
            && !allowed.contains(value)
        {
            self.out.push(FieldError::unsupported(path, value, allowed));
        }
        match value {
            Value::Object(object) => self.object(node, object, path),
            Value::Array(list) => self.list(node, list, path),
            Value::String(text) => self.text(rules, text, path),
            Value::Number(number) => self.number(rules, number, path),
            Value::Bool(_) | Value::Null => {}
        }
        self.composites(rules, value, path);
    }

    /// Checks the type; with a wrong one nothing else is worth saying.
    fn kind(&mut self, node: &SchemaNode, value: &Value, path: &str) -> bool {
        let found = type_name(value);
        let (fits, expected) = match node.kind {
            _ if node.int_or_string => {
                (matches!(found, "integer" | "string") || is_whole(value), "integer,string")
            }
            None => return true,
            Some(Kind::Number) => (matches!(found, "number" | "integer"), "number"),
            Some(Kind::Integer) => (found == "integer" || is_whole(value), "integer"),
            Some(kind) => (found == kind.name(), kind.name()),
        };
        if !fits {
            self.out.push(FieldError::mistyped(path, expected, found));
        }
        fits
    }

    fn object(&mut self, node: &SchemaNode, object: &Map<String, Value>, path: &str) {
        let is_root = std::mem::take(&mut self.is_root);
        let is_resource = is_root || node.embedded;
        if node.embedded {
            self.embedded(object, path);
        }
        let count = object.len() as u64;
        let range = node.rules.property_count;
        if let Some(min) = range.min.filter(|min| count < *min) {
            self.invalid(path, &count.into(), &format!("should have at least {min} properties"));
        }
        if let Some(max) = range.max.filter(|max| count > *max) {
            self.invalid(path, &count.into(), &format!("should have at most {max} properties"));
        }
        for name in node.rules.required.iter().filter(|name| !object.contains_key(*name)) {
            self.out.push(FieldError::required(&child(path, name), ""));
        }
        for (name, value) in object {
            if is_resource && is_servers(name) {
                continue;
            }
            match (node.properties.get(name), &node.additional) {
                (Some(schema), _) => self.value(schema, value, &child(path, name)),
                (None, Additional::Schema(schema)) => self.value(schema, value, &child(path, name)),
                (None, Additional::None | Additional::Any) => {}
            }
        }
        self.is_root = is_root;
    }

    fn embedded(&mut self, object: &Map<String, Value>, path: &str) {
        for name in ["apiVersion", "kind"] {
            match object.get(name) {
                None | Some(Value::Null) => {
                    self.out.push(FieldError::required(&child(path, name), "must not be empty"));
                }
                Some(Value::String(text)) if text.is_empty() => {
                    self.out.push(FieldError::required(&child(path, name), "must not be empty"));
                }
                Some(Value::String(_)) => {}
                Some(other) => {
                    self.out.push(FieldError::mistyped(&child(path, name), "string", type_name(other)));
                }
            }
        }
    }

    fn list(&mut self, node: &SchemaNode, list: &[Value], path: &str) {
        let count = list.len() as u64;
        let range = node.rules.item_count;
        if let Some(min) = range.min.filter(|min| count < *min) {
            self.invalid(path, &count.into(), &format!("should have at least {min} items"));
        }
        if let Some(max) = range.max.filter(|max| count > *max) {
            self.out.push(FieldError::too_many(path, list.len(), max));
        }
        if node.rules.unique_items && list.iter().enumerate().any(|(i, v)| list[..i].contains(v)) {
            self.invalid(path, &Value::Array(list.to_vec()), "shouldn't contain duplicates");
        }
        self.duplicates(node, list, path);
        if let Some(items) = &node.items {
            for (i, value) in list.iter().enumerate() {
                self.value(items, value, &item(path, i));
            }
        }
    }

    /// Items of sets and keyed lists must differ.
    fn duplicates(&mut self, node: &SchemaNode, list: &[Value], path: &str) {
        let mut seen = HashSet::with_capacity(list.len());
        for (i, value) in list.iter().enumerate() {
            let id = match &node.list_type {
                ListType::Atomic => return,
                ListType::Set => value.clone(),
                ListType::Map(keys) => keys_of(value, keys, node),
            };
            if !seen.insert(id.to_string()) {
                self.out.push(FieldError::duplicate(&item(path, i), &id));
            }
        }
    }

    fn text(&mut self, rules: &Rules, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(max) = rules.length.max.filter(|max| length > *max) {
            self.out.push(FieldError::too_long(path, max));
        }
        if let Some(min) = rules.length.min.filter(|min| length < *min) {
            self.invalid(path, &text.into(), &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.invalid(path, &text.into(), &format!("should match '{pattern}'"));
        }
        if let Some(format) = &rules.format
            && format::text(format, text) == Some(false)
        {
            self.out.push(FieldError::mistyped(path, format, text));
        }
    }

    fn number(&mut self, rules: &Rules, number: &Number, path: &str) {
        let value = Value::Number(number.clone());
        if let Some(bound) = &rules.maximum
            && (greater(number, &bound.limit) || bound.exclusive && equal(number, &bound.limit))
        {
            let or_equal = if bound.exclusive { "" } else { " or equal to" };
            self.invalid(path, &value, &format!("should be less than{or_equal} {}", bound.limit));
        }
        if let Some(bound) = &rules.minimum
            && (greater(&bound.limit, number) || bound.exclusive && equal(number, &bound.limit))
        {
            let or_equal = if bound.exclusive { "" } else { " or equal to" };
            self.invalid(path, &value, &format!("should be greater than{or_equal} {}", bound.limit));
        }
        if let Some(step) = rules.multiple_of.as_ref().filter(|step| !is_multiple(number, step)) {
            self.invalid(path, &value, &format!("should be a multiple of {step}"));
        }
        if let Some(format) = &rules.format
            && let (Some((min, max)), Some(whole)) = (format::integer(format), number.as_i128())
            && !(min..=max).contains(&whole)
        {
            self.out.push(FieldError::mistyped(path, format, type_name(&value)));
        }
    }

    fn composites(&mut self, rules: &Rules, value: &Value, path: &str) {
        let is_root = self.is_root;
        let results = |schemas: &[SchemaNode]| -> Vec<Vec<FieldError>> {
            schemas.iter().map(|schema| complaints(schema, value, path, is_root)).collect()
        };
        if !rules.any_of.is_empty() {
            let results = results(&rules.any_of);
            if results.iter().all(|errors| !errors.is_empty()) {
                self.best(results);
                self.out.push(FieldError::composite(path, "must validate at least one schema (anyOf)"));
            }
        }
        if !rules.one_of.is_empty() {
            let results = results(&rules.one_of);
            let valid = results.iter().filter(|errors| errors.is_empty()).count();
            if valid != 1 {
                let found = if valid == 0 {
                    self.best(results);
                    "none valid".to_owned()
                } else {
                    format!("{valid} valid alternatives")
                };
                let detail = format!("must validate one and only one schema (oneOf). Found {found}");
                self.out.push(FieldError::composite(path, &detail));
            }
        }
        let failed = results(&rules.all_of);
        let failures = failed.iter().filter(|errors| !errors.is_empty()).count();
        if failures > 0 {
            let none = if failures == failed.len() { ". None validated" } else { "" };
            self.out.extend(failed.into_iter().flatten());
            self.out
                .push(FieldError::composite(path, &format!("must validate all the schemas (allOf){none}")));
        }
        if let Some(not) = &rules.not
            && complaints(not, value, path, is_root).is_empty()
        {
            self.out.push(FieldError::composite(path, "must not validate the schema (not)"));
        }
    }

    /// Tells what the alternative that fits best complains about.
    fn best(&mut self, results: Vec<Vec<FieldError>>) {
        self.out.extend(results.into_iter().min_by_key(Vec::len).into_iter().flatten());
    }

    fn invalid(&mut self, path: &str, value: &Value, rule: &str) {
        self.out.push(FieldError::invalid(path, value, &format!("{} {rule}", in_body(path))));
    }
}

/// The keys of an item, with defaults, as an object.
fn keys_of(value: &Value, keys: &[String], node: &SchemaNode) -> Value {
    let default = |key: &str| node.items.as_ref().and_then(|i| i.properties.get(key)?.default.as_ref());
    keys.iter()
        .filter_map(|key| Some((key.clone(), value.get(key).or_else(|| default(key))?.clone())))
        .collect::<Map<_, _>>()
        .into()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether it is a number like `3.0`, which the server takes for an integer.
fn is_whole(value: &Value) -> bool {
    value.as_number().and_then(Number::as_f64).is_some_and(|n| n.fract() == 0.0)
}

fn greater(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a > b,
        _ => a.as_f64() > b.as_f64(),
    }
}

fn equal(a: &Number, b: &Number) -> bool {
    !greater(a, b) && !greater(b, a)
}

fn is_multiple(number: &Number, step: &Number) -> bool {
    match (number.as_i128(), step.as_i128(), number.as_f64(), step.as_f64()) {
        (_, Some(0), ..) => true,
        (Some(number), Some(step), ..) => number % step == 0,
        (.., Some(number), Some(step)) => (number / step).fract() == 0.0,
        _ => true,
    }
}
