//! The settings that are written: what is known, what the documentation has, and what is left to fill in.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key, Need};
use osc_engine::peerpods::check;

use super::asked::Asked;
use super::commands;
use super::known::Known;
use super::lookup::{Network, Networks};
use super::machine::Machine;

/// One setting.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key.
    pub key: &'static Key,
    /// Its value; empty if it is left to somebody.
    pub value: String,
    /// Where it comes from.
    pub from: From,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// `--set`.
    Asked,
    /// The config map that is there already.
    Kept,
    /// The cluster: which object, and perhaps more.
    Cluster(String),
    /// The cloud: its name in words, and perhaps more.
    Cloud(String),
    /// The documentation's example.
    Documented,
    /// The image job fills it in.
    Job,
    /// Nobody knows; the command that finds it.
    Missing(String),
}

impl Entry {
    /// Whether peer pods cannot work before a person has filled it in.
    pub fn is_missing(&self) -> bool {
        matches!(self.from, From::Missing(_)) && matches!(self.key.need, Need::Required | Need::Brought)
    }
}

/// The documented keys, in the documentation's order, with its example values where they are more than examples.
fn documented(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::Aws => &[
            ("CLOUD_PROVIDER", "aws"),
            ("VXLAN_PORT", "9000"),
            ("PROXY_TIMEOUT", "5m"),
            ("PODVM_INSTANCE_TYPE", "t3.medium"),
            ("PODVM_INSTANCE_TYPES", "t2.small,t2.medium,t3.medium,t3.large"),
            ("PODVM_AMI_ID", ""),
            ("AWS_REGION", ""),
            ("AWS_SUBNET_ID", ""),
            ("AWS_VPC_ID", ""),
            ("AWS_SG_IDS", ""),
            ("PEERPODS_LIMIT_PER_NODE", "10"),
            ("ROOT_VOLUME_SIZE", "6"),
            ("DISABLECVM", "true"),
        ],
        Provider::Azure => &[
            ("CLOUD_PROVIDER", "azure"),
            ("VXLAN_PORT", "9000"),
            ("PROXY_TIMEOUT", "5m"),
            ("AZURE_INSTANCE_SIZE", "Standard_B2als_v2"),
            ("AZURE_INSTANCE_SIZES", "Standard_B2als_v2,Standard_D2as_v5,Standard_D4as_v5,Standard_D2ads_v5"),
            ("AZURE_SUBNET_ID", ""),
            ("AZURE_NSG_ID", ""),
            ("AZURE_IMAGE_ID", ""),
            ("AZURE_REGION", ""),
            ("AZURE_RESOURCE_GROUP", ""),
            ("PEERPODS_LIMIT_PER_NODE", "10"),
            ("ROOT_VOLUME_SIZE", "6"),
            ("DISABLECVM", "true"),
        ],
        Provider::Gcp => &[
            ("CLOUD_PROVIDER", "gcp"),
            ("VXLAN_PORT", "9000"),
            ("PROXY_TIMEOUT", "5m"),
            ("GCP_MACHINE_TYPE", "e2-medium"),
            ("GCP_PROJECT_ID", ""),
            ("GCP_ZONE", ""),
            ("GCP_NETWORK", ""),
            ("PODVM_IMAGE_NAME", ""),
            ("PEERPODS_LIMIT_PER_NODE", "10"),
            ("ROOT_VOLUME_SIZE", "6"),
            ("DISABLECVM", "true"),
        ],
        // ROOT_VOLUME_SIZE is documented, too, and has no effect.
        Provider::Libvirt => &[
            ("CLOUD_PROVIDER", "libvirt"),
            ("LIBVIRT_POOL", ""),
            ("LIBVIRT_VOL_NAME", ""),
            ("LIBVIRT_DIR_NAME", ""),
            ("LIBVIRT_NET", "default"),
            ("PEERPODS_LIMIT_PER_NODE", "10"),
            ("DISABLECVM", "true"),
        ],
    }
}

