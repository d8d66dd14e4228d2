//! What libvirt tells in XML of the host, of pools and of volumes.

use roxmltree::{Document, Node};

use crate::{Error, Kind};

/// A host that runs domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) arch: Arch,
    /// Whether the processor helps. Without, everything is emulated.
    pub(super) kvm: bool,
    /// The machine type in full, where the architecture's short name is only an alias.
    pub(super) machine: Option<String>,
}

/// An architecture that pod VMs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86,
    S390x,
    Arm,
}

impl Arch {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::S390x => "s390x",
            Self::Arm => "aarch64",
        }
    }

    pub(super) fn machine(self) -> Option<&'static str> {
        match self {
            Self::X86 => None,
            Self::S390x => Some("s390-ccw-virtio"),
            Self::Arm => Some("virt"),
        }
    }
}

/// Of a storage pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolFacts {
    /// Where its volumes are.
    pub(super) path: String,
}

/// Of a storage volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VolumeFacts {
    pub(super) path: String,
    /// Size as a guest sees it, in bytes.
    pub(super) capacity: u64,
    /// Size on the host, in bytes.
    pub(super) allocation: u64,
    pub(super) format: String,
    /// What it is based on.
    pub(super) backing: Option<String>,
}

/// From `capabilities`.
pub(super) fn host(xml: &str) -> Result<Host, Error> {
    let document = parse("the host's capabilities", xml)?;
    let root = document.root_element();
    let arch = text(root, &["host", "cpu", "arch"]).unwrap_or_default();
    let arch = match arch {
        "x86_64" => Arch::X86,
        "s390x" => Arch::S390x,
        "aarch64" => Arch::Arm,
        other => {
            return Err(Error::Unsupported(format!(
                "the host of LIBVIRT_URI is of architecture {other:?}; pod VMs are x86_64, s390x or aarch64"
            )));
        }
    };
    let guest = root
        .children()
        .filter(|node| node.has_tag_name("guest") && text(*node, &["os_type"]) == Some("hvm"))
        .filter_map(|guest| child(guest, "arch"))
        .find(|node| node.attribute("name") == Some(arch.name()));
    let Some(guest) = guest else {
        return Err(Error::Unsupported(format!(
            "the host of LIBVIRT_URI has no QEMU for {}; install it there (qemu-kvm)",
            arch.name()
        )));
    };
    let kvm =
        guest.children().any(|node| node.has_tag_name("domain") && node.attribute("type") == Some("kvm"));
    let machine = arch.machine().map(|short| {
        let machines = guest.descendants().filter(|node| node.has_tag_name("machine"));
        let canonical =
            machines.filter(|node| node.text() == Some(short)).find_map(|node| node.attribute("canonical"));
        canonical.unwrap_or(short).to_owned()
    });
    Ok(Host { arch, kvm, machine })
}

/// From `pool-dumpxml`.
pub(super) fn pool(xml: &str) -> Result<PoolFacts, Error> {
    let document = parse("a storage pool", xml)?;
    let path = text(document.root_element(), &["target", "path"]);
    let path = path.ok_or_else(|| Error::Setting {
        key: "LIBVIRT_POOL",
        problem: "is a pool without a path; pod VMs need one whose volumes are files or block devices"
            .to_owned(),
    })?;
    Ok(PoolFacts { path: path.to_owned() })
}

/// From `net-dumpxml`: why machines of other hosts do not reach those of this network, if that is so.
pub(super) fn unreachable_network(xml: &str) -> Result<Option<&'static str>, Error> {
    let document = parse("a network", xml)?;
    let forward =
        child(document.root_element(), "forward").map(|node| node.attribute("mode").unwrap_or("nat"));
    Ok(match forward {
        None => Some("has no way to other hosts"),
        Some("nat") => Some("is behind address translation"),
        Some(_) => None,
    })
}

