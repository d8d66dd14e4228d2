//! Installing Kata and keeping it: idempotent, whatever was done before.
//!
//! ```text
//! finalizer, InProgress=Installing
//!   -> machine config, log level, pool            (the pool renders them; no node is touched)
//!   -> node roles, once the pool is rendered      (so that a node reboots once, not twice)
//!   -> wait: the Machine Config Operator changes the nodes, one after the other
//!   -> runtime class, monitor, dashboard          (pods can use Kata)
//! ```

use osc_api::{DeploymentMode, names};

use crate::catalog::ClassSpec;
use crate::delivery::{self, Delivery, ImageToInstall};
use crate::desired::{self, Desired};
use crate::gates::FeatureGates;
use crate::layout::{Layout, Membership};
use crate::mode;
use crate::nodes::{NodeState, Survey};
use crate::object::{Kind, ObjectId};
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::{Plan, Step};
use crate::runtime_class;
use crate::spec::ValidSpec;
use crate::status::{InProgress, READY, Ready, Report};
use crate::trouble::{Troubles, list};
use crate::workload::{Outcome, PeerPods, Workload, collision, ensure};

const MODE: DeploymentMode = DeploymentMode::MachineConfig;

/// One pass over an installation.
struct Install<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    kata_config: &'a KataConfigView,
    spec: &'a ValidSpec,
    gates: &'a FeatureGates,
    delivery: Delivery,
    /// The image that is to be installed, where an image brings Kata and is not there yet.
    image: Option<ImageToInstall>,
    layout: Layout,
    survey: Survey<'a>,
    membership: Membership<'a>,
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
    let layout = Layout::detect(observed);
    let survey = Survey::of(observed, layout, false);
    let membership = match layout {
        Layout::Regular => Membership::of(observed, spec),
        Layout::Converged => Membership { selected: survey.labelled, ..Membership::default() },
    };
    let delivery = Delivery::chosen(observed, gates);
    let needs_image = delivery == Delivery::LayeredImage && !delivery::exists(observed);
    let image = match needs_image.then(|| ImageToInstall::read(observed, settings)).transpose() {
        Ok(image) => image,
        Err(message) => {
            let report = Report::refusal(kata_config, "LayeredImageUnavailable", message);
            return Plan { steps: report.steps(kata_config, observed.now), wake_at: None };
        }
    };
    let plan = Plan::default();
    let mut pass = Install {
        observed,
        settings,
        kata_config,
        spec,
        gates,
        delivery,
        image,
        layout,
        survey,
        membership,
        plan,
    };
    if spec.check_node_eligibility && !observed.nodes.iter().any(|node| node.is_eligible()) {
        pass.plan = no_eligible_nodes(&pass.workload(false));
    } else {
        pass.run();
    }
    pass.plan
}

/// Where a rollout stands, from whether the pool is updating and whether that is still waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McoPhase {
    /// The Machine Config Operator has just taken notice.
    Started,
    /// The Machine Config Operator has yet to take notice.
    NotNoticed,
    /// The rollout runs.
    Running,
    /// Nothing to do, or done.
    Idle,
}

impl McoPhase {
    /// The phase for (updating, waiting).
    pub fn of(updating: bool, waiting: bool) -> Self {
        match (updating, waiting) {
            (true, true) => Self::Started,
            (false, true) => Self::NotNoticed,
            (true, false) => Self::Running,
            (false, false) => Self::Idle,
        }
    }
}

