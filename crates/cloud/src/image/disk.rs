//! Disks as files: what they say about themselves, and how they become raw ones.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{Error, Result};
use super::progress::Progress;

const MAGIC: [u8; 4] = [b'Q', b'F', b'I', 0xfb];
/// Bit of a header of version 3: the data is in another file.
const DATA_ELSEWHERE: u64 = 1 << 2;
/// A disk is left with this much space.
const SPARE: u64 = 64 << 20;

/// A qcow2 image, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qcow2 {
    /// Bytes that a machine sees.
    pub size: u64,
}

impl Qcow2 {
    /// Reads the header. An image that names other files is refused: it would bring in files of this machine.
    pub fn parse(header: &[u8]) -> std::result::Result<Self, String> {
        if !header.starts_with(&MAGIC) {
            return Err("it is no qcow2 image; `qemu-img convert -O qcow2` makes one".to_owned());
        }
        let short = || "its header is cut off".to_owned();
        let number = |at: usize| -> std::result::Result<u64, String> {
            let bytes = header.get(at..at + 8).ok_or_else(short)?;
            Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
        };
        // Magic and version share eight bytes.
        let version = number(0)? & 0xffff_ffff;
        if !(2..=3).contains(&version) {
            return Err(format!("it is of version {version} of qcow2, and versions 2 and 3 are known"));
        }
        if number(8)? != 0 {
            return Err(
                "it has a backing file; `qemu-img convert -O qcow2` makes an image of its own".to_owned()
            );
        }
        if number(32)? >> 32 != 0 {
            return Err("it is encrypted; `qemu-img convert -O qcow2` makes one that is not".to_owned());
        }
        if version == 3 && number(72)? & DATA_ELSEWHERE != 0 {
            return Err("its data is in another file; `qemu-img convert -O qcow2` makes an image of its own"
                .to_owned());
        }
        match number(24)? {
            0 => Err("it is empty".to_owned()),
            size => Ok(Self { size }),
        }
    }

    /// Of a file.
    pub fn open(path: &Path, most: u64) -> Result<Self> {
        let mut header = Vec::new();
        let file = File::open(path).map_err(|error| Error::disk(path, &error))?;
        file.take(104).read_to_end(&mut header).map_err(|error| Error::disk(path, &error))?;
        let unfit = |why| Error::Unfit { what: "the disk in the image".to_owned(), why };
        let found = Self::parse(&header).map_err(unfit)?;
        if found.size > most {
            let why =
                format!("it has {} GiB, and at most {} are taken (--most)", found.size >> 30, most >> 30);
            return Err(unfit(why));
        }
        Ok(found)
    }
}

/// Makes a raw disk of a qcow2 image.
pub fn to_raw(from: &Path, to: &Path, size: u64, progress: &mut Progress) -> Result<()> {
    need_space(to.parent().unwrap_or(to), size, "the raw disk")?;
    let failed = |why: String| Error::Program { program: "qemu-img", why };
    let mut child = Command::new("qemu-img")
        .args(["convert", "-p", "-f", "qcow2", "-O", "raw"])
        .args([from, to])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => failed("is missing; it is in package qemu-utils or qemu-img".to_owned()),
            _ => failed(format!("cannot be started: {error}")),
        })?;
    if let Some(output) = child.stdout.take() {
        follow(output, progress);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().rev().take(3).collect();
        let said = said.into_iter().rev().collect::<Vec<_>>().join("; ");
        return Err(failed(format!("cannot make a raw disk of the image ({}): {said}", output.status)));
    }
    let made = std::fs::metadata(to).map_err(|error| Error::disk(to, &error))?.len();
    if made == size {
        return Ok(());
    }
    let why = format!("a disk of {size} bytes was announced and one of {made} came out");
    Err(Error::Damaged { what: "the disk in the image".to_owned(), why })
}

/// `(12.34/100%)`, over and over.
fn follow(mut output: impl Read, progress: &mut Progress) {
    let mut buffer = [0; 256];
    let mut text = String::new();
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some(percent) = percent(&text) {
            progress.percent(percent);
        }
        let keep = text.rfind('(').unwrap_or(text.len());
        text.drain(..keep);
    }
}

fn percent(text: &str) -> Option<u8> {
    let (before, _) = text.rsplit_once("/100%)")?;
    let whole = before.rsplit('(').next()?.split('.').next()?;
    whole.trim().parse().ok()
}

/// Whether that much fits.
pub fn need_space(folder: &Path, bytes: u64, what: &str) -> Result<()> {
    let stat = rustix::fs::statvfs(folder).map_err(|error| Error::disk(folder, &error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= bytes.saturating_add(SPARE) {
        return Ok(());
    }
    Err(Error::Disk {
        place: folder.display().to_string(),
        why: format!(
            "has {} MiB free, and {what} needs {}; give the volume at /store of the image job more space, or use a smaller \
             image",
            free >> 20,
            (bytes + SPARE) >> 20
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn header(change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut header = vec![0; 104];
        header[..4].copy_from_slice(&MAGIC);
        header[7] = 3;
        header[28] = 1;
        change(&mut header);
        header
    }

    #[test]
    fn a_header_says_the_size() {
        assert_eq!(Qcow2::parse(&header(|_| {})), Ok(Qcow2 { size: 1 << 24 }));
    }

    #[rstest]
    #[case(header(|h| h[0] = 0), "no qcow2 image")]
    #[case(header(|_| {})[..20].to_vec(), "cut off")]
    #[case(header(|h| h[7] = 9), "version 9")]
    #[case(header(|h| h[15] = 1), "backing file")]
    #[case(header(|h| h[35] = 1), "encrypted")]
    #[case(header(|h| h[79] = 4), "in another file")]
    #[case(header(|h| h[28] = 0), "empty")]
    fn images_that_reach_out_are_refused(#[case] header: Vec<u8>, #[case] words: &str) {
        let error = Qcow2::parse(&header).unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[rstest]
    #[case("    (12.34/100%)\r", Some(12))]
    #[case("(1.00/100%)\r    (100.00/100%)\r", Some(100))]
    #[case("(1.0", None)]
    fn percents_are_read(#[case] text: &str, #[case] expected: Option<u8>) {
        assert_eq!(percent(text), expected);
    }

    #[test]
    fn too_little_space_is_told_beforehand() {
        let error = need_space(Path::new("/tmp"), 1 << 60, "the raw disk").unwrap_err().to_string();
        assert!(error.contains("MiB free, and the raw disk needs"), "{error}");
        assert!(need_space(Path::new("/tmp"), 0, "nothing").is_ok());
    }
}
