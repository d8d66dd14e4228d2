//! Keys of Google Cloud.

use super::Shape::{Json, List, OneOf, Text};
use super::{Key, Need, Reader, brought, credential, option, required};

pub(super) const SETTINGS: &[Key] = &[
    required("GCP_PROJECT_ID", Text, "project"),
    required("GCP_ZONE", Text, "zone"),
    Key {
        need: Need::Required,
        readers: &[Reader::Operator, Reader::Adaptor],
        ..option("GCP_NETWORK", Text, None, "network of the pod VMs; an auto-mode network")
    },
    option("GCP_SUBNETWORK", Text, None, "subnetwork, which a custom-mode network needs"),
    option("GCP_MACHINE_TYPE", Text, Some("e2-medium"), "machine type of pods that ask for none"),
    Key {
        aliases: &["GCP_MACHINE_TYPES"],
        ..option(
            "GCP_INSTANCE_TYPES",
            List,
            None,
            "machine types that pods may ask for; none: only the default one",
        )
    },
    option("GCP_DISK_TYPE", Text, Some("pd-standard"), "type of disks"),
    option(
        "GCP_CONFIDENTIAL_TYPE",
        OneOf(&["TDX", "SEV", "SEV_SNP"]),
        None,
        "technology of confidential pod VMs",
    ),
    Key { aliases: &["GCP_IMAGE_NAME"], ..brought("PODVM_IMAGE_NAME", Text, "image of the pod VMs") },
];

pub(super) const CREDENTIALS: &[Key] =
    &[credential("GCP_CREDENTIALS", Json, "key of a service account, JSON")];

pub(super) const LOGINS: &[&[&str]] = &[&["GCP_CREDENTIALS"]];
