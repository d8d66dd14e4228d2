//! The runtime classes that belong to a KataConfig: those that we make, and those that the operator before us made.
//!
//! All of them are removed with the KataConfig: the finalizer that they carry is one that nobody else takes away.

use osc_api::names;
use serde_json::Value;

use crate::object::{Kind, ObjectId, finalizers_of, is_deleted, version_of};
use crate::observed::{Observed, Pods};
use crate::plan::Step;

/// A runtime class with its name.
#[derive(Clone, Copy, Debug)]
pub struct Class<'a> {
    /// Its name.
    pub name: &'a str,
    object: &'a Value,
}

/// Whether a runtime class was made for a KataConfig: by us, or by the operator that was here before.
pub fn is_ours(class: &Value) -> bool {
    let owned = class["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == Kind::KataConfig.name()));
    owned || finalizers_of(class).iter().any(|finalizer| finalizer == names::RUNTIME_CLASS_FINALIZER)
}

/// All that are ours, by name.
pub fn ours(observed: &Observed) -> impl Iterator<Item = Class<'_>> {
    observed
        .objects
        .iter()
        .filter(|(id, object)| id.kind == Kind::RuntimeClass && is_ours(object))
        .map(|(id, object)| Class { name: &id.name, object })
}

/// Whether pods of a class use Kata. Without the class, its name has to tell: pods outlive a class that somebody forced
/// away.
pub fn is_kata(observed: &Observed, name: &str) -> bool {
    match observed.cluster_object(Kind::RuntimeClass, name) {
        Some(class) => is_ours(class),
        None => names::RUNTIME_CLASSES.contains(&name),
    }
}

/// The classes that exist: those that were listed, in their order, then those that were not. `lasting`: those that are
/// there soon, or again.
pub fn listed(observed: &Observed, before: &[String], lasting: &[&str]) -> Vec<String> {
    let exists = |name: &&String| {
        lasting.contains(&name.as_str()) || observed.cluster_object(Kind::RuntimeClass, name).is_some()
    };
    let mut names: Vec<String> = before.iter().filter(exists).cloned().collect();
    for name in lasting.iter().copied().chain(ours(observed).map(|class| class.name)) {
        if !names.iter().any(|listed| listed == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Lets classes of ours go that were deleted, once no pod uses them.
pub fn releases(observed: &Observed) -> Vec<Step> {
    let Pods::Known(pods) = &observed.pods else { return Vec::new() };
    let used = |class: &Class<'_>| pods.iter().any(|pod| pod.runtime_class == class.name);
    ours(observed)
        .filter(|class| class.is_deleted() && class.is_held_by_us() && !used(class))
        .map(|class| {
            let others = finalizers_of(class.object);
            class.set_finalizers(others.into_iter().filter(|f| f != names::RUNTIME_CLASS_FINALIZER).collect())
        })
        .collect()
}

/// Gives the finalizer to classes that lack it: releases that made them without it left them open to removal under
/// running pods.
pub fn guards(observed: &Observed) -> Vec<Step> {
    ours(observed)
        .filter(|class| !class.is_deleted() && !class.is_held_by_us())
        .map(|class| {
            let present = finalizers_of(class.object).into_iter();
            class.set_finalizers(present.chain([names::RUNTIME_CLASS_FINALIZER.to_owned()]).collect())
        })
        .collect()
}

impl Class<'_> {
    /// Whether its deletion was requested.
    pub fn is_deleted(&self) -> bool {
        is_deleted(self.object)
    }

    /// How steps name it.
    pub fn id(&self) -> ObjectId {
        ObjectId::cluster(Kind::RuntimeClass, self.name)
    }

    /// Finalizers that are not ours.
    pub fn foreign_finalizers(&self) -> Vec<String> {
        let mut finalizers = finalizers_of(self.object);
        finalizers.retain(|finalizer| finalizer != names::RUNTIME_CLASS_FINALIZER);
        finalizers
    }

    fn is_held_by_us(&self) -> bool {
        finalizers_of(self.object).iter().any(|finalizer| finalizer == names::RUNTIME_CLASS_FINALIZER)
    }

    fn set_finalizers(&self, finalizers: Vec<String>) -> Step {
        Step::SetFinalizers { id: self.id(), resource_version: version_of(self.object), finalizers }
    }
}
