//! Objects of another cluster, made ready so that the simulation goes on from them as that cluster would.
//!
//! A real cluster has controllers that are not simulated, and contents that a reading of it may have left out. What
//! they made stays as it is:
//!
//! - The target of a pool becomes the rendering of what it was made from, under the name it has: what did not change
//!   causes no rollout.
//! - Owners that are not there are forgotten, since garbage collection would take what they own. Pods keep in mind
//!   that somebody [replaces](super::annotations::REPLACED) them.
//! - Nodes that are down in the middle of an update come back with it.

use std::collections::BTreeSet;

use osc_api::names;
use osc_api::openshift::{ContainerRuntimeConfigSpec, MachineConfigPool, MachineConfigSpec};
use serde_json::{Value, json};

use super::annotations::{PENDING_BOOT_ID, PENDING_CONFIG, REPLACED};
use super::machine_config::container_runtime::{config_name, wanted};
use super::machine_config::render::{is_rendered, object, render};
use super::placement::selects;

const MACHINE_CONFIG: &str = "MachineConfig";
const CONTAINER_RUNTIME_CONFIG: &str = "ContainerRuntimeConfig";

/// Makes the objects ready. What cannot be read is left as it is; the server will say what is wrong with it.
pub fn adopt(mut objects: Vec<Value>) -> Vec<Value> {
    // Settings of others became machine configs, which stay; two for one pool would get in each other's way.
    objects.retain(|object| {
        object["kind"] != CONTAINER_RUNTIME_CONFIG || name(object) == names::CONTAINER_RUNTIME_CONFIG
    });
    generated(&mut objects);
    forget_absent_owners(&mut objects);
    rendered(&mut objects);
    for node in objects.iter_mut().filter(|object| object["kind"] == "Node") {
        resume(node);
    }
    objects
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn pools(objects: &[Value]) -> Vec<MachineConfigPool> {
    let pools = objects.iter().filter(|object| object["kind"] == "MachineConfigPool");
    pools.filter_map(|pool| serde_json::from_value(pool.clone()).ok()).collect()
}

fn labels(object: &Value) -> std::collections::BTreeMap<String, String> {
    serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
}

/// What the log level became has the contents, and the name, that the simulation gives it.
fn generated(objects: &mut [Value]) {
    let pools = pools(objects);
    let pools: Vec<_> = pools
        .iter()
        .map(|pool| {
            let metadata = &pool.metadata;
            (metadata.name.clone().unwrap_or_default(), metadata.labels.clone().unwrap_or_default())
        })
        .collect();
    let configs: Vec<Value> =
        objects.iter().filter(|object| object["kind"] == CONTAINER_RUNTIME_CONFIG).cloned().collect();
    for config in configs {
        let spec: Result<ContainerRuntimeConfigSpec, _> = serde_json::from_value(config["spec"].clone());
        let Some(wanted) = spec.ok().and_then(|spec| wanted(name(&config), &spec, &pools).ok()) else {
            continue;
        };
        for machine_config in objects.iter_mut().filter(|object| object["kind"] == MACHINE_CONFIG) {
            let owners = machine_config["metadata"]["ownerReferences"].as_array();
            let ours = owners
                .is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == config["metadata"]["uid"]));
            let role = machine_config["metadata"]["labels"][names::MACHINE_CONFIG_ROLE].as_str();
            if let Some((pool, spec)) = role.and_then(|role| wanted.get_key_value(role)).filter(|_| ours) {
                machine_config["metadata"]["name"] = json!(config_name(pool));
                machine_config["spec"] = json!(spec);
            }
        }
    }
}

