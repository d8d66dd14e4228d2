//! Unpacks a static bundle: a tar archive, compressed with zstd or xz, of `opt/kata`.
//!
//! What is in an archive is not trusted: only files, folders and links below `opt/kata` are taken, no link leads out of
//! it, and it may not fill the disk. The caller compares the digest before anybody sees what was unpacked.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use crate::error::{Error, Result};
use crate::host::Host;

/// Where a bundle belongs; its programs have the path built in.
pub const PLACE: &str = "/opt/kata";
/// The first bytes of each compression.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// A file system is left with this much: a full one makes the kubelet evict pods.
const SPARE_BYTES: u64 = 512 << 20;
/// Or with this part of it, if that is less.
const SPARE_PART: u64 = 20;

/// What is wrong with an archive, or with the host while unpacking.
#[derive(Debug)]
pub enum Trouble {
    /// The archive cannot be read on: damaged, cut off, or no such archive.
    Damaged(String),
    /// The archive holds what is not taken.
    Unfit(String),
    /// The host.
    Host(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// Unpacks into a folder of the host, which must be empty.
pub fn unpack(host: &Host, bundle: impl Read, folder: &str) -> std::result::Result<(), Trouble> {
    let mut bundle = BufReader::new(bundle);
    let mut start = Vec::with_capacity(XZ.len());
    bundle.by_ref().take(XZ.len() as u64).read_to_end(&mut start).map_err(|error| damaged(&error))?;
    let is_zstd = start.starts_with(&ZSTD);
    let is_xz = start == XZ;
    let whole = io::Cursor::new(start).chain(bundle);
    if is_zstd {
        let frame = ruzstd::decoding::StreamingDecoder::new(whole)
            .map_err(|error| Trouble::Damaged(error.to_string()))?;
        entries(host, frame, folder)
    } else if is_xz {
        entries(host, lzma_rust2::XzReader::new(whole, true), folder)
    } else {
        Err(Trouble::Unfit("it is neither a .tar.zst nor a .tar.xz file".to_owned()))
    }
}

fn damaged(error: &io::Error) -> Trouble {
    Trouble::Damaged(error.to_string())
}

fn entries(host: &Host, tar: impl Read, folder: &str) -> std::result::Result<(), Trouble> {
    let unpacker = Unpacker { host, folder, root: host.at(folder)? };
    let mut archive = Archive::new(tar);
    for entry in archive.entries().map_err(|error| damaged(&error))? {
        unpacker.take(&mut entry.map_err(|error| damaged(&error))?)?;
    }
    // What follows the end of the archive belongs to the checked stream, too.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| damaged(&error))?;
    Ok(())
}

struct Unpacker<'a> {
    host: &'a Host,
    /// The folder on the host.
    folder: &'a str,
    /// The same for this process.
    root: PathBuf,
}

impl Unpacker<'_> {
    fn take(&self, entry: &mut Entry<'_, impl Read>) -> std::result::Result<(), Trouble> {
        let named = entry.path().map_err(|error| damaged(&error))?.into_owned();
        let kind = entry.header().entry_type();
        let Some(inside) = inside(&named)? else { return Ok(()) };
        let shown = format!("{PLACE}/{}", inside.display());
        self.check_parents(&inside, &shown)?;
        let place = self.root.join(&inside);
        match kind {
            EntryType::Directory => self.folder_at(&place, &shown),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, &place, &shown)
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                check_link(&inside, &target, &shown)?;
                Ok(self.host.link(&place, &target)?)
            }
            EntryType::Link => self.hard_link(entry, &place, &shown),
            other => {
                Err(Trouble::Unfit(format!("{shown} in it is neither file, folder nor link ({other:?})")))
            }
        }
    }

    fn folder_at(&self, place: &Path, shown: &str) -> std::result::Result<(), Trouble> {
        if place.is_dir() {
            return Ok(());
        }
        self.host.about_to(&format!("unpack folder {shown}"))?;
        // The archive's own modes are for users that this host may not have.
        DirBuilder::new().mode(0o755).create(place).map_err(|error| self.failed(shown, error).into())
    }

    fn file(
        &self,
        entry: &mut Entry<'_, impl Read>,
        place: &Path,
        shown: &str,
    ) -> std::result::Result<(), Trouble> {
        self.check_space(shown, entry.size())?;
        self.host.about_to(&format!("unpack {shown}"))?;
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).map_err(|error| self.failed(shown, error))?;
        }
        let mode = entry.header().mode().map_err(|error| damaged(&error))? & 0o777;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(place)
            .map_err(|error| self.failed(shown, error))?;
        copy(entry, &mut file).map_err(|failure| match failure {
            Copying::Reading(error) => damaged(&error),
            Copying::Writing(error) => self.failed(shown, error).into(),
        })?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(|error| self.failed(shown, error).into())
    }

    fn hard_link(
        &self,
        entry: &Entry<'_, impl Read>,
        place: &Path,
        shown: &str,
    ) -> std::result::Result<(), Trouble> {
        let target = link_target(entry)?;
        let Some(target) = inside(&target)? else {
            return Err(Trouble::Unfit(format!("{shown} in it is a link to nothing")));
        };
        self.check_parents(&target, shown)?;
        let original = self.root.join(target);
        if !original.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Err(Trouble::Unfit(format!("{shown} in it is a link to what is no file of it")));
        }
        self.host.about_to(&format!("unpack {shown}"))?;
        fs::hard_link(original, place).map_err(|error| self.failed(shown, error).into())
    }

    /// No way into the folder leads through a link.
    fn check_parents(&self, inside: &Path, shown: &str) -> std::result::Result<(), Trouble> {
        for above in inside.ancestors().skip(1) {
            if self.root.join(above).symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                return Err(Trouble::Unfit(format!("{shown} in it lies behind a link")));
            }
        }
        Ok(())
    }

    fn check_space(&self, shown: &str, size: u64) -> Result<()> {
        let space = self.host.space(self.folder)?;
        let reserve = SPARE_BYTES.min(space.total / SPARE_PART);
        if space.free >= size.saturating_add(reserve) {
            return Ok(());
        }
        let needed = format!(
            "{} MiB are needed for this file, and {} MiB are to stay free for ordinary pods",
            size.div_ceil(1 << 20),
            reserve >> 20
        );
        Err(Error::NoSpace { path: shown.to_owned(), free: space.free >> 20, needed })
    }

    fn failed(&self, shown: &str, error: io::Error) -> Error {
        match Error::file("write", shown, error) {
            Error::NoSpace { path, needed, .. } => {
                let free = self.host.space(self.folder).map_or(0, |space| space.free >> 20);
                Error::NoSpace { path, free, needed }
            }
            other => other,
        }
    }
}