impl Install<'_> {
    fn run(&mut self) {
        self.plan.steps.extend(finalizer(self.kata_config));
        let is_first_look = self.kata_config.status.conditions.is_empty() && !self.installed_before();
        if is_first_look {
            // The person sees at once that something happens, before anything does.
            let mut report = first_look(Ready::not("Installing", self.progress(false)), MODE);
            report.waiting_for_mco_to_start = true;
            self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
        }
        // Nodes leave before anything changes in the pool: they must not reboot for what they are not to have.
        self.leaving_nodes();
        self.cluster_configuration();
        let rendered = self.pool_is_rendered();
        self.entering_nodes(rendered);
        let settled = self.settled(rendered);
        let outcome = if settled && !self.survey.nodes.is_empty() || self.installed_before() {
            self.workload(settled).plan()
        } else {
            let troubles = collision(self.observed, &ClassSpec::kata()).into_iter().collect();
            Outcome { troubles, ..Outcome::default() }
        };
        let troubles = self.troubles(rendered, &outcome);
        self.plan.wake_by(troubles.next_deadline);
        self.plan.wake_by(outcome.wake_at);
        self.plan.steps.extend(outcome.steps.iter().cloned());
        if !is_first_look {
            self.report(troubles, &outcome, rendered, settled);
        }
        self.plan.steps.extend(outcome.last);
    }

    fn workload(&self, calm: bool) -> Workload<'_> {
        Workload {
            observed: self.observed,
            settings: self.settings,
            kata_config: self.kata_config,
            spec: self.spec,
            gates: self.gates,
            layout: self.layout,
            survey: &self.survey,
            calm,
        }
    }

    /// Applies an object unless what we say about it holds already.
    fn ensure(&mut self, desired: Desired) {
        self.plan.steps.extend(ensure(self.observed, desired));
    }

    /// Machine config, log level and pool: everything that the pool is rendered from.
    fn cluster_configuration(&mut self) {
        if let Some(image) = &self.image {
            let (id, object) = desired::image_machine_config(self.kata_config, self.layout, image);
            self.plan.steps.push(Step::Apply { id, object });
        }
        if self.delivery == Delivery::Extension {
            let extension = desired::extension(self.observed, self.settings);
            self.ensure(desired::machine_config(self.kata_config, self.layout, extension));
        }
        if self.wants_log_level() {
            self.ensure(desired::container_runtime_config(
                self.kata_config,
                self.layout,
                &self.spec.log_level,
            ));
        }
        let pool = self.observed.cluster_object(Kind::MachineConfigPool, names::KATA_POOL);
        if self.layout == Layout::Regular && !pool.is_some_and(desired::pool_serves) {
            self.ensure(desired::pool());
        }
        if self.observed.capabilities.openshift
            && self.observed.cluster_object(Kind::Namespace, &self.settings.namespace).is_some()
        {
            self.ensure(desired::namespace(self.settings));
        }
    }

    /// The log level has an object once it is other than the default; back to the default, the object stays.
    fn wants_log_level(&self) -> bool {
        let exists = self
            .observed
            .cluster_object(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG)
            .is_some();
        self.observed.capabilities.container_runtime_config
            && (exists || self.spec.log_level != names::DEFAULT_LOG_LEVEL)
    }

    /// Whether the pool's target was made from our machine configs. Told by the sources, where there are any.
    fn pool_is_rendered(&self) -> bool {
        let Some(pool) = self.observed.pool(self.layout.pool()) else { return false };
        let has = |prefix: &str| pool.sources.iter().any(|source| source.starts_with(prefix));
        let generated = format!("99-{}-generated-containerruntime", pool.name);
        pool.target.is_some()
            && (pool.sources.is_empty()
                || has(self.delivery.machine_config()) && (!self.wants_log_level() || has(&generated)))
    }

    /// Nodes leave at once.
    fn leaving_nodes(&mut self) {
        let roles = self.membership.leave.iter().map(|node| role(node, None));
        self.plan.steps.extend(roles);
    }

    /// Nodes enter when the pool knows what to give them.
    fn entering_nodes(&mut self, rendered: bool) {
        let roles = self.membership.enter.iter().filter(|_| rendered).map(|node| role(node, Some("")));
        self.plan.steps.extend(roles);
    }

    fn updating(&self) -> bool {
        self.observed.pool(self.layout.pool()).is_some_and(|pool| pool.updating)
    }

    /// Whether everything is as it is to be: nothing to change, nothing changing. The nodes tell, not the pool's
    /// condition `Updating`: that is also true while somebody merely cordons a node.
    fn settled(&self, rendered: bool) -> bool {
        rendered && !self.membership.changes() && self.survey.settled()
    }

    fn installed_before(&self) -> bool {
        installed_before(self.observed, self.kata_config)
    }

    fn troubles(&self, rendered: bool, outcome: &Outcome) -> Troubles {
        let mut troubles = Troubles::of_rollout(self.observed, self.settings, self.layout, &self.survey);
        if let Some(what) = self.waiting_for_mco(rendered) {
            let message = self.progress(rendered);
            let since = self.kata_config.status.condition(READY).filter(|before| before.message == message);
            let since = since.map_or(self.observed.now, |before| before.last_transition_time.0);
            troubles.mco_silent(self.observed.now, since, self.settings, &what);
        }
        troubles.refused_nodes(&self.membership);
        troubles.found.extend(outcome.troubles.iter().cloned());
        troubles.found.extend(mode::troubles(
            MODE,
            self.gates,
            self.observed,
            self.settings,
            self.kata_config,
        ));
        if !self.observed.capabilities.container_runtime_config
            && self.spec.log_level != names::DEFAULT_LOG_LEVEL
        {
            troubles.add(
                "LogLevelUnavailable",
                format!(
                    "spec.logLevel is {:?}, but the cluster does not serve ContainerRuntimeConfig, by which it would be \
                     set; set spec.logLevel to {}",
                    self.spec.log_level,
                    names::DEFAULT_LOG_LEVEL
                ),
            );
        }
        troubles.about_settings(self.settings);
        troubles
    }

    /// What the Machine Config Operator has to do next, if it has not begun.
    fn waiting_for_mco(&self, rendered: bool) -> Option<String> {
        let pool = self.layout.pool();
        let waits = |state| self.survey.in_state(state).next().is_some();
        if !rendered {
            Some(format!("to render pool {pool} with {}", self.delivery.machine_config()))
        } else if self.membership.changes() {
            Some(format!("to notice nodes entering or leaving pool {pool}"))
        } else if !self.survey.working()
            && (waits(NodeState::WaitingToInstall) || waits(NodeState::WaitingToUninstall))
        {
            Some("to begin with the next node".to_owned())
        } else {
            None
        }
    }

    fn waiting_flag(&self, rendered: bool) -> bool {
        let waiting = self.waiting_for_mco(rendered).is_some() && !self.no_nodes();
        McoPhase::of(self.updating(), waiting) == McoPhase::NotNoticed
    }

    /// Nothing is selected, and nothing has Kata.
    fn no_nodes(&self) -> bool {
        self.membership.selected == 0 && self.survey.nodes.is_empty() && self.survey.labelled == 0
    }

    fn in_progress(&self, settled: bool) -> InProgress {
        let failed = self.survey.nodes_where(NodeState::has_failed).next();
        if let Some(node) = failed {
            let reason = node.mco_reason.clone().unwrap_or_default();
            InProgress::Failed { node: node.name.clone(), reason }
        } else if settled || self.no_nodes() {
            InProgress::Idle
        } else if self.installed_before() {
            InProgress::Updating
        } else {
            InProgress::Installing
        }
    }

    fn report(&mut self, troubles: Troubles, outcome: &Outcome, rendered: bool, settled: bool) {
        let before = &self.kata_config.status.runtime_classes;
        let report = Report {
            in_progress: outcome.peer_pods.in_progress(self.in_progress(settled)),
            ready: outcome.peer_pods.ready(self.spec, self.ready(rendered, settled)),
            kata_nodes: self.survey.status(false),
            // Listed with the status that follows their creation, and from then on.
            runtime_classes: runtime_class::listed(self.observed, before, &outcome.lasting),
            waiting_for_mco_to_start: self.waiting_flag(rendered),
            troubles: troubles.found,
            deployment_mode: Some(MODE),
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }

    fn ready(&self, rendered: bool, settled: bool) -> Ready {
        if self.no_nodes() {
            let message = "no worker node is selected: label nodes so that spec.kataConfigPoolSelector matches them, or \
                           change the selector";
            Ready::not("NoNodesSelected", message)
        } else if settled {
            installed_on(self.observed, self.survey.nodes.len())
        } else {
            let reason = if self.installed_before() { "Updating" } else { "Installing" };
            Ready::not(reason, self.progress(rendered))
        }
    }

    /// How far it is, in a sentence. It changes when something happens, and only then: waits are timed by it.
    fn progress(&self, rendered: bool) -> String {
        if !rendered {
            return format!("waiting for the Machine Config Operator to render pool {}", self.layout.pool());
        }
        progress(&self.survey)
    }
}

