//! Ownership after a write that is not an apply.

use super::compare::Changes;
use super::managers::{self, Entry, Operation};
use super::root;
use crate::object::topology::Topology;
use serde_json::{Map, Value};

/// Recomputes `metadata.managedFields` of `after`, for a create (`before` is `None`), an update or a patch.
///
/// What was added or changed belongs to `manager` alone from now on, what is gone belongs to nobody. Through the
/// subresource `status` only the status counts. As in the server:
///
/// - Managers that a client sent in the main resource replace those of the live object; `[{}]` clears them all.
/// - An existing object without managers stays so: nothing is known about who owns the rest.
/// - The time of the manager's entry becomes `now` when it added or changed a field, and only then.
pub fn update(
    before: Option<&Value>,
    after: &mut Value,
    manager: &str,
    subresource: Option<&str>,
    api_version: &str,
    now: &str,
    t: &Topology,
) {
    let sent = after.pointer_mut("/metadata/managedFields").map(Value::take);
    managers::put(None, after);
    if before.is_some() && subresource.is_none() && sent.as_ref().is_some_and(is_reset) {
        return;
    }
    let known = before.and_then(|b| b.pointer("/metadata/managedFields"));
    let sent = sent.filter(|sent| subresource.is_none() && (known == Some(sent) || managers::is_valid(sent)));
    let entries =
        match sent.or_else(|| known.cloned()).filter(|v| v.as_array().is_some_and(|list| !list.is_empty())) {
            Some(entries) => entries,
            None if before.is_none() => Value::Array(Vec::new()),
            None => return,
        };
    Writer { manager, subresource, api_version, now }.record(before, after, entries, t);
}

/// Who writes, how and when.
struct Writer<'a> {
    manager: &'a str,
    subresource: Option<&'a str>,
    api_version: &'a str,
    now: &'a str,
}

impl Writer<'_> {
    /// Reads the entries only where something changed: most writes of a busy cluster repeat what is there.
    fn record(&self, before: Option<&Value>, after: &mut Value, entries: Value, t: &Topology) {
        let changes = compare(before, after, self.subresource, t);
        if changes.is_empty() {
            managers::put(Some(entries), after);
        } else {
            let mut entries = managers::read(entries).unwrap_or_default();
            self.add(&mut entries, changes);
            managers::write(entries, after);
        }
    }

    /// Gives what changed to the writer.
    fn add(&self, entries: &mut Vec<Entry>, changes: Changes) {
        for entry in entries.iter_mut() {
            entry.set.subtract(&changes.touched);
            entry.set.subtract_trees(&changes.removed);
        }
        if changes.touched.is_empty() {
            return;
        }
        let own = entries
            .iter_mut()
            .find(|e| e.belongs_to(self.manager, Operation::Update, self.subresource, self.api_version));
        match own {
            Some(own) => {
                own.set.union_with(&changes.touched);
                own.time = Some(self.now.to_owned());
            }
            None => entries.push(Entry {
                manager: self.manager.to_owned(),
                operation: Operation::Update,
                api_version: self.api_version.to_owned(),
                time: Some(self.now.to_owned()),
                subresource: self.subresource.map(str::to_owned),
                set: changes.touched,
            }),
        }
    }
}

fn compare(before: Option<&Value>, after: &Value, subresource: Option<&str>, t: &Topology) -> Changes {
    let nothing = Map::new();
    let before = before.and_then(Value::as_object).unwrap_or(&nothing);
    let after = after.as_object().unwrap_or(&nothing);
    root::compare(before, after, subresource, t.root())
}

/// Whether a client asks to forget all managers.
fn is_reset(sent: &Value) -> bool {
    matches!(sent, Value::Array(list)
        if list.len() == 1 && list.iter().all(|e| e.as_object().is_some_and(Map::is_empty)))
}
