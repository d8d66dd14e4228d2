//! Columns of the built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::quantity::{count, labels, number, selector, text_or};
use super::{Heading, age, name_heading};
use crate::server::registry::Resource;

/// Name, type, and whether only `-o wide` shows it.
type Plan = &'static [(&'static str, &'static str, bool)];

fn plan(resource: &Resource) -> Plan {
    const S: &str = "string";
    const I: &str = "integer";
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            ("Ready", S, false),
            ("Status", S, false),
            ("Restarts", S, false),
            ("Age", S, false),
            ("IP", S, true),
            ("Node", S, true),
            ("Nominated Node", S, true),
            ("Readiness Gates", S, true),
        ],
        ("", "nodes") => &[
            ("Status", S, false),
            ("Roles", S, false),
            ("Age", S, false),
            ("Version", S, false),
            ("Internal-IP", S, true),
            ("External-IP", S, true),
            ("OS-Image", S, true),
            ("Kernel-Version", S, true),
            ("Container-Runtime", S, true),
        ],
        ("", "namespaces") => &[("Status", S, false), ("Age", S, false)],
        ("", "configmaps") => &[("Data", S, false), ("Age", S, false)],
        ("", "secrets") => &[("Type", S, false), ("Data", S, false), ("Age", S, false)],
        ("", "serviceaccounts") => &[("Secrets", S, false), ("Age", S, false)],
        ("", "services") => &[
            ("Type", S, false),
            ("Cluster-IP", S, false),
            ("External-IP", S, false),
            ("Port(s)", S, false),
            ("Age", S, false),
            ("Selector", S, true),
        ],
        ("apps", "daemonsets") => &[
            ("Desired", I, false),
            ("Current", I, false),
            ("Ready", I, false),
            ("Up-to-date", I, false),
            ("Available", I, false),
            ("Node Selector", S, false),
            ("Age", S, false),
            ("Containers", S, true),
            ("Images", S, true),
            ("Selector", S, true),
        ],
        ("apps", "deployments") => &[
            ("Ready", S, false),
            ("Up-to-date", S, false),
            ("Available", S, false),
            ("Age", S, false),
            ("Containers", S, true),
            ("Images", S, true),
            ("Selector", S, true),
        ],
        ("apps", "replicasets") => &[
            ("Desired", I, false),
            ("Current", I, false),
            ("Ready", I, false),
            ("Age", S, false),
            ("Containers", S, true),
            ("Images", S, true),
            ("Selector", S, true),
        ],
        ("apps", "statefulsets") => {
            &[("Ready", S, false), ("Age", S, false), ("Containers", S, true), ("Images", S, true)]
        }
        ("batch", "jobs") => &[
            ("Status", S, false),
            ("Completions", S, false),
            ("Duration", S, false),
            ("Age", S, false),
            ("Containers", S, true),
            ("Images", S, true),
            ("Selector", S, true),
        ],
        ("node.k8s.io", _) => &[("Handler", S, false), ("Age", S, false)],
        ("policy", "poddisruptionbudgets") => &[
            ("Min Available", S, false),
            ("Max Unavailable", S, false),
            ("Allowed Disruptions", I, false),
            ("Age", S, false),
        ],
        ("coordination.k8s.io", _) => &[("Holder", S, false), ("Age", S, false)],
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            &[("Created At", "date", false)]
        }
        ("rbac.authorization.k8s.io", _) => &[("Role", S, false), ("Age", S, false)],
        _ => &[("Age", S, false)],
    }
}

const EVENT: Plan = &[
    ("Last Seen", "string", false),
    ("Type", "string", false),
    ("Reason", "string", false),
    ("Object", "string", false),
    ("Subobject", "string", true),
    ("Source", "string", true),
    ("Message", "string", false),
    ("First Seen", "string", true),
    ("Count", "string", true),
    ("Name", "string", true),
];

/// Headings of a kind.
pub fn headings(resource: &Resource) -> Vec<Heading> {
    let is_event = resource.plural == "events";
    let plan = if is_event { EVENT } else { plan(resource) };
    let columns = plan.iter().map(|(name, kind, wide)| Heading {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        format: if is_event && *name == "Name" { "name" } else { "" }.to_owned(),
        description: String::new(),
        priority: i64::from(*wide),
    });
    if is_event { columns.collect() } else { std::iter::once(name_heading()).chain(columns).collect() }
}

/// Age of a timestamp in a field, or `<unknown>`.
fn age_of(value: &Value, now: Timestamp) -> String {
    let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or_else(|| "<unknown>".to_owned(), |time| age::since(time, now))
}

