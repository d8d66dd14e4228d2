//! The foreign kinds of OpenShift, as far as we read or write them.
//!
//! Fields that we neither read nor write are left out: reading drops them, and writing is server-side apply, which
//! touches only what it sends. Shapes follow the public OpenShift API reference.

mod cluster_version;
mod container_runtime_config;
mod infrastructure;
mod machine_config;
mod machine_config_pool;
mod opaque;

pub use cluster_version::{ClusterVersion, ClusterVersionSpec, ClusterVersionStatus, Release, UpdateHistory};
pub use container_runtime_config::{
    ContainerRuntimeConfig, ContainerRuntimeConfigSpec, ContainerRuntimeConfigStatus,
    ContainerRuntimeConfiguration,
};
pub use infrastructure::{Infrastructure, InfrastructureSpec, InfrastructureStatus};
pub use machine_config::{MachineConfig, MachineConfigSpec};
pub use machine_config_pool::{
    MachineConfigPool, MachineConfigPoolSpec, MachineConfigPoolStatus, MachineConfigReference, PoolCondition,
    PoolConfiguration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Definitions of the foreign kinds, for clusters that simulate OpenShift. A real one brings its own.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let defined = [
        MachineConfig::crd(),
        MachineConfigPool::crd(),
        ContainerRuntimeConfig::crd(),
        ClusterVersion::crd(),
        Infrastructure::crd(),
    ];
    defined.into_iter().chain(opaque::crds()).collect()
}
