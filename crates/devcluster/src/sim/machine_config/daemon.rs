//! The daemon on a node, as a pure state machine: what phase a node is in, and what to do there.
//!
//! ```text
//!            desired ≠ current           drained                 new boot
//!   Done ──▶ Notice ──▶ Cordon ──▶ Drain ──▶ Apply ──▶ Boot ──▶ Finish ──▶ Done
//!     ▲                   │ same content        (Working all along)
//!     ├── Settle          ├──▶ Quiet ──▶ Done, without drain and reboot
//!     │  (desired went    └──▶ Broken ──▶ Degraded ──▶ Recover ──▶ Working
//!     │   back)
//! ```
//!
//! Everything that decides the phase is on the node itself, so a simulation that is stopped and started again goes
//! on where it was, and counts a reboot once.

use std::collections::BTreeMap;
use std::time::Duration;

use osc_api::names;

use super::node_view::{NodeView, Pending, State};
use crate::sim::annotations::{
    DESIRED_DRAIN, LAST_APPLIED_DRAIN, PENDING_BOOT_ID, PENDING_CONFIG, REBOOTS, RESTART,
};
use crate::sim::options::SimOptions;

/// Beginning of the reason of a drain that takes too long.
const DRAIN_FAILURE: &str = "failed to drain node";

/// What is known about the config that a node is to run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Target {
    /// The rendered config exists.
    pub exists: bool,
    /// It differs from the current one in its name only.
    pub same_content: bool,
    /// Extensions in it that the operating system does not have.
    pub bad_extensions: Vec<String>,
    /// What a node that has no config yet starts with.
    pub first: Option<String>,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to do.
    Rest,
    /// A node without a config joins with this one.
    Join(String),
    /// A restart was asked for.
    Restart,
    /// It is to run what it runs, but does not say so yet.
    Settle,
    /// A new config; the daemon has not noticed.
    Notice,
    /// The update cannot be done.
    Broken(String),
    /// It could not, but now it can.
    Recover,
    /// The new config asks for no change.
    Quiet,
    /// The node is to be cordoned.
    Cordon,
    /// The node is being drained.
    Drain,
    /// The update is being written to the disk.
    Apply,
    /// The node reboots.
    Boot,
    /// The node is back.
    Finish,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something changes.
    Rest,
    /// Look again after a simulated time.
    Wait(Duration),
    /// Change the node.
    Write(Changes),
    /// Evict what can be evicted.
    Drain,
    /// Make the node not ready.
    Down,
    /// Make the node ready, in a new boot.
    Up,
}

/// Changes to a node's annotations and to whether it is cordoned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Annotations to set, or to remove.
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// Cordon or uncordon.
    pub cordon: Option<bool>,
}

impl Changes {
    fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.annotations.insert(key, Some(value.into()));
        self
    }

    fn remove(mut self, key: &'static str) -> Self {
        self.annotations.insert(key, None);
        self
    }

    fn state(self, state: State, reason: &str) -> Self {
        self.set(names::MCO_STATE, state.as_str()).set(names::MCO_REASON, reason)
    }

    fn uncordon(mut self, config: &str) -> Self {
        self.cordon = Some(false);
        let drain = format!("uncordon-{config}");
        self.set(DESIRED_DRAIN, drain.clone()).set(LAST_APPLIED_DRAIN, drain)
    }
}

/// Extensions of the operating system.
pub fn known_extensions(os_image: &str) -> [&'static str; 8] {
    let kata = if os_image.contains("Red Hat") { names::EXTENSION_PRODUCT } else { names::EXTENSION_OKD };
    ["ipsec", "kerberos", "kernel-devel", kata, "sysstat", "two-node-ha", "usbguard", "wasm"]
}

