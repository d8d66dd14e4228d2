//! What objects say, for the engine's checks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use osc_api::names::{FEATURE_GATES, INFRASTRUCTURE, OPERATOR_NAMESPACE};
use osc_api::peerpods::{CREDENTIALS, PEER_POD_CONFIG, Provider, SETTINGS, SSH_KEYS};
use osc_engine::gates::FeatureGates;
use osc_engine::peerpods::check::{Oddity, OddityKind, Setup};
use osc_engine::peerpods::config::{self, Data};
use serde_json::Value;

use super::{Objects, REGION_LABEL, title};

/// What the image job notes down about the image that it made.
const IMAGE_NOTES: [&str; 2] = ["LATEST_AMI_ID", "LATEST_IMAGE_ID"];

/// What the cluster itself runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// `AWS`, `Azure`, `GCP`, `None`, ...
    pub name: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Resource group of Azure, project of Google Cloud.
    pub home: Option<String>,
}

impl Platform {
    /// As Infrastructure `cluster` has it; the region also as a node's label has it.
    pub fn of(objects: &[Value]) -> Self {
        let infrastructure = objects
            .iter()
            .find(|object| is(object, "Infrastructure", INFRASTRUCTURE))
            .map(|object| &object["status"]);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let status = infrastructure.cloned().unwrap_or_default();
        let platform = &status["platformStatus"];
        let label = || {
            let mut nodes = objects.iter().filter(|object| object["kind"] == "Node");
            nodes.find_map(|node| text(&node["metadata"]["labels"][REGION_LABEL]))
        };
        Self {
            name: text(&platform["type"]).or_else(|| text(&status["platform"])),
            region: text(&platform["aws"]["region"])
                .or_else(|| text(&platform["gcp"]["region"]))
                .or_else(label),
            home: text(&platform["azure"]["resourceGroupName"])
                .or_else(|| text(&platform["gcp"]["projectID"])),
        }
    }
}

fn is(object: &Value, kind: &str, name: &str) -> bool {
    object["kind"] == kind && object["metadata"]["name"] == name
}

fn image_maps() -> impl Iterator<Item = &'static str> {
    Provider::ALL.into_iter().flat_map(Provider::image_maps).copied()
}

/// Whether an object has to do with peer pods and with nothing else.
pub fn concerns(object: &Value) -> bool {
    [SETTINGS].into_iter().chain(image_maps()).any(|name| is(object, "ConfigMap", name))
        || [CREDENTIALS, SSH_KEYS].into_iter().any(|name| is(object, "Secret", name))
        || is(object, "PeerPodConfig", PEER_POD_CONFIG)
}

/// Everything that the checks look at.
pub fn setup(objects: &Objects) -> Setup {
    let mut setup = Setup { unreadable: objects.unreadable.clone(), ..Setup::default() };
    let items = &objects.items;
    for (index, object) in items.iter().enumerate() {
        let ours = concerns(object) || is(object, "ConfigMap", FEATURE_GATES);
        if ours {
            let earlier = items[..index].iter().any(|other| title(other) == title(object));
            setup.oddities.extend(placed(object, earlier));
        }
        take(&mut setup, object);
    }
    let platform = Platform::of(items);
    (setup.platform, setup.region, setup.home) = (platform.name, platform.region, platform.home);
    // Plain Kubernetes says nowhere what it runs on, and has nobody to ask for credentials.
    let hidden = objects.unreadable.iter().any(|(object, _)| object.starts_with("Infrastructure "));
    if objects.of_cluster && !hidden {
        setup.platform.get_or_insert_with(|| "None".to_owned());
    }
    setup.image_made = image_made(&setup, items);
    choose_image_map(&mut setup, items);
    setup
}

fn take(setup: &mut Setup, object: &Value) {
    let (kind, name) = (&object["kind"], object["metadata"]["name"].as_str().unwrap_or_default());
    match (kind.as_str().unwrap_or_default(), name) {
        ("ConfigMap", SETTINGS) => {
            setup.settings = Some(map_data(object, &mut setup.oddities));
            if object["immutable"] == true {
                setup.oddities.push(Oddity { object: title(object), kind: OddityKind::Immutable });
            }
        }
        ("ConfigMap", FEATURE_GATES) => {
            let gates = FeatureGates::parse(object["data"].as_object(), OPERATOR_NAMESPACE);
            (setup.confidential, setup.gate_complaints) = (gates.confidential, gates.complaints);
        }
        ("Secret", CREDENTIALS) => setup.credentials = Some(secret_data(object, &mut setup.oddities)),
        ("Secret", SSH_KEYS) => {
            let data = secret_data(object, &mut setup.oddities);
            setup.ssh_keys =
                Some(data.into_iter().filter(|(_, key)| !key.is_empty()).map(|(name, _)| name).collect());
        }
        ("PeerPodConfig", PEER_POD_CONFIG) => {
            let spec = &object["spec"];
            setup.peer_pod_config_limit = match &spec["limit"] {
                Value::Null => None,
                Value::String(limit) => Some(limit.clone()),
                other => {
                    let kind = OddityKind::NotText { key: "spec.limit".to_owned(), found: named(other) };
                    setup.oddities.push(Oddity { object: title(object), kind });
                    None
                }
            };
            let name = |field: &str, default: &str| spec[field].as_str().unwrap_or(default).to_owned();
            setup.peer_pod_config_names =
                Some((name("cloudSecretName", CREDENTIALS), name("configMapName", SETTINGS)));
        }
        ("KataConfig", _) => {
            let enabled = object["spec"]["enablePeerPods"] == true;
            setup.enabled = Some(enabled || setup.enabled == Some(true));
        }
        _ => {}
    }
}

