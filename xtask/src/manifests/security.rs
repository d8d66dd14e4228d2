//! What is said about security that depends on no KataConfig: see `osc_engine::security`.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use osc_api::names;
use osc_engine::security::{network, node_agent, peer_pods, webhooks};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::operator::POD_LABEL;
use super::typed;

const NAMESPACE: &str = names::OPERATOR_NAMESPACE;

/// Checks that an object is of that type and has no fields but those of the type.
fn checked<T>(mut object: Value) -> anyhow::Result<Value>
where
    T: k8s_openapi::Resource + Serialize + DeserializeOwned,
{
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    typed::<T>(object)
}

/// The ServiceAccount of the node agent, its role and binding.
pub fn node_agent() -> anyhow::Result<Vec<Value>> {
    let [role, binding] = node_agent::roles(NAMESPACE);
    Ok(vec![
        checked::<ServiceAccount>(node_agent::service_account(NAMESPACE))?,
        checked::<ClusterRole>(role)?,
        checked::<ClusterRoleBinding>(binding)?,
    ])
}

/// The ServiceAccounts of peer pods, and the role of their adaptor.
pub fn peer_pods() -> anyhow::Result<Vec<Value>> {
    let [adaptor, image] = peer_pods::service_accounts(NAMESPACE);
    let [role, binding] = peer_pods::roles(NAMESPACE);
    Ok(vec![
        checked::<ServiceAccount>(adaptor)?,
        checked::<ServiceAccount>(image)?,
        checked::<ClusterRole>(role)?,
        checked::<ClusterRoleBinding>(binding)?,
    ])
}

/// The policy that keeps a node agent to its node. For Kubernetes 1.30 and newer.
pub fn own_node() -> anyhow::Result<Vec<Value>> {
    let [policy, binding] = node_agent::own_node(NAMESPACE);
    Ok(vec![
        checked::<ValidatingAdmissionPolicy>(policy)?,
        checked::<ValidatingAdmissionPolicyBinding>(binding)?,
    ])
}

/// Who may talk to whom.
pub fn network() -> anyhow::Result<Vec<Value>> {
    network::policies(NAMESPACE).into_iter().map(checked::<NetworkPolicy>).collect()
}

/// The Service in front of the webhooks, and what the API server is to ask there.
pub fn webhooks() -> anyhow::Result<Vec<Value>> {
    let pods = json!({(POD_LABEL.0): POD_LABEL.1});
    Ok(vec![
        checked::<Service>(webhooks::service(NAMESPACE, &pods))?,
        checked::<ValidatingWebhookConfiguration>(webhooks::validating(NAMESPACE))?,
    ])
}
