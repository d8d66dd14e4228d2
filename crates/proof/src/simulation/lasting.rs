//! What of a cluster's objects lasts: without what differs from one run to the next although the same happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use osc_devcluster::sim::annotations;
use serde_json::{Value, json};

/// Kinds that tell of what happened and when, not of how things are.
const DIARIES: [&str; 2] = ["Event", "Lease"];

/// A field of a status that counts writes.
const OBSERVED: &str = "observedGeneration";

/// How certificates and keys begin in base64: each is another one.
const PEM: &str = "LS0tLS1CRUdJTi";

/// The annotation of Services that names the authority that signed their certificate.
const SIGNED_BY: &str = "service.beta.openshift.io/serving-cert-signed-by";

/// Fields of metadata that count writes or name the writer.
const COUNTERS: [&str; 4] = ["resourceVersion", "managedFields", "generation", "uid"];

/// All objects by kind and name. Times and identities are masked; what the Machine Config Operator rendered on the way
/// is left out.
pub fn lasting(objects: &[Arc<Value>]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let on_the_way = kind == "MachineConfig" && name.starts_with("rendered-");
        if DIARIES.contains(&kind) || on_the_way {
            continue;
        }
        let mut object = object.as_ref().clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| !COUNTERS.contains(&field.as_str()));
        }
        // Reboots are compared by themselves.
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.remove(annotations::REBOOTS);
            // The authority of served certificates is another one in every cluster, and its name says so.
            annotations.remove(SIGNED_BY);
        }
        if let Some(status) = object["status"].as_object_mut() {
            status.remove(OBSERVED);
        }
        let name = given_name(&mut object);
        if object["kind"] == "Pod" {
            // Its address and its containers' identities are drawn anew for every pod.
            object["status"] = json!({"phase": object["status"]["phase"]});
        }
        if object["kind"] == "Service"
            && let Some(spec) = object["spec"].as_object_mut()
        {
            // So are the addresses of Services.
            spec.retain(|field, _| !["clusterIP", "clusterIPs"].contains(&field.as_str()));
        }
        mask(&mut object);
        let namespace = object["metadata"]["namespace"].as_str().map(|namespace| format!("{namespace}/"));
        let name = format!(
            "{} {}{name}",
            object["kind"].as_str().unwrap_or_default(),
            namespace.unwrap_or_default()
        );
        // Pods of one controller are told apart by their number.
        let (mut key, mut number) = (name.clone(), 1);
        while found.contains_key(&key) {
            number += 1;
            key = format!("{name} ({number})");
        }
        found.insert(key, object);
    }
    found
}

/// A name that a controller made up is replaced by what it was made of. The node belongs to it only where that is not
/// chance: the scheduler may put other pods wherever there is room.
fn given_name(object: &mut Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let owner = &object["metadata"]["ownerReferences"][0];
    let Some(made_of) = owner["name"].as_str().filter(|_| object["kind"] == "Pod") else { return name };
    let name = if owner["kind"] == "DaemonSet" {
        format!("{made_of}-* on {}", object["spec"]["nodeName"].as_str().unwrap_or("no node"))
    } else {
        format!("{made_of}-*")
    };
    if owner["kind"] != "DaemonSet"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.remove("nodeName");
    }
    object["metadata"]["name"] = Value::from(name.clone());
    name
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => *value = Value::from("<time>"),
        Value::String(text) if is_identity(text) => *value = Value::from("<uid>"),
        Value::String(text) if text.starts_with(PEM) => *value = Value::from("<certificate>"),
        Value::Array(list) => list.iter_mut().for_each(mask),
        Value::Object(map) => map.values_mut().for_each(mask),
        _ => {}
    }
}

