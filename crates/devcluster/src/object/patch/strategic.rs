//! Strategic merge patch.

use super::PatchError;
use crate::object::topology::{Node, PatchMerge};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

type Result<T> = std::result::Result<T, PatchError>;

fn malformed<T>(message: impl Into<String>) -> Result<T> {
    Err(PatchError::Malformed(message.into()))
}

/// Merges a patch into an object.
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>, node: &Node) -> Result<()> {
    match directive(patch)? {
        Directive::Delete => {
            target.clear();
            return Ok(());
        }
        Directive::Replace => {
            target.clear();
            target.extend(patch.iter().filter(|(k, _)| *k != PATCH).map(|(k, v)| (k.clone(), v.clone())));
            return Ok(());
        }
        Directive::Merge => {}
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        retain(target, patch, keys)?;
    }
    for (name, list) in patch {
        if let Some(field) = name.strip_prefix(DELETE_VALUES) {
            delete_values(target, field, list)?;
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        let order = order_of(patch, name)?;
        merge_field(target, name, value, order, node.field(name))?;
    }
    for (name, order) in patch {
        let Some(field) = name.strip_prefix(ORDER).filter(|field| !patch.contains_key(*field)) else {
            continue;
        };
        let Value::Array(order) = order else { return malformed(format!("{name} must be a list")) };
        if let Some(Value::Array(list)) = target.get_mut(field) {
            merge_list(list, &[], Some(order), node.field(field))?;
        }
    }
    Ok(())
}

enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>) -> Result<Directive> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) => match text.as_str() {
            "merge" => Ok(Directive::Merge),
            "replace" => Ok(Directive::Replace),
            "delete" => Ok(Directive::Delete),
            other => malformed(format!("Unknown patch type [{other}] found")),
        },
        Some(_) => malformed("the value of $patch must be a text"),
    }
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(ORDER) || name.starts_with(DELETE_VALUES)
}

fn order_of<'a>(patch: &'a Map<String, Value>, field: &str) -> Result<Option<&'a [Value]>> {
    match patch.get(&format!("{ORDER}{field}")) {
        None => Ok(None),
        Some(Value::Array(order)) => Ok(Some(order)),
        Some(_) => malformed(format!("{ORDER}{field} must be a list")),
    }
}

/// Drops the fields that are not listed. The patch may only set fields that it retains.
fn retain(target: &mut Map<String, Value>, patch: &Map<String, Value>, keys: &Value) -> Result<()> {
    let Value::Array(keys) = keys else { return malformed("$retainKeys must be a list") };
    let is_kept = |name: &str| keys.iter().any(|key| key == name);
    for (name, value) in patch {
        if !is_directive(name) && !value.is_null() && !is_kept(name) {
            return malformed(format!("{name} is in the patch but not in $retainKeys"));
        }
    }
    target.retain(|name, _| is_kept(name));
    Ok(())
}

fn delete_values(target: &mut Map<String, Value>, field: &str, values: &Value) -> Result<()> {
    let Value::Array(values) = values else {
        return malformed(format!("{DELETE_VALUES}{field} must be a list"));
    };
    if let Some(Value::Array(list)) = target.get_mut(field) {
        list.retain(|item| !values.contains(item));
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    order: Option<&[Value]>,
    node: &Node,
) -> Result<()> {
    match (target.get_mut(name), value) {
        (_, Value::Null) => {
            target.remove(name);
        }
        (Some(Value::Object(target)), Value::Object(patch)) => merge(target, patch, node)?,
        (Some(Value::Array(target)), Value::Array(patch)) => merge_list(target, patch, order, node)?,
        _ => {
            let fresh = fresh(value, order, node)?;
            target.insert(name.to_owned(), fresh);
        }
    }
    Ok(())
}

/// What a patch makes of something that is not there yet: itself, without directives and nulls.
fn fresh(value: &Value, order: Option<&[Value]>, node: &Node) -> Result<Value> {
    Ok(match value {
        Value::Object(patch) => {
            let mut object = Map::new();
            merge(&mut object, patch, node)?;
            Value::Object(object)
        }
        Value::Array(patch) => {
            let mut list = Vec::new();
            merge_list(&mut list, patch, order, node)?;
            Value::Array(list)
        }
        other => other.clone(),
    })
}

fn merge_list(target: &mut Vec<Value>, patch: &[Value], order: Option<&[Value]>, node: &Node) -> Result<()> {
    match &node.patch {
        PatchMerge::Replace => {
            if order.is_none() || !patch.is_empty() {
                *target = patch.iter().filter(|item| item.get(PATCH).is_none()).cloned().collect();
            }
            Ok(())
        }
        PatchMerge::Values => {
            let original = target.clone();
            for value in patch {
                if !target.contains(value) {
                    target.push(value.clone());
                }
            }
            reorder(target, &original, order.unwrap_or(patch), None);
            Ok(())
        }
        PatchMerge::By(key) => merge_items(target, patch, order, key, node),
    }
}

fn merge_items(
    target: &mut Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
    key: &str,
    node: &Node,
) -> Result<()> {
    let original = target.clone();
    if patch.iter().any(|item| item.get(PATCH).is_some_and(|d| d == "replace")) {
        *target = patch.iter().filter(|item| item.get(PATCH).is_none()).cloned().collect();
        return Ok(());
    }
    let mut kept = Vec::with_capacity(patch.len());
    for item in patch {
        let Value::Object(item) = item else {
            return malformed(format!("an item of a list that merges by {key} must be an object: {item}"));
        };
        let Some(id) = item.get(key) else {
            let item = Value::Object(item.clone());
            return malformed(format!("map: {item} does not contain declared merge key: {key}"));
        };
        if let Directive::Delete = directive(item)? {
            target.retain(|existing| existing.get(key) != Some(id));
            continue;
        }
        merge_item(target, item, (key, id), node.item())?;
        kept.push(Value::Object(item.clone()));
    }
    if let Some(order) = order {
        let is_listed = |item: &Value| order.iter().any(|o| o.get(key) == item.get(key));
        if !kept.iter().all(is_listed) {
            return malformed(format!(
                "the items of the list do not match $setElementOrder (merge key {key})"
            ));
        }
    }
    reorder(target, &original, order.unwrap_or(&kept), Some(key));
    Ok(())
}

fn merge_item(
    target: &mut Vec<Value>,
    item: &Map<String, Value>,
    (key, id): (&str, &Value),
    node: &Node,
) -> Result<()> {
    if let Some(Value::Object(existing)) = target.iter_mut().find(|existing| existing.get(key) == Some(id)) {
        return merge(existing, item, node);
    }
    let mut object = Map::new();
    merge(&mut object, item, node)?;
    target.push(Value::Object(object));
    Ok(())
}

/// Orders a merged list: the items that `order` names stand in that order; the others, which only the server knows,
/// keep their order and stand before the first named item that followed them in the original list.
///
/// Items are told apart by the field `key`, or by their value.
fn reorder(list: &mut Vec<Value>, original: &[Value], order: &[Value], key: Option<&str>) {
    let is_same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let rank = |item: &Value| order.iter().position(|other| is_same(item, other));
    let place = |item: &Value| original.iter().position(|other| is_same(item, other));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(|item| rank(item));
    let mut others = others.into_iter().peekable();
    for item in named {
        if let Some(at) = place(&item) {
            while let Some(other) = others.next_if(|other| place(other).is_some_and(|p| p < at)) {
                list.push(other);
            }
        }
        list.push(item);
    }
    list.extend(others);
}
