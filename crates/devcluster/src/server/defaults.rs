//! Defaults of the built-in kinds, as far as clients see and compare them.

use serde_json::{Map, Value, json};

use super::registry::Resource;

/// Sets a field if it is absent.
fn set(map: &mut Map<String, Value>, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value);
    }
}

/// A child object, made if it is absent.
fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.entry(field).or_insert_with(|| json!({})).as_object_mut()
}

/// Items of a list that are objects.
fn items<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Fills in what the real server fills in.
pub fn apply(resource: &Resource, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod_object(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => set(object, "spec", json!({})),
        ("", "Service") => service(object),
        ("", "Secret") => {
            set(object, "type", json!("Opaque"));
            string_data(object);
        }
        ("apps", kind) => workload(kind, object),
        ("batch", "Job") => job(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => subjects(object),
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", json!("Delete"));
            set(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            set(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("admissionregistration.k8s.io", kind) => webhooks(kind, object),
        ("apiextensions.k8s.io", _) => definition(object),
        _ => {}
    }
}

fn pod_object(object: &mut Map<String, Value>) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        pod_spec(spec);
        set(spec, "enableServiceLinks", json!(true));
    }
    let status = object.get_mut("status").and_then(Value::as_object_mut);
    if let Some(status) = status
        && let Some(address) = status.get("podIP").cloned()
    {
        set(status, "podIPs", json!([{ "ip": address }]));
    }
}

/// Fills in what is nobody's: what the real server writes only after it has recorded who owns what.
pub fn finish(resource: &Resource, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => {
            if let Some(spec) = child(object, "spec") {
                set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
                set(spec, "priority", json!(0));
            }
            if let Some(status) = child(object, "status") {
                set(status, "phase", json!("Pending"));
            }
        }
        ("", "Namespace") => {
            if let Some(spec) = child(object, "spec") {
                set(spec, "finalizers", json!(["kubernetes"]));
            }
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            // Go has no other word for an empty list here.
            if object.get("rules").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                object.insert("rules".to_owned(), Value::Null);
            }
        }
        _ => {}
    }
}

/// The quality of service of a pod, once admission is done with it.
pub fn classify(resource: &Resource, object: &mut Value) {
    if resource.is("", "pods") {
        object["status"]["qosClass"] = json!(quality(&object["spec"]));
    }
}

fn quality(spec: &Value) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let lists = ["containers", "initContainers"].into_iter().filter_map(|field| spec[field].as_array());
    let containers: Vec<&Value> = lists.flatten().collect();
    let amount = |container: &Value, kind: &str, what: &str| container["resources"][kind][what].clone();
    let any = containers.iter().any(|container| {
        COUNTED.iter().any(|what| {
            !amount(container, "requests", what).is_null() || !amount(container, "limits", what).is_null()
        })
    });
    let all = containers.iter().all(|container| {
        COUNTED.iter().all(|what| {
            let limit = amount(container, "limits", what);
            !limit.is_null() && limit == amount(container, "requests", what)
        })
    });
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Defaults of a pod's specification, in a pod or in a template.
fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned() {
        set(spec, "serviceAccountName", account.clone());
        set(spec, "serviceAccount", account);
    }
    for field in ["containers", "initContainers"] {
        for container in items(spec, field) {
            self::container(container);
        }
    }
    for volume in items(spec, "volumes") {
        volume_modes(volume);
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let latest = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    set(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    set(container, "resources", json!({}));
    requests_from_limits(container);
    for port in items(container, "ports") {
        set(port, "protocol", json!("TCP"));
    }
    for env in items(container, "env") {
        if let Some(reference) = env.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef"))
            && let Some(reference) = reference.as_object_mut()
        {
            set(reference, "apiVersion", json!("v1"));
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else { continue };
        for (name, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            set(probe, name, json!(value));
        }
        if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
            set(get, "path", json!("/"));
            set(get, "scheme", json!("HTTP"));
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = child(resources, "requests") {
        for (name, limit) in limits {
            set(requests, &name, limit);
        }
    }
}

fn volume_modes(volume: &mut Map<String, Value>) {
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            set(source, "defaultMode", json!(420));
        }
    }
    if let Some(path) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        set(path, "type", json!(""));
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(spec) = child(spec, "template").and_then(|template| child(template, "spec")) {
        pod_spec(spec);
    }
}

fn namespace(object: &mut Map<String, Value>) {
    if let Some(status) = child(object, "status") {
        set(status, "phase", json!("Active"));
    }
    let name = object.get("metadata").and_then(|m| m["name"].as_str()).map(str::to_owned);
    if let Some(name) = name
        && let Some(labels) = child(object, "metadata").and_then(|metadata| child(metadata, "labels"))
    {
        set(labels, "kubernetes.io/metadata.name", json!(name));
    }
}

fn service(object: &mut Map<String, Value>) {
    if let Some(spec) = child(object, "spec") {
        set(spec, "type", json!("ClusterIP"));
        set(spec, "sessionAffinity", json!("None"));
        if spec.get("type").is_some_and(|kind| kind != "ExternalName") {
            set(spec, "internalTrafficPolicy", json!("Cluster"));
            set(spec, "ipFamilies", json!(["IPv4"]));
            set(spec, "ipFamilyPolicy", json!("SingleStack"));
            if spec.get("clusterIP").is_none() {
                let (third, fourth) = (fastrand::u8(..), fastrand::u8(1..));
                set(spec, "clusterIP", json!(format!("10.96.{third}.{fourth}")));
            }
            let address = spec.get("clusterIP").cloned().unwrap_or_default();
            set(spec, "clusterIPs", json!([address]));
        }
        for port in items(spec, "ports") {
            set(port, "protocol", json!("TCP"));
            let number = port.get("port").cloned().unwrap_or_default();
            set(port, "targetPort", number);
        }
    }
    set(object, "status", json!({ "loadBalancer": {} }));
}

/// `stringData` is written, never read.
fn string_data(object: &mut Map<String, Value>) {
    use base64::Engine as _;
    let Some(Value::Object(plain)) = object.remove("stringData") else { return };
    if let Some(data) = child(object, "data") {
        for (name, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(name, json!(base64::engine::general_purpose::STANDARD.encode(text)));
        }
    }
}

fn workload(kind: &str, object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    template(spec);
    match kind {
        "DaemonSet" => {
            set(spec, "revisionHistoryLimit", json!(10));
            set(spec, "updateStrategy", json!({}));
            rolling(spec, "updateStrategy", &[("maxSurge", json!(0)), ("maxUnavailable", json!(1))]);
        }
        "Deployment" => {
            set(spec, "replicas", json!(1));
            set(spec, "revisionHistoryLimit", json!(10));
            set(spec, "progressDeadlineSeconds", json!(600));
            set(spec, "strategy", json!({}));
            rolling(spec, "strategy", &[("maxSurge", json!("25%")), ("maxUnavailable", json!("25%"))]);
        }
        "StatefulSet" => {
            set(spec, "replicas", json!(1));
            set(spec, "revisionHistoryLimit", json!(10));
            set(spec, "podManagementPolicy", json!("OrderedReady"));
            set(spec, "updateStrategy", json!({}));
            rolling(spec, "updateStrategy", &[("partition", json!(0))]);
            set(
                spec,
                "persistentVolumeClaimRetentionPolicy",
                json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }),
            );
        }
        _ => set(spec, "replicas", json!(1)),
    }
}

