//! Subresources: status, and what pods and namespaces have beyond it.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::delete::{self, DeleteOptions};
use super::write::Update;
use super::{patch, read, scale, write};
use crate::object::selector::LabelSelector;
use crate::server::admission::Admission;
use crate::server::body::Body;
use crate::server::call::{Call, Reply};
use crate::server::decode::Origin;
use crate::server::metadata;
use crate::server::route::Verb;
use crate::server::status::ApiError;
use crate::server::store::Key;

const BUDGETS: &str = "policy/poddisruptionbudgets";

/// Handles a request for a subresource.
pub async fn handle(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let info = &call.info;
    if call.resource.namespaced == info.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let pods = call.resource.is("", "pods");
    match info.subresource.as_str() {
        "status" if call.resource.status => match info.verb {
            Verb::Get => read::get(call),
            Verb::Update => write::replace(call, body).await,
            Verb::Patch => patch::patch(call, body).await,
            _ => Err(ApiError::method_not_allowed()),
        },
        "finalize" if call.resource.is("", "namespaces") && info.verb == Verb::Update => {
            write::replace(call, body).await
        }
        "log" if pods && info.verb == Verb::Get => call.stored().map(|_| Reply::text("")),
        "eviction" if pods && info.verb == Verb::Create => evict(call, body).await,
        "binding" if pods && info.verb == Verb::Create => bind(call, &body.object()?).await,
        "scale" if scale::is_offered(&call.resource) => scale::handle(call, body).await,
        _ if call.resource.is_custom() => Err(ApiError::not_found(&call.resource, &info.name)),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Puts a pod on a node.
pub async fn bind(call: &Call, binding: &Value) -> Result<Reply, ApiError> {
    let pods = call.registry.find("", "v1", "pods").cloned().ok_or_else(ApiError::no_such_path)?;
    let mut info = (*call.info).clone();
    if info.name.is_empty() {
        metadata::text(binding, "name").clone_into(&mut info.name);
    }
    "binding".clone_into(&mut info.subresource);
    let mut call = call.with_resource(pods);
    call.info = Arc::new(info);
    let mut binding = binding.clone();
    binding["kind"] = json!("Binding");
    binding["apiVersion"] = json!("v1");
    let admission = Admission::create(&call).of_kind("v1", "Binding");
    admission.mutate(&mut binding).await?;
    admission.validate(&binding).await?;
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    let now = call.state.now();
    let compute = |pod: &Value| {
        let assigned = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !assigned.is_empty() {
            let why = format!("pod {} is already assigned to node \"{assigned}\"", call.info.name);
            return Err(ApiError::conflict(&call.resource, &call.info.name, &why));
        }
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = json!(node);
        let condition = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now });
        match pod["status"]["conditions"].as_array_mut() {
            Some(list) => {
                list.retain(|c| c["type"] != "PodScheduled");
                list.push(condition);
            }
            None => pod["status"]["conditions"] = json!([condition]),
        }
        Ok(pod)
    };
    let update = Update { compute: &compute, origin: Origin::Patch, owned: false, unconditional: true };
    write::run(&call, &update).await?;
    Ok(Reply::success(201))
}

/// Deletes a pod if no disruption budget stands against it.
async fn evict(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let mut eviction = body.object()?;
    let name = metadata::text(&eviction, "name");
    if !name.is_empty() && name != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    call.stored()?;
    eviction["kind"] = json!("Eviction");
    eviction["apiVersion"] = json!("policy/v1");
    let admission = Admission::create(call).of_kind("policy/v1", "Eviction");
    admission.mutate(&mut eviction).await?;
    admission.validate(&eviction).await?;
    spend(call, &eviction)
}

/// Weighs budgets and deletes in one go.
fn spend(call: &Call, eviction: &Value) -> Result<Reply, ApiError> {
    let _guard = call.state.evicting.lock().unwrap_or_else(PoisonError::into_inner);
    let pod = call.stored()?;
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"));
    if !ended && !metadata::is_deleting(&pod) {
        check_budgets(call, &pod)?;
    }
    let options = DeleteOptions {
        grace: eviction["deleteOptions"]["gracePeriodSeconds"].as_i64(),
        dry_run: call.info.dry_run || eviction["deleteOptions"]["dryRun"][0] == "All",
        ..DeleteOptions::default()
    };
    delete::remove(&call.state, &call.resource, &Key::of(&pod), &options)?;
    Ok(Reply::success(201))
}

fn check_budgets(call: &Call, pod: &Value) -> Result<(), ApiError> {
    let (budgets, _) = call.state.store.list(BUDGETS, &call.info.namespace);
    let labels = pod["metadata"]["labels"].as_object();
    let selected = |budget: &Value| {
        let selector = &budget["spec"]["selector"];
        !selector.is_null() && LabelSelector::from_value(selector).is_ok_and(|s| s.matches(labels))
    };
    let matching: Vec<_> = budgets.iter().filter(|budget| selected(budget)).collect();
    if matching.len() > 1 {
        return Err(ApiError::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    for budget in matching {
        let (healthy, needed) = count(call, budget);
        // An unhealthy pod does not lower the number of healthy ones.
        let loss = i64::from(is_ready(pod));
        if healthy - loss < needed {
            return Err(would_violate(metadata::text(budget, "name"), healthy, needed));
        }
    }
    Ok(())
}

fn would_violate(budget: &str, healthy: i64, needed: i64) -> ApiError {
    let mut error = ApiError::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    error.details = json!({ "causes": [{
        "reason": "DisruptionBudget",
        "message": format!("The disruption budget {budget} needs {needed} healthy pods and has {healthy} currently"),
    }] });
    error
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// Healthy pods of a budget, and how many it needs.
fn count(call: &Call, budget: &Value) -> (i64, i64) {
    let spec = &budget["spec"];
    let Ok(selector) = LabelSelector::from_value(&spec["selector"]) else { return (0, 0) };
    let (pods, _) = call.state.store.list(&call.resource.collection, &call.info.namespace);
    let (mut healthy, mut expected) = (0, 0);
    for pod in pods.iter().filter(|pod| selector.matches(pod["metadata"]["labels"].as_object())) {
        expected += 1;
        healthy += i64::from(is_ready(pod) && !metadata::is_deleting(pod));
    }
    let needed = if spec["maxUnavailable"].is_null() {
        scaled(&spec["minAvailable"], expected)
    } else {
        expected - scaled(&spec["maxUnavailable"], expected)
    };
    (healthy, needed.max(0))
}

/// A number, or a percentage of `total` rounded up.
fn scaled(value: &Value, total: i64) -> i64 {
    let percentage =
        value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|p| p.parse::<i64>().ok());
    match percentage {
        Some(percentage) => (percentage * total + 99) / 100,
        None => value.as_i64().unwrap_or(0),
    }
}
