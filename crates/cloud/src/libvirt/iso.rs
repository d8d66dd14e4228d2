//! A CD image with a few small files: how cloud-init is told what to do.
//!
//! ISO 9660 with Joliet names: the plain names are too short for `user-data`. Everything in one directory.

const SECTOR: usize = 2048;
/// The label by which cloud-init knows it.
const LABEL: &str = "cidata";
/// Sixteen unused sectors come first, then three descriptors: plain, Joliet, end.
const PLAIN: u32 = 16;
const END: u32 = 18;
/// Path tables, in both byte orders, of both trees. One sector each: there is only the root.
const TABLES: u32 = 19;
const PLAIN_ROOT: u32 = 23;
const JOLIET_ROOT: u32 = 24;
const DATA: u32 = 25;

/// A file of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'a> {
    /// At most 32 characters.
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
}

/// The image for a machine: its name and what it is told. `vendor-data` is there and empty, so that nobody looks for it.
pub(super) fn seed(name: &str, user_data: &[u8]) -> Vec<u8> {
    let meta = format!("instance-id: {name}\nlocal-hostname: {name}\n");
    image(&[
        File { name: "meta-data", content: meta.as_bytes() },
        File { name: "user-data", content: user_data },
        File { name: "vendor-data", content: b"" },
    ])
}

/// The image with these files. Names have to be sorted.
fn image(files: &[File<'_>]) -> Vec<u8> {
    let mut placed = Vec::new();
    let mut next = DATA;
    for file in files {
        placed.push((file, next));
        next += sectors(file.content.len());
    }
    let mut out = vec![0; number(PLAIN) * SECTOR];
    out.extend(descriptor(1, next, &text(LABEL), root(PLAIN_ROOT), TABLES));
    out.extend(descriptor(2, next, &wide(LABEL), root(JOLIET_ROOT), TABLES + 2));
    debug_assert_eq!(out.len(), number(END) * SECTOR);
    push(&mut out, b"\xffCD001\x01");
    for directory in [PLAIN_ROOT, JOLIET_ROOT] {
        push(&mut out, &table(directory.to_le_bytes(), 1_u16.to_le_bytes()));
        push(&mut out, &table(directory.to_be_bytes(), 1_u16.to_be_bytes()));
    }
    push(&mut out, &directory(PLAIN_ROOT, &placed, plain_name));
    push(&mut out, &directory(JOLIET_ROOT, &placed, wide));
    for (file, _) in &placed {
        push(&mut out, file.content);
    }
    out
}

fn sectors(length: usize) -> u32 {
    u32::try_from(length.div_ceil(SECTOR)).unwrap_or(u32::MAX)
}

fn number(sector: u32) -> usize {
    sector as usize
}

/// Appends, and fills the sector.
fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(SECTOR), 0);
}

fn text(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn wide(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Eight characters, a point, and a version: `USER_DAT.;1`. Nobody reads these.
fn plain_name(name: &str) -> Vec<u8> {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let short: String = name.chars().take(8).map(letter).collect();
    format!("{short}.;1").into_bytes()
}

/// A number in both byte orders, as everything here is written.
fn both(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both_short(value: u16) -> [u8; 4] {
    let [a, b] = value.to_le_bytes();
    [a, b, b, a]
}

fn record(name: &[u8], sector: u32, length: u32, is_directory: bool) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(both(sector));
    out.extend(both(length));
    // 1 January 2000: the image of the same content is the same.
    out.extend([100, 1, 1, 0, 0, 0, 0]);
    out.extend([if is_directory { 2 } else { 0 }, 0, 0]);
    out.extend(both_short(1));
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend(name);
    out.resize(out.len().next_multiple_of(2), 0);
    out[0] = u8::try_from(out.len()).unwrap_or(u8::MAX);
    out
}

fn root(sector: u32) -> Vec<u8> {
    record(&[0], sector, u32::try_from(SECTOR).unwrap_or(0), true)
}

fn directory(own: u32, files: &[(&File<'_>, u32)], name: fn(&str) -> Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(SECTOR).unwrap_or(0);
    let mut out = record(&[0], own, length, true);
    out.extend(record(&[1], own, length, true));
    for (file, sector) in files {
        let size = u32::try_from(file.content.len()).unwrap_or(u32::MAX);
        out.extend(record(&name(file.name), *sector, size, false));
    }
    out
}

/// A path table with the root alone.
fn table(sector: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend(sector);
    out.extend(parent);
    out.extend([0, 0]);
    out
}

fn descriptor(kind: u8, size: u32, label: &[u8], root: Vec<u8>, tables: u32) -> Vec<u8> {
    let wide = kind == 2;
    let blank = |out: &mut Vec<u8>, length: usize| {
        if wide {
            out.extend((0..length).map(|index| if index % 2 == 0 { 0 } else { b' ' }));
        } else {
            out.extend(vec![b' '; length]);
        }
    };
    let mut out = vec![kind];
    out.extend(b"CD001\x01\0");
    blank(&mut out, 32);
    let filled = label.len();
    out.extend(label);
    blank(&mut out, 32 - filled);
    out.extend([0; 8]);
    out.extend(both(size));
    // Joliet, level 3.
    out.extend(if wide { *b"%/E" } else { [0; 3] });
    out.resize(120, 0);
    out.extend(both_short(1));
    out.extend(both_short(1));
    out.extend(both_short(2048));
    out.extend(both(10));
    out.extend(tables.to_le_bytes());
    out.extend([0; 4]);
    out.extend((tables + 1).to_be_bytes());
    out.extend([0; 4]);
    out.extend(root);
    blank(&mut out, 128 * 4 + 37 * 3);
    out.resize(813, b' ');
    for _ in 0..4 {
        out.extend(b"0000000000000000\0");
    }
    out.extend([1, 0]);
    out.resize(SECTOR, 0);
    out
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Reads the image back with a program that knows nothing of this file.
    #[test]
    fn others_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("seed.iso");
        let user_data: Vec<u8> =
            (0..70_000_u32).flat_map(|n| format!("line {n}\n").into_bytes()).take(100_001).collect();
        std::fs::write(&image, seed("podvm-web-01234567", &user_data)).unwrap();
        let run = |arguments: &[&str]| {
            let out = Command::new("bsdtar").args(arguments).arg("-f").arg(&image).output();
            let out = out.expect("bsdtar is needed: `hack/test-deps.sh` installs it (libarchive-tools)");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        };
        run(&["-x", "-C", directory.path().to_str().unwrap()]);
        let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
        assert_eq!(read("user-data"), user_data);
        assert_eq!(
            read("meta-data"),
            b"instance-id: podvm-web-01234567\nlocal-hostname: podvm-web-01234567\n"
        );
        assert_eq!(read("vendor-data"), b"");
        // The label that cloud-init looks for, as the system itself sees it.
        let label =
            Command::new("blkid").args(["-p", "-o", "value", "-s", "LABEL"]).arg(&image).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "cidata");
    }

    #[test]
    fn the_image_says_its_own_length() {
        for length in [0, 1, 2047, 2048, 2049] {
            let image = seed("podvm-a-1", &vec![b'x'; length]);
            assert_eq!(image.len() % SECTOR, 0);
            let told = u32::from_le_bytes(image[16 * SECTOR + 80..16 * SECTOR + 84].try_into().unwrap());
            assert_eq!(number(told) * SECTOR, image.len(), "{length}");
        }
    }
}
