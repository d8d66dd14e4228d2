//! What is created, changed and deleted.

use std::collections::BTreeMap;

use osc_api::names;
use serde::Serialize;
use serde_json::{Value, json};
use similar::TextDiff;

use crate::snapshot::title;

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It was not there.
    Created,
    /// It is different.
    Changed,
    /// It is gone.
    Deleted,
}

/// One object that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What happens to it.
    pub fate: Fate,
    /// `MachineConfigPool kata-oc`.
    pub object: String,
    /// Line by line, `+` and `-`.
    pub lines: Vec<String>,
}

/// Everything that differs.
pub fn between(before: &[Value], after: &[Value]) -> Vec<Difference> {
    let (before, after) = (by_title(before), by_title(after));
    let mut differences = Vec::new();
    for (object, new) in &after {
        match before.get(object) {
            None => differences.push(difference(Fate::Created, object, "", new)),
            Some(old) if old != new => differences.push(difference(Fate::Changed, object, old, new)),
            Some(_) => {}
        }
    }
    for (object, old) in before.iter().filter(|(object, _)| !after.contains_key(*object)) {
        differences.push(difference(Fate::Deleted, object, old, ""));
    }
    differences
}

fn difference(fate: Fate, object: &str, old: &str, new: &str) -> Difference {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(3).iter().enumerate() {
        if index > 0 {
            lines.push("...".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            lines.push(format!("{}{}", change.tag(), change.value().trim_end_matches('\n')));
        }
    }
    Difference { fate, object: object.to_owned(), lines }
}

/// Objects as text, by name; rendered machine configs apart, which follow from the others.
fn by_title(objects: &[Value]) -> BTreeMap<String, String> {
    let rendered = |object: &&Value| {
        object["kind"] == "MachineConfig"
            && object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("rendered-"))
    };
    let shown = objects.iter().filter(|object| !rendered(object));
    shown
        .map(|object| (title(object), serde_saphyr::to_string(&essence(object)).unwrap_or_default()))
        .collect()
}

/// Without what servers and controllers note down.
fn essence(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut kept = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {}});
    for field in ["name", "namespace", "labels", "finalizers", "deletionTimestamp"] {
        if let Some(value) = metadata.get(field).filter(|value| !value.is_null()) {
            kept["metadata"][field] = if field == "deletionTimestamp" { json!("set") } else { value.clone() };
        }
    }
    if object["kind"] == "Node" {
        return kept;
    }
    let others = object.as_object().into_iter().flatten();
    for (field, value) in
        others.filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
    {
        kept[field] = value.clone();
    }
    if object["kind"] == "MachineConfigPool"
        && let Some(spec) = kept["spec"].as_object_mut()
    {
        spec.remove("configuration");
    }
    kept
}

/// Nodes whose role is given or taken, told together: how many there are, and the sign.
pub fn roles(differences: &[Difference]) -> (usize, usize) {
    let is_node = |difference: &&Difference| difference.object.starts_with("Node ");
    let with = |sign: char| {
        let role = move |line: &String| line.starts_with(sign) && line.contains(names::KATA_NODE_ROLE);
        differences.iter().filter(is_node).filter(|difference| difference.lines.iter().any(role)).count()
    };
    (with('+'), with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, more: &Value) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "uid": "u", "resourceVersion": "1"}});
        for (key, value) in more.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    }

    #[test]
    fn what_differs_is_told_line_by_line_and_what_servers_note_is_not() {
        let before = [
            object("A", "same", &json!({"spec": {"x": 1}, "status": {"y": 1}})),
            object("A", "changed", &json!({"spec": {"x": 1, "y": 2}})),
            object("A", "gone", &json!({"spec": {}})),
        ];
        let after = [
            object("A", "same", &json!({"spec": {"x": 1}, "status": {"y": 2}})),
            object("A", "changed", &json!({"spec": {"x": 3, "y": 2}})),
            object("A", "new", &json!({"spec": {}})),
            object("MachineConfig", "rendered-worker-1", &json!({})),
        ];
        let found = between(&before, &after);
        let told: Vec<(Fate, &str)> = found.iter().map(|d| (d.fate, d.object.as_str())).collect();
        assert_eq!(told, [(Fate::Changed, "A changed"), (Fate::Created, "A new"), (Fate::Deleted, "A gone")]);
        assert!(
            found[0].lines.contains(&"-  x: 1".to_owned()) && found[0].lines.contains(&"+  x: 3".to_owned())
        );
        assert!(found[1].lines.iter().all(|line| line.starts_with('+')), "{:?}", found[1].lines);
        assert!(found[2].lines.iter().all(|line| line.starts_with('-')), "{:?}", found[2].lines);
    }

    #[test]
    fn roles_of_nodes_are_counted() {
        let node = |labels: Value| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w", "labels": labels},
                "spec": {"unschedulable": true}})
        };
        let (without, with) = (node(json!({"a": "b"})), node(json!({"a": "b", names::KATA_NODE_ROLE: ""})));
        assert_eq!(roles(&between(std::slice::from_ref(&without), std::slice::from_ref(&with))), (1, 0));
        assert_eq!(roles(&between(&[with], &[without])), (0, 1));
    }
}
