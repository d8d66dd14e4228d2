//! Installing Kata and keeping it: idempotent, whatever was done before.
//!
//! ```text
//! finalizer, InProgress=Installing
//!   -> machine config, log level, pool            (the pool renders them; no node is touched)
//!   -> node roles, once the pool is rendered      (so that a node reboots once, not twice)
//!   -> wait: the Machine Config Operator changes the nodes, one after the other
//!   -> runtime class, monitor, dashboard          (pods can use Kata)
//! ```

use osc_api::names;

use crate::delivery::Delivery;
use crate::desired::{self, Desired};
use crate::layout::{Layout, Membership};
use crate::nodes::{NodeState, Survey};
use crate::object::{Kind, ObjectId, holds};
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::{Plan, Step};
use crate::runtime_class::{self, is_ours};
use crate::spec::ValidSpec;
use crate::status::{InProgress, READY, Ready, Report};
use crate::trouble::{Troubles, list};

/// One pass over an installation.
struct Install<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    kata_config: &'a KataConfigView,
    spec: &'a ValidSpec,
    delivery: Delivery,
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
) -> Plan {
    let layout = Layout::detect(observed);
    let survey = Survey::of(observed, layout, false);
    let membership = match layout {
        Layout::Regular => Membership::of(observed, spec),
        Layout::Converged => Membership { selected: survey.labelled, ..Membership::default() },
    };
    let delivery = Delivery::of(observed);
    let plan = Plan::default();
    let mut pass =
        Install { observed, settings, kata_config, spec, delivery, layout, survey, membership, plan };
    if spec.check_node_eligibility && !pass.any_node_eligible() {
        pass.refuse_without_eligible_nodes();
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
        self.finalizer();
        let first_look = self.kata_config.status.conditions.is_empty() && !self.installed_before();
        if first_look {
            // The person sees at once that something happens, before anything does.
            self.report_first_look();
        }
        // Nodes leave before anything changes in the pool: they must not reboot for what they are not to have.
        self.leaving_nodes();
        self.cluster_configuration();
        let rendered = self.pool_is_rendered();
        self.entering_nodes(rendered);
        let troubles = self.troubles(rendered);
        self.plan.wake_by(troubles.next_deadline);
        let settled = self.settled(rendered);
        if settled && !self.survey.nodes.is_empty() || self.installed_before() {
            self.workload_objects();
        }
        if !first_look {
            self.report(troubles, rendered, settled);
        }
    }

    fn finalizer(&mut self) {
        let wanted = names::KATACONFIG_FINALIZER;
        if self.kata_config.finalizers.iter().any(|finalizer| finalizer == wanted) {
            return;
        }
        let mut finalizers = self.kata_config.finalizers.clone();
        finalizers.push(wanted.to_owned());
        self.plan.steps.push(Step::SetFinalizers {
            id: ObjectId::cluster(Kind::KataConfig, &self.kata_config.name),
            resource_version: self.kata_config.resource_version.clone(),
            finalizers,
        });
    }

    /// Applies an object unless what we say about it holds already.
    fn ensure(&mut self, (id, object): Desired) {
        if self.observed.objects.get(&id).is_none_or(|found| !holds(&object, found)) {
            self.plan.steps.push(Step::Apply { id, object });
        }
    }

    /// Machine config, log level and pool: everything that the pool is rendered from.
    fn cluster_configuration(&mut self) {
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

    /// Whether the first installation was finished. Its class tells, too: early releases listed none.
    fn installed_before(&self) -> bool {
        self.kata_config.status.runtime_classes.iter().any(|class| class == names::KATA_RUNTIME_CLASS)
            || runtime_class::ours(self.observed).any(|class| class.name == names::KATA_RUNTIME_CLASS)
    }

    /// What pods need, and what watches them. Created at the end of the first installation, mended ever after.
    fn workload_objects(&mut self) {
        if self.observed.capabilities.scc {
            self.ensure(desired::scc(self.kata_config, self.settings));
        }
        // First, since any other write would outdate the version that finalizers are set for.
        self.plan.steps.extend(runtime_class::guards(self.observed));
        self.runtime_class();
        if let Some(image) = &self.settings.monitor_image {
            self.ensure(desired::monitor(self.kata_config, self.settings, self.layout, image));
        }
        if self.observed.capabilities.openshift
            && let Some(dashboard) = desired::dashboard(self.observed, self.settings)
        {
            self.ensure(dashboard);
        }
    }

    fn runtime_class(&mut self) {
        let selector = desired::runtime_class_selector(self.layout, self.spec.check_node_eligibility);
        let Some(class) = self.observed.cluster_object(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS) else {
            let (id, object) = desired::runtime_class(self.kata_config, &selector);
            self.plan.steps.push(Step::Create { id, object });
            return;
        };
        if !is_ours(class) {
            return;
        }
        if class["scheduling"]["nodeSelector"] != selector {
            // As a whole: server-side apply would leave a key that somebody added.
            let mut value = class["scheduling"].clone();
            value["nodeSelector"] = selector;
            let id = ObjectId::cluster(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS);
            self.plan.steps.push(Step::Replace { id, path: "/scheduling", value });
        }
    }

    /// The handler of a class `kata` that somebody else made for something else.
    fn colliding_handler(&self) -> Option<String> {
        let class = self.observed.cluster_object(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS)?;
        let handler = &class["handler"];
        // One that the operator before us made may have another handler, for another runtime, and works.
        (!is_ours(class) && handler != names::KATA_RUNTIME_CLASS).then(|| handler.to_string())
    }

    fn troubles(&self, rendered: bool) -> Troubles {
        let mut troubles = Troubles::of_rollout(self.observed, self.settings, self.layout, &self.survey);
        if let Some(what) = self.waiting_for_mco(rendered) {
            let message = self.progress(rendered);
            let since = self.kata_config.status.condition(READY).filter(|before| before.message == message);
            let since = since.map_or(self.observed.now, |before| before.last_transition_time.0);
            troubles.mco_silent(self.observed.now, since, self.settings, &what);
        }
        troubles.refused_nodes(&self.membership);
        if let Some(handler) = self.colliding_handler() {
            troubles.add(
                "RuntimeClassCollision",
                format!(
                    "RuntimeClass kata has handler {handler}, not \"kata\": somebody else made it; delete or rename it, then \
                     it is created anew"
                ),
            );
        }
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
        if self.spec.peer_pods {
            troubles.add("PeerPodsUnavailable", self.peer_pods());
        }
        if self.settings.monitor_image.is_none() {
            troubles.add(
                "MonitorImageMissing",
                "no image is known for kata-monitor, so that it does not run: set RELATED_IMAGE_KATA_MONITOR in the \
                 operator's Deployment"
                    .to_owned(),
            );
        }
        troubles
    }

    fn peer_pods(&self) -> String {
        let remote = names::REMOTE_RUNTIME_CLASS;
        if runtime_class::ours(self.observed).any(|class| class.name == remote) {
            format!(
                "spec.enablePeerPods is true, but this release does not look after peer pods: RuntimeClass {remote} and \
                 what serves it are left as the operator before left them, and nothing updates or mends them"
            )
        } else {
            format!(
                "spec.enablePeerPods is true, but this release does not provide {remote}; kata is installed without it: set \
                 spec.enablePeerPods to false"
            )
        }
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

    fn report_first_look(&mut self) {
        let report = Report {
            in_progress: InProgress::Installing,
            ready: Ready::not("Installing", self.progress(false)),
            troubles: Vec::new(),
            kata_nodes: osc_api::KataNodesStatus::default(),
            runtime_classes: Vec::new(),
            waiting_for_mco_to_start: true,
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }

    fn report(&mut self, troubles: Troubles, rendered: bool, settled: bool) {
        let report = Report {
            in_progress: self.in_progress(settled),
            ready: self.ready(rendered, settled),
            kata_nodes: self.survey.status(false),
            runtime_classes: self.runtime_classes(settled),
            waiting_for_mco_to_start: self.waiting_flag(rendered),
            troubles: troubles.found,
        };
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }

    /// `kata` is listed with the status that follows its creation, and from then on: it is made again if it goes. Those
    /// that others made are listed as long as they exist.
    fn runtime_classes(&self, settled: bool) -> Vec<String> {
        let kata = names::KATA_RUNTIME_CLASS;
        let before = &self.kata_config.status.runtime_classes;
        let mut classes = runtime_class::listed(self.observed, before, Some(kata));
        let created = settled && !self.survey.nodes.is_empty() && self.colliding_handler().is_none();
        if created && !classes.iter().any(|class| class == kata) {
            classes.push(kata.to_owned());
        }
        classes
    }

    fn ready(&self, rendered: bool, settled: bool) -> Ready {
        let installed = self.survey.nodes.len();
        if self.no_nodes() {
            let message = "no worker node is selected: label nodes so that spec.kataConfigPoolSelector matches them, or \
                           change the selector";
            Ready::not("NoNodesSelected", message)
        } else if settled && let Some(handler) = self.colliding_handler() {
            let message = format!("RuntimeClass kata belongs to handler {handler}: pods cannot use Kata");
            Ready::not("RuntimeClassCollision", message)
        } else if settled {
            let message = format!(
                "Kata is installed on {installed} {}; pods use it with runtimeClassName: kata",
                plural(installed)
            );
            Ready { status: true, reason: "Installed", message }
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

    fn any_node_eligible(&self) -> bool {
        self.observed.nodes.iter().any(|node| node.is_eligible())
    }

    /// Nothing is changed, above all not on nodes that have Kata: labels that vanish with a broken Node Feature
    /// Discovery must not reboot a cluster.
    fn refuse_without_eligible_nodes(&mut self) {
        let message = format!(
            "no Nodes with required labels found. Is NFD running? spec.checkNodeEligibility is true, so that a node \
             must carry {}=true: run Node Feature Discovery, label nodes by hand, or set it to false",
            names::NODE_ELIGIBLE_LABEL
        );
        let mut report = Report::refusal(self.kata_config, "NoEligibleNodes", message);
        report.kata_nodes = self.survey.status(false);
        self.plan.steps.extend(report.steps(self.kata_config, self.observed.now));
    }
}

fn role(node: &str, value: Option<&'static str>) -> Step {
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
