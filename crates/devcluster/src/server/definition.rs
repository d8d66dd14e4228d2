//! CustomResourceDefinitions: accepted names and conditions.

use serde_json::{Value, json};

use super::call::State;

/// The finalizer that keeps a definition, once it is being deleted, until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Accepts the names and marks the definition as established.
pub fn establish(state: &State, definition: &mut Value) {
    let now = state.now();
    let names = definition["spec"]["names"].clone();
    let storage: Vec<Value> = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    definition["status"] = json!({
        "acceptedNames": names,
        "conditions": [
            {
                "type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
                "message": "no conflicts found", "lastTransitionTime": now,
            },
            {
                "type": "Established", "status": "True", "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted", "lastTransitionTime": now,
            },
        ],
        "storedVersions": storage,
    });
}

/// After a change of the specification: new names are accepted, a new storage version is remembered.
pub fn follow(definition: &mut Value) {
    if definition["status"]["acceptedNames"].is_null() {
        return;
    }
    definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
    let versions = definition["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let Some(stored) = definition["status"]["storedVersions"].as_array_mut() else { return };
    for version in versions.iter().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
}

/// Marks a definition as being deleted together with its objects.
pub fn terminate(state: &State, definition: &mut Value) {
    super::metadata::add_finalizer(definition, CLEANUP);
    let condition = json!({
        "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        "lastTransitionTime": state.now(),
    });
    if let Some(conditions) = definition["status"]["conditions"].as_array_mut() {
        conditions.retain(|c| c["type"] != "Terminating");
        conditions.push(condition);
    }
}
