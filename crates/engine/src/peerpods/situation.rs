//! What the cluster says about peer pods: the settings, the credentials and the image, read from the objects that hold
//! them. Of a secret only the names of its keys are known.

use std::collections::BTreeMap;

use osc_api::names;
use osc_api::peerpods::{self, Provider};
use serde_json::Value;

use super::check::{Complaint, LACKING, Setup, Severity, check};
use super::config::{self, Data};
use crate::gates::FeatureGates;
use crate::object::{Kind, ObjectId, is_deleted};
use crate::observed::{Observed, Settings};

/// The digest of no text at all: such a value counts as absent.
const DIGEST_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What stands for a value that is there and not known.
const HIDDEN: &str = "hidden";

/// What is found.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The cluster.
    pub observed: &'a Observed,
    /// Settings of the operator.
    pub settings: &'a Settings,
    /// Settings, credentials and image map as far as they are known.
    pub setup: Setup,
    /// Where pod VMs run, if that is said.
    pub provider: Option<Provider>,
}

/// An object in the operator's namespace.
pub fn own(settings: &Settings, kind: Kind, name: &str) -> ObjectId {
    ObjectId::namespaced(kind, &settings.namespace, name)
}

/// A JSON object of texts as a map.
pub fn texts(value: &Value) -> Data {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

impl<'a> Situation<'a> {
    /// Reads it.
    pub fn of(observed: &'a Observed, settings: &'a Settings, gates: &FeatureGates) -> Self {
        let find = |kind, name: &str| observed.objects.get(&own(settings, kind, name)).map(AsRef::as_ref);
        let map = find(Kind::ConfigMap, peerpods::SETTINGS);
        let data = map.map(|map| texts(&map["data"]));
        let secret = find(Kind::Secret, peerpods::CREDENTIALS).filter(|secret| !is_deleted(secret));
        let credentials = secret.map(keys_of);
        let provider = config::provider(data.as_ref().unwrap_or(&BTreeMap::new()), None);
        let named = provider.map(Provider::image_maps).unwrap_or_default().iter();
        let mut named = named;
        let image_map =
            named.find_map(|name| Some(((*name).to_owned(), texts(&find(Kind::ConfigMap, name)?["data"]))));
        let infrastructure = observed.cluster_object(Kind::Infrastructure, names::INFRASTRUCTURE);
        let text =
            |field: &str| infrastructure.and_then(|found| found["status"][field].as_str().map(str::to_owned));
        let ssh_keys =
            find(Kind::Secret, peerpods::SSH_KEYS).map(|secret| keys_of(secret).into_keys().collect());
        let limit = find(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG);
        let setup = Setup {
            settings: data,
            image_made: provider.zip(map).and_then(|(provider, map)| made(provider, map)),
            credentials,
            image_map,
            ssh_keys,
            // A cluster that does not say where it runs has nobody to ask for credentials.
            platform: text("platform").or_else(|| Some("None".to_owned())),
            region: text("region"),
            confidential: gates.confidential,
            peer_pod_config_limit: limit.and_then(|found| found["spec"]["limit"].as_str().map(str::to_owned)),
            ..Setup::default()
        };
        Self { observed, settings, setup, provider }
    }

    /// An object in the operator's namespace.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&'a Value> {
        self.observed.objects.get(&own(self.settings, kind, name)).map(AsRef::as_ref)
    }

    /// The config map with the settings.
    pub fn map(&self) -> Option<&'a Value> {
        self.find(Kind::ConfigMap, peerpods::SETTINGS)
    }

    /// Its data.
    pub fn data(&self) -> Data {
        self.setup.settings.clone().unwrap_or_default()
    }

    /// The image that is to be used, if one is named.
    pub fn image(&self) -> Option<String> {
        let data = self.setup.settings.as_ref()?;
        let settings = config::effective(self.provider?, data, None);
        let key = self.provider?.image_key();
        settings.into_iter().find(|setting| setting.name == key).map(|setting| setting.value)
    }

    /// Whether the image that is named was made here, so that it goes with peer pods.
    pub fn image_is_ours(&self) -> bool {
        self.image().is_some() && self.setup.image_made == self.image()
    }

    /// What keeps peer pods from working. What depends on the value of a secret is left out: it is not known here.
    pub fn blocking(&self) -> Vec<Complaint> {
        let known = ["CredentialsMissing", "CredentialsIncomplete"];
        // Told by the condition about the image, whose reason people know.
        let told = |complaint: &Complaint| complaint.reason == LACKING;
        let readable = |complaint: &Complaint| {
            !complaint.object.starts_with("Secret ") || known.contains(&complaint.reason)
        };
        let found = check(&self.setup).into_iter();
        found.filter(|one| one.severity == Severity::Blocks && readable(one) && !told(one)).collect()
    }
}

/// The identifier of the image that was made, as the job's result was written down.
fn made(provider: Provider, map: &Value) -> Option<String> {
    let annotation = provider.image_annotations().first()?;
    let text = map["metadata"]["annotations"][*annotation].as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Names of the keys of a secret that have a value.
fn keys_of(secret: &Value) -> Data {
    let digests = texts(&secret["digests"]).into_iter();
    digests
        .filter(|(_, digest)| digest != DIGEST_OF_NOTHING)
        .map(|(key, _)| {
            // Said in the config map, and only repeated here.
            let value = if key == "CLOUD_PROVIDER" { String::new() } else { HIDDEN.to_owned() };
            (key, value)
        })
        .collect()
}
