//! Keys of the image config maps: what the image job makes.

use super::Shape::{Flag, ImageSource, Lines, Number, OneOf, Text, YesNo};
use super::{Key, Need, Reader};

const fn key(
    name: &'static str,
    shape: super::Shape,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { name, meaning, shape, need: Need::Optional, default, readers: &[Reader::ImageJob], aliases: &[] }
}

pub(super) const COMMON: &[Key] = &[
    key(
        "PODVM_IMAGE_URI",
        ImageSource,
        None,
        "image to use, oci::image[:tag][::path] or bootc::image[:tag]; none: the release's own",
    ),
    key("UPDATE_PEERPODS_CM", YesNo, Some("yes"), "write the identifier of the image into peer-pods-cm"),
    key("INSTALL_PACKAGES", YesNo, Some("no"), "install tools when the job runs"),
    key("DISABLE_CLOUD_CONFIG", Flag, Some("true"), "no cloud-init in pod VMs"),
    key(
        "BOOT_FIPS",
        // The Go operator writes `true` where the documentation has `yes`.
        OneOf(&["no", "yes", "true", "false"]),
        Some("no"),
        "boot pod VMs in FIPS mode; it is forced on FIPS clusters",
    ),
    key(
        "CONFIDENTIAL_COMPUTE_ENABLED",
        YesNo,
        Some("no"),
        "image for confidential VMs; the feature gate decides",
    ),
    key("BOOTC_BUILD_CONFIG", Lines, None, "configuration of the image builder, TOML; for bootc images"),
    key("IMAGE_TYPE", OneOf(&["pre-built", "operator-built"]), Some("pre-built"), "who builds the image"),
    key("BASE_OS_VERSION", Text, None, "version of the operating system"),
    key("ORG_ID", Text, None, "organization, for images that are built"),
    key("ACTIVATION_KEY", Text, None, "activation key, for images that are built"),
    key("PODVM_DISTRO", OneOf(&["rhel"]), Some("rhel"), "operating system, for images that are built"),
    key("DOWNLOAD_SOURCES", YesNo, Some("no"), "build from sources"),
    key("CAA_SRC", Text, None, "repository of these sources"),
    key("CAA_REF", Text, None, "branch or tag of these sources"),
    key("SE_BOOT", Flag, Some("true"), "IBM Secure Execution"),
    key("SE_VERIFY", Flag, Some("true"), "check host key documents against their authority"),
];

pub(super) const AWS: &[Key] = &[
    key("AMI_BASE_NAME", Text, Some("podvm-image"), "beginning of the image's name"),
    key("AMI_VERSION", Text, None, "end of the image's name; none: made from the cluster's identity"),
    key("AMI_VOLUME_SIZE", Number(6), Some("30"), "size of the image in GB"),
    key("BUCKET_NAME", Text, None, "S3 bucket for the upload"),
];

pub(super) const AZURE: &[Key] = &[
    key("IMAGE_BASE_NAME", Text, Some("podvm-image"), "beginning of the image's name"),
    key("IMAGE_VERSION", Text, None, "version of the image; none: made from the cluster's identity"),
    key("IMAGE_GALLERY_NAME", Text, None, "gallery; none: PodVMGallery_ and the cluster's identity"),
    key("IMAGE_DEFINITION_NAME", Text, Some("podvm-image"), "name of the image definition"),
    key("IMAGE_DEFINITION_PUBLISHER", Text, Some("RedHat"), "its publisher"),
    key("IMAGE_DEFINITION_OFFER", Text, Some("OSC-PodVM"), "its offer"),
    key("IMAGE_DEFINITION_SKU", Text, Some("OSC-PodVM"), "its SKU"),
    key("IMAGE_DEFINITION_OS_TYPE", OneOf(&["Linux"]), Some("Linux"), "its operating system"),
    key(
        "IMAGE_DEFINITION_OS_STATE",
        OneOf(&["Generalized", "Specialized"]),
        Some("Generalized"),
        "its state",
    ),
    key("IMAGE_DEFINITION_VM_GENERATION", OneOf(&["V1", "V2"]), Some("V2"), "its generation of VMs"),
    key("IMAGE_DEFINITION_ARCHITECTURE", OneOf(&["x64", "Arm64"]), Some("x64"), "its architecture"),
];

pub(super) const GCP: &[Key] = &[
    key("IMAGE_BASE_NAME", Text, Some("podvm-image"), "beginning of the image's name"),
    key(
        "IMAGE_VERSION",
        Text,
        None,
        "end of the image's name, with dashes; none: made from the cluster's identity",
    ),
];

pub(super) const LIBVIRT: &[Key] = &[];
