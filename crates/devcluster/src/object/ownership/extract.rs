//! The fields that an applied configuration mentions.

use super::field_set::FieldSet;
use super::fields_v1::{field_step, print_path, print_step};
use super::root::may_touch;
use super::shape::step_of;
use crate::object::topology::{ListMerge, Node};
use serde_json::{Map, Value};

/// What a configuration mentions.
#[derive(Debug, Default)]
pub(super) struct Mentioned {
    /// The fields that its manager comes to own.
    pub(super) set: FieldSet,
    /// Empty lists that merge item by item. They own nothing, but stay in the object.
    pub(super) empty_lists: FieldSet,
}

/// The fields that a configuration mentions, or what is wrong with it, in the server's words.
pub(super) fn extract(
    config: &Map<String, Value>,
    subresource: Option<&str>,
    node: &Node,
) -> Result<Mentioned, Vec<String>> {
    let mut walk = Walk { path: Vec::new(), errors: Vec::new(), empty_lists: FieldSet::default() };
    let mut set = FieldSet::default();
    for (name, value) in config.iter().filter(|(name, _)| may_touch(subresource, name)) {
        walk.field(&mut set, name, value, node);
    }
    if walk.errors.is_empty() {
        Ok(Mentioned { set, empty_lists: walk.empty_lists })
    } else {
        Err(walk.errors)
    }
}

struct Walk {
    path: Vec<String>,
    errors: Vec<String>,
    empty_lists: FieldSet,
}

impl Walk {
    fn complain(&mut self, what: &str) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        self.errors.push(format!("{}: {what}", print_path(&path)));
    }

    fn field(&mut self, set: &mut FieldSet, name: &str, value: &Value, node: &Node) {
        let step = field_step(name);
        self.path.push(step.clone());
        if node.refuses(name) {
            self.complain("field not declared in schema");
        } else {
            let mut below = self.value(value, node.field(name));
            if node.is_map_key(name) || is_empty_object(value) {
                below.set_member(true);
            }
            set.insert(step, below);
        }
        self.path.pop();
    }

    fn value(&mut self, value: &Value, node: &Node) -> FieldSet {
        let mut set = FieldSet::default();
        match value {
            Value::Object(map) if !node.atomic => {
                for (name, value) in map {
                    self.field(&mut set, name, value, node);
                }
            }
            Value::Array(list) if node.list != ListMerge::Atomic => {
                if list.is_empty() {
                    self.empty_lists.union_with(&FieldSet::of_path(&self.path));
                }
                for (i, item) in list.iter().enumerate() {
                    self.item(&mut set, i, item, node);
                }
            }
            _ => set.set_member(true),
        }
        set
    }

    fn item(&mut self, set: &mut FieldSet, index: usize, item: &Value, node: &Node) {
        let Some(step) = step_of(item, &node.list) else {
            self.complain(&format!("element {index}: {}", no_key(item, &node.list)));
            return;
        };
        if set.child(&step).is_some() {
            self.complain(&format!("duplicate entries for key {}", print_step(&step)));
            return;
        }
        self.path.push(step.clone());
        let mut below = self.value(item, node.item());
        below.set_member(true);
        self.path.pop();
        set.insert(step, below);
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn no_key(item: &Value, list: &ListMerge) -> String {
    match list {
        ListMerge::Map(keys) if item.is_object() => {
            let keys: Vec<String> = keys.iter().map(|key| format!("{:?}", key.name)).collect();
            let field = if keys.len() == 1 { "field" } else { "fields" };
            format!(
                "associative list with keys has an element that omits key {field} {} (and doesn't have default value)",
                keys.join(", ")
            )
        }
        ListMerge::Map(_) => "associative list with keys may not have non-map elements".to_owned(),
        _ => "set elements must be scalars".to_owned(),
    }
}
