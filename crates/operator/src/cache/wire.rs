//! The kinds that are watched, as far as they are read: what is not named here is never kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, NodeCondition, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A node without its images, volumes and addresses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Name, labels, annotations.
    pub metadata: ObjectMeta,
    /// Cordoned or not.
    pub spec: NodeSpec,
    /// Ready or not.
    pub status: NodeStatus,
}

/// The part of a node's spec that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Cordoned.
    pub unschedulable: bool,
}

/// The part of a node's status that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Conditions, `Ready` among them.
    pub conditions: Vec<NodeCondition>,
    /// What it has room for.
    pub capacity: BTreeMap<String, String>,
}

/// A pod without nearly everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Namespace and name.
    pub metadata: ObjectMeta,
    /// Runtime class.
    pub spec: PodSpec,
    /// How it fares.
    pub status: PodStatus,
}

/// The part of a pod's status that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: String,
    /// Conditions, `Ready` among them.
    pub conditions: Vec<PodCondition>,
    /// What its containers do.
    pub container_statuses: Vec<ContainerStatus>,
}

/// The part of a pod's spec that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Runtime class.
    pub runtime_class_name: Option<String>,
    /// The node that it is on.
    pub node_name: Option<String>,
}

/// Implements [`kube::Resource`] for a slim reading of a built-in kind.
macro_rules! slim {
    ($kind:ident, $scope:ident, $plural:literal) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = k8s_openapi::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                "".into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
slim!(Node, ClusterResourceScope, "nodes");
slim!(Pod, NamespaceResourceScope, "pods");
