//! Placeholders for what no two servers share.
//!
//! | What | Becomes |
//! |---|---|
//! | uids, and names that a case hides | `uid-1`, `uid-2`, ... in the order in which they were seen |
//! | resource versions of objects | `version-1`, `version-2`, ... in ascending order, so that their order is compared |
//! | resource versions of lists, tables and bookmarks | `version`: they also count what others write |
//! | timestamps | `time`, or `time.us` with microseconds |
//! | continue tokens | `token` |
//! | causes of a refusal | in alphabetical order, each once |
//! | messages of refusals whose wording clients do not rely on | left out |
//!
//! And what [`FIELDS`](super::exemptions::FIELDS) lists.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Map, Value, json};

use super::exemptions;
use super::trial::Step;

/// How a request is called in the report.
pub fn request(method: &Method, path: &str, headers: &[(&str, &str)]) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let plain = |parameter: &&str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name != "continue" && !(name.eq_ignore_ascii_case("resourceVersion") && value.len() > 1)
    };
    let mut parameters: Vec<String> = query.split('&').filter(plain).map(str::to_owned).collect();
    let named = query.split('&').filter(|parameter| !plain(parameter));
    parameters.extend(named.map(|p| format!("{}=...", p.split('=').next().unwrap_or_default())));
    parameters.retain(|parameter| !parameter.is_empty());
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    let form: Vec<&str> =
        headers.iter().map(|(_, value)| *value).filter(|value| *value != "application/json").collect();
    let form = if form.is_empty() { String::new() } else { format!(" ({})", form.join(", ")) };
    format!("{method} {path}{query}{form}")
}

/// Normalises all steps of a run together, since what was seen in one is named in another.
pub fn steps(steps: &[Step], hidden: &[(String, String)]) -> Vec<Step> {
    let mut names: Vec<(String, String)> = hidden.to_vec();
    let mut versions = BTreeSet::new();
    for step in steps {
        collect(&step.seen, &mut names, &mut versions);
    }
    let versions: BTreeMap<u64, usize> = versions.into_iter().zip(1..).collect();
    let replace = |text: &str| {
        names.iter().fold(text.to_owned(), |text, (name, placeholder)| text.replace(name, placeholder))
    };
    steps
        .iter()
        .map(|step| Step { what: replace(&step.what), seen: value(&step.seen, &replace, &versions) })
        .collect()
}

/// What follows are numbers that no two servers share.
const TOO_OLD: &str = "too old resource version";

const STORED: &str = "AdditionalErrorMsg: ";

fn is_list(object: &Map<String, Value>) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind == "Table" || (kind.ends_with("List") && object.contains_key("items"))
}

/// Finds uids and the versions of objects.
fn collect(seen: &Value, names: &mut Vec<(String, String)>, versions: &mut BTreeSet<u64>) {
    match seen {
        Value::Object(object) => {
            if let Some(metadata) = object.get("metadata").filter(|_| !is_bookmark(object)) {
                if let Some(uid) = metadata["uid"].as_str().filter(|uid| uid.len() == 36)
                    && !names.iter().any(|(name, _)| name == uid)
                {
                    let number = names.iter().filter(|(_, name)| name.starts_with("uid-")).count() + 1;
                    names.push((uid.to_owned(), format!("uid-{number}")));
                }
                let version = metadata["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
                versions.extend(version.filter(|_| !is_list(object)));
            }
            object.values().for_each(|value| collect(value, names, versions));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, names, versions)),
        _ => {}
    }
}

fn is_bookmark(event: &Map<String, Value>) -> bool {
    event.get("metadata").is_some_and(|metadata| {
        metadata["creationTimestamp"].is_null() && metadata["name"].is_null() && metadata["uid"].is_null()
    })
}

fn value(seen: &Value, replace: &dyn Fn(&str) -> String, versions: &BTreeMap<u64, usize>) -> Value {
    match seen {
        Value::Object(object) => {
            let mut object = object.clone();
            if is_list(&object) || is_bookmark(&object) {
                vague_version(&mut object);
            }
            exemptions::drop_fields(&mut object);
            forget_wording(&mut object);
            let fields = object.iter().map(|(name, inner)| {
                let inner = match (name.as_str(), inner) {
                    ("resourceVersion", Value::String(text)) => version(text, versions),
                    ("continue", Value::String(text)) if !text.is_empty() => json!("token"),
                    ("managedFields", Value::Array(entries)) => managers(entries),
                    _ => inner.clone(),
                };
                (replace(name), value(&inner, replace, versions))
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| value(item, replace, versions)).collect())
        }
        // Between these, the real server tells where in etcd it looked.
        Value::String(text) if text.contains("StorageError:") && text.contains(STORED) => {
            let (head, rest) = text.split_once("StorageError:").unwrap_or_default();
            let tail = rest.split_once(STORED).unwrap_or_default().1;
            Value::from(replace(&format!("{head}{tail}")))
        }
        Value::String(text) if text.starts_with(TOO_OLD) => json!(TOO_OLD),
        Value::String(text) => {
            let text = time(text).map_or_else(|| replace(text), str::to_owned);
            Value::from(exemptions::without_subresource(&text))
        }
        other => other.clone(),
    }
}

fn vague_version(object: &mut Map<String, Value>) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(Value::String(text)) = metadata.get_mut("resourceVersion")
        && text.parse::<u64>().is_ok_and(|version| version > 0)
    {
        "version".clone_into(text);
    }
}

fn version(text: &str, versions: &BTreeMap<u64, usize>) -> Value {
    let known = text.parse::<u64>().ok().and_then(|number| versions.get(&number));
    json!(known.map_or_else(|| text.to_owned(), |rank| format!("version-{rank}")))
}

/// The name of a timestamp of the API's two forms.
fn time(text: &str) -> Option<&'static str> {
    let parsed = text.parse::<jiff::Timestamp>().is_ok();
    match text.len() {
        20 if parsed && text.ends_with('Z') => Some("time"),
        25 if parsed && text.ends_with("+00:00") => Some("time"),
        27 if parsed && text.ends_with('Z') => Some("time.us"),
        _ => None,
    }
}

/// Field ownership, in a fixed order: servers sort entries by their time, which has whole seconds.
fn managers(entries: &[Value]) -> Value {
    let mut entries = exemptions::merge_managers(entries);
    entries.sort_by_key(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        (text("manager"), text("operation"), text("apiVersion"))
    });
    Value::Array(entries)
}

/// Leaves out what a `Status` says in words that clients do not rely on.
fn forget_wording(object: &mut Map<String, Value>) {
    if object.get("kind") != Some(&json!("Status")) {
        return;
    }
    let code = object.get("code").and_then(Value::as_u64).unwrap_or_default();
    let relied_on = matches!(code, 200 | 403 | 404 | 409 | 410);
    if !relied_on {
        object.remove("message");
    }
    let causes = object.get_mut("details").and_then(|details| details.get_mut("causes"));
    for cause in causes.and_then(Value::as_array_mut).into_iter().flatten() {
        if !relied_on && let Some(cause) = cause.as_object_mut() {
            cause.remove("message");
        }
    }
    let causes = object.get_mut("details").and_then(|details| details.get_mut("causes"));
    if let Some(causes) = causes.and_then(Value::as_array_mut) {
        exemptions::soften_reasons(causes);
        causes.sort_by_key(Value::to_string);
        causes.dedup();
    }
}
