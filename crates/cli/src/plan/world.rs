//! A snapshot as a world that can be simulated.

use osc_api::names;
use osc_devcluster::sim::adopt::adopt;
use osc_devcluster::sim::annotations::REFUSE_DRAIN;
use osc_devcluster::sim::placement::selects;
use serde_json::{Value, json};

use crate::preflight::drain::{guards_virtual_machine, held_nodes};
use crate::preflight::situation::must_move;
use crate::snapshot::Snapshot;

/// Everything to load into an empty cluster.
pub fn objects(snapshot: &Snapshot) -> Vec<Value> {
    let mut objects = definitions(snapshot);
    // The operator is there, even if the snapshot was taken before that.
    objects.push(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names::OPERATOR_NAMESPACE}}),
    );
    objects.extend(
        snapshot
            .objects
            .iter()
            .filter(|object| !NOT_LOADED.iter().any(|kind| object["kind"] == *kind))
            .cloned(),
    );
    objects.extend(pods(snapshot));
    let guarded = snapshot.budgets.iter().filter(|budget| !guards_virtual_machine(budget));
    let guarded: Vec<_> = guarded.map(|budget| &budget.metadata).collect();
    let budgets = snapshot.of("PodDisruptionBudget").filter(|object| {
        let metadata = &object["metadata"];
        guarded.iter().any(|known| {
            metadata["name"] == json!(known.name) && metadata["namespace"] == json!(known.namespace)
        })
    });
    objects.extend(budgets.cloned());
    hold_nodes_with_virtual_machines(snapshot, &mut objects);
    adopt(objects)
}

/// Kinds that the simulation has of its own, takes apart, or has no use for.
const NOT_LOADED: [&str; 4] =
    ["CustomResourceDefinition", "Pod", "PodDisruptionBudget", "VirtualMachineInstance"];

/// Definitions of what the cluster serves; that of KataConfig in any case, to see what would come of it.
fn definitions(snapshot: &Snapshot) -> Vec<Value> {
    let served = osc_api::openshift::crds().into_iter().filter(|definition| {
        let name = definition.metadata.name.as_deref().unwrap_or_default();
        snapshot.serves(name) == Some(true)
    });
    served.chain(osc_api::crds()).filter_map(|definition| serde_json::to_value(definition).ok()).collect()
}

/// The pods on which anything depends: a drain asks for leave to move those with a budget, and removal waits for those
/// that use Kata. All others move whenever they are asked to, which takes no longer than the drain itself.
fn pods(snapshot: &Snapshot) -> Vec<Value> {
    let has_budget = |pod: &k8s_openapi::api::core::v1::Pod| {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        snapshot.budgets.iter().filter(|budget| !guards_virtual_machine(budget)).any(|budget| {
            budget.metadata.namespace == pod.metadata.namespace
                && selects(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()), &labels)
        })
    };
    let uses_class = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.runtime_class_name.is_some())
    };
    let matters = snapshot.pods.iter().filter(|pod| must_move(pod) && (has_budget(pod) || uses_class(pod)));
    let values = matters.filter_map(|pod| serde_json::to_value(pod).ok());
    values
        .map(|mut pod| {
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod
        })
        .collect()
}

/// A virtual machine that cannot move keeps its node from becoming empty.
fn hold_nodes_with_virtual_machines(snapshot: &Snapshot, objects: &mut [Value]) {
    for (node, why) in held_nodes(snapshot) {
        let held =
            objects.iter_mut().find(|object| object["kind"] == "Node" && object["metadata"]["name"] == node);
        if let Some(held) = held {
            held["metadata"]["annotations"][REFUSE_DRAIN] = json!(why);
        }
    }
}

/// The same world without what stands in the way: to tell what it would be like then.
pub fn relieved(objects: Vec<Value>) -> Vec<Value> {
    let stays = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        kind != "PodDisruptionBudget" && !(kind == "Pod" && object["spec"]["runtimeClassName"].is_string())
    };
    let mut objects: Vec<Value> = objects.into_iter().filter(stays).collect();
    for object in &mut objects {
        match object["kind"].as_str() {
            Some("MachineConfigPool") => object["spec"]["paused"] = json!(false),
            Some("Node") => relieve_node(object),
            _ => {}
        }
    }
    objects
}

fn relieve_node(node: &mut Value) {
    if let Some(annotations) = node["metadata"]["annotations"].as_object_mut() {
        annotations.remove(REFUSE_DRAIN);
        let degraded = matches!(
            annotations.get(names::MCO_STATE).and_then(Value::as_str),
            Some("Degraded" | "Unreconcilable")
        );
        if degraded {
            annotations.insert(names::MCO_STATE.to_owned(), json!("Done"));
            annotations.insert(names::MCO_REASON.to_owned(), json!(""));
        }
    }
    if let Some(spec) = node["spec"].as_object_mut() {
        spec.remove("unschedulable");
        if let Some(taints) = spec.get_mut("taints").and_then(Value::as_array_mut) {
            let passing = [
                "node.kubernetes.io/unschedulable",
                "node.kubernetes.io/not-ready",
                "node.kubernetes.io/unreachable",
            ];
            taints.retain(|taint| !passing.iter().any(|key| taint["key"] == *key));
        }
    }
    for condition in node["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "Ready" {
            condition["status"] = json!("True");
        }
    }
}

/// Whether the operator would choose the extension of the product: it looks at its own host where the release does not
/// say, and its host is one of these nodes.
pub fn extension(snapshot: &Snapshot) -> Option<String> {
    let version = snapshot.object("ClusterVersion", names::CLUSTER_VERSION);
    let image =
        version.and_then(|version| version["status"]["desired"]["image"].as_str()).unwrap_or_default();
    let told = [names::RELEASE_REPOSITORY_PRODUCT, names::RELEASE_REPOSITORY_OKD]
        .iter()
        .any(|known| image.contains(known));
    let installed = snapshot.object("MachineConfig", names::EXTENSION_MACHINE_CONFIG).is_some();
    let on_rhcos = snapshot.nodes.iter().any(|node| {
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        info.is_some_and(|info| info.os_image.contains("Red Hat"))
    });
    (!told && !installed && on_rhcos).then(|| names::EXTENSION_PRODUCT.to_owned())
}

/// The image of kata-monitor: the one that runs; else a name that says that it is not known yet.
pub fn monitor_image(snapshot: &Snapshot) -> String {
    let monitor = snapshot.object("DaemonSet", names::MONITOR);
    let image =
        monitor.and_then(|monitor| monitor["spec"]["template"]["spec"]["containers"][0]["image"].as_str());
    image.unwrap_or("IMAGE-OF-KATA-MONITOR").to_owned()
}