fn is_identity(text: &str) -> bool {
    let hyphen = |(index, byte): (usize, u8)| {
        if matches!(index, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.len() == 36 && text.bytes().enumerate().all(hyphen)
}

/// What is different, a line each.
pub fn differences(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let missing =
        expected.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name} is missing"));
    let others = found.iter().filter_map(|(name, object)| match expected.get(name) {
        None => Some(format!("{name} should not be there")),
        Some(wanted) if wanted != object => Some(first_difference(name, wanted, object)),
        Some(_) => None,
    });
    missing.chain(others).collect()
}

fn first_difference(path: &str, wanted: &Value, found: &Value) -> String {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let keys = wanted.keys().chain(found.keys().filter(|key| !wanted.contains_key(*key)));
            for key in keys {
                let (wanted, found) =
                    (wanted.get(key).unwrap_or(&Value::Null), found.get(key).unwrap_or(&Value::Null));
                if wanted != found {
                    return first_difference(&format!("{path}.{key}"), wanted, found);
                }
            }
            path.to_owned()
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let index =
                wanted.iter().zip(found).position(|(wanted, found)| wanted != found).unwrap_or_default();
            first_difference(&format!("{path}[{index}]"), &wanted[index], &found[index])
        }
        _ => format!("{path} is {found} instead of {wanted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(objects: &[Value]) -> BTreeMap<String, Value> {
        lasting(&objects.iter().cloned().map(Arc::new).collect::<Vec<_>>())
    }

    #[test]
    fn times_and_identities_are_no_difference_and_content_is() {
        let object = |time: &str, uid: &str, version: &str, phase: &str| {
            json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version},
                "spec": {"time": time, "owner": uid}, "status": {"podIP": uid, "phase": phase}})
        };
        let one =
            of(&[object("2026-01-01T00:00:00Z", "0b2fbc5e-7e1f-4f5e-9b53-3d8a1d8a3f11", "1", "Running")]);
        let two =
            of(&[object("2026-01-02T00:00:00Z", "1b2fbc5e-7e1f-4f5e-9b53-3d8a1d8a3f11", "2", "Running")]);
        assert_eq!(differences(&one, &two), Vec::<String>::new());
        let three =
            of(&[object("2026-01-02T00:00:00Z", "1b2fbc5e-7e1f-4f5e-9b53-3d8a1d8a3f11", "2", "Failed")]);
        assert_eq!(differences(&one, &three), ["Pod n/a.status.phase is \"Failed\" instead of \"Running\""]);
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        let node = |name: &str| json!({"kind": "Node", "metadata": {"name": name}});
        let told = differences(&of(&[node("a"), node("b")]), &of(&[node("b"), node("c")]));
        assert_eq!(told, ["Node a is missing", "Node c should not be there"]);
    }

    #[test]
    fn the_pod_of_a_daemon_set_is_named_after_its_node() {
        let pod = |name: &str, node: &str| {
            let owner = json!({"kind": "DaemonSet", "name": "monitor"});
            json!({"kind": "Pod", "metadata": {"name": name, "ownerReferences": [owner]}, "spec": {"nodeName": node}})
        };
        assert_eq!(of(&[pod("monitor-x1", "a")]), of(&[pod("monitor-y2", "a")]));
        assert_ne!(of(&[pod("monitor-x1", "a")]), of(&[pod("monitor-x1", "b")]));
    }

    #[test]
    fn other_pods_are_counted_wherever_they_are() {
        let pod = |name: &str, node: &str| {
            let owner = json!({"kind": "ReplicaSet", "name": "webhook"});
            json!({"kind": "Pod", "metadata": {"name": name, "ownerReferences": [owner]}, "spec": {"nodeName": node}})
        };
        let two = of(&[pod("webhook-1", "a"), pod("webhook-2", "b")]);
        assert_eq!(two, of(&[pod("webhook-3", "a"), pod("webhook-4", "a")]));
        let told = differences(&two, &of(&[pod("webhook-1", "a")]));
        assert_eq!(told, ["Pod webhook-* (2) is missing"]);
    }
}
