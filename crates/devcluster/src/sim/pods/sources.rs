//! The config maps and secrets that pods refer to: what is missing, and the environment that comes of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::sim::store::Key;
use crate::sim::world::World;

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ConfigMap`.
    ConfigMap,
    /// `Secret`.
    Secret,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn not_found(self, name: &str) -> String {
        format!("{} {name:?} not found", self.word())
    }
}

/// What an object contains.
pub type Data = BTreeMap<String, String>;

/// Finds an object by kind and name.
pub type Find<'a> = &'a dyn Fn(Kind, &str) -> Option<Data>;

/// Config maps that controllers outside of this simulation put into every namespace.
const EVERYWHERE: [&str; 2] = ["kube-root-ca.crt", "openshift-service-ca.crt"];

/// Why an environment cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// Something that the pod refers to is missing, in the kubelet's words.
    #[error("the environment of pod {pod} is incomplete: {why}")]
    Missing {
        /// Namespace and name.
        pod: String,
        /// What is missing.
        why: String,
    },
    /// The pod has no such container.
    #[error("pod {pod} has no container {container:?}")]
    NoContainer {
        /// Namespace and name.
        pod: String,
        /// What was asked for; empty for the first one.
        container: String,
    },
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// The environment of a pod's first container, as its kubelet would set it.
pub async fn env_of(client: &Client, pod: &Pod) -> Result<BTreeMap<String, String>, EnvError> {
    let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    env_of_container(client, pod, first.map_or("", |container| container.name.as_str())).await
}

/// The environment of one of a pod's containers.
pub async fn env_of_container(
    client: &Client,
    pod: &Pod,
    container: &str,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = pod.namespace().unwrap_or_default();
    let named = format!("{namespace}/{}", pod.name_any());
    let mut all = pod.spec.iter().flat_map(|spec| &spec.containers);
    let Some(found) = all.find(|known| known.name == container) else {
        return Err(EnvError::NoContainer { pod: named, container: container.to_owned() });
    };
    let mut known: BTreeMap<(Kind, String), Data> = BTreeMap::new();
    for (kind, name) in references(found) {
        let data = match kind {
            Kind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
                api.get_opt(&name).await?.map(|map| of_config_map(&map))
            }
            Kind::Secret => {
                let api = Api::<Secret>::namespaced(client.clone(), &namespace);
                api.get_opt(&name).await?.map(|secret| of_secret(&secret))
            }
        };
        known.extend(data.map(|data| ((kind, name), data)));
    }
    let find = |kind: Kind, name: &str| known.get(&(kind, name.to_owned())).cloned();
    environment(pod, found, &find).map_err(|why| EnvError::Missing { pod: named, why })
}

fn of_config_map(map: &ConfigMap) -> Data {
    let mut data = map.data.clone().unwrap_or_default();
    let binary = map.binary_data.iter().flatten();
    data.extend(binary.map(|(key, bytes)| (key.clone(), String::from_utf8_lossy(&bytes.0).into_owned())));
    data
}

fn of_secret(secret: &Secret) -> Data {
    let data = secret.data.iter().flatten();
    data.map(|(key, bytes)| (key.clone(), String::from_utf8_lossy(&bytes.0).into_owned())).collect()
}

/// The objects that a container's environment is made of.
fn references(container: &Container) -> Vec<(Kind, String)> {
    let mut list = Vec::new();
    for source in container.env_from.iter().flatten() {
        list.extend(source.config_map_ref.as_ref().map(|map| (Kind::ConfigMap, map.name.clone())));
        list.extend(source.secret_ref.as_ref().map(|secret| (Kind::Secret, secret.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        list.extend(source.config_map_key_ref.as_ref().map(|key| (Kind::ConfigMap, key.name.clone())));
        list.extend(source.secret_key_ref.as_ref().map(|key| (Kind::Secret, key.name.clone())));
    }
    list
}

/// Finds what a pod refers to in the caches.
pub fn cached(world: &World, namespace: &str, kind: Kind, name: &str) -> Option<Data> {
    let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
    match kind {
        Kind::ConfigMap => world.config_maps.get(&key).map(|map| of_config_map(&map)),
        Kind::Secret => world.secrets.get(&key).map(|secret| of_secret(&secret)),
    }
}

/// Why the pod's volumes cannot be mounted, in the kubelet's words.
pub fn unmountable(pod: &Pod, find: Find<'_>) -> Option<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        let mut needed: Vec<(Kind, String, Vec<String>)> = Vec::new();
        let mut need = |kind, name: &str, optional: Option<bool>, items: Vec<String>| {
            if optional != Some(true) && !EVERYWHERE.contains(&name) {
                needed.push((kind, name.to_owned(), items));
            }
        };
        let keys =
            |items: Option<&Vec<_>>| -> Vec<String> { items.into_iter().flatten().map(item_key).collect() };
        if let Some(map) = &volume.config_map {
            need(Kind::ConfigMap, &map.name, map.optional, keys(map.items.as_ref()));
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            need(Kind::Secret, name, secret.optional, keys(secret.items.as_ref()));
        }
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in projected {
            if let Some(map) = &source.config_map {
                need(Kind::ConfigMap, &map.name, map.optional, keys(map.items.as_ref()));
            }
            if let Some(secret) = &source.secret {
                need(Kind::Secret, &secret.name, secret.optional, keys(secret.items.as_ref()));
            }
        }
        for (kind, name, items) in needed {
            let why = match find(kind, &name) {
                None => Some(kind.not_found(&name)),
                Some(data) => items
                    .iter()
                    .find(|key| !data.contains_key(*key))
                    .map(|key| format!("references non-existent {} key: {key}", config_word(kind))),
            };
            if let Some(why) = why {
                return Some(format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name));
            }
        }
    }
    None
}

fn item_key(item: &k8s_openapi::api::core::v1::KeyToPath) -> String {
    item.key.clone()
}

fn config_word(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "config",
        Kind::Secret => "secret",
    }
}

/// Why one of the pod's containers cannot be created, in the kubelet's words.
pub fn unconfigured(pod: &Pod, find: Find<'_>) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.find_map(|container| environment(pod, container, find).err())
}

/// A container's environment: the sources in their order, then the single variables, later ones over earlier ones.
pub fn environment(pod: &Pod, container: &Container, find: Find<'_>) -> Result<Data, String> {
    let mut env = Data::new();
    for source in container.env_from.iter().flatten() {
        let config = source.config_map_ref.as_ref().map(|map| (Kind::ConfigMap, &map.name, map.optional));
        let secret = source.secret_ref.as_ref().map(|map| (Kind::Secret, &map.name, map.optional));
        for (kind, name, optional) in config.into_iter().chain(secret) {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            match find(kind, name) {
                Some(data) => {
                    env.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
                }
                None if optional == Some(true) => {}
                None => return Err(kind.not_found(name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, variable, &env, find)? {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

fn value(pod: &Pod, variable: &EnvVar, env: &Data, find: Find<'_>) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), env)));
    };
    if let Some(field) = &source.field_ref {
        return Ok(self::field(pod, &field.field_path));
    }
    let Some((kind, name, key, optional)) = key_reference(source) else { return Ok(None) };
    let Some(data) = find(kind, name) else {
        return if optional { Ok(None) } else { Err(kind.not_found(name)) };
    };
    match data.get(key) {
        Some(value) => Ok(Some(value.clone())),
        None if optional => Ok(None),
        None => {
            let namespace = pod.namespace().unwrap_or_default();
            Err(format!("couldn't find key {key} in {} {namespace}/{name}", kind.kind()))
        }
    }
}

fn key_reference(source: &EnvVarSource) -> Option<(Kind, &str, &str, bool)> {
    let config = source.config_map_key_ref.as_ref();
    let config = config.map(|key| (Kind::ConfigMap, &*key.name, &*key.key, key.optional == Some(true)));
    let secret = source.secret_key_ref.as_ref();
    config.or_else(|| secret.map(|key| (Kind::Secret, &*key.name, &*key.key, key.optional == Some(true))))
}

/// Replaces `$(NAME)` by what has that name, and `$$` by a dollar sign.
fn expand(text: &str, env: &Data) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix("$(").and_then(|inside| inside.split_once(')'));
        if let Some((name, after)) = name
            && let Some(value) = env.get(name)
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// A field of a pod; nothing where it has no value yet.
fn field(pod: &Pod, path: &str) -> Option<String> {
    let subscript =
        |of: &str| path.strip_prefix(of)?.strip_prefix("['")?.strip_suffix("']").map(str::to_owned);
    if let Some(key) = subscript("metadata.labels") {
        return Some(pod.labels().get(&key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Some(pod.annotations().get(&key).cloned().unwrap_or_default());
    }
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => status.and_then(|status| status.host_ip.clone()),
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(container: &Value, volumes: &Value) -> Pod {
        let mut container = container.clone();
        container["name"] = json!("c");
        let value = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
            "spec": {"nodeName": "worker-0", "containers": [container], "volumes": volumes},
        });
        serde_json::from_value(value).unwrap()
    }

    fn find(kind: Kind, name: &str) -> Option<Data> {
        let data = match (kind, name) {
            (Kind::ConfigMap, "settings") => [("A", "map"), ("B", "map")],
            (Kind::Secret, "keys") => [("A", "secret"), ("C", "secret")],
            _ => return None,
        };
        Some(data.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn env(container: &Value) -> Result<Value, String> {
        let pod = pod(container, &json!([]));
        let container = &pod.spec.as_ref().unwrap().containers[0];
        environment(&pod, container, &find).map(|env| json!(env))
    }

    #[test]
    fn later_sources_win_and_variables_win_over_sources() {
        let sources = json!([{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "settings"}},
            {"prefix": "X_", "secretRef": {"name": "keys"}}, {"configMapRef": {"name": "no", "optional": true}}]);
        let variables = json!([
            {"name": "B", "value": "$(C)-$$(C)-$(NOBODY)"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "A"}}},
            {"name": "O", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no", "optional": true}}},
            {"name": "D", "value": "1"}, {"name": "D", "value": "2"},
        ]);
        let expected = json!({"A": "map", "B": "secret-$(C)-$(NOBODY)", "C": "secret", "X_A": "secret",
            "X_C": "secret", "NODE": "worker-0", "L": "b", "K": "map", "D": "2"});
        assert_eq!(env(&json!({"envFrom": sources, "env": variables})), Ok(expected));
    }

    #[rstest]
    #[case(json!({"envFrom": [{"configMapRef": {"name": "no"}}]}), "configmap \"no\" not found")]
    #[case(json!({"envFrom": [{"secretRef": {"name": "no"}}]}), "secret \"no\" not found")]
    #[case(json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "Z"}}}]}),
        "couldn't find key Z in Secret n/keys")]
    #[case(json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "Z"}}}]}),
        "couldn't find key Z in ConfigMap n/settings")]
    #[case(json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "Z"}}}]}),
        "configmap \"no\" not found")]
    fn what_is_missing_is_told(#[case] container: Value, #[case] why: &str) {
        assert_eq!(env(&container), Err(why.to_owned()));
        assert_eq!(unconfigured(&pod(&container, &json!([])), &find), Some(why.to_owned()));
    }

    #[rstest]
    #[case(json!({"secret": {"secretName": "keys"}}), None)]
    #[case(json!({"secret": {"secretName": "no", "optional": true}}), None)]
    #[case(json!({"configMap": {"name": "kube-root-ca.crt"}}), None)]
    #[case(json!({"secret": {"secretName": "no"}}), Some("secret \"no\" not found"))]
    #[case(json!({"configMap": {"name": "no"}}), Some("configmap \"no\" not found"))]
    #[case(json!({"configMap": {"name": "settings", "items": [{"key": "Z", "path": "z"}]}}),
        Some("references non-existent config key: Z"))]
    #[case(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "no"}}]}}),
        Some("secret \"no\" not found"))]
    fn volumes_need_their_sources(#[case] volume: Value, #[case] why: Option<&str>) {
        let mut volume = volume;
        volume["name"] = json!("v");
        let found = unmountable(&pod(&json!({}), &json!([volume])), &find);
        assert_eq!(found, why.map(|why| format!("MountVolume.SetUp failed for volume \"v\" : {why}")));
    }
}
