//! What the keys of `peer-pods-cm` and `peer-pods-secret` mean for libvirt.

use osc_api::peerpods::keys;

use super::wire::Endpoint;
use crate::{Account, Error, Kind};

/// The settings, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) pool: String,
    pub(super) network: String,
    /// The volume with the image, and the key that names it. None: no image was made yet.
    pub(super) image: Option<(String, &'static str)>,
    pub(super) cpus: u32,
    pub(super) memory_mib: u64,
    pub(super) cpuset: Option<String>,
    pub(super) root_gib: u64,
    pub(super) firmware: Option<String>,
    /// IBM Secure Execution, said by name and not only by the image.
    pub(super) secure_execution: bool,
}

impl Settings {
    pub(super) fn read(account: &Account) -> Result<Self, Error> {
        let image = ["LIBVIRT_IMAGE_ID", "LIBVIRT_VOL_NAME"];
        let cpuset = account.get("LIBVIRT_CPUSET").map(str::to_owned);
        if let Some(set) = &cpuset
            && !set.chars().all(|c| c.is_ascii_digit() || ",-^".contains(c))
        {
            let problem = format!("is {set:?}, and has to name CPUs like 0-3,8");
            return Err(Error::Setting { key: "LIBVIRT_CPUSET", problem });
        }
        Ok(Self {
            endpoint: Endpoint::parse(account.need("LIBVIRT_URI")?, account.ssh_identity.as_deref())?,
            pool: account.need("LIBVIRT_POOL")?.to_owned(),
            network: text(account, "LIBVIRT_NET")?.to_owned(),
            image: image.into_iter().find_map(|key| Some((account.get(key)?.to_owned(), key))),
            cpus: number(account, "LIBVIRT_CPU")?,
            memory_mib: number(account, "LIBVIRT_MEMORY")?,
            cpuset,
            root_gib: number(account, "LIBVIRT_ROOT_DISK_SIZE")?,
            firmware: account.get("LIBVIRT_EFI_FIRMWARE").map(str::to_owned),
            secure_execution: secure_execution(account)?,
        })
    }
}

fn secure_execution(account: &Account) -> Result<bool, Error> {
    match account.get("LIBVIRT_LAUNCH_SECURITY") {
        None => Ok(false),
        Some("s390-pv") => Ok(true),
        Some(other) => Err(Error::Setting {
            key: "LIBVIRT_LAUNCH_SECURITY",
            problem: format!(
                "is {other}, which this release cannot give to pod VMs; remove it, or say s390-pv on IBM Z with Secure \
                 Execution"
            ),
        }),
    }
}

/// A value, or what the table of keys says that holds without one.
fn text<'a>(account: &'a Account, key: &'static str) -> Result<&'a str, Error> {
    let default = || keys::settings(Kind::Libvirt).find(|one| one.name == key).and_then(|one| one.default);
    account.get(key).or_else(default).map_or_else(|| account.need(key), Ok)
}

fn number<T: std::str::FromStr + Default + PartialEq>(
    account: &Account,
    key: &'static str,
) -> Result<T, Error> {
    let value = text(account, key)?;
    match value.parse() {
        Ok(number) if number != T::default() => Ok(number),
        _ => Err(Error::Setting {
            key,
            problem: format!("is {value:?}, and has to be a whole number above 0"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new(Kind::Libvirt)
            .credential("LIBVIRT_URI", "qemu:///system")
            .setting("LIBVIRT_POOL", "pods")
            .setting("LIBVIRT_VOL_NAME", "podvm.qcow2")
    }

    #[test]
    fn defaults_are_those_of_the_table_of_keys() {
        let settings = Settings::read(&account()).unwrap();
        assert_eq!((settings.cpus, settings.memory_mib, settings.root_gib), (2, 8192, 10));
        assert_eq!(settings.network, "default");
        assert_eq!(settings.image, Some(("podvm.qcow2".into(), "LIBVIRT_VOL_NAME")));
        assert!(!settings.secure_execution && settings.firmware.is_none() && settings.cpuset.is_none());
    }

    #[test]
    fn the_image_that_the_job_made_comes_first() {
        let account =
            account().setting("LIBVIRT_IMAGE_ID", "new.qcow2").setting("LIBVIRT_LAUNCH_SECURITY", "s390-pv");
        let settings = Settings::read(&account).unwrap();
        assert_eq!(settings.image, Some(("new.qcow2".into(), "LIBVIRT_IMAGE_ID")));
        assert!(settings.secure_execution);
    }

    #[test]
    fn values_that_cannot_be_are_told_by_their_key() {
        for (key, value, told) in [
            ("LIBVIRT_CPU", "two", "whole number"),
            ("LIBVIRT_CPU", "0", "whole number"),
            ("LIBVIRT_MEMORY", "-1", "whole number"),
            ("LIBVIRT_ROOT_DISK_SIZE", "10G", "whole number"),
            ("LIBVIRT_CPUSET", "0-3' pwned='1", "CPUs like"),
            ("LIBVIRT_LAUNCH_SECURITY", "tdx", "remove it"),
            ("LIBVIRT_URI", "xen:///", "driver xen"),
            ("LIBVIRT_POOL", "", "is not set"),
        ] {
            let error = Settings::read(&account().setting(key, value)).map(|_| ());
            // The URI is taken from the settings, too, where someone put it there.
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains(told), "{error}");
        }
    }
}
