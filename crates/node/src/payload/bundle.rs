//! A static bundle in `/opt/kata`: unpacked beside, checked, then moved into place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::archive::{self, PLACE, Trouble};
use super::source::Bundle;
use crate::digest::{self, Digesting};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::platform::Architecture;

/// Where a bundle is unpacked, and where an old one goes before it is removed: not visible to anything, and on the same
/// file system.
const UNPACKING: &str = "/opt/.kata.osc-node-new";
const LEAVING: &str = "/opt/.kata.osc-node-old";
/// What was unpacked, in the folder itself.
const INVENTORY: &str = ".osc-node.json";
/// The program by which container runtimes start Kata.
pub const SHIM: &str = "/opt/kata/bin/containerd-shim-kata-v2";
/// How much of a file tells the architecture.
const ELF_HEADER: usize = 20;

/// What is in a folder that we unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Inventory {
    /// Digest of the bundle.
    bundle: String,
    /// Files by path below the folder, with their digests.
    files: BTreeMap<String, String>,
}

/// Digest of the bundle in place; none if there is none of ours.
pub fn installed(host: &Host) -> Result<Option<String>> {
    Ok(inventory(host, PLACE)?.map(|inventory| inventory.bundle))
}

/// Refuses a host on which a bundle cannot be put, before anything is changed.
pub fn check_place(host: &Host, size: Option<u64>) -> Result<()> {
    if host.exists(PLACE)? && inventory(host, PLACE)?.is_none() {
        return Err(Error::Refused(format!(
            "{PLACE} is on the host already and was not put there by osc-node, so it is left as it is; move it away if \
             Kata is to be installed by osc-node"
        )));
    }
    if !host.is_dir("/opt")? && host.exists("/opt")? {
        return Err(Error::Refused("/opt of the host is no folder".to_owned()));
    }
    let space = host.space("/opt")?;
    if space.read_only {
        return Err(Error::ReadOnly { action: "unpack the bundle into", path: PLACE.to_owned() });
    }
    match size {
        Some(size) if size > space.free => Err(Error::NoSpace {
            path: PLACE.to_owned(),
            free: space.free >> 20,
            needed: format!("the bundle alone, still compressed, has {} MiB", size.div_ceil(1 << 20)),
        }),
        _ => Ok(()),
    }
}

/// Puts a bundle into place. What was there before, if it is ours and as we left it, is replaced.
pub fn install(host: &Host, bundle: &Bundle, architecture: Architecture) -> Result<()> {
    host.remove_tree(UNPACKING)?;
    let opened = bundle.open(host)?;
    check_place(host, opened.size)?;
    if !host.is_dir("/opt")? {
        host.create_dir("/opt")?;
    }
    let unpacked = unpack_checked(host, bundle, opened, architecture);
    if let Err(error) = unpacked {
        if !matches!(error, Error::Stopped(_)) {
            host.remove_tree(UNPACKING)?;
        }
        return Err(error);
    }
    host.remove_tree(LEAVING)?;
    if host.exists(PLACE)? {
        check_untouched(host, "the new bundle is not installed over it")?;
        host.rename(PLACE, LEAVING)?;
    }
    host.rename(UNPACKING, PLACE)?;
    host.remove_tree(LEAVING)
}

fn unpack_checked(
    host: &Host,
    bundle: &Bundle,
    opened: super::source::Opened,
    architecture: Architecture,
) -> Result<()> {
    let refused = |why: String| Error::Bundle { bundle: bundle.from.clone(), why };
    host.create_dir(UNPACKING)?;
    let mut reader = Digesting::new(opened.reader);
    let unpacked = archive::unpack(host, &mut reader, UNPACKING);
    if let Err(Trouble::Host(error)) = unpacked {
        return Err(error);
    }
    // Nothing that is wrong with the archive matters if it is not the one that was meant.
    let (digest, bytes) =
        reader.finish().map_err(|error| refused(format!("it cannot be read to its end: {error}")))?;
    if digest != bundle.digest {
        let cut_off = match &unpacked {
            Err(Trouble::Damaged(why)) => format!(" It is damaged or was cut off ({why})."),
            _ => String::new(),
        };
        return Err(refused(format!(
            "its digest is sha256:{digest} ({bytes} bytes), expected is sha256:{}.{cut_off} Nothing of it was \
             installed; provide the bundle again, or correct `bundleDigest` of config map osc-daemonset-config",
            bundle.digest
        )));
    }
    match unpacked {
        Ok(()) => {}
        Err(Trouble::Damaged(why)) => {
            return Err(refused(format!(
                "it has the expected digest, but is damaged or was cut off before that was made: {why}"
            )));
        }
        Err(Trouble::Unfit(why)) => return Err(refused(why)),
        Err(Trouble::Host(error)) => return Err(error),
    }
    check_shim(host, bundle, architecture)?;
    let inventory = Inventory { bundle: digest, files: files(host, UNPACKING)? };
    let text = serde_json::to_vec(&inventory).map_err(|error| refused(error.to_string()))?;
    host.write(&format!("{UNPACKING}/{INVENTORY}"), &text, None)?;
    sync(host, UNPACKING)
}

