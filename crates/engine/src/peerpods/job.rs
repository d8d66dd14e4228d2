//! The jobs that make and delete a pod VM image, as they are created.
//!
//! They do nothing in the cluster: what they are to do is in their environment, and what came of it they say at their end.
//! So they need no rights, and the operator alone writes.

use osc_api::names;
use osc_api::peerpods::{self, JOB_DIGEST, Provider};
use serde_json::{Value, json};

use super::adaptor::{token_mount, token_volume};
use super::digest::digest;
use super::identity;
use super::situation::{Situation, own};
use crate::desired::{Desired, owned_by, with_identity};
use crate::object::Kind;
use crate::observed::{KataConfigView, Settings};

/// What a job is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Makes the image.
    Create,
    /// Deletes this image, or what is left of one that was not finished.
    Delete(Option<String>),
}

impl Task {
    /// Name of the job.
    pub fn job(&self) -> &'static str {
        match self {
            Self::Create => peerpods::IMAGE_CREATION,
            Self::Delete(_) => peerpods::IMAGE_DELETION,
        }
    }

    fn container(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete(_) => "delete",
        }
    }

    fn command(&self) -> Vec<&str> {
        let mut command = vec!["/usr/bin/osc-podvm-image", self.container()];
        if let Self::Delete(Some(image)) = self {
            command.extend(["--image", image]);
        }
        command
    }
}

/// What of it can change while the job is there.
pub struct Circumstances<'a> {
    /// What the cluster says.
    pub situation: &'a Situation<'a>,
    /// Whose it is.
    pub kata_config: &'a KataConfigView,
    /// Where pod VMs run.
    pub provider: Provider,
    /// Image of the tool.
    pub tool: &'a str,
}

