//! Rules of particular kinds, beyond metadata and structural schemas.

use serde_json::{Value, json};

use super::admission::registration;
use super::registry::Resource;
use super::status::Cause;
use super::{metadata, names};
use crate::object::selector::LabelSelector;

const IMMUTABLE: &str = "field is immutable";

/// Every complaint about an object that is about to be stored.
pub fn object(resource: &Resource, before: Option<&Value>, object: &Value) -> Vec<Cause> {
    let mut causes = metadata::validate(resource, object);
    if let Some(custom) = &resource.custom {
        if let Some(schema) = &custom.schema {
            let found = schema.validate(object);
            causes.extend(found.into_iter().map(|e| Cause::new(&e.reason, e.path, e.message)));
        }
    } else {
        causes.extend(builtin(resource, object));
    }
    if let Some(before) = before {
        causes.extend(metadata::validate_update(before, object));
        causes.extend(immutable(resource, before, object));
    }
    causes
}

/// The same for an object that a client writes. What is loaded may be older than these rules.
pub fn written(resource: &Resource, before: Option<&Value>, object: &Value) -> Vec<Cause> {
    let mut causes = self::object(resource, before, object);
    if resource.group == "admissionregistration.k8s.io" {
        causes.extend(registration::complaints(object));
    }
    causes
}

fn builtin(resource: &Resource, object: &Value) -> Vec<Cause> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod_spec(&object["spec"], "spec"),
        ("", "ConfigMap" | "Secret") => data_keys(object),
        ("apps", _) => workload(object),
        ("batch", "Job") => job(object),
        ("node.k8s.io", _) => handler(object),
        ("apiextensions.k8s.io", _) => definition(object),
        _ => Vec::new(),
    }
}

fn pod_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else {
            causes.extend(
                names::label(name)
                    .iter()
                    .map(|why| Cause::invalid(format!("{path}.name"), &name.into(), why)),
            );
            if seen.contains(&name) {
                let message = format!("Duplicate value: {name:?}");
                causes.push(Cause::new("FieldValueDuplicate", format!("{path}.name"), message));
            }
            seen.push(name);
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.image"), ""));
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    if spec["restartPolicy"].as_str().is_some_and(|policy| !policies.contains(&policy)) {
        causes.push(Cause::unsupported(format!("{path}.restartPolicy"), &spec["restartPolicy"], &policies));
    }
    causes
}

fn data_keys(object: &Value) -> Vec<Cause> {
    const WHY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    let fits = |key: &str| {
        !key.is_empty()
            && key != "."
            && !key.starts_with("..")
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let mut causes = Vec::new();
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flat_map(|map| map.keys()).filter(|key| !fits(key)) {
            causes.push(Cause::invalid(format!("{field}[{key}]"), &key.as_str().into(), WHY));
        }
    }
    let keys = object["data"].as_object().into_iter().flat_map(|map| map.keys());
    for key in
        keys.filter(|key| object["kind"] == "ConfigMap" && !object["binaryData"][key.as_str()].is_null())
    {
        let why = "duplicate of key present in binaryData";
        causes.push(Cause::invalid(format!("data[{key}]"), &key.as_str().into(), why));
    }
    causes
}

fn workload(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let labels = &spec["template"]["metadata"]["labels"];
    if spec["selector"].is_null() {
        causes.push(Cause::required("spec.selector", ""));
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    } else {
        match LabelSelector::from_value(&spec["selector"]) {
            Ok(selector) if !selector.matches(labels.as_object()) => {
                let found = if labels.is_null() { json!({}) } else { labels.clone() };
                causes.push(Cause::invalid(
                    "spec.template.metadata.labels",
                    &found,
                    "`selector` does not match template `labels`",
                ));
            }
            Ok(_) => {}
            Err(why) => causes.push(Cause::invalid("spec.selector", &spec["selector"], &why)),
        }
    }
    causes.extend(pod_spec(&spec["template"]["spec"], "spec.template.spec"));
    if spec["template"]["spec"]["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            &spec["template"]["spec"]["restartPolicy"],
            &["Always"],
        ));
    }
    causes
}

fn job(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"]["template"]["spec"];
    let mut causes = pod_spec(spec, "spec.template.spec");
    if spec["restartPolicy"] == "Always" {
        causes.push(Cause::required(
            "spec.template.spec.restartPolicy",
            "valid values: \"OnFailure\", \"Never\"",
        ));
    }
    causes
}

fn handler(object: &Value) -> Vec<Cause> {
    let handler = object["handler"].as_str().unwrap_or_default();
    names::label(handler).iter().map(|why| Cause::invalid("handler", &handler.into(), why)).collect()
}

