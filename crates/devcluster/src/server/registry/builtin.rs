//! The table of built-in kinds.

use std::sync::Arc;

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use schemars::{Schema, SchemaGenerator};

use super::{ALL_VERBS, Resource, collection_name};
use crate::object::topology::Topology;

/// Adds a kind's schema to a generator and returns a reference to it.
pub type Generate = fn(&mut SchemaGenerator) -> Schema;

const CREATE_ONLY: &[&str] = &["create"];
const NO_DELETE_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

/// What sets a kind apart from the plainest one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trait {
    /// Objects live in namespaces.
    Namespaced,
    /// There is a status subresource.
    Status,
    /// `metadata.generation` counts changes of the specification.
    Generation,
    /// Member of the category `all`.
    All,
    /// Nothing is stored; a POST is answered.
    CreateOnly,
}

use Trait::{All, CreateOnly, Generation, Namespaced, Status};

struct Row {
    api: (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    traits: &'static [Trait],
    generate: Generate,
}

macro_rules! row {
    ($group:literal / $version:literal, $plural:literal, $kind:literal, $short:expr, $traits:expr, $type:ty) => {
        Row {
            api: ($group, $version),
            plural: $plural,
            kind: $kind,
            short: &$short,
            traits: &$traits,
            generate: |generator| generator.subschema_for::<$type>(),
        }
    };
}

/// Everything the server knows without a CustomResourceDefinition.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row!("" / "v1", "bindings", "Binding", [], [Namespaced, CreateOnly], api::core::v1::Binding),
    row!("" / "v1", "configmaps", "ConfigMap", ["cm"], [Namespaced], api::core::v1::ConfigMap),
    row!("" / "v1", "endpoints", "Endpoints", ["ep"], [Namespaced], api::core::v1::Endpoints),
    row!("" / "v1", "events", "Event", ["ev"], [Namespaced], api::core::v1::Event),
    row!("" / "v1", "namespaces", "Namespace", ["ns"], [Status], api::core::v1::Namespace),
    row!("" / "v1", "nodes", "Node", ["no"], [Status], api::core::v1::Node),
    row!("" / "v1", "persistentvolumeclaims", "PersistentVolumeClaim", ["pvc"], [Namespaced, Status], api::core::v1::PersistentVolumeClaim),
    row!("" / "v1", "persistentvolumes", "PersistentVolume", ["pv"], [Status], api::core::v1::PersistentVolume),
    row!("" / "v1", "pods", "Pod", ["po"], [Namespaced, Status, All], api::core::v1::Pod),
    row!("" / "v1", "secrets", "Secret", [], [Namespaced], api::core::v1::Secret),
    row!("" / "v1", "serviceaccounts", "ServiceAccount", ["sa"], [Namespaced], api::core::v1::ServiceAccount),
    row!("" / "v1", "services", "Service", ["svc"], [Namespaced, Status, All], api::core::v1::Service),
    row!("apps" / "v1", "daemonsets", "DaemonSet", ["ds"], [Namespaced, Status, Generation, All], api::apps::v1::DaemonSet),
    row!("apps" / "v1", "deployments", "Deployment", ["deploy"], [Namespaced, Status, Generation, All], api::apps::v1::Deployment),
    row!("apps" / "v1", "replicasets", "ReplicaSet", ["rs"], [Namespaced, Status, Generation, All], api::apps::v1::ReplicaSet),
    row!("apps" / "v1", "statefulsets", "StatefulSet", ["sts"], [Namespaced, Status, Generation, All], api::apps::v1::StatefulSet),
    row!("events.k8s.io" / "v1", "events", "Event", ["ev"], [Namespaced], api::events::v1::Event),
    row!("authorization.k8s.io" / "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", [], [CreateOnly], api::authorization::v1::SelfSubjectAccessReview),
    row!("authorization.k8s.io" / "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", [], [CreateOnly], api::authorization::v1::SelfSubjectRulesReview),
    row!("batch" / "v1", "jobs", "Job", [], [Namespaced, Status, Generation, All], api::batch::v1::Job),
    row!("networking.k8s.io" / "v1", "networkpolicies", "NetworkPolicy", ["netpol"], [Namespaced, Generation], api::networking::v1::NetworkPolicy),
    row!("policy" / "v1", "poddisruptionbudgets", "PodDisruptionBudget", ["pdb"], [Namespaced, Status, Generation], api::policy::v1::PodDisruptionBudget),
    row!("rbac.authorization.k8s.io" / "v1", "clusterrolebindings", "ClusterRoleBinding", [], [], api::rbac::v1::ClusterRoleBinding),
    row!("rbac.authorization.k8s.io" / "v1", "clusterroles", "ClusterRole", [], [], api::rbac::v1::ClusterRole),
    row!("rbac.authorization.k8s.io" / "v1", "rolebindings", "RoleBinding", [], [Namespaced], api::rbac::v1::RoleBinding),
    row!("rbac.authorization.k8s.io" / "v1", "roles", "Role", [], [Namespaced], api::rbac::v1::Role),
    row!("storage.k8s.io" / "v1", "storageclasses", "StorageClass", ["sc"], [], api::storage::v1::StorageClass),
    row!("admissionregistration.k8s.io" / "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", [], [Generation], api::admissionregistration::v1::MutatingWebhookConfiguration),
    row!("admissionregistration.k8s.io" / "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", [], [Generation], api::admissionregistration::v1::ValidatingWebhookConfiguration),
    row!("apiextensions.k8s.io" / "v1", "customresourcedefinitions", "CustomResourceDefinition", ["crd", "crds"], [Status, Generation], apiextensions::CustomResourceDefinition),
    row!("scheduling.k8s.io" / "v1", "priorityclasses", "PriorityClass", ["pc"], [Generation], api::scheduling::v1::PriorityClass),
    row!("coordination.k8s.io" / "v1", "leases", "Lease", [], [Namespaced], api::coordination::v1::Lease),
    row!("node.k8s.io" / "v1", "runtimeclasses", "RuntimeClass", [], [], api::node::v1::RuntimeClass),
];

/// The built-in resources, in discovery order.
pub fn builtins() -> Vec<Arc<Resource>> {
    ROWS.iter().map(|row| Arc::new(resource(row))).collect()
}

fn resource(row: &Row) -> Resource {
    let has = |wanted: Trait| row.traits.contains(&wanted);
    let (group, version) = row.api;
    // Both event APIs show the same objects, as in the real server.
    let home = if row.plural == "events" { "" } else { group };
    let verbs = match row.plural {
        _ if has(CreateOnly) => CREATE_ONLY,
        "namespaces" => NO_DELETE_COLLECTION,
        _ => ALL_VERBS,
    };
    let mut categories: Vec<String> = Vec::new();
    if has(All) {
        categories.push("all".to_owned());
    }
    if group == "admissionregistration.k8s.io" || group == "apiextensions.k8s.io" {
        categories.push("api-extensions".to_owned());
    }
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.kind.to_lowercase(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        short_names: row.short.iter().map(|&s| s.to_owned()).collect(),
        categories,
        namespaced: has(Namespaced),
        status: has(Status),
        generation: has(Generation),
        verbs,
        collection: collection_name(home, row.plural).into(),
        custom: None,
        generate: Some(row.generate),
        topology: Topology::builtin(group, row.kind),
    }
}
