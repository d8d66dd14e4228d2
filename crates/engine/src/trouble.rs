//! What keeps a rollout from going on, in words that a person can act on.

use jiff::{SignedDuration, Timestamp};
use osc_api::names;

use crate::layout::{Layout, Membership};
use crate::nodes::{NodeState, Survey};
use crate::observed::{NodeView, Observed, PoolView, Settings};

/// How long a cordoned node that is done may stay so before it is mentioned: the Machine Config Operator itself
/// uncordons a little after it reports `Done`.
const CORDON_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// How many names a message lists before it counts the rest.
pub(crate) const NAMES_TOLD: usize = 3;

/// One reason why somebody should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What was found, and what to do.
    pub message: String,
}

impl Trouble {
    /// All messages as one.
    pub fn sentence(troubles: &[Self]) -> String {
        let messages: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).collect();
        messages.join("; ")
    }
}

/// Some names, then how many more there are.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let told = names.iter().take(NAMES_TOLD).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

/// Troubles of a rollout, with the moment at which the next one would come up.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// What was found, the gravest first.
    pub found: Vec<Trouble>,
    /// When a wait that is fine now will have lasted too long.
    pub next_deadline: Option<Timestamp>,
}

impl Troubles {
    /// Adds one.
    pub fn add(&mut self, reason: &'static str, message: String) {
        self.found.push(Trouble { reason, message });
    }

    /// Whether a wait that began at `since` has lasted too long. If not, remembers when it will have.
    pub(crate) fn overdue(&mut self, now: Timestamp, since: Timestamp, limit: SignedDuration) -> bool {
        let Ok(deadline) = since.checked_add(limit) else { return false };
        if now >= deadline {
            return true;
        }
        self.next_deadline = [self.next_deadline, Some(deadline)].into_iter().flatten().min();
        false
    }

    /// Looks at the nodes and at the pools that they wait for.
    pub fn of_rollout(observed: &Observed, settings: &Settings, layout: Layout, survey: &Survey<'_>) -> Self {
        let mut troubles = Self::default();
        troubles.degraded_nodes(survey);
        troubles.pools(observed, layout, survey);
        troubles.unmanaged_nodes(survey);
        troubles.unavailable_nodes(observed, survey);
        troubles.slow_nodes(observed, settings, survey);
        troubles
    }

    fn degraded_nodes(&mut self, survey: &Survey<'_>) {
        let degraded: Vec<&NodeView> = survey.nodes_where(NodeState::has_failed).collect();
        for node in degraded.iter().take(NAMES_TOLD) {
            let reason =
                node.mco_reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("no reason given");
            self.add(
                "NodeDegraded",
                format!(
                    "node {name} is degraded ({reason}): mend that, then the Machine Config Operator tries again; its \
                     log: oc logs -n openshift-machine-config-operator -c machine-config-daemon $(oc get pods -n \
                     openshift-machine-config-operator -l k8s-app=machine-config-daemon --field-selector \
                     spec.nodeName={name} -o name)",
                    name = node.name
                ),
            );
        }
        if degraded.len() > NAMES_TOLD {
            self.add("NodeDegraded", format!("{} more nodes are degraded", degraded.len() - NAMES_TOLD));
        }
    }

    fn pools(&mut self, observed: &Observed, layout: Layout, survey: &Survey<'_>) {
        let entering = survey.in_state(NodeState::WaitingToInstall).next().is_some();
        let leaving = survey.in_state(NodeState::WaitingToUninstall).next().is_some();
        let relevant: &[(&str, bool)] = match layout {
            Layout::Regular => &[(names::KATA_POOL, entering), (names::WORKER_POOL, leaving)],
            Layout::Converged => &[(names::MASTER_POOL, entering || leaving)],
        };
        let told_of_nodes = !self.found.is_empty();
        for (name, waited_for) in relevant {
            let Some(pool) = observed.pool(name) else { continue };
            if pool.paused && *waited_for {
                self.paused(pool);
            }
            // A pool is degraded when a node of it is: say it once.
            if !told_of_nodes
                && !survey.working()
                && (*waited_for || *name == layout.pool())
                && !pool.degraded.is_empty()
            {
                self.add(
                    "PoolDegraded",
                    format!("MachineConfigPool {name} is degraded: {}", pool.degraded.join(" ")),
                );
            }
        }
    }

    fn paused(&mut self, pool: &PoolView) {
        self.add(
            "PoolPaused",
            format!(
                "MachineConfigPool {name} is paused, so that no node of it is changed; to let it go on: oc patch mcp \
                 {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'",
                name = pool.name
            ),
        );
    }

    fn unmanaged_nodes(&mut self, survey: &Survey<'_>) {
        if !survey.unmanaged.is_empty() {
            let nodes = list(survey.unmanaged.iter().map(|node| node.name.as_str()));
            self.add(
                "NodeUnmanaged",
                format!(
                    "the Machine Config Operator does not manage {nodes}: annotation {} or {} is missing; see whether \
                     machine-config-daemon runs there",
                    names::MCO_STATE,
                    names::MCO_CURRENT_CONFIG
                ),
            );
        }
    }

