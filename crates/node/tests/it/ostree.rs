//! Hosts with rpm-ostree and CRI-O, which are not packaged for this machine: stand-ins with their documented command
//! lines. Packages are real ones, and rpm puts them on the host.

use std::fs;

use osc_node::platform::NodeInfo;
use osc_node::state::State;
use osc_node::work::Outcome;

use crate::packages::{IMAGE, fill_image, kata, virtiofsd};
use crate::scratch::{Scratch, difference};

/// Keeps its state in `/srv/ostree`: `booted` and `staged` are lists of packages, `no-live` refuses live changes.
const RPM_OSTREE: &str = r#"#!/bin/sh
[ "$1" = status ] || echo "rpm-ostree $*" >>/run/calls
state=/srv/ostree
mkdir -p $state/files
list() { sed 's/.*/"&"/' "$1" 2>/dev/null | paste -sd, -; }
live() { /usr/bin/rpm -U --noscripts --nodeps --excludepath=/etc "$@" || exit 1; mkdir -p /usr/etc; cp -r /srv/usr-etc/. /usr/etc/ 2>/dev/null; }
case "$1" in
status)
    staged=
    [ -e $state/staged ] && staged="{\"booted\":false,\"staged\":true,\"requested-local-packages\":[$(list $state/staged)]},"
    echo "{\"deployments\":[$staged{\"booted\":true,\"staged\":false,\"requested-local-packages\":[$(list $state/booted)]}]}"
    ;;
install)
    files=$(printf '%s\n' "$@" | grep '\.rpm$')
    case "$*" in *--apply-live*)
        if [ -e $state/no-live ]; then echo "error: Cannot apply live: packages would be replaced" >&2; exit 1; fi
        live $files
    ;; esac
    cp $files $state/files/
    cat $state/booted 2>/dev/null >$state/new
    /usr/bin/rpm -qp --qf '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\n' $files >>$state/new
    mv $state/new $state/staged
    ;;
uninstall)
    shift 2
    cat $state/staged $state/booted 2>/dev/null | sort -u >$state/all
    printf '%s\n' "$@" | grep -vxF -f - $state/all >$state/staged
    ;;
cleanup) rm -f $state/staged ;;
boot)
    [ -e $state/staged ] && mv $state/staged $state/booted
    /usr/bin/rpm -e --noscripts --nodeps $(/usr/bin/rpm -qa) 2>/dev/null
    for package in $(cat $state/booted); do /usr/bin/rpm -U --noscripts --nodeps $state/files/$package.rpm; done
    ;;
esac
exit 0
"#;

