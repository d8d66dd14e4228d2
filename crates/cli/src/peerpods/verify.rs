//! What the cloud itself says about the settings: `osc peerpods check --ask-cloud`.

use std::time::Duration;

use osc_api::peerpods::keys;
use osc_api::peerpods::{CREDENTIALS, Provider, SETTINGS};
use osc_cloud::{Account, Connect, Error, Secret};
use osc_engine::peerpods::check::{Complaint, Setup, Severity};
use osc_engine::peerpods::config::{self, Data};

/// How long the cloud may take for all questions together.
const LIMIT: Duration = Duration::from_mins(3);

/// Logs in with the settings, and asks. `found` is what is wrong with them by themselves: it is not told twice.
pub async fn ask(setup: &Setup, found: &[Complaint], clouds: &dyn Connect) -> Vec<Complaint> {
    let (none, title) = (Data::new(), "the cloud".to_owned());
    let settings = setup.settings.as_ref().unwrap_or(&none);
    let Some(provider) = config::provider(settings, setup.credentials.as_ref()) else {
        return vec![not_asked(Severity::Info, title, "its provider is not known", "Set CLOUD_PROVIDER.")];
    };
    let title = provider.title().to_owned();
    if !matches!(provider, Provider::Aws | Provider::Libvirt) {
        let remedy = "See for yourself whether what the settings name is there.";
        return vec![not_asked(Severity::Warns, title, "this release cannot ask it", remedy)];
    }
    let unreadable = |name: &str| setup.unreadable.iter().find(|(object, _)| object.ends_with(name));
    if let Some((object, _)) = unreadable(SETTINGS).or_else(|| unreadable(CREDENTIALS)) {
        let why = format!("{object} cannot be read");
        return vec![not_asked(Severity::Warns, title, &why, "Ask as somebody who may read it.")];
    }
    let credentials = setup.credentials.clone().unwrap_or_default();
    let account = Account {
        provider,
        settings: settings.clone(),
        credentials: credentials.iter().map(|(key, value)| (key.clone(), Secret::new(value))).collect(),
        // The secret's key stays where it is: this machine's own SSH keys are used.
        ssh_identity: None,
    };
    let mut told = match answer(&account, clouds).await {
        Ok(notes) => fine(provider, notes),
        Err(errors) => {
            let new: Vec<Complaint> = errors
                .iter()
                .filter(|error| !is_known(provider, error, found))
                .map(|error| complaint(provider, error))
                .collect();
            if new.is_empty() {
                let remedy = "Correct what stands in the way, and ask again.";
                vec![not_asked(Severity::Info, title, "the settings do not suffice to log in", remedy)]
            } else {
                new
            }
        }
    };
    for complaint in &mut told {
        complaint.what = without_credentials(provider, &complaint.what, &credentials);
    }
    told
}

async fn answer(account: &Account, clouds: &dyn Connect) -> Result<Vec<String>, Vec<Error>> {
    let questions = async {
        let cloud = clouds.connect(account).await.map_err(|error| vec![error])?;
        cloud.verify().await
    };
    tokio::time::timeout(LIMIT, questions).await.unwrap_or_else(|_| {
        let what = format!("an answer of {}", account.provider.title());
        let hint = "look whether this machine reaches it".to_owned();
        Err(vec![Error::Late { what, seconds: LIMIT.as_secs(), hint }])
    })
}

