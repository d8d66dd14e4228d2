//! Packages layered by rpm-ostree: live where that goes, otherwise with the next start of the machine.

use serde::Deserialize;

use super::packages::{self, MAIN, Offer, Packages, Versions};
use crate::error::{Error, Result};
use crate::host::{COMMAND_LIMIT, Host, PACKAGES_LIMIT};
use crate::journal::{Journal, Part};
use crate::payload::PayloadRecord;

/// The guest's kernel, which Kata's package makes on the host.
const GUEST_KERNEL: &str = "/var/cache/kata-containers/osbuilder-images/kata.kernel";
/// What makes it.
const GUEST_SERVICE: &str = "kata-osbuilder-generate.service";

#[derive(Deserialize)]
struct Status {
    deployments: Vec<Deployment>,
}

#[derive(Deserialize)]
struct Deployment {
    #[serde(default)]
    booted: bool,
    #[serde(default)]
    staged: bool,
    /// Layered from repositories.
    #[serde(default, rename = "requested-packages")]
    packages: Vec<String>,
    /// Layered from files, as name, version, release and architecture.
    #[serde(default, rename = "requested-local-packages")]
    local_packages: Vec<String>,
}

impl Deployment {
    fn has(&self, name: &str, version: &str) -> bool {
        let full = format!("{name}-{version}");
        let is_it = |package: &String| *package == full || package.starts_with(&format!("{full}."));
        self.local_packages.iter().any(is_it)
            || (version.is_empty() && self.packages.iter().any(|one| one == name))
    }

    fn has_all(&self, wanted: &Versions) -> bool {
        !wanted.is_empty() && wanted.iter().all(|(name, version)| self.has(name, version))
    }

