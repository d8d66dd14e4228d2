//! Lays an applied configuration over the live object, and takes out what the applier gave up.

use super::field_set::FieldSet;
use super::root::{is_system_metadata, may_touch};
use super::shape::{Shape, shape, step_of};
use crate::object::topology::{ListMerge, Node};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// The live object with the configuration laid over it.
pub(super) fn root(
    live: &Map<String, Value>,
    config: &Map<String, Value>,
    subresource: Option<&str>,
    node: &Node,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, theirs) in config.iter().filter(|(name, _)| may_touch(subresource, name)) {
        match (name.as_str(), theirs) {
            ("metadata", Value::Object(theirs)) => {
                let ours = merged.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !ours.is_object() {
                    *ours = Value::Object(Map::new());
                }
                if let Value::Object(ours) = ours {
                    metadata(ours, theirs, node.field(name));
                }
            }
            _ => lay_field(&mut merged, name, theirs, node),
        }
    }
    merged
}

/// Name and namespace come from the configuration where the object is new; other system fields never do.
fn metadata(ours: &mut Map<String, Value>, theirs: &Map<String, Value>, node: &Node) {
    for (name, value) in theirs {
        if is_system_metadata(name) {
            if matches!(name.as_str(), "name" | "namespace") && !ours.contains_key(name) {
                ours.insert(name.clone(), value.clone());
            }
        } else {
            lay_field(ours, name, value, node);
        }
    }
}

fn lay_field(ours: &mut Map<String, Value>, name: &str, theirs: &Value, node: &Node) {
    match ours.get_mut(name) {
        Some(ours) => lay(ours, theirs, node.field(name)),
        None => {
            ours.insert(name.to_owned(), theirs.clone());
        }
    }
}

/// Lays `theirs` over `ours`.
fn lay(ours: &mut Value, theirs: &Value, node: &Node) {
    if ours == theirs {
        return;
    }
    match (&mut *ours, shape(theirs, node)) {
        (Value::Object(ours), Shape::Fields(theirs)) => {
            for (name, value) in theirs {
                lay_field(ours, name, value, node);
            }
        }
        (Value::Array(_), Shape::Items(theirs)) => lay_items(ours, &theirs, node),
        // `null` says nothing about what is inside a container.
        (Value::Object(_), Shape::Leaf) if theirs.is_null() && !node.atomic => {}
        (Value::Array(_), Shape::Leaf) if theirs.is_null() && node.list != ListMerge::Atomic => {}
        _ => *ours = theirs.clone(),
    }
}

/// Merges a list item by item. The order of the configuration holds; items that only the live list has stay next to
/// the neighbours they had.
fn lay_items(ours: &mut Value, theirs: &[(String, &Value)], node: &Node) {
    let Shape::Items(live) = shape(ours, node) else {
        *ours = Value::Array(theirs.iter().map(|(_, item)| (*item).clone()).collect());
        return;
    };
    let wanted: HashSet<&str> = theirs.iter().map(|(step, _)| step.as_str()).collect();
    let mut shared: HashMap<&str, &Value> = HashMap::new();
    for (step, item) in live.iter().filter(|(step, _)| wanted.contains(step.as_str())) {
        shared.entry(step).or_insert(item);
    }
    let mut next_shared: Vec<&str> =
        theirs.iter().rev().map(|(s, _)| s.as_str()).filter(|s| shared.contains_key(s)).collect();
    let mut out = Vec::with_capacity(live.len() + theirs.len());
    let mut rest = live.iter().peekable();
    for (step, item) in theirs {
        // Up to the next live item that the configuration mentions too, live items keep their place.
        while let Some((live_step, live_item)) = rest.next_if(|(step, _)| {
            !wanted.contains(step.as_str()) || next_shared.last() != Some(&step.as_str())
        }) {
            if !wanted.contains(live_step.as_str()) {
                out.push((*live_item).clone());
            }
        }
        match shared.get(step.as_str()) {
            Some(live) => {
                let mut merged = (*live).clone();
                lay(&mut merged, item, node.item());
                out.push(merged);
                next_shared.pop();
                rest.next_if(|(live_step, _)| live_step == step);
            }
            None => out.push((*item).clone()),
        }
    }
    out.extend(rest.filter(|(step, _)| !wanted.contains(step.as_str())).map(|(_, item)| (*item).clone()));
    *ours = Value::Array(out);
}

/// Takes out what is in `last` (what the applier owned before) and in nobody's set any more (`owned` is what all own
/// now, the applier included).
///
/// A declared field goes away together with what is unowned inside: such a rest is defaults, which mean nothing
/// without the field. A container that is left empty goes away unless somebody owns that it exists.
pub(super) fn prune(value: &mut Value, last: &FieldSet, owned: Option<&FieldSet>, node: &Node) {
    match value {
        Value::Object(map) if !node.atomic => {
            for (step, below) in last.children() {
                if let Some(name) = step.strip_prefix("f:") {
                    prune_field(map, name, below, owned.and_then(|o| o.child(step)), node);
                }
            }
        }
        Value::Array(items) if node.list != ListMerge::Atomic => {
            items.retain_mut(|item| {
                let Some(step) = step_of(item, &node.list) else { return true };
                let Some(below) = last.child(&step) else { return true };
                let owned = owned.and_then(|o| o.child(&step));
                if below.is_member() && !owned.is_some_and(FieldSet::is_member) {
                    return false;
                }
                prune(item, below, owned, node.item());
                true
            });
        }
        _ => {}
    }
}

fn prune_field(
    map: &mut Map<String, Value>,
    name: &str,
    last: &FieldSet,
    owned: Option<&FieldSet>,
    node: &Node,
) {
    let Some(value) = map.get_mut(name) else { return };
    let given_up = if node.is_map_key(name) {
        last.is_member() && !owned.is_some_and(FieldSet::is_member)
    } else {
        owned.is_none()
    };
    let was_empty = is_empty(value);
    if !given_up {
        prune(value, last, owned, node.field(name));
    }
    let emptied = !was_empty && is_empty(value) && !owned.is_some_and(FieldSet::is_member);
    if given_up || emptied {
        map.remove(name);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Prunes a whole object, leaving what nobody owns (type, name, ...) alone.
pub(super) fn prune_root(object: &mut Map<String, Value>, last: &FieldSet, owned: &FieldSet, node: &Node) {
    for (step, below) in last.children() {
        let Some(name) = step.strip_prefix("f:") else { continue };
        if name == "metadata" {
            // Never removed as a whole: the server's own fields are in there.
            if let Some(metadata) = object.get_mut(name) {
                prune(metadata, below, owned.child(step), node.field(name));
            }
        } else {
            prune_field(object, name, below, owned.child(step), node);
        }
    }
}
