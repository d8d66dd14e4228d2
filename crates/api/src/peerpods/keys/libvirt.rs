//! Keys of libvirt: IBM Z and IBM LinuxONE.

use super::Shape::{Flag, LibvirtUri, Lines, Number, OneOf, Path, Text};
use super::{Key, Need, Reader, credential, option, required, written};

const OPERATOR_AND_JOB: &[Reader] = &[Reader::Operator, Reader::ImageJob];

pub(super) const SETTINGS: &[Key] = &[
    required("LIBVIRT_POOL", Text, "storage pool of the pod VMs' disks"),
    required("LIBVIRT_VOL_NAME", Text, "volume with the pod VM image"),
    Key {
        need: Need::Required,
        readers: OPERATOR_AND_JOB,
        ..option(
            "LIBVIRT_DIR_NAME",
            Path,
            None,
            "directory of the pool on the KVM host, below /var/lib/libvirt/images/",
        )
    },
    option("LIBVIRT_NET", Text, Some("default"), "network of the pod VMs"),
    written("LIBVIRT_IMAGE_ID", Text, "name of the volume, once it has the image"),
    Key {
        readers: &[Reader::Adaptor, Reader::Operator],
        ..option(
            "DISABLECVM",
            Flag,
            Some("true"),
            "whether pod VMs are ordinary ones; the feature gate `confidential` decides and rewrites it",
        )
    },
    option("LIBVIRT_CPU", Number(1), Some("2"), "CPUs of pods that ask for none"),
    option("LIBVIRT_MEMORY", Number(256), Some("8192"), "memory in MiB of pods that ask for none"),
    option("LIBVIRT_CPUSET", Text, None, "CPUs of the host that pod VMs run on"),
    option("LIBVIRT_ROOT_DISK_SIZE", Number(1), Some("10"), "root disk of a pod VM in GiB"),
    option("LIBVIRT_EFI_FIRMWARE", Path, None, "firmware of pod VMs"),
    option(
        "LIBVIRT_LAUNCH_SECURITY",
        OneOf(&["s390-pv", "tdx", "sev", "sev-snp"]),
        None,
        "protection; none: detected",
    ),
];

pub(super) const CREDENTIALS: &[Key] = &[
    credential("CLOUD_PROVIDER", OneOf(&["libvirt"]), "libvirt, once more"),
    credential("LIBVIRT_URI", LibvirtUri, "connection to the KVM host"),
    credential("REDHAT_OFFLINE_TOKEN", Text, "token for the download of the operating system's image"),
    credential("HOST_KEY_CERTS", Lines, "host key documents of IBM Secure Execution"),
    // Where older documentation has them.
    credential("LIBVIRT_POOL", Text, "storage pool; belongs into peer-pods-cm"),
    credential("LIBVIRT_VOL_NAME", Text, "volume; belongs into peer-pods-cm"),
];

pub(super) const LOGINS: &[&[&str]] = &[&["LIBVIRT_URI"]];