/// Decides where a node is.
pub fn phase(node: &NodeView, target: &Target) -> Phase {
    if let Some(pending) = &node.pending {
        return match (pending.boot_id == node.boot_id, node.ready) {
            (true, true) => Phase::Apply,
            (true, false) => Phase::Boot,
            (false, true) => Phase::Finish,
            (false, false) => Phase::Rest,
        };
    }
    if !node.ready {
        // The daemon does not run either.
        return Phase::Rest;
    }
    if node.restart {
        return Phase::Restart;
    }
    let (Some(current), Some(desired)) = (&node.current, &node.desired) else {
        return target.first.clone().map_or(Phase::Rest, Phase::Join);
    };
    if current == desired {
        let settled = node.state == State::Done && !node.desired_drain.starts_with("drain-");
        return if settled { Phase::Rest } else { Phase::Settle };
    }
    if matches!(node.state, State::Done | State::Unknown) {
        return Phase::Notice;
    }
    let draining = node.cordoned && node.desired_drain == drain_of(desired);
    if let Some(reason) = obstacle(node, target, desired, draining) {
        let told = node.state == State::Degraded && node.reason == reason;
        return if told { Phase::Rest } else { Phase::Broken(reason) };
    }
    if node.state == State::Degraded && !node.reason.starts_with(DRAIN_FAILURE) {
        Phase::Recover
    } else if target.same_content {
        Phase::Quiet
    } else if draining {
        Phase::Drain
    } else {
        Phase::Cordon
    }
}

fn drain_of(config: &str) -> String {
    format!("drain-{config}")
}

fn obstacle(node: &NodeView, target: &Target, desired: &str, draining: bool) -> Option<String> {
    if let Some(message) = &node.faults.degrade {
        return Some(message.clone());
    }
    // The daemon reads the config at the beginning; later it no longer needs the object.
    if !target.exists && !draining {
        return Some(format!("machineconfig.machineconfiguration.openshift.io {desired:?} not found"));
    }
    (!target.bad_extensions.is_empty())
        .then(|| format!("invalid extensions found: [{}]", target.bad_extensions.join(" ")))
}

/// What to do in a phase that has lasted for `elapsed`.
pub fn step(phase: &Phase, node: &NodeView, elapsed: Duration, options: &SimOptions) -> Step {
    let timing = &options.timing;
    let needed = match phase {
        Phase::Rest => return Step::Rest,
        Phase::Drain => return Step::Drain,
        Phase::Restart | Phase::Cordon => Duration::ZERO,
        Phase::Apply => apply_time(node, options),
        Phase::Boot if node.faults.reboot_hangs => return Step::Rest,
        Phase::Boot => reboot_time(node, options).mul_f64(0.75),
        _ => timing.sync_delay,
    };
    if let Some(left) = needed.checked_sub(elapsed).filter(|left| !left.is_zero()) {
        return Step::Wait(left);
    }
    let desired = node.desired.as_deref().unwrap_or_default();
    match phase {
        Phase::Rest | Phase::Drain => Step::Rest,
        Phase::Join(config) => Step::Write(
            Changes::default()
                .set(names::MCO_CURRENT_CONFIG, config)
                .set(names::MCO_DESIRED_CONFIG, config)
                .state(State::Done, ""),
        ),
        Phase::Restart => {
            let boot_id = node.boot_id.clone();
            Step::Write(
                Changes::default().remove(RESTART).remove(PENDING_CONFIG).set(PENDING_BOOT_ID, boot_id),
            )
        }
        Phase::Settle => Step::Write(settle(node, desired)),
        Phase::Notice | Phase::Recover => Step::Write(Changes::default().state(State::Working, "")),
        Phase::Broken(reason) => Step::Write(Changes::default().state(State::Degraded, reason)),
        Phase::Quiet => Step::Write(settle(node, desired).set(names::MCO_CURRENT_CONFIG, desired)),
        Phase::Cordon => {
            let changes = Changes::default().set(DESIRED_DRAIN, drain_of(desired));
            Step::Write(Changes { cordon: Some(true), ..changes })
        }
        Phase::Apply => Step::Down,
        Phase::Boot => Step::Up,
        Phase::Finish => Step::Write(finish(node)),
    }
}

