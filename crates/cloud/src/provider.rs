//! What every cloud can do for pod VMs.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{CreateError, Error, Kind, Tags};

/// A cloud, logged in.
///
/// Every future may be dropped at any moment. What a dropped `create` had made is taken back in the background.
pub trait Provider: Send + Sync {
    /// Which cloud.
    fn kind(&self) -> Kind;

    /// Creates a virtual machine and waits until it has an address.
    ///
    /// Idempotent by the name: a machine of that name, of the same sandbox and with the same user data is returned as it
    /// is. One of another owner is not touched, and told as [`Error::Taken`].
    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Result<Instance, CreateError>>;

    /// Deletes a virtual machine and everything that was made for it.
    ///
    /// An identifier that can never have been one of this cloud is [`Error::MalformedId`]: trying again does not help.
    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Deletion, Error>>;

    /// All virtual machines that carry the tag of that cluster, those included that are only partly there.
    fn list<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Vec<Instance>, Error>>;

    /// What looks like a pod VM by its name and carries no tag: older adaptors set none. It may be of another cluster, so
    /// it is told and never deleted without being asked for. [`Provider::delete`] takes these identifiers.
    fn untagged(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Whether pod VMs could be created: the login, and what the settings name.
    ///
    /// What is wrong is told all at once. If nothing is, the sentences are what a person should know nevertheless.
    fn verify(&self) -> BoxFuture<'_, Result<Vec<String>, Vec<Error>>>;
}

/// What a virtual machine is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Its name, by [`crate::vm_name`].
    pub name: String,
    /// Whose it is.
    pub tags: Tags,
    /// CPUs. None: what the settings or the instance type say.
    pub cpus: Option<u32>,
    /// Memory in MiB. None: what the settings or the instance type say.
    pub memory_mib: Option<u64>,
    /// Size, where the cloud has sizes. None: the settings' own.
    pub instance_type: Option<String>,
    /// Image. None: the settings' own.
    pub image: Option<String>,
    /// Root disk in GiB. None: the settings' own. Never smaller than the image.
    pub root_disk_gib: Option<u64>,
    /// What the machine is told at its start. It contains keys: it is neither logged nor part of an error.
    pub user_data: Vec<u8>,
    /// How long to wait for an address.
    pub patience: Duration,
}

impl InstanceSpec {
    /// How long to wait for an address if nobody says otherwise. The shim gives up after ten minutes.
    pub const PATIENCE: Duration = Duration::from_mins(3);

    /// A machine of the settings' own size and image.
    pub fn new(name: impl Into<String>, tags: Tags) -> Self {
        Self {
            name: name.into(),
            tags,
            cpus: None,
            memory_mib: None,
            instance_type: None,
            image: None,
            root_disk_gib: None,
            user_data: Vec::new(),
            patience: Self::PATIENCE,
        }
    }
}

impl fmt::Debug for InstanceSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InstanceSpec")
            .field("name", &self.name)
            .field("tags", &self.tags)
            .field("cpus", &self.cpus)
            .field("memory_mib", &self.memory_mib)
            .field("instance_type", &self.instance_type)
            .field("image", &self.image)
            .field("root_disk_gib", &self.root_disk_gib)
            .field("user_data", &format_args!("({} bytes)", self.user_data.len()))
            .field("patience", &self.patience)
            .finish()
    }
}

/// A virtual machine that is there, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What the cloud knows it by, and what a PeerPod records.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is. Empty where nothing says it.
    pub tags: Tags,
    /// Where it is reached; the first is the one to use.
    pub addresses: Vec<IpAddr>,
    /// Since when it is there, if that is known.
    pub created: Option<Timestamp>,
}

/// What came of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It was there and is gone.
    Deleted,
    /// It was not there.
    WasGone,
}

/// Whose virtual machines are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Identity of the cluster, as in the tag.
    pub cluster: String,
}

impl Owner {
    /// A cluster, by its identity.
    pub fn new(cluster: impl Into<String>) -> Self {
        Self { cluster: cluster.into() }
    }

    /// Whether that is one of its machines. An empty identity owns nothing.
    pub fn owns(&self, tags: &Tags) -> bool {
        !self.cluster.is_empty() && self.cluster == tags.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_not_shown() {
        let mut spec = InstanceSpec::new("podvm-a-01234567", Tags::default());
        spec.user_data = b"key of the pod".to_vec();
        let shown = format!("{spec:?}");
        assert!(shown.contains("(14 bytes)"), "{shown}");
        assert!(!shown.contains("key of"), "{shown}");
    }

    #[test]
    fn an_empty_cluster_owns_nothing() {
        assert!(!Owner::new("").owns(&Tags::default()));
        assert!(Owner::new("a").owns(&Tags { cluster: "a".into(), ..Tags::default() }));
        assert!(!Owner::new("a").owns(&Tags { cluster: "b".into(), ..Tags::default() }));
    }
}
