//! What is to be done next, from nothing but what the host is like. Pure.
//!
//! There is no list that is worked off and no memory of how far things got: after each step one looks again. A kill
//! between two steps, or in the middle of one, therefore needs no code of its own.

use crate::payload::PayloadState;
use crate::state::State;

/// Something that is done to the host. Each may be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Install the packages or the bundle.
    Payload,
    /// Do what is left after packages were installed.
    FinishPayload,
    /// Put the kernel of the add-on in place, or take it back.
    Addon,
    /// Write or remove the drop-in of the log level.
    LogLevel,
    /// Let the runtime read it.
    Reload,
    /// Make the handlers known to the runtime: files and restart, rolled back together.
    Configure,
    /// Restart the runtime, which has not been seen working with what was written.
    Restart,
    /// Put the runtime's configuration back.
    Unconfigure,
    /// Remove the packages or the bundle.
    RemovePayload,
    /// Remove the journal.
    Forget,
}

/// What the host is like, for an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForInstall {
    /// How far the payload is.
    pub payload: PayloadState,
    /// The rest, which can be known once the payload is there.
    pub rest: Option<Rest>,
}

/// What else there is to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a thing of its own on the host
pub struct Rest {
    /// The add-on is not as asked for.
    pub addon_differs: bool,
    /// The log level's drop-in is not.
    pub log_level_differs: bool,
    /// The runtime has not read it.
    pub reload_pending: bool,
    /// The runtime's configuration is not.
    pub configuration_differs: bool,
    /// The runtime has not been seen working with it.
    pub restart_pending: bool,
    /// The runtime is ready and knows all handlers.
    pub runtime_knows: bool,
}

/// What the host is like, for a removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a thing of its own on the host
pub struct ForRemoval {
    /// Files of ours are there.
    pub configured: bool,
    /// Packages of ours are there.
    pub packages: bool,
    /// A bundle of ours is there.
    pub bundle: bool,
    /// The runtime runs with what was there before we removed it.
    pub restart_pending: bool,
    /// The runtime has not read its log level.
    pub reload_pending: bool,
    /// There is a journal.
    pub journal: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Do(Step),
    /// Nothing, until the machine is started anew.
    AwaitReboot,
    /// Nothing.
    Done,
}

/// What comes next on the way to an installed node.
pub fn install(seen: &ForInstall) -> Next {
    match (&seen.payload, seen.rest) {
        (PayloadState::Missing, _) | (PayloadState::Present { .. }, None) => Next::Do(Step::Payload),
        (PayloadState::Unfinished, _) => Next::Do(Step::FinishPayload),
        (PayloadState::Staged, _) => Next::AwaitReboot,
        (PayloadState::Present { .. }, Some(rest)) => after_payload(rest),
    }
}

fn after_payload(rest: Rest) -> Next {
    if rest.addon_differs {
        Next::Do(Step::Addon)
    } else if rest.log_level_differs {
        Next::Do(Step::LogLevel)
    } else if rest.configuration_differs {
        Next::Do(Step::Configure)
    } else if rest.restart_pending || !rest.runtime_knows {
        Next::Do(Step::Restart)
    } else if rest.reload_pending {
        Next::Do(Step::Reload)
    } else {
        Next::Done
    }
}

/// What comes next on the way to a node without Kata.
///
/// Packages go before the restart, because their own drop-ins go with them; a bundle after it, when nothing knows of it
/// any more.
pub fn remove(seen: &ForRemoval) -> Next {
    if seen.configured {
        Next::Do(Step::Unconfigure)
    } else if seen.packages {
        Next::Do(Step::RemovePayload)
    } else if seen.restart_pending {
        Next::Do(Step::Restart)
    } else if seen.reload_pending {
        Next::Do(Step::Reload)
    } else if seen.bundle {
        Next::Do(Step::RemovePayload)
    } else if seen.journal {
        Next::Do(Step::Forget)
    } else {
        Next::Done
    }
}