/// Cells of one object.
pub fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let created = &object["metadata"]["creationTimestamp"];
    let aged = json!(age_of(created, now));
    let spec = &object["spec"];
    let status = &object["status"];
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod(object, now),
        ("", "nodes") => node(object, &aged),
        ("", "namespaces") => vec![name, status["phase"].clone(), aged],
        ("", "configmaps") => {
            vec![name, json!(count(&object["data"]) + count(&object["binaryData"])), aged]
        }
        ("", "secrets") => {
            vec![name, object["type"].clone(), json!(count(&object["data"])), aged]
        }
        ("", "serviceaccounts") => vec![name, json!(count(&object["secrets"])), aged],
        ("", "services") => service(object, aged),
        ("apps", "daemonsets") => {
            let mut row = vec![
                name,
                json!(number(&status["desiredNumberScheduled"])),
                json!(number(&status["currentNumberScheduled"])),
                json!(number(&status["numberReady"])),
                json!(number(&status["updatedNumberScheduled"])),
                json!(number(&status["numberAvailable"])),
                json!(labels(&spec["template"]["spec"]["nodeSelector"])),
                aged,
            ];
            row.extend(template(spec));
            row
        }
        ("apps", "deployments") => {
            let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
            let mut row = vec![
                name,
                json!(ready),
                json!(number(&status["updatedReplicas"])),
                json!(number(&status["availableReplicas"])),
                aged,
            ];
            row.extend(template(spec));
            row
        }
        ("apps", "replicasets") => {
            let mut row = vec![
                name,
                json!(number(&spec["replicas"])),
                json!(number(&status["replicas"])),
                json!(number(&status["readyReplicas"])),
                aged,
            ];
            row.extend(template(spec));
            row
        }
        ("apps", "statefulsets") => {
            let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
            let mut row = vec![name, json!(ready), aged];
            row.extend(template(spec).into_iter().take(2));
            row
        }
        ("batch", "jobs") => job(object, aged, now),
        ("node.k8s.io", _) => vec![name, object["handler"].clone(), aged],
        ("policy", "poddisruptionbudgets") => vec![
            name,
            json!(amount(&spec["minAvailable"])),
            json!(amount(&spec["maxUnavailable"])),
            json!(number(&status["disruptionsAllowed"])),
            aged,
        ],
        ("coordination.k8s.io", _) => vec![name, json!(text_or(&spec["holderIdentity"], "")), aged],
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            vec![name, created.clone()]
        }
        ("rbac.authorization.k8s.io", _) => {
            let role = &object["roleRef"];
            vec![name, json!(format!("{}/{}", text_or(&role["kind"], ""), text_or(&role["name"], ""))), aged]
        }
        (_, "events") => event(object, now),
        _ => vec![name, aged],
    }
}

/// A number or percentage, `N/A` if absent.
fn amount(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Containers, images and selector of a workload.
fn template(spec: &Value) -> [Value; 3] {
    let containers = spec["template"]["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let join = |field: &str| {
        let list: Vec<&str> = containers.iter().filter_map(|c| c[field].as_str()).collect();
        json!(list.join(","))
    };
    [join("name"), join("image"), json!(selector(&spec["selector"]))]
}

fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let statuses = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = statuses.iter().filter(|s| s["ready"] == true).count();
    let restarts: i64 = statuses.iter().map(|s| number(&s["restartCount"])).sum();
    let address = text_or(&status["podIP"], "<none>");
    vec![
        object["metadata"]["name"].clone(),
        json!(format!("{ready}/{}", count(&spec["containers"]))),
        json!(pod_status(object, statuses)),
        json!(restarts.to_string()),
        json!(age_of(&object["metadata"]["creationTimestamp"], now)),
        json!(address),
        json!(text_or(&spec["nodeName"], "<none>")),
        json!(text_or(&status["nominatedNodeName"], "<none>")),
        json!("<none>"),
    ]
}

/// Phase, or what its containers or its deletion say beyond it.
fn pod_status(object: &Value, statuses: &[Value]) -> String {
    let status = &object["status"];
    let mut reason = text_or(&status["reason"], text_or(&status["phase"], "Unknown")).to_owned();
    for container in statuses.iter().rev() {
        let state = &container["state"];
        if let Some(waiting) = state["waiting"]["reason"].as_str().filter(|r| !r.is_empty()) {
            waiting.clone_into(&mut reason);
        } else if let Some(terminated) = state["terminated"]["reason"].as_str().filter(|r| !r.is_empty()) {
            terminated.clone_into(&mut reason);
        } else if let Some(terminated) = state["terminated"].as_object() {
            let number = |field: &str| terminated.get(field).and_then(Value::as_i64).unwrap_or(0);
            reason = match number("signal") {
                0 => format!("ExitCode:{}", number("exitCode")),
                signal => format!("Signal:{signal}"),
            };
        }
    }
    if object["metadata"]["deletionTimestamp"].is_string() {
        return if status["reason"] == "NodeLost" { "Unknown" } else { "Terminating" }.to_owned();
    }
    reason
}

