//! Keys of Microsoft Azure.

use super::Shape::{AzureResource, Flag, List, Path, Text};
use super::{Key, Need, Reader, brought, credential, option, required};

pub(super) const SETTINGS: &[Key] = &[
    required("AZURE_RESOURCE_GROUP", Text, "resource group of pod VMs and image"),
    required("AZURE_REGION", Text, "region"),
    Key {
        need: Need::Required,
        readers: &[Reader::Operator, Reader::Adaptor],
        ..option(
            "AZURE_SUBNET_ID",
            AzureResource("/subnets/"),
            None,
            "subnet of the pod VMs, its whole identifier",
        )
    },
    option(
        "AZURE_NSG_ID",
        AzureResource("/networkSecurityGroups/"),
        None,
        "network security group of the pod VMs, its whole identifier",
    ),
    option("AZURE_INSTANCE_SIZE", Text, Some("Standard_B2als_v2"), "size of pods that ask for none"),
    option("AZURE_INSTANCE_SIZES", List, None, "sizes that pods may ask for; none: only the default one"),
    brought("AZURE_IMAGE_ID", AzureResource("/images/"), "image of the pod VMs, of a gallery"),
    option("SSH_USERNAME", Text, Some("peerpod"), "user that the cloud's interface asks for"),
    option("ENABLE_SECURE_BOOT", Flag, Some("false"), "secure boot of pod VMs"),
];

pub(super) const CREDENTIALS: &[Key] = &[
    credential("AZURE_CLIENT_ID", Text, "application"),
    credential("AZURE_TENANT_ID", Text, "tenant"),
    credential("AZURE_SUBSCRIPTION_ID", Text, "subscription"),
    credential("AZURE_CLIENT_SECRET", Text, "secret of the application"),
    credential("AZURE_FEDERATED_TOKEN_FILE", Path, "file of the service account's token"),
];

pub(super) const LOGINS: &[&[&str]] = &[
    &["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_CLIENT_SECRET"],
    &["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_FEDERATED_TOKEN_FILE"],
];
