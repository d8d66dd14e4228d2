//! Machines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::client::{Params, Service};
use super::error::Result;
use super::xml::{self, Items, Tag};
use super::{Aws, pages};

/// So many machines on a page.
const PAGE: &str = "500";

/// A machine of EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `i-...`
    pub id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its addresses inside of the VPC.
    pub addresses: Vec<IpAddr>,
    /// Its public address.
    pub public_address: Option<IpAddr>,
    /// When it was started.
    pub launched: Option<String>,
    /// Its subnet.
    pub subnet: Option<String>,
    /// The VPC of the subnet.
    pub vpc: Option<String>,
    /// Its security groups, sorted.
    pub groups: Vec<String>,
}

impl Machine {
    /// It is gone, or on its way.
    pub fn is_gone(&self) -> bool {
        ["terminated", "shutting-down"].contains(&self.state.as_str())
    }
}

/// A machine to be started.
#[derive(Clone, Default)]
pub struct NewMachine {
    /// The same token starts one machine only.
    pub token: String,
    /// `ami-...`
    pub image: String,
    /// Instance type.
    pub kind: String,
    /// Subnet; none with a launch template that has one.
    pub subnet: Option<String>,
    /// Security groups.
    pub groups: Vec<String>,
    /// Whether it gets a public address.
    pub public_address: bool,
    /// Key pair.
    pub key_pair: Option<String>,
    /// Launch template.
    pub template: Option<String>,
    /// Device and GiB of the root disk.
    pub root_disk: Option<(String, u64)>,
    /// Whether AMD SEV-SNP protects it.
    pub confidential: bool,
    /// What it reads at its start.
    pub user_data: Vec<u8>,
    /// Tags of the machine and of its disks.
    pub tags: BTreeMap<String, String>,
}

impl NewMachine {
    fn params(&self) -> Params {
        let mut params = Params::new()
            .with("MinCount", "1")
            .with("MaxCount", "1")
            .with("ClientToken", &self.token)
            .with("ImageId", &self.image)
            .with("InstanceType", &self.kind)
            .maybe("KeyName", self.key_pair.as_deref())
            .maybe("LaunchTemplate.LaunchTemplateName", self.template.as_deref())
            .tags("instance", &self.tags)
            .tags("volume", &self.tags);
        if self.public_address {
            params = params
                .with("NetworkInterface.1.DeviceIndex", "0")
                .with("NetworkInterface.1.AssociatePublicIpAddress", "true")
                .with("NetworkInterface.1.DeleteOnTermination", "true")
                .maybe("NetworkInterface.1.SubnetId", self.subnet.as_deref())
                .list("NetworkInterface.1.SecurityGroupId", &self.groups);
        } else {
            params = params.maybe("SubnetId", self.subnet.as_deref()).list("SecurityGroupId", &self.groups);
        }
        if let Some((device, size)) = &self.root_disk {
            params = params
                .with("BlockDeviceMapping.1.DeviceName", device)
                .with("BlockDeviceMapping.1.Ebs.VolumeSize", size.to_string())
                .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true");
        }
        if self.confidential {
            params = params.with("CpuOptions.AmdSevSnp", "enabled");
        }
        if !self.user_data.is_empty() {
            params = params.with("UserData", STANDARD.encode(&self.user_data));
        }
        params
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservations {
    #[serde(default)]
    reservation_set: Items<Reservation>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    instance_id: String,
    instance_state: State,
    #[serde(default)]
    tag_set: Items<Tag>,
    private_ip_address: Option<String>,
    ip_address: Option<String>,
    launch_time: Option<String>,
    #[serde(default)]
    network_interface_set: Items<Interface>,
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    #[serde(default)]
    group_set: Items<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    group_id: String,
}

#[derive(Deserialize)]
struct State {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    private_ip_address: Option<String>,
}

impl From<Item> for Machine {
    fn from(item: Item) -> Self {
        let interfaces =
            item.network_interface_set.items.into_iter().filter_map(|interface| interface.private_ip_address);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in item.private_ip_address.into_iter().chain(interfaces).flat_map(|text| text.parse()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut groups: Vec<String> = item.group_set.items.into_iter().map(|group| group.group_id).collect();
        groups.sort();
        Self {
            id: item.instance_id,
            state: item.instance_state.name,
            tags: item.tag_set.map(),
            addresses,
            public_address: item.ip_address.and_then(|text| text.parse().ok()),
            launched: item.launch_time,
            subnet: item.subnet_id,
            vpc: item.vpc_id,
            groups,
        }
    }
}

impl Aws {
    /// Starts a machine, or finds the one that the token has started.
    pub fn run(&self, new: &NewMachine) -> Result<Machine> {
        let body = self.client.query(Service::Ec2, "RunInstances", &new.params())?;
        let answer: Reservation = xml::read(Service::Ec2, "RunInstances", &body)?;
        Self::expected("RunInstances", answer.instances_set.items.into_iter().next().map(Machine::from))
    }

    /// Ends a machine. Its disks go with it.
    pub fn terminate(&self, id: &str) -> Result<()> {
        self.client
            .query(Service::Ec2, "TerminateInstances", &Params::new().list("InstanceId", [id]))
            .map(drop)
    }

    /// A machine, also one that is gone, for as long as AWS remembers it.
    pub fn machine(&self, id: &str) -> Result<Option<Machine>> {
        match self.machines(&Params::new().list("InstanceId", [id])) {
            Ok(machines) => Ok(machines.into_iter().find(|machine| machine.id == id)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Machines with these identifiers, as far as they are there. At most 200 identifiers.
    pub fn machines_with(&self, ids: &[&str]) -> Result<Vec<Machine>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.machines(&Self::there().filter("instance-id", ids.iter().copied()))
    }

    /// Machines with these tags that are not gone.
    pub fn machines_tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Machine>> {
        self.machines(&Self::there().tagged(tags))
    }

    /// Machines whose name matches that pattern and that are not gone.
    pub fn machines_named(&self, pattern: &str) -> Result<Vec<Machine>> {
        self.machines(&Self::there().filter("tag:Name", [pattern]))
    }

    fn there() -> Params {
        let states = ["pending", "running", "stopping", "stopped"];
        Params::new().with("MaxResults", PAGE).filter("instance-state-name", states)
    }

    fn machines(&self, params: &Params) -> Result<Vec<Machine>> {
        pages(params, |params| {
            let body = self.client.query(Service::Ec2, "DescribeInstances", params)?;
            let page: Reservations = xml::read(Service::Ec2, "DescribeInstances", &body)?;
            let items = page.reservation_set.items.into_iter().flat_map(|one| one.instances_set.items);
            Ok((items.map(Machine::from).collect(), page.next_token))
        })
    }
}
