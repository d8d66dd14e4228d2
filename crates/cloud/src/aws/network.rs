//! What the settings name: regions, subnets, security groups, instance types.

use serde::Deserialize;

use super::client::{Params, Service};
use super::error::Result;
use super::xml::{self, Items};
use super::{Aws, pages};

/// A subnet.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// `subnet-...`
    #[serde(rename = "subnetId")]
    pub id: String,
    /// `vpc-...`
    #[serde(rename = "vpcId")]
    pub vpc: String,
    /// Addresses that are left.
    #[serde(rename = "availableIpAddressCount")]
    pub free: u32,
}

/// A security group.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    /// `sg-...`
    #[serde(rename = "groupId")]
    pub id: String,
    /// `vpc-...`
    #[serde(rename = "vpcId", default)]
    pub vpc: String,
}

/// An instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// `m6a.large`
    pub name: String,
    /// CPUs that a machine has by default.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Whether AMD SEV-SNP can protect it.
    pub snp: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subnets {
    #[serde(default)]
    subnet_set: Items<Subnet>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    #[serde(default)]
    security_group_info: Items<SecurityGroup>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Regions {
    #[serde(default)]
    region_info: Items<Region>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    region_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Types {
    #[serde(default)]
    instance_type_set: Items<Type>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Type {
    #[serde(rename = "instanceType")]
    name: String,
    v_cpu_info: Cpus,
    memory_info: Memory,
    #[serde(default)]
    processor_info: Processor,
    #[serde(default)]
    gpu_info: Gpus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpus {
    default_v_cpus: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    size_in_mi_b: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Processor {
    #[serde(default)]
    supported_features: Items<String>,
}

#[derive(Default, Deserialize)]
struct Gpus {
    #[serde(default)]
    gpus: Items<Gpu>,
}

#[derive(Deserialize)]
struct Gpu {
    count: u32,
}

impl From<Type> for InstanceType {
    fn from(item: Type) -> Self {
        Self {
            name: item.name,
            cpus: item.v_cpu_info.default_v_cpus,
            memory_mib: item.memory_info.size_in_mi_b,
            gpus: item.gpu_info.gpus.items.iter().map(|gpu| gpu.count).sum(),
            snp: item.processor_info.supported_features.items.iter().any(|feature| feature == "amd-sev-snp"),
        }
    }
}

impl Aws {
    /// The regions of the account.
    pub fn regions(&self) -> Result<Vec<String>> {
        let body = self.client.query(Service::Ec2, "DescribeRegions", &Params::new())?;
        let found: Regions = xml::read(Service::Ec2, "DescribeRegions", &body)?;
        Ok(found.region_info.items.into_iter().map(|region| region.region_name).collect())
    }

    /// A subnet.
    pub fn subnet(&self, id: &str) -> Result<Option<Subnet>> {
        let found = pages(&Params::new().list("SubnetId", [id]), |params| {
            let body = self.client.query(Service::Ec2, "DescribeSubnets", params)?;
            let page: Subnets = xml::read(Service::Ec2, "DescribeSubnets", &body)?;
            Ok((page.subnet_set.items, page.next_token))
        });
        one(found)
    }

    /// A security group.
    pub fn security_group(&self, id: &str) -> Result<Option<SecurityGroup>> {
        let found = pages(&Params::new().list("GroupId", [id]), |params| {
            let body = self.client.query(Service::Ec2, "DescribeSecurityGroups", params)?;
            let page: Groups = xml::read(Service::Ec2, "DescribeSecurityGroups", &body)?;
            Ok((page.security_group_info.items, page.next_token))
        });
        one(found)
    }

    /// An instance type.
    pub fn instance_type(&self, name: &str) -> Result<Option<InstanceType>> {
        let found = pages(&Params::new().list("InstanceType", [name]), |params| {
            let body = self.client.query(Service::Ec2, "DescribeInstanceTypes", params)?;
            let page: Types = xml::read(Service::Ec2, "DescribeInstanceTypes", &body)?;
            Ok((page.instance_type_set.items.into_iter().map(InstanceType::from).collect(), page.next_token))
        });
        match one(found) {
            Err(error) if error.code() == "InvalidInstanceType" => Ok(None),
            other => other,
        }
    }
}

/// AWS says in two ways that there is none.
fn one<T>(found: Result<Vec<T>>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
