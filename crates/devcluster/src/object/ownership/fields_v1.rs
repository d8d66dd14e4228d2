//! FieldsV1: how a set of fields is written in `metadata.managedFields[].fieldsV1`.
//!
//! A step of a path is `f:name` for a field, `k:{"type":"Ready"}` for an item of a list by its keys, `v:"text"` for an
//! item of a set by its value. `.` stands for the container itself where something below it is in the set too.

use super::field_set::FieldSet;
use crate::object::topology::MapKey;
use serde_json::{Map, Value};
use std::fmt::Write as _;

const SELF: &str = ".";

/// Reads a set. Shapes that are no FieldsV1 are an error.
pub(super) fn from_value(value: Value) -> Option<FieldSet> {
    let Value::Object(map) = value else { return None };
    let mut set = FieldSet::default();
    for (step, below) in map {
        if step == SELF {
            set.set_member(true);
        } else if matches!(step.get(..2), Some("f:" | "k:" | "v:" | "i:")) {
            set.insert(step, non_root(below)?);
        } else {
            return None;
        }
    }
    Some(set)
}

/// Below the root, `{}` stands for the path itself.
fn non_root(value: Value) -> Option<FieldSet> {
    match value {
        Value::Object(map) if map.is_empty() => Some(FieldSet::leaf()),
        other => from_value(other),
    }
}

/// Writes a set.
pub(super) fn to_value(set: FieldSet) -> Value {
    let (member, children) = set.into_parts();
    let mut map: Map<String, Value> =
        children.into_iter().map(|(step, below)| (step, to_value(below))).collect();
    if member && !map.is_empty() {
        map.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    Value::Object(map)
}

/// The step to a field.
pub(super) fn field_step(name: &str) -> String {
    let mut step = String::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step
}

/// The step to an item of a set; only scalars have one.
pub(super) fn value_step(item: &Value) -> Option<String> {
    (!item.is_object() && !item.is_array() && !item.is_null()).then(|| format!("v:{item}"))
}

/// The step to an item of a list with keys. A key that the item lacks counts as its default, and is left out if there
/// is none; an item that lacks them all, or has a key that is no scalar, has no step.
pub(super) fn key_step(item: &Value, keys: &[MapKey]) -> Option<String> {
    let item = item.as_object()?;
    let mut found: Vec<(&str, &Value)> = Vec::with_capacity(keys.len());
    for key in keys {
        match item.get(&key.name).or(key.default.as_ref()) {
            Some(Value::Object(_) | Value::Array(_)) => return None,
            Some(value) => found.push((&key.name, value)),
            None => {}
        }
    }
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    let mut step = String::from("k:{");
    for (i, (name, value)) in found.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        // Writing to a `String` cannot fail.
        let _ = write!(step, "{comma}\"{name}\":{value}");
    }
    step.push('}');
    Some(step)
}

/// A step as the server prints it in messages: `.name`, `[type="Ready"]`, `[="text"]`.
pub(super) fn print_step(step: &str) -> String {
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some(("k", keys)) => match serde_json::from_str::<Map<String, Value>>(keys) {
            Ok(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Err(_) => format!("[{keys}]"),
        },
        _ => step.to_owned(),
    }
}

/// A path as the server prints it in messages.
pub(super) fn print_path(steps: &[&str]) -> String {
    steps.iter().map(|step| print_step(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::field_set::tests::sets;
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn key(name: &str, default: Option<&str>) -> MapKey {
        MapKey { name: name.to_owned(), default: default.map(Value::from) }
    }

    #[rstest]
    #[case(json!({"containerPort": 80}), Some(r#"k:{"containerPort":80,"protocol":"TCP"}"#))]
    #[case(json!({"protocol": "UDP", "containerPort": 80}), Some(r#"k:{"containerPort":80,"protocol":"UDP"}"#))]
    #[case(json!({"name": "a"}), Some(r#"k:{"protocol":"TCP"}"#))]
    #[case(json!("a"), None)]
    #[case(json!({"containerPort": {}}), None)]
    fn key_steps(#[case] item: Value, #[case] expected: Option<&str>) {
        let keys = [key("protocol", Some("TCP")), key("containerPort", None)];
        assert_eq!(key_step(&item, &keys).as_deref(), expected);
    }

    #[rstest]
    #[case(&["f:spec", "f:replicas"], ".spec.replicas")]
    #[case(&["f:metadata", "f:finalizers", "v:\"a.b/c\""], ".metadata.finalizers[=\"a.b/c\"]")]
    #[case(&["f:ports", "k:{\"containerPort\":80,\"protocol\":\"TCP\"}", "f:name"], ".ports[containerPort=80,protocol=\"TCP\"].name")]
    fn prints(#[case] steps: &[&str], #[case] expected: &str) {
        assert_eq!(print_path(steps), expected);
    }

    #[test]
    fn the_container_itself_is_a_dot() {
        let text = json!({"f:labels": {".": {}, "f:app": {}}, "f:spec": {"f:replicas": {}}});
        let set = from_value(text.clone()).unwrap();
        assert!(set.child("f:labels").unwrap().is_member());
        assert!(!set.child("f:spec").unwrap().is_member());
        assert_eq!(to_value(set), text);
    }

    #[rstest]
    #[case(json!([]))]
    #[case(json!({"spec": {}}))]
    #[case(json!({"f:spec": 3}))]
    fn refuses_other_shapes(#[case] value: Value) {
        assert!(from_value(value).is_none());
    }

    proptest! {
        #[test]
        fn round_trip(set in sets()) {
            prop_assert_eq!(from_value(to_value(set.clone())), Some(set));
        }
    }
}
