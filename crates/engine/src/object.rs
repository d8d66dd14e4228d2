//! Names of API objects, and the comparison that decides whether one needs to be written.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The kinds that the engine reads or writes as whole objects, or names in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// Ours.
    KataConfig,
    /// `machineconfiguration.openshift.io/v1`.
    MachineConfig,
    /// `machineconfiguration.openshift.io/v1`.
    MachineConfigPool,
    /// `machineconfiguration.openshift.io/v1`.
    ContainerRuntimeConfig,
    /// `node.k8s.io/v1`.
    RuntimeClass,
    /// `security.openshift.io/v1`.
    SecurityContextConstraints,
    /// `apps/v1`.
    DaemonSet,
    /// `v1`.
    ConfigMap,
    /// `v1`.
    Namespace,
    /// `v1`.
    Node,
    /// `config.openshift.io/v1`.
    ClusterVersion,
    /// `config.openshift.io/v1`.
    Infrastructure,
    /// `config.openshift.io/v1`: of the cluster's own, its TLS profile is read.
    ApiServer,
    /// `v1`. What is in one is never seen here: a digest of each key's value stands for it.
    Secret,
    /// `v1`.
    Service,
    /// `apps/v1`.
    Deployment,
    /// `batch/v1`.
    Job,
    /// `admissionregistration.k8s.io/v1`.
    MutatingWebhookConfiguration,
    /// `cloudcredential.openshift.io/v1`.
    CredentialsRequest,
    /// Ours: `confidentialcontainers.org/v1alpha1`.
    PeerPodConfig,
    /// Ours: `confidentialcontainers.org/v1alpha1`.
    PeerPod,
}

impl Kind {
    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::KataConfig => "kataconfiguration.openshift.io",
            Self::MachineConfig | Self::MachineConfigPool | Self::ContainerRuntimeConfig => {
                "machineconfiguration.openshift.io"
            }
            Self::RuntimeClass => "node.k8s.io",
            Self::SecurityContextConstraints => "security.openshift.io",
            Self::DaemonSet | Self::Deployment => "apps",
            Self::Job => "batch",
            Self::ConfigMap | Self::Namespace | Self::Node | Self::Secret | Self::Service => "",
            Self::ClusterVersion | Self::Infrastructure | Self::ApiServer => "config.openshift.io",
            Self::MutatingWebhookConfiguration => "admissionregistration.k8s.io",
            Self::CredentialsRequest => "cloudcredential.openshift.io",
            Self::PeerPodConfig | Self::PeerPod => "confidentialcontainers.org",
        }
    }

    /// The API version within the group.
    pub fn version(self) -> &'static str {
        match self {
            Self::PeerPodConfig | Self::PeerPod => "v1alpha1",
            _ => "v1",
        }
    }

    /// `group/version`, or `version` for the core group.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KataConfig => "KataConfig",
            Self::MachineConfig => "MachineConfig",
            Self::MachineConfigPool => "MachineConfigPool",
            Self::ContainerRuntimeConfig => "ContainerRuntimeConfig",
            Self::RuntimeClass => "RuntimeClass",
            Self::SecurityContextConstraints => "SecurityContextConstraints",
            Self::DaemonSet => "DaemonSet",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::ClusterVersion => "ClusterVersion",
            Self::Infrastructure => "Infrastructure",
            Self::ApiServer => "APIServer",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::MutatingWebhookConfiguration => "MutatingWebhookConfiguration",
            Self::CredentialsRequest => "CredentialsRequest",
            Self::PeerPodConfig => "PeerPodConfig",
            Self::PeerPod => "PeerPod",
        }
    }

    /// The resource name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::KataConfig => "kataconfigs",
            Self::MachineConfig => "machineconfigs",
            Self::MachineConfigPool => "machineconfigpools",
            Self::ContainerRuntimeConfig => "containerruntimeconfigs",
            Self::RuntimeClass => "runtimeclasses",
            Self::SecurityContextConstraints => "securitycontextconstraints",
            Self::DaemonSet => "daemonsets",
            Self::ConfigMap => "configmaps",
            Self::Namespace => "namespaces",
            Self::Node => "nodes",
            Self::ClusterVersion => "clusterversions",
            Self::Infrastructure => "infrastructures",
            Self::ApiServer => "apiservers",
            Self::Secret => "secrets",
            Self::Service => "services",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
            Self::MutatingWebhookConfiguration => "mutatingwebhookconfigurations",
            Self::CredentialsRequest => "credentialsrequests",
            Self::PeerPodConfig => "peerpodconfigs",
            Self::PeerPod => "peerpods",
        }
    }
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, if the kind has namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    /// An object of a cluster-scoped kind.
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Self { kind, namespace: None, name: name.to_owned() }
    }

    /// An object in a namespace.
    pub fn namespaced(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(f, "{} {}", self.kind.name(), self.name),
        }
    }
}

/// The finalizers of an object.
pub fn finalizers_of(object: &Value) -> Vec<String> {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().filter_map(|finalizer| finalizer.as_str().map(str::to_owned)).collect()
}

/// The version of an object.
pub fn version_of(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// Whether the deletion of an object was requested.
pub fn is_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The conditions of an object that have this status.
pub fn conditions<'a>(object: &'a Value, status: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.filter(move |one| one["status"] == status)
}

/// A time as the API server writes it.
pub fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