/// Whether a step has to wait for the node's turn.
pub fn needs_turn(step: Step, state: State) -> bool {
    let restarts = matches!(step, Step::Configure | Step::Restart | Step::Unconfigure);
    match state {
        State::Installing | State::Uninstalling => false,
        // A retry goes on by itself up to the point where pods might notice.
        State::InstallFailed | State::UninstallFailed => restarts,
        // Nothing of this is noticed by pods.
        State::Installed => !matches!(step, Step::LogLevel | Step::Reload | Step::Addon),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn present(rest: Rest) -> ForInstall {
        ForInstall { payload: PayloadState::Present { version: "3.2-1".to_owned() }, rest: Some(rest) }
    }

    const FINE: Rest = Rest {
        addon_differs: false,
        log_level_differs: false,
        reload_pending: false,
        configuration_differs: false,
        restart_pending: false,
        runtime_knows: true,
    };

    #[rstest]
    #[case(FINE, Next::Done)]
    #[case(Rest { addon_differs: true, configuration_differs: true, ..FINE }, Next::Do(Step::Addon))]
    #[case(Rest { log_level_differs: true, configuration_differs: true, ..FINE }, Next::Do(Step::LogLevel))]
    #[case(Rest { configuration_differs: true, runtime_knows: false, ..FINE }, Next::Do(Step::Configure))]
    #[case(Rest { restart_pending: true, ..FINE }, Next::Do(Step::Restart))]
    #[case(Rest { restart_pending: true, reload_pending: true, ..FINE }, Next::Do(Step::Restart))]
    #[case(Rest { runtime_knows: false, ..FINE }, Next::Do(Step::Restart))]
    #[case(Rest { reload_pending: true, ..FINE }, Next::Do(Step::Reload))]
    fn the_rest_follows_the_payload(#[case] rest: Rest, #[case] expected: Next) {
        assert_eq!(install(&present(rest)), expected);
    }

    #[rstest]
    #[case(PayloadState::Missing, Next::Do(Step::Payload))]
    #[case(PayloadState::Unfinished, Next::Do(Step::FinishPayload))]
    #[case(PayloadState::Staged, Next::AwaitReboot)]
    fn the_payload_comes_first(#[case] payload: PayloadState, #[case] expected: Next) {
        assert_eq!(install(&ForInstall { payload, rest: None }), expected);
    }

    #[test]
    fn a_removal_undoes_in_an_order_that_keeps_pods_running() {
        let mut seen = ForRemoval { configured: true, bundle: true, journal: true, ..ForRemoval::default() };
        assert_eq!(remove(&seen), Next::Do(Step::Unconfigure));
        (seen.configured, seen.restart_pending) = (false, true);
        assert_eq!(remove(&seen), Next::Do(Step::Restart), "before the programs go");
        seen.restart_pending = false;
        assert_eq!(remove(&seen), Next::Do(Step::RemovePayload));
        seen.bundle = false;
        assert_eq!(remove(&seen), Next::Do(Step::Forget));
        seen.journal = false;
        assert_eq!(remove(&seen), Next::Done);
        let packages =
            ForRemoval { packages: true, restart_pending: true, journal: true, ..ForRemoval::default() };
        assert_eq!(remove(&packages), Next::Do(Step::RemovePayload), "their drop-ins go with them");
    }

    #[rstest]
    #[case(Step::Payload, State::Installing, false)]
    #[case(Step::Configure, State::Installing, false)]
    #[case(Step::Payload, State::InstallFailed, false)]
    #[case(Step::Configure, State::InstallFailed, true)]
    #[case(Step::Restart, State::UninstallFailed, true)]
    #[case(Step::RemovePayload, State::UninstallFailed, false)]
    #[case(Step::LogLevel, State::Installed, false)]
    #[case(Step::Payload, State::Installed, true)]
    #[case(Step::Payload, State::WaitingToInstall, true)]
    #[case(Step::LogLevel, State::WaitingToInstall, true)]
    #[case(Step::Configure, State::WaitingForReboot, true)]
    fn what_pods_might_notice_waits_for_the_turn(
        #[case] step: Step,
        #[case] state: State,
        #[case] expected: bool,
    ) {
        assert_eq!(needs_turn(step, state), expected);
    }
}