fn check_shim(host: &Host, bundle: &Bundle, architecture: Architecture) -> Result<()> {
    let refused = |why: String| Err(Error::Bundle { bundle: bundle.from.clone(), why });
    let path = SHIM.replacen(PLACE, UNPACKING, 1);
    let Some(program) = host.read(&path)? else {
        return refused(format!("there is no {SHIM} in it, so it is no bundle of Kata"));
    };
    match Architecture::of_elf(program.get(..ELF_HEADER).unwrap_or_default()) {
        Some(found) if found == architecture => Ok(()),
        Some(found) => refused(format!(
            "it is for {}, and this node is {}: provide a bundle for each architecture, or select the nodes by the \
             label kubernetes.io/arch",
            found.name(),
            architecture.name()
        )),
        None => refused(format!("{SHIM} in it is no program for amd64, arm64 or s390x")),
    }
}

/// Removes the bundle. What somebody else put in or changed is left, and told.
pub fn remove(host: &Host) -> Result<()> {
    host.remove_tree(UNPACKING)?;
    host.remove_tree(LEAVING)?;
    if inventory(host, PLACE)?.is_none() {
        return Ok(());
    }
    check_untouched(host, "the bundle is not removed")?;
    // Half a bundle is never seen in its place.
    host.rename(PLACE, LEAVING)?;
    host.remove_tree(LEAVING)
}

/// Refuses a folder of ours in which somebody else put or changed something.
fn check_untouched(host: &Host, otherwise: &str) -> Result<()> {
    let Some(inventory) = inventory(host, PLACE)? else { return Ok(()) };
    let found = files(host, PLACE)?;
    let foreign: Vec<String> = found
        .iter()
        .filter(|(path, digest)| *path != INVENTORY && inventory.files.get(*path) != Some(digest))
        .map(|(path, _)| format!("{PLACE}/{path}"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let advice = format!(
        "{otherwise}: move these files away (settings of your own belong into /etc/kata-containers), osc-node then \
         goes on"
    );
    Err(Error::Edited { paths: foreign, advice })
}

fn inventory(host: &Host, folder: &str) -> Result<Option<Inventory>> {
    let Some(content) = host.read(&format!("{folder}/{INVENTORY}"))? else { return Ok(None) };
    Ok(serde_json::from_slice(&content).ok())
}

/// Every file and link below a folder with its digest; of a link, that of where it leads.
fn files(host: &Host, folder: &str) -> Result<BTreeMap<String, String>> {
    let root = host.at(folder)?;
    let mut found = BTreeMap::new();
    collect(&root, &root, &mut found).map_err(|source| Error::file("read", folder, source))?;
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() {
            collect(root, &path, found)?;
            continue;
        }
        let content = if metadata.is_symlink() {
            format!("link {}", fs::read_link(&path)?.display())
        } else if metadata.is_file() {
            let (digest, _) = Digesting::new(fs::File::open(&path)?).finish()?;
            format!("{digest} {:o}", metadata.mode() & 0o777)
        } else {
            "neither file nor link".to_owned()
        };
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        found.insert(name, digest::of(content.as_bytes()));
    }
    Ok(())
}

/// Everything is on the disk before it is moved into place.
fn sync(host: &Host, folder: &str) -> Result<()> {
    let told = |source| Error::file("write", folder, source);
    let opened = fs::File::open(host.at(folder)?).map_err(told)?;
    rustix::fs::syncfs(opened).map_err(|error| told(error.into()))
}
