//! Finds one file in the layers of an image, from the uppermost down, and writes it to the disk.
//!
//! What is in a layer is not trusted: nothing is written but that one file, under a name of ours, and not more of it than
//! is allowed. Names that lead elsewhere never match.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::disk::need_space;
use super::error::{Error, Result};
use super::progress::Progress;
use super::registry::{Descriptor, Pulled, Registry};
use super::zstd::Frames;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The mark of a file that is removed, and of a folder whose lower content is hidden.
const REMOVED: &str = ".wh.";
const HIDDEN: &str = ".wh..wh..opq";
/// A layer may unpack to so many times what an image may have: the rest is an attack.
const MOST_UNPACKED: u64 = 4;
/// And this much besides.
const UNPACKED_BESIDES: u64 = 1 << 30;
/// So many names are told when the file is not found.
const MOST_TOLD: usize = 5;

/// Pulls the file at `path` out of an image.
pub fn extract(registry: &mut Registry, image: &Pulled, path: &str, to: &Path, most: u64) -> Result<()> {
    let mut seen = Vec::new();
    for layer in image.layers.iter().rev() {
        let mut search = Search { path, to, most, found: Found::Nothing, seen: &mut seen };
        let whole = one_layer(registry, layer, &mut search);
        let found = search.found;
        if whole.is_err() || !matches!(found, Found::File) {
            let _ = std::fs::remove_file(to);
        }
        whole?;
        match found {
            Found::File => return Ok(()),
            Found::Nothing => {}
            Found::Unfit(why) => return Err(unfit(path, why)),
            Found::Removed => return Err(unfit(path, "a layer of the image removes it".to_owned())),
        }
    }
    let told = if seen.is_empty() {
        "there is no disk at all in it".to_owned()
    } else {
        format!("it has {}", seen.join(", "))
    };
    Err(unfit(
        path,
        format!("it is not in the image; {told}: name the file as ...::/path in PODVM_IMAGE_URI"),
    ))
}

fn unfit(path: &str, why: String) -> Error {
    Error::Unfit { what: format!("{path} of the image"), why }
}

fn one_layer(registry: &mut Registry, layer: &Descriptor, search: &mut Search<'_>) -> Result<()> {
    let folder = search.to.parent().unwrap_or(search.to);
    need_space(folder, layer.size, "the image")?;
    let mut progress = Progress::new("pulling a layer", layer.size);
    let mut stream = registry.layer(layer)?;
    // A damaged layer is told as damaged, whatever it looked like.
    let searched = {
        let mut counted = Counted { inner: &mut stream, progress: &mut progress };
        search.layer(&mut counted)
    };
    match searched {
        Ok(()) => stream.finish(),
        Err(Stop::Ours(error)) => Err(error),
        Err(Stop::Archive(why)) => {
            stream.finish()?;
            Err(unfit(search.path, format!("layer {} is no archive: {why}", layer.digest)))
        }
    }
}

struct Counted<'a, 'b> {
    inner: &'a mut super::registry::Layer<'b>,
    progress: &'a mut Progress,
}

impl Read for Counted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.done(self.inner.position());
        Ok(count)
    }
}

/// Why a layer was not read to its end.
enum Stop {
    Ours(Error),
    Archive(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.to_string())
    }
}

/// What a layer says about the file.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    File,
    /// It hides what is below.
    Removed,
    /// It is there and is no file.
    Unfit(String),
}

struct Search<'a> {
    path: &'a str,
    to: &'a Path,
    most: u64,
    found: Found,
    /// Other disks, for the person who named the wrong one.
    seen: &'a mut Vec<String>,
}

