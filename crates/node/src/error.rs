//! What can go wrong, in sentences that a person reads on the node.

use std::io;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something was not done. Each text is told on the node as it is: what was found, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the host cannot be read, written or removed.
    #[error("cannot {action} {path} of the host: {source}")]
    File {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// Path on the host.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file system of the host is mounted read-only.
    #[error(
        "cannot {action} {path}: the host's file system there is read-only; nothing was changed on it; mount it \
         writable, or keep this node out of the KataConfig's selector"
    )]
    ReadOnly {
        /// What was tried.
        action: &'static str,
        /// Path on the host.
        path: String,
    },
    /// A file system of the host is full, or would be.
    #[error(
        "not enough space for {path} on the host: {free} MiB are free, {needed}; free some and wait for the next try"
    )]
    NoSpace {
        /// Path on the host.
        path: String,
        /// Free mebibytes.
        free: u64,
        /// What is needed, in words.
        needed: String,
    },
    /// A program of the host is not there.
    #[error("the host has no program {program}, which is needed to {purpose}")]
    NoProgram {
        /// Its name.
        program: String,
        /// What for.
        purpose: String,
    },
    /// A command on the host failed.
    #[error("`{command}` failed on the host ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Exit status, or that it took too long.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// The bundle is not what it should be.
    #[error("bundle {bundle}: {why}")]
    Bundle {
        /// Where it comes from.
        bundle: String,
        /// What was found, expected, and what to do.
        why: String,
    },
    /// The node, or what it is asked for, is not served.
    #[error("{0}")]
    Refused(String),
    /// Files of ours that somebody else changed.
    #[error("changed by somebody else since osc-node wrote it, and left as it is: {}; {advice}", some(paths))]
    Edited {
        /// Paths on the host.
        paths: Vec<String>,
        /// How to go on.
        advice: String,
    },
    /// The container runtime does not do what it should after a restart.
    #[error("{0}")]
    Runtime(String),
    /// The journal cannot be understood.
    #[error(
        "the journal {path} cannot be read ({why}); nothing is changed without it: restore it from a backup, or undo \
         by hand as docs/user-guide/node-agent.md tells"
    )]
    Journal {
        /// Path on the host.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The API server refused or could not be asked.
    #[error("{0}")]
    Api(String),
    /// The test has stopped the agent here.
    #[error("stopped before: {0}")]
    Stopped(String),
}

impl Error {
    /// An error of the file system, told as what a person can mend where that is known.
    pub fn file(action: &'static str, path: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { action, path: path.to_owned() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path: path.to_owned(), free: 0, needed: "more are needed".to_owned() }
            }
            _ => Self::File { action, path: path.to_owned(), source },
        }
    }
}

/// The first of many, and how many more there are.
pub fn some(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = paths.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
