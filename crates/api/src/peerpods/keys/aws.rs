//! Keys of AWS.

use super::Shape::{Flag, Identifier, Identifiers, List, Path, Text};
use super::{Key, Reader, credential, option, required, written};

pub(super) const SETTINGS: &[Key] = &[
    required("AWS_REGION", Text, "region"),
    required("AWS_SUBNET_ID", Identifier("subnet-"), "subnet of the pod VMs"),
    required("AWS_VPC_ID", Identifier("vpc-"), "VPC of the subnet"),
    required("AWS_SG_IDS", Identifiers("sg-"), "security groups of the pod VMs"),
    option("PODVM_INSTANCE_TYPE", Text, Some("t3.medium"), "instance type of pods that ask for none"),
    option(
        "PODVM_INSTANCE_TYPES",
        List,
        None,
        "instance types that pods may ask for; none: only the default one",
    ),
    written("PODVM_AMI_ID", Identifier("ami-"), "image of the pod VMs"),
    Key {
        readers: &[Reader::ImageJob],
        ..option("BUCKET_NAME", Text, None, "S3 bucket for the upload of the image")
    },
    option("SSH_KP_NAME", Text, None, "key pair of pod VMs"),
    option("USE_PODVM_LAUNCHTEMPLATE", Flag, Some("false"), "start pod VMs from a launch template"),
    option("PODVM_LAUNCHTEMPLATE_NAME", Text, Some("kata"), "name of that launch template"),
];

pub(super) const CREDENTIALS: &[Key] = &[
    credential("AWS_ACCESS_KEY_ID", Text, "access key"),
    credential("AWS_SECRET_ACCESS_KEY", Text, "its secret"),
    credential("AWS_SESSION_TOKEN", Text, "session of temporary keys"),
    credential("AWS_ROLE_ARN", Text, "role to take on with the service account's token"),
    credential("AWS_WEB_IDENTITY_TOKEN_FILE", Path, "file of that token"),
];

pub(super) const LOGINS: &[&[&str]] =
    &[&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], &["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]];