fn not_asked(severity: Severity, object: String, why: &str, remedy: &str) -> Complaint {
    Complaint {
        severity,
        reason: "CloudNotAsked",
        what: format!("{object} was not asked: {why}"),
        object,
        why: "Whether what the settings name is there is not known.".to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Nothing is wrong; what a person should know nevertheless.
fn fine(provider: Provider, notes: Vec<String>) -> Vec<Complaint> {
    let told = |reason, what: String, why: &str, remedy: &str| Complaint {
        severity: Severity::Info,
        reason,
        object: provider.title().to_owned(),
        what,
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    };
    let accepted = format!("{} was asked and has nothing against these settings", provider.title());
    let why = "It accepts the login, and what the settings name is there.";
    let mut all = vec![told("CloudAccepts", accepted, why, "Nothing.")];
    let note = |what| told("CloudNote", what, "The cloud said so.", "Nothing, if that is as you want it.");
    all.extend(notes.into_iter().map(note));
    all
}

/// The setting that an error is about.
fn key(error: &Error) -> Option<&'static str> {
    match error {
        Error::Setting { key, .. } | Error::Missing { key, .. } => Some(key),
        _ => None,
    }
}

/// The object that has a key.
fn object_of(provider: Provider, key: &str) -> String {
    let of_settings = keys::settings(provider).any(|one| one.name == key);
    let of_credentials = keys::credentials(provider).iter().any(|one| one.name == key);
    if of_credentials && !of_settings {
        format!("Secret {CREDENTIALS}")
    } else {
        format!("ConfigMap {SETTINGS}")
    }
}

/// Whether the checks of the settings by themselves have found as much.
fn is_known(provider: Provider, error: &Error, found: &[Complaint]) -> bool {
    let Error::Setting { key, .. } = error else { return false };
    let object = object_of(provider, key);
    let is_word =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == *key);
    let tells = |complaint: &Complaint| {
        complaint.severity == Severity::Blocks
            && complaint.object == object
            && (is_word(&complaint.what) || is_word(&complaint.remedy))
    };
    found.iter().any(tells)
}

fn complaint(provider: Provider, error: &Error) -> Complaint {
    let named = |key: &str| format!("Correct {key} in {}, then ask again.", object_of(provider, key));
    let (severity, reason, why, remedy) = match error {
        Error::Setting { key, .. } => {
            (Severity::Blocks, "CloudSetting", "The cloud cannot be used with it.", named(key))
        }
        Error::Missing { key, .. } => {
            (Severity::Blocks, "CloudMissing", "Pod VMs cannot be made without it.", named(key))
        }
        Error::Unauthorized { .. } => (
            Severity::Blocks,
            "CloudLogin",
            "Pod VMs can neither be made nor deleted with this login.",
            format!("Correct the credentials in Secret {CREDENTIALS}, or what they may do."),
        ),
        Error::Unreachable { .. } | Error::Late { .. } => (
            Severity::Blocks,
            "CloudUnreachable",
            unreachable_why(provider),
            "Look at the address and the network; or ask from a machine of the cluster's network.".to_owned(),
        ),
        Error::Busy { .. } | Error::Cancelled(_) => (
            Severity::Warns,
            "CloudBusy",
            "It was not found out what is there.",
            "Ask again later.".to_owned(),
        ),
        Error::Unsupported(_) => (
            Severity::Warns,
            "CloudNotAsked",
            "This release cannot ask it.",
            "See for yourself whether what the settings name is there.".to_owned(),
        ),
        Error::Taken { .. } | Error::MalformedId { .. } | Error::Checksum { .. } | Error::Refused { .. } => (
            Severity::Blocks,
            "CloudRefuses",
            "The cloud refused while it was asked; it will refuse pod VMs, too.",
            "Do what it says, then ask again.".to_owned(),
        ),
    };
    let object = match (key(error), error) {
        (Some(key), _) => object_of(provider, key),
        (None, Error::Unauthorized { .. }) => format!("Secret {CREDENTIALS}"),
        _ => provider.title().to_owned(),
    };
    Complaint { severity, reason, object, what: error.to_string(), why: why.to_owned(), remedy }
}

fn unreachable_why(provider: Provider) -> &'static str {
    match provider {
        Provider::Libvirt => {
            "It was asked from this machine and, where the way is SSH, with this machine's own keys: the cluster's may work."
        }
        _ => "It was asked from this machine: the cluster may reach it all the same.",
    }
}