impl Circumstances<'_> {
    /// The job.
    pub fn job(&self, task: &Task) -> Desired {
        let settings = self.situation.settings;
        let name = task.job();
        let env = self.env();
        let mut mounts = vec![
            json!({"name": "regauth", "mountPath": "/tmp/regauth", "readOnly": true}),
            json!({"name": "ssh", "mountPath": "/root/.ssh/", "readOnly": true}),
            json!({"name": "store", "mountPath": "/store"}),
        ];
        mounts.extend(token_mount(settings));
        let container = json!({
            "name": task.container(),
            "image": self.tool,
            "imagePullPolicy": "IfNotPresent",
            "command": task.command(),
            "env": env,
            "envFrom": self.sources(),
            "terminationMessagePath": "/dev/termination-log",
            // A tool that died without a word leaves its last lines.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        });
        // For a user that is not root and that nobody knows beforehand.
        let secret = |volume: &str, secret: &str| json!({"name": volume, "secret": {"secretName": secret, "optional": true, "defaultMode": 0o444}});
        let mut volumes = vec![
            secret("regauth", names::AUTH_SECRET),
            secret("ssh", peerpods::SSH_KEYS),
            json!({"name": "store", "emptyDir": {}}),
        ];
        volumes.extend(token_volume(settings));
        let pod = json!({
            "restartPolicy": "Never",
            "serviceAccountName": peerpods::IMAGE_SERVICE_ACCOUNT,
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        });
        let spec = json!({
            "parallelism": 1,
            "completions": 1,
            // Making an image is dear; deleting it is to be done whatever happens to a node.
            "backoffLimit": if *task == Task::Create { 1 } else { 6 },
            "template": {"spec": pod},
        });
        let metadata = json!({
            "name": name,
            "namespace": settings.namespace,
            "labels": {names::APP_LABEL: self.kata_config.name},
            "annotations": {JOB_DIGEST: self.digest(task)},
        });
        let object = with_identity(Kind::Job, metadata, json!({"spec": spec}));
        (own(settings, Kind::Job, name), owned_by(self.kata_config, object))
    }

    fn sources(&self) -> Vec<Value> {
        let mut sources = vec![
            json!({"secretRef": {"name": peerpods::CREDENTIALS}}),
            json!({"configMapRef": {"name": peerpods::SETTINGS, "optional": true}}),
        ];
        let maps = self.provider.image_maps().iter().rev();
        sources.extend(maps.map(|name| json!({"configMapRef": {"name": name, "optional": true}})));
        sources
    }

    /// What the cluster knows and people need not say. It wins over what they say: FIPS mode is the cluster's, and
    /// whether VMs are confidential is the gate's.
    fn env(&self) -> Vec<Value> {
        let observed = self.situation.observed;
        let mut all: Vec<(String, String)> = self.situation.settings.peer_pods.proxies.clone();
        let mut add = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
        if let Some(cluster) = identity::observed(observed) {
            add("CLUSTER_ID", &cluster);
        }
        add("SSH_IDENTITY_FILE", "/root/.ssh/id_rsa");
        add("CONFIDENTIAL_COMPUTE_ENABLED", if self.situation.setup.confidential { "yes" } else { "no" });
        if self.situation.settings.peer_pods.fips {
            add("BOOT_FIPS", "yes");
        }
        if let Some(source) = default_source(self.situation) {
            add("PODVM_IMAGE_URI", &source);
        }
        all.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    }

    /// Of everything that the job reads: one that failed is tried again when that changes.
    pub fn digest(&self, task: &Task) -> String {
        let data = self.situation.data().into_iter();
        let key = self.provider.image_key();
        let mut words: Vec<String> =
            data.filter(|(name, _)| name != key).flat_map(|(name, value)| [name, value]).collect();
        let map = self.situation.setup.image_map.iter().flat_map(|(_, map)| map.clone());
        words.extend(map.flat_map(|(name, value)| [name, value]));
        let secret = self.situation.find(Kind::Secret, peerpods::CREDENTIALS);
        words.push(secret.map(|secret| secret["digests"].to_string()).unwrap_or_default());
        words.push(self.tool.to_owned());
        words.push(format!("{:?}", self.env()));
        words.push(task.command().join(" "));
        digest(words)
    }
}

/// The release's own image, unless a person names another one.
fn default_source(situation: &Situation<'_>) -> Option<String> {
    let named =
        situation.setup.image_map.as_ref().and_then(|(_, map)| super::config::value(map, "PODVM_IMAGE_URI"));
    match (named, &situation.settings.peer_pods.pod_vm_image) {
        (None, Some(image)) => Some(format!("oci::{image}")),
        _ => None,
    }
}

/// Whether it is known what the image is made from.
pub fn has_source(situation: &Situation<'_>) -> bool {
    let named =
        situation.setup.image_map.as_ref().and_then(|(_, map)| super::config::value(map, "PODVM_IMAGE_URI"));
    named.is_some() || default_source(situation).is_some()
}

/// Keys of the image config map that are about images which are built, or about the jobs of older releases.
const NOT_SHOWN: [&str; 8] = [
    "CONFIDENTIAL_COMPUTE_ENABLED",
    "DOWNLOAD_SOURCES",
    "IMAGE_TYPE",
    "INSTALL_PACKAGES",
    "PODVM_DISTRO",
    "SE_BOOT",
    "SE_VERIFY",
    "UPDATE_PEERPODS_CM",
];

/// The image config map, for a person to find and change: with what is used when nothing is said. The image itself is not
/// in it: it would be that of an old release after an update.
pub fn image_map(kata_config: &KataConfigView, settings: &Settings, provider: Provider) -> Option<Desired> {
    let name = provider.image_maps().first()?;
    let data: serde_json::Map<String, Value> = peerpods::keys::image(provider)
        .filter(|key| !NOT_SHOWN.contains(&key.name))
        .filter_map(|key| Some((key.name.to_owned(), Value::from(key.default?))))
        .collect();
    let metadata = json!({"name": name, "namespace": settings.namespace, "labels": {names::APP_LABEL: kata_config.name}});
    let object = with_identity(Kind::ConfigMap, metadata, json!({"data": data}));
    Some((own(settings, Kind::ConfigMap, name), owned_by(kata_config, object)))
}
