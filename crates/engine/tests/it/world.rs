//! A cluster without anything but what decisions depend on. Nothing moves by itself: [`World::run`] moves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use osc_api::kataconfig::StatusCondition;
use osc_api::{KataConfigSpec, KataConfigStatus, names};
use osc_engine::observed::Pods;
use osc_engine::{
    Capabilities, Event, KataConfigView, Kind, NodeView, ObjectId, Observed, Plan, PodView, Rendered,
    Settings, Step, decide, layout, uninstall,
};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::mco::Machine;
use crate::store;

/// More passes than any scenario needs.
const ENOUGH: usize = 400;

/// The KataConfig of most scenarios.
pub const KATA: &str = "example-kataconfig";

/// A cluster, and who works in it.
#[derive(Clone, Debug)]
pub struct World {
    /// The cluster as the engine sees it, except for pods and rendered machine configs.
    pub cluster: Observed,
    /// Settings of the operator.
    pub settings: Settings,
    /// Last version given out.
    pub serial: u64,
    /// What is behind the nodes.
    pub machines: BTreeMap<String, Machine>,
    /// All rendered machine configs there ever were.
    pub rendered: BTreeMap<String, Rendered>,
    /// Pods that use a runtime class and have not ended.
    pub pods: Vec<PodView>,
    /// Why pods cannot be listed.
    pub pods_unreadable: Option<String>,
    /// Whether the Machine Config Operator does anything.
    pub mco_runs: bool,
    /// Whether it renders, and changes nodes, before it looks at ContainerRuntimeConfigs.
    pub mco_generates_late: bool,
    /// What is behind peer pods.
    pub cloud: Cloud,
    /// Events that were emitted.
    pub events: Vec<Event>,
    /// Statuses that were written, with the name of the KataConfig.
    pub told: Vec<(String, KataConfigStatus)>,
    /// Steps that were done.
    pub trace: Vec<String>,
    /// How many steps were done.
    pub steps: usize,
    /// The operator dies, once, when it has done so many steps.
    pub dies_after: Option<usize>,
    /// Source of how many changes the Machine Config Operator makes between two passes; none: one.
    pub schedule: Option<u64>,
    pods_listed: bool,
}

impl World {
    /// Three control-plane nodes and workers, the oldest first.
    pub fn regular(workers: &[&str]) -> Self {
        let mut world = Self::empty();
        for name in ["master-0", "master-1", "master-2"] {
            world.add_node(name, &["master", "control-plane"]);
        }
        for name in workers {
            world.add_node(name, &["worker"]);
        }
        world
    }

    /// Two workers, worker-1 being the older.
    pub fn two_workers() -> Self {
        Self::regular(&["worker-1", "worker-0"])
    }

    /// Control-plane nodes that are workers as well.
    pub fn compact(count: usize) -> Self {
        let mut world = Self::empty();
        for index in 0..count {
            world.add_node(&format!("master-{index}"), &["master", "control-plane", "worker"]);
        }
        world
    }

