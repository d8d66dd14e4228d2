//! What people do with a KataConfig, from beginning to end.
//!
//! Each act waits until what came before has settled, so that the number of reboots does not depend on who was faster.

use std::pin::Pin;

use osc_devcluster::Contents;
use osc_devcluster::sim::annotations;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::rig::{Rig, Stuck};

type Acts<'a> = Pin<Box<dyn Future<Output = Result<(), Stuck>> + 'a>>;

/// A cluster and what happens on it.
pub struct Scenario {
    /// For people and for the command line.
    pub name: &'static str,
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

fn named(nodes: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]})
}

fn selecting(nodes: &[&str]) -> Value {
    json!({"kataConfigPoolSelector": named(nodes)})
}

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "install-one-worker",
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
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(selecting(&["worker-0"])).await;
                rig.until_installed(&["worker-0"]).await?;
                rig.change(json!({"kataConfigPoolSelector": null})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await
            })
        },
    },
    Scenario {
        name: "selection-shrinks",
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                rig.change(selecting(&["worker-1"])).await;
                rig.until_installed(&["worker-1"]).await
            })
        },
    },
    Scenario {
        name: "selection-swaps",
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(selecting(&["worker-0"])).await;
                rig.until_installed(&["worker-0"]).await?;
                rig.change(selecting(&["worker-1"])).await;
                rig.until_installed(&["worker-1"]).await
            })
        },
    },
    Scenario {
        name: "log-level",
        contents: || regular(2),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0", "worker-1"]).await?;
                for level in ["debug", "info"] {
                    rig.change(json!({"logLevel": level})).await;
                    rig.until_condition("InProgress", "True", "Updating").await?;
                    rig.until_installed(&["worker-0", "worker-1"]).await?;
                }
                Ok(())
            })
        },
    },
    Scenario {
        name: "uninstall",
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
        contents: || regular(1),
        acts: |rig| {
            Box::pin(async {
                rig.create(json!({})).await;
                rig.until_installed(&["worker-0"]).await?;
                rig.create_pod("kata-pod", "kata").await;
                rig.delete().await;
                rig.until_condition("InProgress", "False", "BlockedByExistingKataPods").await?;
                rig.delete_pod("kata-pod").await;
                rig.until_gone().await
            })
        },
    },
    Scenario {
        name: "degraded-then-repaired",
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
        name: "again",
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
