//! The container runtime: its configuration, its restart, and what it then says itself.

pub mod containerd;
pub mod crio;
pub mod rancher;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::cri::{self, Status};
use crate::error::{Error, Result};
use crate::handlers::Handler;
use crate::host::{COMMAND_LIMIT, Host};
use crate::journal::{Existing, Journal};
use crate::payload::Payload;
use crate::platform::RuntimeKind;
use crate::settings::LogLevel;

/// How often a runtime that was restarted is asked.
const PERIOD: Duration = Duration::from_millis(200);

/// What the runtime is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Handlers.
    pub handlers: Vec<Handler>,
    /// Log level.
    pub log_level: LogLevel,
}

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path on the host.
    pub path: String,
    /// The whole content.
    pub content: String,
    /// What may be done with a file that is there.
    pub existing: Existing,
    /// Text that shows that something of ours is in it.
    pub mark: Option<String>,
}

/// The container runtime of a node.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    kind: RuntimeKind,
    /// How long it may take to come back after a restart.
    patience: Duration,
}

impl Runtime {
    /// A runtime that may take so long to come back.
    pub fn new(kind: RuntimeKind, patience: Duration) -> Self {
        Self { kind, patience }
    }

    /// How people call it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            RuntimeKind::Crio => "CRI-O",
            RuntimeKind::Containerd => "containerd",
            RuntimeKind::Rancher(rancher) => rancher.name(),
        }
    }

    /// Files that make the handlers known. Judged by the runtime's own program; nothing is changed yet.
    pub fn changes(
        &self,
        host: &Host,
        journal: &Journal,
        payload: &Payload,
        wanted: &Wanted,
    ) -> Result<Vec<Change>> {
        match self.kind {
            RuntimeKind::Crio => crio::changes(host, journal, payload, wanted),
            RuntimeKind::Containerd => containerd::changes(host, wanted),
            RuntimeKind::Rancher(rancher) => rancher::changes(host, rancher, wanted),
        }
    }

    /// Checks the configuration that is in place, right before a restart.
    pub fn check(&self, host: &Host, wanted: &Wanted) -> Result<()> {
        match self.kind {
            RuntimeKind::Crio => crio::check(host, wanted),
            RuntimeKind::Containerd => containerd::check(host, wanted),
            // It is written at the start only; the candidate was judged.
            RuntimeKind::Rancher(_) => Ok(()),
        }
    }

    /// The drop-in of the log level; none where it is part of the handlers' or not offered.
    pub fn log_level_file(&self, level: LogLevel) -> Option<(&'static str, String)> {
        let is_apart = self.kind == RuntimeKind::Crio && !level.is_default();
        is_apart.then(|| (crio::LOG_LEVEL, crio::log_level(level.name())))
    }

    /// What it says of itself.
    pub fn status(&self, host: &Host) -> Result<Status> {
        match self.kind {
            RuntimeKind::Crio => cri::status(host, crio::SOCKET),
            RuntimeKind::Containerd => cri::status(host, &containerd::socket(host)?),
            RuntimeKind::Rancher(_) => cri::status(host, rancher::SOCKET),
        }
    }

    /// Lets it read its log level anew. Pods do not notice.
    pub fn reload(&self, host: &Host) -> Result<()> {
        host.change(&["systemctl", "reload", &self.service(host)?], COMMAND_LIMIT).map(|_| ())
    }

    /// Restarts it, and waits until it is ready and knows all of these handlers. Containers keep running.
    ///
    /// A restart may end this very agent. The journal says which start of the service was to be ended, so that the next
    /// agent sees whether it was, and restarts nothing twice.
    pub fn restart(&self, host: &Host, journal: &mut Journal, needed: &BTreeSet<String>) -> Result<()> {
        let service = self.service(host)?;
        let start = host.ask(&["systemctl", "show", "--property=InvocationID", "--value", &service])?;
        let start = start.trim();
        let was_restarted = journal.restart_of().is_some_and(|ended| !start.is_empty() && ended != start);
        if !was_restarted {
            journal.set_restart_of(start)?;
            // A service that failed too often is not started again without this; another is not bothered by it.
            let _ = host.ask(&["systemctl", "reset-failed", &service]);
            host.change(&["systemctl", "restart", &service], COMMAND_LIMIT)?;
        }
        self.wait(host, needed)
    }

    fn wait(&self, host: &Host, needed: &BTreeSet<String>) -> Result<()> {
        let end = Instant::now() + self.patience;
        loop {
            let lack = match self.status(host) {
                Ok(status) => lack(&status, needed),
                Err(error) => Some(error.to_string()),
            };
            let Some(lack) = lack else { return Ok(()) };
            if Instant::now() >= end {
                return Err(Error::Runtime(format!(
                    "{} did not come back as it should within {} s of its restart: {lack}",
                    self.name(),
                    self.patience.as_secs()
                )));
            }
            thread::sleep(PERIOD);
        }
    }

    fn service(&self, host: &Host) -> Result<String> {
        match self.kind {
            RuntimeKind::Crio => Ok("crio.service".to_owned()),
            RuntimeKind::Containerd => Ok(containerd::SERVICE.to_owned()),
            RuntimeKind::Rancher(rancher) => rancher::service(host, rancher),
        }
    }
}

/// What a runtime lacks; none if nothing.
pub fn lack(status: &Status, needed: &BTreeSet<String>) -> Option<String> {
    if !status.ready {
        return Some("its condition RuntimeReady is not true".to_owned());
    }
    // One that does not tell its handlers has read a configuration that was checked.
    let known = status.handlers.as_ref()?;
    let missing: Vec<&str> = needed.difference(known).map(String::as_str).collect();
    (!missing.is_empty()).then(|| format!("it does not know the handlers {}", missing.join(", ")))
}
