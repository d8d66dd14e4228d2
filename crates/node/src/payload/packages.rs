//! Packages in RPM format: what is installed, what an extension image offers, and installing it with dnf or rpm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::image;
use crate::error::{Error, Result};
use crate::host::{Host, PACKAGES_LIMIT};
use crate::journal::{FOLDER, Journal};
use crate::payload::PayloadRecord;
use crate::platform::Architecture;
use crate::settings::Settings;

/// The package whose version is told.
pub const MAIN: &str = "kata-containers";
/// Where an extension image has its packages.
const IN_IMAGE: &str = "/usr/share/rpm-ostree/extensions";
/// Where they are put on the host for the time of the installation.
const DOWNLOADED: &str = "/var/lib/osc-node/packages";
/// How packages are listed: name, then version.
const FORMAT: &str = "%{NAME}\\t%{VERSION}-%{RELEASE}\\n";

/// Kata and what it needs of the extension image, on Intel and AMD.
const OF_AMD64: [&str; 17] = [
    "capstone",
    "daxctl-libs",
    "edk2-ovmf",
    "ipxe-roms-qemu",
    "kata-containers",
    "libfdt",
    "libpmem",
    "libpng",
    "librdmacm",
    "ndctl-libs",
    "pixman",
    "qemu-img",
    "qemu-kvm-common",
    "qemu-kvm-core",
    "seabios-bin",
    "seavgabios-bin",
    "virtiofsd",
];
/// The same on IBM Z.
const OF_S390X: [&str; 9] = [
    "capstone",
    "kata-containers",
    "libfdt",
    "libpng",
    "pixman",
    "qemu-img",
    "qemu-kvm-common",
    "qemu-kvm-core",
    "virtiofsd",
];

/// Packages by name, with their versions.
pub type Versions = BTreeMap<String, String>;

/// Who installs packages on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// dnf, or rpm itself where there is no dnf.
    Rpm,
    /// rpm-ostree: live where that goes, otherwise with the next start of the machine.
    RpmOstree,
}

/// What the journal knows of installed packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Who installs them.
    pub manager: Manager,
    /// Image that they come from; empty for the host's repositories.
    pub image: String,
    /// What is to be there.
    pub wanted: Versions,
    /// Names of all packages on the host before, while an installation is under way.
    pub before: Option<Vec<String>>,
    /// Names of those that came with us.
    pub ours: Vec<String>,
    /// What rpm-ostree leaves to do after a live installation was done.
    pub live_done: bool,
}

/// All packages on the host.
pub fn installed(host: &Host) -> Result<Versions> {
    Ok(versions(&host.ask(&["rpm", "--query", "--all", "--queryformat", FORMAT])?))
}

fn versions(listing: &str) -> Versions {
    let pairs = listing.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// Whether the host's repositories have Kata.
pub fn are_offered(host: &Host) -> Result<bool> {
    if !host.has("dnf")? {
        return Ok(false);
    }
    // Repositories that do not answer are as good as none: the bundle is taken then.
    Ok(host
        .ask(&["dnf", "--quiet", "repoquery", "--available", MAIN])
        .is_ok_and(|found| !found.trim().is_empty()))
}

/// Whether all that is wanted is there.
pub fn are_there(wanted: &Versions, installed: &Versions) -> bool {
    !wanted.is_empty()
        && wanted.iter().all(|(name, version)| {
            installed.get(name).is_some_and(|found| version.is_empty() || found == version)
        })
}

/// Files to install, and the packages in them.
pub struct Offer {
    /// Packages by name.
    pub versions: Versions,
    /// Their files on the host by package; empty for packages of the repositories.
    files: BTreeMap<String, String>,
}

impl Offer {
    /// What to name to a package manager for those that are not as wanted: files, or names.
    pub fn missing(&self, installed: &Versions) -> Vec<String> {
        let is_missing = |name: &&String| {
            let wanted = self.versions.get(*name).map(String::as_str).unwrap_or_default();
            installed.get(*name).is_none_or(|found| !wanted.is_empty() && found != wanted)
        };
        self.versions
            .keys()
            .filter(is_missing)
            .map(|name| self.files.get(name).unwrap_or(name).clone())
            .collect()
    }
}

/// Gets what is to be installed: the files of the extension image, or the name for the repositories.
pub fn offer(host: &Host, settings: &Settings, image: &str, architecture: Architecture) -> Result<Offer> {
    if image.is_empty() {
        let versions = Versions::from([(MAIN.to_owned(), String::new())]);
        return Ok(Offer { versions, files: BTreeMap::new() });
    }
    let names: &[&str] = match architecture {
        Architecture::Amd64 => &OF_AMD64,
        Architecture::S390x => &OF_S390X,
        Architecture::Arm64 => {
            return Err(Error::Refused(format!(
                "the extension image has no packages of Kata for {}; they exist for amd64 and s390x: keep the node out \
                 of the KataConfig's selector",
                architecture.name()
            )));
        }
    };
    host.remove_tree(DOWNLOADED)?;
    host.create_dir(FOLDER)?;
    image::copy(host, settings, image, IN_IMAGE, DOWNLOADED)?;
    let mut offer = Offer { versions: Versions::new(), files: BTreeMap::new() };
    for file in host.list(DOWNLOADED)?.into_iter().filter(|file| has_extension(file)) {
        let path = format!("{DOWNLOADED}/{file}");
        let found = versions(&host.ask(&["rpm", "--query", "--package", "--queryformat", FORMAT, &path])?);
        for (name, version) in found.into_iter().filter(|(name, _)| names.contains(&name.as_str())) {
            offer.files.insert(name.clone(), path.clone());
            offer.versions.insert(name, version);
        }
    }
    if !offer.versions.contains_key(MAIN) {
        return Err(Error::Refused(format!("image {image} has no package {MAIN} in {IN_IMAGE}")));
    }
    Ok(offer)
}

fn has_extension(file: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|extension| extension == "rpm")
}

