//! `Infrastructure`: what the cluster stands on.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for. Nothing in it is read by us.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "config.openshift.io",
    version = "v1",
    kind = "Infrastructure",
    status = "InfrastructureStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InfrastructureSpec {}

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InfrastructureStatus {
    /// `AWS`, `Azure`, `GCP`, `None`, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// `HighlyAvailable`, `SingleReplica` or `External`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub control_plane_topology: String,
    /// Name of the cluster's infrastructure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub infrastructure_name: String,
}
