//! How a peer pod is counted, and how large its virtual machine is to be.
//!
//! A peer pod runs in a virtual machine outside of the node. What its containers ask for is none of the node's: the node
//! has room for it as long as it may have one more pod VM. So, when a pod of the class of peer pods is created:
//!
//! - Everything in `resources` of containers, of init containers and of the pod itself goes, whatever it is. That is the
//!   documented rule, and there is no other way: hugepages without CPU or memory the API server refuses, and a device of
//!   the node cannot be brought to another machine. What is lost thereby is told in a warning.
//! - The first container asks for one pod VM, unless the pod asks for one already: pods in namespaces that are left alone
//!   have to do so themselves, and stay what they are wherever they are created.
//! - The size of the VM follows from what was asked for, as annotations that the adaptor reads. What a person
//!   wrote there stays.
//!
//! Once a pod is there, its resources cannot be changed: whatever comes later (labels, finalizers, ephemeral containers) is
//! let through as it is. Other pods, and what only contains a template of pods, are let through, too.

#[cfg(test)]
mod cases;
mod lost;
mod options;
#[cfg(test)]
mod properties;
mod serving;
mod size;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use serde_json::{Map, Value, json};

pub use options::{Options, SizeAnnotation, Unusable};
pub use serving::Settings;

use crate::review::{Request, Verdict};
use crate::{annotations, named};
use size::{Asked, Malformed};

/// The two lists of containers that have resources. Ephemeral containers have none.
const LISTS: [&str; 2] = ["containers", "initContainers"];
/// The two halves of `resources` that count.
const HALVES: [&str; 2] = ["requests", "limits"];

/// Decides.
pub fn review(request: &Request, options: &Options) -> Verdict {
    if !is_creation_of_a_pod(request) {
        return Verdict::allow();
    }
    let Some(pod) = &request.object else {
        return Verdict::Malformed(
            "request.object is empty, though a pod is to be created; send it with the review".to_owned(),
        );
    };
    if let Some(types) = &pod.types
        && (types.kind != "Pod" || types.api_version != "v1")
    {
        return Verdict::Malformed(format!(
            "request.object is {:?} of apiVersion {:?}, though request.resource is pods of v1; send a Pod",
            types.kind, types.api_version
        ));
    }
    let namespace = request.namespace.as_deref().or(pod.metadata.namespace.as_deref()).unwrap_or_default();
    if pod.data["spec"]["runtimeClassName"].as_str() != Some(&options.class)
        || options.excluded.contains(namespace)
    {
        return Verdict::allow();
    }
    changed(pod, options).unwrap_or_else(|malformed| {
        let name = pod.metadata.name.as_deref().or(pod.metadata.generate_name.as_deref());
        Verdict::Malformed(format!("{}: {malformed}", named("Pod", name)))
    })
}

/// Nothing else may be changed: the resources of a pod are fixed once it is there.
fn is_creation_of_a_pod(request: &Request) -> bool {
    request.resource.group.is_empty()
        && request.resource.resource == "pods"
        && request.sub_resource.as_ref().is_none_or(String::is_empty)
        && request.operation == Operation::Create
}

fn changed(pod: &DynamicObject, options: &Options) -> Result<Verdict, Malformed> {
    let spec = &pod.data["spec"];
    let asked = Asked::of(spec, &options.resource)?;
    let mut operations = without_resources(spec, options, asked.has_pod_vm());
    let sizes = options.annotations.iter().filter_map(|annotation| {
        let value = annotation.value(&asked)?;
        Some((annotation.name(), value.to_string()))
    });
    operations.extend(annotations::missing(&pod.metadata, sizes));
    Ok(Verdict::Allow { warnings: lost::warnings(spec, options), patch: Patch(operations) })
}

/// Takes away what the node is not asked for, and asks for a pod VM if nobody did.
fn without_resources(spec: &Value, options: &Options, has_pod_vm: bool) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    if is_filled(&spec["resources"]) {
        let path = PointerBuf::from_tokens(["spec", "resources"]);
        operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }
    for list in LISTS {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let found = &container["resources"];
            let counts = list == "containers" && index == 0 && !has_pod_vm;
            let wanted = if counts { one(&options.resource) } else { kept(found, &options.resource) };
            let path = PointerBuf::from_tokens(["spec", list, &index.to_string(), "resources"]);
            if is_filled(&wanted) {
                if *found != wanted {
                    operations.push(PatchOperation::Add(AddOperation { path, value: wanted }));
                }
            } else if is_filled(found) {
                operations.push(PatchOperation::Remove(RemoveOperation { path }));
            }
        }
    }
    operations
}

fn one(resource: &str) -> Value {
    json!({"requests": {resource: "1"}, "limits": {resource: "1"}})
}

/// What of these resources stays: pod VMs that somebody asked for.
fn kept(resources: &Value, resource: &str) -> Value {
    let half = |name: &&str| {
        let quantity = resources[*name].get(resource)?;
        Some(((*name).to_owned(), json!({resource: quantity})))
    };
    Value::Object(HALVES.iter().filter_map(half).collect::<Map<_, _>>())
}

/// Whether anything is in there: API servers write resources that are not there as `{}`.
fn is_filled(resources: &Value) -> bool {
    match resources {
        Value::Null => false,
        Value::Object(parts) => parts.values().any(|part| match part {
            Value::Null => false,
            Value::Object(part) => !part.is_empty(),
            Value::Array(part) => !part.is_empty(),
            _ => true,
        }),
        _ => true,
    }
}