    fn requested(&self, name: &str) -> Option<&String> {
        let stem = format!("{name}-");
        let is_it = |package: &&String| {
            package.strip_prefix(&stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        self.local_packages
            .iter()
            .find(is_it)
            .or_else(|| self.packages.iter().find(|package| *package == name))
    }
}

fn status(host: &Host) -> Result<Vec<Deployment>> {
    let text = host.ask(&["rpm-ostree", "status", "--json"])?;
    let status: Status = serde_json::from_str(&text).map_err(|error| {
        Error::Refused(format!("`rpm-ostree status --json` of the host tells something else: {error}"))
    })?;
    Ok(status.deployments)
}

/// Whether what is wanted comes with the next start of the machine.
pub fn is_staged(host: &Host, wanted: &Versions) -> Result<bool> {
    Ok(status(host)?.iter().any(|one| one.staged && one.has_all(wanted)))
}

/// Whether the machine was started with what is wanted: nothing is left to do by hand then.
fn is_booted(host: &Host, wanted: &Versions) -> Result<bool> {
    Ok(status(host)?.iter().any(|one| one.booted && one.has_all(wanted)))
}

/// Installs. Whether it is there now; otherwise it is with the next start of the machine.
pub fn install(host: &Host, journal: &mut Journal, mut record: Packages, offer: &Offer) -> Result<bool> {
    let there = packages::installed(host)?;
    let deployments = status(host)?;
    record.wanted.clone_from(&offer.versions);
    record.live_done = false;
    for name in offer.versions.keys().filter(|name| !is_of_others(&deployments, name)) {
        if !record.ours.contains(name) {
            record.ours.push(name.clone());
        }
    }
    journal.set_payload(Some(PayloadRecord::Packages(record)))?;
    if deployments.iter().any(|one| one.staged && !one.has_all(&offer.versions)) {
        // A removal of ours, or another version. What others staged is layered anew from the same origin.
        host.change(&["rpm-ostree", "cleanup", "--pending"], PACKAGES_LIMIT)?;
    }
    let missing = offer.missing(&there);
    let outdated: Vec<String> = deployments
        .iter()
        .filter(|one| one.booted)
        .flat_map(|one| {
            offer.versions.iter().filter_map(|(name, version)| {
                if one.has(name, version) {
                    None
                } else {
                    one.requested(name).map(|old| format!("--uninstall={old}"))
                }
            })
        })
        .collect();
    if !missing.is_empty() {
        layer(host, &missing, &outdated)?;
    }
    let now = packages::installed(host)?;
    packages::forget_offer(host)?;
    Ok(packages::are_there(&offer.versions, &now))
}

/// Whether somebody else layered a package. One that is being removed with the next start was ours.
fn is_of_others(deployments: &[Deployment], name: &str) -> bool {
    let is_layered = deployments.iter().any(|one| one.booted && one.requested(name).is_some());
    let is_leaving = deployments.iter().any(|one| one.staged && one.requested(name).is_none());
    is_layered && !is_leaving
}

fn layer(host: &Host, packages: &[String], outdated: &[String]) -> Result<()> {
    let common = ["rpm-ostree", "install", "--assumeyes", "--idempotent"];
    let rest = || outdated.iter().chain(packages).map(String::as_str);
    let live: Vec<&str> = common.into_iter().chain(["--apply-live"]).chain(rest()).collect();
    match host.change(&live, PACKAGES_LIMIT) {
        Ok(_) => return Ok(()),
        Err(Error::Command { output, .. }) => tracing::warn!(
            why = output,
            "the packages cannot be applied live; they are staged for the next start of the machine"
        ),
        Err(other) => return Err(other),
    }
    let staged: Vec<&str> = common.into_iter().chain(rest()).collect();
    host.change(&staged, PACKAGES_LIMIT).map(|_| ())
}

/// What a live installation leaves to do: configuration in `/etc`, scripts of the packages, policy of SELinux.
pub fn finish_live(host: &Host, journal: &mut Journal, mut record: Packages) -> Result<()> {
    if record.live_done {
        return Ok(());
    }
    copy_configuration(host, journal, &record)?;
    if !is_booted(host, &record.wanted)? {
        run_scripts(host)?;
    }
    record.live_done = true;
    journal.set_payload(Some(PayloadRecord::Packages(record)))
}

/// Live layers change `/usr` only, and a file that was removed from `/etc` before does not come back by itself.
fn copy_configuration(host: &Host, journal: &mut Journal, record: &Packages) -> Result<()> {
    for name in &record.ours {
        let listing = host.ask(&["rpm", "--query", "--list", name])?;
        for path in listing.lines().filter(|path| path.starts_with("/etc/")) {
            let shipped = format!("/usr{path}");
            if host.is_dir(&shipped)? {
                continue;
            }
            let Some(content) = host.read(&shipped)? else { continue };
            if host.exists(path)? {
                journal.adopt(path, Part::Package)?;
            } else {
                journal.put(path, &content, Part::Package, crate::journal::Existing::Refuse, None)?;
            }
        }
    }
    Ok(())
}

fn run_scripts(host: &Host) -> Result<()> {
    for script in ["%{POSTIN}", "%{POSTTRANS}"] {
        let text = host.ask(&["rpm", "--query", "--queryformat", script, MAIN])?;
        if !text.trim().is_empty() && text.trim() != "(none)" {
            // The argument says that it is the first installation.
            host.change(&["/bin/sh", "-c", &text, MAIN, "1"], PACKAGES_LIMIT)?;
        }
    }
    if host.exists("/sys/fs/selinux/enforce")? && host.has("load_policy")? {
        host.change(&["load_policy"], COMMAND_LIMIT)?;
    }
    if !host.exists(GUEST_KERNEL)? && host.exists(&format!("/usr/lib/systemd/system/{GUEST_SERVICE}"))? {
        host.change(&["systemctl", "start", GUEST_SERVICE], PACKAGES_LIMIT)?;
    }
    Ok(())
}

/// Removes what came with us, with the next start of the machine.
pub fn remove(host: &Host, journal: &mut Journal, record: &Packages) -> Result<()> {
    let deployments = status(host)?;
    // The first deployment is the one of the next start.
    if let Some(next) = deployments.first() {
        let layered = record.wanted.keys().filter(|name| record.ours.contains(*name));
        let ours: Vec<&str> = layered.filter_map(|name| next.requested(name)).map(String::as_str).collect();
        if !ours.is_empty() {
            let command: Vec<&str> =
                ["rpm-ostree", "uninstall", "--assumeyes"].into_iter().chain(ours).collect();
            host.change(&command, PACKAGES_LIMIT)?;
        }
    }
    packages::forget_offer(host)?;
    journal.set_payload(None)
}
