//! The kernel of an add-on image for IBM Secure Execution.

use toml_edit::{DocumentMut, Item, value};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::{Existing, FOLDER, Journal, Part};
use crate::payload::image;
use crate::settings::{Settings, said};

/// Where the kernel goes; a guest of Kata is started from there.
const FOLDER_OF_KATA: &str = "/etc/kata-containers";
/// The configuration that names it.
const CONFIG: &str = "/etc/kata-containers/kata-se/configuration.toml";
const COPIED: &str = "/var/lib/osc-node/addon-kernel";

/// The add-on that is asked for.
pub struct Addon<'a> {
    image: &'a str,
    path: &'a str,
    target: String,
}

impl<'a> Addon<'a> {
    /// From the settings; none if none is asked for.
    pub fn wanted(settings: &'a Settings) -> Result<Option<Self>> {
        let Some(image) = said(&settings.addon_image) else { return Ok(None) };
        let path = said(&settings.addon_kernel_path);
        let name = path.and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
        let (Some(path), Some(name)) = (path, name) else {
            return Err(Error::Refused(format!(
                "config map kata-addon-artifacts names the image {image}, but no kernel in it: set `addonKernelPath` to \
                 the kernel's path there"
            )));
        };
        Ok(Some(Self { image, path, target: format!("{FOLDER_OF_KATA}/{name}") }))
    }
}

/// Whether the add-on is not as asked for.
pub fn differs(host: &Host, settings: &Settings, journal: &Journal) -> Result<bool> {
    match Addon::wanted(settings)? {
        None => Ok(journal.has(Part::Addon) || journal.addon().is_some()),
        Some(addon) => Ok(journal.addon() != Some(addon.image)
            || !host.exists(&addon.target)?
            || kernel(&config(host)?).as_deref() != Some(addon.target.as_str())),
    }
}

/// Puts the kernel in place and names it in the configuration, or takes both back.
pub fn apply(host: &Host, settings: &Settings, journal: &mut Journal) -> Result<()> {
    let Some(addon) = Addon::wanted(settings)? else {
        journal.restore(&[Part::Addon])?;
        return journal.set_addon(None);
    };
    let mut edited = config(host)?;
    host.create_dir(FOLDER)?;
    host.remove_tree(COPIED)?;
    host.create_dir(COPIED)?;
    let copied = format!("{COPIED}/kernel");
    image::copy(host, settings, addon.image, addon.path, &copied)?;
    let Some(content) = host.read(&copied)? else {
        return Err(Error::Refused(format!("{} in image {} is no file", addon.path, addon.image)));
    };
    journal.put(&addon.target, &content, Part::Addon, Existing::Replace, None)?;
    set_kernel(&mut edited, &addon.target)?;
    journal.put(
        CONFIG,
        edited.to_string().as_bytes(),
        Part::Addon,
        Existing::Replace,
        Some(&addon.target),
    )?;
    host.remove_tree(COPIED)?;
    journal.set_addon(Some(addon.image))
}

fn config(host: &Host) -> Result<DocumentMut> {
    let Some(text) = host.read_text(CONFIG)? else {
        return Err(Error::Refused(format!(
            "config map kata-addon-artifacts asks for a kernel for IBM Secure Execution, but this node has no {CONFIG}: \
             Kata was installed without it"
        )));
    };
    text.parse()
        .map_err(|error| Error::Refused(format!("{CONFIG} of the host is no TOML that can be read: {error}")))
}

fn kernel(config: &DocumentMut) -> Option<String> {
    Some(config.get("hypervisor")?.get("qemu")?.get("kernel")?.as_str()?.to_owned())
}

fn set_kernel(config: &mut DocumentMut, path: &str) -> Result<()> {
    let qemu =
        config.get_mut("hypervisor").and_then(|all| all.get_mut("qemu")).and_then(Item::as_table_like_mut);
    let Some(qemu) = qemu else {
        return Err(Error::Refused(format!("{CONFIG} of the host has no table [hypervisor.qemu]")));
    };
    match qemu.get_mut("kernel").and_then(Item::as_value_mut) {
        // What stands before and behind it, such as a comment, stays.
        Some(kernel) => {
            let decor = kernel.decor().clone();
            *kernel = path.into();
            *kernel.decor_mut() = decor;
        }
        None => {
            qemu.insert("kernel", value(path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_is_changed() {
        let text = "# Kata\n[hypervisor.qemu]\npath = \"/usr/libexec/qemu\" # q\nkernel = \"/old\"  # k\nimage = \"\"\n";
        let mut config: DocumentMut = text.parse().unwrap();
        set_kernel(&mut config, "/etc/kata-containers/se.img").unwrap();
        assert_eq!(config.to_string(), text.replace("/old", "/etc/kata-containers/se.img"));
        assert_eq!(kernel(&config).as_deref(), Some("/etc/kata-containers/se.img"));
        assert!(set_kernel(&mut "[other]\n".parse().unwrap(), "/x").is_err());
    }
}
