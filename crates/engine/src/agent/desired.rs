//! The objects of DaemonSet mode, as they should be.

use osc_api::names;
use serde_json::{Value, json};

use super::config::AgentConfig;
use crate::desired::{Desired, owned_by, with_identity};
use crate::object::{Kind, ObjectId};
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::{Step, Translation};
use crate::security::node_agent;

/// What an agent is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Bringing Kata, and keeping it up to date.
    Install,
    /// Removing it.
    Uninstall,
}

impl Task {
    fn verb(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Uninstall => "uninstall",
        }
    }

    /// Name of the DaemonSet.
    pub fn daemon_set(self) -> &'static str {
        match self {
            Self::Install => names::INSTALL_DAEMON_SET,
            Self::Uninstall => names::UNINSTALL_DAEMON_SET,
        }
    }

    /// How steps name it.
    pub fn id(self, settings: &Settings) -> ObjectId {
        ObjectId::namespaced(Kind::DaemonSet, &settings.namespace, self.daemon_set())
    }
}

/// States of nodes on which something is to be removed, or was a moment ago.
const TO_REMOVE: [&str; 4] =
    ["waiting_to_uninstall", "uninstalling", "waiting_for_reboot", "uninstall_failed"];

/// The DaemonSet of the agents.
pub fn daemon_set(
    kata_config: &KataConfigView,
    settings: &Settings,
    task: Task,
    config: &AgentConfig,
    log_level: &str,
    openshift: bool,
) -> Desired {
    let labels = json!({"name": task.daemon_set()});
    let mut pod = json!({
        "serviceAccountName": names::AGENT_SERVICE_ACCOUNT,
        "automountServiceAccountToken": true,
        "hostPID": true,
        "containers": [container(task, config, log_level, openshift)],
        "volumes": volumes(openshift),
    });
    match task {
        Task::Install => pod["nodeSelector"] = json!({names::KATA_NODE_ROLE: ""}),
        Task::Uninstall => pod["affinity"] = affinity(),
    }
    let spec = json!({
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    });
    let metadata = json!({
        "name": task.daemon_set(),
        "namespace": settings.namespace,
        "labels": {"name": task.daemon_set(), names::APP_LABEL: kata_config.name},
    });
    let object = with_identity(Kind::DaemonSet, metadata, json!({"spec": spec}));
    (task.id(settings), owned_by(kata_config, object))
}

/// A node selector can name one value only.
fn affinity() -> Value {
    let term = json!({"matchExpressions": [
        {"key": names::DAEMON_SET_MODE_LABEL, "operator": "In", "values": TO_REMOVE},
        {"key": names::KATA_NODE_ROLE, "operator": "DoesNotExist"},
    ]});
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})
}

fn container(task: Task, config: &AgentConfig, log_level: &str, openshift: bool) -> Value {
    let mount = |name: &str, path: &str, read_only: bool| {
        let mut mount = json!({"name": name, "mountPath": path});
        if read_only {
            mount["readOnly"] = json!(true);
        }
        mount
    };
    let mut host = mount("host", "/host", false);
    // File systems that the node mounts later are seen, too.
    host["mountPropagation"] = json!("HostToContainer");
    let mut mounts = vec![host];
    if openshift {
        mounts.push(mount("regauth", "/tmp/regauth", true));
        for (name, path) in REGISTRY_FILES {
            let inside = if name == "kubelet-auth" { "/root/.config/containers/auth.json" } else { path };
            mounts.push(mount(name, inside, true));
        }
    }
    json!({
        "name": names::AGENT_SERVICE_ACCOUNT,
        "image": config.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/osc-node", task.verb()],
        "env": env(config, log_level),
        "securityContext": {"privileged": true, "runAsUser": 0},
        "volumeMounts": mounts,
    })
}

/// What the container may be told by its environment, beside its node's name.
const VARIABLES: [&str; 10] = [
    "NODE_LABEL",
    "HOST_ROOT",
    "LOG_LEVEL",
    "CLOUD_PROVIDER",
    "EXTENSION_IMAGE",
    "CLI_IMAGE",
    "ADDON_IMAGE",
    "ADDON_KERNEL_PATH",
    "KATA_BUNDLE",
    "KATA_BUNDLE_DIGEST",
];

