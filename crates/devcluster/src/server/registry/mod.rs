//! What the server serves: the built-in kinds and those that a CustomResourceDefinition declares.

mod builtin;
mod custom;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde_json::Value;

pub use builtin::{Generate, builtins};
pub use custom::{Column, Custom};

use crate::object::topology::Topology;

/// Verbs of an ordinary resource.
pub const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// One served resource in one version.
pub struct Resource {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural, as in paths.
    pub plural: String,
    /// Singular, lower case.
    pub singular: String,
    /// Kind of one object.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Short names for `kubectl`.
    pub short_names: Vec<String>,
    /// Categories, for instance `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether there is a status subresource.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the specification.
    pub generation: bool,
    /// Verbs offered.
    pub verbs: &'static [&'static str],
    /// Name of the collection in the store; two resources that show the same objects share it.
    pub collection: Arc<str>,
    /// Present for kinds declared by a CustomResourceDefinition.
    pub custom: Option<Custom>,
    /// Makes the schema of a built-in kind.
    pub generate: Option<Generate>,
    /// How lists merge.
    pub topology: Topology,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.version, self.plural)
    }
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Whether this is the resource `plural` of `group`, in any version.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Whether the objects come from a CustomResourceDefinition.
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits `apps/v1` into group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Name of a collection in the store.
pub fn collection_name(group: &str, plural: &str) -> String {
    format!("{group}/{plural}")
}

/// Everything served at one moment. Immutable: a change of a CustomResourceDefinition makes a new one.
#[derive(Debug, Default)]
pub struct Registry {
    resources: Vec<Arc<Resource>>,
    index: HashMap<String, Arc<Resource>>,
}

fn key(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

impl Registry {
    /// The built-in kinds and those of `definitions` (CustomResourceDefinition objects) that are established.
    pub fn new<'a>(builtins: &[Arc<Resource>], definitions: impl Iterator<Item = &'a Value>) -> Self {
        let mut registry = Self::default();
        for resource in builtins {
            registry.add(resource.clone());
        }
        for definition in definitions {
            for resource in custom::resources(definition) {
                registry.add(Arc::new(resource));
            }
        }
        registry
    }

    fn add(&mut self, resource: Arc<Resource>) {
        let key = key(&resource.group, &resource.version, &resource.plural);
        if let Entry::Vacant(free) = self.index.entry(key) {
            free.insert(resource.clone());
            self.resources.push(resource);
        }
    }

    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.index.get(&key(group, version, plural))
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = split_api_version(api_version);
        self.resources.iter().find(|r| r.kind == kind && r.version == version && r.group == group)
    }

    /// Any version of the resource that fills a collection of the store.
    pub fn of_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|r| &*r.collection == collection)
    }

    /// All resources, in discovery order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter()
    }

    /// The named groups with their versions, preferred version first.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for resource in self.resources.iter().filter(|r| !r.group.is_empty()) {
            if let Some((_, versions)) = groups.iter_mut().find(|(name, _)| *name == resource.group) {
                if !versions.contains(&resource.version) {
                    versions.push(resource.version.clone());
                }
            } else {
                groups.push((resource.group.clone(), vec![resource.version.clone()]));
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        }
        groups
    }

    /// The resources of one group and version.
    pub fn of_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources.iter().filter(move |r| r.group == group && r.version == version)
    }
}

/// The API server's order of versions: GA before beta before alpha, higher numbers first.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let (major, stage, minor) = match (rest.split_once("beta"), rest.split_once("alpha")) {
        (Some((major, minor)), _) => (major, 2, minor),
        (_, Some((major, minor))) => (major, 1, minor),
        _ => (rest, 3, "0"),
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stage, major, minor),
        _ => (0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_availability_comes_first() {
        let mut versions = ["v1alpha1", "v1", "v2", "v1beta1", "v10", "foo"];
        versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v1beta1", "v1alpha1", "foo"]);
    }
}
