//! `PeerPodConfig` and `PeerPod` (`confidentialcontainers.org/v1alpha1`).

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many pod VMs a node may have, as the documentation has people change it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "confidentialcontainers.org",
    version = "v1alpha1",
    kind = "PeerPodConfig",
    plural = "peerpodconfigs",
    namespaced,
    status = "PeerPodConfigStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct PeerPodConfigSpec {
    /// Secret with the credentials.
    #[serde(default = "credentials")]
    pub cloud_secret_name: String,
    /// Config map with the settings.
    #[serde(default = "settings")]
    pub config_map_name: String,
    /// Not used; kept for objects of older releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Pod VMs of one node, a decimal number. The same as PEERPODS_LIMIT_PER_NODE of the config map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The nodes that may have pod VMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
}

fn credentials() -> String {
    super::CREDENTIALS.to_owned()
}

fn settings() -> String {
    super::SETTINGS.to_owned()
}

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerPodConfigStatus {
    /// Whether the adaptor runs on all nodes.
    #[serde(default)]
    pub setup_completed: bool,
}

/// One pod VM: what has to be deleted when its pod is gone.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "confidentialcontainers.org",
    version = "v1alpha1",
    kind = "PeerPod",
    plural = "peerpods",
    namespaced,
    status = "PeerPodStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct PeerPodSpec {
    /// `aws`, `azure`, `gcp` or `libvirt`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cloud_provider: String,
    /// The virtual machine's identifier, as its provider has it.
    #[serde(default, rename = "instanceID", skip_serializing_if = "String::is_empty")]
    pub instance_id: String,
}

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerPodStatus {
    /// Whether the virtual machine is gone. The name is an interface, spelling included.
    #[serde(default)]
    pub cleand: bool,
}

/// Both definitions.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![PeerPodConfig::crd(), PeerPod::crd()]
}
