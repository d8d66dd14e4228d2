//! Real packages, made here, installed by the real dnf and rpm into the folder of a host.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use osc_node::state::State;
use osc_node::work::Outcome;

use crate::scratch::{Scratch, Tree, borrowed, bundle, difference, node};

/// The image that has the packages.
pub const IMAGE: &str = "registry.example.com/rhel-coreos-extensions@sha256:0123";

/// What podman is here: no registry is at hand. Files are copied from a folder, and its calls are noted.
const PODMAN: &str = r#"#!/bin/sh
echo "podman $*" >>/run/calls
case "$1 $2" in
"image exists") exit 1 ;;
esac
case "$1" in
cp) cp -r "/srv/image${2#*:}" "$3" ;;
esac
"#;

pub struct Package<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub files: &'a [(&'a str, &'a str)],
    /// Another package that it needs.
    pub needs: Option<&'a str>,
    /// Scripts.
    pub more: &'a str,
}

/// Makes a package with rpmbuild.
pub fn build(folder: &Path, package: &Package) -> PathBuf {
    let top = folder.join(format!("rpm-{}-{}", package.name, package.version));
    fs::create_dir_all(&top).unwrap();
    let (mut install, mut listed) = (String::new(), String::new());
    for (path, content) in package.files {
        let source = top.join(path.replace('/', "_"));
        fs::write(&source, content).unwrap();
        let _ = writeln!(install, "install -D -m 0644 {} %{{buildroot}}{path}", source.display());
        let _ = writeln!(listed, "{path}");
    }
    let spec = format!(
        "Name: {}\nVersion: {}\nRelease: 1.el9\nSummary: For tests\nLicense: Apache-2.0\n{}\n%description\nFor tests.\n\n\
         %install\n{install}\n{}\n%files\n{listed}",
        package.name,
        package.version,
        package.needs.map(|needed| format!("Requires: {needed}\n")).unwrap_or_default(),
        package.more
    );
    fs::write(top.join("package.spec"), spec).unwrap();
    let output = Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--target", "x86_64", "--define", &format!("_topdir {}", top.display())])
        .arg(top.join("package.spec"))
        .output()
        .unwrap();
    assert!(output.status.success(), "rpmbuild: {}", String::from_utf8_lossy(&output.stderr));
    top.join(format!("RPMS/x86_64/{}-{}-1.el9.x86_64.rpm", package.name, package.version))
}

const KATA: [(&str, &str); 1] = [(
    "/usr/share/kata-containers/defaults/configuration.toml",
    "[hypervisor.qemu]\npath = \"/usr/libexec/qemu\"\n",
)];

pub fn kata<'a>(version: &'a str, files: &'a [(&'a str, &'a str)], more: &'a str) -> Package<'a> {
    Package { name: "kata-containers", version, files, needs: None, more }
}

pub fn virtiofsd() -> Package<'static> {
    Package {
        name: "virtiofsd",
        version: "1.13.0",
        files: &[("/usr/libexec/virtiofsd", "a daemon")],
        needs: None,
        more: "",
    }
}

