//! Between the form in which objects are stored and the form of the version they are asked for in.
//!
//! Custom resources differ in `apiVersion` only (conversion `None`). The two event APIs rename fields.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::registry::Resource;

const EVENTS_GROUP: &str = "events.k8s.io";

/// (name in `v1`, name in `events.k8s.io/v1`)
const EVENT_FIELDS: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// (name in `v1`, name in `events.k8s.io/v1`)
const EVENT_REPORTER: [(&str, &str); 1] = [("reportingComponent", "reportingController")];

/// A stored object as this resource shows it. Shares the object when nothing differs.
pub fn seen(resource: &Resource, stored: &Arc<Value>) -> Arc<Value> {
    if resource.group == EVENTS_GROUP {
        return Arc::new(event(stored, &resource.api_version(), true));
    }
    if resource.custom.is_none() {
        return stored.clone();
    }
    let wanted = resource.api_version();
    let schema = resource.custom.as_ref().and_then(|custom| custom.schema.as_ref());
    let schema = schema.filter(|schema| schema.has_defaults());
    if stored["apiVersion"] == wanted.as_str() && schema.is_none() {
        return stored.clone();
    }
    let mut object = (**stored).clone();
    object["apiVersion"] = json!(wanted);
    // The schema may have got defaults since the object was stored.
    if let Some(schema) = schema {
        schema.default(&mut object);
    }
    if object == **stored { stored.clone() } else { Arc::new(object) }
}

/// An object of this resource as it is stored.
pub fn stored(resource: &Resource, object: Value) -> Value {
    if resource.group == EVENTS_GROUP { event(&object, "v1", false) } else { object }
}

fn event(object: &Value, api_version: &str, to_new: bool) -> Value {
    let renamed = |field: &str| {
        let pairs = EVENT_FIELDS.iter().chain(&EVENT_REPORTER);
        pairs
            .map(|(old, new)| if to_new { (old, new) } else { (new, old) })
            .find(|(from, _)| **from == field)
            .map_or_else(|| field.to_owned(), |(_, to)| (*to).to_owned())
    };
    let map: Map<String, Value> = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, value)| (renamed(field), value.clone()))
        .collect();
    let mut converted = Value::Object(map);
    converted["apiVersion"] = json!(api_version);
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_way_there_and_back() {
        let old = json!({ "apiVersion": "v1", "kind": "Event", "involvedObject": { "name": "n" },
            "message": "hello", "reportingComponent": "c", "reason": "R" });
        let new = event(&old, "events.k8s.io/v1", true);
        assert_eq!(new["regarding"]["name"], "n");
        assert_eq!(new["note"], "hello");
        assert_eq!(new["reportingController"], "c");
        assert_eq!(event(&new, "v1", false), old);
    }
}