/// The step that makes removal wait for us, if it does not yet.
pub(crate) fn finalizer(kata_config: &KataConfigView) -> Option<Step> {
    let wanted = names::KATACONFIG_FINALIZER;
    if kata_config.finalizers.iter().any(|finalizer| finalizer == wanted) {
        return None;
    }
    let mut finalizers = kata_config.finalizers.clone();
    finalizers.push(wanted.to_owned());
    Some(Step::SetFinalizers {
        id: ObjectId::cluster(Kind::KataConfig, &kata_config.name),
        resource_version: kata_config.resource_version.clone(),
        finalizers,
    })
}

/// What is told before anything is done. The mode is remembered from here on.
pub(crate) fn first_look(ready: Ready, mode: DeploymentMode) -> Report {
    Report {
        in_progress: InProgress::Installing,
        ready,
        troubles: Vec::new(),
        kata_nodes: osc_api::KataNodesStatus::default(),
        runtime_classes: Vec::new(),
        waiting_for_mco_to_start: false,
        deployment_mode: Some(mode),
    }
}

/// Whether the first installation was finished. Its class tells, too: early releases listed none.
pub(crate) fn installed_before(observed: &Observed, kata_config: &KataConfigView) -> bool {
    kata_config.status.runtime_classes.iter().any(|class| class == names::KATA_RUNTIME_CLASS)
        || runtime_class::ours(observed).any(|class| class.name == names::KATA_RUNTIME_CLASS)
}

