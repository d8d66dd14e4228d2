//! Installing Kata by node agents and keeping it: idempotent, whatever was done before.
//!
//! ```text
//! finalizer, InProgress=Installing, the mode in the status
//!   -> pull secret (OpenShift)
//!   -> nodes that leave: waiting_to_uninstall, role off;  nodes that enter: waiting_to_install, role on
//!   -> DaemonSets, turns
//!   -> wait: agents change the nodes, few at a time
//!   -> runtime classes, monitor, dashboard
//! ```

use osc_api::DeploymentMode;

use super::config::AgentConfig;
use super::desired::{self, Task};
use super::select::Selection;
use super::state::{AgentState, survey};
use super::{trouble, turns};
use crate::catalog::ClassSpec;
use crate::gates::FeatureGates;
use crate::install::{
    finalizer, first_look, installed_before, installed_on, no_eligible_nodes, progress, role,
};
use crate::layout::Layout;
use crate::mode;
use crate::nodes::{NodeState, Survey};
use crate::object::{holds, is_deleted};
use crate::observed::{KataConfigView, NodeView, Observed, Settings};
use crate::plan::{Plan, Step};
use crate::runtime_class;
use crate::spec::ValidSpec;
use crate::status::{InProgress, Ready, Report};
use crate::trouble::Troubles;
use crate::workload::{Outcome, Workload, collision, ensure};

const MODE: DeploymentMode = DeploymentMode::DaemonSet;

/// One pass over an installation.
struct Install<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    kata_config: &'a KataConfigView,
    spec: &'a ValidSpec,
    gates: &'a FeatureGates,
    config: AgentConfig,
    survey: Survey<'a>,
    selection: Selection<'a>,
    plan: Plan,
}

/// Plans the way to what `spec` asks for.
pub fn plan(
    observed: &Observed,
    settings: &Settings,
    kata_config: &KataConfigView,
    spec: &ValidSpec,
    gates: &FeatureGates,
) -> Plan {
    let config = AgentConfig::of(observed, settings);
    if let Some((reason, message)) = config.missing(observed, settings) {
        let report = Report::refusal(kata_config, reason, message);
        return Plan { steps: report.steps(kata_config, observed.now), wake_at: None };
    }
    let mut pass = Install {
        observed,
        settings,
        kata_config,
        spec,
        gates,
        config,
        survey: survey(observed, false),
        selection: Selection::of(observed, spec),
        plan: Plan::default(),
    };
    if spec.check_node_eligibility && !observed.nodes.iter().any(|node| node.is_eligible()) {
        pass.plan = no_eligible_nodes(&pass.workload(false));
    } else {
        pass.run();
    }
    pass.plan
}

/// What becomes of a node without the role, by its state.
pub(super) fn dismiss(node: &NodeView) -> Option<Step> {
    match AgentState::of(node) {
        _ if !node.has_label(osc_api::names::DAEMON_SET_MODE_LABEL) => None,
        Some(AgentState::Uninstalled) => Some(turns::set(node, None)),
        _ if super::state::is_untouched(node) => Some(turns::set(node, None)),
        Some(
            AgentState::WaitingToUninstall
            | AgentState::Uninstalling
            | AgentState::WaitingForReboot
            | AgentState::UninstallFailed,
        ) => None,
        _ => Some(turns::set(node, Some(AgentState::WaitingToUninstall))),
    }
}

/// Takes a node out: first what is to become of it, so that it is known whenever the role is gone.
pub(super) fn take_out(node: &NodeView) -> Vec<Step> {
    // With the role the state speaks of installing, except for one that was written a moment ago.
    let state = match AgentState::of(node) {
        Some(AgentState::WaitingForReboot) if node.has_kata_role() => {
            Some(turns::set(node, Some(AgentState::WaitingToUninstall)))
        }
        _ => dismiss(node),
    };
    let mut steps: Vec<Step> = state.into_iter().collect();
    if node.has_kata_role() {
        steps.push(role(&node.name, None));
    }
    steps
}

