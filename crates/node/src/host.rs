//! The host: the one way in which the agent reads and changes the node it runs on.
//!
//! Paths are those of the host (`/etc/crio`), wherever its root is mounted. Symbolic links are followed inside of that
//! root, so that an absolute link of the host does not lead into the agent's own image. Every change passes a gate,
//! which is how a test stops the agent after each of them.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use crate::error::{Error, Result};

/// Asked before every change on the host, with what is about to be done; an error stops the agent there.
pub type Gate = Arc<dyn Fn(&str) -> Result<()> + Send + Sync>;

/// How long a command on the host may take, unless said otherwise.
pub const COMMAND_LIMIT: Duration = Duration::from_mins(2);
/// How long a package manager may take.
pub const PACKAGES_LIMIT: Duration = Duration::from_mins(30);
/// Search path of commands on the host.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of a failed command's output is told.
const OUTPUT_TOLD: usize = 400;

/// A node's file system and its programs.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    /// What commands are started through, for instance a chroot into the root; empty to start them as they are.
    launcher: Vec<OsString>,
    gate: Option<Gate>,
    handle: Handle,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes free to us.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Host {
    /// A host whose root is mounted here. Commands are run through `launcher`, followed by the command line.
    pub fn new(root: impl Into<PathBuf>, launcher: Vec<OsString>, handle: Handle) -> Self {
        Self { root: root.into(), launcher, gate: None, handle }
    }

    /// The same host, with a gate before every change.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The runtime that waits for commands and sockets.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where a path of the host is for this process.
    pub fn at(&self, path: &str) -> Result<PathBuf> {
        safe_path::scoped_join(&self.root, path).map_err(|source| Error::file("find", path, source))
    }

    /// Announces a change.
    pub fn about_to(&self, what: &str) -> Result<()> {
        tracing::debug!(change = what, "host");
        self.gate.as_ref().map_or(Ok(()), |gate| gate(what))
    }

    /// Content of a file; none if there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.at(path)?) {
            Ok(content) => Ok(Some(content)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(Error::file("read", path, source)),
        }
    }

    /// Content of a text file; none if there is no such file.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        let Some(content) = self.read(path)? else { return Ok(None) };
        let text = String::from_utf8(content)
            .map_err(|_| Error::Refused(format!("{path} of the host is no text")))?;
        Ok(Some(text))
    }

    /// Whether there is anything at a path.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.at(path)?.exists())
    }

    /// Whether a path is a folder.
    pub fn is_dir(&self, path: &str) -> Result<bool> {
        Ok(self.at(path)?.is_dir())
    }

    /// Names in a folder, sorted; none if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(path)?) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(source) => return Err(Error::file("list", path, source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::file("list", path, source))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Mode, owner and time of a file.
    pub fn attributes(&self, path: &str) -> Result<Attributes> {
        use std::os::unix::fs::MetadataExt;
        let told = |source| Error::file("read", path, source);
        let metadata = fs::metadata(self.at(path)?).map_err(told)?;
        Ok(Attributes {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: metadata.modified().map_err(told)?,
        })
    }

    /// Room on the file system of a path, or of the nearest folder above it that exists.
    pub fn space(&self, path: &str) -> Result<Space> {
        let mut place = self.at(path)?;
        while !place.exists() && place.pop() {}
        let found =
            rustix::fs::statvfs(&place).map_err(|error| Error::file("look at", path, error.into()))?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        })
    }

    /// Puts a file in place, whole or not at all: it is written beside and moved. The folder must exist.
    pub fn write(&self, path: &str, content: &[u8], attributes: Option<&Attributes>) -> Result<()> {
        let told = |source| Error::file("write", path, source);
        let target = self.at(path)?;
        let beside = self.at(&beside(path))?;
        self.about_to(&format!("write beside {path}"))?;
        let mut file = File::create(&beside).map_err(told)?;
        file.write_all(content).map_err(told)?;
        let mode = attributes.map_or(0o644, |attributes| attributes.mode);
        file.set_permissions(Permissions::from_mode(mode)).map_err(told)?;
        if let Some(attributes) = attributes {
            std::os::unix::fs::fchown(&file, Some(attributes.uid), Some(attributes.gid)).map_err(told)?;
            file.set_modified(attributes.modified).map_err(told)?;
        }
        file.sync_all().map_err(told)?;
        self.about_to(&format!("move into place {path}"))?;
        fs::rename(&beside, &target).map_err(told)?;
        sync_folder(&target).map_err(told)
    }

    /// Removes what a write that was cut short may have left.
    pub fn forget_beside(&self, path: &str) -> Result<()> {
        let beside = beside(path);
        if self.exists(&beside)? { self.remove_file(&beside) } else { Ok(()) }
    }

    /// Removes a file; one that is gone already is fine.
    pub fn remove_file(&self, path: &str) -> Result<()> {
        self.about_to(&format!("remove {path}"))?;
        let place = self.at(path)?;
        gone(fs::remove_file(&place)).map_err(|source| Error::file("remove", path, source))?;
        sync_folder(&place).map_err(|source| Error::file("remove", path, source))
    }

    /// Creates one folder, mode 0755; one that exists is fine.
    pub fn create_dir(&self, path: &str) -> Result<()> {
        let place = self.at(path)?;
        if place.is_dir() {
            return Ok(());
        }
        self.about_to(&format!("create folder {path}"))?;
        let told = |source| Error::file("create", path, source);
        fs::create_dir(&place).map_err(told)?;
        fs::set_permissions(&place, Permissions::from_mode(0o755)).map_err(told)
    }

    /// Removes a folder if nothing is in it. Whether it is gone.
    pub fn remove_empty_dir(&self, path: &str) -> Result<bool> {
        let place = self.at(path)?;
        if !place.exists() {
            return Ok(true);
        }
        if !self.list(path)?.is_empty() {
            return Ok(false);
        }
        self.about_to(&format!("remove folder {path}"))?;
        gone(fs::remove_dir(place)).map_err(|source| Error::file("remove", path, source))?;
        Ok(true)
    }

    /// Removes a folder with all that is in it; one that is gone already is fine.
    pub fn remove_tree(&self, path: &str) -> Result<()> {
        let place = self.at(path)?;
        if !place.exists() {
            return Ok(());
        }
        self.about_to(&format!("remove all of {path}"))?;
        gone(fs::remove_dir_all(place)).map_err(|source| Error::file("remove", path, source))
    }

    /// Renames within one file system.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.about_to(&format!("rename {from} to {to}"))?;
        let target = self.at(to)?;
        let told = |source| Error::file("rename", from, source);
        fs::rename(self.at(from)?, &target).map_err(told)?;
        sync_folder(&target).map_err(told)
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &Path, target: &Path) -> Result<()> {
        let shown = path.display().to_string();
        self.about_to(&format!("link {shown}"))?;
        symlink(target, path).map_err(|source| Error::file("link", &shown, source))
    }

    /// Runs a command that only looks.
    pub fn ask(&self, command: &[&str]) -> Result<String> {
        self.run(command, COMMAND_LIMIT)
    }

    /// Runs a command that changes something.
    pub fn change(&self, command: &[&str], limit: Duration) -> Result<String> {
        self.about_to(&format!("run {}", command.join(" ")))?;
        tracing::info!(command = command.join(" "), "running on the host");
        self.run(command, limit)
    }

    /// Whether the host has a program on its search path.
    pub fn has(&self, program: &str) -> Result<bool> {
        for folder in SEARCH_PATH.split(':') {
            if self.exists(&format!("{folder}/{program}"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run(&self, command: &[&str], limit: Duration) -> Result<String> {
        let shown = command.join(" ");
        let failed = |status: String, output: &str| Error::Command {
            command: shown.clone(),
            status,
            output: last_words(output),
        };
        let mut line = self.launcher.iter().cloned().chain(command.iter().map(OsString::from));
        let program = line.next().unwrap_or_default();
        let mut child = tokio::process::Command::new(&program);
        child
            .args(line)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let result = self.handle.block_on(async { tokio::time::timeout(limit, child.output()).await });
        let output = match result {
            Err(_) => return Err(failed(format!("no end after {} s", limit.as_secs()), "it was stopped")),
            Ok(Err(error)) => return Err(failed("not started".to_owned(), &error.to_string())),
            Ok(Ok(output)) => output,
        };
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(failed(output.status.to_string(), if stderr.trim().is_empty() { &stdout } else { &stderr }))
    }
}

/// Where a file is written before it is moved into place. Never in a folder of drop-ins, where a container runtime
/// might read a half-written one.
fn beside(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = if Path::new(folder).extension().is_some_and(|end| end == "d") {
        folder.rsplit_once('/').map_or(folder, |(above, _)| above)
    } else {
        folder
    };
    format!("{folder}/.{name}.osc-node")
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}

/// A rename or a removal lasts once its folder is on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.is_dir() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The end of an output on one line: what went wrong is told last.
fn last_words(output: &str) -> String {
    let line = output.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = line.chars().count().saturating_sub(OUTPUT_TOLD);
    if skipped == 0 { line } else { format!("... {}", line.chars().skip(skipped).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(root: &Path) -> (tokio::runtime::Runtime, Host) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let host = Host::new(root, Vec::new(), runtime.handle().clone());
        (runtime, host)
    }

    #[test]
    fn absolute_links_of_the_host_stay_on_the_host() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/opt")).unwrap();
        symlink("/var/opt", root.path().join("opt")).unwrap();
        symlink("../../../../var", root.path().join("up")).unwrap();
        let (_runtime, host) = host(root.path());
        host.write("/opt/file", b"x", None).unwrap();
        assert_eq!(fs::read(root.path().join("var/opt/file")).unwrap(), b"x");
        assert_eq!(host.read("/up/opt/file").unwrap().unwrap(), b"x");
        assert_eq!(host.read("/../../opt/file").unwrap().unwrap(), b"x");
    }

    #[test]
    fn a_file_on_its_way_is_never_among_drop_ins() {
        assert_eq!(beside("/etc/crio/crio.conf.d/50-kata"), "/etc/crio/.50-kata.osc-node");
        assert_eq!(beside("/etc/containerd/config.toml"), "/etc/containerd/.config.toml.osc-node");
    }

    #[test]
    fn a_command_that_fails_tells_its_last_words() {
        let (_runtime, host) = host(Path::new("/"));
        let error =
            host.ask(&["sh", "-c", "echo out; echo first >&2; echo 'last words' >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with("(exit status: 3): first last words"), "{error}");
        let error = host.ask(&["osc-no-such-program"]).unwrap_err().to_string();
        assert!(error.contains("`osc-no-such-program` failed on the host (not started)"), "{error}");
    }

    #[test]
    fn a_command_without_end_is_stopped() {
        let (_runtime, host) = host(Path::new("/"));
        let error = host.change(&["sleep", "60"], Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("no end after 0 s"), "{error}");
    }
}