/// Removes the files of an offer.
pub fn forget_offer(host: &Host) -> Result<()> {
    host.remove_tree(DOWNLOADED)
}

/// Installs with dnf, or rpm where there is none.
pub fn install(host: &Host, journal: &mut Journal, mut record: Packages, offer: &Offer) -> Result<()> {
    let installed_before = installed(host)?;
    record.begin(&installed_before, offer);
    journal.set_payload(Some(PayloadRecord::Packages(record.clone())))?;
    let missing = offer.missing(&installed_before);
    if !missing.is_empty() {
        let mut command = if host.has("dnf")? {
            vec!["dnf", "install", "--assumeyes", "--setopt=install_weak_deps=False"]
        } else {
            // An older release of the cluster has older packages.
            vec!["rpm", "--upgrade", "--oldpackage"]
        };
        command.extend(missing.iter().map(String::as_str));
        host.change(&command, PACKAGES_LIMIT)?;
    }
    record.end(&installed(host)?);
    forget_offer(host)?;
    journal.set_payload(Some(PayloadRecord::Packages(record)))
}

/// Removes what came with us. rpm refuses while something else needs it, where dnf would remove that, too.
pub fn remove(host: &Host, journal: &mut Journal, mut record: Packages) -> Result<()> {
    let there = installed(host)?;
    record.end(&there);
    let ours: Vec<&str> =
        record.ours.iter().map(String::as_str).filter(|name| there.contains_key(*name)).collect();
    if !ours.is_empty() {
        let mut command = vec!["rpm", "--erase"];
        command.extend(&ours);
        host.change(&command, PACKAGES_LIMIT)?;
    }
    forget_offer(host)?;
    journal.set_payload(None)
}

impl Packages {
    /// A record of nothing yet.
    pub fn new(manager: Manager, image: &str) -> Self {
        Self {
            manager,
            image: image.to_owned(),
            wanted: Versions::new(),
            before: None,
            ours: Vec::new(),
            live_done: false,
        }
    }

    /// An installation begins: from now on, what is new on the host came with us.
    pub fn begin(&mut self, installed: &Versions, offer: &Offer) {
        self.wanted.clone_from(&offer.versions);
        self.live_done = false;
        self.before.get_or_insert_with(|| installed.keys().cloned().collect());
    }

    /// It ended: what is new is ours.
    pub fn end(&mut self, installed: &Versions) {
        let Some(before) = self.before.take() else { return };
        for name in installed.keys() {
            if !before.contains(name) && !self.ours.contains(name) {
                self.ours.push(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pairs: &[(&str, &str)]) -> Versions {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn what_is_new_is_ours_over_several_installations() {
        let offer = Offer { versions: listed(&[("kata-containers", "3.1-1")]), files: BTreeMap::new() };
        let mut record = Packages::new(Manager::Rpm, "image");
        record.begin(&listed(&[("bash", "5")]), &offer);
        // Killed here, and begun again when half of it was there.
        record.begin(&listed(&[("bash", "5"), ("virtiofsd", "1")]), &offer);
        record.end(&listed(&[("bash", "5"), ("virtiofsd", "1"), ("kata-containers", "3.1-1")]));
        assert_eq!(record.ours, ["kata-containers", "virtiofsd"]);
        let later = [("bash", "5"), ("virtiofsd", "1"), ("kata-containers", "3.1-1"), ("vim", "9")];
        record.begin(&listed(&later), &offer);
        record.end(&listed(&later));
        assert_eq!(record.ours, ["kata-containers", "virtiofsd"], "vim is somebody else's");
    }

    #[test]
    fn another_version_is_missing() {
        let versions = listed(&[("kata-containers", "3.2-1"), ("virtiofsd", "1")]);
        let files = BTreeMap::from([("kata-containers".to_owned(), "/k.rpm".to_owned())]);
        let offer = Offer { versions: versions.clone(), files };
        assert_eq!(offer.missing(&listed(&[("virtiofsd", "1"), ("kata-containers", "3.1-1")])), ["/k.rpm"]);
        assert_eq!(offer.missing(&versions), Vec::<String>::new());
        assert!(are_there(&versions, &versions));
        assert!(!are_there(&versions, &listed(&[("virtiofsd", "1")])));
        assert!(!are_there(&Versions::new(), &versions), "nothing wanted is nothing known");
    }
}
