//! What only the cloud knows, and who asks it.
//!
//! The seam for clients of clouds: [`of`] is where one is chosen. Until there is one, nothing is asked, and what would have
//! been found is left for the person, with the command that finds it.

use futures::future::BoxFuture;
use osc_api::peerpods::Provider;

use super::machine::Machine;

/// The network that a machine is in: pod VMs go into the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Identifier of the VPC (AWS); name of the network (Google Cloud).
    pub name: Option<String>,
    /// Identifier of the subnet: `subnet-...`, or the whole resource identifier of Azure.
    pub subnet: Option<String>,
    /// Security groups (AWS), or the network security group's resource identifier (Azure).
    pub security_groups: Vec<String>,
    /// Region, where the cluster does not say it (Azure).
    pub region: Option<String>,
}

/// A cloud that can be asked.
pub trait CloudLookup: Send + Sync {
    /// The network of a machine, by what its node's provider identifier says. An error is told to the person; what was to
    /// be found is left to fill in.
    fn network_of<'a>(&'a self, machine: &'a Machine) -> BoxFuture<'a, Result<Network, String>>;
}

/// Who asks that provider's cloud. Nobody, so far.
pub fn of(provider: Provider) -> Option<Box<dyn CloudLookup>> {
    match provider {
        Provider::Aws | Provider::Azure | Provider::Gcp | Provider::Libvirt => None,
    }
}
