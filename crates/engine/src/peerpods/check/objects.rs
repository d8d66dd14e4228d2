//! The objects themselves, whatever their settings say: where they are, what their data is made of, whether they can be
//! read and written.

use osc_api::names::OPERATOR_NAMESPACE;
use osc_api::peerpods::{CREDENTIALS as SECRET, PEER_POD_CONFIG, SETTINGS as MAP};

use super::{Complaint, SETTINGS, Setup, Severity};

/// Something odd about an object. A value is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Kind and name.
    pub object: String,
    /// What is odd.
    pub kind: OddityKind,
}

/// What is odd about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OddityKind {
    /// A value is a number, say, where the API wants text.
    NotText {
        /// Its key.
        key: String,
        /// `a number`, ...
        found: &'static str,
    },
    /// A value below `data` of a secret is no base64, or no text once it is decoded.
    NotBase64 {
        /// Its key.
        key: String,
    },
    /// It is in another namespace, or in none.
    OtherNamespace(Option<String>),
    /// Nothing can be written into it.
    Immutable,
    /// There is a second one of the same name.
    Twice,
}

/// What can be told without knowing the provider.
pub fn check(setup: &Setup) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = setup.oddities.iter().map(odd).collect();
    found.extend(setup.unreadable.iter().map(|(object, why)| unreadable(object, why)));
    found.extend(setup.gate_complaints.iter().map(|complaint| gate(complaint)));
    found.extend(limit(setup));
    found.extend(names(setup));
    found.extend(enabled(setup));
    found
}

fn odd(oddity: &Oddity) -> Complaint {
    let object = oddity.object.as_str();
    let blocks = |reason, what: String| Complaint::new(Severity::Blocks, reason, object, what);
    match &oddity.kind {
        OddityKind::NotText { key, found } => blocks("NotText", format!("{key} is {found}; expected text"))
            .why("Values of config maps and secrets are texts: the API server refuses the object.")
            .remedy(format!("Put the value of {key} in quotes.")),
        OddityKind::NotBase64 { key } => {
            blocks("NotBase64", format!("{key} is below data and is no text in base64 (not shown)"))
                .why("Values below data of a secret are encoded; the API server refuses others.")
                .remedy(format!("Write {key} below stringData as it is, or encode it: base64 -w0"))
        }
        OddityKind::OtherNamespace(namespace) => {
            let place =
                namespace.as_ref().map_or("no namespace".to_owned(), |name| format!("namespace {name}"));
            Complaint::new(Severity::Warns, "OtherNamespace", object, format!("it is in {place}"))
                .why(format!("The operator reads {OPERATOR_NAMESPACE} only; without a namespace it goes to the current one."))
                .remedy(format!("Set metadata.namespace to {OPERATOR_NAMESPACE}."))
        }
        OddityKind::Immutable => blocks("Immutable", "it is immutable".to_owned())
            .why("The image job writes the identifier of the image into it, and the operator the limit.")
            .remedy("Create it again without immutable."),
        OddityKind::Twice => {
            Complaint::new(Severity::Warns, "ObjectTwice", object, "it is there more than once".to_owned())
                .why("The last one was looked at, and the last one that is applied counts.")
                .remedy("Keep one.")
        }
    }
}

fn unreadable(object: &str, why: &str) -> Complaint {
    Complaint::new(Severity::Warns, "Unreadable", object, "it cannot be read".to_owned())
        .why(format!("What is told does not take it into account. {}.", why.trim_end_matches('.')))
        .remedy(format!("Ask with rights to get it in namespace {OPERATOR_NAMESPACE}."))
}

fn gate(complaint: &str) -> Complaint {
    Complaint::new(Severity::Warns, "GateMeaningless", "ConfigMap osc-feature-gates", complaint)
        .why("A gate that means nothing is as if it were not there.")
        .remedy("Correct it, or remove it.")
}

fn peer_pod_config() -> String {
    format!("PeerPodConfig {PEER_POD_CONFIG}")
}

/// The limit is a text with a number in it; the definition takes any text.
fn limit(setup: &Setup) -> Option<Complaint> {
    let limit = setup.peer_pod_config_limit.as_deref()?;
    let fine = limit.parse::<i64>().is_ok_and(|number| number >= -1);
    (!fine).then(|| {
        let what = format!("spec.limit is {limit:?}; expected a whole number of at least -1, as text");
        Complaint::new(Severity::Blocks, "WrongLimit", &peer_pod_config(), what)
            .why("It is how many pod VMs a node may have.")
            .remedy(format!(
                "oc patch peerpodconfig {PEER_POD_CONFIG} -n {OPERATOR_NAMESPACE} --type merge -p '{{\"spec\":{{\"limit\":\"10\"}}}}'"
            ))
    })
}

/// The names are part of its API, and have always been those two.
fn names(setup: &Setup) -> Option<Complaint> {
    let (secret, map) = setup.peer_pod_config_names.as_ref()?;
    (secret != SECRET || map != MAP).then(|| {
        let what = format!("cloudSecretName is {secret:?} and configMapName is {map:?}");
        Complaint::new(Severity::Warns, "OtherObjects", &peer_pod_config(), what)
            .why(format!("The adaptor gets Secret {SECRET} and ConfigMap {MAP}, whatever is said there."))
            .remedy("Put the settings into these two, and leave both fields out.")
    })
}

fn enabled(setup: &Setup) -> Option<Complaint> {
    (setup.enabled == Some(false)).then(|| {
        Complaint::new(Severity::Info, "NotEnabled", "KataConfig", "enablePeerPods is false".to_owned())
            .why("The settings are not used until it is true.")
            .remedy("oc patch kataconfig <name> --type merge -p '{\"spec\":{\"enablePeerPods\":true}}'")
    })
}

/// Whether that object could not be read, so that nothing can be said about it.
pub fn is_unreadable(setup: &Setup, object: &str) -> bool {
    setup.unreadable.iter().any(|(name, _)| name == object)
}

/// Instead of all else: the settings are there, perhaps, and nobody can say.
pub fn settings_unreadable(setup: &Setup) -> bool {
    is_unreadable(setup, SETTINGS)
}
