//! ContainerRuntimeConfigs: settings of CRI-O that become a machine config for each pool they select.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use osc_api::names;
use osc_api::openshift::{
    ContainerRuntimeConfig, ContainerRuntimeConfigSpec, MachineConfig, MachineConfigSpec,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::sim::placement::selects;
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::World;

const KIND: &str = "ContainerRuntimeConfig";

/// The machine config that a pool gets.
pub fn config_name(pool: &str) -> String {
    format!("99-{pool}-generated-containerruntime")
}

/// The machine configs that should exist, by pool; or why there are none.
pub fn wanted(
    name: &str,
    spec: &ContainerRuntimeConfigSpec,
    pools: &[(String, BTreeMap<String, String>)],
) -> Result<BTreeMap<String, MachineConfigSpec>, String> {
    let level = spec.container_runtime_config.as_ref().and_then(|config| config.log_level.as_deref());
    if let Some(level) = level.filter(|level| !names::LOG_LEVELS.contains(level)) {
        return Err(format!(
            "invalid LogLevel {level:?}, must be one of error, fatal, panic, warn, info, debug, or trace"
        ));
    }
    let selector = spec.machine_config_pool_selector.as_ref();
    let selected = pools.iter().filter(|(_, labels)| selects(selector, labels));
    let wanted: BTreeMap<_, _> = selected.map(|(pool, _)| (pool.clone(), content(level))).collect();
    if wanted.is_empty() {
        return Err(format!("could not find any MachineConfigPool set for {KIND} {name}"));
    }
    Ok(wanted)
}

fn content(level: Option<&str>) -> MachineConfigSpec {
    let file = |level| {
        let text = format!("[crio]\n  [crio.runtime]\n    log_level = \"{level}\"\n");
        json!({
            "path": "/etc/crio/crio.conf.d/01-ctrcfg-logLevel",
            "mode": 420,
            "overwrite": true,
            "contents": {
                "compression": "",
                "source": format!("data:text/plain;charset=utf-8;base64,{}", BASE64_STANDARD.encode(text)),
            },
        })
    };
    let files: Vec<Value> = level.map(file).into_iter().collect();
    let config = json!({"ignition": {"version": "3.2.0"}, "storage": {"files": files}});
    let config = if let Value::Object(config) = config { config } else { serde_json::Map::new() };
    MachineConfigSpec { config, ..MachineConfigSpec::default() }
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("container-runtime-configs"));
    let delay = world.settle(world.options.timing.sync_delay);
    let adds = queue.clone();
    world.runtime_configs.on_change(move |change| {
        if let Some(config) = change.object()
            && change.differs(|c| (c.spec.clone(), c.uid(), c.metadata.deletion_timestamp.clone()))
        {
            adds.add_after(config.name_any(), delay);
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.pools.on_change(move |change| {
        if change.differs(|pool| pool.metadata.labels.clone()) {
            for config in shared.runtime_configs.all() {
                adds.add_after(config.name_any(), delay);
            }
        }
    });
    let adds = queue.clone();
    world.machine_configs.on_change(move |change| {
        // Somebody deleted or changed what we generated.
        if let Some(owner) = change.object().and_then(|config| owner(config))
            && change.differs(|config| config.spec.clone())
        {
            adds.add_after(owner.name.clone(), delay);
        }
    });
    queue.run(1, &cancel, |name| sync(world.clone(), name)).await;
}

fn owner(config: &MachineConfig) -> Option<&OwnerReference> {
    config.metadata.owner_references.iter().flatten().find(|owner| owner.kind == KIND)
}

async fn sync(world: Arc<World>, name: String) -> Next {
    let key = Key::cluster(&name);
    let found = world.runtime_configs.get(&key);
    let config = found.filter(|config| config.metadata.deletion_timestamp.is_none());
    let result = config.as_ref().map(|config| {
        let pools: Vec<_> =
            world.pools.all().iter().map(|pool| (pool.name_any(), pool.labels().clone())).collect();
        wanted(&name, &config.spec, &pools)
    });
    let empty = BTreeMap::new();
    let wanted = result.as_ref().and_then(|result| result.as_ref().ok()).unwrap_or(&empty);
    for generated in world.machine_configs.all() {
        let ours = owner(&generated).is_some_and(|owner| owner.name == name);
        if ours && !wanted.keys().any(|pool| config_name(pool) == generated.name_any()) {
            world.delete(&world.machine_configs, &*generated, None).await?;
        }
    }
    let (Some(config), Some(result)) = (&config, &result) else { return Ok(None) };
    for (pool, spec) in wanted {
        write(&world, config, pool, spec).await?;
    }
    write_status(&world, config, result.as_ref().err()).await?;
    Ok(None)
}

async fn write(
    world: &World,
    config: &ContainerRuntimeConfig,
    pool: &str,
    spec: &MachineConfigSpec,
) -> Result<(), kube::Error> {
    let key = Key::cluster(&config_name(pool));
    let owner = OwnerReference {
        api_version: "machineconfiguration.openshift.io/v1".to_owned(),
        kind: KIND.to_owned(),
        name: config.name_any(),
        uid: config.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    if let Some(known) = world.machine_configs.get(&key) {
        let same_owner = self::owner(&known).is_some_and(|known| known.uid == owner.uid);
        if known.spec.config != spec.config || !same_owner {
            let patch = json!({"metadata": {"ownerReferences": [owner]}, "spec": {"config": spec.config}});
            world.patch(&world.machine_configs, &key, &patch).await?;
        }
        return Ok(());
    }
    let labels = BTreeMap::from([(names::MACHINE_CONFIG_ROLE.to_owned(), pool.to_owned())]);
    let metadata = ObjectMeta {
        name: Some(key.name),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    world.create(&world.machine_configs, &MachineConfig { metadata, spec: spec.clone() }).await
}

async fn write_status(
    world: &World,
    config: &ContainerRuntimeConfig,
    error: Option<&String>,
) -> Result<(), kube::Error> {
    // A failure has status `False`, as the real controller writes it.
    let (type_, status, message) = match error {
        None => ("Success", "True", "Success".to_owned()),
        Some(error) => ("Failure", "False", format!("Error: {error}")),
    };
    let known = config.status.as_ref();
    let newest = known.and_then(|status| status.conditions.last());
    let same = newest.is_some_and(|newest| newest.type_ == type_ && newest.message == message);
    if same && known.and_then(|status| status.observed_generation) == config.metadata.generation {
        return Ok(());
    }
    let condition = json!({
        "type": type_, "status": status, "message": message, "lastTransitionTime": world.time(),
    });
    let patch = json!({
        "status": {"observedGeneration": config.metadata.generation, "conditions": [condition]},
    });
    world.patch_status(&world.runtime_configs, &Key::of(config), &patch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(label: &str, level: &str) -> ContainerRuntimeConfigSpec {
        serde_json::from_value(json!({
            "machineConfigPoolSelector": {"matchLabels": {label: ""}},
            "containerRuntimeConfig": {"logLevel": level},
        }))
        .unwrap()
    }

    fn pools() -> Vec<(String, BTreeMap<String, String>)> {
        ["worker", "kata-oc"]
            .map(|name| (name.to_owned(), BTreeMap::from([(name.to_owned(), String::new())])))
            .to_vec()
    }

    #[test]
    fn the_level_reaches_the_selected_pool() {
        let wanted = wanted("c", &spec("kata-oc", "debug"), &pools()).unwrap();
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["kata-oc"]);
        let file = &Value::Object(wanted["kata-oc"].config.clone())["storage"]["files"][0];
        assert_eq!(file["path"], "/etc/crio/crio.conf.d/01-ctrcfg-logLevel");
        let source = file["contents"]["source"].as_str().unwrap().rsplit(',').next().unwrap();
        let text = String::from_utf8(BASE64_STANDARD.decode(source).unwrap()).unwrap();
        assert!(text.contains("log_level = \"debug\""), "{text}");
        assert_eq!(config_name("kata-oc"), "99-kata-oc-generated-containerruntime");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let error = wanted("c", &spec("kata-oc", "loud"), &pools()).unwrap_err();
        assert!(error.starts_with("invalid LogLevel \"loud\""), "{error}");
        let error = wanted("c", &spec("infra", "debug"), &pools()).unwrap_err();
        assert_eq!(error, "could not find any MachineConfigPool set for ContainerRuntimeConfig c");
    }
}
