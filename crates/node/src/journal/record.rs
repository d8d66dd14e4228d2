//! What is written down of each file, and how a digest is understood.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::host::Attributes;
use crate::payload::PayloadRecord;

/// Format of the journal; another one is refused.
pub const FORMAT: u32 = 1;

/// What a file is for; parts are taken back separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Makes the handlers known to the container runtime.
    Runtime,
    /// Log level of the container runtime.
    LogLevel,
    /// Kernel of an add-on image.
    Addon,
    /// Configuration that came with a package.
    Package,
}

/// What may be done with a file that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: the place is ours alone.
    Refuse,
    /// It is kept beside the journal and replaced.
    Replace,
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    pub digest: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Since 1970.
    pub modified: Duration,
}

/// A file that we wrote, or are about to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: String,
    pub part: Part,
    /// None: there was no such file.
    pub before: Option<Original>,
    /// Digest of what is, or is about to be, there.
    pub after: String,
    /// Digest of what was there when the runtime last worked with it; what a rollback goes back to.
    pub settled: Option<String>,
    /// Digests of what was written since then.
    pub written: Vec<String>,
    /// Text that shows that something of ours is in a file which belongs to somebody else.
    pub mark: Option<String>,
}

impl Original {
    /// What a file is like.
    pub fn of(content: &[u8], attributes: &Attributes) -> Self {
        Self {
            digest: digest::of(content),
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            modified: attributes.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// Mode, owner and time to put back.
    pub fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            modified: SystemTime::UNIX_EPOCH + self.modified,
        }
    }
}

impl FileEntry {
    /// Whether what was found is ours, or what was there before.
    pub fn may_be_touched(&self, found: &str) -> bool {
        self.is_ours(found) || self.before.as_ref().is_some_and(|original| original.digest == found)
    }

    /// Whether the runtime has worked with what is there.
    pub fn is_settled(&self) -> bool {
        self.settled.as_ref() == Some(&self.after)
    }

    /// Whether we wrote what was found.
    pub fn is_ours(&self, found: &str) -> bool {
        self.after == found
            || self.settled.as_deref() == Some(found)
            || self.written.iter().any(|one| one == found)
    }
}

/// The whole journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// The runtime has not been seen working since its configuration was changed.
    pub restart_pending: bool,
    /// Which start of the runtime a restart was asked of: another one means that it was restarted.
    pub restart_of: Option<String>,
    /// It has not read its log level anew since that was changed.
    pub reload_pending: bool,
    pub payload: Option<PayloadRecord>,
    /// Image of the add-on in place.
    pub addon: Option<String>,
    /// Folders that we made.
    pub folders: Vec<String>,
    pub files: Vec<FileEntry>,
}