impl Search<'_> {
    fn layer(&mut self, stream: &mut dyn Read) -> std::result::Result<(), Stop> {
        let mut stream = BufReader::with_capacity(1 << 16, stream);
        let mut start = Vec::new();
        stream.by_ref().take(4).read_to_end(&mut start)?;
        let (gzip, zstd) = (start.starts_with(&GZIP), start == ZSTD);
        let whole = io::Cursor::new(start).chain(stream);
        let limit = self.most.saturating_mul(MOST_UNPACKED).saturating_add(UNPACKED_BESIDES);
        if gzip {
            self.entries(MultiGzDecoder::new(whole).take(limit))
        } else if zstd {
            self.entries(Frames::new(whole).take(limit))
        } else {
            self.entries(whole.take(limit))
        }
    }

    fn entries(&mut self, tar: impl Read) -> std::result::Result<(), Stop> {
        let mut archive = Archive::new(tar);
        for entry in archive.entries()? {
            self.entry(&mut entry?)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> std::result::Result<(), Stop> {
        let name = entry.path_bytes().into_owned();
        let Some(name) = plain(&name) else { return Ok(()) };
        let kind = entry.header().entry_type();
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        if name == self.path {
            if is_file {
                self.write(entry)?;
                self.found = Found::File;
            } else {
                let target = entry.link_name().ok().flatten().unwrap_or_default();
                self.found = Found::Unfit(match kind {
                    EntryType::Symlink | EntryType::Link => format!(
                        "it is a link to {}; name that file in PODVM_IMAGE_URI, or put the disk itself there",
                        target.display()
                    ),
                    _ => format!("it is no file ({kind:?})"),
                });
            }
        } else if self.found == Found::Nothing
            && let Some(found) = hides(&name, self.path, kind)
        {
            self.found = found;
        }
        let is_disk = [".qcow2", ".img", ".raw"].iter().any(|ending| name.ends_with(ending));
        if is_file && is_disk && name != self.path && self.seen.len() < MOST_TOLD {
            self.seen.push(name);
        }
        Ok(())
    }

    fn write(&self, entry: &mut Entry<'_, impl Read>) -> std::result::Result<(), Stop> {
        let size = entry.size();
        if size > self.most {
            let why =
                format!("it has {} MiB, and at most {} are taken (--most)", size >> 20, self.most >> 20);
            return Err(Stop::Ours(unfit(self.path, why)));
        }
        need_space(self.to.parent().unwrap_or(self.to), size, "the disk in the image").map_err(Stop::Ours)?;
        let failed = |error: io::Error| Stop::Ours(Error::disk(self.to, &error));
        let mut file = File::create(self.to).map_err(failed)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            // What cannot be read is the archive's fault, what cannot be written the disk's.
            let count = entry.read(&mut buffer)?;
            if count == 0 {
                return file.sync_all().map_err(failed);
            }
            file.write_all(&buffer[..count]).map_err(failed)?;
        }
    }
}

/// `/a/b`, whatever way it is written; nothing for names that lead upwards.
fn plain(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut whole = String::new();
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return None;
        }
        whole.push('/');
        whole.push_str(part);
    }
    Some(whole)
}

