//! What manifests grant to a ServiceAccount.

use std::fmt;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::audit::Use;

/// One verb with one resource: the smallest right that there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// What may be done.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with its subresource if any; the path of a right that is about no resource.
    pub resource: String,
    /// Where; none for the whole cluster.
    pub namespace: Option<String>,
    /// With which objects; empty for all.
    pub names: Vec<String>,
}

impl Grant {
    /// Whether this right allows that use. A wildcard allows nothing here: nobody could tell what of it is needed.
    pub fn allows(&self, used: &Use) -> bool {
        self.verb == used.verb
            && self.group == used.group
            && self.resource == used.resource
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == used.namespace)
            && (self.names.is_empty() || self.names.contains(&used.name))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        if self.names.is_empty() { Ok(()) } else { write!(f, " named {}", self.names.join(", ")) }
    }
}

/// Everything that these manifests grant to a ServiceAccount.
pub fn of(manifests: &[Value], namespace: &str, account: &str) -> Vec<Grant> {
    let bound = |subjects: &Option<Vec<Subject>>| {
        subjects.iter().flatten().any(|subject| {
            subject.kind == "ServiceAccount"
                && subject.name == account
                && subject.namespace.as_deref() == Some(namespace)
        })
    };
    let mut grants = Vec::new();
    for binding in all::<ClusterRoleBinding>(manifests, "ClusterRoleBinding") {
        if bound(&binding.subjects) {
            grants.extend(of_rules(&rules(manifests, &binding.role_ref, None), None));
        }
    }
    for binding in all::<RoleBinding>(manifests, "RoleBinding") {
        if bound(&binding.subjects) {
            let place = binding.metadata.namespace.as_deref();
            grants.extend(of_rules(&rules(manifests, &binding.role_ref, place), place));
        }
    }
    grants
}

fn all<K: DeserializeOwned>(manifests: &[Value], kind: &str) -> Vec<K> {
    let of_kind = manifests.iter().filter(|object| object["kind"] == kind);
    of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

/// The rules of the role that a binding refers to. A role that is not among the manifests is somebody else's, and what
/// it grants nobody can tell from here.
fn rules(manifests: &[Value], reference: &RoleRef, namespace: Option<&str>) -> Vec<PolicyRule> {
    let found = if reference.kind == "ClusterRole" {
        let roles = all::<ClusterRole>(manifests, "ClusterRole");
        roles.into_iter().find(|role| role.name_any() == reference.name).map(|role| role.rules)
    } else {
        let here = |role: &Role| {
            role.name_any() == reference.name && role.metadata.namespace.as_deref() == namespace
        };
        all::<Role>(manifests, "Role").into_iter().find(here).map(|role| role.rules)
    };
    found
        .unwrap_or_else(|| panic!("no {} {} in the manifests", reference.kind, reference.name))
        .unwrap_or_default()
}

fn of_rules(rules: &[PolicyRule], namespace: Option<&str>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for rule in rules {
        let names = rule.resource_names.clone().unwrap_or_default();
        let mut add = |verb: &str, group: &str, resource: &str| {
            let (verb, group, resource) = (verb.to_owned(), group.to_owned(), resource.to_owned());
            grants.push(Grant {
                verb,
                group,
                resource,
                namespace: namespace.map(str::to_owned),
                names: names.clone(),
            });
        };
        for verb in &rule.verbs {
            for group in rule.api_groups.iter().flatten() {
                rule.resources.iter().flatten().for_each(|resource| add(verb, group, resource));
            }
            rule.non_resource_urls.iter().flatten().for_each(|path| add(verb, "", path));
        }
    }
    grants
}
