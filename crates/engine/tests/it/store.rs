//! What an API server does with the engine's steps: server-side apply, finalizers, versions, garbage collection.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_engine::peerpods::credentials;
use osc_engine::plan::Translation;
use osc_engine::{Kind, ObjectId, Observed, PoolView, Step};
use serde_json::{Map, Value, json};

/// Does one step. The error is what an API server would answer.
pub fn apply(cluster: &mut Observed, serial: &mut u64, step: &Step) -> Result<(), String> {
    match step {
        Step::Apply { id, object } => {
            let mut next = cluster.objects.get(id).map_or(Value::Null, |found| found.as_ref().clone());
            if id.kind == Kind::RuntimeClass
                && !next["handler"].is_null()
                && next["handler"] != object["handler"]
            {
                return Err("RuntimeClass handler: field is immutable".to_owned());
            }
            merge(&mut next, object);
            put(cluster, serial, id.clone(), next);
        }
        Step::CopySecret { id, object, from, translation } => {
            let source = cluster.objects.get(from).ok_or_else(|| format!("{from} not found"))?;
            let mut next = object.clone();
            next["digests"] = match translation {
                Translation::Key { from, to } => json!({*to: source["digests"][*from]}),
                // Digests in place of values: what matters is the names.
                Translation::CloudCredentials => {
                    let values = source["digests"].as_object().unwrap().iter();
                    let values = values.map(|(key, value)| (key.clone(), value.to_string().into_bytes()));
                    let written = credentials::translate(&values.collect()).into_keys();
                    written.map(|key| (key.clone(), json!(key))).collect::<Map<_, _>>().into()
                }
            };
            put(cluster, serial, id.clone(), next);
        }
        Step::Merge { id, resource_version, patch } => {
            let found = cluster.objects.get(id).ok_or_else(|| format!("{id} not found"))?;
            let version = found["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            if resource_version.as_deref().is_some_and(|read| read != version) {
                return Err(format!("{id}: conflict: version {version}, read {resource_version:?}"));
            }
            let mut next = found.as_ref().clone();
            merge_patch(&mut next, patch);
            put(cluster, serial, id.clone(), next);
        }
        Step::Advertise { node, limit } => {
            let found = cluster.nodes.iter_mut().find(|found| found.name == *node);
            let found = Arc::make_mut(found.ok_or_else(|| format!("node {node} not found"))?);
            found.vms.clone_from(limit);
        }
        Step::Create { id, object } => {
            if !cluster.objects.contains_key(id) {
                put(cluster, serial, id.clone(), object.clone());
            }
        }
        Step::Replace { id, path, value } => {
            let found = cluster.objects.get(id).ok_or_else(|| format!("{id} not found"))?;
            let mut next = found.as_ref().clone();
            next[path.trim_start_matches('/')] = value.clone();
            put(cluster, serial, id.clone(), next);
        }
        Step::Delete { id } => delete(cluster, serial, id),
        Step::LabelNode { node, key, value } => {
            let found = cluster.nodes.iter_mut().find(|found| found.name == *node);
            let labels = &mut Arc::make_mut(found.ok_or_else(|| format!("node {node} not found"))?).labels;
            match value {
                Some(value) => labels.insert((*key).to_owned(), (*value).to_owned()),
                None => labels.remove(*key),
            };
        }
        Step::SetFinalizers { id, resource_version, finalizers } => {
            return set_finalizers(cluster, serial, id, resource_version, finalizers);
        }
        Step::PatchStatus { name, status } => {
            let found = cluster.kata_configs.iter_mut().find(|found| found.name == *name);
            let found = Arc::make_mut(found.ok_or_else(|| format!("kataconfig {name} not found"))?);
            found.status = status.clone();
            *serial += 1;
            found.resource_version = serial.to_string();
        }
        Step::Emit(_) => {}
    }
    Ok(())
}

/// Writes an object as an API server stores it: with a version, and with fields that it fills in itself.
pub fn put(cluster: &mut Observed, serial: &mut u64, id: ObjectId, mut object: Value) {
    *serial += 1;
    let metadata = child(&mut object, "metadata");
    metadata.insert("resourceVersion".into(), json!(serial.to_string()));
    metadata.entry("uid").or_insert(json!(format!("uid-{serial}")));
    metadata.entry("creationTimestamp").or_insert(json!("2026-01-01T00:00:00Z"));
    metadata.entry("managedFields").or_insert(json!([{"manager": "sandboxed-containers-operator"}]));
    fill_in(id.kind, &mut object);
    cluster.objects.insert(id, Arc::new(object));
    sync_pools(cluster);
}

/// Defaults of the kinds that the engine writes.
fn fill_in(kind: Kind, object: &mut Value) {
    let defaults = match kind {
        Kind::MachineConfigPool => json!({"metadata": {"generation": 1}, "spec": {"paused": false}}),
        Kind::MachineConfig => json!({
            "metadata": {"generation": 1},
            "spec": {"baseOSExtensionsContainerImage": "", "fips": false, "kernelArguments": null, "kernelType": "",
                     "osImageURL": ""},
        }),
        Kind::ContainerRuntimeConfig => json!({
            "metadata": {"generation": 1},
            "spec": {"containerRuntimeConfig": {"overlaySize": "0", "logSizeMax": "0"}},
            "status": {"observedGeneration": 1},
        }),
        Kind::SecurityContextConstraints => json!({
            "priority": null, "groups": [], "defaultAddCapabilities": null, "fsGroup": {"type": "RunAsAny"},
            "supplementalGroups": {"type": "RunAsAny"}, "seccompProfiles": null, "userNamespaceLevel": "AllowHostLevel",
        }),
        Kind::DaemonSet => json!({
            "metadata": {"generation": 1},
            "spec": {
                "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                "template": {"spec": {
                    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30, "serviceAccount": "monitor",
                }},
            },
            "status": {"desiredNumberScheduled": 0, "observedGeneration": 1},
        }),
        _ => json!({}),
    };
    let mut filled = defaults;
    merge(&mut filled, object);
    if kind == Kind::DaemonSet
        && let Some(containers) = filled["spec"]["template"]["spec"]["containers"].as_array_mut()
    {
        for container in containers {
            child(container, "resources");
            container["terminationMessagePath"] = json!("/dev/termination-log");
            container["terminationMessagePolicy"] = json!("File");
        }
    }
    *object = filled;
}

