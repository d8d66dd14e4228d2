//! What the agent wrote on this host, so that all of it can be taken back, byte for byte, and nothing else.
//!
//! The journal is written ahead: a file's entry, with what was there before and what is about to be there, is on the
//! disk before the file is touched, and the original is kept beside the journal. Whoever finds the entry later knows by
//! the file's digest how far things got: as it was before, as we wrote it, or changed by somebody else since; the last
//! is never touched. See docs/decisions/0017-journal-and-byte-exact-restore.md.

mod record;

use std::time::SystemTime;

pub use record::{Existing, Part};
use record::{FORMAT, FileEntry, Original, Record};

use crate::digest;
use crate::error::{Error, Result};
use crate::host::{Attributes, Host};
use crate::payload::PayloadRecord;

/// Folder of the journal, the originals, and of what is on its way.
pub const FOLDER: &str = "/var/lib/osc-node";
const FILE: &str = "/var/lib/osc-node/journal.json";
const ORIGINALS: &str = "/var/lib/osc-node/originals";

/// The journal of one host.
pub struct Journal {
    host: Host,
    record: Record,
}

impl Journal {
    /// The host's journal; an empty one if there is none.
    pub fn load(host: &Host) -> Result<Self> {
        let broken = |why: String| Error::Journal { path: FILE.to_owned(), why };
        let record = match host.read(FILE)? {
            None => Record { format: FORMAT, ..Record::default() },
            Some(content) => {
                serde_json::from_slice::<Record>(&content).map_err(|error| broken(error.to_string()))?
            }
        };
        if record.format != FORMAT {
            return Err(broken(format!("format {}, this osc-node knows {FORMAT}", record.format)));
        }
        Ok(Self { host: host.clone(), record })
    }

    /// What was installed, or is being installed.
    pub fn payload(&self) -> Option<&PayloadRecord> {
        self.record.payload.as_ref()
    }

    /// Notes what is about to be installed; none when it is gone.
    pub fn set_payload(&mut self, payload: Option<PayloadRecord>) -> Result<()> {
        if self.record.payload == payload {
            return Ok(());
        }
        self.record.payload = payload;
        self.save()
    }

    /// Whether the runtime still has to be restarted for what was written.
    pub fn restart_pending(&self) -> bool {
        self.record.restart_pending
    }

    /// Whether the runtime still has to read its log level anew.
    pub fn reload_pending(&self) -> bool {
        self.record.reload_pending
    }

    /// Image of the add-on in place.
    pub fn addon(&self) -> Option<&str> {
        self.record.addon.as_deref()
    }

    /// Notes which add-on is in place.
    pub fn set_addon(&mut self, image: Option<&str>) -> Result<()> {
        if self.record.addon.as_deref() == image {
            return Ok(());
        }
        self.record.addon = image.map(str::to_owned);
        self.save()
    }

    /// Notes that the runtime has to be restarted for what is about to be changed.
    pub fn require_restart(&mut self) -> Result<()> {
        if self.record.restart_pending && self.record.restart_of.is_none() {
            return Ok(());
        }
        self.record.restart_pending = true;
        self.record.restart_of = None;
        self.save()
    }

    /// Which start of the runtime a restart was asked of, if it was since the last change.
    pub fn restart_of(&self) -> Option<&str> {
        self.record.restart_of.as_deref()
    }

    /// Notes which start of the runtime is about to be ended.
    pub fn set_restart_of(&mut self, start: &str) -> Result<()> {
        self.record.restart_of = Some(start.to_owned());
        self.save()
    }

    /// Whether anything on the host is ours.
    pub fn is_empty(&self) -> bool {
        self.record.payload.is_none()
            && self.record.files.is_empty()
            && self.record.folders.is_empty()
            && !self.record.restart_pending
            && !self.record.reload_pending
            && self.record.addon.is_none()
    }

    /// Whether any file of that part is ours.
    pub fn has(&self, part: Part) -> bool {
        self.record.files.iter().any(|entry| entry.part == part)
    }

    /// Whether that file is ours.
    pub fn owns(&self, path: &str) -> bool {
        self.record.files.iter().any(|entry| entry.path == path)
    }

