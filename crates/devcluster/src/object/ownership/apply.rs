//! Server-side apply.

use super::compare::{Changes, added};
use super::extract::{Mentioned, extract};
use super::field_set::FieldSet;
use super::managers::{self, Entry, Operation};
use super::{ApplyError, Conflict, merge, root};
use crate::object::topology::Topology;
use serde_json::{Map, Value};

/// The manager that owns what an object without managers had before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies a configuration: merges it into the live object, takes out what the manager applied before and mentions no
/// more, and returns the result with its `metadata.managedFields`.
///
/// - An apply that changes nothing returns the live object as it is.
/// - Fields that others own with another value are a conflict, unless `force` takes them away; with an equal value
///   they are shared. The same name with the operation `Update` is another manager.
/// - An applied list item goes away when its applier drops it and nobody else owns the item itself, even where
///   somebody owns a field inside.
/// - Through the subresource `status` only the status of `config` counts. Where a kind has that subresource, the caller
///   takes the status out of a `config` for the main resource.
/// - System fields in the metadata of `config` (resource version, UID, ...) are for the caller to check; they are not
///   merged.
/// - Where nothing is left of an entry's set, the entry goes away.
#[expect(clippy::too_many_arguments, reason = "each is a part of one request, and the caller has them apart")]
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    subresource: Option<&str>,
    force: bool,
    api_version: &str,
    now: &str,
    t: &Topology,
) -> Result<Value, ApplyError> {
    let request = Request { manager, subresource, force, api_version, now, t };
    request.run(live, config)
}

struct Request<'a> {
    manager: &'a str,
    subresource: Option<&'a str>,
    force: bool,
    api_version: &'a str,
    now: &'a str,
    t: &'a Topology,
}

impl Request<'_> {
    fn run(&self, live: Option<&Value>, config: &Value) -> Result<Value, ApplyError> {
        let config = config_map(config)?;
        let Mentioned { mut set, empty_lists } = extract(config, self.subresource, self.t.root())
            .map_err(|errors| ApplyError::Invalid(untyped(config, &errors)))?;
        root::strip(&mut set);

        let nothing = Map::new();
        let before = live.and_then(Value::as_object).unwrap_or(&nothing);
        let recorded = live
            .and_then(|live| live.pointer("/metadata/managedFields"))
            .and_then(|value| managers::read(value.clone()));
        let is_recorded = recorded.is_some();
        let mut others = recorded.unwrap_or_else(|| self.before_first_apply(before));
        let own = others
            .iter()
            .position(|e| e.belongs_to(self.manager, Operation::Apply, self.subresource, self.api_version))
            .map(|i| others.swap_remove(i));

        let mut after = merge::root(before, config, self.subresource, self.t.root());
        if let Some(own) = &own {
            let mut owned = set.clone();
            owned.union_with(&empty_lists);
            for entry in &others {
                owned.union_with(&entry.set);
            }
            merge::prune_root(&mut after, &own.set, &owned, self.t.root());
        }
        let changes = root::compare(before, &after, self.subresource, self.t.root());
        let same_entry = match &own {
            Some(own) => own.set == set && own.api_version == self.api_version,
            None => set.is_empty(),
        };
        if let Some(live) = live
            && (is_recorded || others.is_empty())
            && same_entry
            && changes.is_empty()
        {
            return Ok(live.clone());
        }
        self.settle(&mut others, &changes)?;
        others.push(Entry {
            manager: self.manager.to_owned(),
            operation: Operation::Apply,
            api_version: self.api_version.to_owned(),
            time: Some(self.now.to_owned()),
            subresource: self.subresource.map(str::to_owned),
            set,
        });
        let mut after = Value::Object(after);
        managers::write(others, &mut after);
        Ok(after)
    }

    /// Refuses conflicts, or takes the fields away from the others.
    fn settle(&self, others: &mut [Entry], changes: &Changes) -> Result<(), ApplyError> {
        if !self.force {
            let mut conflicts = Vec::new();
            for entry in others.iter() {
                conflicts_with(entry, &changes.touched, &mut conflicts);
            }
            if !conflicts.is_empty() {
                conflicts.sort_by(|a, b| a.description.cmp(&b.description));
                return Err(ApplyError::Conflicts(conflicts));
            }
        }
        for entry in others {
            entry.set.subtract(&changes.touched);
            entry.set.subtract_trees(&changes.removed);
        }
        Ok(())
    }

    /// What the object has now, as the work of a manager of its own: nobody recorded whose it is.
    fn before_first_apply(&self, live: &Map<String, Value>) -> Vec<Entry> {
        let mut set = FieldSet::default();
        for (name, value) in live.iter().filter(|(name, _)| root::may_touch(self.subresource, name)) {
            set.insert(super::fields_v1::field_step(name), added(value, self.t.root().field(name)));
        }
        root::strip(&mut set);
        if set.is_empty() {
            return Vec::new();
        }
        vec![Entry {
            manager: BEFORE_FIRST_APPLY.to_owned(),
            operation: Operation::Update,
            api_version: self.api_version.to_owned(),
            time: Some(self.now.to_owned()),
            subresource: None,
            set,
        }]
    }
}

fn conflicts_with(entry: &Entry, touched: &FieldSet, out: &mut Vec<Conflict>) {
    entry.set.intersection(touched).for_each_path(&mut |path| {
        out.push(Conflict {
            manager: entry.manager.clone(),
            path: super::fields_v1::print_path(path),
            description: entry.describe(),
        });
    });
}

fn config_map(config: &Value) -> Result<&Map<String, Value>, ApplyError> {
    let config = config
        .as_object()
        .ok_or_else(|| ApplyError::Invalid("an applied configuration must be an object".to_owned()))?;
    match config.get("metadata") {
        None | Some(Value::Null) => Ok(config),
        Some(Value::Object(metadata)) => match metadata.get("managedFields") {
            None | Some(Value::Null) => Ok(config),
            Some(_) => Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned())),
        },
        Some(_) => Err(ApplyError::Invalid("metadata must be an object".to_owned())),
    }
}

/// The server's message for a configuration that does not fit its schema.
fn untyped(config: &Map<String, Value>, errors: &[String]) -> String {
    let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = |field: &str| text(config.get("metadata").and_then(|m| m.get(field)));
    let list = match errors {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {list}",
        metadata("namespace"),
        metadata("name"),
        text(config.get("apiVersion")),
        text(config.get("kind")),
    )
}