    /// Nodes that take up the budget of unavailable nodes, or will not be touched, because somebody cordoned them or
    /// they are not ready.
    fn unavailable_nodes(&mut self, observed: &Observed, survey: &Survey<'_>) {
        let stalled = survey.nodes_where(NodeState::is_waiting).next().is_some() && !survey.working();
        let idle = survey
            .nodes
            .iter()
            .filter(|(_, state)| state.is_waiting() || (stalled && *state == NodeState::Installed))
            .map(|(node, _)| *node);
        let (mut cordoned, mut not_ready) = (Vec::new(), Vec::new());
        for node in idle.filter(|node| node.unschedulable || !node.ready) {
            if self.overdue(observed.now, node.changed_at, CORDON_GRACE) {
                if node.unschedulable { &mut cordoned } else { &mut not_ready }.push(node.name.as_str());
            }
        }
        if !cordoned.is_empty() {
            let first = cordoned[0];
            self.add(
                "NodeCordoned",
                format!(
                    "cordoned, and therefore counted as unavailable by the Machine Config Operator: {}; when the work \
                     on them is done: oc adm uncordon {first}",
                    list(cordoned.iter().copied())
                ),
            );
        }
        if !not_ready.is_empty() {
            let first = not_ready[0];
            self.add(
                "NodeNotReady",
                format!(
                    "not ready, and therefore counted as unavailable by the Machine Config Operator: {}; see oc \
                     describe node {first}",
                    list(not_ready.iter().copied())
                ),
            );
        }
    }

    /// Nodes that drain or reboot for longer than such a thing takes.
    fn slow_nodes(&mut self, observed: &Observed, settings: &Settings, survey: &Survey<'_>) {
        let (mut draining, mut stuck) = (Vec::new(), Vec::new());
        for node in survey.nodes_where(NodeState::is_changing) {
            let drains = node.phase() == Phase::Draining;
            let limit = if drains { settings.drain_deadline } else { settings.node_deadline };
            if self.overdue(observed.now, node.changed_at, limit) {
                if drains { &mut draining } else { &mut stuck }.push(node.name.as_str());
            }
        }
        if let Some(first) = draining.first() {
            self.add(
                "NodeNotDraining",
                format!(
                    "draining for more than {} minutes: {}; a PodDisruptionBudget without room or a pod that does not \
                     end holds it up: oc get pdb -A and oc get pods -A --field-selector spec.nodeName={first}",
                    settings.drain_deadline.as_mins(),
                    list(draining.iter().copied())
                ),
            );
        }
        if let Some(first) = stuck.first() {
            self.add(
                "NodeStuck",
                format!(
                    "no progress for more than {} minutes on {}: see the console of the machine and oc describe node \
                     {first}",
                    settings.node_deadline.as_mins(),
                    list(stuck.iter().copied())
                ),
            );
        }
    }

    /// The Machine Config Operator does nothing although it has something to do. `since`: when that wait began.
    pub fn mco_silent(&mut self, now: Timestamp, since: Timestamp, settings: &Settings, waiting_for: &str) {
        if self.found.is_empty() && self.overdue(now, since, settings.start_deadline) {
            self.add(
                "WaitingForMachineConfigOperator",
                format!(
                    "waiting for more than {} minutes for the Machine Config Operator {waiting_for}; see oc get \
                     clusteroperator machine-config and oc logs -n openshift-machine-config-operator deployment/\
                     machine-config-controller",
                    settings.start_deadline.as_mins()
                ),
            );
        }
    }

    /// What is asked for and cannot be had, however Kata comes to the nodes.
    pub fn about_settings(&mut self, settings: &Settings) {
        if settings.monitor_image.is_none() {
            self.add(
                "MonitorImageMissing",
                "no image is known for kata-monitor, so that it does not run: set RELATED_IMAGE_KATA_MONITOR in the \
                 operator's Deployment"
                    .to_owned(),
            );
        }
    }

    /// Nodes that are selected and cannot enter the pool.
    pub fn refused_nodes(&mut self, membership: &Membership<'_>) {
        for (node, pools) in membership.conflicts.iter().take(NAMES_TOLD) {
            let pools = pools.join(", ");
            self.add(
                "NodeInTwoPools",
                format!(
                    "node {node} is selected for {kata} and belongs to the custom pool {pools}; the Machine Config \
                     Operator allows one custom pool a node: take the node out of {pools} or change \
                     spec.kataConfigPoolSelector",
                    kata = names::KATA_POOL
                ),
            );
        }
        if !membership.control_plane.is_empty() {
            self.add(
                "ControlPlaneNodeSelected",
                format!(
                    "selected, but of the control plane, whose nodes cannot be in the pool {}: {}; change \
                     spec.kataConfigPoolSelector",
                    names::KATA_POOL,
                    list(membership.control_plane.iter().copied())
                ),
            );
        }
    }
}

/// What a node that is being changed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its pods are being moved away.
    Draining,
    /// It is down.
    Rebooting,
    /// Anything else.
    Applying,
}

impl NodeView {
    /// What the node does, provided that it is being changed.
    pub fn phase(&self) -> Phase {
        match (self.ready, self.draining) {
            (false, _) => Phase::Rebooting,
            (true, true) => Phase::Draining,
            (true, false) => Phase::Applying,
        }
    }
}
