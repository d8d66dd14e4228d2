//! The domain of a pod VM in XML: as it is to be, and what is read back.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::host::{Arch, Host, child, parse};
use crate::{Error, Tags};

/// Namespace of our element in a domain's metadata.
const NAMESPACE: &str = "urn:openshift-sandboxed-containers:podvm:1";

/// A domain as it is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) marks: &'a Marks,
    pub(super) host: &'a Host,
    pub(super) cpus: u32,
    pub(super) cpuset: Option<&'a str>,
    pub(super) memory_mib: u64,
    pub(super) firmware: Option<&'a str>,
    pub(super) secure_execution: bool,
    pub(super) root: &'a str,
    pub(super) seed: &'a str,
    pub(super) network: &'a str,
}

/// What a domain's metadata says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) tags: Tags,
    pub(super) created: Option<Timestamp>,
    /// Pool of its volumes.
    pub(super) pool: Option<String>,
    /// SHA-256 of what it was told at its start.
    pub(super) told: Option<String>,
}

/// What of a domain's XML is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) marks: Marks,
    /// Files and block devices of its disks.
    pub(super) disks: Vec<String>,
}

/// Name of the volume with its root disk.
pub(super) fn root_volume(name: &str) -> String {
    format!("{name}-root.qcow2")
}

/// Name of the volume with what it is told.
pub(super) fn seed_volume(name: &str) -> String {
    format!("{name}-cloudinit.iso")
}

/// The name of the machine that a volume of that name is of.
pub(super) fn owner_of(volume: &str) -> Option<&str> {
    volume
        .strip_suffix("-root.qcow2")
        .or_else(|| volume.strip_suffix("-cloudinit.iso"))
        .filter(|name| crate::is_vm_name(name))
}

