//! What differs between two versions of an object, as sets of fields.

use super::field_set::FieldSet;
use super::fields_v1::field_step;
use super::shape::{Shape, shape};
use crate::object::topology::Node;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// What differs between two versions of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Fields that were added or have another value.
    pub(super) touched: FieldSet,
    /// Fields that are gone; each stands for everything below it.
    pub(super) removed: FieldSet,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.removed.is_empty()
    }

    /// Puts changes below a step.
    pub(super) fn insert(&mut self, step: String, below: Self) {
        if !below.removed.is_empty() {
            self.removed.insert(step.clone(), below.removed);
        }
        self.touched.insert(step, below.touched);
    }
}

/// Compares two values at one path.
pub(super) fn compare(before: &Value, after: &Value, node: &Node) -> Changes {
    if before == after {
        return Changes::default();
    }
    let mut changes = Changes::default();
    match (shape(before, node), shape(after, node)) {
        (Shape::Fields(before), Shape::Fields(after)) => {
            for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
                field(&mut changes, name, before, after, node);
            }
        }
        (Shape::Items(before), Shape::Items(after)) => items(&mut changes, &before, &after, node.item()),
        (Shape::Leaf, Shape::Leaf) => {
            if !same(before, after) {
                changes.touched.set_member(true);
            }
        }
        (was, _) => {
            changes.removed = children_of(was);
            changes.touched = added(after, node);
            changes.touched.set_member(true);
        }
    }
    changes
}

/// Compares one field of two objects.
pub(super) fn field(
    changes: &mut Changes,
    name: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    node: &Node,
) {
    match (before.get(name), after.get(name)) {
        (Some(before), Some(after)) => {
            if before != after {
                changes.insert(field_step(name), compare(before, after, node.field(name)));
            }
        }
        (None, Some(after)) => changes.touched.insert(field_step(name), added(after, node.field(name))),
        (Some(_), None) => changes.removed.insert(field_step(name), FieldSet::leaf()),
        (None, None) => {}
    }
}

/// Compares the items of two lists. Of items that cannot be told apart, the first counts.
fn items(changes: &mut Changes, before: &[(String, &Value)], after: &[(String, &Value)], node: &Node) {
    let mut old = BTreeMap::new();
    for (step, item) in before {
        old.entry(step.as_str()).or_insert(*item);
    }
    let mut seen = HashSet::new();
    for (step, item) in after {
        if !seen.insert(step.as_str()) {
            continue;
        }
        match old.remove(step.as_str()) {
            Some(before) => changes.insert(step.clone(), compare(before, item, node)),
            None => changes.touched.insert(step.clone(), added_item(item, node)),
        }
    }
    for step in old.into_keys() {
        changes.removed.insert(step.to_owned(), FieldSet::leaf());
    }
}

/// All fields of a value that was not there before, containers included.
pub(super) fn added(value: &Value, node: &Node) -> FieldSet {
    let mut set = FieldSet::default();
    match shape(value, node) {
        Shape::Fields(map) => {
            set.set_member(!node.always_there);
            for (name, value) in map {
                set.insert(field_step(name), added(value, node.field(name)));
            }
        }
        Shape::Items(items) => {
            set.set_member(!node.always_there);
            for (step, item) in items {
                set.insert(step, added_item(item, node.item()));
            }
        }
        Shape::Leaf => set.set_member(true),
    }
    set
}

fn added_item(item: &Value, node: &Node) -> FieldSet {
    let mut set = added(item, node);
    set.set_member(true);
    set
}

fn children_of(shape: Shape<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    match shape {
        Shape::Fields(map) => map.keys().for_each(|name| set.insert(field_step(name), FieldSet::leaf())),
        Shape::Items(items) => items.into_iter().for_each(|(step, _)| set.insert(step, FieldSet::leaf())),
        Shape::Leaf => {}
    }
    set
}

/// Equality where `1` and `1.0` are the same number, as they are to a Kubernetes server.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields_v1::to_value;
    use super::*;
    use crate::object::topology::Topology;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::nothing(json!({"spec": {"a": 1}}), json!({"spec": {"a": 1.0}}), json!({}), json!({}))]
    #[case::changed(json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}), json!({"f:spec": {"f:a": {}}}), json!({}))]
    #[case::gone(json!({"spec": {"a": {"b": 1}}}), json!({"spec": {}}), json!({}), json!({"f:spec": {"f:a": {}}}))]
    #[case::new_map(json!({"metadata": {}}), json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}), json!({}))]
    #[case::item(json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}),
        json!({"spec": {"containers": [{"name": "c"}, {"name": "a", "image": "y"}]}}),
        json!({"f:spec": {"f:containers": {
            "k:{\"name\":\"a\"}": {"f:image": {}},
            "k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}}),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {}}}}))]
    #[case::order(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}), json!({}), json!({}))]
    #[case::other_shape(json!({"spec": {"a": {"b": 1}}}), json!({"spec": {"a": 3}}),
        json!({"f:spec": {"f:a": {}}}), json!({"f:spec": {"f:a": {"f:b": {}}}}))]
    #[case::atomic(json!({"spec": {"args": [1, 2]}}), json!({"spec": {"args": [2, 1]}}),
        json!({"f:spec": {"f:args": {}}}), json!({}))]
    fn changes(#[case] before: Value, #[case] after: Value, #[case] touched: Value, #[case] removed: Value) {
        let changes = compare(&before, &after, Topology::builtin("", "Pod").root());
        assert_eq!(to_value(changes.touched), touched);
        assert_eq!(to_value(changes.removed), removed);
    }
}
