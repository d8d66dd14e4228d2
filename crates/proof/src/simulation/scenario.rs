//! What people do with a KataConfig, from beginning to end.
//!
//! Each act waits until what came before has settled, so that the number of reboots does not depend on who was faster.

use std::pin::Pin;

use osc_devcluster::Contents;
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::peer_pods;
use super::rig::{Rig, Stuck};
use crate::takeover;

type Acts<'a> = Pin<Box<dyn Future<Output = Result<(), Stuck>> + 'a>>;

/// A cluster and what happens on it.
pub struct Scenario {
    /// For people and for the command line.
    pub name: &'static str,
    /// How often two objects have to change for one rollout of a pool that has nodes. If the operator is kept from the
    /// second one for longer than the Machine Config Operator waits, that makes two rollouts; nothing less than pausing
    /// the control plane's pool could prevent it.
    pub splits: u32,
    contents: fn() -> Contents,
    acts: fn(&Rig) -> Acts<'_>,
}

impl Scenario {
    /// What is in the cluster at first.
    pub fn contents(&self) -> Contents {
        (self.contents)()
    }

    /// Does what people do, and waits for what they wait for.
    pub async fn play(&self, rig: &Rig) -> Result<(), Stuck> {
        (self.acts)(rig).await
    }
}

fn regular(workers: u32) -> Contents {
    Topology { workers, ..Topology::default() }.into()
}

fn kubernetes(workers: u32) -> Contents {
    Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), workers, ..Topology::default() }
        .into()
}

fn named(nodes: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]})
}

fn selecting(nodes: &[&str]) -> Value {
    json!({"kataConfigPoolSelector": named(nodes)})
}

/// Some nodes are selected, and then others.
async fn selects_again(rig: &Rig, first: &[&str], then: &[&str]) -> Result<(), Stuck> {
    rig.create(selecting(first)).await;
    rig.until_installed(first).await?;
    rig.change(selecting(then)).await;
    rig.until_installed(then).await
}

