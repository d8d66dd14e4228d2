//! Peer pods: pods whose virtual machine runs outside of the node, in a cloud or on another host.

pub mod image_source;
pub mod keys;
mod resources;
pub mod tags;
pub mod webhook;

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

/// What a PeerPodConfig remembers: the limit on which config map and PeerPodConfig last agreed.
pub const AGREED_LIMIT: &str = "kataconfiguration.openshift.io/agreed-limit";
/// Limit of a PeerPodConfig that nobody gave one.
pub const DEFAULT_LIMIT: &str = "10";

/// DaemonSet of the adaptor; also the value of its pods' label `name`.
pub const ADAPTOR: &str = "osc-caa-ds";
/// The adaptor's container.
pub const ADAPTOR_CONTAINER: &str = "caa-pod";
/// ServiceAccount of the adaptor.
pub const ADAPTOR_SERVICE_ACCOUNT: &str = "cloud-api-adaptor";
/// SecurityContextConstraints of the adaptor.
pub const ADAPTOR_SCC: &str = "osc-peer-pods-scc";
/// Annotation of the adaptor's pods: a digest of the settings that they were started with.
pub const SETTINGS_DIGEST: &str = "peer-pods-cm/version";
/// Annotation of the adaptor's pods: a digest of the credentials that they were started with.
pub const CREDENTIALS_DIGEST: &str = "peer-pods-secret/version";

/// Job that makes the pod VM image.
pub const IMAGE_CREATION: &str = "osc-podvm-image-creation";
/// Job that deletes the pod VM image.
pub const IMAGE_DELETION: &str = "osc-podvm-image-deletion";
/// Both jobs.
pub const IMAGE_JOBS: [&str; 2] = [IMAGE_CREATION, IMAGE_DELETION];
/// Label of a job's pods with the job's name.
pub const JOB_LABEL: &str = "job-name";
/// Annotation of a job: a digest of what it was to do.
pub const JOB_DIGEST: &str = "kataconfiguration.openshift.io/job-digest";
/// Annotation of `peer-pods-cm`: a job has begun to make an image, and something may be there of it.
pub const IMAGE_BEGUN: &str = "kataconfiguration.openshift.io/image-begun";
/// ServiceAccount of the jobs: it may do nothing.
pub const IMAGE_SERVICE_ACCOUNT: &str = "osc-podvm-image";

/// Secret that the Cloud Credential Operator writes.
pub const CLOUD_CREDENTIALS: &str = "cco-secret";
/// Namespace of requests to the Cloud Credential Operator.
pub const CREDENTIALS_REQUEST_NAMESPACE: &str = "openshift-cloud-credential-operator";
/// Label of credentials that were written from what the installer of the operator gave, with the cloud's name.
pub const STS_LABEL: &str = "kataconfiguration.openshift.io/sts";
/// Label of credentials that came from the Cloud Credential Operator.
pub const REQUESTED_LABEL: &str = "kataconfiguration.openshift.io/credentials-request-based";
/// Annotation of the same: a digest of what they were written from.
pub const SOURCE_DIGEST: &str = "kataconfiguration.openshift.io/source-digest";
/// Directory of the token with which the adaptor and the jobs log in to a cloud.
pub const TOKEN_DIRECTORY: &str = "/var/run/secrets/openshift/serviceaccount";

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

    /// Annotations of `peer-pods-cm` with what the image job made: the identifier comes first.
    pub fn image_annotations(self) -> &'static [&'static str] {
        match self {
            Self::Aws => &["LATEST_AMI_ID"],
            Self::Azure => &["LATEST_IMAGE_ID", "IMAGE_GALLERY_NAME"],
            Self::Gcp | Self::Libvirt => &["LATEST_IMAGE_ID"],
        }
    }

    /// Whether images are made for it. Elsewhere people bring their own.
    pub fn makes_images(self) -> bool {
        matches!(self, Self::Aws | Self::Libvirt)
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