/// All nodes are done: what that means for pods.
pub(crate) fn installed_on(observed: &Observed, nodes: usize) -> Ready {
    if collision(observed, &ClassSpec::kata()).is_some() {
        let class = observed.cluster_object(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS);
        let handler = class.map(|class| class["handler"].to_string()).unwrap_or_default();
        let message = format!("RuntimeClass kata belongs to handler {handler}: pods cannot use Kata");
        return Ready::not("RuntimeClassCollision", message);
    }
    let message =
        format!("Kata is installed on {nodes} {}; pods use it with runtimeClassName: kata", plural(nodes));
    Ready { status: true, reason: "Installed", message }
}

/// Nothing is changed, above all not on nodes that have Kata: labels that vanish with a broken Node Feature Discovery must
/// not reboot a cluster. Only runtime classes go, after a while: nothing can be scheduled by them any more.
pub(crate) fn no_eligible_nodes(workload: &Workload<'_>) -> Plan {
    let mut plan = Plan::default();
    let message = format!(
        "no Nodes with required labels found. Is NFD running? spec.checkNodeEligibility is true, so that a node must carry \
         {}=true: run Node Feature Discovery, label nodes by hand, or set it to false",
        names::NODE_ELIGIBLE_LABEL
    );
    let (observed, kata_config) = (workload.observed, workload.kata_config);
    let mut report = Report::refusal(kata_config, "NoEligibleNodes", message);
    report.kata_nodes = workload.survey.status(false);
    if installed_before(observed, kata_config) {
        let peer_pods = PeerPods { waiting: Some("no node can have Kata".to_owned()), ..PeerPods::default() };
        let mut outcome = Outcome { peer_pods, ..Outcome::default() };
        workload.classes(&mut outcome);
        let before = &kata_config.status.runtime_classes;
        report.runtime_classes = runtime_class::listed(observed, before, &outcome.lasting);
        plan.steps.extend(outcome.steps);
        plan.wake_by(outcome.wake_at);
    }
    plan.steps.extend(report.steps(kata_config, observed.now));
    plan
}

/// The step that sets or removes the role of Kata nodes.
pub(crate) fn role(node: &str, value: Option<&'static str>) -> Step {
    Step::LabelNode { node: node.to_owned(), key: names::KATA_NODE_ROLE, value }
}

/// How far the nodes are, in a sentence.
pub fn progress(survey: &Survey<'_>) -> String {
    let done = survey.in_state(NodeState::Installed).count();
    let total = survey.nodes.len();
    let mut parts = vec![format!("{done} of {total} {} done", plural(total))];
    // Not what each of them does right now: that changes several times a node, and each change would be a write.
    let changing: Vec<&str> = survey.names_where(NodeState::is_changing).collect();
    if !changing.is_empty() {
        parts.push(format!("changing {}", list(changing)));
    }
    let waiting: Vec<&str> = survey.names_where(NodeState::is_waiting).collect();
    if !waiting.is_empty() {
        parts.push(format!("waiting {}", list(waiting)));
    }
    parts.join(", ")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "node" } else { "nodes" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::just_started(true, true, McoPhase::Started)]
    #[case::not_noticed_yet(false, true, McoPhase::NotNoticed)]
    #[case::rollout_runs(true, false, McoPhase::Running)]
    #[case::nothing_to_do(false, false, McoPhase::Idle)]
    fn phases_follow_updating_and_waiting(
        #[case] updating: bool,
        #[case] waiting: bool,
        #[case] expected: McoPhase,
    ) {
        assert_eq!(McoPhase::of(updating, waiting), expected);
    }
}
