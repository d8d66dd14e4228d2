//! What the Machine Config Operator does, one small change at a time.
//!
//! The order of a node: the controller chooses it (`desiredConfig`), the daemon cordons and drains it (`Working`), it
//! reboots (not ready), it runs the new configuration (`Done`), it is uncordoned. At most one node of a pool is
//! unavailable at a time; a node that anybody cordoned counts as unavailable.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use osc_api::names;
use osc_engine::{Kind, NodeView, ObjectId, PoolView, Rendered};
use serde_json::{Value, json};

use crate::store;
use crate::world::World;

/// What is behind a node.
#[allow(clippy::struct_excessive_bools, reason = "four independent ways of misbehaving")]
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The older, the earlier it is chosen.
    pub born: usize,
    /// How often it rebooted.
    pub reboots: u32,
    /// Why it cannot change, if it cannot.
    pub fails: Option<String>,
    /// A pod on it does not end.
    pub cannot_drain: bool,
    /// It does not come back from a reboot.
    pub cannot_boot: bool,
    /// It was the Machine Config Operator that cordoned it.
    pub cordoned_by_mco: bool,
    /// Why its node agent cannot do its work, if it cannot.
    pub agent_fails: Option<String>,
    /// Its node agent does nothing.
    pub agent_is_dead: bool,
}

impl World {
    /// One change; false if there is nothing to do, or nothing that can be done.
    pub fn mco_step(&mut self) -> bool {
        if !self.mco_runs {
            return false;
        }
        if self.mco_generates_late {
            return self.mco_conditions()
                || self.mco_works()
                || self.mco_chooses()
                || self.mco_renders()
                || self.mco_generates();
        }
        self.mco_conditions()
            || self.mco_generates()
            || self.mco_renders()
            || self.mco_works()
            || self.mco_chooses()
    }

    /// The pool whose configuration a node gets; none if it is in two custom pools.
    pub fn pool_of(&self, node: &NodeView) -> Option<Arc<PoolView>> {
        let pool = |name: &str| self.cluster.pools.iter().find(|pool| pool.name == name).cloned();
        if node.is_master() {
            return pool(names::MASTER_POOL);
        }
        let built_in = [names::MASTER_POOL, names::WORKER_POOL];
        let mut custom = self.cluster.pools.iter().filter(|pool| {
            !built_in.contains(&pool.name.as_str())
                && pool.node_selector.as_ref().is_some_and(|selector| {
                    selector
                        .match_labels
                        .iter()
                        .flatten()
                        .all(|(key, value)| node.labels.get(key) == Some(value))
                })
        });
        match (custom.next(), custom.next()) {
            (None, _) => pool(names::WORKER_POOL),
            (Some(one), None) => Some(one.clone()),
            (Some(_), Some(_)) => None,
        }
    }

    fn members(&self, pool: &str) -> Vec<Arc<NodeView>> {
        let in_pool = |node: &&Arc<NodeView>| self.pool_of(node).is_some_and(|found| found.name == pool);
        let mut members: Vec<_> = self.cluster.nodes.iter().filter(in_pool).cloned().collect();
        members.sort_by_key(|node| self.machines[&node.name].born);
        members
    }

    fn mco_conditions(&mut self) -> bool {
        let mut changed = false;
        for index in 0..self.cluster.pools.len() {
            let pool = self.cluster.pools[index].clone();
            let members = self.members(&pool.name);
            let updated = |node: &NodeView| {
                let done = node.mco_state.as_deref() == Some("Done") && node.ready && !node.unschedulable;
                done && node.current_config == pool.target && node.desired_config == pool.target
            };
            let managed = |node: &&Arc<NodeView>| node.mco_state.is_some();
            let next = PoolView {
                updating: !pool.paused && members.iter().filter(managed).any(|node| !updated(node)),
                degraded: members.iter().filter_map(|node| degraded_message(node)).collect(),
                ..pool.as_ref().clone()
            };
            if next != *pool {
                changed = true;
                self.cluster.pools[index] = Arc::new(next);
            }
        }
        changed
    }

    /// Makes a machine config out of each ContainerRuntimeConfig, for each pool that it selects.
    fn mco_generates(&mut self) -> bool {
        let mut wanted: BTreeMap<ObjectId, Value> = BTreeMap::new();
        for object in self.objects_of(Kind::ContainerRuntimeConfig) {
            let selector = object["spec"]["machineConfigPoolSelector"]["matchLabels"].as_object().cloned();
            for pool in self.objects_of(Kind::MachineConfigPool) {
                let labels = &pool["metadata"]["labels"];
                if !selector.iter().flatten().all(|(key, value)| labels[key] == *value) {
                    continue;
                }
                let pool = pool["metadata"]["name"].as_str().unwrap();
                let name = format!("99-{pool}-generated-containerruntime");
                let body = json!({
                    "metadata": {"name": name, "labels": {names::MACHINE_CONFIG_ROLE: pool}},
                    "spec": {"config": {"crio": object["spec"]["containerRuntimeConfig"]["logLevel"]}},
                });
                wanted.insert(ObjectId::cluster(Kind::MachineConfig, &name), body);
            }
        }
        for (id, body) in &wanted {
            let found = self.cluster.objects.get(id);
            if found.is_none_or(|found| found["spec"]["config"] != body["spec"]["config"]) {
                store::put(&mut self.cluster, &mut self.serial, id.clone(), body.clone());
                return true;
            }
        }
        let stale = self
            .cluster
            .objects
            .keys()
            .find(|id| id.name.contains("-generated-containerruntime") && !wanted.contains_key(id));
        let Some(stale) = stale.cloned() else { return false };
        store::delete(&mut self.cluster, &mut self.serial, &stale);
        true
    }

