//! `KataConfig` (`kataconfiguration.openshift.io/v1`, cluster-scoped): what a person asks for, and how far it is.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use kube::Resource;
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{cluster_resource, names, schema};

/// The request to have Kata on (some of) the worker nodes, and its state. There is one in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KataConfig {
    /// Name, finalizers, deletion timestamp.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked for. `null` and absent are allowed and mean all defaults.
    #[serde(default)]
    pub spec: Option<KataConfigSpec>,
    /// What was observed.
    #[serde(default)]
    pub status: Option<KataConfigStatus>,
}

/// On the wire an object names its version and kind.
impl Serialize for KataConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", &Self::api_version(&()))?;
        map.serialize_entry("kind", &Self::kind(&()))?;
        map.serialize_entry("metadata", &self.metadata)?;
        if let Some(spec) = &self.spec {
            map.serialize_entry("spec", spec)?;
        }
        if let Some(status) = &self.status {
            map.serialize_entry("status", status)?;
        }
        map.end()
    }
}

cluster_resource!(KataConfig, names::KATACONFIG_GROUP, "v1", "kataconfigs");

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KataConfigSpec {
    /// Selects, among the worker nodes, those that get Kata. Absent: all workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kata_config_pool_selector: Option<LabelSelector>,
    /// Installs only on nodes that carry the label feature.node.kubernetes.io/runtime.kata=true.
    #[serde(default)]
    pub check_node_eligibility: bool,
    /// Log level of CRI-O on the Kata nodes: fatal, panic, error, warn, info, debug or trace.
    #[serde(default = "default_log_level")]
    pub log_level: String,
    /// Enables peer pods: pods in virtual machines outside of the node.
    #[serde(default)]
    pub enable_peer_pods: bool,
}

fn default_log_level() -> String {
    names::DEFAULT_LOG_LEVEL.to_owned()
}

impl Default for KataConfigSpec {
    fn default() -> Self {
        Self {
            kata_config_pool_selector: None,
            check_node_eligibility: false,
            log_level: default_log_level(),
            enable_peer_pods: false,
        }
    }
}

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KataConfigStatus {
    /// Names of the runtime classes that exist for this KataConfig, in order of creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_classes: Vec<String>,
    /// The nodes, by how far they are.
    #[serde(default)]
    pub kata_nodes: KataNodesStatus,
    /// `InProgress` (documented vocabulary), `Ready` and `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<StatusCondition>,
    /// The operator changed what machine configs or nodes a pool has and the Machine Config Operator has not
    /// taken notice yet.
    #[serde(default)]
    pub waiting_for_mco_to_start: bool,
    /// How Kata comes to the nodes: `MachineConfig` or `DaemonSet`. Chosen by the first installation; it stays until
    /// the KataConfig is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_mode: Option<DeploymentMode>,
}

/// How Kata comes to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeploymentMode {
    /// By machine configs, which the Machine Config Operator rolls out.
    MachineConfig,
    /// By an agent on every node.
    DaemonSet,
}

impl DeploymentMode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineConfig => "MachineConfig",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// The nodes, by how far they are. Lists hold node names, sorted, and are absent when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KataNodesStatus {
    /// Number of nodes that have Kata or are to have it.
    #[serde(default)]
    pub node_count: i64,
    /// Number of nodes on which Kata can be used.
    #[serde(default)]
    pub ready_node_count: i64,
    /// Nodes that have Kata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installed: Vec<String>,
    /// Nodes that are being changed to have Kata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installing: Vec<String>,
    /// Nodes whose turn to get Kata is yet to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_to_install: Vec<String>,
    /// Nodes that failed to get Kata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_to_install: Vec<String>,
    /// Nodes that are being changed to no longer have Kata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uninstalling: Vec<String>,
    /// Nodes whose turn to lose Kata is yet to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_to_uninstall: Vec<String>,
    /// Nodes that failed to lose Kata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_to_uninstall: Vec<String>,
}

