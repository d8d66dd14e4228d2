//! What of a cluster a plan needs, kind by kind. What is not listed here is never read: no Secret, no ConfigMap but
//! our own two.

use kube::api::{ApiResource, GroupVersionKind};
use osc_api::names;

/// One kind that is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind.
    pub name: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Which objects of it.
    pub objects: Objects,
    /// What a plan cannot say without it.
    pub without: &'static str,
}

/// Which objects of a kind are read.
#[derive(Debug, PartialEq, Eq)]
pub enum Objects {
    /// All of them.
    All,
    /// These: namespace (empty for a cluster-scoped kind) and name.
    Named(&'static [(&'static str, &'static str)]),
}

const MCO: &str = "machineconfiguration.openshift.io";
const KUBEVIRT: &str = "kubevirt.io";

/// Every kind that is read, nodes first.
pub const KINDS: &[Kind] = &[
    all("", "v1", "Node", "nodes", "nothing can be said about the cluster"),
    all("", "v1", "Pod", "pods", "nothing is known of pods that hold up a drain, use Kata, or take up room"),
    all(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "no budget is seen that holds up a drain",
    ),
    all("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "no runtime class is seen that is in the way"),
    all(
        names::KATACONFIG_GROUP,
        "v1",
        "KataConfig",
        "kataconfigs",
        "the cluster is taken for one without Kata",
    ),
    all(MCO, "v1", "MachineConfigPool", "machineconfigpools", "no rollout can be planned"),
    all(MCO, "v1", "MachineConfig", "machineconfigs", "whether a pool changes can only be guessed"),
    all(MCO, "v1", "ContainerRuntimeConfig", "containerruntimeconfigs", "the present log level is not known"),
    all("config.openshift.io", "v1", "ClusterVersion", "clusterversions", "the release is not known"),
    all("config.openshift.io", "v1", "Infrastructure", "infrastructures", "the platform is not known"),
    all(
        KUBEVIRT,
        "v1",
        "VirtualMachineInstance",
        "virtualmachineinstances",
        "no virtual machine is seen that cannot be moved",
    ),
    named(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &[
            ("", names::KATACONFIG_CRD),
            ("", "machineconfigs.machineconfiguration.openshift.io"),
            ("", "machineconfigpools.machineconfiguration.openshift.io"),
            ("", "containerruntimeconfigs.machineconfiguration.openshift.io"),
            ("", SCC_DEFINITION),
            ("", "clusterversions.config.openshift.io"),
            ("", "infrastructures.config.openshift.io"),
            ("", "virtualmachineinstances.kubevirt.io"),
        ],
        "which APIs the cluster serves is told by their objects alone",
    ),
    named(
        "",
        "Namespace",
        "namespaces",
        &[("", names::OPERATOR_NAMESPACE), ("", names::DASHBOARD_NAMESPACE)],
        "whether the operator is installed is not known",
    ),
    named(
        "",
        "ConfigMap",
        "configmaps",
        &[
            (names::OPERATOR_NAMESPACE, names::DASHBOARD_CONFIG_MAP),
            (names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP),
            (names::OPERATOR_NAMESPACE, names::FEATURE_GATES),
            (names::OPERATOR_NAMESPACE, names::LAYERED_IMAGE_CONFIG_MAP),
            (names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP),
            (names::MCO_NAMESPACE, names::OS_IMAGES_CONFIG_MAP),
        ],
        "nothing is said about the dashboard, and the feature gates are taken for absent",
    ),
    named(
        "apps",
        "DaemonSet",
        "daemonsets",
        &[
            (names::OPERATOR_NAMESPACE, names::MONITOR),
            (names::OPERATOR_NAMESPACE, names::DAEMON_SET_MODE_DAEMON_SETS[0]),
            (names::OPERATOR_NAMESPACE, names::DAEMON_SET_MODE_DAEMON_SETS[1]),
        ],
        "kata-monitor is taken for missing, and a node agent for absent",
    ),
    named(
        "security.openshift.io",
        "SecurityContextConstraints",
        "securitycontextconstraints",
        &[("", names::MONITOR_SCC)],
        "the SecurityContextConstraints of kata-monitor are taken for missing",
    ),
];

/// Groups of kinds that every API server serves.
const BUILT_IN: [&str; 4] = ["", "apps", "node.k8s.io", "policy"];

/// Definition of SecurityContextConstraints.
pub const SCC_DEFINITION: &str = "securitycontextconstraints.security.openshift.io";

const fn all(
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    without: &'static str,
) -> Kind {
    Kind { group, version, name, plural, objects: Objects::All, without }
}

const fn named(
    group: &'static str,
    name: &'static str,
    plural: &'static str,
    objects: &'static [(&'static str, &'static str)],
    without: &'static str,
) -> Kind {
    Kind { group, version: "v1", name, plural, objects: Objects::Named(objects), without }
}

impl Kind {
    /// `v1`, `apps/v1`, ...
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `nodes`, `daemonsets.apps`, ...: as a CustomResourceDefinition would be named, and as `oc auth can-i` takes it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether every cluster has this kind.
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.contains(&self.group)
    }

    /// For the client library.
    pub fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The kind of an object, whatever the version.
    pub fn of(api_version: &str, name: &str) -> Option<&'static Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        KINDS.iter().find(|kind| kind.group == group && kind.name == name)
    }

    /// The kind with that group (`core` as in must-gather counts as empty) and plural.
    pub fn of_folder(group: &str, plural: &str) -> Option<&'static Self> {
        let group = if group == "core" { "" } else { group };
        KINDS.iter().find(|kind| kind.group == group && kind.plural == plural)
    }

    /// The group as must-gather names its folder.
    pub fn folder(&self) -> &'static str {
        if self.group.is_empty() { "core" } else { self.group }
    }

    /// Whether this object is one of those that are read.
    pub fn wants(&self, namespace: &str, name: &str) -> bool {
        match self.objects {
            Objects::All => true,
            Objects::Named(objects) => objects.contains(&(namespace, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_what_objects_and_folders_say() {
        assert_eq!(Kind::of("v1", "Pod").unwrap().resource(), "pods");
        assert_eq!(
            Kind::of("kubevirt.io/v1alpha3", "VirtualMachineInstance").unwrap().api_version(),
            "kubevirt.io/v1"
        );
        assert_eq!(Kind::of_folder("core", "nodes").unwrap().folder(), "core");
        assert_eq!(Kind::of_folder("apps", "daemonsets").unwrap().resource(), "daemonsets.apps");
        assert!(Kind::of("v1", "Secret").is_none() && Kind::of_folder("core", "secrets").is_none());
    }

    #[test]
    fn of_config_maps_only_ours_are_wanted() {
        let kind = Kind::of("v1", "ConfigMap").unwrap();
        assert!(kind.wants(names::OPERATOR_NAMESPACE, names::DASHBOARD_CONFIG_MAP));
        assert!(
            !kind.wants("shop", names::DASHBOARD_CONFIG_MAP)
                && !kind.wants(names::OPERATOR_NAMESPACE, "other")
        );
    }
}
