//! Installing and removing on one host: look, decide, do one step, look again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::addon;
use crate::error::{Error, Result};
use crate::handlers::{self, Handler};
use crate::host::Host;
use crate::journal::{Existing, Journal, Part};
use crate::payload::{self, Payload, PayloadRecord, PayloadState};
use crate::platform::{NodeInfo, Platform};
use crate::runtime::{Change, Runtime, Wanted, lack};
use crate::settings::{LogLevel, Settings};
use crate::state::State;
use crate::steps::{self, ForInstall, ForRemoval, Next, Rest, Step};

/// Everything of ours that can be put back.
const ALL_PARTS: [Part; 4] = [Part::Runtime, Part::LogLevel, Part::Addon, Part::Package];

/// How far a pass got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as asked for; the version that is installed, if it is an installation.
    Done(Option<String>),
    /// The next step has to wait for the node's turn.
    NeedsTurn,
    /// The machine has to be started anew.
    AwaitReboot,
}

/// A host to work on.
#[derive(Clone)]
pub struct Work {
    /// The host.
    pub host: Host,
    /// What is asked for.
    pub settings: Settings,
    /// How long the container runtime may take to come back after a restart.
    pub patience: Duration,
}

/// What an installation is made of on this host.
struct Plan {
    payload: Payload,
    platform: Platform,
    runtime: Runtime,
    log_level: LogLevel,
}

/// What was seen on the way to an installed node.
struct Seen {
    facts: ForInstall,
    version: Option<String>,
    wanted: Option<Wanted>,
    changes: Vec<Change>,
}

impl Work {
    /// Installs as far as the node's state allows.
    pub fn install(&self, node: &NodeInfo, state: State) -> Result<Outcome> {
        let mut journal = Journal::load(&self.host)?;
        let plan = self.plan(node, &journal)?;
        let mut last = None;
        loop {
            let seen = self.see(&plan, &journal)?;
            let step = match steps::install(&seen.facts) {
                Next::Done => return Ok(Outcome::Done(seen.version)),
                Next::AwaitReboot => return Ok(Outcome::AwaitReboot),
                Next::Do(step) if steps::needs_turn(step, state) => return Ok(Outcome::NeedsTurn),
                Next::Do(step) => step,
            };
            check_progress(&mut last, step)?;
            self.install_step(step, &plan, &seen, &mut journal)?;
        }
    }

    /// Removes as far as the node's state allows.
    pub fn remove(&self, node: &NodeInfo, state: State) -> Result<Outcome> {
        let mut journal = Journal::load(&self.host)?;
        let mut last = None;
        loop {
            let step = match steps::remove(&see_for_removal(&self.host, &journal)?) {
                Next::Done | Next::AwaitReboot => return Ok(Outcome::Done(None)),
                Next::Do(step) if steps::needs_turn(step, state) => return Ok(Outcome::NeedsTurn),
                Next::Do(step) => step,
            };
            check_progress(&mut last, step)?;
            self.removal_step(step, node, &mut journal)?;
        }
    }

    fn plan(&self, node: &NodeInfo, journal: &Journal) -> Result<Plan> {
        let log_level = LogLevel::parse(&self.settings.log_level)?;
        let platform = Platform::detect(&self.host, node)?;
        let payload = Payload::choose(&self.host, &self.settings, &platform, journal)?;
        Ok(Plan { payload, platform, runtime: Runtime::new(platform.runtime, self.patience), log_level })
    }

    fn see(&self, plan: &Plan, journal: &Journal) -> Result<Seen> {
        let payload = plan.payload.state(&self.host, journal)?;
        let PayloadState::Present { version } = payload.clone() else {
            let facts = ForInstall { payload, rest: None };
            return Ok(Seen { facts, version: None, wanted: None, changes: Vec::new() });
        };
        let wanted = Wanted { handlers: handlers::of(&self.host, &plan.payload)?, log_level: plan.log_level };
        let changes = plan.runtime.changes(&self.host, journal, &plan.payload, &wanted)?;
        let rest = Rest {
            addon_differs: addon::differs(&self.host, &self.settings, journal)?,
            log_level_differs: Self::log_level_differs(plan, journal)?,
            reload_pending: journal.reload_pending(),
            configuration_differs: Self::any_differs(&changes, journal)?,
            restart_pending: journal.restart_pending(),
            runtime_knows: plan
                .runtime
                .status(&self.host)
                .is_ok_and(|status| lack(&status, &names(&wanted.handlers)).is_none()),
        };
        let facts = ForInstall { payload, rest: Some(rest) };
        Ok(Seen { facts, version: Some(version), wanted: Some(wanted), changes })
    }

    fn any_differs(changes: &[Change], journal: &Journal) -> Result<bool> {
        let mut differs = false;
        for change in changes {
            differs |= journal.differs(&change.path, change.content.as_bytes(), change.existing)?;
        }
        Ok(differs)
    }

    fn log_level_differs(plan: &Plan, journal: &Journal) -> Result<bool> {
        match plan.runtime.log_level_file(plan.log_level) {
            Some((path, content)) => journal.differs(path, content.as_bytes(), Existing::Replace),
            None => Ok(journal.has(Part::LogLevel)),
        }
    }