enum Copying {
    Reading(io::Error),
    Writing(io::Error),
}

/// Like `io::copy`, telling which side failed.
fn copy(from: &mut impl Read, to: &mut impl io::Write) -> std::result::Result<(), Copying> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copying::Reading(error)),
        };
        to.write_all(&buffer[..count]).map_err(Copying::Writing)?;
    }
}

fn link_target(entry: &Entry<'_, impl Read>) -> std::result::Result<PathBuf, Trouble> {
    let target = entry.link_name().map_err(|error| damaged(&error))?;
    target
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| Trouble::Unfit("a link in it leads nowhere".to_owned()))
}

/// The part of an entry's name below `opt/kata`; none for the folders above. Refuses what lies elsewhere.
fn inside(named: &Path) -> std::result::Result<Option<PathBuf>, Trouble> {
    let mut parts = Vec::new();
    for component in named.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Trouble::Unfit(format!(
                    "it holds {}, a path that leads out of it",
                    named.display()
                )));
            }
        }
    }
    match parts.as_slice() {
        [] => Ok(None),
        [opt] if *opt == "opt" => Ok(None),
        [opt, kata] if *opt == "opt" && *kata == "kata" => Ok(None),
        [opt, kata, rest @ ..] if *opt == "opt" && *kata == "kata" => Ok(Some(rest.iter().collect())),
        _ => Err(Trouble::Unfit(format!("it holds {}, which is not below opt/kata", named.display()))),
    }
}

/// A symbolic link may lead to anything below `opt/kata`.
fn check_link(link: &Path, target: &Path, shown: &str) -> std::result::Result<(), Trouble> {
    let outside =
        || Trouble::Unfit(format!("{shown} in it is a link to {}, outside of {PLACE}", target.display()));
    let place = Path::new(PLACE);
    let mut at =
        if target.is_absolute() { PathBuf::from("/") } else { place.join(link.parent().unwrap_or(link)) };
    for component in target.components() {
        match component {
            Component::Normal(part) => at.push(part),
            Component::ParentDir => {
                at.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
        if !target.is_absolute() && !at.starts_with(place) {
            return Err(outside());
        }
    }
    if at.starts_with(place) { Ok(()) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("./opt/kata/bin/qemu", Some("bin/qemu"))]
    #[case("opt/kata/", None)]
    #[case("./", None)]
    fn names_are_taken_below_the_place(#[case] name: &str, #[case] expected: Option<&str>) {
        assert_eq!(inside(Path::new(name)).unwrap().as_deref(), expected.map(Path::new));
    }

    #[rstest]
    #[case("/opt/kata/bin/x")]
    #[case("opt/kata/../../etc/passwd")]
    #[case("etc/passwd")]
    #[case("opt/katastrophe/x")]
    #[case("opt/other")]
    fn names_elsewhere_are_refused(#[case] name: &str) {
        assert!(matches!(inside(Path::new(name)), Err(Trouble::Unfit(_))), "{name}");
    }

    #[rstest]
    #[case("share/a", "configuration-qemu.toml", true)]
    #[case("share/a", "../bin/x", true)]
    #[case("share/a", "/opt/kata/bin/x", true)]
    #[case("share/a", "../../bin/x", false)]
    #[case("share/a", "../../../etc/../opt/kata/x", false)]
    #[case("share/a", "/etc/passwd", false)]
    #[case("share/a", "/opt/kata/../../etc/passwd", false)]
    fn links_stay_inside(#[case] link: &str, #[case] target: &str, #[case] fine: bool) {
        assert_eq!(check_link(Path::new(link), Path::new(target), link).is_ok(), fine, "{target}");
    }
}