/// Whether an entry hides the file in the layers below.
fn hides(name: &str, path: &str, kind: EntryType) -> Option<Found> {
    let path = PathBuf::from(path);
    let (folder, last) = name.rsplit_once('/')?;
    if last == HIDDEN {
        let above = Path::new(if folder.is_empty() { "/" } else { folder });
        return (path.starts_with(above)).then_some(Found::Removed);
    }
    if let Some(removed) = last.strip_prefix(REMOVED) {
        return path.starts_with(format!("{folder}/{removed}")).then_some(Found::Removed);
    }
    let above = !name.is_empty() && path.starts_with(name) && kind != EntryType::Directory;
    above.then(|| Found::Unfit(format!("{name} is a link or a file and no folder")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const PATH: &str = "/image/podvm.qcow2";

    #[rstest]
    #[case("image/podvm.qcow2", Some("/image/podvm.qcow2"))]
    #[case("./image//podvm.qcow2", Some("/image/podvm.qcow2"))]
    #[case("/image/./podvm.qcow2", Some("/image/podvm.qcow2"))]
    #[case("x/../image/podvm.qcow2", None)]
    #[case("../../image/podvm.qcow2", None)]
    #[case("./", Some(""))]
    fn names_are_made_plain(#[case] name: &str, #[case] expected: Option<&str>) {
        assert_eq!(plain(name.as_bytes()).as_deref(), expected);
    }

    #[rstest]
    #[case("/image/.wh.podvm.qcow2", EntryType::Regular, Some(Found::Removed))]
    #[case("/.wh.image", EntryType::Regular, Some(Found::Removed))]
    #[case("/image/.wh..wh..opq", EntryType::Regular, Some(Found::Removed))]
    #[case("/.wh..wh..opq", EntryType::Regular, Some(Found::Removed))]
    #[case("/images/.wh..wh..opq", EntryType::Regular, None)]
    #[case("/image/.wh.other", EntryType::Regular, None)]
    #[case("/image", EntryType::Directory, None)]
    #[case("", EntryType::Directory, None)]
    #[case("/image/other", EntryType::Regular, None)]
    fn what_hides_a_file(#[case] name: &str, #[case] kind: EntryType, #[case] expected: Option<Found>) {
        assert_eq!(hides(name, PATH, kind), expected);
    }

    #[test]
    fn a_link_on_the_way_is_no_folder() {
        let found = hides("/image", PATH, EntryType::Symlink);
        assert!(matches!(found, Some(Found::Unfit(_))), "{found:?}");
    }

    fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // As an attacker writes it: the builder itself refuses such names.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            let content = if *kind == EntryType::Symlink {
                header.set_link_name(content).unwrap();
                ""
            } else {
                content
            };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn search(bytes: &[u8], most: u64) -> (std::result::Result<Found, String>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("disk");
        let mut seen = Vec::new();
        let mut search = Search { path: PATH, to: &to, most, found: Found::Nothing, seen: &mut seen };
        let result = match search.layer(&mut &bytes[..]) {
            Ok(()) => Ok(search.found),
            Err(Stop::Ours(error)) => Err(error.to_string()),
            Err(Stop::Archive(why)) => Err(why),
        };
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), usize::from(to.exists()));
        (result, std::fs::read_to_string(&to).ok())
    }

    #[test]
    fn only_the_named_file_is_written_and_the_last_one_counts() {
        let bytes = layer(&[
            ("../../etc/passwd", EntryType::Regular, "evil"),
            ("/etc/cron.d/x", EntryType::Regular, "evil"),
            ("image/podvm.qcow2", EntryType::Regular, "first"),
            ("image/../image/podvm.qcow2", EntryType::Regular, "evil"),
            ("./image/podvm.qcow2", EntryType::Regular, "last"),
        ]);
        assert_eq!(search(&bytes, 1 << 20), (Ok(Found::File), Some("last".to_owned())));
    }

    #[test]
    fn compressed_layers_are_read() {
        let bytes = layer(&[("image/podvm.qcow2", EntryType::Regular, "disk")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        assert_eq!(search(&gzip.finish().unwrap(), 1 << 20), (Ok(Found::File), Some("disk".to_owned())));
        // In two frames, with one between them that is to be skipped.
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let mut zstd = ruzstd::encoding::compress_to_vec(&bytes[..700], level);
        zstd.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        zstd.extend(ruzstd::encoding::compress_to_vec(&bytes[700..], level));
        assert_eq!(search(&zstd, 1 << 20), (Ok(Found::File), Some("disk".to_owned())));
    }

    #[test]
    fn links_and_what_is_too_large_are_refused() {
        let (found, written) =
            search(&layer(&[("image/podvm.qcow2", EntryType::Symlink, "/etc/shadow")]), 1 << 20);
        assert_eq!(written, None);
        assert!(matches!(&found, Ok(Found::Unfit(why)) if why.contains("link to /etc/shadow")), "{found:?}");
        let (found, _) = search(&layer(&[("image/podvm.qcow2", EntryType::Regular, "too large")]), 8);
        assert!(found.as_ref().unwrap_err().contains("at most"), "{found:?}");
    }
}
