//! `MachineConfigPool`: which nodes get which machine configs, and how far they are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a pool selects and how fast it rolls out.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "machineconfiguration.openshift.io",
    version = "v1",
    kind = "MachineConfigPool",
    shortname = "mcp",
    status = "MachineConfigPoolStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Config","type":"string","jsonPath":".status.configuration.name"}"#,
    printcolumn = r#"{"name":"Updated","type":"string","jsonPath":".status.conditions[?(@.type==\"Updated\")].status"}"#,
    printcolumn = r#"{"name":"Updating","type":"string","jsonPath":".status.conditions[?(@.type==\"Updating\")].status"}"#,
    printcolumn = r#"{"name":"Degraded","type":"string","jsonPath":".status.conditions[?(@.type==\"Degraded\")].status"}"#,
    printcolumn = r#"{"name":"MachineCount","type":"number","jsonPath":".status.machineCount"}"#,
    printcolumn = r#"{"name":"ReadyMachineCount","type":"number","jsonPath":".status.readyMachineCount"}"#,
    printcolumn = r#"{"name":"UpdatedMachineCount","type":"number","jsonPath":".status.updatedMachineCount"}"#,
    printcolumn = r#"{"name":"DegradedMachineCount","type":"number","jsonPath":".status.degradedMachineCount"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct MachineConfigPoolSpec {
    /// Which machine configs make the rendered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_selector: Option<LabelSelector>,
    /// Which nodes belong to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Holds the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How many nodes may be unavailable at a time: a number or a percentage; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// The rendered machine config that the nodes are to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PoolConfiguration>,
}

/// A rendered machine config and what it was rendered from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PoolConfiguration {
    /// Name of the rendered machine config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The machine configs that it was rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<MachineConfigReference>>,
}

/// Names one machine config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigReference {
    /// `machineconfiguration.openshift.io/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `MachineConfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How far a pool is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct MachineConfigPoolStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The rendered machine config that all nodes run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PoolConfiguration>,
    /// Nodes in the pool.
    #[serde(default)]
    pub machine_count: i32,
    /// Nodes that run the target config.
    #[serde(default)]
    pub updated_machine_count: i32,
    /// Nodes that run the target config and are ready.
    #[serde(default)]
    pub ready_machine_count: i32,
    /// Nodes that are not available.
    #[serde(default)]
    pub unavailable_machine_count: i32,
    /// Nodes that are degraded.
    #[serde(default)]
    pub degraded_machine_count: i32,
    /// `Updated`, `Updating`, `Degraded`, `NodeDegraded`, `RenderDegraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<PoolCondition>,
}

/// One condition of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolCondition {
    /// `Updated`, `Updating`, `Degraded`, ...
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// One word, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl MachineConfigPoolStatus {
    /// Whether the condition of that type is `True`.
    pub fn is_true(&self, type_: &str) -> bool {
        self.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    }
}
