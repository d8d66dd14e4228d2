//! What kind of host this is: architecture, operating system, container runtime.

use crate::error::{Error, Result};
use crate::host::Host;

/// What the Node object says about its machine (`status.nodeInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// For instance `amd64`.
    pub architecture: String,
    /// For instance `containerd://1.7.27-k3s1`.
    pub runtime: String,
    /// For instance `v1.33.1+k3s1`.
    pub kubelet: String,
}

/// An architecture that Kata is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Intel and AMD.
    Amd64,
    /// ARM.
    Arm64,
    /// IBM Z and LinuxONE.
    S390x,
}

impl Architecture {
    /// Machine number in the header of an ELF file.
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
            Self::S390x => 22,
        }
    }

    /// Name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::S390x => "s390x",
        }
    }

    /// The architecture of an ELF file, as far as it is one of these.
    pub fn of_elf(header: &[u8]) -> Option<Self> {
        let [0x7f, b'E', b'L', b'F', _, order, ..] = header else { return None };
        let number: [u8; 2] = header.get(18..20)?.try_into().ok()?;
        let machine = if *order == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        [Self::Amd64, Self::Arm64, Self::S390x].into_iter().find(|one| one.elf_machine() == machine)
    }
}

/// How software comes to the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// As images with layered packages: RHEL CoreOS, Fedora CoreOS.
    RpmOstree,
    /// As packages: RHEL, CentOS Stream, Fedora.
    Rpm,
    /// Otherwise: Debian, Ubuntu, SLE, Flatcar and so on.
    Other,
}

/// A distribution of Kubernetes with a containerd of its own, whose configuration it writes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rancher {
    /// k3s.
    K3s,
    /// RKE2.
    Rke2,
}

impl Rancher {
    /// Name of its folder and the stem of its services.
    pub fn name(self) -> &'static str {
        match self {
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
        }
    }
}

/// The container runtime that the kubelet uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// CRI-O.
    Crio,
    /// containerd, configured in `/etc/containerd`.
    Containerd,
    /// containerd inside of k3s or RKE2.
    Rancher(Rancher),
}

/// A host that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its architecture.
    pub architecture: Architecture,
    /// Its operating system.
    pub system: System,
    /// Its container runtime.
    pub runtime: RuntimeKind,
}

impl Platform {
    /// Finds out, or refuses what is not served.
    pub fn detect(host: &Host, node: &NodeInfo) -> Result<Self> {
        Ok(Self { architecture: architecture(node)?, system: system(host)?, runtime: runtime(host, node)? })
    }
}

fn architecture(node: &NodeInfo) -> Result<Architecture> {
    match node.architecture.as_str() {
        "amd64" => Ok(Architecture::Amd64),
        "arm64" => Ok(Architecture::Arm64),
        "s390x" => Ok(Architecture::S390x),
        other => Err(Error::Refused(format!(
            "this node's architecture is {other:?}; Kata is served on amd64, arm64 and s390x: keep the node out of the \
             KataConfig's selector"
        ))),
    }
}

fn system(host: &Host) -> Result<System> {
    if host.exists("/run/ostree-booted")? {
        if host.has("rpm-ostree")? {
            return Ok(System::RpmOstree);
        }
        return Ok(System::Other);
    }
    let by_packages = host.has("rpm")? && (host.has("dnf")? || host.has("yum")? || is_of_red_hat(host)?);
    Ok(if by_packages { System::Rpm } else { System::Other })
}

/// Debian has a program rpm, too; that makes it no host of packages in that format.
fn is_of_red_hat(host: &Host) -> Result<bool> {
    let release = host.read_text("/etc/os-release")?.unwrap_or_default();
    let fields = release.lines().filter_map(|line| line.split_once('='));
    let names = fields.filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE")).flat_map(|(_, value)| {
        value.trim_matches(['"', '\'']).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    Ok(names.into_iter().any(|name| matches!(name.as_str(), "rhel" | "fedora" | "centos")))
}

fn runtime(host: &Host, node: &NodeInfo) -> Result<RuntimeKind> {
    let name = node.runtime.split("://").next().unwrap_or_default();
    match name {
        "cri-o" => Ok(RuntimeKind::Crio),
        "containerd" => {
            for rancher in [Rancher::K3s, Rancher::Rke2] {
                let folder = format!("/var/lib/rancher/{}/agent/etc/containerd", rancher.name());
                if node.kubelet.contains(&format!("+{}", rancher.name())) && host.is_dir(&folder)? {
                    return Ok(RuntimeKind::Rancher(rancher));
                }
            }
            Ok(RuntimeKind::Containerd)
        }
        _ => Err(Error::Refused(format!(
            "the container runtime of this node is {:?} (status.nodeInfo.containerRuntimeVersion of the Node); osc-node \
             knows CRI-O and containerd: keep the node out of the KataConfig's selector",
            node.runtime
        ))),
    }
}
