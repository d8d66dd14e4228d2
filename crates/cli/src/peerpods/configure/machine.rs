//! What a node's provider identifier says about its machine.

use osc_api::peerpods::Provider;

/// A machine of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// `aws:///eu-west-1a/i-0123456789abcdef0`.
    Aws {
        /// Availability zone.
        zone: String,
        /// Instance.
        instance: String,
    },
    /// `azure:///subscriptions/.../resourceGroups/.../providers/Microsoft.Compute/virtualMachines/...`.
    Azure {
        /// Subscription.
        subscription: String,
        /// Resource group.
        resource_group: String,
        /// Virtual machine, or the instance of a scale set.
        name: String,
    },
    /// `gce://project/europe-west1-b/name`.
    Gcp {
        /// Project.
        project: String,
        /// Zone.
        zone: String,
        /// Instance.
        name: String,
    },
}

impl Machine {
    /// Reads an identifier; others than of these clouds say nothing.
    pub fn parse(provider_id: &str) -> Option<Self> {
        let (scheme, rest) = provider_id.split_once("://")?;
        let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let own = |text: &str| text.to_owned();
        match (scheme, parts.as_slice()) {
            ("aws", [zone, instance]) if instance.starts_with("i-") => {
                Some(Self::Aws { zone: own(zone), instance: own(instance) })
            }
            ("gce", [project, zone, name]) => {
                Some(Self::Gcp { project: own(project), zone: own(zone), name: own(name) })
            }
            ("azure", [subscriptions, subscription, groups, resource_group, .., name])
                if subscriptions.eq_ignore_ascii_case("subscriptions")
                    && groups.eq_ignore_ascii_case("resourceGroups") =>
            {
                Some(Self::Azure {
                    subscription: own(subscription),
                    resource_group: own(resource_group),
                    name: own(name),
                })
            }
            _ => None,
        }
    }

    /// Whose cloud it is a machine of.
    pub fn provider(&self) -> Provider {
        match self {
            Self::Aws { .. } => Provider::Aws,
            Self::Azure { .. } => Provider::Azure,
            Self::Gcp { .. } => Provider::Gcp,
        }
    }

    /// The region, where the identifier says it.
    pub fn region(&self) -> Option<String> {
        match self {
            // Zones are regions with a letter; local zones have more behind the number.
            Self::Aws { zone, .. } => {
                let digit = zone.find(|c: char| c.is_ascii_digit())?;
                let rest = &zone[digit..];
                let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                Some(zone[..digit + length].to_owned())
            }
            Self::Gcp { zone, .. } => zone.rsplit_once('-').map(|(region, _)| region.to_owned()),
            Self::Azure { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "aws:///eu-west-1a/i-0abc",
        Machine::Aws { zone: "eu-west-1a".to_owned(), instance: "i-0abc".to_owned() },
        Some("eu-west-1")
    )]
    #[case(
        "gce://shop-prod/europe-west1-b/shop-x7k2p-worker-b-qlz8c",
        Machine::Gcp {
            project: "shop-prod".to_owned(),
            zone: "europe-west1-b".to_owned(),
            name: "shop-x7k2p-worker-b-qlz8c".to_owned()
        },
        Some("europe-west1")
    )]
    #[case(
        "azure:///subscriptions/1-2/resourceGroups/shop-rg/providers/Microsoft.Compute/virtualMachines/worker-0",
        Machine::Azure {
            subscription: "1-2".to_owned(),
            resource_group: "shop-rg".to_owned(),
            name: "worker-0".to_owned()
        },
        None
    )]
    fn identifiers_are_read(#[case] id: &str, #[case] machine: Machine, #[case] region: Option<&str>) {
        assert_eq!(Machine::parse(id), Some(machine.clone()));
        assert_eq!(machine.region().as_deref(), region);
    }

    #[rstest]
    #[case("")]
    #[case("aws:///eu-west-1a")]
    #[case("aws:///eu-west-1a/fargate-ip-10-0-0-1")]
    #[case("gce://project/zone")]
    #[case("azure:///resourceGroups/g/virtualMachines/x")]
    #[case("devcluster:///worker-0")]
    #[case("gce://project//name")]
    fn others_say_nothing(#[case] id: &str) {
        assert_eq!(Machine::parse(id), None);
    }

    #[test]
    fn local_zones_are_of_a_region() {
        let zone = Machine::Aws { zone: "us-east-1-bos-1a".to_owned(), instance: "i-1".to_owned() };
        assert_eq!(zone.region().as_deref(), Some("us-east-1"));
    }
}