/// One condition. Unlike Kubernetes' own type, an empty `reason` is allowed: the documentation shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// `InProgress`, `Ready` or `Degraded`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When this condition last changed.
    pub last_transition_time: Time,
    /// One CamelCase word, or empty.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl KataConfigStatus {
    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&StatusCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

/// The CustomResourceDefinition of KataConfig.
pub fn crd() -> CustomResourceDefinition {
    CustomResourceDefinition {
        metadata: ObjectMeta { name: Some(names::KATACONFIG_CRD.to_owned()), ..ObjectMeta::default() },
        spec: CustomResourceDefinitionSpec {
            group: names::KATACONFIG_GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: "KataConfig".to_owned(),
                list_kind: Some("KataConfigList".to_owned()),
                plural: "kataconfigs".to_owned(),
                singular: Some("kataconfig".to_owned()),
                ..CustomResourceDefinitionNames::default()
            },
            scope: "Cluster".to_owned(),
            versions: vec![CustomResourceDefinitionVersion {
                name: "v1".to_owned(),
                served: true,
                storage: true,
                additional_printer_columns: Some(print_columns()),
                schema: Some(CustomResourceValidation { open_api_v3_schema: Some(root_schema()) }),
                subresources: Some(CustomResourceSubresources {
                    status: Some(CustomResourceSubresourceStatus(serde_json::json!({}))),
                    scale: None,
                }),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn print_columns() -> Vec<CustomResourceColumnDefinition> {
    let column = |name: &str, type_: &str, path: &str, description: &str| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: path.to_owned(),
        description: Some(description.to_owned()),
        ..CustomResourceColumnDefinition::default()
    };
    vec![
        column(
            "InProgress",
            "string",
            ".status.conditions[?(@.type=='InProgress')].status",
            "Whether nodes are being changed",
        ),
        column("Completed", "integer", ".status.kataNodes.readyNodeCount", "Nodes on which Kata can be used"),
        column("Total", "integer", ".status.kataNodes.nodeCount", "Nodes that have or are to have Kata"),
        column("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
    ]
}

fn root_schema() -> JSONSchemaProps {
    let text = |description: &str| JSONSchemaProps {
        type_: Some("string".to_owned()),
        description: Some(description.to_owned()),
        ..JSONSchemaProps::default()
    };
    let mut spec = schema::structural::<KataConfigSpec>();
    spec.nullable = Some(true);
    // Defaulted, and required after defaulting: readers may rely on it.
    spec.required = Some(vec!["checkNodeEligibility".to_owned()]);
    let mut status = schema::structural::<KataConfigStatus>();
    status.required = None;
    JSONSchemaProps {
        type_: Some("object".to_owned()),
        description: Some(
            "The request to have Kata on (some of) the worker nodes, and its state.".to_owned(),
        ),
        properties: Some(
            [
                ("apiVersion".to_owned(), text("Group and version of this object's schema.")),
                ("kind".to_owned(), text("The kind of this object.")),
                (
                    "metadata".to_owned(),
                    JSONSchemaProps { type_: Some("object".to_owned()), ..JSONSchemaProps::default() },
                ),
                ("spec".to_owned(), spec),
                ("status".to_owned(), status),
            ]
            .into(),
        ),
        ..JSONSchemaProps::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_spec_is_read_and_means_all_defaults() {
        let parsed: KataConfig = serde_json::from_value(serde_json::json!({
            "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
            "metadata": {"name": "k"}, "spec": null
        }))
        .unwrap();
        let spec = parsed.spec.unwrap_or_default();
        assert_eq!((spec.log_level.as_str(), spec.check_node_eligibility), ("info", false));
        assert!(!spec.enable_peer_pods && spec.kata_config_pool_selector.is_none());
    }

    #[test]
    fn an_object_names_its_version_and_kind() {
        let written = serde_json::to_value(KataConfig::default()).unwrap();
        let expected = serde_json::json!({
            "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "metadata": {}
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn the_definition_is_the_documented_interface() {
        insta::assert_yaml_snapshot!(crd());
    }
}