/// Puts packages where the extension image has them, with metadata of a repository as there.
pub fn fill_image(host: &Scratch, packages: &[Package]) {
    if !host.exists("usr/local/bin/podman") {
        host.program("podman", PODMAN);
    }
    let folder = host.root.join("srv/image/usr/share/rpm-ostree/extensions");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for package in packages {
        let file = build(host.folder(), package);
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let output = Command::new("createrepo_c").arg("--quiet").arg(&folder).output().unwrap();
    assert!(output.status.success(), "createrepo_c");
}

/// A host of packages, with the real rpm and, if wanted, the real dnf.
fn packaged(with_dnf: bool) -> Scratch {
    let host = Scratch::with_containerd();
    host.write("etc/os-release", "ID=\"centos\"\nVERSION_ID=\"9\"\n");
    host.program("rpm", "#!/bin/sh\necho \"rpm $*\" >>/run/calls\nexec /usr/bin/rpm \"$@\"\n");
    if with_dnf {
        host.program("dnf", "#!/bin/sh\necho \"dnf $*\" >>/run/calls\nexec /usr/bin/dnf \"$@\"\n");
    }
    host
}

/// Names of packages on the host.
fn installed(host: &Scratch) -> Vec<String> {
    let listing = host.run(&["/usr/bin/rpm", "-qa", "--qf", "%{NAME}-%{VERSION}\n"]);
    let mut names: Vec<String> = listing.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn calls(host: &Scratch, program: &str) -> Vec<String> {
    host.calls().into_iter().filter(|call| call.starts_with(program)).collect()
}

fn assert_same(before: &Tree, after: &Tree) {
    assert!(before == after, "{}", difference(before, after));
}

#[test]
fn packages_of_the_extension_image_come_and_go() {
    for with_dnf in [true, false] {
        let host = packaged(with_dnf);
        let other = Package {
            name: "kernel-rt",
            version: "5.14",
            files: &[("/usr/share/kernel-rt", "x")],
            needs: None,
            more: "",
        };
        fill_image(&host, &[kata("3.17.0", &KATA, ""), virtiofsd(), other]);
        let shell = build(
            host.folder(),
            &Package { name: "bash", version: "5.1", files: &[], needs: None, more: "" },
        );
        fs::copy(shell, host.root.join("srv/bash.rpm")).unwrap();
        host.run(&["/usr/bin/rpm", "--install", "/srv/bash.rpm"]);
        let before = host.tree();

        let work = host.work(&[("EXTENSION_IMAGE", IMAGE)]);
        let outcome = work.install(&node(), State::Installing).unwrap();
        assert_eq!(outcome, Outcome::Done(Some("kata-containers-3.17.0-1.el9".to_owned())));
        assert_eq!(
            installed(&host),
            ["bash-5.1", "kata-containers-3.17.0", "virtiofsd-1.13.0"],
            "not the kernel"
        );
        assert_eq!(host.handlers(), ["kata", "runc"]);
        let downloads = "/var/lib/osc-node/packages";
        let files = format!(
            "{downloads}/kata-containers-3.17.0-1.el9.x86_64.rpm {downloads}/virtiofsd-1.13.0-1.el9.x86_64.rpm"
        );
        let expected = if with_dnf {
            format!("dnf install --assumeyes --setopt=install_weak_deps=False {files}")
        } else {
            format!("rpm --upgrade --oldpackage {files}")
        };
        assert!(host.calls().contains(&expected), "{:#?}", host.calls());
        assert_eq!(
            calls(&host, "podman"),
            [
                format!("podman image exists {IMAGE}"),
                format!("podman pull --quiet {IMAGE}"),
                "podman rm --force --ignore osc-node-copy".to_owned(),
                format!("podman create --name osc-node-copy {IMAGE} none"),
                format!("podman cp osc-node-copy:/usr/share/rpm-ostree/extensions {downloads}"),
                "podman rm --force --ignore osc-node-copy".to_owned(),
                format!("podman rmi {IMAGE}"),
            ]
        );

        // A newer release of the cluster.
        fill_image(&host, &[kata("3.18.0", &KATA, ""), virtiofsd()]);
        let newer = host.work(&[("EXTENSION_IMAGE", "registry.example.com/newer@sha256:4567")]);
        assert_eq!(newer.install(&node(), State::Installed).unwrap(), Outcome::NeedsTurn);
        let outcome = newer.install(&node(), State::Installing).unwrap();
        assert_eq!(outcome, Outcome::Done(Some("kata-containers-3.18.0-1.el9".to_owned())));

        assert_eq!(newer.remove(&node(), State::Uninstalling).unwrap(), Outcome::Done(None));
        assert_eq!(installed(&host), ["bash-5.1"]);
        assert_eq!(host.handlers(), ["runc"]);
        let mut after = host.tree();
        // The folders of the image, which this test filled anew.
        let mut before = before;
        before.retain(|path, _| !path.starts_with("srv"));
        after.retain(|path, _| !path.starts_with("srv"));
        // rpm leaves folders that no package owns.
        after.retain(|path, _| !path.starts_with("usr/share/kata-containers") && path != "usr/libexec");
        // dnf makes folders for itself.
        after.retain(|path, _| !path.starts_with("etc/dnf") && path != "var/cache");
        assert_same(&before, &after);
    }
}

#[test]
fn the_repositories_of_the_host_are_used_if_they_have_kata() {
    let host = packaged(true);
    let repository = host.root.join("srv/repository");
    fs::create_dir_all(&repository).unwrap();
    for package in [kata("3.17.0", &KATA, ""), virtiofsd()] {
        let file = build(host.folder(), &package);
        fs::copy(&file, repository.join(file.file_name().unwrap())).unwrap();
    }
    assert!(Command::new("createrepo_c").arg("--quiet").arg(&repository).status().unwrap().success());
    host.write(
        "etc/yum.repos.d/test.repo",
        "[test]\nname=test\nbaseurl=file:///srv/repository\ngpgcheck=0\n",
    );
    let work = host.work(&[]);
    let outcome = work.install(&node(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some("kata-containers-3.17.0-1.el9".to_owned())));
    assert_eq!(host.handlers(), ["kata", "runc"]);
    work.remove(&node(), State::Uninstalling).unwrap();
    assert_eq!(installed(&host), Vec::<String>::new());
    assert_eq!(host.handlers(), ["runc"]);
}

#[test]
fn without_packages_to_be_had_the_bundle_is_taken() {
    let host = packaged(true);
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    // Nothing names the bundle; it is where the image has it, for which the host's own folder stands.
    host.write("usr/share/osc/kata-static.tar.zst", fs::read(&bundle.path).unwrap());
    host.write(
        "usr/share/osc/kata-static.tar.zst.sha256",
        format!("{}  kata-static.tar.zst\n", bundle.digest),
    );
    let outcome = host.work(&[]).install(&node(), State::Installing).unwrap();
    assert_eq!(outcome, Outcome::Done(Some(format!("bundle sha256:{}", bundle.digest))));
}

#[test]
fn packages_that_others_need_are_not_removed() {
    let host = packaged(true);
    fill_image(&host, &[kata("3.17.0", &KATA, ""), virtiofsd()]);
    let work = host.work(&[("EXTENSION_IMAGE", IMAGE)]);
    work.install(&node(), State::Installing).unwrap();
    let spec = Package {
        name: "machines",
        version: "1",
        files: &[("/usr/share/machines", "x")],
        needs: Some("virtiofsd"),
        more: "",
    };
    let file = build(host.folder(), &spec);
    fs::copy(file, host.root.join("srv/machines.rpm")).unwrap();
    host.run(&["/usr/bin/rpm", "--install", "/srv/machines.rpm"]);
    let error = work.remove(&node(), State::Uninstalling).unwrap_err().to_string();
    assert!(error.contains("virtiofsd is needed by (installed) machines"), "{error}");
    assert_eq!(installed(&host), ["kata-containers-3.17.0", "machines-1", "virtiofsd-1.13.0"]);
    host.run(&["/usr/bin/rpm", "--erase", "machines"]);
    assert_eq!(work.remove(&node(), State::Uninstalling).unwrap(), Outcome::Done(None));
    host.assert_ordinary_pods();
}

#[test]
fn a_bundle_asked_for_later_is_refused_in_words() {
    let host = packaged(false);
    fill_image(&host, &[kata("3.17.0", &KATA, ""), virtiofsd()]);
    host.work(&[("EXTENSION_IMAGE", IMAGE)]).install(&node(), State::Installing).unwrap();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let variables = bundle.variables();
    let error = host.work(&borrowed(&variables)).install(&node(), State::Installing).unwrap_err().to_string();
    assert!(error.contains("Kata is installed from packages on this node"), "{error}");
    assert!(error.contains("delete the KataConfig"), "{error}");
    host.assert_ordinary_pods();
}
