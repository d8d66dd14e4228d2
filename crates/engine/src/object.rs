//! Names of API objects, and the comparison that decides whether one needs to be written.

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
            Self::DaemonSet => "apps",
            Self::ConfigMap | Self::Namespace | Self::Node => "",
            Self::ClusterVersion => "config.openshift.io",
        }
    }

    /// The API version within the group: all of them are `v1`.
    pub fn version(self) -> &'static str {
        "v1"
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

/// Whether everything that `desired` says already holds in `observed`.
///
/// What `desired` does not mention is not ours: fields that the server defaulted or a person added do not count.
/// Lists must have the same length and match element by element.
pub fn holds(desired: &Value, observed: &Value) -> bool {
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => {
            desired.iter().all(|(key, value)| match observed.get(key) {
                Some(found) => holds(value, found),
                None => is_empty(value),
            })
        }
        (Value::Array(desired), Value::Array(observed)) => {
            desired.len() == observed.len() && desired.iter().zip(observed).all(|(d, o)| holds(d, o))
        }
        (desired, observed) => desired == observed,
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
    fn holds_compares_what_is_desired(
        #[case] desired: Value,
        #[case] observed: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(holds(&desired, &observed), expected);
    }
}
