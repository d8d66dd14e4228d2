//! What the Machine Config Operator sees of a node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use osc_api::names;

use crate::sim::annotations::{
    DESIRED_DRAIN, Faults, LAST_APPLIED_DRAIN, PENDING_BOOT_ID, PENDING_CONFIG, REBOOTS, RESTART,
};
use crate::sim::node::{is_cordoned, is_ready};

/// State that a node's daemon reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum State {
    /// It runs the config that it says.
    Done,
    /// It is installing another one.
    Working,
    /// The same, shown by some releases while the node reboots.
    Rebooting,
    /// It cannot.
    Degraded,
    /// It has said nothing yet.
    #[default]
    Unknown,
}

impl State {
    /// The word in the annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Working => "Working",
            Self::Rebooting => "Rebooting",
            Self::Degraded => "Degraded",
            Self::Unknown => "",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "Done" => Self::Done,
            "Working" => Self::Working,
            "Rebooting" => Self::Rebooting,
            "Degraded" | "Unreconcilable" => Self::Degraded,
            _ => Self::Unknown,
        }
    }
}

/// An update that waits for, or is in, its reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The config to install; absent for a plain restart.
    pub config: Option<String>,
    /// The boot that the reboot ends.
    pub boot_id: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it joined.
    pub created: Option<Timestamp>,
    /// Condition `Ready`.
    pub ready: bool,
    /// Cordoned.
    pub cordoned: bool,
    /// Annotation `currentConfig`.
    pub current: Option<String>,
    /// Annotation `desiredConfig`.
    pub desired: Option<String>,
    /// Annotation `state`.
    pub state: State,
    /// Annotation `reason`.
    pub reason: String,
    /// Annotation `desiredDrain`.
    pub desired_drain: String,
    /// Annotation `lastAppliedDrain`.
    pub applied_drain: String,
    /// Identifier of the running boot.
    pub boot_id: String,
    /// Operating system, for people.
    pub os_image: String,
    /// Reboot in progress.
    pub pending: Option<Pending>,
    /// Reboots so far.
    pub reboots: u32,
    /// A restart is asked for.
    pub restart: bool,
    /// What is to go wrong.
    pub faults: Faults,
}

impl NodeView {
    /// Reads it from a node.
    pub fn read(node: &Node) -> Self {
        let annotations = node.annotations();
        let get = |key: &str| annotations.get(key).cloned();
        let config = |key: &str| get(key).filter(|name| !name.is_empty());
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            created: node.metadata.creation_timestamp.as_ref().map(|time| time.0),
            ready: is_ready(node),
            cordoned: is_cordoned(node),
            current: config(names::MCO_CURRENT_CONFIG),
            desired: config(names::MCO_DESIRED_CONFIG),
            state: State::read(&get(names::MCO_STATE).unwrap_or_default()),
            reason: get(names::MCO_REASON).unwrap_or_default(),
            desired_drain: get(DESIRED_DRAIN).unwrap_or_default(),
            applied_drain: get(LAST_APPLIED_DRAIN).unwrap_or_default(),
            boot_id: info.map(|info| info.boot_id.clone()).unwrap_or_default(),
            os_image: info.map(|info| info.os_image.clone()).unwrap_or_default(),
            pending: get(PENDING_BOOT_ID).map(|boot_id| Pending { config: config(PENDING_CONFIG), boot_id }),
            reboots: get(REBOOTS).and_then(|text| text.parse().ok()).unwrap_or(0),
            restart: annotations.contains_key(RESTART),
            faults: Faults::read(Some(annotations)),
        }
    }

    /// Zone, or nothing.
    pub fn zone(&self) -> &str {
        self.labels.get("topology.kubernetes.io/zone").map_or("", String::as_str)
    }

    /// It runs `config` and nothing else is under way.
    pub fn is_done_at(&self, config: &str) -> bool {
        self.is_done() && self.current.as_deref() == Some(config)
    }

    /// It runs what it is to run.
    pub fn is_done(&self) -> bool {
        self.state == State::Done && self.current.is_some() && self.current == self.desired
    }

    /// Its daemon cannot go on.
    pub fn is_failing(&self) -> bool {
        self.state == State::Degraded && self.current != self.desired
    }

    /// Pods can be put on it.
    pub fn is_serving(&self) -> bool {
        self.ready && !self.cordoned
    }

    /// It counts against the pool's `maxUnavailable`: not serving, or about to be.
    pub fn is_unavailable(&self) -> bool {
        !self.is_serving() || !self.is_done() && !self.is_failing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn node(state: State, current: &str, desired: &str) -> NodeView {
        NodeView {
            ready: true,
            state,
            current: Some(current.to_owned()),
            desired: Some(desired.to_owned()),
            ..NodeView::default()
        }
    }

    #[rstest]
    #[case::done(node(State::Done, "a", "a"), false)]
    #[case::about_to_start(node(State::Done, "a", "b"), true)]
    #[case::working(node(State::Working, "a", "b"), true)]
    #[case::rebooting(node(State::Rebooting, "a", "b"), true)]
    #[case::failing(node(State::Degraded, "a", "b"), false)]
    #[case::failing_and_cordoned(NodeView { cordoned: true, ..node(State::Degraded, "a", "b") }, true)]
    #[case::cordoned_by_a_person(NodeView { cordoned: true, ..node(State::Done, "a", "a") }, true)]
    #[case::not_ready(NodeView { ready: false, ..node(State::Done, "a", "a") }, true)]
    fn availability(#[case] node: NodeView, #[case] unavailable: bool) {
        assert_eq!(node.is_unavailable(), unavailable);
    }
}
