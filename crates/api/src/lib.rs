//! Custom resources, foreign kinds, names and constants of OpenShift sandboxed containers.
//!
//! Types only: no I/O, no decisions. Field names, defaults and print columns are interfaces that other software
//! and the product documentation rely on; the custom resource definitions are generated from these types.

pub mod kataconfig;
pub mod names;
pub mod openshift;
pub mod peerpods;
mod schema;

pub use kataconfig::{DeploymentMode, KataConfig, KataConfigSpec, KataConfigStatus, KataNodesStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The custom resource definitions that this project owns, as it installs them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    std::iter::once(kataconfig::crd()).chain(peerpods::crds()).collect()
}

/// Implements [`kube::Resource`] for a cluster-scoped kind whose root is not shaped `spec` + `status` as
/// `kube`'s derive expects it.
macro_rules! cluster_resource {
    ($kind:ident, $group:expr, $version:expr, $plural:expr) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = k8s_openapi::ClusterResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use cluster_resource;