/// The settings: what is asked for before what is there, before what is known, before what the documentation has.
pub fn entries(
    provider: Provider,
    known: &Known,
    networks: Option<&Networks>,
    asked: &[Asked],
) -> Vec<Entry> {
    let rows = documented(provider);
    let asked_for =
        |name: &str| asked.iter().find(|(key, _)| key.name == name).map(|(_, value)| value.clone());
    let present = known.settings();
    let kept = |key: &Key| {
        let data = present?;
        std::iter::once(&key.name)
            .chain(key.aliases)
            .find_map(|name| data.get(*name).filter(|value| says_something(value)))
    };
    let entry = |key: &'static Key| {
        let default = rows.iter().find(|(name, _)| *name == key.name).map(|(_, value)| *value);
        let (value, from) = if let Some(value) = asked_for(key.name) {
            (value, From::Asked)
        } else if let Some(value) = kept(key) {
            (value.clone(), From::Kept)
        } else if let Some((value, from)) = fact(key.name, known, networks) {
            (value, from)
        } else {
            match default? {
                "" if key.need == Need::Written => (String::new(), From::Job),
                "" => (String::new(), From::Missing(commands::find(key.name, known))),
                value => (value.to_owned(), From::Documented),
            }
        };
        Some(Entry { key, value, from })
    };
    let own = rows.iter().filter_map(|(name, _)| keys::settings(provider).find(|key| key.name == *name));
    let others = keys::settings(provider).filter(|key| !rows.iter().any(|(name, _)| *name == key.name));
    own.chain(others).filter_map(entry).collect()
}

/// Whether a value is one: neither empty nor a placeholder of the documentation.
pub fn says_something(value: &str) -> bool {
    !value.is_empty() && !check::is_placeholder(value)
}

fn fact(name: &str, known: &Known, networks: Option<&Networks>) -> Option<(String, From)> {
    let infrastructure = |value: &Option<String>| {
        value.clone().map(|value| (value, From::Cluster("Infrastructure cluster".to_owned())))
    };
    let label = |value: Option<&String>, label: &str| {
        value.map(|value| (value.clone(), From::Cluster(format!("label {label} of workers"))))
    };
    let of_machine = |read: fn(&Machine) -> Option<String>| {
        let value = known.machines.iter().find_map(read)?;
        Some((value, From::Cluster("providerID of a worker".to_owned())))
    };
    let cloud = |read: fn(&Network) -> Option<String>| {
        let networks = networks?;
        Some((read(&networks.network)?, From::Cloud(networks.words(read))))
    };
    match name {
        "DISABLECVM" if known.confidential => {
            Some(("false".to_owned(), From::Cluster("the feature gate confidential, which is on".to_owned())))
        }
        "AWS_REGION" => {
            on(known, Provider::Aws).and_then(|()| infrastructure(&known.platform.region)).or_else(|| {
                of_machine(|machine| matches!(machine, Machine::Aws { .. }).then(|| machine.region())?)
            })
        }
        "AWS_SUBNET_ID" | "AZURE_SUBNET_ID" => cloud(|network| network.subnet.clone()),
        "AWS_VPC_ID" | "GCP_NETWORK" => cloud(|network| network.name.clone()),
        "AWS_SG_IDS" | "AZURE_NSG_ID" => cloud(Network::groups),
        "AZURE_RESOURCE_GROUP" => on(known, Provider::Azure)
            .and_then(|()| infrastructure(&known.platform.home))
            .or_else(|| of_machine(resource_group)),
        "AZURE_REGION" => on(known, Provider::Azure)
            .and_then(|()| label(known.regions.first(), "topology.kubernetes.io/region"))
            .or_else(|| cloud(|network| network.region.clone())),
        "GCP_PROJECT_ID" => on(known, Provider::Gcp)
            .and_then(|()| infrastructure(&known.platform.home))
            .or_else(|| of_machine(project)),
        "GCP_ZONE" => on(known, Provider::Gcp).and_then(|()| zone(known)).or_else(|| of_machine(zone_of)),
        _ => None,
    }
}

/// Labels and Infrastructure speak of the cluster's own cloud only.
fn on(known: &Known, provider: Provider) -> Option<()> {
    (known.provider() == Some(provider)).then_some(())
}

fn resource_group(machine: &Machine) -> Option<String> {
    match machine {
        Machine::Azure { resource_group, .. } => Some(resource_group.clone()),
        _ => None,
    }
}

fn project(machine: &Machine) -> Option<String> {
    match machine {
        Machine::Gcp { project, .. } => Some(project.clone()),
        _ => None,
    }
}

fn zone_of(machine: &Machine) -> Option<String> {
    match machine {
        Machine::Gcp { zone, .. } => Some(zone.clone()),
        _ => None,
    }
}

/// Workers are in several zones, and pod VMs in one.
fn zone(known: &Known) -> Option<(String, From)> {
    let (first, others) = known.zones.split_first()?;
    let words = match others {
        [] => "label topology.kubernetes.io/zone of workers".to_owned(),
        others => {
            format!("most workers; others are in {}", others.join(", "))
        }
    };
    Some((first.clone(), From::Cluster(words)))
}