/// Text for XML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // No such character can be in XML; none of them is in a name that Kubernetes allows.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Plan<'_> {
    /// As libvirt defines it.
    pub(super) fn xml(&self) -> String {
        let kind = if self.host.kvm { "kvm" } else { "qemu" };
        let placement = self.cpuset.map_or_else(String::new, |set| format!(" cpuset='{}'", escape(set)));
        format!(
            "<domain type='{kind}'>\n  <name>{name}</name>\n{metadata}  <memory unit='MiB' dumpCore='on'>{memory}</memory>\n  \
             <vcpu{placement}>{cpus}</vcpu>\n{os}{features}{cpu}  <on_reboot>restart</on_reboot>\n{security}  \
             <devices>\n{disks}{network}{devices}  </devices>\n</domain>\n",
            name = escape(self.name),
            metadata = self.metadata(),
            memory = self.memory_mib,
            cpus = self.cpus,
            os = self.os(),
            features = self.features(),
            cpu = self.cpu(),
            security = if self.secure_execution { "  <launchSecurity type='s390-pv'/>\n" } else { "" },
            disks = self.disks(),
            network = self.network(),
            devices = self.devices(),
        )
    }

    fn metadata(&self) -> String {
        let mut out = format!("  <metadata>\n    <osc:podvm xmlns:osc='{NAMESPACE}'>\n");
        for (key, value) in self.marks.tags.pairs() {
            let _ = writeln!(out, "      <osc:tag key='{key}'>{}</osc:tag>", escape(value));
        }
        let Marks { created, pool, told, .. } = self.marks;
        let created = created.map(|time| time.to_string());
        for (name, value) in [("created", &created), ("pool", pool), ("told", told)] {
            if let Some(value) = value {
                let _ = writeln!(out, "      <osc:{name}>{}</osc:{name}>", escape(value));
            }
        }
        out.push_str("    </osc:podvm>\n  </metadata>\n");
        out
    }

    fn os(&self) -> String {
        let arch = self.host.arch;
        let machine = self
            .host
            .machine
            .as_ref()
            .map_or_else(String::new, |name| format!(" machine='{}'", escape(name)));
        let kind = format!("<type arch='{}'{machine}>hvm</type>", arch.name());
        match (arch, self.firmware) {
            (Arch::S390x, _) | (Arch::X86, None) => format!("  <os>\n    {kind}\n  </os>\n"),
            (Arch::Arm, None) => format!("  <os firmware='efi'>\n    {kind}\n  </os>\n"),
            (_, Some(path)) => format!(
                "  <os>\n    {kind}\n    <loader readonly='yes' type='pflash'>{}</loader>\n  </os>\n",
                escape(path)
            ),
        }
    }

    fn features(&self) -> &'static str {
        match self.host.arch {
            Arch::X86 => "  <features>\n    <acpi/>\n    <apic/>\n    <vmport state='off'/>\n  </features>\n",
            Arch::Arm => "  <features>\n    <acpi/>\n  </features>\n",
            Arch::S390x => "",
        }
    }

    fn cpu(&self) -> &'static str {
        match (self.host.kvm, self.host.arch) {
            // Emulation has no host's processor to be like.
            (false, _) => "  <cpu mode='maximum'/>\n",
            (true, Arch::Arm) => "  <cpu mode='host-passthrough'/>\n",
            (true, _) => "  <cpu mode='host-model'/>\n",
        }
    }

    fn disks(&self) -> String {
        let arch = self.host.arch;
        let (root, seed, device) = match arch {
            Arch::X86 => ("dev='sda' bus='sata'", "dev='sdb' bus='sata'", "cdrom"),
            // s390x has no CD drive.
            Arch::S390x => ("dev='vda' bus='virtio'", "dev='vdb' bus='virtio'", "disk"),
            Arch::Arm => ("dev='vda' bus='virtio'", "dev='sda' bus='scsi'", "cdrom"),
        };
        let iommu = if arch == Arch::X86 { "" } else { " iommu='on'" };
        let seed_iommu = if arch == Arch::S390x { iommu } else { "" };
        let controller =
            if arch == Arch::Arm { "    <controller type='scsi' model='virtio-scsi'/>\n" } else { "" };
        format!(
            "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'{iommu}/>\n      <source \
             file='{}'/>\n      <target {root}/>\n      <boot order='1'/>\n    </disk>\n    <disk type='file' \
             device='{device}'>\n      <driver name='qemu' type='raw'{seed_iommu}/>\n      <source file='{}'/>\n      \
             <target {seed}/>\n      <readonly/>\n    </disk>\n{controller}",
            escape(self.root),
            escape(self.seed),
        )
    }

    fn network(&self) -> String {
        let driver = if self.host.arch == Arch::S390x { "      <driver iommu='on'/>\n" } else { "" };
        format!(
            "    <interface type='network'>\n      <source network='{}'/>\n      <model type='virtio'/>\n{driver}    \
             </interface>\n",
            escape(self.network)
        )
    }

    fn devices(&self) -> &'static str {
        match self.host.arch {
            Arch::X86 | Arch::Arm => {
                "    <serial type='pty'/>\n    <console type='pty'>\n      <target type='serial'/>\n    </console>\n"
            }
            Arch::S390x => {
                "    <memballoon model='virtio'>\n      <driver iommu='on'/>\n    </memballoon>\n    <rng \
                 model='virtio'>\n      <driver iommu='on'/>\n      <backend model='random'>/dev/urandom</backend>\n    \
                 </rng>\n    <console type='pty'>\n      <target type='sclp'/>\n    </console>\n"
            }
        }
    }
}

