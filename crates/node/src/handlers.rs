//! Which handlers a payload brings: those whose configuration of Kata is there.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::payload::{Payload, bundle};

/// The program that container runtimes start, from packages.
const PACKAGED_SHIM: &str = "/usr/bin/containerd-shim-kata-v2";
/// Where a bundle keeps its configurations.
const IN_BUNDLE: &str = "/opt/kata/share/defaults/kata-containers";

/// A way to run pods, known to the container runtime by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Name in a RuntimeClass.
    pub name: &'static str,
    /// The program that is started.
    pub shim: &'static str,
    /// Configuration of Kata.
    pub config: String,
}

impl Handler {
    /// Whether images are pulled inside of the virtual machine.
    pub fn pulls_in_guest(&self) -> bool {
        self.name == "kata-remote"
    }
}

/// A handler, and where its configuration may be: in a bundle, and from packages.
struct Known {
    name: &'static str,
    bundle: &'static str,
    packages: &'static [&'static str],
}

const KNOWN: [Known; 6] = [
    Known {
        name: "kata",
        bundle: "configuration.toml",
        packages: &[
            "/etc/kata-containers/configuration.toml",
            "/usr/share/kata-containers/defaults/configuration.toml",
        ],
    },
    Known {
        name: "kata-remote",
        bundle: "configuration-remote.toml",
        packages: &[
            "/opt/kata/configuration-remote.toml",
            "/etc/kata-containers/kata-remote/configuration.toml",
        ],
    },
    Known {
        name: "kata-nvidia-gpu",
        bundle: "configuration-qemu-nvidia-gpu.toml",
        packages: &["/etc/kata-containers/kata-nvidia-gpu/configuration.toml"],
    },
    Known {
        name: "kata-tdx",
        bundle: "configuration-qemu-tdx.toml",
        packages: &["/etc/kata-containers/kata-tdx/configuration.toml"],
    },
    Known {
        name: "kata-snp",
        bundle: "configuration-qemu-snp.toml",
        packages: &["/etc/kata-containers/kata-snp/configuration.toml"],
    },
    Known {
        name: "kata-se",
        bundle: "configuration-qemu-se.toml",
        packages: &["/etc/kata-containers/kata-se/configuration.toml"],
    },
];

/// The handlers of what is installed. Without `kata` the payload is refused: it would install nothing.
pub fn of(host: &Host, payload: &Payload) -> Result<Vec<Handler>> {
    let mut found = Vec::new();
    for known in &KNOWN {
        let (shim, places) = match payload {
            Payload::Bundle(_) => (bundle::SHIM, vec![format!("{IN_BUNDLE}/{}", known.bundle)]),
            Payload::Packages { .. } => {
                (PACKAGED_SHIM, known.packages.iter().map(|path| (*path).to_owned()).collect())
            }
        };
        for config in places {
            if host.exists(&config)? {
                found.push(Handler { name: known.name, shim, config });
                break;
            }
        }
    }
    if found.first().is_some_and(|first| first.name == "kata") {
        return Ok(found);
    }
    let place = match payload {
        Payload::Bundle(_) => format!("{IN_BUNDLE}/configuration.toml of the bundle"),
        Payload::Packages { .. } => KNOWN[0].packages.join(" or "),
    };
    Err(Error::Refused(format!("the handler kata has no configuration on this node: {place} is missing")))
}

/// Whether that is the name of one of Kata's handlers.
pub fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| known.name == name)
}