/// From `vol-dumpxml`.
pub(super) fn volume(xml: &str) -> Result<VolumeFacts, Error> {
    let document = parse("a storage volume", xml)?;
    let root = document.root_element();
    let size = |name| text(root, &[name]).and_then(|text| text.trim().parse().ok());
    let format = child(root, "target").and_then(|target| child(target, "format"));
    Ok(VolumeFacts {
        path: text(root, &["target", "path"]).unwrap_or_default().to_owned(),
        capacity: size("capacity").unwrap_or(0),
        allocation: size("allocation").unwrap_or(0),
        format: format.and_then(|node| node.attribute("type")).unwrap_or("raw").to_owned(),
        backing: text(root, &["backingStore", "path"]).map(str::to_owned),
    })
}

pub(super) fn parse<'a>(what: &str, xml: &'a str) -> Result<Document<'a>, Error> {
    Document::parse(xml).map_err(|error| Error::Refused {
        kind: Kind::Libvirt,
        action: format!("describe {what} in a way that is understood"),
        message: error.to_string(),
    })
}

pub(super) fn child<'a, 'd>(node: Node<'a, 'd>, name: &str) -> Option<Node<'a, 'd>> {
    node.children().find(|child| child.tag_name().name() == name)
}

fn text<'a>(node: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(node, |node, name| child(node, name)).and_then(|node| node.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(arch: &str, domains: &str) -> String {
        format!(
            "<capabilities><host><cpu><arch>{arch}</arch></cpu></host>
             <guest><os_type>hvm</os_type><arch name='i686'><domain type='qemu'/></arch></guest>
             <guest><os_type>hvm</os_type><arch name='{arch}'>
               <machine maxCpus='240'>s390-ccw-virtio-8.2</machine>
               <machine canonical='s390-ccw-virtio-8.2' maxCpus='240'>s390-ccw-virtio</machine>
               <machine canonical='virt-8.2' maxCpus='240'>virt</machine>{domains}
             </arch></guest></capabilities>"
        )
    }

    #[test]
    fn machine_types_are_told_in_full() {
        let kvm = "<domain type='qemu'/><domain type='kvm'/>";
        assert_eq!(
            host(&capabilities("s390x", kvm)).unwrap(),
            Host { arch: Arch::S390x, kvm: true, machine: Some("s390-ccw-virtio-8.2".into()) }
        );
        assert_eq!(host(&capabilities("aarch64", kvm)).unwrap().machine.as_deref(), Some("virt-8.2"));
        let emulated = host(&capabilities("x86_64", "<domain type='qemu'/>")).unwrap();
        assert_eq!(emulated, Host { arch: Arch::X86, kvm: false, machine: None });
    }

    #[test]
    fn other_hosts_are_refused_in_words() {
        let error = host(&capabilities("ppc64le", "")).unwrap_err().to_string();
        assert!(error.contains("ppc64le"), "{error}");
        let none = "<capabilities><host><cpu><arch>s390x</arch></cpu></host></capabilities>";
        assert!(host(none).unwrap_err().to_string().contains("no QEMU for s390x"));
        assert!(host("<capabilities>").unwrap_err().to_string().contains("capabilities"));
    }

    #[test]
    fn networks_that_end_at_the_host() {
        for (forward, told) in [
            ("", Some("has no way to other hosts")),
            ("<forward/>", Some("is behind address translation")),
            ("<forward mode='nat'/>", Some("is behind address translation")),
            ("<forward mode='route'/>", None),
            ("<forward mode='bridge'/>", None),
        ] {
            let xml = format!("<network><name>pods</name>{forward}</network>");
            assert_eq!(unreachable_network(&xml).unwrap(), told, "{forward}");
        }
    }

    #[test]
    fn volumes_and_pools() {
        let xml = "<volume type='file'><name>a</name><capacity unit='bytes'>1024</capacity><allocation>512</allocation>
            <target><path>/p/a</path><format type='qcow2'/></target>
            <backingStore><path>/p/base</path></backingStore></volume>";
        let facts = volume(xml).unwrap();
        assert_eq!((facts.capacity, facts.allocation, facts.format.as_str()), (1024, 512, "qcow2"));
        assert_eq!((facts.path.as_str(), facts.backing.as_deref()), ("/p/a", Some("/p/base")));
        assert_eq!(pool("<pool type='dir'><target><path>/p</path></target></pool>").unwrap().path, "/p");
        assert!(pool("<pool type='iscsi'/>").unwrap_err().to_string().starts_with("LIBVIRT_POOL"));
    }
}
