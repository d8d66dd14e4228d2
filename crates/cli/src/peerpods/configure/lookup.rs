//! What only the cloud knows, and who asks it.
//!
//! The seam for clients of clouds: [`of`] is where one is chosen. Where nobody asks, what would have been found is left for the
//! person, with the command that finds it.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use osc_api::peerpods::Provider;
use osc_cloud::Secret;

use super::aws;
use super::machine::Machine;

/// The network that a machine is in: pod VMs go into the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Identifier of the VPC (AWS); name of the network (Google Cloud).
    pub name: Option<String>,
    /// Identifier of the subnet: `subnet-...`, or the whole resource identifier of Azure.
    pub subnet: Option<String>,
    /// Security groups (AWS), or the network security group's resource identifier (Azure).
    pub security_groups: Vec<String>,
    /// Region, where the cluster does not say it (Azure).
    pub region: Option<String>,
}

impl Network {
    /// The security groups with commas between them, as settings have them.
    pub fn groups(&self) -> Option<String> {
        (!self.security_groups.is_empty()).then(|| self.security_groups.join(","))
    }
}

/// The networks of all machines that the cloud knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// The one that most of them are in.
    pub network: Network,
    /// How many are in that one.
    pub machines: usize,
    /// The others.
    pub others: Vec<Network>,
    /// How many machines are in them.
    pub elsewhere: usize,
}

impl Networks {
    /// Of the networks of machines. None if there is no machine; where two have as many machines, the first one counts.
    pub fn of(found: &[Network]) -> Option<Self> {
        let mut counts: Vec<(&Network, usize)> = Vec::new();
        for network in found {
            match counts.iter_mut().find(|(known, _)| *known == network) {
                Some((_, count)) => *count += 1,
                None => counts.push((network, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let ((network, machines), others) = counts.split_first()?;
        Some(Self {
            network: (*network).clone(),
            machines: *machines,
            others: others.iter().map(|(network, _)| (*network).clone()).collect(),
            elsewhere: found.len() - machines,
        })
    }

    /// Where a value comes from, with those of the other machines if they differ.
    pub fn words(&self, read: impl Fn(&Network) -> Option<String>) -> String {
        let chosen = read(&self.network);
        let mut others: Vec<String> = Vec::new();
        for value in self.others.iter().filter_map(&read) {
            if Some(&value) != chosen.as_ref() && !others.contains(&value) {
                others.push(value);
            }
        }
        if others.is_empty() {
            return "the cloud".to_owned();
        }
        let all = self.machines + self.elsewhere;
        format!("the cloud: {} of {all} workers; others have {}", self.machines, others.join(" and "))
    }
}

/// A cloud that can be asked.
pub trait CloudLookup: Send + Sync {
    /// The networks of machines, by what their nodes' provider identifiers say; those that the cloud does not know are left
    /// out. An error is told to the person; what was to be found is left to fill in.
    fn networks_of<'a>(&'a self, machines: &'a [Machine]) -> BoxFuture<'a, Result<Vec<Network>, String>>;
}

/// Whether somebody asks that provider's cloud.
pub fn can_ask(provider: Provider) -> bool {
    provider == Provider::Aws
}

/// Who asks that provider's cloud, with the credentials of `peer-pods-secret` or of the environment. Nobody where this
/// release cannot; an error is a reason for the person.
pub fn of(
    provider: Provider,
    secret: &BTreeMap<String, Secret>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Box<dyn CloudLookup>>, String> {
    match provider {
        Provider::Aws => Ok(Some(Box::new(aws::Lookup::new(secret, environment)?))),
        Provider::Azure | Provider::Gcp | Provider::Libvirt => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(subnet: &str, group: &str) -> Network {
        Network {
            name: Some("vpc-1".to_owned()),
            subnet: Some(subnet.to_owned()),
            security_groups: vec![group.to_owned()],
            region: None,
        }
    }

    #[test]
    fn the_network_of_most_machines_counts_and_the_others_are_told() {
        let found = [
            network("subnet-c", "sg-1"),
            network("subnet-a", "sg-1"),
            network("subnet-b", "sg-2"),
            network("subnet-a", "sg-1"),
        ];
        let all = Networks::of(&found).unwrap();
        assert_eq!((&all.network, all.machines, all.elsewhere), (&found[1], 2, 2));
        assert_eq!(
            all.words(|network| network.subnet.clone()),
            "the cloud: 2 of 4 workers; others have subnet-c and subnet-b"
        );
        assert_eq!(all.words(|network| network.name.clone()), "the cloud", "all of them agree on it");
        assert_eq!(Networks::of(&[]), None);
        assert_eq!(Networks::of(&found[..2]).unwrap().network, found[0], "the first of equals");
    }
}
