//! Every key of peer pods' settings, credentials and image maps: one table, from which validation, the documentation's
//! tables and the environment of the adaptor are made.
//!
//! Meanings, examples and what is required follow the product documentation's chapters on AWS, Azure, Google Cloud and IBM
//! Z; keys that it does not name are those that the Go cloud-api-adaptor reads from its environment.

mod aws;
mod azure;
mod common;
mod gcp;
mod image;
mod libvirt;

use super::Provider;

/// One key of a config map or secret.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it means, a phrase.
    pub meaning: &'static str,
    /// What its value has to look like.
    pub shape: Shape,
    /// Whether it has to be there.
    pub need: Need,
    /// What holds when it is absent or empty. None: nothing, or what the cloud decides.
    pub default: Option<&'static str>,
    /// Who reads it.
    pub readers: &'static [Reader],
    /// Older spellings, which are accepted and told.
    pub aliases: &'static [&'static str],
}

/// What a value has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything but nothing, without blanks around it.
    Text,
    /// Text of several lines: a file.
    Lines,
    /// `true` or `false`.
    Flag,
    /// `yes` or `no`, as the image maps write it.
    YesNo,
    /// A UDP or TCP port, 1 to 65535.
    Port,
    /// A whole number of at least that much.
    Number(i64),
    /// A Go duration, for instance `5m`.
    Duration,
    /// `key=value` pairs separated by commas.
    Tags,
    /// Names separated by commas, without blanks.
    List,
    /// One name that begins like this: an identifier of AWS.
    Identifier(&'static str),
    /// Names that begin like this, separated by commas: identifiers of AWS.
    Identifiers(&'static str),
    /// A resource identifier of Azure that contains this path.
    AzureResource(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Networks in CIDR notation, separated by commas.
    Networks,
    /// An absolute path.
    Path,
    /// A JSON object.
    Json,
    /// A connection URI of libvirt.
    LibvirtUri,
    /// Compressed and encoded initdata.
    Initdata,
    /// Where a pod VM image comes from: `oci::image[:tag][::path]` or `bootc::image[:tag]`.
    ImageSource,
}

/// Whether a key has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it, nothing works.
    Required,
    /// The image job fills it in; a person who has an image of their own sets it before.
    Written,
    /// No job makes what it names for this provider: a person brings it.
    Brought,
    /// It may be absent.
    Optional,
    /// It is one part of a way to log in, of which there are several.
    Credential,
}

/// Who reads a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The adaptor on the worker nodes.
    Adaptor,
    /// The job that makes the pod VM image.
    ImageJob,
    /// The operator, which checks it before anything is created and deletes what is left over.
    Operator,
}

impl Reader {
    /// In a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adaptor => "adaptor",
            Self::ImageJob => "image job",
            Self::Operator => "operator",
        }
    }
}

/// A key that only the adaptor reads and that may be absent: most of them.
const fn option(
    name: &'static str,
    shape: Shape,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { name, meaning, shape, need: Need::Optional, default, readers: &[Reader::Adaptor], aliases: &[] }
}

/// A key that has to be there and that everybody reads.
const fn required(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    let readers = &[Reader::Operator, Reader::ImageJob, Reader::Adaptor];
    Key { name, meaning, shape, need: Need::Required, default: None, readers, aliases: &[] }
}

/// A key that the image job writes.
const fn written(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    let readers = &[Reader::Operator, Reader::Adaptor];
    Key { name, meaning, shape, need: Need::Written, default: None, readers, aliases: &[] }
}

/// A key that names the image, where no job makes one.
const fn brought(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    Key { need: Need::Brought, ..written(name, shape, meaning) }
}

/// A key of the secret.
const fn credential(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    let readers = &[Reader::Operator, Reader::ImageJob, Reader::Adaptor];
    Key { name, meaning, shape, need: Need::Credential, default: None, readers, aliases: &[] }
}

/// The keys of `peer-pods-cm` with that provider.
pub fn settings(provider: Provider) -> impl Iterator<Item = &'static Key> + Clone {
    let own: &[Key] = match provider {
        Provider::Aws => aws::SETTINGS,
        Provider::Azure => azure::SETTINGS,
        Provider::Gcp => gcp::SETTINGS,
        Provider::Libvirt => libvirt::SETTINGS,
    };
    common::SETTINGS.iter().filter(move |common| !own.iter().any(|key| key.name == common.name)).chain(own)
}

/// The keys of `peer-pods-secret` with that provider.
pub fn credentials(provider: Provider) -> &'static [Key] {
    match provider {
        Provider::Aws => aws::CREDENTIALS,
        Provider::Azure => azure::CREDENTIALS,
        Provider::Gcp => gcp::CREDENTIALS,
        Provider::Libvirt => libvirt::CREDENTIALS,
    }
}

/// The ways to log in with that provider: the keys of one of these lists have to be there. The first is the documented
/// one where people make the secret.
pub fn logins(provider: Provider) -> &'static [&'static [&'static str]] {
    match provider {
        Provider::Aws => aws::LOGINS,
        Provider::Azure => azure::LOGINS,
        Provider::Gcp => gcp::LOGINS,
        Provider::Libvirt => libvirt::LOGINS,
    }
}

/// Keys of image config maps that older documentation and older releases have, from the time when the operator built
/// images: nobody reads them any more.
pub const RETIRED: &[&str] = &[
    "AGENT_POLICY",
    "AMI_VERSION_MAJ_MIN",
    "BASE_IMAGE_SKU",
    "ENABLE_NVIDIA_GPU",
    "IMAGE_NAME",
    "IMAGE_VERSION_MAJ_MIN",
    "INSTANCE_TYPE",
    "PAUSE_IMAGE_REPO",
    "PAUSE_IMAGE_REPO_AUTH_FILE",
    "PAUSE_IMAGE_VERSION",
    "VM_SIZE",
];

/// The keys of that provider's image config map.
pub fn image(provider: Provider) -> impl Iterator<Item = &'static Key> + Clone {
    let own: &[Key] = match provider {
        Provider::Aws => image::AWS,
        Provider::Azure => image::AZURE,
        Provider::Gcp => image::GCP,
        Provider::Libvirt => image::LIBVIRT,
    };
    image::COMMON.iter().filter(move |common| !own.iter().any(|key| key.name == common.name)).chain(own)
}
