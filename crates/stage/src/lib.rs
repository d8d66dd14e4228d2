//! What peer pods are played on: an embedded cluster in whose pods real code runs, and a cloud in memory.
//!
//! ```text
//!   pods of osc-caa-ds            Adaptor (osc-devcluster) -> Machines --+
//!   pods of osc-podvm-image-*     ImageTool -----------------------------+--> osc_cloud::memory::Memory
//!   the operator                  PeerPods of pods that are gone --------+
//!   pods of peer-pods-webhook     Webhook -> osc_admission::Server, asked by the embedded API server
//! ```
//!
//! [`programs`] is all of it. The cluster gets it as `ClusterConfig::programs`, together with the same `Services`.

mod image;
mod machines;
mod webhook;

use std::sync::Arc;

use osc_cloud::memory::Memory;
use osc_devcluster::server::Services;
use osc_devcluster::sim::adaptor::Adaptor;
use osc_devcluster::sim::program::Program;

pub use image::{ImageFaults, ImageTool, Leftovers};
pub use machines::CloudMachines;
pub use webhook::Webhook;

/// Everything that runs in pods when there are peer pods, with that cloud; `services` is where the API server looks for the
/// webhook.
pub fn programs(memory: &Memory, services: &Services) -> Vec<Arc<dyn Program>> {
    programs_with_faults(memory, services, &ImageFaults::default())
}

/// The same, with image jobs that fail when they are told to.
pub fn programs_with_faults(
    memory: &Memory,
    services: &Services,
    faults: &ImageFaults,
) -> Vec<Arc<dyn Program>> {
    vec![
        Arc::new(Adaptor::new(Arc::new(CloudMachines::new(memory.clone())))),
        Arc::new(ImageTool::new(memory.clone(), faults.clone())),
        Arc::new(Webhook::new(services.clone())),
    ]
}
