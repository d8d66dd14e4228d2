//! The top of an object: what nobody owns, and what a subresource may touch.

use super::compare::{self, Changes};
use super::field_set::FieldSet;
use crate::object::topology::Node;
use serde_json::{Map, Value};

/// Top-level fields that nobody owns.
const TYPE: [&str; 2] = ["apiVersion", "kind"];

/// Fields of the metadata that nobody owns.
const SYSTEM_METADATA: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "clusterName",
    "managedFields",
];

/// Whether the server alone writes this field of the metadata once the object exists.
pub(super) fn is_system_metadata(name: &str) -> bool {
    SYSTEM_METADATA.contains(&name)
}

/// Whether a write through this subresource may change the top-level field. Through `status` it is the status alone.
pub(super) fn may_touch(subresource: Option<&str>, field: &str) -> bool {
    subresource != Some("status") || field == "status"
}

/// Compares two versions of an object, as far as a write through this subresource is concerned.
pub(super) fn compare(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    subresource: Option<&str>,
    node: &Node,
) -> Changes {
    let mut changes = Changes::default();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names.filter(|name| may_touch(subresource, name) && !TYPE.contains(&name.as_str())) {
        match (name.as_str(), before.get(name), after.get(name)) {
            ("metadata", Some(Value::Object(before)), Some(Value::Object(after))) => {
                metadata(&mut changes, before, after, node.field(name));
            }
            ("metadata", None | Some(Value::Null), Some(Value::Object(after))) => {
                metadata(&mut changes, &Map::new(), after, node.field(name));
            }
            ("metadata", ..) => {}
            _ => compare::field(&mut changes, name, before, after, node),
        }
    }
    changes
}

fn metadata(changes: &mut Changes, before: &Map<String, Value>, after: &Map<String, Value>, node: &Node) {
    let mut below = Changes::default();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names.filter(|name| !is_system_metadata(name)) {
        compare::field(&mut below, name, before, after, node);
    }
    changes.insert("f:metadata".to_owned(), below);
}

/// Takes what nobody owns out of a set.
pub(super) fn strip(set: &mut FieldSet) {
    for name in TYPE {
        set.remove(&super::fields_v1::field_step(name));
    }
    set.edit("f:metadata", |metadata| {
        metadata.set_member(false);
        for name in SYSTEM_METADATA {
            metadata.remove(&super::fields_v1::field_step(name));
        }
    });
}