    fn empty() -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let settings = Settings { monitor_image: Some("monitor@sha256:0".to_owned()), ..Settings::default() };
        let capabilities = Capabilities {
            machine_config: true,
            container_runtime_config: true,
            scc: true,
            openshift: true,
            ..Capabilities::default()
        };
        let mut world = Self {
            cluster: Observed { now, capabilities, ..Observed::default() },
            settings,
            serial: 0,
            machines: BTreeMap::new(),
            rendered: BTreeMap::new(),
            pods: Vec::new(),
            pods_unreadable: None,
            mco_runs: true,
            mco_generates_late: false,
            cloud: Cloud::default(),
            events: Vec::new(),
            told: Vec::new(),
            trace: Vec::new(),
            steps: 0,
            dies_after: None,
            schedule: None,
            pods_listed: false,
        };
        for pool in [names::MASTER_POOL, names::WORKER_POOL] {
            let metadata =
                json!({"name": format!("00-{pool}"), "labels": {names::MACHINE_CONFIG_ROLE: pool}});
            world.put(
                Kind::MachineConfig,
                &format!("00-{pool}"),
                json!({"metadata": metadata, "spec": {"base": pool}}),
            );
            world.add_pool(pool, &[pool]);
        }
        let namespace = names::OPERATOR_NAMESPACE;
        world.put(Kind::Namespace, namespace, json!({"metadata": {"name": namespace}}));
        let image = "quay.io/openshift-release-dev/ocp-release@sha256:0";
        world.put(Kind::ClusterVersion, "version", json!({"status": {"desired": {"image": image}}}));
        let dashboard = ObjectId::namespaced(Kind::ConfigMap, namespace, names::DASHBOARD_CONFIG_MAP);
        store::put(
            &mut world.cluster,
            &mut world.serial,
            dashboard,
            json!({"data": {"dashboard.json": "{}"}}),
        );
        world.settle_mco();
        world
    }

    /// Adds a pool for the role of its name.
    pub fn add_pool(&mut self, name: &str, roles: &[&str]) {
        let expression = json!({"key": names::MACHINE_CONFIG_ROLE, "operator": "In", "values": roles});
        let body = json!({
            "metadata": {"name": name, "labels": {format!("{}{name}", names::POOL_LABEL_PREFIX): ""}},
            "spec": {
                "machineConfigSelector": {"matchExpressions": [expression]},
                "nodeSelector": {"matchLabels": {format!("{}{name}", names::NODE_ROLE_PREFIX): ""}},
            },
        });
        self.put(Kind::MachineConfigPool, name, body);
    }

    /// Adds a node that runs what its pool wants.
    pub fn add_node(&mut self, name: &str, roles: &[&str]) {
        let role = |role: &&str| (format!("{}{role}", names::NODE_ROLE_PREFIX), String::new());
        let mut node = NodeView {
            name: name.to_owned(),
            labels: roles.iter().map(role).collect(),
            mco_state: Some("Done".to_owned()),
            ready: true,
            changed_at: self.cluster.now,
            ..NodeView::default()
        };
        let target = self.pool_of(&node).unwrap().target.clone();
        (node.current_config, node.desired_config) = (target.clone(), target);
        let born = self.machines.len();
        self.machines.insert(name.to_owned(), Machine { born, ..Machine::default() });
        self.cluster.nodes.push(Arc::new(node));
        self.cluster.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        self.settle_conditions();
    }

    /// The node.
    pub fn node_mut(&mut self, name: &str) -> &mut NodeView {
        Arc::make_mut(self.cluster.nodes.iter_mut().find(|node| node.name == name).unwrap())
    }

    /// What is behind the node.
    pub fn machine(&mut self, name: &str) -> &mut Machine {
        self.machines.get_mut(name).unwrap()
    }

    /// Sets a label on a node.
    pub fn label(&mut self, node: &str, key: &str, value: &str) {
        self.node_mut(node).labels.insert(key.to_owned(), value.to_owned());
    }

    /// Takes a label from a node.
    pub fn unlabel(&mut self, node: &str, key: &str) {
        self.node_mut(node).labels.remove(key);
    }

    /// Somebody cordons a node.
    pub fn cordon(&mut self, node: &str, cordoned: bool) {
        let now = self.cluster.now;
        let node = self.node_mut(node);
        (node.unschedulable, node.changed_at) = (cordoned, now);
    }

    /// Somebody writes an object of a cluster-scoped kind.
    pub fn put(&mut self, kind: Kind, name: &str, body: Value) {
        store::put(&mut self.cluster, &mut self.serial, ObjectId::cluster(kind, name), body);
    }

    /// Somebody changes an object of a cluster-scoped kind.
    pub fn edit(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.object(kind, name).unwrap().clone();
        change(&mut object);
        self.put(kind, name, object);
    }

    /// Somebody deletes an object of a cluster-scoped kind.
    pub fn delete(&mut self, kind: Kind, name: &str) {
        store::delete(&mut self.cluster, &mut self.serial, &ObjectId::cluster(kind, name));
    }

    /// An object of a cluster-scoped kind.
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.cluster.cluster_object(kind, name)
    }

    /// All objects of a kind.
    pub fn objects_of(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.cluster.objects.iter().filter(move |(id, _)| id.kind == kind).map(|(_, object)| object.as_ref())
    }

    /// Somebody pauses a pool, or lets it go on.
    pub fn pause(&mut self, pool: &str, paused: bool) {
        self.edit(Kind::MachineConfigPool, pool, |object| object["spec"]["paused"] = json!(paused));
    }

    /// Somebody creates a KataConfig.
    pub fn create(&mut self, name: &str, spec: Value) {
        self.serial += 1;
        let created = self.cluster.now + SignedDuration::from_secs(i64::try_from(self.serial).unwrap());
        self.cluster.kata_configs.push(Arc::new(KataConfigView {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            resource_version: self.serial.to_string(),
            created: Some(created),
            spec: read_spec(spec),
            ..KataConfigView::default()
        }));
    }

    /// Somebody changes a KataConfig.
    pub fn respec(&mut self, name: &str, spec: Value) {
        self.kata_config_mut(name).spec = read_spec(spec);
    }

    /// Somebody deletes a KataConfig.
    pub fn remove(&mut self, name: &str) {
        store::delete_kata_config(&mut self.cluster, &mut self.serial, name);
    }

    /// A KataConfig.
    pub fn kata_config(&self, name: &str) -> Option<&KataConfigView> {
        self.cluster.kata_configs.iter().map(AsRef::as_ref).find(|found| found.name == name)
    }

    /// A KataConfig, to be changed.
    pub fn kata_config_mut(&mut self, name: &str) -> &mut KataConfigView {
        Arc::make_mut(self.cluster.kata_configs.iter_mut().find(|found| found.name == name).unwrap())
    }

    /// A condition of a KataConfig as "status reason: message".
    pub fn condition(&self, name: &str, type_: &str) -> String {
        let found = self.kata_config(name).and_then(|found| found.status.condition(type_));
        found.map_or_else(String::new, words)
    }

    /// The status of the KataConfig [`KATA`].
    pub fn status(&self) -> &KataConfigStatus {
        &self.kata_config(KATA).unwrap().status
    }

    /// A pod that uses a runtime class.
    pub fn add_pod(&mut self, namespace: &str, name: &str, runtime_class: &str) {
        self.add_pod_on("", namespace, name, runtime_class);
    }

    /// A pod on a node that uses a runtime class.
    pub fn add_pod_on(&mut self, node: &str, namespace: &str, name: &str, runtime_class: &str) {
        let (namespace, name, node) = (namespace.to_owned(), name.to_owned(), node.to_owned());
        self.pods.push(PodView { namespace, name, runtime_class: runtime_class.to_owned(), node });
    }

    /// Time goes on.
    pub fn advance(&mut self, by: SignedDuration) {
        self.cluster.now += by;
    }

    /// What the engine is told.
    pub fn observe(&self) -> Observed {
        let mut observed = self.cluster.clone();
        let needed = layout::rendered_needed(&observed);
        observed.rendered = needed
            .into_iter()
            .filter_map(|name| self.rendered.get(&name).cloned().map(|rendered| (name, rendered)))
            .collect();
        observed.pods = match (&self.pods_unreadable, self.pods_listed) {
            _ if !uninstall::pods_needed(&observed) => Pods::Unknown,
            (Some(error), _) => Pods::Unreadable(error.clone()),
            (None, false) => Pods::Awaited { since: self.cluster.now, error: None },
            (None, true) => Pods::Known(self.pods.clone()),
        };
        observed
    }

    /// What the engine decides now.
    pub fn plan(&self) -> Plan {
        decide(&self.observe(), &self.settings)
    }

    /// One pass of the operator: observe, decide, apply. Tells whether it did anything, and whether it lived.
    pub fn pass(&mut self) -> Pass {
        let plan = self.plan();
        let listed = self.pods_listed;
        // The watch of pods begins after the pass that first needs it.
        self.pods_listed = uninstall::pods_needed(&self.cluster);
        for step in &plan.steps {
            if self.dies_after == Some(self.steps) {
                self.dies_after = None;
                self.trace.push("-- the operator dies".to_owned());
                return Pass::Died;
            }
            self.steps += 1;
            // Nobody else writes meanwhile: whatever fails is the plan's fault.
            if let Err(error) = self.apply(step) {
                panic!("{step:?} failed: {error}");
            }
        }
        if plan.steps.is_empty() && listed == self.pods_listed { Pass::Idle } else { Pass::Acted }
    }

    /// Does one step.
    pub fn apply(&mut self, step: &Step) -> Result<(), String> {
        store::apply(&mut self.cluster, &mut self.serial, step)?;
        match step {
            Step::Emit(event) => self.events.push(event.clone()),
            Step::PatchStatus { name, status } => {
                self.trace.push(format!("status {name}: {:?}", status.kata_nodes));
                self.told.push((name.clone(), status.clone()));
            }
            other => self.trace.push(format!("{other:?}")),
        }
        Ok(())
    }

    /// Lets the operator and the Machine Config Operator work, in turns, until neither has anything to do.
    pub fn run(&mut self) {
        self.run_until(|_| false);
    }

    /// As [`World::run`], and stops as soon as `reached`.
    pub fn run_until(&mut self, reached: impl Fn(&Self) -> bool) {
        for _ in 0..ENOUGH {
            if reached(self) {
                return;
            }
            let pass = self.pass();
            if pass == Pass::Died {
                continue;
            }
            let mut moved = false;
            for _ in 0..self.changes_between_passes() {
                moved |= self.mco_step() | self.agent_step() | self.cloud_step();
            }
            if !moved && pass == Pass::Idle && !self.mco_step() && !self.agent_step() && !self.cloud_step() {
                return;
            }
        }
        let from = self.trace.len().saturating_sub(30);
        panic!("no end after {ENOUGH} passes; last steps:\n{}", self.trace[from..].join("\n"));
    }

    fn changes_between_passes(&mut self) -> u64 {
        match &mut self.schedule {
            None => 1,
            Some(state) => {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*state >> 33) % 4
            }
        }
    }

    /// Lets only the Machine Config Operator work.
    pub fn settle_mco(&mut self) {
        for _ in 0..ENOUGH {
            if !self.mco_step() {
                return;
            }
        }
        panic!("the Machine Config Operator does not come to rest");
    }

    /// Lets only the Machine Config Operator work, until it has chosen such a configuration for the node.
    pub fn settle_choice(&mut self, node: &str, prefix: &str) {
        let before = self.node_mut(node).desired_config.clone();
        for _ in 0..ENOUGH {
            let desired = self.node_mut(node).desired_config.clone();
            if desired != before && desired.is_some_and(|desired| desired.starts_with(prefix)) {
                return;
            }
            assert!(self.mco_step(), "nothing is chosen for {node}");
        }
    }

    fn settle_conditions(&mut self) {
        self.settle_mco();
        assert!(
            self.machines.values().all(|machine| machine.reboots == 0) || !self.mco_runs || self.steps > 0
        );
    }

    /// Reboots of all nodes that had any.
    pub fn reboots(&self) -> BTreeMap<&str, u32> {
        let rebooted = self.machines.iter().filter(|(_, machine)| machine.reboots > 0);
        rebooted.map(|(name, machine)| (name.as_str(), machine.reboots)).collect()
    }

    /// Nodes with the role of Kata nodes.
    pub fn kata_nodes(&self) -> Vec<&str> {
        self.cluster.nodes.iter().filter(|node| node.has_kata_role()).map(|node| node.name.as_str()).collect()
    }

    /// Everything that lasts, without versions and times.
    pub fn lasting(&self) -> Value {
        let objects: BTreeMap<String, Value> = self
            .cluster
            .objects
            .iter()
            .map(|(id, object)| {
                let mut object = object.as_ref().clone();
                for key in ["resourceVersion", "uid"] {
                    object["metadata"].as_object_mut().unwrap().remove(key);
                }
                (id.to_string(), object)
            })
            .collect();
        let nodes: Vec<Value> = self
            .cluster
            .nodes
            .iter()
            .map(|node| {
                json!([
                    node.name,
                    node.labels,
                    node.current_config,
                    node.mco_state,
                    node.unschedulable,
                    node.vms
                ])
            })
            .collect();
        let kata_configs: Vec<Value> = self
            .cluster
            .kata_configs
            .iter()
            .map(|found| {
                let conditions: Vec<String> = found.status.conditions.iter().map(words).collect();
                json!([
                    found.name,
                    found.finalizers,
                    found.status.kata_nodes,
                    found.status.runtime_classes,
                    conditions
                ])
            })
            .collect();
        json!({"objects": objects, "nodes": nodes, "kataConfigs": kata_configs, "reboots": self.reboots(),
               "images": self.cloud.images})
    }
}

/// What came of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// There was nothing to do.
    Idle,
    /// Something was done.
    Acted,
    /// The operator died on the way.
    Died,
}

fn read_spec(spec: Value) -> Result<KataConfigSpec, String> {
    serde_json::from_value::<Option<KataConfigSpec>>(spec)
        .map(Option::unwrap_or_default)
        .map_err(|error| error.to_string())
}

fn words(condition: &StatusCondition) -> String {
    format!("{} {}: {}", condition.status, condition.reason, condition.message)
}
