//! Carries out what the [daemon](super::daemon) of each node decides.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::ResourceExt;
use osc_api::names;
use osc_api::openshift::{MachineConfig, MachineConfigSpec};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::daemon::{Changes, Phase, Step, Target, drain_failed, drained, known_extensions, phase, step};
use super::drain;
use super::membership::Fleet;
use super::node_view::{NodeView, State};
use super::render::is_rendered;
use crate::sim::annotations::Faults;
use crate::sim::node::{is_ready, taints, wanted_taints};
use crate::sim::options::hex;
use crate::sim::pods::allocatable::reset;
use crate::sim::queue::{Next, Queue};
use crate::sim::since::Since;
use crate::sim::store::Key;
use crate::sim::world::World;

/// What the daemons of all nodes share.
struct Agent {
    world: Arc<World>,
    fleet: Arc<Fleet>,
    phases: Since<String, (Discriminant<Phase>, Option<String>)>,
    /// Contents of rendered configs, also of those that exist no more: nodes have a copy of what they run.
    contents: Mutex<HashMap<String, Arc<MachineConfigSpec>>>,
}

/// Runs the daemons until cancelled.
pub async fn run(world: Arc<World>, fleet: Arc<Fleet>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("machine-config-daemon"));
    let agent = Arc::new(Agent {
        world: world.clone(),
        fleet,
        phases: Since::new(),
        contents: Mutex::new(HashMap::new()),
    });
    connect(&agent, &queue);
    queue
        .run(32, &cancel, |name: String| {
            let agent = agent.clone();
            async move { agent.sync(&name).await }
        })
        .await;
}

fn connect(agent: &Arc<Agent>, queue: &Arc<Queue<String>>) {
    let world = &agent.world;
    let (shared, adds) = (agent.clone(), queue.clone());
    world.machine_configs.on_change(move |change| {
        let Some(config) = &change.after else { return };
        if shared.remember(config) && change.before.is_none() {
            // Nodes that were told about it too early are waiting for it.
            for node in shared.world.nodes.all() {
                if node.annotations().get(names::MCO_DESIRED_CONFIG) == Some(&config.name_any()) {
                    adds.add(node.name_any());
                }
            }
        }
    });
    let (shared, adds) = (agent.clone(), queue.clone());
    world.nodes.on_change(move |change| match (&change.before, &change.after) {
        (_, Some(node)) if change.differs(NodeView::read) => adds.add(node.name_any()),
        (Some(node), None) => shared.phases.forget(&node.name_any()),
        _ => {}
    });
    let (shared, adds) = (agent.clone(), queue.clone());
    world.pools.on_change(move |change| {
        let Some(pool) = change.object() else { return };
        if change.differs(|pool| Faults::read(pool.metadata.annotations.as_ref())) {
            for node in shared.fleet.members(&pool.name_any()).0 {
                adds.add(node.name.clone());
            }
        }
    });
    let (shared, adds) = (agent.clone(), queue.clone());
    world.pods.on_change(move |change| {
        // A pod is gone: the drain of its node may be over.
        let Some(pod) = change.before.as_ref().filter(|_| change.after.is_none()) else { return };
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { return };
        let draining = shared
            .world
            .nodes
            .get(&Key::cluster(&node))
            .is_some_and(|node| node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true));
        if draining {
            adds.add(node);
        }
    });
}

impl Agent {
    /// Keeps the content of a rendered config; says whether it is one.
    fn remember(&self, config: &MachineConfig) -> bool {
        let name = config.name_any();
        if !is_rendered(&name) {
            return false;
        }
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.insert(name, Arc::new(config.spec.clone()));
        true
    }

