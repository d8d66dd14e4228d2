//! `peer-pods-secret` and `ssh-key-secret`.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Need};

use super::objects::is_unreadable;
use super::{CREDENTIALS, Complaint, Data, Setup, Severity, joined, runs_on, unknown, value, wrong_shape};

const SSH_KEYS: &str = "Secret ssh-key-secret";

/// Ways to log in, and what is wrong with them.
pub fn check(provider: Provider, setup: &Setup) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    if !is_unreadable(setup, SSH_KEYS) {
        found.extend(ssh_key(provider, setup));
    }
    found.extend(setup.settings.iter().flat_map(|settings| exposed(provider, settings)));
    if is_unreadable(setup, CREDENTIALS) {
        return found;
    }
    let Some(data) = &setup.credentials else {
        found.push(missing(provider, setup));
        return found;
    };
    // Settings in the secret are told as such.
    let known = keys::credentials(provider).iter().chain(keys::settings(provider));
    found.extend(unknown(CREDENTIALS, data, &known));
    for key in keys::credentials(provider).iter().filter(|key| key.need == Need::Credential) {
        if let Some(value) = value(data, key.name) {
            found.extend(wrong_shape(CREDENTIALS, key, key.name, value, true));
        }
    }
    found.extend(logins(provider, data));
    if let Some(settings) = &setup.settings {
        found.extend(twice(provider, data, settings));
    }
    found.extend(temporary(data));
    found.extend(service_account(data));
    if provider == Provider::Libvirt {
        found.extend(connection(data));
        found.extend(unnamed(data));
    }
    found
}

/// On its own cloud, a cluster can ask for credentials by itself.
fn missing(provider: Provider, setup: &Setup) -> Complaint {
    let what = "Secret peer-pods-secret does not exist";
    let first = keys::logins(provider).first().copied().unwrap_or_default();
    let create = format!("Create it with {}.", joined(first));
    let can_ask = matches!(provider, Provider::Aws | Provider::Azure);
    if can_ask && setup.platform.is_none() {
        return Complaint::new(Severity::Warns, "CredentialsMissing", CREDENTIALS, what)
            .why(format!(
                "It is not known what the cluster runs on. On {} it asks for credentials by itself, elsewhere not.",
                provider.title()
            ))
            .remedy(format!("{create} Nothing, if the cluster runs on {}.", provider.title()));
    }
    if can_ask && setup.platform.as_deref().is_some_and(|platform| runs_on(provider, platform)) {
        return Complaint::new(Severity::Info, "CredentialsRequested", CREDENTIALS, what)
            .why(
                "The operator asks the Cloud Credential Operator for credentials when peer pods are enabled.",
            )
            .remedy("Nothing, unless you want to use credentials of your own: then create it before.");
    }
    Complaint::new(Severity::Blocks, "CredentialsMissing", CREDENTIALS, what)
        .why(format!("Without it nobody can create pod VMs on {}.", provider.title()))
        .remedy(create)
}

fn logins(provider: Provider, data: &Data) -> Vec<Complaint> {
    let ways = keys::logins(provider);
    let lacks = |way: &&[&'static str]| -> Vec<&'static str> {
        way.iter().copied().filter(|key| value(data, key).is_none()).collect()
    };
    let complete: Vec<_> = ways.iter().filter(|way| lacks(way).is_empty()).collect();
    if complete.is_empty() {
        let nearest = ways.iter().min_by_key(|way| lacks(way).len()).copied().unwrap_or_default();
        let lacking = lacks(&nearest);
        let what = format!("{} {} not set", joined(&lacking), if lacking.len() == 1 { "is" } else { "are" });
        let others =
            ways.iter().filter(|way| **way != nearest).map(|way| format!(" Or set {}.", joined(way)));
        let remedy = format!("Set {}.{}", joined(&lacking), others.collect::<String>());
        let told = Complaint::new(Severity::Blocks, "CredentialsIncomplete", CREDENTIALS, what);
        return vec![
            told.why(format!("Nobody can log in to {} like that.", provider.title())).remedy(remedy),
        ];
    }
    if let [first, others @ ..] = complete.as_slice()
        && !others.is_empty()
    {
        let what = format!(
            "there is more than one way to log in: {}",
            complete.iter().map(|way| joined(way)).collect::<Vec<_>>().join("; or ")
        );
        let told = Complaint::new(Severity::Warns, "CredentialsTwice", CREDENTIALS, what);
        let remedy = format!("Keep one; {} are what the documentation has people create.", joined(first));
        return vec![told.why("Which one is used is for the cloud's own tools to choose.").remedy(remedy)];
    }
    Vec::new()
}

/// The config map shows to everybody what should be secret.
fn exposed(provider: Provider, settings: &Data) -> Vec<Complaint> {
    let secret = keys::credentials(provider).iter().map(|key| key.name);
    let own = |name: &&str| !keys::settings(provider).any(|key| key.name == *name);
    let mut found: Vec<Complaint> = Vec::new();
    for name in secret.filter(own).filter(|name| value(settings, name).is_some()) {
        let what = format!("{name} is in ConfigMap peer-pods-cm");
        let why = "It is secret, and a config map is not; it also wins over the one in the secret.";
        let told = Complaint::new(Severity::Warns, "CredentialInConfigMap", super::SETTINGS, what);
        found.push(
            told.why(why)
                .remedy(format!("Move {name} to Secret peer-pods-secret, and replace it: it was readable.")),
        );
    }
    found
}

/// In both objects: the config map wins.
fn twice(provider: Provider, data: &Data, settings: &Data) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    let different = |key: &&str| matches!((value(data, key), value(settings, key)), (Some(one), Some(other)) if one != other);
    for name in keys::settings(provider).map(|key| key.name).filter(different) {
        let what = format!("{name} is in peer-pods-secret and in peer-pods-cm, with different values");
        let told = Complaint::new(Severity::Warns, "SettingTwice", super::SETTINGS, what);
        found.push(
            told.why("The one in the config map counts.").remedy(format!("Remove {name} from the secret.")),
        );
    }
    found
}