/// A JSON merge patch: null removes.
fn merge_patch(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let into = into.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge_patch(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Merges what is applied into what exists: maps by key, lists as a whole unless their elements have names.
fn merge(into: &mut Value, applied: &Value) {
    match (into, applied) {
        (Value::Object(into), Value::Object(applied)) => {
            for (key, value) in applied {
                // `scheduling.nodeSelector` of a RuntimeClass is an atomic map.
                if key == "scheduling" {
                    into.insert(key.clone(), value.clone());
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(into), Value::Array(applied)) if named(applied) => {
            let merged = applied.iter().map(|element| {
                let mut found =
                    into.iter().find(|found| found["name"] == element["name"]).cloned().unwrap_or_default();
                merge(&mut found, element);
                found
            });
            *into = merged.collect();
        }
        (into, applied) => *into = applied.clone(),
    }
}

fn named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|element| element["name"].is_string())
}

/// The map below `key`, made if it is not there.
fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let child = &mut object[key];
    if !child.is_object() {
        *child = json!({});
    }
    child.as_object_mut().unwrap()
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// Deletes an object; one with finalizers is only marked.
pub fn delete(cluster: &mut Observed, serial: &mut u64, id: &ObjectId) {
    if id.kind == Kind::KataConfig {
        return delete_kata_config(cluster, serial, &id.name);
    }
    let Some(found) = cluster.objects.get(id) else { return };
    if finalizers(found) == 0 {
        cluster.objects.remove(id);
        sync_pools(cluster);
    } else if found["metadata"]["deletionTimestamp"].is_null() {
        let mut marked = found.as_ref().clone();
        child(&mut marked, "metadata").insert("deletionTimestamp".into(), json!("2026-01-01T00:00:00Z"));
        put(cluster, serial, id.clone(), marked);
    }
}

/// Deletes a KataConfig, as a person does.
pub fn delete_kata_config(cluster: &mut Observed, serial: &mut u64, name: &str) {
    for found in cluster.kata_configs.iter_mut().filter(|found| found.name == name) {
        let found = Arc::make_mut(found);
        found.deleting = true;
        *serial += 1;
        found.resource_version = serial.to_string();
    }
    collect_garbage(cluster, serial);
}

/// Removes KataConfigs that nothing holds any more, then everything that they owned.
fn collect_garbage(cluster: &mut Observed, serial: &mut u64) {
    let (gone, kept) = std::mem::take(&mut cluster.kata_configs)
        .into_iter()
        .partition::<Vec<_>, _>(|found| found.deleting && found.finalizers.is_empty());
    cluster.kata_configs = kept;
    for kata_config in gone {
        let uid = json!(kata_config.uid);
        let owned: Vec<ObjectId> = cluster
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in owned {
            delete(cluster, serial, &id);
        }
    }
}

fn set_finalizers(
    cluster: &mut Observed,
    serial: &mut u64,
    id: &ObjectId,
    read: &str,
    finalizers: &[String],
) -> Result<(), String> {
    let conflict = |found: &str| Err(format!("{id}: conflict: version {found}, read {read}"));
    if id.kind == Kind::KataConfig {
        let found = cluster.kata_configs.iter_mut().find(|found| found.name == id.name);
        let found = Arc::make_mut(found.ok_or_else(|| format!("{id} not found"))?);
        if found.resource_version != read {
            return conflict(&found.resource_version);
        }
        found.finalizers = finalizers.to_vec();
        *serial += 1;
        found.resource_version = serial.to_string();
        collect_garbage(cluster, serial);
        return Ok(());
    }
    let found = cluster.objects.get(id).ok_or_else(|| format!("{id} not found"))?;
    let version = found["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if version != read {
        return conflict(version);
    }
    let mut next = found.as_ref().clone();
    let metadata = child(&mut next, "metadata");
    metadata.insert("finalizers".into(), json!(finalizers));
    let gone = finalizers.is_empty() && metadata.get("deletionTimestamp").is_some_and(|at| !at.is_null());
    if gone {
        cluster.objects.remove(id);
    } else {
        put(cluster, serial, id.clone(), next);
    }
    Ok(())
}

/// Keeps the projections of the machine config pools in step with the objects.
pub fn sync_pools(cluster: &mut Observed) {
    let exists = |name: &str| cluster.cluster_object(Kind::MachineConfigPool, name).is_some();
    let mut pools = cluster.pools.clone();
    pools.retain(|pool| exists(&pool.name));
    for (id, object) in cluster.objects.iter().filter(|(id, _)| id.kind == Kind::MachineConfigPool) {
        let position = pools.iter().position(|pool| pool.name == id.name).unwrap_or_else(|| {
            pools.push(Arc::new(PoolView { name: id.name.clone(), ..PoolView::default() }));
            pools.len() - 1
        });
        let pool = Arc::make_mut(&mut pools[position]);
        pool.paused = object["spec"]["paused"] == true;
        pool.node_selector =
            serde_json::from_value::<LabelSelector>(object["spec"]["nodeSelector"].clone()).ok();
    }
    cluster.pools = pools;
}
