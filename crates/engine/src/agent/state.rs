//! How far a node is, by the label that operator and agent share.

use osc_api::names;

use crate::nodes::{NodeState, Survey};
use crate::observed::{NodeView, Observed};

/// The value of the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// The node is chosen; its turn is yet to come.
    WaitingToInstall,
    /// The agent works.
    Installing,
    /// The agent has done what it can; a person has to reboot the node.
    WaitingForReboot,
    /// The container runtime knows Kata.
    Installed,
    /// The agent could not do it; it tries again.
    InstallFailed,
    /// The node is to lose Kata; its turn is yet to come.
    WaitingToUninstall,
    /// The agent removes Kata.
    Uninstalling,
    /// Nothing is left.
    Uninstalled,
    /// The agent could not remove it; it tries again.
    UninstallFailed,
}

impl AgentState {
    const ALL: [Self; 9] = [
        Self::WaitingToInstall,
        Self::Installing,
        Self::WaitingForReboot,
        Self::Installed,
        Self::InstallFailed,
        Self::WaitingToUninstall,
        Self::Uninstalling,
        Self::Uninstalled,
        Self::UninstallFailed,
    ];

    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::WaitingToInstall => "waiting_to_install",
            Self::Installing => "installing",
            Self::WaitingForReboot => "waiting_for_reboot",
            Self::Installed => "installed",
            Self::InstallFailed => "install_failed",
            Self::WaitingToUninstall => "waiting_to_uninstall",
            Self::Uninstalling => "uninstalling",
            Self::Uninstalled => "uninstalled",
            Self::UninstallFailed => "uninstall_failed",
        }
    }

    /// Reads the label's value.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.text() == text)
    }

    /// Of a node; nothing if there is no label or one that means nothing.
    pub fn of(node: &NodeView) -> Option<Self> {
        Self::parse(node.labels.get(names::DAEMON_SET_MODE_LABEL)?)
    }

    /// Whether a node with this state has a turn: its container runtime may be restarted at any moment.
    pub fn has_turn(self) -> bool {
        matches!(self, Self::Installing | Self::Uninstalling | Self::InstallFailed | Self::UninstallFailed)
    }
}

/// Text on a node that means nothing.
pub fn unknown_text(node: &NodeView) -> Option<&str> {
    let text = node.labels.get(names::DAEMON_SET_MODE_LABEL)?;
    AgentState::parse(text).is_none().then_some(text)
}

/// How far a node is that is to have Kata.
fn of_member(state: Option<AgentState>) -> NodeState {
    match state {
        Some(AgentState::Installed) => NodeState::Installed,
        Some(AgentState::Installing | AgentState::WaitingForReboot) => NodeState::Installing,
        Some(AgentState::InstallFailed) => NodeState::FailedToInstall,
        _ => NodeState::WaitingToInstall,
    }
}

/// How far a node is that is not to have Kata.
fn of_other(node: &NodeView) -> NodeState {
    match AgentState::of(node) {
        None if unknown_text(node).is_none() => NodeState::Unconcerned,
        Some(AgentState::Uninstalled) => NodeState::Unconcerned,
        Some(AgentState::WaitingToInstall) if is_untouched(node) => NodeState::Unconcerned,
        Some(AgentState::Uninstalling | AgentState::WaitingForReboot) => NodeState::Uninstalling,
        Some(AgentState::UninstallFailed) => NodeState::FailedToUninstall,
        _ => NodeState::WaitingToUninstall,
    }
}

/// Whether a node that waits never had a turn, so that there is nothing on it.
pub fn is_untouched(node: &NodeView) -> bool {
    AgentState::of(node) == Some(AgentState::WaitingToInstall) && node.agent_version.is_none()
}

/// Surveys the nodes. `leaving`: Kata is to go from all of them.
pub fn survey(observed: &Observed, leaving: bool) -> Survey<'_> {
    let mut survey = Survey::default();
    for node in &observed.nodes {
        let member = node.has_kata_role();
        survey.labelled += usize::from(member);
        let state = if member && !leaving { of_member(AgentState::of(node)) } else { of_other(node) };
        if state != NodeState::Unconcerned {
            survey.nodes.push((node, state));
        }
    }
    survey
}

#[cfg(test)]
mod tests {
    use super::*;
    use NodeState::{
        FailedToInstall, FailedToUninstall, Installed, Installing, Unconcerned, Uninstalling,
        WaitingToInstall, WaitingToUninstall,
    };
    use rstest::rstest;

    fn node(label: Option<&str>) -> NodeView {
        let label = label.map(|text| (names::DAEMON_SET_MODE_LABEL.to_owned(), text.to_owned()));
        NodeView { labels: label.into_iter().collect(), ..NodeView::default() }
    }

    #[rstest]
    #[case(None, WaitingToInstall, Unconcerned)]
    #[case(Some("waiting_to_install"), WaitingToInstall, Unconcerned)]
    #[case(Some("installing"), Installing, WaitingToUninstall)]
    #[case(Some("waiting_for_reboot"), Installing, Uninstalling)]
    #[case(Some("installed"), Installed, WaitingToUninstall)]
    #[case(Some("install_failed"), FailedToInstall, WaitingToUninstall)]
    #[case(Some("waiting_to_uninstall"), WaitingToInstall, WaitingToUninstall)]
    #[case(Some("uninstalling"), WaitingToInstall, Uninstalling)]
    #[case(Some("uninstalled"), WaitingToInstall, Unconcerned)]
    #[case(Some("uninstall_failed"), WaitingToInstall, FailedToUninstall)]
    #[case(Some("by_hand"), WaitingToInstall, WaitingToUninstall)]
    #[case(Some(""), WaitingToInstall, WaitingToUninstall)]
    fn the_state_follows_the_label(
        #[case] label: Option<&str>,
        #[case] to_have: NodeState,
        #[case] to_lose: NodeState,
    ) {
        let node = node(label);
        assert_eq!((of_member(AgentState::of(&node)), of_other(&node)), (to_have, to_lose));
    }

    #[test]
    fn a_node_that_waits_for_something_newer_has_something() {
        let version = Some("kata-containers-3.17.0-1.el9".to_owned());
        let waits = NodeView { agent_version: version, ..node(Some("waiting_to_install")) };
        assert_eq!(of_other(&waits), WaitingToUninstall);
    }

    #[test]
    fn every_state_is_read_as_it_is_written() {
        for state in AgentState::ALL {
            assert_eq!(AgentState::parse(state.text()), Some(state));
        }
    }
}