    fn install_step(&self, step: Step, plan: &Plan, seen: &Seen, journal: &mut Journal) -> Result<()> {
        tracing::info!(?step, "installing");
        match step {
            Step::Payload => plan.payload.install(&self.host, &self.settings, &plan.platform, journal),
            Step::FinishPayload => payload::finish(&self.host, journal),
            Step::Addon => addon::apply(&self.host, &self.settings, journal),
            Step::LogLevel => match plan.runtime.log_level_file(plan.log_level) {
                Some((path, content)) => {
                    journal.put(path, content.as_bytes(), Part::LogLevel, Existing::Replace, None).map(|_| ())
                }
                None => journal.restore(&[Part::LogLevel]).map(|_| ()),
            },
            Step::Reload => {
                plan.runtime.reload(&self.host)?;
                journal.reloaded()
            }
            Step::Configure | Step::Restart => match &seen.wanted {
                Some(wanted) => self.configure(plan, wanted, &seen.changes, journal),
                None => Ok(()),
            },
            Step::Unconfigure | Step::RemovePayload | Step::Forget => Ok(()),
        }
    }

    /// Writes the configuration and restarts the runtime. If it does not come back, what was there before does.
    fn configure(
        &self,
        plan: &Plan,
        wanted: &Wanted,
        changes: &[Change],
        journal: &mut Journal,
    ) -> Result<()> {
        let was_pending = journal.restart_pending();
        let before =
            plan.runtime.status(&self.host).ok().and_then(|status| status.handlers).unwrap_or_default();
        let ours = names(&wanted.handlers);
        let others: BTreeSet<String> = before.difference(&ours).cloned().collect();
        for change in changes {
            let mark = change.mark.as_deref();
            journal.put(&change.path, change.content.as_bytes(), Part::Runtime, change.existing, mark)?;
        }
        if let Err(error) = plan.runtime.check(&self.host, wanted) {
            if matches!(error, Error::Stopped(_)) {
                return Err(error);
            }
            journal.roll_back()?;
            if !was_pending {
                journal.restarted()?;
            }
            return Err(error);
        }
        let needed = others.union(&ours).cloned().collect();
        match plan.runtime.restart(&self.host, journal, &needed) {
            Ok(()) => journal.settle(),
            Err(error @ Error::Stopped(_)) => Err(error),
            Err(error) => Err(self.roll_back(plan, &error, &others, journal)?),
        }
    }

    /// Puts back what the runtime worked with. The error says how that went.
    fn roll_back(
        &self,
        plan: &Plan,
        error: &Error,
        others: &BTreeSet<String>,
        journal: &mut Journal,
    ) -> Result<Error> {
        let name = plan.runtime.name();
        tracing::error!(%error, "{name} does not work with its new configuration: going back");
        journal.roll_back()?;
        match plan.runtime.restart(&self.host, journal, others) {
            Ok(()) => {
                journal.settle()?;
                Ok(Error::Runtime(format!(
                    "{error}. What was there before is back, and {name} works with it: ordinary pods run. See its log, \
                     `journalctl -u {}`",
                    name.to_lowercase().replace("cri-o", "crio")
                )))
            }
            Err(stopped @ Error::Stopped(_)) => Err(stopped),
            Err(second) => Ok(Error::Runtime(format!(
                "{error}. What was there before is back, but {name} does not work with that either ({second}): look at \
                 the node"
            ))),
        }
    }

    fn removal_step(&self, step: Step, node: &NodeInfo, journal: &mut Journal) -> Result<()> {
        tracing::info!(?step, "removing");
        match step {
            Step::Unconfigure => {
                journal.restore(&ALL_PARTS)?;
                journal.set_addon(None)
            }
            Step::RemovePayload => payload::remove(&self.host, journal),
            Step::Restart => {
                let runtime = self.runtime(node)?;
                let known =
                    runtime.status(&self.host).ok().and_then(|status| status.handlers).unwrap_or_default();
                let others = known.into_iter().filter(|name| !handlers::is_known(name)).collect();
                runtime.restart(&self.host, journal, &others)?;
                journal.restarted()
            }
            Step::Reload => {
                self.runtime(node)?.reload(&self.host)?;
                journal.reloaded()
            }
            Step::Forget => journal.finish(),
            Step::Payload | Step::FinishPayload | Step::Addon | Step::LogLevel | Step::Configure => Ok(()),
        }
    }

    fn runtime(&self, node: &NodeInfo) -> Result<Runtime> {
        Ok(Runtime::new(Platform::detect(&self.host, node)?.runtime, self.patience))
    }
}

fn see_for_removal(host: &Host, journal: &Journal) -> Result<ForRemoval> {
    Ok(ForRemoval {
        configured: ALL_PARTS.into_iter().any(|part| journal.has(part)) || journal.addon().is_some(),
        packages: matches!(journal.payload(), Some(PayloadRecord::Packages(_))),
        bundle: matches!(journal.payload(), Some(PayloadRecord::Bundle { .. })),
        restart_pending: journal.restart_pending(),
        reload_pending: journal.reload_pending(),
        journal: host.exists(crate::journal::FOLDER)?,
    })
}

fn names(handlers: &[Handler]) -> BTreeSet<String> {
    handlers.iter().map(|handler| handler.name.to_owned()).collect()
}

/// A step that is to be done twice in a row has not done what it should.
fn check_progress(last: &mut Option<Step>, step: Step) -> Result<()> {
    if last.replace(step) == Some(step) {
        return Err(Error::Refused(format!(
            "the step {step:?} was done without an error, but has not led to what it should; the log of osc-node on \
             this node tells what was run"
        )));
    }
    Ok(())
}
