//! Peer pods: pods whose virtual machine runs outside of the node, in a cloud or on another host.

pub mod keys;
mod resources;
pub mod tags;

pub use resources::{
    PeerPod, PeerPodConfig, PeerPodConfigSpec, PeerPodConfigStatus, PeerPodSpec, PeerPodStatus, crds,
};

/// Config map with the settings; made by people.
pub const SETTINGS: &str = "peer-pods-cm";
/// Secret with the credentials.
pub const CREDENTIALS: &str = "peer-pods-secret";
/// Secret with SSH keys.
pub const SSH_KEYS: &str = "ssh-key-secret";
/// Extended resource that counts pod VMs.
pub const VM_RESOURCE: &str = "kata.peerpods.io/vm";
/// The one PeerPodConfig.
pub const PEER_POD_CONFIG: &str = "peerpodconfig-openshift";
/// Finalizer of a PeerPod.
pub const PEER_POD_FINALIZER: &str = "peer.pod/finalizer";

/// Where pod VMs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
    /// A KVM host with libvirt: IBM Z and IBM LinuxONE.
    Libvirt,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Aws, Self::Azure, Self::Gcp, Self::Libvirt];

    /// As `CLOUD_PROVIDER` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Libvirt => "libvirt",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Azure => "Microsoft Azure",
            Self::Gcp => "Google Cloud",
            Self::Libvirt => "libvirt (IBM Z and IBM LinuxONE)",
        }
    }

    /// By the name that `CLOUD_PROVIDER` has.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// Config maps with what the image job is to make. The documentation of Google Cloud has the second name.
    pub fn image_maps(self) -> &'static [&'static str] {
        match self {
            Self::Aws => &["aws-podvm-image-cm"],
            Self::Azure => &["azure-podvm-image-cm"],
            Self::Gcp => &["gcp-podvm-image-cm", "podvm-image-cm"],
            Self::Libvirt => &["libvirt-podvm-image-cm"],
        }
    }

    /// The key of `peer-pods-cm` with the identifier of the image.
    pub fn image_key(self) -> &'static str {
        match self {
            Self::Aws => "PODVM_AMI_ID",
            Self::Azure => "AZURE_IMAGE_ID",
            Self::Gcp => "PODVM_IMAGE_NAME",
            Self::Libvirt => "LIBVIRT_IMAGE_ID",
        }
    }

    /// The keys of `peer-pods-cm` with the size of pods that ask for none, and with the sizes that may be asked for.
    pub fn size_keys(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Aws => Some(("PODVM_INSTANCE_TYPE", "PODVM_INSTANCE_TYPES")),
            Self::Azure => Some(("AZURE_INSTANCE_SIZE", "AZURE_INSTANCE_SIZES")),
            Self::Gcp => Some(("GCP_MACHINE_TYPE", "GCP_INSTANCE_TYPES")),
            Self::Libvirt => None,
        }
    }
}