/// Prints one runtime of its own, and all drop-ins.
const CRIO: &str = r#"#!/bin/sh
folder=/etc/crio/crio.conf.d
if [ "$1" = --config-dir ]; then folder=$2; shift 2; fi
[ "$1" = config ] || exit 2
printf '[crio.runtime.runtimes.crun]\nruntime_path = "/usr/bin/crun"\n'
for file in "$folder"/*; do [ -e "$file" ] && cat "$file"; done
exit 0
"#;

pub const SOCKET: &str = "/run/crio/crio.sock";
const DROP_IN_OF_PACKAGE: &str =
    "[crio.runtime.runtimes.kata]\nruntime_path = \"/usr/bin/containerd-shim-kata-v2\"\n";
const FILES: [(&str, &str); 2] = [
    ("/usr/share/kata-containers/defaults/configuration.toml", "[hypervisor.qemu]\n"),
    ("/etc/crio/crio.conf.d/50-kata", DROP_IN_OF_PACKAGE),
];
const SCRIPTS: &str =
    "%post\necho \"post $1\" >>/var/lib/scripts\n\n%posttrans\necho posttrans >>/var/lib/scripts\n";

pub fn crio() -> NodeInfo {
    NodeInfo {
        architecture: "amd64".to_owned(),
        runtime: "cri-o://1.33.0".to_owned(),
        kubelet: "v1.33.1".to_owned(),
    }
}

fn host_with_crio() -> Scratch {
    let host = Scratch::new();
    host.program("crio", CRIO);
    fs::create_dir_all(host.root.join("etc/crio/crio.conf.d")).unwrap();
    host.run(&["systemctl", "restart", "crio.service"]);
    host.wait_for_socket("run/crio/crio.sock");
    host
}

/// A host with rpm-ostree and CRI-O.
pub fn coreos() -> Scratch {
    let host = host_with_crio();
    host.program("rpm-ostree", RPM_OSTREE);
    host.program("rpm", "#!/bin/sh\nexec /usr/bin/rpm \"$@\"\n");
    host.write("run/ostree-booted", "");
    host.write("srv/usr-etc/crio/crio.conf.d/50-kata", DROP_IN_OF_PACKAGE);
    fill_image(&host, &[kata("3.17.0", &FILES, SCRIPTS), virtiofsd()]);
    host.run(&["/usr/bin/rpm", "-qa"]);
    host
}

fn calls(host: &Scratch) -> Vec<String> {
    let calls = host.calls().into_iter();
    calls.filter(|call| call.starts_with("rpm-ostree") || call.starts_with("systemctl re")).collect()
}

const FILE_NAMES: &str = "/var/lib/osc-node/packages/kata-containers-3.17.0-1.el9.x86_64.rpm \
                          /var/lib/osc-node/packages/virtiofsd-1.13.0-1.el9.x86_64.rpm";

#[test]
fn packages_are_applied_live() {
    let host = coreos();
    let before = host.tree();
    fs::remove_file(host.root.join("run/calls")).unwrap();
    let work = host.work(&[("EXTENSION_IMAGE", IMAGE), ("LOG_LEVEL", "debug")]);
    let outcome = work.install(&crio(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some("kata-containers-3.17.0-1.el9".to_owned())));
    assert_eq!(host.handlers_behind(SOCKET), ["crun", "kata"]);
    assert_eq!(
        calls(&host),
        [
            format!("rpm-ostree install --assumeyes --idempotent --apply-live {FILE_NAMES}"),
            "systemctl reset-failed crio.service".to_owned(),
            "systemctl restart crio.service".to_owned(),
        ]
    );
    assert_eq!(host.read("var/lib/scripts"), "post 1\nposttrans\n", "live layers do not run them");
    assert_eq!(host.read("etc/crio/crio.conf.d/50-kata"), DROP_IN_OF_PACKAGE, "nor do they change /etc");
    assert!(!host.exists("etc/crio/crio.conf.d/60-osc-node-kata.conf"), "the package's own is enough");
    assert!(host.run(&["crio", "config"]).contains("log_level = \"debug\""));

    // Back to the default: pods do not notice, so no turn is needed.
    let quiet = host.work(&[("EXTENSION_IMAGE", IMAGE)]);
    assert!(matches!(quiet.install(&crio(), State::Installed).unwrap(), Outcome::Done(_)));
    assert_eq!(calls(&host).last().unwrap(), "systemctl reload crio.service");
    assert!(!host.run(&["crio", "config"]).contains("log_level"));

    assert_eq!(quiet.remove(&crio(), State::Uninstalling).unwrap(), Outcome::Done(None));
    assert_eq!(host.handlers_behind(SOCKET), ["crun"]);
    let told = calls(&host);
    let uninstall =
        "rpm-ostree uninstall --assumeyes kata-containers-3.17.0-1.el9.x86_64 virtiofsd-1.13.0-1.el9.x86_64";
    assert!(told.contains(&uninstall.to_owned()), "{told:#?}");
    let etc = |tree: &crate::scratch::Tree| {
        tree.iter().filter(|(path, _)| path.starts_with("etc")).map(|(a, b)| (a.clone(), b.clone())).collect()
    };
    let (before, after): (crate::scratch::Tree, _) = (etc(&before), etc(&host.tree()));
    assert!(before == after, "{}", difference(&before, &after));
    assert!(!host.exists("var/lib/osc-node"));

    // Again before the machine was started anew: the removal is taken back.
    fs::remove_file(host.root.join("run/calls")).unwrap();
    assert!(matches!(quiet.install(&crio(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(calls(&host)[0], "rpm-ostree cleanup --pending");
    assert_eq!(host.handlers_behind(SOCKET), ["crun", "kata"]);
}

#[test]
fn what_cannot_be_live_waits_for_the_reboot() {
    let host = coreos();
    host.write("srv/ostree/no-live", "");
    fs::remove_file(host.root.join("run/calls")).unwrap();
    let work = host.work(&[("EXTENSION_IMAGE", IMAGE)]);
    assert_eq!(work.install(&crio(), State::Installing).unwrap(), Outcome::AwaitReboot);
    let staged = [
        format!("rpm-ostree install --assumeyes --idempotent --apply-live {FILE_NAMES}"),
        format!("rpm-ostree install --assumeyes --idempotent {FILE_NAMES}"),
    ];
    assert_eq!(calls(&host), staged);
    assert_eq!(work.install(&crio(), State::WaitingForReboot).unwrap(), Outcome::AwaitReboot);
    assert_eq!(calls(&host), staged, "staged once");
    assert_eq!(
        host.handlers_behind(SOCKET),
        ["crun"],
        "nothing is told to CRI-O before the programs are there"
    );

    host.run(&["rpm-ostree", "boot"]);
    assert_eq!(work.install(&crio(), State::WaitingForReboot).unwrap(), Outcome::NeedsTurn);
    let outcome = work.install(&crio(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some("kata-containers-3.17.0-1.el9".to_owned())));
    assert_eq!(host.handlers_behind(SOCKET), ["crun", "kata"]);
    assert!(!host.exists("var/lib/scripts"), "the image was made with them");
}

#[test]
fn a_bundle_gets_drop_ins_of_crio() {
    let host = host_with_crio();
    let before = host.tree();
    let bundle = crate::scratch::bundle(host.folder(), "kata.tar.xz", &[]);
    let variables = bundle.variables();
    let work = host.work(&crate::scratch::borrowed(&variables));
    assert!(matches!(work.install(&crio(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(host.handlers_behind(SOCKET), ["crun", "kata", "kata-snp"]);
    insta::assert_snapshot!(host.read("etc/crio/crio.conf.d/60-osc-node-kata.conf"));
    work.remove(&crio(), State::Uninstalling).unwrap();
    assert_eq!(host.handlers_behind(SOCKET), ["crun"]);
    assert!(host.tree() == before, "{}", difference(&before, &host.tree()));
}

#[test]
fn a_log_level_that_does_not_exist() {
    let host = host_with_crio();
    let error =
        host.work(&[("LOG_LEVEL", "loud")]).install(&crio(), State::Installing).unwrap_err().to_string();
    assert!(error.contains("spec.logLevel of the KataConfig is `loud`"), "{error}");
}

#[test]
fn a_kernel_for_secure_execution_comes_and_goes() {
    let host = coreos();
    let se = "[hypervisor.qemu]\nkernel = \"/usr/share/kata-containers/vmlinuz.container\" # ordinary\n";
    host.write("etc/kata-containers/kata-se/configuration.toml", se);
    host.write("srv/image/artifacts/hpse.img", "a signed kernel");
    let before = host.read("etc/kata-containers/kata-se/configuration.toml");
    let addon = ("ADDON_IMAGE", "registry.example.com/addon:1");
    let work = host.work(&[("EXTENSION_IMAGE", IMAGE), addon, ("ADDON_KERNEL_PATH", "/artifacts/hpse.img")]);
    assert!(matches!(work.install(&crio(), State::Installing).unwrap(), Outcome::Done(_)));
    assert_eq!(host.read("etc/kata-containers/hpse.img"), "a signed kernel");
    let expected =
        before.replace("/usr/share/kata-containers/vmlinuz.container", "/etc/kata-containers/hpse.img");
    assert_eq!(host.read("etc/kata-containers/kata-se/configuration.toml"), expected);
    // It is not asked for any more.
    let without = host.work(&[("EXTENSION_IMAGE", IMAGE)]);
    assert!(matches!(without.install(&crio(), State::Installed).unwrap(), Outcome::Done(_)));
    assert!(!host.exists("etc/kata-containers/hpse.img"));
    assert_eq!(host.read("etc/kata-containers/kata-se/configuration.toml"), before);

    let unnamed = host.work(&[("EXTENSION_IMAGE", IMAGE), addon]);
    let error = unnamed.install(&crio(), State::Installing).unwrap_err().to_string();
    assert!(error.contains("kata-addon-artifacts") && error.contains("`addonKernelPath`"), "{error}");
}