/// Keys of a session work until it ends.
fn temporary(data: &Data) -> Option<Complaint> {
    value(data, "AWS_SESSION_TOKEN")?;
    let what = "AWS_SESSION_TOKEN is set: the keys are temporary";
    let told = Complaint::new(Severity::Warns, "CredentialsExpire", CREDENTIALS, what);
    Some(
        told.why("When they expire, pod VMs can be neither created nor deleted, and nobody renews them.")
            .remedy("Use keys that last, or the role of the cluster (AWS_ROLE_ARN)."),
    )
}

/// What the key of a service account has to have.
const SERVICE_ACCOUNT: [&str; 4] = ["type", "project_id", "client_email", "private_key"];

fn service_account(data: &Data) -> Option<Complaint> {
    let key: serde_json::Value = serde_json::from_str(value(data, "GCP_CREDENTIALS")?).ok()?;
    let fields = key.as_object()?;
    let lacking: Vec<&str> = SERVICE_ACCOUNT
        .into_iter()
        .filter(|field| fields.get(*field).and_then(serde_json::Value::as_str).is_none_or(str::is_empty))
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let what = format!("GCP_CREDENTIALS is JSON without {}", joined(&lacking));
    let told = Complaint::new(Severity::Blocks, "CredentialsIncomplete", CREDENTIALS, what);
    Some(told.why("It is no key of a service account, and nobody can log in to Google Cloud with it.").remedy(
        "Make one: gcloud iam service-accounts keys create key.json --iam-account=<account>, and store that file.",
    ))
}

/// The documentation names the provider in both objects.
fn unnamed(data: &Data) -> Option<Complaint> {
    if value(data, "CLOUD_PROVIDER").is_some() {
        return None;
    }
    let what = "CLOUD_PROVIDER is not in it, where the documentation has it, too";
    Some(
        Complaint::new(Severity::Info, "ProviderUnnamed", CREDENTIALS, what)
            .why("The one of ConfigMap peer-pods-cm is enough; the Go operator does not begin without it.")
            .remedy("Nothing; or set CLOUD_PROVIDER to \"libvirt\"."),
    )
}

/// The connection to the KVM host is made from a pod.
fn connection(data: &Data) -> Option<Complaint> {
    let uri = value(data, "LIBVIRT_URI")?;
    if uri.contains("no_verify=1") {
        let what = "LIBVIRT_URI has no_verify=1, as in the documentation";
        let told = Complaint::new(Severity::Warns, "HostNotVerified", CREDENTIALS, what);
        return Some(told.why("Whoever answers in the place of the KVM host is believed.").remedy(
            "In an untrusted network, add the host's key to Secret ssh-key-secret as known_hosts and leave it out.",
        ));
    }
    if uri.contains(":///") || uri.contains("localhost") || uri.contains("127.0.0.1") {
        let what = "LIBVIRT_URI names the local host";
        let told = Complaint::new(Severity::Blocks, "HostIsLocal", CREDENTIALS, what);
        return Some(
            told.why("That is the worker node, or a pod on it, and not the KVM host.")
                .remedy("Name the KVM host: qemu+ssh://root@<address of the KVM host>/system"),
        );
    }
    None
}

fn ssh_key(provider: Provider, setup: &Setup) -> Option<Complaint> {
    let over_ssh = setup
        .credentials
        .as_ref()
        .is_some_and(|data| value(data, "LIBVIRT_URI").is_some_and(|uri| uri.starts_with("qemu+ssh")));
    let (key, why) = match provider {
        Provider::Azure => (
            "id_rsa.pub",
            "Azure's interface wants a public key for a virtual machine; SSH itself is off in it.",
        ),
        Provider::Libvirt if over_ssh => ("id_rsa", "LIBVIRT_URI is reached by SSH."),
        _ => return None,
    };
    let what = match &setup.ssh_keys {
        None => "Secret ssh-key-secret does not exist".to_owned(),
        Some(keys) if !keys.iter().any(|name| name == key) => format!("{key} is not set"),
        Some(_) => return None,
    };
    let command = "ssh-keygen -f ./id_rsa -N \"\" && oc create secret generic ssh-key-secret -n \
                   openshift-sandboxed-containers-operator --from-file=id_rsa.pub --from-file=id_rsa";
    Some(
        Complaint::new(Severity::Blocks, "SshKeyMissing", SSH_KEYS, what)
            .why(why)
            .remedy(format!("Create it: {command}")),
    )
}
