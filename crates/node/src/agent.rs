//! The loop: look at the node's label, do what it allows, tell how that went, wait.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::node::{FAILURE_ANNOTATION, OwnNode, Seen, VERSION_ANNOTATION, fitting};
use crate::state::State;
use crate::work::{Outcome, Work};

/// What the DaemonSet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Kata is to be there.
    Install,
    /// Kata is to be gone.
    Uninstall,
}

/// How long the agent waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Before the first retry; doubled with each.
    pub first_retry: Duration,
    /// Longest before a retry.
    pub longest_retry: Duration,
    /// Before it looks again at a node that is as it should be.
    pub look: Duration,
    /// Before it believes that an installed node is not as it should be any more.
    pub doubt: Duration,
    /// Between tries to be the only one on the node.
    pub lock: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_mins(1),
            longest_retry: Duration::from_mins(10),
            look: Duration::from_mins(5),
            doubt: Duration::from_secs(10),
            lock: Duration::from_secs(5),
        }
    }
}

/// The agent of one node.
pub struct Agent {
    /// What it does on the host.
    pub work: Work,
    /// Where it tells of it.
    pub node: OwnNode,
    /// What for.
    pub mode: Mode,
    /// How patiently.
    pub pauses: Pauses,
}

/// What the agent remembers from one pass to the next. None of it is needed to go on after a kill.
#[derive(Default)]
struct Memory {
    /// Failures in a row.
    failures: u32,
    /// An installed node did not look like it last time.
    doubts: bool,
    /// The label as it was read, or as the agent itself wrote it: no news.
    label: Option<String>,
    /// What was told last of a state in which the node is not to be labelled.
    told: Option<String>,
}

impl Mode {
    fn done(self) -> State {
        match self {
            Self::Install => State::Installed,
            Self::Uninstall => State::Uninstalled,
        }
    }

    fn failed(self) -> State {
        match self {
            Self::Install => State::InstallFailed,
            Self::Uninstall => State::UninstallFailed,
        }
    }

    fn waiting(self) -> State {
        match self {
            Self::Install => State::WaitingToInstall,
            Self::Uninstall => State::WaitingToUninstall,
        }
    }

    fn turn(self) -> State {
        match self {
            Self::Install => State::Installing,
            Self::Uninstall => State::Uninstalling,
        }
    }

    /// Whether the operator has chosen the node for this.
    fn concerns(self, state: State) -> bool {
        let states = [self.done(), self.failed(), self.waiting(), self.turn()];
        states.contains(&state) || (self == Self::Install && state == State::WaitingForReboot)
    }

    fn reason_of_failure(self) -> &'static str {
        match self {
            Self::Install => "KataInstallFailed",
            Self::Uninstall => "KataUninstallFailed",
        }
    }
}

