//! Renders the machine configs that a pool selects into one, `rendered-<pool>-<hash>`, and points the pool at it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use osc_api::openshift::{
    MachineConfig, MachineConfigPool, MachineConfigReference, MachineConfigSpec, PoolConfiguration,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{RenderErrors, labels_of};
use crate::sim::options::hex;
use crate::sim::placement::selects;
use crate::sim::queue::Queue;
use crate::sim::store::Key;
use crate::sim::world::World;

const PREFIX: &str = "rendered-";

/// A rendered config.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// `rendered-<pool>-<hash>`: equal content has an equal name.
    pub name: String,
    /// The content.
    pub spec: MachineConfigSpec,
    /// Names of what it was made from.
    pub source: Vec<String>,
}

/// Renders. The order of `configs` does not matter: their names decide, and later ones win.
pub fn render(pool: &str, configs: &[(String, MachineConfigSpec)]) -> Rendered {
    let mut sorted: Vec<&(String, MachineConfigSpec)> = configs.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut extensions = BTreeSet::new();
    let mut kernel_arguments = Vec::new();
    let mut os_image_url = None;
    let mut config = Merged::default();
    for (_, spec) in &sorted {
        extensions.extend(spec.extensions.iter().flatten().cloned());
        kernel_arguments.extend(spec.kernel_arguments.iter().flatten().cloned());
        // A layered image replaces the one that the release brings, whose config has the lowest name.
        os_image_url = spec.os_image_url.clone().filter(|url| !url.is_empty()).or(os_image_url);
        config.add(&spec.config);
    }
    let spec = MachineConfigSpec {
        config: config.finish(),
        extensions: Some(extensions.into_iter().collect()),
        kernel_arguments: Some(kernel_arguments),
        os_image_url,
    };
    let content = canonical(&serde_json::to_value(&spec).unwrap_or_default());
    Rendered {
        name: format!("{PREFIX}{pool}-{}", hex(&["rendered", &content], 32)),
        spec,
        source: sorted.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// Ignition configs, merged: of two files with one path, or units with one name, the later wins.
#[derive(Default)]
struct Merged {
    version: String,
    files: BTreeMap<String, Value>,
    units: BTreeMap<String, Value>,
    others: Map<String, Value>,
}

impl Merged {
    fn add(&mut self, config: &Map<String, Value>) {
        for (section, value) in config {
            match section.as_str() {
                "ignition" => {
                    let version = value["version"].as_str().unwrap_or_default();
                    if version > self.version.as_str() {
                        version.clone_into(&mut self.version);
                    }
                }
                "storage" => collect(&mut self.files, &value["files"], "path"),
                "systemd" => collect(&mut self.units, &value["units"], "name"),
                _ => {
                    self.others.insert(section.clone(), value.clone());
                }
            }
        }
    }

    fn finish(self) -> Map<String, Value> {
        let mut config = self.others;
        config.insert("ignition".to_owned(), json!({"version": self.version}));
        if !self.files.is_empty() {
            let files: Vec<Value> = self.files.into_values().collect();
            config.insert("storage".to_owned(), json!({"files": files}));
        }
        if !self.units.is_empty() {
            let units: Vec<Value> = self.units.into_values().collect();
            config.insert("systemd".to_owned(), json!({"units": units}));
        }
        config
    }
}

fn collect(into: &mut BTreeMap<String, Value>, list: &Value, key: &str) {
    for item in list.as_array().into_iter().flatten() {
        into.insert(item[key].as_str().unwrap_or_default().to_owned(), item.clone());
    }
}

/// JSON with sorted keys, whatever order the map type keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let fields: Vec<String> =
                sorted.iter().map(|(key, value)| format!("{key:?}:{}", canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        leaf => leaf.to_string(),
    }
}

/// Whether the name is that of a rendered config. Those are results, never sources.
pub fn is_rendered(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Whether the pool is to run that rendered config.
fn wants(pool: &MachineConfigPool, rendered: &str) -> bool {
    pool.spec.configuration.as_ref().is_some_and(|wanted| wanted.name.as_deref() == Some(rendered))
}

/// Runs the controller until cancelled. `notify` hears of pools whose rendering began or ceased to fail.
pub async fn run(
    world: Arc<World>,
    errors: Arc<RenderErrors>,
    notify: impl Fn(&str) + Send + Sync + 'static,
    cancel: CancellationToken,
) {
    let queue = Arc::new(Queue::new("render"));
    let delay = world.settle(world.options.timing.render);
    let (adds, shared) = (queue.clone(), world.clone());
    world.machine_configs.on_change(move |change| {
        let view = |config: &MachineConfig| (config.spec.clone(), config.metadata.labels.clone());
        if let Some(config) = change.object().filter(|config| is_rendered(&config.name_any())) {
            // The pool that it was made for is gone, say; one that came in its place wants the same.
            let wanted = |pool: &MachineConfigPool| wants(pool, &config.name_any());
            if change.after.is_none() {
                let pools = shared.pools.all();
                pools.iter().filter(|p| wanted(p)).for_each(|p| adds.add_after(p.name_any(), delay));
            }
            return;
        }
        if !change.differs(view) {
            return;
        }
        let sides = [&change.before, &change.after];
        for pool in shared.pools.all() {
            let selector = pool.spec.machine_config_selector.as_ref();
            let labels =
                |config: &Arc<MachineConfig>| selects(selector, labels_of(config.metadata.labels.as_ref()));
            if sides.into_iter().flatten().any(labels) {
                adds.add_after(pool.name_any(), delay);
            }
        }
    });
    let adds = queue.clone();
    world.pools.on_change(move |change| {
        if let Some(pool) = &change.after
            && change
                .differs(|pool| (pool.spec.machine_config_selector.clone(), pool.spec.configuration.clone()))
        {
            adds.add_after(pool.name_any(), delay);
        }
    });
    let notify = &notify;
    queue
        .run(2, &cancel, |pool| {
            let (world, errors) = (world.clone(), errors.clone());
            async move {
                let (next, news) = sync(&world, &errors, &pool).await?;
                if news {
                    notify(&pool);
                }
                Ok(next)
            }
        })
        .await;
}

async fn sync(
    world: &World,
    errors: &RenderErrors,
    name: &str,
) -> Result<(Option<std::time::Duration>, bool), kube::Error> {
    let key = Key::cluster(name);
    let Some(pool) = world.pools.get(&key).filter(|pool| pool.metadata.deletion_timestamp.is_none()) else {
        errors.set(name, None);
        return Ok((None, false));
    };
    let selector = pool.spec.machine_config_selector.as_ref();
    let configs: Vec<(String, MachineConfigSpec)> = world
        .machine_configs
        .all()
        .iter()
        .filter(|config| !is_rendered(&config.name_any()) && config.metadata.deletion_timestamp.is_none())
        .filter(|config| selects(selector, labels_of(config.metadata.labels.as_ref())))
        .map(|config| (config.name_any(), config.spec.clone()))
        .collect();
    if configs.is_empty() {
        let why = format!(
            "Failed to render configuration for pool {name}: no MachineConfigs found matching selector"
        );
        return Ok((None, errors.set(name, Some(why))));
    }
    let mut rendered = render(name, &configs);
    // Equal contents are no news, whoever rendered them and whatever he called them.
    let target = pool.spec.configuration.as_ref().and_then(|configuration| configuration.name.as_ref());
    if let Some(known) = target.and_then(|target| world.machine_configs.get(&Key::cluster(target)))
        && known.spec == rendered.spec
    {
        rendered.name = known.name_any();
    }
    if world.machine_configs.get(&Key::cluster(&rendered.name)).is_none() {
        world.create(&world.machine_configs, &object(&pool, &rendered)).await?;
    }
    let configuration = configuration(&rendered);
    if pool.spec.configuration.as_ref() != Some(&configuration) {
        let patch = json!({"spec": {"configuration": configuration}});
        world.patch(&world.pools, &key, &patch).await?;
    }
    Ok((None, errors.set(name, None)))
}

/// The object that holds a rendered config.
pub fn object(pool: &MachineConfigPool, rendered: &Rendered) -> MachineConfig {
    let owner = OwnerReference {
        api_version: "machineconfiguration.openshift.io/v1".to_owned(),
        kind: "MachineConfigPool".to_owned(),
        name: pool.name_any(),
        uid: pool.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        name: Some(rendered.name.clone()),
        owner_references: pool.uid().map(|_| vec![owner]),
        annotations: Some(BTreeMap::from([(
            "machineconfiguration.openshift.io/generated-by-controller-version".to_owned(),
            "simulated".to_owned(),
        )])),
        ..ObjectMeta::default()
    };
    MachineConfig { metadata, spec: rendered.spec.clone() }
}

/// What a pool's `spec.configuration` says about a rendered config.
pub fn configuration(rendered: &Rendered) -> PoolConfiguration {
    let reference = |name: &String| MachineConfigReference {
        api_version: Some("machineconfiguration.openshift.io/v1".to_owned()),
        kind: Some("MachineConfig".to_owned()),
        name: Some(name.clone()),
    };
    PoolConfiguration {
        name: Some(rendered.name.clone()),
        source: Some(rendered.source.iter().map(reference).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, spec: Value) -> (String, MachineConfigSpec) {
        (name.to_owned(), serde_json::from_value(spec).unwrap())
    }

    fn base() -> (String, MachineConfigSpec) {
        config(
            "00-worker",
            json!({"osImageURL": "quay.io/os:1", "config": {
                "ignition": {"version": "3.2.0"},
                "storage": {"files": [{"path": "/a", "mode": 420}, {"path": "/b", "mode": 420}]},
                "systemd": {"units": [{"name": "kubelet.service", "enabled": true}]}}}),
        )
    }

    #[test]
    fn everything_is_united_and_later_names_win() {
        let extra = config(
            "50-extra",
            json!({"osImageURL": "quay.io/os:2", "extensions": ["usbguard"], "kernelArguments": ["a", "b"], "config": {
                "ignition": {"version": "3.4.0"},
                "storage": {"files": [{"path": "/b", "mode": 384}]}}}),
        );
        let more =
            config("60-more", json!({"extensions": ["kerberos", "usbguard"], "kernelArguments": ["c"]}));
        let rendered = render("worker", &[more, base(), extra]);
        assert_eq!(rendered.source, ["00-worker", "50-extra", "60-more"]);
        let spec = rendered.spec;
        assert_eq!(spec.extensions.as_deref(), Some(&["kerberos".to_owned(), "usbguard".to_owned()][..]));
        assert_eq!(spec.kernel_arguments, Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(spec.os_image_url.as_deref(), Some("quay.io/os:2"));
        assert_eq!(
            Value::Object(spec.config),
            json!({
                "ignition": {"version": "3.4.0"},
                "storage": {"files": [{"path": "/a", "mode": 420}, {"path": "/b", "mode": 384}]},
                "systemd": {"units": [{"name": "kubelet.service", "enabled": true}]},
            })
        );
    }

    #[test]
    fn equal_content_has_an_equal_name() {
        let nothing = config("90-nothing", json!({"config": {"ignition": {"version": "3.2.0"}}}));
        let extension = config("50-kata", json!({"extensions": ["sandboxed-containers"]}));
        let plain = render("worker", &[base()]);
        assert_eq!(plain.name, render("worker", &[nothing.clone(), base()]).name);
        assert_eq!(
            render("worker", &[base(), nothing.clone()]).name,
            render("worker", &[nothing, base()]).name
        );
        assert_ne!(plain.name, render("worker", &[base(), extension]).name);
        // Another pool: another name, the same content.
        let other = render("kata-oc", &[base()]);
        assert_ne!(plain.name, other.name);
        assert_eq!(plain.spec, other.spec);
        assert!(is_rendered(&plain.name) && !is_rendered("00-worker"));
    }
}