/// What a domain's XML says.
pub(super) fn facts(xml: &str) -> Result<Facts, Error> {
    let document = parse("a domain", xml)?;
    let root = document.root_element();
    let ours = child(root, "metadata")
        .and_then(|metadata| metadata.children().find(|node| node.tag_name().namespace() == Some(NAMESPACE)));
    let mut marks = Marks::default();
    if let Some(ours) = ours {
        let tags = ours.children().filter(|node| node.tag_name().name() == "tag");
        marks.tags =
            Tags::from_pairs(tags.filter_map(|tag| Some((tag.attribute("key")?, tag.text().unwrap_or("")))));
        let text = |name| child(ours, name).and_then(|node| node.text());
        marks.created = text("created").and_then(|time| time.parse().ok());
        marks.pool = text("pool").map(str::to_owned);
        marks.told = text("told").map(str::to_owned);
    }
    let sources =
        root.descendants().filter(|node| node.has_tag_name("disk")).filter_map(|disk| child(disk, "source"));
    let disks = sources.filter_map(|source| source.attribute("file").or_else(|| source.attribute("dev")));
    Ok(Facts { marks, disks: disks.map(str::to_owned).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks() -> Marks {
        Marks {
            tags: Tags {
                cluster: "6f1c".into(),
                node: "worker-1".into(),
                namespace: "shop".into(),
                pod: "web".into(),
                pod_uid: "u-1".into(),
                sandbox: "0123456789".into(),
            },
            created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            pool: Some("pods".into()),
            told: Some("ab12".into()),
        }
    }

    fn xml(host: &Host, firmware: Option<&str>) -> String {
        let secure_execution = host.arch == Arch::S390x;
        let plan = Plan {
            name: "podvm-web-01234567",
            marks: &marks(),
            host,
            cpus: 2,
            cpuset: Some("0-3"),
            memory_mib: 2048,
            firmware,
            secure_execution,
            root: "/p/podvm-web-01234567-root.qcow2",
            seed: "/p/podvm-web-01234567-cloudinit.iso",
            network: "default",
        };
        plan.xml()
    }

    #[test]
    fn x86_64() {
        insta::assert_snapshot!(xml(&Host { arch: Arch::X86, kvm: true, machine: None }, None));
    }

    #[test]
    fn x86_64_with_firmware_and_without_kvm() {
        let host = Host { arch: Arch::X86, kvm: false, machine: None };
        insta::assert_snapshot!(xml(&host, Some("/usr/share/OVMF/OVMF_CODE_4M.fd")));
    }

    #[test]
    fn s390x() {
        let machine = Some("s390-ccw-virtio-rhel9.6.0".to_owned());
        insta::assert_snapshot!(xml(&Host { arch: Arch::S390x, kvm: true, machine }, None));
    }

    #[test]
    fn aarch64() {
        let machine = Some("virt-rhel9.6.0".to_owned());
        insta::assert_snapshot!(xml(&Host { arch: Arch::Arm, kvm: true, machine }, None));
    }

    /// Hosts of other architectures are not at hand; what libvirt takes at all is.
    #[test]
    fn libvirt_allows_all_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("domain.xml");
        for (arch, firmware) in [
            (Arch::X86, None),
            (Arch::X86, Some("/f.fd")),
            (Arch::S390x, None),
            (Arch::Arm, None),
            (Arch::Arm, Some("/f.fd")),
        ] {
            for kvm in [true, false] {
                let host = Host { arch, kvm, machine: arch.machine().map(str::to_owned) };
                std::fs::write(&file, xml(&host, firmware)).unwrap();
                let out = std::process::Command::new("virt-xml-validate").arg(&file).arg("domain").output();
                let out = out
                    .expect("virt-xml-validate is needed: hack/test-deps.sh installs it (libvirt-clients)");
                let told = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{arch:?} {firmware:?}: {told}");
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let facts = facts(&xml(&Host { arch: Arch::X86, kvm: true, machine: None }, None)).unwrap();
        assert_eq!(facts.marks, marks());
        assert_eq!(facts.disks, ["/p/podvm-web-01234567-root.qcow2", "/p/podvm-web-01234567-cloudinit.iso"]);
    }

    #[test]
    fn a_domain_of_others_has_no_marks() {
        let xml = "<domain><metadata><a:podvm xmlns:a='urn:other'><a:tag key='kata.peerpods.io/cluster'>c</a:tag></a:podvm>
            </metadata><devices><disk type='block'><source dev='/dev/sdx'/></disk><disk/></devices></domain>";
        let facts = facts(xml).unwrap();
        assert_eq!(facts.marks, Marks::default());
        assert_eq!(facts.disks, ["/dev/sdx"]);
    }

    #[test]
    fn volumes_belong_to_the_machine_that_they_are_named_after() {
        assert_eq!(owner_of("podvm-a-01234567-root.qcow2"), Some("podvm-a-01234567"));
        assert_eq!(owner_of(&seed_volume("podvm-a-01234567")), Some("podvm-a-01234567"));
        for other in [
            "podvm-base.qcow2",
            "web-root.qcow2",
            "podvm-a-01234567.qcow2",
            "podvm--root.qcow2/x",
            "-root.qcow2",
        ] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_tag_breaks_the_xml(values in proptest::array::uniform6("[ -~äß]{1,20}")) {
            let [cluster, node, namespace, pod, pod_uid, sandbox] = values;
            let tags = Tags { cluster, node, namespace, pod, pod_uid, sandbox };
            let marks = Marks { tags, ..marks() };
            let host = Host { arch: Arch::X86, kvm: true, machine: None };
            let plan = Plan {
                name: "podvm-a-1", marks: &marks, host: &host, cpus: 1, cpuset: None, memory_mib: 1, firmware: None,
                secure_execution: false, root: "/p/a'<&", seed: "/p/b", network: "n\"'>",
            };
            let read = facts(&plan.xml()).unwrap();
            prop_assert_eq!(read.marks.tags, marks.tags);
            prop_assert_eq!(read.disks, ["/p/a'<&", "/p/b"]);
        }
    }
}