impl Agent {
    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let Some(_lock) = self.lock(&stop).await? else { return Ok(()) };
        let (sender, mut seen) = watch::channel(None);
        let watching = tokio::spawn(self.node.clone().watch(sender, stop.clone()));
        let mut memory = Memory::default();
        while !stop.is_cancelled() {
            let pause = match self.pass(&mut memory).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "the API server cannot be told");
                    self.retry_pause(&mut memory)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = label_differs(&mut seen, memory.label.as_deref()) => {}
            }
        }
        watching.abort();
        Ok(())
    }

    /// Waits until this is the only agent on the node; none if told to stop.
    async fn lock(&self, stop: &CancellationToken) -> Result<Option<Lock>> {
        let name = format!("osc-node {:?} as process {}", self.mode, std::process::id()).to_lowercase();
        let mut told = false;
        while !stop.is_cancelled() {
            match Lock::take(&self.work.host, &name)? {
                Ok(lock) => return Ok(Some(lock)),
                Err(holder) if !told => {
                    told = true;
                    let message =
                        format!("another agent works on this node ({holder}); waiting until it ends");
                    tracing::warn!("{message}");
                    if let Ok(seen) = self.node.get().await {
                        self.node.tell(&seen, "Normal", "KataAgentWaits", &message).await;
                    }
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.pauses.lock) => {}
            }
        }
        Ok(None)
    }

    /// One look and what follows from it. How long to wait for the next, unless the label changes.
    async fn pass(&self, memory: &mut Memory) -> Result<Duration> {
        let seen = self.node.get().await?;
        let state = seen.state();
        memory.label.clone_from(&seen.label);
        if !self.mode.concerns(state) {
            self.say_once(
                memory,
                &format!("the label says {:?}: not chosen; waiting for the operator", seen.label),
            );
            return Ok(self.pauses.look);
        }
        self.node.check_rights(&seen).await?;
        let result = self.work_on(&seen, state).await;
        let is_fine = matches!(result, Ok(Outcome::Done(_)));
        if state == self.mode.done() && !is_fine && !std::mem::replace(&mut memory.doubts, true) {
            return Ok(self.pauses.doubt);
        }
        memory.doubts = false;
        match result {
            Ok(outcome) => self.report(&seen, state, outcome, memory).await,
            Err(error) => self.report_failure(&seen, state, &error, memory).await,
        }
    }

    async fn work_on(&self, seen: &Seen, state: State) -> Result<Outcome> {
        let (work, info, mode) = (self.work.clone(), seen.info.clone(), self.mode);
        let done = tokio::task::spawn_blocking(move || match mode {
            Mode::Install => work.install(&info, state),
            Mode::Uninstall => work.remove(&info, state),
        });
        done.await.unwrap_or_else(|error| Err(Error::Refused(format!("osc-node itself failed: {error}"))))
    }

    async fn report(
        &self,
        seen: &Seen,
        state: State,
        outcome: Outcome,
        memory: &mut Memory,
    ) -> Result<Duration> {
        match outcome {
            Outcome::Done(version) => {
                memory.failures = 0;
                self.report_done(seen, state, version.as_deref(), memory).await?;
                Ok(self.pauses.look)
            }
            Outcome::AwaitReboot => {
                memory.failures = 0;
                if state != State::WaitingForReboot && self.set(seen, State::WaitingForReboot, memory).await?
                {
                    let message = "Kata is staged and comes with the next start of the machine: drain the node and reboot it";
                    self.node.tell(seen, "Normal", "KataWaitsForReboot", message).await;
                }
                Ok(self.pauses.look)
            }
            Outcome::NeedsTurn => {
                if state == self.mode.waiting() {
                    self.say_once(memory, "waiting for this node's turn");
                } else {
                    self.set(seen, self.mode.waiting(), memory).await?;
                }
                Ok(self.pauses.look)
            }
        }
    }

    async fn report_done(
        &self,
        seen: &Seen,
        state: State,
        version: Option<&str>,
        memory: &mut Memory,
    ) -> Result<()> {
        if seen.version.as_deref() != version || seen.failure.is_some() {
            let annotations = BTreeMap::from([(VERSION_ANNOTATION, version), (FAILURE_ANNOTATION, None)]);
            self.node.annotate(&annotations).await?;
        }
        if state != self.mode.done() && self.set(seen, self.mode.done(), memory).await? {
            let (reason, message) = match version {
                Some(version) => ("KataInstalled", format!("Kata is installed on this node: {version}")),
                None => ("KataUninstalled", "Kata is removed from this node".to_owned()),
            };
            self.node.tell(seen, "Normal", reason, &message).await;
        }
        Ok(())
    }

    async fn report_failure(
        &self,
        seen: &Seen,
        state: State,
        error: &Error,
        memory: &mut Memory,
    ) -> Result<Duration> {
        let sentence = error.to_string();
        let sentence = fitting(&sentence);
        tracing::error!(error = sentence, "this node");
        // A node whose turn has not come is not told to have failed: the rollout would stop for nothing that was tried.
        if state == self.mode.waiting() {
            self.say_once(memory, "waiting for this node's turn");
            return Ok(self.pauses.look);
        }
        let is_new = seen.failure.as_deref() != Some(sentence);
        if is_new {
            self.node.annotate(&BTreeMap::from([(FAILURE_ANNOTATION, Some(sentence))])).await?;
        }
        if state != self.mode.failed() {
            self.set(seen, self.mode.failed(), memory).await?;
        }
        if is_new || state != self.mode.failed() {
            self.node.tell(seen, "Warning", self.mode.reason_of_failure(), sentence).await;
        }
        Ok(self.retry_pause(memory))
    }

    async fn set(&self, seen: &Seen, state: State, memory: &mut Memory) -> Result<bool> {
        let is_set = self.node.set_state(seen, state).await?;
        if is_set {
            memory.label = state.name().map(str::to_owned);
        }
        tracing::info!(from = seen.label, to = state.name(), is_set, "label");
        Ok(is_set)
    }

    fn retry_pause(&self, memory: &mut Memory) -> Duration {
        let doubled = 2_u32.saturating_pow(memory.failures.min(16));
        memory.failures += 1;
        self.pauses.first_retry.saturating_mul(doubled).min(self.pauses.longest_retry)
    }

    fn say_once(&self, memory: &mut Memory, message: &str) {
        if memory.told.as_deref() != Some(message) {
            tracing::info!("{}: {message}", self.node.name());
            memory.told = Some(message.to_owned());
        }
    }
}

/// Waits until somebody else writes the label. What the agent wrote itself comes back, too, and must not end a pause.
async fn label_differs(seen: &mut watch::Receiver<Option<Seen>>, known: Option<&str>) {
    loop {
        if seen.changed().await.is_err() {
            // Nobody watches any more: the agent is about to stop.
            return std::future::pending().await;
        }
        if seen.borrow_and_update().as_ref().is_some_and(|seen| seen.label.as_deref() != known) {
            return;
        }
    }
}
