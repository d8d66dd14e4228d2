//! What is installed: packages or a static bundle, by what fits the host.

pub mod archive;
pub mod bundle;
pub mod image;
pub mod ostree;
pub mod packages;
pub mod source;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::Journal;
use crate::platform::{Platform, System};
use crate::settings::{Settings, said};
use packages::{MAIN, Manager, Packages};
use source::Bundle;

/// What the journal knows of what is installed, or being installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PayloadRecord {
    /// A static bundle.
    Bundle {
        /// Its digest.
        digest: String,
    },
    /// Packages.
    Packages(Packages),
}

/// What is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A static bundle.
    Bundle(Bundle),
    /// Packages.
    Packages {
        /// Who installs them.
        manager: Manager,
        /// Image that they come from; empty for the host's repositories.
        image: String,
    },
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadState {
    /// To be installed.
    Missing,
    /// Comes with the next start of the machine.
    Staged,
    /// There, but something is left to do.
    Unfinished,
    /// There.
    Present {
        /// Version, for the node's annotation.
        version: String,
    },
}

impl Payload {
    /// Chooses what fits the host. What was chosen before stays chosen.
    pub fn choose(host: &Host, settings: &Settings, platform: &Platform, journal: &Journal) -> Result<Self> {
        let image = settings.extension_image.trim().to_owned();
        let bundle = || Bundle::find(host, settings).map(Self::Bundle);
        match (journal.payload(), said(&settings.kata_bundle)) {
            (Some(PayloadRecord::Packages(_)), Some(asked)) => {
                return Err(Error::Refused(format!(
                    "Kata is installed from packages on this node, and config map osc-daemonset-config now asks for the \
                     bundle {asked}: delete the KataConfig, which removes the packages, before changing that"
                )));
            }
            (Some(PayloadRecord::Packages(record)), None) => {
                return Ok(Self::Packages { manager: record.manager, image });
            }
            (Some(PayloadRecord::Bundle { .. }), _) | (None, Some(_)) => return bundle(),
            (None, None) => {}
        }
        match platform.system {
            System::RpmOstree => Ok(Self::Packages { manager: Manager::RpmOstree, image }),
            System::Rpm if !image.is_empty() || packages::are_offered(host)? => {
                Ok(Self::Packages { manager: Manager::Rpm, image })
            }
            System::Rpm | System::Other => bundle(),
        }
    }

    /// How far it is on the host.
    pub fn state(&self, host: &Host, journal: &Journal) -> Result<PayloadState> {
        match self {
            Self::Bundle(wanted) => match bundle::installed(host)? {
                Some(digest) if digest == wanted.digest => {
                    Ok(PayloadState::Present { version: format!("bundle sha256:{digest}") })
                }
                _ => Ok(PayloadState::Missing),
            },
            Self::Packages { manager, image } => {
                let Some(PayloadRecord::Packages(record)) = journal.payload() else {
                    return Ok(PayloadState::Missing);
                };
                if record.image != *image {
                    return Ok(PayloadState::Missing);
                }
                let installed = packages::installed(host)?;
                if packages::are_there(&record.wanted, &installed) {
                    let is_left = *manager == Manager::RpmOstree && !record.live_done;
                    if is_left || record.before.is_some() {
                        return Ok(PayloadState::Unfinished);
                    }
                    let version = installed.get(MAIN).map(String::as_str).unwrap_or_default();
                    return Ok(PayloadState::Present { version: format!("{MAIN}-{version}") });
                }
                let staged = *manager == Manager::RpmOstree && ostree::is_staged(host, &record.wanted)?;
                Ok(if staged { PayloadState::Staged } else { PayloadState::Missing })
            }
        }
    }

    /// Installs it.
    pub fn install(
        &self,
        host: &Host,
        settings: &Settings,
        platform: &Platform,
        journal: &mut Journal,
    ) -> Result<()> {
        match self {
            Self::Bundle(wanted) => {
                bundle::check_place(host, None)?;
                journal.create_folders(archive::PLACE)?;
                journal.set_payload(Some(PayloadRecord::Bundle { digest: wanted.digest.clone() }))?;
                bundle::install(host, wanted, platform.architecture)
            }
            Self::Packages { manager, image } => {
                let mut record = match journal.payload() {
                    Some(PayloadRecord::Packages(record)) => record.clone(),
                    _ => Packages::new(*manager, image),
                };
                record.image.clone_from(image);
                // A package may bring handlers of its own.
                journal.require_restart()?;
                let offer = packages::offer(host, settings, image, platform.architecture)?;
                match manager {
                    Manager::Rpm => packages::install(host, journal, record, &offer),
                    Manager::RpmOstree => ostree::install(host, journal, record, &offer).map(|_| ()),
                }
            }
        }
    }
}

/// Does what is left after the installation of packages.
pub fn finish(host: &Host, journal: &mut Journal) -> Result<()> {
    let Some(PayloadRecord::Packages(record)) = journal.payload().cloned() else { return Ok(()) };
    match record.manager {
        Manager::RpmOstree => ostree::finish_live(host, journal, record),
        Manager::Rpm => {
            let mut record = record;
            record.end(&packages::installed(host)?);
            packages::forget_offer(host)?;
            journal.set_payload(Some(PayloadRecord::Packages(record)))
        }
    }
}

/// Removes what was installed.
pub fn remove(host: &Host, journal: &mut Journal) -> Result<()> {
    match journal.payload().cloned() {
        None => Ok(()),
        Some(PayloadRecord::Bundle { .. }) => {
            bundle::remove(host)?;
            journal.set_payload(None)
        }
        Some(PayloadRecord::Packages(record)) => {
            journal.require_restart()?;
            remove_packages(host, journal, record)
        }
    }
}

fn remove_packages(host: &Host, journal: &mut Journal, record: Packages) -> Result<()> {
    match record.manager {
        Manager::Rpm => packages::remove(host, journal, record),
        Manager::RpmOstree => ostree::remove(host, journal, &record),
    }
}
