//! The annotations by which a person or a test tells the simulation to misbehave, and those it keeps notes in.
//!
//! | Annotation | On | Value | Effect |
//! |---|---|---|---|
//! | [`DEGRADE_ROLLOUT`] | node, pool | message | the next rollout of the node (of all the pool's nodes) stops with this message, `state: Degraded`, until the annotation is removed |
//! | [`REFUSE_DRAIN`] | node, pool | reason | the node is cordoned but never becomes empty until the annotation is removed |
//! | [`REBOOT_FACTOR`] | node, pool | number | reboots take that many times as long; text that is no number counts as 1 |
//! | [`REBOOT_HANGS`] | node, pool | anything | a reboot does not end until the annotation is removed |
//! | [`RESTART`] | node | anything | the node reboots once, outside any rollout; the annotation is removed |
//! | [`AGENT_FAILS`] | node | message | the node agent of DaemonSet mode fails with this message until the annotation is removed |
//! | [`AGENT_NEEDS_REBOOT`] | node | anything | what the node agent installs takes effect with a reboot |
//! | [`MACHINE_FAILS`] | node, pod | message | the [adaptor](super::adaptor) gets no machine until the annotation is removed |
//! | [`ADAPTOR_FORGETS`] | node, pod | anything | the adaptor lets the pod go and leaves its machine where it is |
//! | [`ADAPTOR_DIES`] | node, pod | anything | the adaptor dies once, between making a machine and telling of it; the annotation is removed |
//! | [`SCRIPT`] | pod, pod template, Job | [script](super::script) | what becomes of the pod |
//! | [`REPLACED`] | pod | text | when the pod goes, another of the same name takes its place |
//! | [`REBOOTS`] | node | number | kept by the simulation: reboots so far |
//! | [`AGENT_BOOT`] | node | text | kept by the simulation: the boot in which the node agent was done |
//! | [`PENDING_CONFIG`], [`PENDING_BOOT_ID`] | node | text | kept by the simulation: the update that the running reboot installs |

use std::collections::BTreeMap;

/// Fails the next rollout with this message.
pub const DEGRADE_ROLLOUT: &str = "devcluster.osc/degrade-rollout";
/// Keeps a drain from finishing, for this reason.
pub const REFUSE_DRAIN: &str = "devcluster.osc/refuse-drain";
/// Makes reboots slower or faster.
pub const REBOOT_FACTOR: &str = "devcluster.osc/reboot-factor";
/// Makes a reboot never end.
pub const REBOOT_HANGS: &str = "devcluster.osc/reboot-hangs";
/// Reboots a node once.
pub const RESTART: &str = "devcluster.osc/restart";
/// Makes the node agent fail with this message.
pub const AGENT_FAILS: &str = "devcluster.osc/agent-fails";
/// Makes the node agent wait for a reboot when it has installed.
pub const AGENT_NEEDS_REBOOT: &str = "devcluster.osc/agent-needs-reboot";
/// The boot in which the node agent was done; what the real one finds on the node's disk.
pub const AGENT_BOOT: &str = "devcluster.osc/agent-boot";
/// Makes the adaptor get no machine, for this reason.
pub const MACHINE_FAILS: &str = "devcluster.osc/machine-fails";
/// Makes the adaptor leave machines behind.
pub const ADAPTOR_FORGETS: &str = "devcluster.osc/adaptor-forgets";
/// Makes the adaptor die once, with a machine that nobody knows of.
pub const ADAPTOR_DIES: &str = "devcluster.osc/adaptor-dies";
/// What becomes of a pod.
pub const SCRIPT: &str = "devcluster.osc/script";
/// Somebody who is not simulated makes the pod anew when it goes: who that is.
pub const REPLACED: &str = "devcluster.osc/replaced-by";
/// How often a node has rebooted.
pub const REBOOTS: &str = "devcluster.osc/reboots";
/// The rendered machine config that a node is rebooting into; what the real daemon keeps on the node's disk.
pub const PENDING_CONFIG: &str = "devcluster.osc/pending-config";
/// The boot that ends with the reboot in progress. Another boot identifier means that the reboot is over.
pub const PENDING_BOOT_ID: &str = "devcluster.osc/pending-boot-id";

/// Node annotation of the Machine Config Operator: what its drain controller is asked for.
pub const DESIRED_DRAIN: &str = "machineconfiguration.openshift.io/desiredDrain";
/// Node annotation of the Machine Config Operator: what its drain controller has done.
pub const LAST_APPLIED_DRAIN: &str = "machineconfiguration.openshift.io/lastAppliedDrain";
/// Annotation of a pod that comes from a file on its node.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// What the annotations of a node, and of its pool, ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// [`DEGRADE_ROLLOUT`].
    pub degrade: Option<String>,
    /// [`REFUSE_DRAIN`].
    pub refuse_drain: Option<String>,
    /// [`REBOOT_FACTOR`].
    pub reboot_factor: Option<f64>,
    /// [`REBOOT_HANGS`].
    pub reboot_hangs: bool,
}

impl Faults {
    /// Reads them from an object's annotations.
    pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let get = |key: &str| annotations.and_then(|map| map.get(key)).cloned();
        Self {
            degrade: get(DEGRADE_ROLLOUT),
            refuse_drain: get(REFUSE_DRAIN),
            reboot_factor: get(REBOOT_FACTOR).and_then(|text| text.trim().parse().ok()),
            reboot_hangs: get(REBOOT_HANGS).is_some(),
        }
    }

    /// What holds for a node: its own annotations, else those of its pool.
    #[must_use]
    pub fn or(&self, pool: &Self) -> Self {
        Self {
            degrade: self.degrade.clone().or_else(|| pool.degrade.clone()),
            refuse_drain: self.refuse_drain.clone().or_else(|| pool.refuse_drain.clone()),
            reboot_factor: self.reboot_factor.or(pool.reboot_factor),
            reboot_hangs: self.reboot_hangs || pool.reboot_hangs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(pairs: &[(&str, &str)]) -> Faults {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Faults::read(Some(&map))
    }

    #[test]
    fn a_node_speaks_before_its_pool() {
        let pool = faults(&[(DEGRADE_ROLLOUT, "pool"), (REBOOT_FACTOR, "2")]);
        let node = faults(&[(DEGRADE_ROLLOUT, "node"), (REBOOT_HANGS, "")]);
        let both = node.or(&pool);
        assert_eq!(both.degrade.as_deref(), Some("node"));
        assert_eq!(both.reboot_factor, Some(2.0));
        assert!(both.reboot_hangs);
        assert_eq!(Faults::read(None), Faults::default());
        assert_eq!(faults(&[(REBOOT_FACTOR, "slow")]).reboot_factor, None);
    }
}