fn settle(node: &NodeView, config: &str) -> Changes {
    let done = Changes::default().state(State::Done, "");
    // Only a cordon of our own is taken back: an administrator's stays.
    if node.desired_drain.starts_with("drain-") { done.uncordon(config) } else { done }
}

/// What to write when the last pod is gone: from here on the update is bound to happen.
pub fn drained(node: &NodeView, report_rebooting: bool) -> Changes {
    let desired = node.desired.clone().unwrap_or_default();
    let state = if report_rebooting { State::Rebooting } else { State::Working };
    Changes::default()
        .state(state, "")
        .set(LAST_APPLIED_DRAIN, drain_of(&desired))
        .set(PENDING_CONFIG, desired)
        .set(PENDING_BOOT_ID, node.boot_id.clone())
}

/// What to write when a drain takes too long. The drain goes on.
pub fn drain_failed(node: &NodeView, limit: Duration, left: &[String]) -> Changes {
    let hours = limit.as_secs().div_ceil(3600);
    let unit = if hours == 1 { "hour" } else { "hours" };
    let detail = left.first().map(String::as_str).unwrap_or_default();
    let reason = format!(
        "{DRAIN_FAILURE}: {} after {hours} {unit}. Please see machine-config-controller logs for more information: \
         {detail}",
        node.name
    );
    Changes::default().state(State::Degraded, &reason)
}

fn finish(node: &NodeView) -> Changes {
    let changes = Changes::default()
        .remove(PENDING_CONFIG)
        .remove(PENDING_BOOT_ID)
        .set(REBOOTS, node.reboots.saturating_add(1).to_string());
    match &node.pending {
        Some(Pending { config: Some(config), .. }) => {
            changes.set(names::MCO_CURRENT_CONFIG, config).state(State::Done, "").uncordon(config)
        }
        _ => changes,
    }
}

fn apply_time(node: &NodeView, options: &SimOptions) -> Duration {
    let update = node.pending.as_ref().is_some_and(|pending| pending.config.is_some());
    if update { reboot_time(node, options).mul_f64(0.25) } else { Duration::ZERO }
}