fn node(object: &Value, aged: &Value) -> Vec<Value> {
    let (metadata, info) = (&object["metadata"], &object["status"]["nodeInfo"]);
    let ready = object["status"]["conditions"]
        .as_array()
        .and_then(|list| list.iter().find(|c| c["type"] == "Ready"))
        .map_or("Unknown", |c| if c["status"] == "True" { "Ready" } else { "NotReady" });
    let cordoned = if object["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    let mut roles: Vec<&str> = metadata["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role).filter(|role| !role.is_empty()),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let roles = if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") };
    let address = |kind: &str| {
        let list = object["status"]["addresses"].as_array();
        let found = list.and_then(|list| list.iter().find(|a| a["type"] == kind));
        json!(found.and_then(|a| a["address"].as_str()).unwrap_or("<none>"))
    };
    vec![
        metadata["name"].clone(),
        json!(format!("{ready}{cordoned}")),
        json!(roles),
        aged.clone(),
        json!(text_or(&info["kubeletVersion"], "")),
        address("InternalIP"),
        address("ExternalIP"),
        json!(text_or(&info["osImage"], "<unknown>")),
        json!(text_or(&info["kernelVersion"], "<unknown>")),
        json!(text_or(&info["containerRuntimeVersion"], "<unknown>")),
    ]
}

fn service(object: &Value, aged: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let protocol = text_or(&port["protocol"], "TCP");
            match port["nodePort"].as_i64().filter(|n| *n > 0) {
                Some(node) => format!("{}:{node}/{protocol}", number(&port["port"])),
                None => format!("{}/{protocol}", number(&port["port"])),
            }
        })
        .collect();
    let kind = text_or(&spec["type"], "ClusterIP");
    let external = match kind {
        "ExternalName" => text_or(&spec["externalName"], "<none>"),
        "LoadBalancer" => text_or(&object["status"]["loadBalancer"]["ingress"][0]["ip"], "<pending>"),
        _ => text_or(&spec["externalIPs"][0], "<none>"),
    };
    vec![
        object["metadata"]["name"].clone(),
        json!(kind),
        json!(text_or(&spec["clusterIP"], "<none>")),
        json!(external),
        json!(if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") }),
        aged,
        json!(labels(&spec["selector"])),
    ]
}

fn job(object: &Value, aged: Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let has = |kind: &str| {
        let list = status["conditions"].as_array();
        list.is_some_and(|list| list.iter().any(|c| c["type"] == kind && c["status"] == "True"))
    };
    let state = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else {
        "Running"
    };
    let time = |field: &str| status[field].as_str().and_then(|t| t.parse::<Timestamp>().ok());
    let duration = time("startTime")
        .map(|start| age::since(start, time("completionTime").unwrap_or(now)))
        .unwrap_or_default();
    let mut row = vec![
        object["metadata"]["name"].clone(),
        json!(state),
        json!(format!("{}/{}", number(&status["succeeded"]), number(&spec["completions"]))),
        json!(duration),
        aged,
    ];
    row.extend(template(spec));
    row
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    // Both event APIs are printed by this one function; the second names are those of `events.k8s.io`.
    let either = |old: &str, new: &str| {
        if object[old].is_null() { object[new].clone() } else { object[old].clone() }
    };
    let about = either("involvedObject", "regarding");
    let series = &object["series"];
    let last = either("lastTimestamp", "deprecatedLastTimestamp");
    let last =
        [&series["lastObservedTime"], &last, &object["eventTime"], &object["metadata"]["creationTimestamp"]]
            .into_iter()
            .find(|time| time.is_string())
            .map_or_else(|| "<unknown>".to_owned(), |time| age_of(time, now));
    let first = either("firstTimestamp", "deprecatedFirstTimestamp");
    let first = if first.is_string() { &first } else { &object["eventTime"] };
    let source = either("source", "deprecatedSource");
    let reporter = either("reportingComponent", "reportingController");
    let count = series["count"].as_i64().or_else(|| either("count", "deprecatedCount").as_i64()).unwrap_or(1);
    vec![
        json!(last),
        object["type"].clone(),
        object["reason"].clone(),
        json!(format!("{}/{}", text_or(&about["kind"], "").to_lowercase(), text_or(&about["name"], ""))),
        json!(text_or(&about["fieldPath"], "")),
        json!(text_or(&source["component"], text_or(&reporter, ""))),
        json!(text_or(&either("message", "note"), "").trim()),
        json!(age_of(first, now)),
        json!(count.to_string()),
        object["metadata"]["name"].clone(),
    ]
}
