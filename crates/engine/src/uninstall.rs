//! Removing Kata, whatever state it is in: a stuck or half-done installation, too.
//!
//! ```text
//! pods that use it block, by name
//!   -> runtime classes            (no new pod can use them; gone before a node is touched)
//!   -> peer pods                  (their machines and image elsewhere, by what runs here)
//!   -> node roles                 (nodes without Kata never reboot)
//!   -> machine config, log level  | in DaemonSet mode: agents that remove, and turns
//!   -> wait: the Machine Config Operator, or the agents, change the nodes back
//!   -> pool, monitor, SCC, dashboard, finalizer
//! ```

use jiff::Timestamp;
use osc_api::{DeploymentMode, names};

use crate::agent::{self, Removal};
use crate::delivery;
use crate::desired;
use crate::gates::FeatureGates;
use crate::install::{progress, role};
use crate::layout::Layout;
use crate::mode;
use crate::nodes::{NodeState, Survey};
use crate::object::{Kind, ObjectId};
use crate::observed::{KataConfigView, Observed, PodView, Pods, Settings};
use crate::peerpods::{self, ImageNews, Progress};
use crate::plan::{Plan, Step};
use crate::runtime_class;
use crate::status::{InProgress, READY, Ready, Report};
use crate::trouble::{Troubles, list};

/// One pass over a removal.
struct Uninstall<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    kata_config: &'a KataConfigView,
    mode: DeploymentMode,
    layout: Layout,
    survey: Survey<'a>,
    peer_pods: Progress,
    plan: Plan,
}

/// Plans the way to a cluster without Kata.
pub fn plan(observed: &Observed, settings: &Settings, kata_config: &KataConfigView) -> Plan {
    let mode = mode::of_removal(observed, settings, kata_config);
    let layout = Layout::detect(observed);
    let survey = match mode {
        DeploymentMode::MachineConfig => Survey::of(observed, layout, true),
        DeploymentMode::DaemonSet => agent::survey(observed, true),
    };
    let (plan, peer_pods) = (Plan::default(), Progress::default());
    let mut pass = Uninstall { observed, settings, kata_config, mode, layout, survey, peer_pods, plan };
    pass.run();
    pass.plan
}

/// Whether pods have to be watched: only while something that they block is being removed.
pub fn pods_needed(observed: &Observed) -> bool {
    let agents = Some(DeploymentMode::DaemonSet);
    observed.kata_configs.iter().any(|kata_config| kata_config.deleting)
        || runtime_class::ours(observed).any(|class| class.is_deleted())
        || (observed.kata_configs.iter().any(|kata_config| kata_config.status.deployment_mode == agents)
            && observed.nodes.iter().any(|node| agent::is_leaving(node)))
}

/// Takes our finalizers, today's and that of release 1.0, off a KataConfig; nothing if it has none of them.
pub fn let_go(kata_config: &KataConfigView) -> Option<Step> {
    let ours = [names::KATACONFIG_FINALIZER, names::KATACONFIG_FINALIZER_1_0];
    let others: Vec<String> = kata_config
        .finalizers
        .iter()
        .filter(|finalizer| !ours.contains(&finalizer.as_str()))
        .cloned()
        .collect();
    (others.len() < kata_config.finalizers.len()).then(|| Step::SetFinalizers {
        id: ObjectId::cluster(Kind::KataConfig, &kata_config.name),
        resource_version: kata_config.resource_version.clone(),
        finalizers: others,
    })
}

impl<'a> Uninstall<'a> {
    fn run(&mut self) {
        let Some(let_go) = let_go(self.kata_config) else { return self.report_removed() };
        match &self.observed.pods {
            _ if self.never_usable() => {}
            // Their watch is started by this pass; should nothing come of it, that is to be noticed.
            Pods::Unknown => return self.await_pods(self.observed.now, None),
            Pods::Awaited { since, error } => return self.await_pods(*since, error.as_deref()),
            Pods::Unreadable(error) => return self.report_unreadable(error.clone()),
            Pods::Known(pods) => {
                let blocking = self.blocking(pods);
                if !blocking.is_empty() {
                    return self.report_blocked(&blocking);
                }
            }
        }
        if self.runtime_classes_go() || self.peer_pods_go() {
            return self.report_uninstalling();
        }
        let clean = match self.mode {
            DeploymentMode::MachineConfig => {
                self.roles();
                self.machine_configs();
                self.nodes_are_clean()
            }
            DeploymentMode::DaemonSet => {
                let removal = Removal::of(self.observed, self.settings, self.kata_config, &self.survey);
                self.plan.steps.extend(removal.steps);
                removal.clean
            }
        };
        if clean {
            self.rest(let_go);
        } else {
            self.report_uninstalling();
        }
    }