/// Whether everything that `desired` says already holds in `observed`.
///
/// What `desired` does not mention is not ours: fields that the server defaulted, and what other people and software added.
/// For lists, that is as server-side apply has it: see `merge_of`. An element that an older release of ours applied
/// and that this one no longer wants is not noticed here; the apply that any other difference causes takes it away, and
/// each release differs at least in its image.
pub fn holds(desired: &Value, observed: &Value) -> bool {
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => {
            desired.iter().all(|(key, value)| match (value, observed.get(key)) {
                (Value::Array(value), Some(Value::Array(found))) => list_holds(merge_of(key), value, found),
                (value, Some(found)) => holds(value, found),
                (value, None) => is_empty(value),
            })
        }
        (Value::Array(desired), Value::Array(observed)) => list_holds(Merge::Whole, desired, observed),
        (desired, observed) => desired == observed,
    }
}

/// How server-side apply merges a list.
#[derive(Clone, Copy)]
enum Merge {
    /// Elements are told apart by these fields, with the server's default for one that is absent; others may be added.
    ByKey(&'static [(&'static str, &'static str)]),
    /// Values that are each there or not; others may be added.
    Set,
    /// It has one owner, as a whole.
    Whole,
}

/// By the list's name: among the kinds that we write no name has two meanings, but for the `volumes` of a
/// SecurityContextConstraints, which are plain words and one list.
fn merge_of(list: &str) -> Merge {
    match list {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => {
            Merge::ByKey(&[("name", "")])
        }
        "volumeMounts" => Merge::ByKey(&[("mountPath", "")]),
        "volumeDevices" => Merge::ByKey(&[("devicePath", "")]),
        "ports" => Merge::ByKey(&[("containerPort", ""), ("protocol", "TCP")]),
        "ownerReferences" => Merge::ByKey(&[("uid", "")]),
        "conditions" => Merge::ByKey(&[("type", "")]),
        "finalizers" => Merge::Set,
        _ => Merge::Whole,
    }
}

fn list_holds(merge: Merge, desired: &[Value], observed: &[Value]) -> bool {
    match merge {
        Merge::ByKey(keys) if desired.iter().all(Value::is_object) => desired.iter().all(|wanted| {
            let same = |found: &&Value| keys.iter().all(|key| key_of(wanted, *key) == key_of(found, *key));
            observed.iter().find(same).is_some_and(|found| holds(wanted, found))
        }),
        Merge::Set => desired.iter().all(|wanted| observed.contains(wanted)),
        Merge::ByKey(_) | Merge::Whole => {
            desired.len() == observed.len()
                && desired.iter().zip(observed).all(|(wanted, found)| holds(wanted, found))
        }
    }
}

fn key_of(element: &Value, (field, default): (&str, &str)) -> Value {
    match &element[field] {
        Value::Null => Value::from(default),
        value => value.clone(),
    }
}

/// The API server drops empty maps and lists of optional fields, so that their absence says the same.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::same(json!({"a": 1}), json!({"a": 1}), true)]
    #[case::more_observed(json!({"a": 1}), json!({"a": 1, "b": 2}), true)]
    #[case::less_observed(json!({"a": 1, "b": 2}), json!({"a": 1}), false)]
    #[case::other_value(json!({"a": 1}), json!({"a": 2}), false)]
    #[case::defaulted_in_list(json!([{"n": "x"}]), json!([{"n": "x", "d": true}]), true)]
    #[case::longer_list(json!([1]), json!([1, 2]), false)]
    #[case::empty_dropped_by_server(json!({"a": {}, "b": []}), json!({}), true)]
    #[case::kind_of_value(json!({"a": {}}), json!({"a": "x"}), false)]
    #[case::injected_volume(
        json!({"volumes": [{"name": "ours", "hostPath": {"path": "/a"}}]}),
        json!({"volumes": [{"name": "theirs"}, {"name": "ours", "hostPath": {"path": "/a", "type": ""}}]}),
        true
    )]
    #[case::our_volume_changed(
        json!({"volumes": [{"name": "ours", "hostPath": {"path": "/a"}}]}),
        json!({"volumes": [{"name": "ours", "hostPath": {"path": "/b"}}]}),
        false
    )]
    #[case::our_volume_replaced(json!({"volumes": [{"name": "ours"}]}), json!({"volumes": [{"name": "theirs"}]}), false)]
    #[case::injected_mount(
        json!({"volumeMounts": [{"mountPath": "/a", "name": "ours"}]}),
        json!({"volumeMounts": [{"mountPath": "/a", "name": "ours"}, {"mountPath": "/b", "name": "ours"}]}),
        true
    )]
    #[case::mount_of_another_volume(
        json!({"volumeMounts": [{"mountPath": "/a", "name": "ours"}]}),
        json!({"volumeMounts": [{"mountPath": "/a", "name": "theirs"}]}),
        false
    )]
    #[case::default_protocol(
        json!({"ports": [{"containerPort": 1, "name": "m"}]}),
        json!({"ports": [{"containerPort": 1, "protocol": "UDP"}, {"containerPort": 1, "protocol": "TCP", "name": "m"}]}),
        true
    )]
    #[case::other_protocol(
        json!({"ports": [{"containerPort": 1}]}),
        json!({"ports": [{"containerPort": 1, "protocol": "UDP"}]}),
        false
    )]
    #[case::added_owner(
        json!({"ownerReferences": [{"uid": "a", "controller": true}]}),
        json!({"ownerReferences": [{"uid": "b"}, {"uid": "a", "controller": true}]}),
        true
    )]
    #[case::finalizer_set(json!({"finalizers": ["ours"]}), json!({"finalizers": ["theirs", "ours"]}), true)]
    #[case::finalizer_missing(json!({"finalizers": ["ours"]}), json!({"finalizers": ["theirs"]}), false)]
    #[case::tolerations_are_one(json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": [{"key": "a"}, {"key": "b"}]}), false)]
    #[case::words_are_one(json!({"volumes": ["*"]}), json!({"volumes": ["*", "hostPath"]}), false)]
    fn holds_compares_what_is_desired(
        #[case] desired: Value,
        #[case] observed: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(holds(&desired, &observed), expected);
    }
}