fn definition(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let wanted = format!(
        "{}.{}",
        spec["names"]["plural"].as_str().unwrap_or_default(),
        spec["group"].as_str().unwrap_or_default()
    );
    if metadata::text(object, "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &metadata::text(object, "name").into(), why));
    }
    let scope = &spec["scope"];
    if scope.as_str().unwrap_or_default().is_empty() {
        causes.push(Cause::required("spec.scope", ""));
    } else if scope != "Namespaced" && scope != "Cluster" {
        causes.push(Cause::unsupported("spec.scope", scope, &["Cluster", "Namespaced"]));
    }
    causes.extend(approval(object));
    causes.extend(definition_names(&spec["names"]));
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], why));
        let why = "must have the storage version among them";
        causes.push(Cause::invalid("status.storedVersions", &spec["versions"], why));
    }
    for (index, version) in versions.iter().enumerate() {
        let name = version["name"].as_str().unwrap_or_default();
        let complaints = names::label_1035(name);
        let mut paths = vec![format!("spec.versions[{index}].name")];
        // What all versions share, the real server looks at as if it were the definition's.
        if versions.len() == 1 {
            paths.push("spec.version".to_owned());
        }
        for path in paths {
            causes.extend(complaints.iter().map(|why| Cause::invalid(&path, &name.into(), why)));
        }
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        let schema = &version["schema"]["openAPIV3Schema"];
        let of = if versions.len() == 1 { "spec".to_owned() } else { format!("spec.versions[{index}]") };
        causes.extend(columns(version, &of));
        if schema.is_null() {
            causes.push(Cause::required(path, "schemas are required"));
        } else if let Err(errors) = crate::object::schema::Schema::from_openapi(schema) {
            let path = if versions.len() == 1 { "spec.validation.openAPIV3Schema".to_owned() } else { path };
            causes.extend(errors.into_iter().map(|e| {
                let field = if e.path.is_empty() { path.clone() } else { format!("{path}.{}", e.path) };
                Cause::new(&e.reason, field, e.message)
            }));
        }
    }
    causes
}

/// Groups of Kubernetes itself are for those who have the community's word for it.
fn approval(object: &Value) -> Option<Cause> {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    let group = object["spec"]["group"].as_str().unwrap_or_default();
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|home| group.strip_suffix(home).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let approved = object["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    (protected && approved.is_empty()).then(|| {
        let hint = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
        Cause::required(format!("metadata.annotations[{ANNOTATION}]"), hint)
    })
}

fn definition_names(wanted: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut check = |field: String, name: &Value| {
        let text = name.as_str().unwrap_or_default().to_lowercase();
        causes.extend(names::label_1035(&text).iter().map(|why| Cause::invalid(field.clone(), name, why)));
    };
    for field in ["plural", "singular", "kind", "listKind"] {
        if !wanted[field].as_str().unwrap_or_default().is_empty() {
            check(format!("spec.names.{field}"), &wanted[field]);
        }
    }
    for (index, name) in wanted["shortNames"].as_array().into_iter().flatten().enumerate() {
        check(format!("spec.names.shortNames[{index}]"), name);
    }
    causes
}

/// `of` is the path of what the columns belong to.
fn columns(version: &Value, of: &str) -> Vec<Cause> {
    const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    let mut causes = Vec::new();
    for (index, column) in version["additionalPrinterColumns"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{of}.additionalPrinterColumns[{index}]");
        let kind = column["type"].as_str().unwrap_or_default();
        if kind.is_empty() {
            causes.push(Cause::required(
                format!("{path}.type"),
                &format!("must be one of {}", KINDS.join(",")),
            ));
        } else if !KINDS.contains(&kind) {
            let why = format!("must be one of {}", KINDS.join(","));
            causes.push(Cause::invalid(format!("{path}.type"), &kind.into(), &why));
        }
        if column["jsonPath"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.JSONPath"), ""));
        }
    }
    causes
}

/// What an update of this kind may not change.
fn immutable(resource: &Resource, before: &Value, after: &Value) -> Vec<Cause> {
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("node.k8s.io", _) => &["handler"],
        ("apps", "DaemonSet" | "Deployment" | "ReplicaSet") => &["spec.selector"],
        ("batch", "Job") => &["spec.selector", "spec.completions"],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &["roleRef"],
        ("", "Secret") => &["type"],
        ("apiextensions.k8s.io", _) => &["spec.group", "spec.scope", "spec.names.plural"],
        ("storage.k8s.io", "StorageClass") => &["provisioner", "parameters"],
        ("scheduling.k8s.io", _) => &["value"],
        _ => &[],
    };
    let at = |object: &Value, path: &str| {
        path.split('.').try_fold(object, |value, field| value.get(field)).cloned()
    };
    let mut causes: Vec<Cause> = fields
        .iter()
        .filter(|path| at(before, path) != at(after, path))
        .map(|path| match *path {
            "roleRef" => Cause::invalid(*path, &after["roleRef"], "cannot change roleRef"),
            path => Cause::invalid(path, &at(after, path).unwrap_or_default(), IMMUTABLE),
        })
        .collect();
    if before["immutable"] == true {
        causes.extend(frozen_data(before, after));
    }
    if resource.is("", "pods") {
        causes.extend(frozen_pod(before, after));
    }
    causes
}

fn frozen_data(before: &Value, after: &Value) -> Vec<Cause> {
    let why = "field is immutable when `immutable` is set";
    ["data", "binaryData", "immutable"]
        .into_iter()
        .filter(|field| before[*field] != after[*field])
        .map(|field| Cause::forbidden(field, why))
        .collect()
}

/// Only a handful of fields of a pod's specification may change.
fn frozen_pod(before: &Value, after: &Value) -> Option<Cause> {
    const WHY: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let open = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            for field in
                ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"]
            {
                map.remove(field);
            }
        }
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        spec
    };
    (open(before) != open(after)).then(|| Cause::forbidden("spec", WHY))
}