/// The step that makes an agent's DaemonSet what it is to be, if it is not.
pub(super) fn ensure_agent(
    observed: &Observed,
    settings: &Settings,
    kata_config: &KataConfigView,
    task: Task,
    config: &AgentConfig,
    log_level: &str,
) -> Option<Step> {
    let openshift = observed.capabilities.openshift;
    let (id, object) = desired::daemon_set(kata_config, settings, task, config, log_level, openshift);
    match observed.objects.get(&id) {
        Some(found) if is_deleted(found) => None,
        // Its agents do nothing any more; nodes keep what they have while it is made anew.
        Some(found) if desired::is_of_another_operator(&object, found) => Some(Step::Delete { id }),
        Some(found) if holds(&object, found) && !desired::says_too_much(&object, found) => None,
        _ => Some(Step::Apply { id, object }),
    }
}

/// The step that ends an agent's DaemonSet, if it is there.
pub(super) fn end_agent(observed: &Observed, settings: &Settings, task: Task) -> Option<Step> {
    let id = task.id(settings);
    let found = observed.objects.get(&id);
    found.is_some_and(|found| !is_deleted(found)).then_some(Step::Delete { id })
}

impl Install<'_> {
    fn run(&mut self) {
        self.plan.steps.extend(finalizer(self.kata_config));
        if self.is_first_look() {
            let ready = Ready::not("Installing", "choosing the nodes that get Kata");
            let report = first_look(ready, MODE);
            self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
        }
        if self.observed.capabilities.openshift {
            let copy = desired::pull_secret(self.observed, self.kata_config, self.settings);
            self.plan.steps.extend(copy);
        }
        if self.observed.capabilities.scc {
            self.plan.steps.extend(ensure(self.observed, desired::scc(self.kata_config, self.settings)));
        }
        self.nodes();
        let agents = self.agents();
        let settled = self.settled() && agents.is_empty();
        self.plan.steps.extend(agents);
        let max = self.config.max_unavailable.of(self.survey.labelled.max(self.selection.selected));
        let turns = turns::give(self.observed, max, |node| self.wants(node));
        self.plan.steps.extend(turns);
        let installed = settled && !self.survey.nodes.is_empty();
        let mut outcome = if installed || self.installed_before() {
            self.workload(settled).plan()
        } else {
            Outcome {
                troubles: collision(self.observed, &ClassSpec::kata()).into_iter().collect(),
                ..Outcome::default()
            }
        };
        self.plan.steps.extend(outcome.steps.iter().cloned());
        self.plan.wake_by(outcome.wake_at);
        let last = std::mem::take(&mut outcome.last);
        if !self.is_first_look() {
            self.report(&outcome, settled);
        }
        self.plan.steps.extend(last);
    }

    fn is_first_look(&self) -> bool {
        self.kata_config.status.conditions.is_empty() && !self.installed_before()
    }

    fn installed_before(&self) -> bool {
        installed_before(self.observed, self.kata_config)
    }

    fn workload(&self, calm: bool) -> Workload<'_> {
        Workload {
            observed: self.observed,
            settings: self.settings,
            kata_config: self.kata_config,
            spec: self.spec,
            gates: self.gates,
            layout: Layout::Regular,
            survey: &self.survey,
            calm,
        }
    }

    /// Roles and states of the nodes.
    fn nodes(&mut self) {
        let leaving = self.selection.leave.iter().flat_map(|node| take_out(node));
        let mut steps: Vec<Step> = leaving.collect();
        for node in self.observed.nodes.iter().map(AsRef::as_ref) {
            if self.wants(node) {
                steps.extend(Self::welcome(node));
            } else if !node.has_kata_role() {
                steps.extend(dismiss(node));
            }
        }
        self.plan.steps.extend(steps);
    }

    /// Whether a node is to have Kata.
    fn wants(&self, node: &NodeView) -> bool {
        let among = |nodes: &[&NodeView]| nodes.iter().any(|one| one.name == node.name);
        if node.has_kata_role() { !among(&self.selection.leave) } else { among(&self.selection.enter) }
    }

    /// The state before the role, so that an agent that starts finds it.
    fn welcome(node: &NodeView) -> Vec<Step> {
        let state = AgentState::of(node);
        // Its removal has begun and goes to its end first.
        if !node.has_kata_role() && state == Some(AgentState::Uninstalling) {
            return Vec::new();
        }
        let chosen = matches!(
            state,
            Some(
                AgentState::WaitingToInstall
                    | AgentState::Installing
                    | AgentState::WaitingForReboot
                    | AgentState::Installed
                    | AgentState::InstallFailed
            )
        );
        let mut steps = Vec::new();
        if !chosen {
            steps.push(turns::set(node, Some(AgentState::WaitingToInstall)));
        }
        if !node.has_kata_role() {
            steps.push(role(&node.name, Some("")));
        }
        steps
    }

    /// The DaemonSets: the one that removes is there while there is something to remove.
    fn agents(&self) -> Vec<Step> {
        let ensure = |task| {
            let (config, level) = (&self.config, &self.spec.log_level);
            ensure_agent(self.observed, self.settings, self.kata_config, task, config, level)
        };
        let removes = !self.selection.leave.is_empty()
            || self.survey.nodes_where(|state| !state.is_of_member()).next().is_some();
        let removal = if removes {
            ensure(Task::Uninstall)
        } else {
            end_agent(self.observed, self.settings, Task::Uninstall)
        };
        removal.into_iter().chain(ensure(Task::Install)).collect()
    }

    /// Whether everything is as it is to be, and every agent knows what is to be.
    fn settled(&self) -> bool {
        !self.selection.changes() && self.survey.settled() && self.agents_are_up_to_date()
    }

    fn agents_are_up_to_date(&self) -> bool {
        let Some(found) = self.observed.objects.get(&Task::Install.id(self.settings)) else { return false };
        let number =
            |pointer: &str| found.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or_default();
        number("/status/observedGeneration") >= number("/metadata/generation")
            && number("/status/updatedNumberScheduled") >= number("/status/desiredNumberScheduled")
    }

    fn no_nodes(&self) -> bool {
        self.selection.selected == 0 && self.survey.nodes.is_empty()
    }

    fn in_progress(&self, settled: bool) -> InProgress {
        if let Some(node) = self.survey.nodes_where(NodeState::has_failed).next() {
            let reason = node.agent_failure.clone().unwrap_or_default();
            InProgress::Failed { node: node.name.clone(), reason }
        } else if settled || self.no_nodes() {
            InProgress::Idle
        } else if self.installed_before() {
            InProgress::Updating
        } else {
            InProgress::Installing
        }
    }

    fn ready(&self, settled: bool) -> Ready {
        if self.no_nodes() {
            let message = "no node is selected: label nodes so that spec.kataConfigPoolSelector matches them, or change the \
                           selector";
            Ready::not("NoNodesSelected", message)
        } else if settled {
            installed_on(self.observed, self.survey.nodes.len())
        } else {
            let reason = if self.installed_before() { "Updating" } else { "Installing" };
            Ready::not(reason, progress(&self.survey))
        }
    }

    fn report(&mut self, outcome: &Outcome, settled: bool) {
        let mut troubles: Troubles =
            trouble::of_rollout(self.observed, self.settings, &self.survey, &self.config, false);
        troubles.found.extend(outcome.troubles.iter().cloned());
        troubles.found.extend(mode::troubles(
            MODE,
            self.gates,
            self.observed,
            self.settings,
            self.kata_config,
        ));
        troubles.about_settings(self.settings);
        self.plan.wake_by(troubles.next_deadline);
        let report = Report {
            in_progress: outcome.peer_pods.in_progress(self.in_progress(settled)),
            ready: outcome.peer_pods.ready(self.spec, self.ready(settled)),
            kata_nodes: self.survey.status(false),
            runtime_classes: runtime_class::listed(
                self.observed,
                &self.kata_config.status.runtime_classes,
                &outcome.lasting,
            ),
            waiting_for_mco_to_start: false,
            troubles: troubles.found,
            deployment_mode: Some(MODE),
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }
}