    /// No runtime class was ever made: no pod can use Kata, and waiting to hear of pods would only let the Machine
    /// Config Operator begin with one more node.
    fn never_usable(&self) -> bool {
        self.kata_config.status.runtime_classes.is_empty()
            && self.observed.cluster_object(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS).is_none()
            && runtime_class::ours(self.observed).next().is_none()
    }

    /// Pods that use a class of this KataConfig. A class `kata` that somebody else made is none of our business.
    fn blocking(&self, pods: &'a [PodView]) -> Vec<&'a PodView> {
        let listed = &self.kata_config.status.runtime_classes;
        let ours = |name: &String| listed.contains(name) || runtime_class::is_kata(self.observed, name);
        pods.iter().filter(|pod| ours(&pod.runtime_class)).collect()
    }

    /// Deletes the runtime classes; true while one is still there.
    fn runtime_classes_go(&mut self) -> bool {
        let classes: Vec<_> = runtime_class::ours(self.observed).collect();
        let left = classes.iter().filter(|class| !class.is_deleted());
        self.plan.steps.extend(left.map(|class| Step::Delete { id: class.id() }));
        !classes.is_empty()
    }

    /// Removes peer pods, before a node is touched: what they have elsewhere is deleted from here. True while something of
    /// them is left.
    fn peer_pods_go(&mut self) -> bool {
        let gates = FeatureGates::of(self.observed, self.settings);
        let progress = peerpods::removal::plan(self.observed, self.settings, self.kata_config, &gates);
        self.plan.steps.extend(progress.steps.iter().cloned());
        self.plan.wake_by(progress.wake_at);
        self.peer_pods = progress;
        self.peer_pods.waiting.is_some()
    }

    /// Takes the role from every node that has it, whatever the selector says by now. Nodes that were not touched yet go
    /// first: when one that holds up the rollout goes, the Machine Config Operator begins with another one, and must not
    /// find one that still waits for Kata.
    fn roles(&mut self) {
        let order = |name: &str| {
            let found = self.survey.nodes.iter().find(|(node, _)| node.name == name);
            found.map_or(0, |(_, state)| if state.is_waiting() { 1 } else { 2 })
        };
        let mut labelled: Vec<&str> = self
            .observed
            .nodes
            .iter()
            .filter(|node| node.has_kata_role())
            .map(|node| node.name.as_str())
            .collect();
        labelled.sort_by_key(|name| order(name));
        self.plan.steps.extend(labelled.into_iter().map(|node| role(node, None)));
    }

    /// Both at once, so that a converged cluster reboots once. After the roles: a node must not be given the pool's
    /// configuration without Kata before it leaves the pool.
    fn machine_configs(&mut self) {
        self.delete(ObjectId::cluster(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG));
        if delivery::layered_image(self.observed).is_some() {
            self.delete(ObjectId::cluster(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG));
        }
        self.delete(ObjectId::cluster(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG));
    }

    fn delete(&mut self, id: ObjectId) {
        let found = self.observed.objects.get(&id);
        if found.is_some_and(|found| found["metadata"]["deletionTimestamp"].is_null()) {
            self.plan.steps.push(Step::Delete { id });
        }
    }

    /// Whether no node has the role, has Kata, or is on its way to it.
    fn nodes_are_clean(&self) -> bool {
        self.survey.nodes.is_empty()
            && !self.observed.nodes.iter().any(|node| node.has_kata_role())
            && !self.renders_kata()
    }

    /// On converged clusters: the pool still wants Kata on nodes that may just have come, or will, since our machine
    /// config is there to be rendered.
    fn renders_kata(&self) -> bool {
        let pool = self.observed.pool(self.layout.pool());
        self.layout == Layout::Converged
            && (delivery::exists(self.observed)
                || pool.is_some_and(|pool| delivery::is_source(self.observed, &pool.sources)))
    }

    fn rest(&mut self, let_go: Step) {
        match self.mode {
            DeploymentMode::MachineConfig => {
                self.delete(ObjectId::cluster(Kind::MachineConfigPool, names::KATA_POOL));
            }
            DeploymentMode::DaemonSet => self.plan.steps.extend(Removal::rest(self.observed, self.settings)),
        }
        self.delete(ObjectId::namespaced(Kind::DaemonSet, &self.settings.namespace, names::MONITOR));
        self.delete(ObjectId::cluster(Kind::SecurityContextConstraints, names::MONITOR_SCC));
        self.delete(desired::dashboard_id());
        self.plan.steps.push(let_go);
    }

    fn report_blocked(&mut self, pods: &[&PodView]) {
        let names: Vec<String> = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let message = format!(
            "pods that use Kata: {}; removal goes on when they are gone",
            list(names.iter().map(String::as_str))
        );
        let class = pods.first().map(|pod| pod.runtime_class.clone()).unwrap_or_default();
        let in_progress = InProgress::BlockedByPods { class };
        self.report(in_progress, Ready::not("Blocked", message), Troubles::default());
    }

    /// The list of pods takes a moment; only one that does not come is worth a word.
    fn await_pods(&mut self, since: Timestamp, error: Option<&str>) {
        let limit = self.settings.read_deadline;
        match since.checked_add(limit) {
            Ok(deadline) if self.observed.now < deadline => self.plan.wake_by(Some(deadline)),
            _ => {
                let silence = || format!("no answer within {} s", limit.as_secs());
                self.report_unreadable(error.map_or_else(silence, str::to_owned));
            }
        }
    }

    fn report_unreadable(&mut self, error: String) {
        let ready = Ready::not("Blocked", "cannot tell whether pods use Kata; removal waits");
        self.report(InProgress::PodsUnreadable(error), ready, Troubles::default());
    }

    fn report_uninstalling(&mut self) {
        let failed = self.survey.in_state(NodeState::FailedToUninstall).next();
        let in_progress = match failed {
            Some(node) => InProgress::Failed {
                node: node.name.clone(),
                reason: match self.mode {
                    DeploymentMode::MachineConfig => node.mco_reason.clone().unwrap_or_default(),
                    DeploymentMode::DaemonSet => node.agent_failure.clone().unwrap_or_default(),
                },
            },
            None => match self.peer_pods.image {
                Some(image) => InProgress::PodVmImage(ImageNews::of(image, self.observed, self.settings)),
                None => InProgress::Uninstalling,
            },
        };
        let troubles = self.troubles();
        let words = match &self.peer_pods.waiting {
            Some(what) => format!("peer pods are removed: {what}"),
            None => progress(&self.survey),
        };
        self.report(in_progress, Ready::not("Uninstalling", words), troubles);
    }

    fn troubles(&self) -> Troubles {
        let mut troubles = match self.mode {
            DeploymentMode::MachineConfig => {
                Troubles::of_rollout(self.observed, self.settings, self.layout, &self.survey)
            }
            DeploymentMode::DaemonSet => Removal::troubles(self.observed, self.settings, &self.survey),
        };
        let mut classes = runtime_class::ours(self.observed).peekable();
        if classes.peek().is_some() {
            for class in classes {
                let foreign = class.foreign_finalizers();
                if !foreign.is_empty() {
                    let message = format!(
                        "RuntimeClass {} is held by finalizer {}: whoever set it has to take it away before removal goes on",
                        class.name,
                        foreign.join(", ")
                    );
                    troubles.add("RuntimeClassHeld", message);
                }
            }
        } else if self.peer_pods.waiting.is_some() {
            troubles.found.extend(self.peer_pods.troubles.iter().cloned());
        } else if self.not_begun() {
            let message = progress(&self.survey);
            let since = self.kata_config.status.condition(READY).filter(|before| before.message == message);
            let since = since.map_or(self.observed.now, |before| before.last_transition_time.0);
            troubles.mco_silent(self.observed.now, since, self.settings, "to begin with the next node");
        }
        troubles
    }

    fn not_begun(&self) -> bool {
        self.mode == DeploymentMode::MachineConfig
            && self.peer_pods.waiting.is_none()
            && !self.survey.working()
            && !self.survey.nodes.is_empty()
    }

    fn report(&mut self, in_progress: InProgress, ready: Ready, troubles: Troubles) {
        self.plan.wake_by(troubles.next_deadline);
        let blocked = matches!(in_progress, InProgress::BlockedByPods { .. } | InProgress::PodsUnreadable(_));
        let report = Report {
            in_progress,
            ready,
            troubles: troubles.found,
            // Until removal begins, the nodes are what they were.
            kata_nodes: if blocked {
                self.kata_config.status.kata_nodes.clone()
            } else {
                self.survey.status(true)
            },
            runtime_classes: runtime_class::listed(
                self.observed,
                &self.kata_config.status.runtime_classes,
                &[],
            ),
            waiting_for_mco_to_start: !blocked && self.not_begun(),
            deployment_mode: mode::installed(self.observed, self.settings, self.kata_config),
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }

    /// Ours is done; somebody else's finalizer keeps the object.
    fn report_removed(&mut self) {
        let ready = Ready::not("Removed", "Kata is removed; other finalizers keep this object");
        let report = Report {
            in_progress: InProgress::Idle,
            ready,
            troubles: Vec::new(),
            kata_nodes: osc_api::KataNodesStatus::default(),
            runtime_classes: Vec::new(),
            waiting_for_mco_to_start: false,
            deployment_mode: None,
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }
}