fn env(config: &AgentConfig, log_level: &str) -> Vec<Value> {
    let values: [&str; 10] = [
        names::DAEMON_SET_MODE_LABEL,
        "/host",
        log_level,
        &config.cloud_provider,
        &config.extension_image,
        &config.cli_image,
        &config.addon_image,
        &config.addon_kernel_path,
        &config.bundle,
        &config.bundle_digest,
    ];
    let node = json!({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}});
    let told = VARIABLES.into_iter().zip(values).filter(|(_, value)| !value.is_empty());
    std::iter::once(node).chain(told.map(|(name, value)| json!({"name": name, "value": value}))).collect()
}

/// The node's own settings for pulling images: the agent pulls as the node does.
const REGISTRY_FILES: [(&str, &str); 4] = [
    ("registries-conf", "/etc/containers/registries.conf"),
    ("registries-conf-d", "/etc/containers/registries.conf.d"),
    ("policy", "/etc/containers/policy.json"),
    ("kubelet-auth", "/var/lib/kubelet/config.json"),
];

fn volumes(openshift: bool) -> Vec<Value> {
    let host = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path, "type": ""}});
    let mut volumes = vec![host("host", "/")];
    if openshift {
        let secret = json!({"secretName": names::AUTH_SECRET, "defaultMode": 0o600, "optional": true});
        volumes.push(json!({"name": "regauth", "secret": secret}));
        volumes.extend(REGISTRY_FILES.map(|(name, path)| host(name, path)));
    }
    volumes
}

/// Whether a DaemonSet tells its agents something that we no longer say. What others added is not looked at.
pub fn says_too_much(wanted: &Value, found: &Value) -> bool {
    let env = "/spec/template/spec/containers/0/env";
    let names_in = |object: &Value| -> Vec<String> {
        let list = object.pointer(env).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|variable| variable["name"].as_str().map(str::to_owned)).collect()
    };
    let wanted = names_in(wanted);
    names_in(found).iter().any(|name| VARIABLES.contains(&name.as_str()) && !wanted.contains(name))
}

/// Whether a DaemonSet is that of the Go operator: an apply would leave its arguments and its second container there.
pub fn is_of_another_operator(wanted: &Value, found: &Value) -> bool {
    let first = "/spec/template/spec/containers/0/command";
    let container = found["spec"]["template"]["spec"]["containers"].as_array();
    let ours = |one: &Value| {
        one["name"] == names::AGENT_SERVICE_ACCOUNT && wanted.pointer(first) == Some(&one["command"])
    };
    container.is_some_and(|all| !all.is_empty() && !all.iter().any(ours))
}

/// What the agents' pods may do on OpenShift: the host is what they work on.
pub fn scc(kata_config: &KataConfigView, settings: &Settings) -> Desired {
    let mut object = node_agent::scc(&settings.namespace);
    object["metadata"]["labels"] = json!({names::APP_LABEL: kata_config.name});
    (scc_id(), owned_by(kata_config, object))
}

/// How steps name it.
pub fn scc_id() -> ObjectId {
    ObjectId::cluster(Kind::SecurityContextConstraints, names::AGENT_SCC)
}

/// The copy of the pull secret, if it is not one yet.
pub fn pull_secret(observed: &Observed, kata_config: &KataConfigView, settings: &Settings) -> Option<Step> {
    let from = ObjectId::namespaced(Kind::Secret, names::PULL_SECRET_NAMESPACE, names::PULL_SECRET);
    let id = ObjectId::namespaced(Kind::Secret, &settings.namespace, names::AUTH_SECRET);
    let digest = |id: &ObjectId, key: &str| {
        let found = observed.objects.get(id)?;
        found["digests"][key].as_str().map(str::to_owned)
    };
    let source = digest(&from, names::PULL_SECRET_KEY)?;
    if digest(&id, names::AUTH_SECRET_KEY) == Some(source) {
        return None;
    }
    let metadata = json!({
        "name": names::AUTH_SECRET,
        "namespace": settings.namespace,
        "labels": {names::APP_LABEL: kata_config.name},
    });
    let object = with_identity(Kind::Secret, metadata, json!({"type": "Opaque"}));
    Some(Step::CopySecret {
        id,
        object: owned_by(kata_config, object),
        from,
        translation: Translation::Key { from: names::PULL_SECRET_KEY, to: names::AUTH_SECRET_KEY },
    })
}
