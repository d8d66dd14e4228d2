//! The node's state, as the label tells it.

/// A value of the label. The operator writes those that wait and those that grant a turn, the agent the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Chosen, not its turn.
    WaitingToInstall,
    /// Its turn to be installed.
    Installing,
    /// Staged; an administrator has to start the machine anew.
    WaitingForReboot,
    /// The container runtime knows Kata.
    Installed,
    /// It did not work; tried again.
    InstallFailed,
    /// To be removed, not its turn.
    WaitingToUninstall,
    /// Its turn to be removed.
    Uninstalling,
    /// Nothing of Kata is left.
    Uninstalled,
    /// Removal did not work; tried again.
    UninstallFailed,
    /// Not chosen, or a text that says nothing.
    Unchosen,
}

const NAMES: [(State, &str); 9] = [
    (State::WaitingToInstall, "waiting_to_install"),
    (State::Installing, "installing"),
    (State::WaitingForReboot, "waiting_for_reboot"),
    (State::Installed, "installed"),
    (State::InstallFailed, "install_failed"),
    (State::WaitingToUninstall, "waiting_to_uninstall"),
    (State::Uninstalling, "uninstalling"),
    (State::Uninstalled, "uninstalled"),
    (State::UninstallFailed, "uninstall_failed"),
];

impl State {
    /// The state of a label.
    pub fn parse(label: Option<&str>) -> Self {
        NAMES.into_iter().find(|(_, name)| Some(*name) == label).map_or(Self::Unchosen, |(state, _)| state)
    }

    /// The label of a state; none for that of a node that is not chosen.
    pub fn name(self) -> Option<&'static str> {
        NAMES.into_iter().find(|(state, _)| *state == self).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_as_it_is_written() {
        for (state, name) in NAMES {
            assert_eq!((State::parse(Some(name)), state.name()), (state, Some(name)));
        }
        for text in [None, Some(""), Some("Installed"), Some("done")] {
            assert_eq!(State::parse(text), State::Unchosen, "{text:?}");
        }
    }
}