fn placed(object: &Value, earlier: bool) -> Vec<Oddity> {
    let mut found = Vec::new();
    let namespace = object["metadata"]["namespace"].as_str();
    if namespace != Some(OPERATOR_NAMESPACE) {
        found.push(OddityKind::OtherNamespace(namespace.map(str::to_owned)));
    }
    if earlier {
        found.push(OddityKind::Twice);
    }
    found.into_iter().map(|kind| Oddity { object: title(object), kind }).collect()
}

/// What a value is that is no text.
fn named(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false without quotes",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::String(_) | Value::Null => "nothing",
    }
}

/// Texts; numbers and the like are told, and looked at as if they were quoted.
fn texts(object: &Value, field: &str, oddities: &mut Vec<Oddity>) -> Data {
    let mut data = Data::new();
    for (key, value) in object[field].as_object().into_iter().flatten() {
        match value {
            Value::String(text) => {
                data.insert(key.clone(), text.clone());
                continue;
            }
            Value::Null => {
                data.insert(key.clone(), String::new());
                continue;
            }
            Value::Number(_) | Value::Bool(_) => {
                data.insert(key.clone(), value.to_string());
            }
            Value::Array(_) | Value::Object(_) => {}
        }
        let kind = OddityKind::NotText { key: key.clone(), found: named(value) };
        oddities.push(Oddity { object: title(object), kind });
    }
    data
}

fn map_data(object: &Value, oddities: &mut Vec<Oddity>) -> Data {
    texts(object, "data", oddities)
}

/// `data` decoded, and `stringData`, which wins.
fn secret_data(object: &Value, oddities: &mut Vec<Oddity>) -> Data {
    let mut data = Data::new();
    for (key, encoded) in texts(object, "data", oddities) {
        let decoded =
            BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded {
            Some(text) => {
                data.insert(key, text);
            }
            None => oddities.push(Oddity { object: title(object), kind: OddityKind::NotBase64 { key } }),
        }
    }
    data.extend(texts(object, "stringData", oddities));
    data
}

/// The image job notes it down as an annotation; with libvirt, it writes the name of the volume.
fn image_made(setup: &Setup, items: &[Value]) -> Option<String> {
    let settings = items.iter().rfind(|object| is(object, "ConfigMap", SETTINGS))?;
    let annotations = &settings["metadata"]["annotations"];
    let noted = IMAGE_NOTES.into_iter().find_map(|note| annotations[note].as_str());
    let volume = || {
        let data = setup.settings.as_ref()?;
        let volume = config::value(data, "LIBVIRT_VOL_NAME")?;
        (config::value(data, "LIBVIRT_IMAGE_ID") == Some(volume)).then_some(volume)
    };
    noted.or_else(volume).map(str::to_owned)
}

/// The provider's map, by the first of its names; the others are told.
fn choose_image_map(setup: &mut Setup, items: &[Value]) {
    let none = Data::new();
    let provider = config::provider(setup.settings.as_ref().unwrap_or(&none), setup.credentials.as_ref());
    let present: Vec<(&str, &Value)> = image_maps()
        .filter_map(|name| {
            items.iter().rfind(|object| is(object, "ConfigMap", name)).map(|object| (name, object))
        })
        .collect();
    let Some(provider) = provider else { return };
    let chosen =
        provider.image_maps().iter().find_map(|name| present.iter().find(|(found, _)| found == name));
    if let Some((name, object)) = chosen {
        setup.image_map = Some(((*name).to_owned(), map_data(object, &mut setup.oddities)));
    }
    let others =
        present.iter().map(|(name, _)| *name).filter(|name| chosen.is_none_or(|(chosen, _)| chosen != name));
    setup.other_image_maps = others.map(str::to_owned).collect();
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