fn forget_absent_owners(objects: &mut [Value]) {
    let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
    let present: BTreeSet<String> = objects.iter().filter_map(uid).collect();
    for object in objects {
        let is_pod = object["kind"] == "Pod";
        let Some(owners) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) else {
            continue;
        };
        let absent = |owner: &Value| !owner["uid"].as_str().is_some_and(|uid| present.contains(uid));
        let controller = owners.iter().find(|owner| owner["controller"] == true && absent(owner)).cloned();
        owners.retain(|owner| !absent(owner));
        if let Some(controller) = controller.filter(|_| is_pod) {
            let by = format!("{} {}", text(&controller["kind"]), text(&controller["name"]));
            object["metadata"]["annotations"][REPLACED] = json!(by);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Gives every pool's target the contents that its sources have now. The pool names it, so that it was made from them.
fn rendered(objects: &mut Vec<Value>) {
    for pool in pools(objects) {
        let configuration = pool.spec.configuration.as_ref();
        let Some(target) = configuration.and_then(|configuration| configuration.name.clone()) else {
            continue;
        };
        let sources: Vec<(String, MachineConfigSpec)> = objects
            .iter()
            .filter(|object| object["kind"] == MACHINE_CONFIG && !is_rendered(name(object)))
            .filter(|object| selects(pool.spec.machine_config_selector.as_ref(), &labels(object)))
            .filter_map(|object| {
                Some((name(object).to_owned(), serde_json::from_value(object["spec"].clone()).ok()?))
            })
            .collect();
        if sources.is_empty() {
            continue;
        }
        let mut made = render(pool.metadata.name.as_deref().unwrap_or_default(), &sources);
        made.name.clone_from(&target);
        objects.retain(|object| object["kind"] != MACHINE_CONFIG || name(object) != target);
        let mut value = serde_json::to_value(self::object(&pool, &made)).unwrap_or_default();
        value["apiVersion"] = json!("machineconfiguration.openshift.io/v1");
        value["kind"] = json!(MACHINE_CONFIG);
        objects.push(value);
    }
}

/// A node that is down while its daemon works is in its reboot.
fn resume(node: &mut Value) {
    let annotations = &node["metadata"]["annotations"];
    let get = |key: &str| annotations[key].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    let working = matches!(get(names::MCO_STATE).as_deref(), Some("Working" | "Rebooting"));
    let (current, desired) = (get(names::MCO_CURRENT_CONFIG), get(names::MCO_DESIRED_CONFIG));
    if ready || !working || current == desired {
        return;
    }
    let boot_id = node["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default().to_owned();
    node["metadata"]["annotations"][PENDING_BOOT_ID] = json!(boot_id);
    node["metadata"]["annotations"][PENDING_CONFIG] = json!(desired);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::topology::Topology;

    fn cluster() -> Vec<Value> {
        Topology::default().objects("2026-01-02T03:04:05Z".parse().unwrap())
    }

    fn find<'a>(objects: &'a [Value], kind: &str, wanted: &str) -> Option<&'a Value> {
        objects.iter().find(|object| object["kind"] == kind && name(object) == wanted)
    }

    /// Renames the target of the pool `worker`, as another Machine Config Operator would have named it.
    fn renamed(mut objects: Vec<Value>) -> Vec<Value> {
        for object in &mut objects {
            if object["kind"] == "MachineConfigPool" && name(object) == "worker" {
                object["spec"]["configuration"]["name"] = json!("rendered-worker-theirs");
            }
        }
        objects
    }

    #[test]
    fn the_target_of_a_pool_keeps_its_name_and_gets_our_rendering() {
        let objects = adopt(renamed(cluster()));
        let theirs = find(&objects, MACHINE_CONFIG, "rendered-worker-theirs").unwrap();
        let original = cluster();
        let ours = original.iter().find(|object| name(object).starts_with("rendered-worker-")).unwrap();
        assert_eq!(theirs["spec"], ours["spec"]);
    }

    #[test]
    fn what_absent_owners_made_stays() {
        let owner = |kind: &str| json!([{"kind": kind, "name": "o", "uid": "absent", "controller": true}]);
        let of = |kind: &str, owner: Value| json!({"kind": kind, "metadata": {"name": "x", "ownerReferences": owner}});
        let objects = adopt(vec![of(MACHINE_CONFIG, owner("KubeletConfig")), of("Pod", owner("ReplicaSet"))]);
        assert_eq!(objects[0]["metadata"], json!({"name": "x", "ownerReferences": []}));
        assert_eq!(objects[1]["metadata"]["annotations"][REPLACED], "ReplicaSet o");
        let present = json!({"kind": "KataConfig", "metadata": {"name": "k", "uid": "absent"}});
        let objects = adopt(vec![present, of("RuntimeClass", owner("KataConfig"))]);
        assert_eq!(objects[1]["metadata"]["ownerReferences"], owner("KataConfig"));
    }

    #[test]
    fn the_log_level_becomes_what_the_simulation_would_make_of_it() {
        let config = json!({"kind": CONTAINER_RUNTIME_CONFIG,
            "metadata": {"name": names::CONTAINER_RUNTIME_CONFIG, "uid": "u"},
            "spec": {"machineConfigPoolSelector": {"matchLabels": {"pools.operator.machineconfiguration.openshift.io/worker": ""}},
                "containerRuntimeConfig": {"logLevel": "debug"}}});
        let made = json!({"kind": MACHINE_CONFIG, "metadata": {"name": "99-worker-generated-containerruntime-1",
            "labels": {names::MACHINE_CONFIG_ROLE: "worker"}, "ownerReferences": [{"kind": CONTAINER_RUNTIME_CONFIG, "uid": "u"}]},
            "spec": {"config": {"storage": "unknown"}}});
        let foreign = json!({"kind": CONTAINER_RUNTIME_CONFIG, "metadata": {"name": "other"}});
        let objects = adopt(cluster().into_iter().chain([config, made, foreign]).collect());
        let made = find(&objects, MACHINE_CONFIG, "99-worker-generated-containerruntime").unwrap();
        assert_eq!(
            made["spec"]["config"]["storage"]["files"][0]["path"],
            "/etc/crio/crio.conf.d/01-ctrcfg-logLevel"
        );
        assert!(find(&objects, CONTAINER_RUNTIME_CONFIG, "other").is_none());
    }

    #[test]
    fn a_node_in_its_reboot_comes_back_with_the_update() {
        let mut objects = cluster();
        let node = objects.iter_mut().find(|object| name(object) == "worker-0").unwrap();
        node["metadata"]["annotations"][names::MCO_STATE] = json!("Working");
        node["metadata"]["annotations"][names::MCO_DESIRED_CONFIG] = json!("rendered-worker-next");
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown"}]);
        let objects = adopt(objects);
        let annotations =
            |node: &str| find(&objects, "Node", node).unwrap()["metadata"]["annotations"].clone();
        assert_eq!(annotations("worker-0")[PENDING_CONFIG], "rendered-worker-next");
        assert!(annotations("worker-1").get(PENDING_CONFIG).is_none());
    }
}