fn rolling(spec: &mut Map<String, Value>, field: &str, values: &[(&str, Value)]) {
    let Some(strategy) = child(spec, field) else { return };
    set(strategy, "type", json!("RollingUpdate"));
    if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        for (name, value) in values {
            set(rolling, name, value.clone());
        }
    }
}

/// A job without a selector gets one on its own uid, and its template the labels to match.
fn job(object: &mut Map<String, Value>) {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    let Some(spec) = child(object, "spec") else { return };
    template(spec);
    for (name, value) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("manualSelector", json!(false)),
    ] {
        set(spec, name, value);
    }
    let Some(uid) = metadata["uid"].as_str() else { return };
    if spec.get("manualSelector") == Some(&json!(true)) || spec.contains_key("selector") {
        return;
    }
    set(spec, "selector", json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }));
    let labels = child(spec, "template").and_then(|t| child(t, "metadata")).and_then(|m| child(m, "labels"));
    if let Some(labels) = labels {
        let name = metadata["name"].clone();
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", json!(uid)),
            ("batch.kubernetes.io/job-name", name.clone()),
            ("controller-uid", json!(uid)),
            ("job-name", name),
        ] {
            set(labels, key, value);
        }
    }
}

fn subjects(object: &mut Map<String, Value>) {
    if let Some(reference) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        set(reference, "apiGroup", json!("rbac.authorization.k8s.io"));
    }
    for subject in items(object, "subjects") {
        if subject.get("kind").is_some_and(|kind| kind == "User" || kind == "Group") {
            set(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
    }
}

fn webhooks(kind: &str, object: &mut Map<String, Value>) {
    for webhook in items(object, "webhooks") {
        set(webhook, "failurePolicy", json!("Fail"));
        set(webhook, "matchPolicy", json!("Equivalent"));
        set(webhook, "namespaceSelector", json!({}));
        set(webhook, "objectSelector", json!({}));
        set(webhook, "timeoutSeconds", json!(10));
        if kind.starts_with("Mutating") {
            set(webhook, "reinvocationPolicy", json!("Never"));
        }
        for rule in items(webhook, "rules") {
            set(rule, "scope", json!("*"));
        }
        let service = webhook.get_mut("clientConfig").and_then(|c| c.get_mut("service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            set(service, "port", json!(443));
        }
    }
}

fn definition(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    set(spec, "conversion", json!({ "strategy": "None" }));
    if let Some(names) = child(spec, "names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        set(names, "singular", json!(kind.to_lowercase()));
        set(names, "listKind", json!(format!("{kind}List")));
    }
}
