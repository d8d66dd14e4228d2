//! Where pod VMs run: one trait, and the clouds behind it.
//!
//! ```text
//!   Account (settings and credentials) --Connect--> Provider: create, delete, list, verify
//!                                                     |
//!                                                     +-- memory    scripted, for tests and demos
//!                                                     +-- aws       EC2, by its own protocol
//!                                                     +-- libvirt   a KVM host, by libvirt's own protocol
//! ```
//!
//! Three rules hold for every provider. Whatever it creates carries the [tags](Tags) of its cluster from the first moment
//! on, so that nothing is lost when whoever asked for it dies. A creation that fails takes back what it made, or tells what
//! it could not take back. Deleting what is not there is a success.
//!
//! What they boot from is made by the module `image`, behind the feature `image-tool`: who only has to do with machines needs
//! neither archives nor qcow2.

mod account;
pub mod aws;
mod error;
mod http_client;
#[cfg(feature = "image-tool")]
pub mod image;
pub mod libvirt;
pub mod memory;
mod name;
mod provider;
mod tags;

pub use account::{Account, Clouds, Connect, Secret};
pub use error::{CreateError, Error, SettingError};
pub use name::{NAME_PREFIX, is_vm_name, vm_name};
pub use provider::{Deletion, Instance, InstanceSpec, Owner, Provider};
pub use tags::Tags;

/// The names of the clouds, as `CLOUD_PROVIDER` has them.
pub use osc_api::peerpods::Provider as Kind;
