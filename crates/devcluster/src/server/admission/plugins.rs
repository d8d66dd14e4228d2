//! Built-in plugins: the namespace of a new object, and the RuntimeClass of a new pod.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::server::call::{Call, NAMESPACES, State};
use crate::server::metadata;
use crate::server::status::ApiError;
use crate::server::store::Key;

const RUNTIME_CLASSES: &str = "node.k8s.io/runtimeclasses";

/// Changes a new object, or refuses it. Running it again changes nothing more.
pub fn create(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    namespace_exists(call, object)?;
    if call.resource.is("", "pods") {
        tolerate_for_a_while(object);
        runtime_class(call, object)?;
    }
    Ok(())
}

/// The name of a new object in a refusal: it may yet have to be generated.
fn shown_name(object: &Value) -> &str {
    Some(metadata::text(object, "name"))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| metadata::text(object, "generateName"))
}

/// Namespaced objects need a namespace that exists and is not on its way out.
fn namespace_exists(call: &Call, object: &Value) -> Result<(), ApiError> {
    if !call.resource.namespaced || call.resource.plural.ends_with("reviews") {
        return Ok(());
    }
    let name = &call.info.namespace;
    let namespace = call
        .state
        .store
        .get(NAMESPACES, &Key::new("", name))
        .ok_or_else(|| ApiError::namespace_not_found(name))?;
    if !metadata::is_deleting(&namespace) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut error = ApiError::forbidden(&call.resource, shown_name(object), &why);
    error.details["causes"] = serde_json::json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {name} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Err(error)
}

fn class(state: &State, name: &str) -> Option<Arc<Value>> {
    state.store.get(RUNTIME_CLASSES, &Key::new("", name))
}

/// The RuntimeClass plugin: the class has to exist; its overhead and scheduling rules go into the pod.
fn runtime_class(call: &Call, pod: &mut Value) -> Result<(), ApiError> {
    let refuse = |name: &str, why: &str| {
        let why = format!("pod rejected: {why}");
        Err(ApiError::forbidden(&call.resource, name, &why))
    };
    let name = shown_name(pod).to_owned();
    let Some(class_name) = pod["spec"]["runtimeClassName"].as_str().map(str::to_owned) else {
        return match pod["spec"]["overhead"].as_object() {
            Some(overhead) if !overhead.is_empty() => {
                refuse(&name, "Pod Overhead set without corresponding RuntimeClass defined Overhead")
            }
            _ => Ok(()),
        };
    };
    let Some(class) = class(&call.state, &class_name) else {
        return refuse(&name, &format!("RuntimeClass \"{class_name}\" not found"));
    };
    let fixed = &class["overhead"]["podFixed"];
    let wanted = &pod["spec"]["overhead"];
    if fixed.is_object() {
        if wanted.as_object().is_some_and(|o| !o.is_empty()) && wanted != fixed {
            return refuse(&name, "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        }
        pod["spec"]["overhead"] = fixed.clone();
    } else if wanted.as_object().is_some_and(|o| !o.is_empty()) {
        return refuse(&name, "Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }
    if let Some(conflict) = merge_node_selector(pod, &class["scheduling"]["nodeSelector"]) {
        return Err(ApiError::forbidden(&call.resource, &name, &conflict));
    }
    merge_tolerations(pod, &class["scheduling"]["tolerations"]);
    Ok(())
}

/// The DefaultTolerationSeconds plugin: a pod stays for five minutes on a node that is in trouble.
fn tolerate_for_a_while(pod: &mut Value) {
    let mut list = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let of_key = |toleration: &Value| {
            let named = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (named.is_empty() || named == key) && matches!(effect, "" | "NoExecute")
        };
        if !list.iter().any(of_key) {
            list.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }),
            );
        }
    }
    pod["spec"]["tolerations"] = Value::Array(list);
}

/// Returns what is wrong when a key has different values.
fn merge_node_selector(pod: &mut Value, selector: &Value) -> Option<String> {
    let selector = selector.as_object().filter(|map| !map.is_empty())?;
    let mut merged: Map<String, Value> = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    for (key, value) in selector {
        match merged.get(key) {
            Some(found) if found != value => {
                return Some(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    found.as_str().unwrap_or_default(),
                ));
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    pod["spec"]["nodeSelector"] = Value::Object(merged);
    None
}

fn merge_tolerations(pod: &mut Value, tolerations: &Value) {
    let Some(tolerations) = tolerations.as_array().filter(|list| !list.is_empty()) else { return };
    let mut merged = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for toleration in tolerations {
        if !merged.contains(toleration) {
            merged.push(toleration.clone());
        }
    }
    pod["spec"]["tolerations"] = Value::Array(merged);
}
