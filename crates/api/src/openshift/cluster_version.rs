//! `ClusterVersion`: the release that the cluster runs.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for. Nothing in it is read by us.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "config.openshift.io",
    version = "v1",
    kind = "ClusterVersion",
    status = "ClusterVersionStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.history[?(@.state==\"Completed\")].version"}"#,
    printcolumn = r#"{"name":"Available","type":"string","jsonPath":".status.conditions[?(@.type==\"Available\")].status"}"#,
    printcolumn = r#"{"name":"Progressing","type":"string","jsonPath":".status.conditions[?(@.type==\"Progressing\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ClusterVersionSpec {
    /// Identity of the cluster.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ClusterVersionStatus {
    /// The release that the cluster is to run.
    #[serde(default)]
    pub desired: Release,
    /// The releases so far, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UpdateHistory>,
}

/// One release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Release {
    /// Semantic version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Image of the release payload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

/// One step in the history of releases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct UpdateHistory {
    /// `Completed` or `Partial`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Semantic version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Image of the release payload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}
