//! What is missing, wrong or suspicious in the settings of peer pods.
//!
//! A value of a secret is never told, whatever is wrong with it.

mod credentials;
mod image;
mod image_relations;
#[cfg(test)]
mod misfit_tests;
mod misfits;
mod objects;
mod relations;
mod settings;
#[cfg(test)]
mod tests;

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{Key, Need};

use super::config::{self, Data};
use super::shape;

pub use image::LACKING;
pub use objects::{Oddity, OddityKind};

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Data of `peer-pods-cm`; none if there is no such config map.
    pub settings: Option<Data>,
    /// What the image job wrote about the image that it made: its identifier.
    pub image_made: Option<String>,
    /// Data of `peer-pods-secret`.
    pub credentials: Option<Data>,
    /// Name and data of the provider's image config map.
    pub image_map: Option<(String, Data)>,
    /// Keys of `ssh-key-secret`.
    pub ssh_keys: Option<Vec<String>>,
    /// The cloud that the cluster itself runs on: `status.platformStatus.type` of Infrastructure `cluster`.
    pub platform: Option<String>,
    /// The region of that cloud.
    pub region: Option<String>,
    /// The feature gate `confidential`.
    pub confidential: bool,
    /// The limit that PeerPodConfig `peerpodconfig-openshift` has.
    pub peer_pod_config_limit: Option<String>,
    /// The names of secret and config map that it has.
    pub peer_pod_config_names: Option<(String, String)>,
    /// Other image config maps that there are, by name.
    pub other_image_maps: Vec<String>,
    /// The resource group of Azure, or the project of Google Cloud, that the cluster itself is in.
    pub home: Option<String>,
    /// What is wrong with the feature gates, in sentences.
    pub gate_complaints: Vec<String>,
    /// Whether the KataConfig enables peer pods; none if there is none.
    pub enabled: Option<bool>,
    /// What is odd about the objects themselves.
    pub oddities: Vec<Oddity>,
    /// Objects that could not be read, kind and name, and why. Nothing is said to be missing from them.
    pub unreadable: Vec<(String, String)>,
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Peer pods cannot work like that.
    Blocks,
    /// They will work, but not as one might expect.
    Warns,
    /// Good to know.
    Info,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// How grave it is.
    pub severity: Severity,
    /// One CamelCase word.
    pub reason: &'static str,
    /// The object that it is in, kind and name.
    pub object: String,
    /// What was found, in a sentence that names the key.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Complaint {
    fn new(severity: Severity, reason: &'static str, object: &str, what: impl Into<String>) -> Self {
        let (why, remedy) = (String::new(), String::new());
        Self { severity, reason, object: object.to_owned(), what: what.into(), why, remedy }
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

const SETTINGS: &str = "ConfigMap peer-pods-cm";
const CREDENTIALS: &str = "Secret peer-pods-secret";

/// Everything that is found, the gravest first. Without a known provider there is nothing to compare with, so that only
/// that is told.
pub fn check(setup: &Setup) -> Vec<Complaint> {
    let mut found = objects::check(setup);
    match settings::provider(setup) {
        Err(_) if objects::settings_unreadable(setup) => {}
        Err(complaint) => found.push(complaint),
        Ok((provider, data)) => {
            found.extend(settings::check(provider, data, setup));
            found.extend(credentials::check(provider, setup));
            found.extend(image::check(provider, setup));
            found.extend(relations::check(provider, data, setup));
            found.extend(misfits::check(provider, data, setup));
        }
    }
    found.sort_by_key(|complaint| complaint.severity);
    found
}

/// Whether anything of it keeps peer pods from working.
pub fn blocked(complaints: &[Complaint]) -> bool {
    complaints.iter().any(|complaint| complaint.severity == Severity::Blocks)
}

/// Keys of an object that its table does not have: what was perhaps meant.
fn unknown<'a>(object: &str, data: &Data, known: &(impl Iterator<Item = &'a Key> + Clone)) -> Vec<Complaint> {
    let named = |name: &str| known.clone().any(|key| key.name == name || key.aliases.contains(&name));
    data.keys().filter(|name| !named(name)).map(|name| not_known(object, name, known.clone())).collect()
}

fn not_known<'a>(object: &str, name: &str, known: impl Iterator<Item = &'a Key>) -> Complaint {
    let told =
        Complaint::new(Severity::Warns, "UnknownKey", object, format!("{name} is no key that anybody reads"));
    let told = told.why("It has no effect; what it was to say is not said.");
    match nearest(name, known) {
        Some(key) => {
            told.remedy(format!("If {} was meant ({}), rename it; else remove it.", key.name, key.meaning))
        }
        None => told.remedy("Remove it, or look for the right name in the tables of the guide."),
    }
}

/// The key that was perhaps meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a Key>) -> Option<&'a Key> {
    let similarity =
        |key: &&Key| strsim::normalized_damerau_levenshtein(key.name, &name.to_ascii_uppercase());
    let nearest = known.max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    nearest.filter(|key| similarity(key) > 0.6)
}

/// Whether a value, or a part of it, is still to be filled in: `<aws_region>`.
pub fn is_placeholder(value: &str) -> bool {
    placeholder(value).is_some()
}

/// The part of a value that is still to be filled in, as the documentation writes it: `<aws_region>`.
fn placeholder(value: &str) -> Option<&str> {
    let (begin, _) = value.match_indices('<').next()?;
    let rest = &value[begin..];
    let end = rest.find('>')?;
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    (end > 1 && rest[1..end].chars().all(word)).then(|| &rest[..=end])
}

/// The key and what is wrong with its value, unless the value is right. `secret`: the value is not told.
fn wrong_shape(object: &str, key: &Key, name: &str, value: &str, secret: bool) -> Option<Complaint> {
    let found = if secret { "what was found (not shown)".to_owned() } else { format!("{value:?}") };
    if placeholder(value).is_some() {
        let what = if secret {
            format!("{name} is a placeholder")
        } else {
            format!("{name} is {found}, which is to be filled in")
        };
        let told = Complaint::new(Severity::Blocks, "Placeholder", object, what);
        return Some(told.why(format!("Its meaning: {}.", key.meaning)).remedy(match key.need {
            Need::Written => {
                format!("Leave {name} empty: the image job fills it in; or set the image of your own.")
            }
            Need::Brought => format!("Set {name} to an image of your own: none is made."),
            _ => format!("Set {name}, or remove it if it is not needed."),
        }));
    }
    let expected = shape::check(key.shape, value).err()?;
    let what = format!("{name} is {found}; expected {expected}");
    let told = Complaint::new(Severity::Blocks, "WrongValue", object, what);
    Some(told.why(format!("Its meaning: {}.", key.meaning)).remedy(format!("Correct {name}.")))
}

fn joined(names: &[&str]) -> String {
    names.join(", ")
}

fn value<'a>(data: &'a Data, key: &str) -> Option<&'a str> {
    config::value(data, key)
}

/// Whether the cluster runs on the cloud of that provider; unknown: nobody can say.
fn runs_on(provider: Provider, platform: &str) -> bool {
    let platform = platform.to_ascii_lowercase();
    provider.name() == platform
        || (provider == Provider::Libvirt && matches!(platform.as_str(), "none" | "kvm"))
}