/// No output ever has a value out of a secret, nor who logs in where.
fn without_credentials(provider: Provider, text: &str, credentials: &Data) -> String {
    let mut text = text.to_owned();
    // Older documentation has settings in the secret, which are none of it.
    let secret = credentials.iter().filter(|(key, _)| !keys::settings(provider).any(|one| one.name == *key));
    // What is shorter is no secret, and part of many a word.
    for value in secret.map(|(_, value)| value.trim()).filter(|value| value.len() > 3) {
        text = text.replace(value, "(not shown)");
        let user = value.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map(|(user, _)| user);
        if let Some(user) = user.filter(|user| !user.is_empty() && !user.contains('/')) {
            text = text.replace(&format!("{user}@"), "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_cloud::Clouds;
    use rstest::rstest;

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn of(settings: &[(&str, &str)], credentials: &[(&str, &str)]) -> Setup {
        Setup { settings: Some(data(settings)), credentials: Some(data(credentials)), ..Setup::default() }
    }

    #[rstest]
    #[case(&[("CLOUD_PROVIDER", "azure")], Severity::Warns, "Microsoft Azure was not asked: this release cannot ask it")]
    #[case(&[("CLOUD_PROVIDER", "gcp")], Severity::Warns, "Google Cloud was not asked: this release cannot ask it")]
    #[case(&[], Severity::Info, "the cloud was not asked: its provider is not known")]
    #[tokio::test]
    async fn clouds_that_cannot_be_asked_are_told(
        #[case] settings: &[(&str, &str)],
        #[case] severity: Severity,
        #[case] what: &str,
    ) {
        let told = ask(&of(settings, &[]), &[], &Clouds).await;
        assert_eq!((told.len(), told[0].severity, told[0].what.as_str()), (1, severity, what));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_said_to_be_missing() {
        let mut setup = of(&[("CLOUD_PROVIDER", "aws"), ("AWS_REGION", "eu-west-1")], &[]);
        setup.unreadable = vec![(format!("Secret {CREDENTIALS}"), "forbidden".to_owned())];
        let told = ask(&setup, &[], &Clouds).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, "AWS was not asked: Secret peer-pods-secret cannot be read");
    }

    #[tokio::test]
    async fn what_is_known_already_is_not_told_twice() {
        let setup =
            of(&[("CLOUD_PROVIDER", "aws")], &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
        let told = ask(&setup, &[], &Clouds).await;
        assert_eq!((told[0].reason, told[0].object.as_str()), ("CloudSetting", "ConfigMap peer-pods-cm"));
        let found = osc_engine::peerpods::check::check(&setup);
        let told = ask(&setup, &found, &Clouds).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, "AWS was not asked: the settings do not suffice to log in");
    }

    #[test]
    fn errors_are_placed_by_their_key() {
        let error = |key| Error::Setting { key, problem: "is wrong".to_owned() };
        let of = |key| complaint(Provider::Aws, &error(key)).object;
        assert_eq!(of("AWS_SUBNET_ID"), "ConfigMap peer-pods-cm");
        assert_eq!(of("AWS_SECRET_ACCESS_KEY"), "Secret peer-pods-secret");
        let kind = Provider::Aws;
        let told = complaint(kind, &Error::Unauthorized { kind, message: "no".to_owned() });
        assert_eq!((told.object.as_str(), told.severity), ("Secret peer-pods-secret", Severity::Blocks));
        let told = complaint(kind, &Error::Busy { kind, message: "no".to_owned() });
        assert_eq!((told.object.as_str(), told.severity), ("AWS", Severity::Warns));
    }

    #[test]
    fn credentials_are_taken_out_of_words() {
        let credentials = data(&[
            ("LIBVIRT_URI", "qemu+ssh://hush@192.168.122.1/system"),
            ("EMPTY", ""),
            ("SHORT", "ssh"),
            ("CLOUD_PROVIDER", "libvirt"),
        ]);
        let words = "qemu+ssh://hush@192.168.122.1/system: ssh hush@192.168.122.1 failed; libvirt says no";
        let shown = without_credentials(Provider::Libvirt, words, &credentials);
        assert_eq!(shown, "(not shown): ssh 192.168.122.1 failed; libvirt says no");
    }
}