fn reboot_time(node: &NodeView, options: &SimOptions) -> Duration {
    options.timing.reboot_of(options.seed, &node.name, node.faults.reboot_factor.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::annotations::Faults;
    use rstest::rstest;

    fn node(state: State, current: &str, desired: &str) -> NodeView {
        NodeView {
            name: "n".into(),
            ready: true,
            state,
            current: Some(current.into()),
            desired: Some(desired.into()),
            boot_id: "boot-1".into(),
            ..NodeView::default()
        }
    }

    fn working() -> NodeView {
        node(State::Working, "old", "new")
    }

    fn draining() -> NodeView {
        NodeView { cordoned: true, desired_drain: "drain-new".into(), ..working() }
    }

    fn pending(boot_id: &str, ready: bool) -> NodeView {
        let pending = Some(Pending { config: Some("new".into()), boot_id: boot_id.into() });
        NodeView { ready, pending, ..draining() }
    }

    fn degraded(reason: &str) -> NodeView {
        NodeView { reason: reason.into(), ..node(State::Degraded, "old", "new") }
    }

    fn fault(message: &str, node: NodeView) -> NodeView {
        NodeView { faults: Faults { degrade: Some(message.into()), ..Faults::default() }, ..node }
    }

    fn good() -> Target {
        Target { exists: true, ..Target::default() }
    }

    #[rstest]
    #[case::nothing(node(State::Done, "a", "a"), good(), Phase::Rest)]
    #[case::new_config(node(State::Done, "old", "new"), good(), Phase::Notice)]
    #[case::begins(working(), good(), Phase::Cordon)]
    #[case::drains(draining(), good(), Phase::Drain)]
    #[case::applies(pending("boot-1", true), good(), Phase::Apply)]
    #[case::boots(pending("boot-1", false), good(), Phase::Boot)]
    #[case::is_back(pending("boot-0", true), good(), Phase::Finish)]
    #[case::same_content(working(), Target { same_content: true, ..good() }, Phase::Quiet)]
    #[case::went_back(node(State::Degraded, "a", "a"), good(), Phase::Settle)]
    #[case::went_back_drained(NodeView { desired: Some("old".into()), ..draining() }, good(), Phase::Settle)]
    #[case::other_target(NodeView { desired: Some("newer".into()), ..draining() }, good(), Phase::Cordon)]
    #[case::down(NodeView { ready: false, ..working() }, good(), Phase::Rest)]
    #[case::restart(NodeView { restart: true, ..node(State::Done, "a", "a") }, good(), Phase::Restart)]
    #[case::no_config(NodeView { ready: true, ..NodeView::default() }, Target::default(), Phase::Rest)]
    #[case::joins(
        NodeView { ready: true, ..NodeView::default() },
        Target { first: Some("a".into()), ..Target::default() },
        Phase::Join("a".into())
    )]
    #[case::missing(
        working(),
        Target::default(),
        Phase::Broken("machineconfig.machineconfiguration.openshift.io \"new\" not found".into())
    )]
    #[case::missing_too_late(draining(), Target::default(), Phase::Drain)]
    #[case::bad_extensions(
        working(),
        Target { bad_extensions: vec!["x".into(), "y".into()], ..good() },
        Phase::Broken("invalid extensions found: [x y]".into())
    )]
    #[case::injected(fault("disk full", working()), good(), Phase::Broken("disk full".into()))]
    #[case::injected_before_it_noticed(
        fault("disk full", node(State::Done, "old", "new")),
        good(),
        Phase::Notice
    )]
    #[case::injected_and_idle(fault("disk full", node(State::Done, "a", "a")), good(), Phase::Rest)]
    #[case::told(fault("disk full", degraded("disk full")), good(), Phase::Rest)]
    #[case::recovers(degraded("disk full"), good(), Phase::Recover)]
    #[case::late_drain_goes_on(
        NodeView { state: State::Degraded, reason: "failed to drain node: n after 1 hour.".into(), ..draining() },
        good(),
        Phase::Drain
    )]
    fn phases(#[case] node: NodeView, #[case] target: Target, #[case] expected: Phase) {
        assert_eq!(phase(&node, &target), expected);
    }

    /// Applies changes to a view as the API would.
    fn written(mut node: NodeView, changes: &Changes) -> NodeView {
        for (key, value) in &changes.annotations {
            let value = value.clone();
            match *key {
                names::MCO_STATE => {
                    node.state = match value.as_deref() {
                        Some("Done") => State::Done,
                        Some("Degraded") => State::Degraded,
                        _ => State::Working,
                    }
                }
                names::MCO_REASON => node.reason = value.unwrap_or_default(),
                names::MCO_CURRENT_CONFIG => node.current = value,
                DESIRED_DRAIN => node.desired_drain = value.unwrap_or_default(),
                LAST_APPLIED_DRAIN => node.applied_drain = value.unwrap_or_default(),
                PENDING_BOOT_ID => {
                    let config = changes.annotations.get(PENDING_CONFIG).cloned().flatten();
                    node.pending = value.map(|boot_id| Pending { config, boot_id });
                }
                REBOOTS => node.reboots = value.unwrap_or_default().parse().unwrap(),
                RESTART => node.restart = value.is_some(),
                _ => {}
            }
        }
        node.cordoned = changes.cordon.unwrap_or(node.cordoned);
        node
    }

    /// Lets a node run until it rests; returns it and the phases on the way.
    fn run(mut node: NodeView, target: &Target) -> (NodeView, Vec<Phase>) {
        let mut phases = Vec::new();
        for _ in 0..20 {
            let phase = phase(&node, target);
            let changes = match step(&phase, &node, Duration::from_hours(9), &SimOptions::default()) {
                Step::Rest => break,
                Step::Write(changes) => changes,
                Step::Drain => drained(&node, false),
                Step::Down => {
                    node.ready = false;
                    Changes::default()
                }
                Step::Up => {
                    (node.ready, node.boot_id) = (true, format!("{}+", node.boot_id));
                    Changes::default()
                }
                Step::Wait(_) => panic!("nine hours are enough for everything"),
            };
            node = written(node, &changes);
            phases.push(phase);
        }
        (node, phases)
    }

    #[test]
    fn an_update_runs_through_all_phases_with_one_reboot() {
        let (node, phases) = run(node(State::Done, "old", "new"), &good());
        let all = [Phase::Notice, Phase::Cordon, Phase::Drain, Phase::Apply, Phase::Boot, Phase::Finish];
        assert_eq!(phases, all);
        assert_eq!((node.current.as_deref(), node.state, node.reboots), (Some("new"), State::Done, 1));
        assert_eq!((node.cordoned, node.pending, node.boot_id.as_str()), (false, None, "boot-1+"));
        assert_eq!(
            (node.desired_drain.as_str(), node.applied_drain.as_str()),
            ("uncordon-new", "uncordon-new")
        );
    }

    #[test]
    fn an_update_without_a_difference_needs_no_reboot_and_respects_a_cordon() {
        let target = Target { same_content: true, ..good() };
        let (node, phases) = run(NodeView { cordoned: true, ..node(State::Done, "old", "new") }, &target);
        assert_eq!(phases, [Phase::Notice, Phase::Quiet]);
        assert_eq!((node.current.as_deref(), node.state, node.reboots), (Some("new"), State::Done, 0));
        assert!(node.cordoned);
    }

    #[test]
    fn a_target_that_changes_during_the_reboot_is_the_next_update() {
        let (node, phases) =
            run(NodeView { desired: Some("newer".into()), ..pending("boot-1", false) }, &good());
        assert_eq!(phases[..3], [Phase::Boot, Phase::Finish, Phase::Notice]);
        assert_eq!((node.current.as_deref(), node.reboots), (Some("newer"), 2));
    }

    #[test]
    fn a_restart_changes_nothing_but_the_boot() {
        let (node, phases) = run(NodeView { restart: true, ..node(State::Done, "a", "a") }, &good());
        assert_eq!(phases, [Phase::Restart, Phase::Apply, Phase::Boot, Phase::Finish]);
        assert_eq!((node.reboots, node.restart, node.cordoned), (1, false, false));
    }

    #[test]
    fn time_is_taken() {
        let options = SimOptions::default();
        let node = pending("boot-1", false);
        let left = |elapsed| match step(&Phase::Boot, &node, elapsed, &options) {
            Step::Wait(left) => left,
            other => panic!("{other:?}"),
        };
        let whole = left(Duration::ZERO);
        assert!(whole >= Duration::from_secs(288) && whole <= Duration::from_secs(432), "{whole:?}");
        assert_eq!(left(Duration::from_mins(1)) + Duration::from_mins(1), whole);
        let hangs = NodeView { faults: Faults { reboot_hangs: true, ..Faults::default() }, ..node };
        assert_eq!(step(&Phase::Boot, &hangs, Duration::from_hours(99), &options), Step::Rest);
    }

    #[test]
    fn a_late_drain_names_node_and_pod() {
        let changes = drain_failed(&draining(), Duration::from_hours(1), &["pod demo/web-0: no".into()]);
        assert_eq!(
            changes.annotations[names::MCO_REASON].as_deref(),
            Some(
                "failed to drain node: n after 1 hour. Please see machine-config-controller logs for more \
                 information: pod demo/web-0: no"
            )
        );
    }

    #[test]
    fn the_extension_depends_on_the_operating_system() {
        assert!(known_extensions("Red Hat Enterprise Linux CoreOS 9.6").contains(&"sandboxed-containers"));
        assert!(known_extensions("CentOS Stream CoreOS 9").contains(&"kata-containers"));
    }
}