/// The nodes that the Go operator was asked to install Kata on, three workers.
const TAKEN: &[&str] = &["worker-0", "worker-1", "worker-2"];

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "install-one-worker",
        splits: 0,
        contents: || regular(1),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0"]).await
            })
        },
    },
    Scenario {
        name: "install-three-workers",
        splits: 0,
        contents: || regular(3),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({"logLevel": "debug"})).await;
                rig.until_installed(&["worker-0", "worker-1", "worker-2"]).await
            })
        },
    },
    Scenario {
        name: "compact",
        splits: 0,
        contents: || Topology { kind: Kind::Compact, workers: 0, ..Topology::default() }.into(),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["master-0", "master-1", "master-2"]).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "single-node",
        splits: 2,
        contents: || Topology { kind: Kind::SingleNode, ..Topology::default() }.into(),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({"logLevel": "debug"})).await;
                rig.until_installed(&["master-0"]).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "selection-grows",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(selects_again(rig, &["worker-0"], &["worker-0", "worker-1"])),
    },
    Scenario {
        name: "selection-shrinks",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(selects_again(rig, &["worker-0", "worker-1"], &["worker-1"])),
    },
    Scenario {
        name: "selection-swaps",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(selects_again(rig, &["worker-0"], &["worker-1"])),
    },
    Scenario {
        name: "log-level",
        splits: 0,
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                for (level, reboots) in [("debug", 2), ("info", 3)] {
                    rig.change(json!({"logLevel": level})).await;
                    rig.until_reboots("worker", reboots).await?;
                    rig.until_installed(&["worker-0", "worker-1"]).await?;
                }
                Ok(())
            })
        },
    },
    Scenario {
        name: "uninstall",
        splits: 0,
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({"logLevel": "debug"})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "blocked-then-released",
        splits: 0,
        contents: || regular(1),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0"]).await?;
                rig.create_pod("kata-pod", Some("kata")).await;
                rig.delete().await;
                rig.until_condition("InProgress", "False", "BlockedByExistingKataPods").await?;
                rig.delete_pod("kata-pod").await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "degraded-then-repaired",
        splits: 0,
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.annotate_node("worker-0", annotations::DEGRADE_ROLLOUT, Some("disk is full")).await;
                rig.create(json!({})).await;
                rig.until_condition("InProgress", "True", "Failed").await?;
                rig.annotate_node("worker-0", annotations::DEGRADE_ROLLOUT, None).await;
                rig.until_installed(&["worker-0", "worker-1"]).await
            })
        },
    },
    Scenario {
        name: "daemonset",
        splits: 0,
        contents: || kubernetes(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "daemonset-selection",
        splits: 0,
        contents: || kubernetes(3),
        acts: |rig| Box::pin(selects_again(rig, &["worker-0", "worker-1"], &["worker-1", "worker-2"])),
    },
    Scenario {
        name: "daemonset-failed",
        splits: 0,
        contents: || kubernetes(2),
        acts: |rig| {
            Box::pin(async {
                rig.annotate_node("worker-0", annotations::AGENT_FAILS, Some("disk is full")).await;
                rig.create(json!({"logLevel": "debug"})).await;
                rig.until_condition("InProgress", "True", "Failed").await?;
                rig.annotate_node("worker-0", annotations::AGENT_FAILS, None).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                rig.annotate_node("worker-1", annotations::AGENT_FAILS, Some("disk is full")).await;
                rig.delete().await;
                rig.until_condition("InProgress", "True", "Failed").await?;
                rig.annotate_node("worker-1", annotations::AGENT_FAILS, None).await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "peer-pods",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(peer_pods::used(rig)),
    },
    Scenario {
        name: "peer-pods-forgotten",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(peer_pods::forgotten(rig)),
    },
    Scenario {
        name: "peer-pods-limited",
        splits: 0,
        contents: || regular(2),
        acts: |rig| Box::pin(peer_pods::limited(rig)),
    },
    Scenario {
        name: "peer-pods-switched",
        splits: 0,
        contents: || regular(1),
        acts: |rig| Box::pin(peer_pods::switched(rig)),
    },
    Scenario {
        name: "peer-pods-failed",
        splits: 0,
        contents: || regular(1),
        acts: |rig| Box::pin(peer_pods::failed(rig)),
    },
    Scenario {
        name: "peer-pods-interrupted",
        splits: 0,
        contents: || regular(1),
        acts: |rig| Box::pin(peer_pods::interrupted(rig)),
    },
    Scenario {
        name: "peer-pods-by-agents",
        splits: 0,
        contents: || kubernetes(2),
        acts: |rig| Box::pin(peer_pods::used(rig)),
    },
    Scenario {
        name: "again",
        splits: 0,
        contents: || regular(1),
        acts: |rig| {
            Box::pin(async {
                for _ in 0..2 {
                    rig.create(json!({})).await;
                    rig.until_installed(&["worker-0"]).await?;
                    rig.delete().await;
                    rig.until_gone().await?;
                }
                Ok(())
            })
        },
    },
    Scenario {
        name: "takeover",
        splits: 0,
        contents: || takeover::left_behind("regular-1.12"),
        acts: |rig| {
            Box::pin(async {
                rig.until_installed(TAKEN).await?;
                rig.change(json!({"logLevel": "debug"})).await;
                rig.until_reboots("worker", 2).await?;
                rig.until_installed(TAKEN).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "takeover-compact",
        splits: 0,
        contents: || takeover::left_behind("compact-1.11"),
        acts: |rig| {
            Box::pin(async {
                rig.until_installed(&["master-0", "master-1", "master-2"]).await?;
                rig.delete().await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "takeover-installing",
        splits: 0,
        contents: || takeover::left_behind("installing-1.12"),
        acts: |rig| Box::pin(rig.until_installed(TAKEN)),
    },
    Scenario {
        name: "takeover-uninstalling",
        splits: 0,
        contents: || takeover::left_behind("uninstalling-1.12"),
        acts: |rig| Box::pin(rig.until_gone()),
    },
];

/// The scenario of that name, or all.
pub fn chosen(name: Option<&str>) -> anyhow::Result<Vec<&'static Scenario>> {
    let chosen: Vec<_> =
        SCENARIOS.iter().filter(|scenario| name.is_none_or(|name| scenario.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        anyhow::bail!("there is no scenario {:?}; there are {}", name.unwrap_or_default(), names.join(", "));
    }
    Ok(chosen)
}
