//! How a value looks to apply: an object of fields, a list of items that can be told apart, or a leaf.

use super::fields_v1::{key_step, value_step};
use crate::object::topology::{ListMerge, Node};
use serde_json::{Map, Value};

/// How a value looks to apply.
pub(super) enum Shape<'a> {
    /// An object that merges field by field.
    Fields(&'a Map<String, Value>),
    /// A list whose items merge one by one, each with its step.
    Items(Vec<(String, &'a Value)>),
    /// A scalar, or something that is replaced as a whole.
    Leaf,
}

/// The shape of a value. A list with an item that cannot be told apart counts as a leaf.
pub(super) fn shape<'a>(value: &'a Value, node: &Node) -> Shape<'a> {
    match value {
        Value::Object(map) if !node.atomic => Shape::Fields(map),
        Value::Array(list) if node.list != ListMerge::Atomic => list
            .iter()
            .map(|item| step_of(item, &node.list).map(|step| (step, item)))
            .collect::<Option<_>>()
            .map_or(Shape::Leaf, Shape::Items),
        _ => Shape::Leaf,
    }
}

/// The step to an item of a list, unless the list is atomic or the item has no key.
pub(super) fn step_of(item: &Value, list: &ListMerge) -> Option<String> {
    match list {
        ListMerge::Atomic => None,
        ListMerge::Set => value_step(item),
        ListMerge::Map(keys) => key_step(item, keys),
    }
}