    fn content(&self, name: Option<&String>) -> Option<Arc<MachineConfigSpec>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).get(name?).cloned()
    }

    fn target(&self, node: &NodeView) -> Target {
        let desired = node.desired.as_ref();
        let (old, new) = (self.content(node.current.as_ref()), self.content(desired));
        let known = known_extensions(&node.os_image);
        let extensions = new.iter().flat_map(|spec| spec.extensions.iter().flatten());
        let base = if node.labels.contains_key(names::MASTER_NODE_ROLE) {
            names::MASTER_POOL
        } else {
            names::WORKER_POOL
        };
        let first = || {
            let pool = self.world.pools.get(&Key::cluster(base))?;
            pool.spec.configuration.as_ref()?.name.clone()
        };
        Target {
            exists: desired.is_some_and(|name| self.world.machine_configs.get(&Key::cluster(name)).is_some()),
            same_content: old.is_some() && old == new,
            bad_extensions: extensions.filter(|name| !known.contains(&name.as_str())).cloned().collect(),
            first: if node.current.is_none() { first() } else { None },
        }
    }

    async fn sync(&self, name: &str) -> Next {
        let Some(node) = self.world.nodes.get(&Key::cluster(name)) else { return Ok(None) };
        let mut view = NodeView::read(&node);
        let pool = self.fleet.pool_of(name).and_then(|pool| self.world.pools.get(&Key::cluster(&pool)));
        if let Some(pool) = pool {
            view.faults = view.faults.or(&Faults::read(pool.metadata.annotations.as_ref()));
        }
        let phase = phase(&view, &self.target(&view));
        let key = (discriminant(&phase), view.desired.clone());
        let elapsed = self.phases.elapsed(name.to_owned(), key, self.world.now());
        match step(&phase, &view, elapsed, &self.world.options) {
            // A node that has no config yet waits for its pool to be rendered.
            Step::Rest if view.current.is_none() && view.ready && !self.world.pools.all().is_empty() => {
                Ok(Some(self.world.settle(self.world.options.timing.sync_delay)))
            }
            Step::Rest => Ok(None),
            Step::Wait(left) => Ok(Some(self.world.real(left))),
            Step::Write(changes) => self.write(&node, &changes).await,
            Step::Drain => self.drain(&node, &view, elapsed).await,
            Step::Down => self.set_ready(&node, false).await,
            Step::Up => self.set_ready(&node, true).await,
        }
    }

    async fn write(&self, node: &Node, changes: &Changes) -> Next {
        let annotations: Map<String, Value> =
            changes.annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut patch = json!({"metadata": {"annotations": annotations}});
        if let Some(cordon) = changes.cordon {
            let taints = wanted_taints(taints(node), cordon, is_ready(node));
            // The list of taints is replaced as a whole, so it must not have changed meanwhile.
            patch["metadata"]["resourceVersion"] = json!(node.metadata.resource_version);
            patch["spec"] =
                json!({"unschedulable": if cordon { json!(true) } else { Value::Null }, "taints": taints});
        }
        self.world.patch(&self.world.nodes, &Key::of(node), &patch).await?;
        Ok(None)
    }

    async fn drain(&self, node: &Node, view: &NodeView, elapsed: Duration) -> Next {
        let timing = &self.world.options.timing;
        let left = match &view.faults.refuse_drain {
            Some(reason) => vec![reason.clone()],
            None => drain::attempt(&self.world, node).await?,
        };
        if left.is_empty() {
            return match timing.drain.checked_sub(elapsed).filter(|left| !left.is_zero()) {
                Some(more) => Ok(Some(self.world.real(more))),
                None => self.write(node, &drained(view, self.world.options.report_rebooting)).await,
            };
        }
        if elapsed >= timing.drain_timeout && view.state != State::Degraded {
            self.write(node, &drain_failed(view, timing.drain_timeout, &left)).await?;
        }
        Ok(Some(self.world.settle(timing.drain_retry)))
    }

    async fn set_ready(&self, node: &Node, ready: bool) -> Next {
        let status = node.status.clone().unwrap_or_default();
        let anew = reset(&status);
        let now = self.world.time();
        let (word, reason, message) = if ready {
            ("True", "KubeletReady", "kubelet is posting ready status")
        } else {
            ("False", "KubeletNotReady", "the node is rebooting")
        };
        let condition = NodeCondition {
            type_: "Ready".to_owned(),
            status: word.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(|condition| condition.type_ != "Ready");
        conditions.push(condition);
        // Somebody else may write the node's status too; this list must not undo that.
        let version = &node.metadata.resource_version;
        let mut patch =
            json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
        if ready {
            if !anew.is_empty() {
                patch["status"]["capacity"] = json!(anew);
                patch["status"]["allocatable"] = json!(anew);
            }
            let old = status.node_info.map(|info| info.boot_id).unwrap_or_default();
            patch["status"]["nodeInfo"]["bootID"] =
                json!(next_boot_id(self.world.options.seed, &node.name_any(), &old));
        }
        self.world.patch_status(&self.world.nodes, &Key::of(node), &patch).await?;
        Ok(None)
    }
}

/// A boot identifier that no earlier boot of the node had.
pub fn next_boot_id(seed: u64, node: &str, old: &str) -> String {
    let text = hex(&[&seed.to_string(), "boot", node, old], 32);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_boot_has_its_own_identifier() {
        let first = next_boot_id(1, "n", "");
        let second = next_boot_id(1, "n", &first);
        assert_ne!(first, second);
        assert_ne!(first, next_boot_id(1, "m", ""));
        assert_eq!(first, next_boot_id(1, "n", ""));
        assert_eq!(first.len(), 36);
        uuid::Uuid::parse_str(&first).unwrap();
    }
}
