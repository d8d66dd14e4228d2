//! What goes with the settings: templates to be filled in.

use std::fmt::Write as _;

use clap::ValueEnum;
use osc_api::names::{FEATURE_GATES, KATACONFIG_GROUP, OPERATOR_NAMESPACE};
use osc_api::peerpods::keys;
use osc_api::peerpods::{CREDENTIALS, PEER_POD_CONFIG, Provider};

use super::manifest::quoted;

/// What is printed beside the config map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Secret with the credentials, to be filled in.
    Secret,
    /// Config map of the pod VM image.
    ImageMap,
    /// PeerPodConfig with the limit.
    Peerpodconfig,
    /// KataConfig that enables peer pods. Applying it reboots nodes.
    Kataconfig,
}

/// The manifest, to be appended.
pub fn text(with: With, provider: Provider, limit: &str) -> String {
    let body = match with {
        With::Secret => secret(provider),
        With::ImageMap => image_map(provider),
        With::Peerpodconfig => format!(
            "# How many pod VMs a node may have; the same as PEERPODS_LIMIT_PER_NODE.\napiVersion: confidentialcontainers.org/v1alpha1\nkind: PeerPodConfig\nmetadata:\n  name: {PEER_POD_CONFIG}\n  namespace: {OPERATOR_NAMESPACE}\nspec:\n  limit: {}\n",
            quoted(limit)
        ),
        With::Kataconfig => format!(
            "# Installs Kata with peer pods. Applying it drains and reboots the nodes: osc plan -f tells which and when.\n# The gates are in ConfigMap {FEATURE_GATES}: osc generate feature-gates.\napiVersion: {KATACONFIG_GROUP}/v1\nkind: KataConfig\nmetadata:\n  name: example-kataconfig\nspec:\n  enablePeerPods: true\n  logLevel: info\n"
        ),
    };
    format!("---\n{body}")
}

/// `AWS_ACCESS_KEY_ID` becomes `<aws_access_key_id>`.
fn placeholder(key: &str) -> String {
    quoted(&format!("<{}>", key.to_ascii_lowercase()))
}

fn secret(provider: Provider) -> String {
    let ways = keys::logins(provider);
    let mut text =
        String::from("# Credentials. Keep the file to yourself, and remove it when it is applied.\n");
    let _ = write!(
        text,
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {CREDENTIALS}\n  namespace: {OPERATOR_NAMESPACE}\ntype: Opaque\nstringData:\n"
    );
    if provider == Provider::Libvirt {
        text.push_str("  CLOUD_PROVIDER: \"libvirt\"\n");
    }
    let meaning = |name: &str| {
        keys::credentials(provider).iter().find(|key| key.name == name).map_or("", |key| key.meaning)
    };
    for name in ways.first().copied().unwrap_or_default() {
        let _ = writeln!(text, "  # {}\n  {name}: {}", meaning(name), placeholder(name));
    }
    for way in ways.iter().skip(1) {
        let _ = writeln!(text, "  # Or instead: {}", way.join(", "));
    }
    text
}

/// Keys of the image map that the documentation and the Go operator's template have.
fn image_keys(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Aws => &["AMI_BASE_NAME", "AMI_VOLUME_SIZE"],
        Provider::Azure => &[
            "IMAGE_BASE_NAME",
            "IMAGE_GALLERY_NAME",
            "IMAGE_DEFINITION_NAME",
            "IMAGE_DEFINITION_PUBLISHER",
            "IMAGE_DEFINITION_OFFER",
            "IMAGE_DEFINITION_SKU",
            "IMAGE_DEFINITION_OS_TYPE",
            "IMAGE_DEFINITION_OS_STATE",
            "IMAGE_DEFINITION_VM_GENERATION",
            "IMAGE_DEFINITION_ARCHITECTURE",
        ],
        Provider::Gcp => &["IMAGE_BASE_NAME"],
        Provider::Libvirt => &["SE_BOOT", "SE_VERIFY"],
    }
}

/// Keys that all of them have.
const IMAGE_KEYS: [&str; 4] = ["INSTALL_PACKAGES", "DISABLE_CLOUD_CONFIG", "UPDATE_PEERPODS_CM", "BOOT_FIPS"];

fn image_map(provider: Provider) -> String {
    let name = provider.image_maps().first().copied().unwrap_or_default();
    let mut text = String::from("# What the image job makes. Without this map it makes the same.\n");
    let _ = write!(
        text,
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {OPERATOR_NAMESPACE}\ndata:\n"
    );
    let wanted = std::iter::once(&"PODVM_IMAGE_URI").chain(image_keys(provider)).chain(&IMAGE_KEYS);
    for key in wanted.filter_map(|name| keys::image(provider).find(|key| key.name == *name)) {
        let _ = writeln!(
            text,
            "  # {}\n  {}: {}",
            key.meaning,
            key.name,
            quoted(key.default.unwrap_or_default())
        );
    }
    text
}