    /// What was at a path before us; none if nothing was, or if it is not ours.
    pub fn original(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let entry = self.record.files.iter().find(|entry| entry.path == path);
        match entry.and_then(|entry| entry.before.as_ref()) {
            Some(original) => self.kept(&original.digest).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a file still has to be written to have this content. Refuses what it would refuse to write.
    pub fn differs(&self, path: &str, content: &[u8], existing: Existing) -> Result<bool> {
        let wanted = digest::of(content);
        let found = self.host.read(path)?.map(|content| digest::of(&content));
        let entry = self.record.files.iter().find(|entry| entry.path == path);
        if found.as_deref() == Some(&wanted) {
            return Ok(entry.is_some_and(|entry| entry.after != wanted));
        }
        match (entry, found) {
            (_, None) => Ok(true),
            (None, Some(_)) if existing == Existing::Replace => Ok(true),
            (None, Some(_)) => Err(Error::Refused(format!(
                "{path} is on the host already and was not written by osc-node, so it is left as it is; move it away \
                 if Kata is to be set up by osc-node"
            ))),
            (Some(entry), Some(found)) if entry.may_be_touched(&found) => Ok(true),
            (Some(_), Some(_)) => Err(edited(vec![path.to_owned()])),
        }
    }

    /// Makes a file have this content. Whether it had to be written.
    ///
    /// A file of the part [`Part::Runtime`] makes a restart pending.
    pub fn put(
        &mut self,
        path: &str,
        content: &[u8],
        part: Part,
        existing: Existing,
        mark: Option<&str>,
    ) -> Result<bool> {
        if !self.differs(path, content, existing)? {
            return Ok(false);
        }
        self.create_folders(path)?;
        let found = self.host.read(path)?;
        let attributes = if found.is_some() { Some(self.host.attributes(path)?) } else { None };
        if let Some(found) = &found {
            self.keep(found)?;
        }
        self.note(path, content, part, mark, found.as_deref().zip(attributes.as_ref()));
        if part == Part::Runtime {
            self.record.restart_pending = true;
            self.record.restart_of = None;
        }
        self.record.reload_pending |= part == Part::LogLevel;
        self.save()?;
        let attributes =
            attributes.map(|attributes| Attributes { modified: SystemTime::now(), ..attributes });
        self.host.write(path, content, attributes.as_ref())?;
        Ok(true)
    }

    /// Takes a file that a package brought as ours, so that it is removed with the package.
    pub fn adopt(&mut self, path: &str, part: Part) -> Result<()> {
        if self.owns(path) {
            return Ok(());
        }
        let Some(content) = self.host.read(path)? else { return Ok(()) };
        self.note(path, &content, part, None, None);
        if let Some(entry) = self.record.files.iter_mut().find(|entry| entry.path == path) {
            entry.settled = Some(entry.after.clone());
        }
        self.save()
    }

    fn note(
        &mut self,
        path: &str,
        content: &[u8],
        part: Part,
        mark: Option<&str>,
        found: Option<(&[u8], &Attributes)>,
    ) {
        let after = digest::of(content);
        if let Some(entry) = self.record.files.iter_mut().find(|entry| entry.path == path) {
            let replaced = std::mem::replace(&mut entry.after, after);
            entry.written.push(replaced);
            return;
        }
        let before = found.map(|(content, attributes)| Original::of(content, attributes));
        self.record.files.push(FileEntry {
            path: path.to_owned(),
            part,
            before,
            after,
            settled: None,
            written: Vec::new(),
            mark: mark.map(str::to_owned),
        });
    }

    /// The runtime works with what was written: that is what later failures go back to.
    pub fn settle(&mut self) -> Result<()> {
        let mut settled = self.record.clone();
        settled.restart_pending = false;
        settled.restart_of = None;
        settled.reload_pending = false;
        for entry in &mut settled.files {
            entry.settled = Some(entry.after.clone());
            entry.written.clear();
        }
        if settled == self.record {
            return Ok(());
        }
        self.record = settled;
        self.save()
    }

    /// Goes back to what the runtime last worked with. A restart stays pending.
    pub fn roll_back(&mut self) -> Result<()> {
        self.record.restart_pending = true;
        self.record.restart_of = None;
        self.save()?;
        let unsettled: Vec<FileEntry> = self
            .record
            .files
            .iter()
            .filter(|entry| entry.part == Part::Runtime && !entry.is_settled())
            .cloned()
            .collect();
        for entry in unsettled {
            let Some(settled) = &entry.settled else {
                let left = self.take_back(&entry)?;
                if left {
                    return Err(edited(vec![entry.path]));
                }
                continue;
            };
            let content = self.kept(settled)?;
            self.host.write(&entry.path, &content, None)?;
            if let Some(found) = self.record.files.iter_mut().find(|found| found.path == entry.path) {
                found.after.clone_from(settled);
                found.written.clear();
            }
            self.save()?;
        }
        Ok(())
    }

    /// Puts all files of these parts back to what was before. What somebody else changed since is left, and told when
    /// everything else is done. Whether anything was put back.
    pub fn restore(&mut self, parts: &[Part]) -> Result<bool> {
        let ours: Vec<FileEntry> =
            self.record.files.iter().rev().filter(|entry| parts.contains(&entry.part)).cloned().collect();
        let mut left = Vec::new();
        for entry in &ours {
            let before = (self.record.restart_pending, self.record.reload_pending);
            if matches!(entry.part, Part::Runtime | Part::Package) {
                self.record.restart_pending = true;
                self.record.restart_of = None;
            }
            self.record.reload_pending |= entry.part == Part::LogLevel;
            if before != (self.record.restart_pending, self.record.reload_pending) {
                self.save()?;
            }
            if self.take_back(entry)? {
                left.push(entry.path.clone());
            }
        }
        self.remove_folders()?;
        if left.is_empty() { Ok(!ours.is_empty()) } else { Err(edited(left)) }
    }

    /// The restart that was pending is done, and nothing of ours is in the runtime's configuration.
    pub fn restarted(&mut self) -> Result<()> {
        if self.record.restart_pending || self.record.reload_pending {
            self.record.restart_pending = false;
            self.record.restart_of = None;
            self.record.reload_pending = false;
            self.save()?;
        }
        Ok(())
    }

    /// The log level was read anew.
    pub fn reloaded(&mut self) -> Result<()> {
        if self.record.reload_pending {
            self.record.reload_pending = false;
            self.save()?;
        }
        Ok(())
    }

    /// Removes the journal, once nothing on the host is ours any more.
    pub fn finish(&mut self) -> Result<()> {
        self.remove_folders()?;
        // A folder with something of somebody else in it is not only ours any more.
        self.record.folders.clear();
        if self.is_empty() { self.host.remove_tree(FOLDER) } else { Ok(()) }
    }

    /// Puts one file back. Whether it was left because somebody else changed it.
    fn take_back(&mut self, entry: &FileEntry) -> Result<bool> {
        self.host.forget_beside(&entry.path)?;
        let found = self.host.read(&entry.path)?;
        let digest = found.as_deref().map(digest::of);
        let before = entry.before.as_ref().map(|original| original.digest.clone());
        let marked = match (&entry.mark, &found) {
            (Some(mark), Some(found)) => contains(found, mark.as_bytes()),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if digest == before || !marked {
            // As it was, or nothing of ours is in it.
        } else if digest.as_deref().is_some_and(|digest| entry.is_ours(digest)) {
            match &entry.before {
                None => self.host.remove_file(&entry.path)?,
                Some(original) => {
                    let content = self.kept(&original.digest)?;
                    self.host.write(&entry.path, &content, Some(&original.attributes()))?;
                }
            }
        } else {
            return Ok(true);
        }
        self.record.files.retain(|other| other.path != entry.path);
        self.save()?;
        Ok(false)
    }

    /// Creates the folders above a file, noting each beforehand.
    pub fn create_folders(&mut self, path: &str) -> Result<()> {
        let mut missing = Vec::new();
        let mut folder = path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            if above.is_empty() || self.host.is_dir(above)? {
                break;
            }
            missing.push(above.to_owned());
            folder = above;
        }
        for folder in missing.into_iter().rev() {
            if !self.record.folders.contains(&folder) {
                self.record.folders.push(folder.clone());
                self.save()?;
            }
            self.host.create_dir(&folder)?;
        }
        Ok(())
    }

    /// Removes the folders that we made, unless something of ours or of somebody else is in them.
    fn remove_folders(&mut self) -> Result<()> {
        for folder in self.record.folders.clone().into_iter().rev() {
            let inside = format!("{folder}/");
            if self.record.files.iter().any(|entry| entry.path.starts_with(&inside)) {
                continue;
            }
            if self.host.remove_empty_dir(&folder)? {
                self.record.folders.retain(|other| *other != folder);
                self.save()?;
            }
        }
        Ok(())
    }

    fn keep(&self, content: &[u8]) -> Result<()> {
        self.host.create_dir(FOLDER)?;
        self.host.create_dir(ORIGINALS)?;
        let path = format!("{ORIGINALS}/{}", digest::of(content));
        if self.host.read(&path)?.as_deref() == Some(content) {
            return Ok(());
        }
        // An original may hold secrets, whatever its mode was.
        self.host.write(&path, content, Some(&private()))
    }

    fn kept(&self, digest: &str) -> Result<Vec<u8>> {
        let path = format!("{ORIGINALS}/{digest}");
        match self.host.read(&path)? {
            Some(content) if digest::of(&content) == digest => Ok(content),
            Some(_) => Err(Error::Journal { path, why: "its content is not what its name says".to_owned() }),
            None => Err(Error::Journal { path, why: "it is gone".to_owned() }),
        }
    }

    fn save(&self) -> Result<()> {
        self.host.create_dir(FOLDER)?;
        let mut text = serde_json::to_vec_pretty(&self.record)
            .map_err(|error| Error::Journal { path: FILE.to_owned(), why: error.to_string() })?;
        text.push(b'\n');
        self.host.write(FILE, &text, Some(&private()))
    }
}

fn private() -> Attributes {
    Attributes { mode: 0o600, uid: 0, gid: 0, modified: SystemTime::now() }
}

fn edited(paths: Vec<String>) -> Error {
    let advice = format!(
        "take the change back, or move the file away (what was there before osc-node is in {ORIGINALS}, see \
         {FILE}); osc-node then goes on"
    );
    Error::Edited { paths, advice }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}