    /// Renders a pool: named after the pool and the contents of its machine configs.
    fn mco_renders(&mut self) -> bool {
        for index in 0..self.cluster.pools.len() {
            let pool = self.cluster.pools[index].clone();
            let object = self.cluster.cluster_object(Kind::MachineConfigPool, &pool.name).unwrap();
            let roles = object["spec"]["machineConfigSelector"]["matchExpressions"][0]["values"].clone();
            let roles = roles.as_array().unwrap();
            let configs: Vec<Value> = self
                .objects_of(Kind::MachineConfig)
                .filter(|config| roles.contains(&config["metadata"]["labels"][names::MACHINE_CONFIG_ROLE]))
                .cloned()
                .collect();
            let mut hash = DefaultHasher::new();
            for config in &configs {
                config["spec"].to_string().hash(&mut hash);
            }
            let name = format!("rendered-{}-{:016x}", pool.name, hash.finish());
            let sources: BTreeSet<String> = configs
                .iter()
                .map(|config| config["metadata"]["name"].as_str().unwrap().to_owned())
                .collect();
            if pool.target.as_ref() == Some(&name) && pool.sources == sources {
                continue;
            }
            let extensions =
                configs.iter().filter_map(|config| config["spec"]["extensions"].as_array()).flatten();
            let extensions =
                extensions.filter_map(|extension| extension.as_str().map(str::to_owned)).collect();
            // Of two images, the machine config with the later name has the say.
            let mut images = configs.iter().filter_map(|config| config["spec"]["osImageURL"].as_str());
            let os_image = images.rfind(|image| !image.is_empty()).unwrap_or("os:1").to_owned();
            self.rendered.insert(name.clone(), Rendered { extensions, os_image });
            let pool = Arc::make_mut(&mut self.cluster.pools[index]);
            (pool.target, pool.sources) = (Some(name), sources);
            return true;
        }
        false
    }

    /// The daemon on one of the nodes takes its next step.
    fn mco_works(&mut self) -> bool {
        let names: Vec<String> = self.cluster.nodes.iter().map(|node| node.name.clone()).collect();
        names.iter().any(|name| self.daemon_works(name))
    }

    fn daemon_works(&mut self, name: &str) -> bool {
        let now = self.cluster.now;
        let machine = self.machines.get_mut(name).unwrap();
        let node = self.cluster.nodes.iter_mut().find(|node| node.name == name).unwrap();
        let pending = node.desired_config != node.current_config;
        let state = node.mco_state.clone().unwrap_or_default();
        let mut next = node.as_ref().clone();
        match state.as_str() {
            "Done" | "Degraded" if pending && machine.fails.is_none() => {
                next.mco_state = Some("Working".to_owned());
                next.mco_reason = Some(String::new());
                next.unschedulable = true;
                next.draining = true;
                machine.cordoned_by_mco = true;
            }
            // It fails before it is cordoned, so that another configuration can still be given to it.
            "Done" if pending => {
                next.mco_state = Some("Degraded".to_owned());
                next.mco_reason.clone_from(&machine.fails);
            }
            "Degraded" if !pending => {
                next.mco_state = Some("Done".to_owned());
                next.mco_reason = Some(String::new());
            }
            "Working" if next.draining && machine.cannot_drain => return false,
            "Working" if next.draining => next.draining = false,
            "Working" if next.ready => {
                next.ready = false;
                machine.reboots += 1;
            }
            "Working" if !next.ready && !machine.cannot_boot => {
                next.ready = true;
                next.current_config.clone_from(&next.desired_config);
                next.mco_state = Some("Done".to_owned());
            }
            "Done" if machine.cordoned_by_mco => {
                next.unschedulable = false;
                machine.cordoned_by_mco = false;
            }
            _ => return false,
        }
        next.changed_at = now;
        *node = Arc::new(next);
        true
    }

    /// Chooses the next node of a pool, the oldest first, if the pool may lose one more.
    fn mco_chooses(&mut self) -> bool {
        for pool in self.cluster.pools.clone().iter().filter(|pool| !pool.paused && pool.target.is_some()) {
            let members = self.members(&pool.name);
            let unavailable = |node: &&Arc<NodeView>| {
                let failing =
                    node.mco_state.as_deref() == Some("Degraded") && node.desired_config != pool.target;
                let pending = node.desired_config != node.current_config;
                node.unschedulable || !node.ready || (pending && !failing)
            };
            if members.iter().any(|node| unavailable(&node)) {
                continue;
            }
            let behind =
                |node: &&Arc<NodeView>| node.mco_state.is_some() && node.desired_config != pool.target;
            if let Some(chosen) = members.iter().find(behind) {
                let (name, target, now) = (chosen.name.clone(), pool.target.clone(), self.cluster.now);
                let node = self.node_mut(&name);
                (node.desired_config, node.changed_at) = (target, now);
                return true;
            }
        }
        false
    }
}

fn degraded_message(node: &NodeView) -> Option<String> {
    let reason = node.mco_reason.as_deref().unwrap_or_default();
    (node.mco_state.as_deref() == Some("Degraded"))
        .then(|| format!("Node {} is reporting: {reason:?}", node.name))
}
