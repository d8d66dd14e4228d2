//! A host in a folder: its own `/etc`, `/opt`, `/var`, `/run`, with the programs of this machine to read and run in it.
//!
//! Every command of the agent runs in a mount namespace of its own and in a chroot, so that paths are those of
//! production: rpm installs into the folder, containerd reads the folder's configuration and listens in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, Command as Arguments, FromArgMatches};
use osc_node::host::{Gate, Host};
use osc_node::platform::NodeInfo;
use osc_node::settings::Settings;
use osc_node::work::Work;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Programs that the tests need, and the Debian packages that have them.
const NEEDED: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("rpm", "rpm"),
    ("rpmbuild", "rpm"),
    ("createrepo_c", "createrepo-c"),
    ("dnf", "dnf"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("unshare", "util-linux"),
];

/// Enters the folder: `enter ROOT COMMAND...`. `$OSC_MOUNTS` is for tests with file systems of their own.
const ENTER: &str = r#"#!/bin/sh
exec unshare --mount --propagation private sh -c '
root=$1; shift
for folder in usr/bin usr/sbin usr/lib usr/lib64 dev proc sys; do
    if [ -d "/$folder" ]; then mount --rbind "/$folder" "$root/$folder" || exit 125; fi
done
for folder in usr/bin usr/sbin usr/lib usr/lib64; do
    if [ -d "/$folder" ]; then mount -o remount,bind,ro "$root/$folder" || exit 125; fi
done
eval "$OSC_MOUNTS"
if [ "$1" = --outside ]; then shift; exec "$@"; fi
exec chroot "$root" "$@"' sh "$@"
"#;

/// What systemctl is here: it notes how it was called, and starts and stops the containerd of the folder.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "systemctl $*" >>/run/calls
stop() {
    [ -e /run/containerd.pid ] || return 0
    pid=$(cat /run/containerd.pid)
    # One that is told to end while it starts takes minutes for it.
    kill -9 "$pid" 2>/dev/null
    while [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do sleep 0.01; done
    rm -f /run/containerd.pid
}
start() {
    date +%s%N >/run/invocation
    setsid /usr/bin/containerd "$@" >>/run/containerd.log 2>&1 </dev/null &
    echo $! >/run/containerd.pid
}
# No CRI-O is at hand: a containerd that listens in its place and knows the handlers that `crio config` tells.
start_crio() {
    {
        printf 'version = 2\n[grpc]\naddress = "/run/crio/crio.sock"\n'
        printf '[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "crun"\n'
        crio config | sed -n 's/^\[crio\.runtime\.runtimes\.\(.*\)\]$/[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.\1]\nruntime_type = "io.containerd.runc.v2"/p'
    } >/run/crio.toml
    mkdir -p /run/crio
    start --config /run/crio.toml
}
# What k3s does at each start: it writes containerd's configuration from the template.
start_k3s() {
    folder=/var/lib/rancher/k3s/agent/etc/containerd
    if [ -e $folder/config.toml.tmpl ]; then
        sed -e '/{{ template "base" . }}/{' -e "r /srv/k3s-base.toml" -e 'd' -e '}' $folder/config.toml.tmpl >$folder/config.toml
    else
        cp /srv/k3s-base.toml $folder/config.toml
    fi
    mkdir -p /run/k3s/containerd
    start --config $folder/config.toml --address /run/k3s/containerd/containerd.sock
}
case "$1" in
show)
    case "$*" in
    *InvocationID*) cat /run/invocation 2>/dev/null ;;
    *ExecStart*) echo "{ path=/usr/bin/containerd ; argv[]=/usr/bin/containerd ; ignore_errors=no ; start_time=[n/a] ; }" ;;
    esac
    ;;
restart)
    # Faults that a test asks for.
    if [ -e /run/restart-does-nothing ]; then exit 0; fi
    stop
    if [ -e /run/fails-once ]; then
        rm /run/fails-once
        echo "Job for $2 failed." >&2
        exit 1
    fi
    if [ -e /run/fails-with-kata ] && [ -e /etc/containerd/osc-node.d/kata.toml ]; then
        echo "Job for $2 failed because the control process exited with error code." >&2
        exit 1
    fi
    case "$2" in
    containerd.service) start ;;
    crio.service) start_crio ;;
    k3s-agent.service) start_k3s ;;
    esac
    ;;
stop) stop ;;
is-active) [ "$2" = "$(cat /run/active 2>/dev/null)" ] ;;
esac
"#;

pub struct Scratch {
    folder: TempDir,
    pub root: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// What is at a path: kind, mode, content, and time of files.
pub type Tree = BTreeMap<String, String>;

pub fn require_programs() {
    let entering = Command::new("unshare").args(["--mount", "true"]).output();
    assert!(
        entering.is_ok_and(|output| output.status.success()),
        "hosts in folders are entered by mounts and a chroot: these tests need root"
    );
    for (program, package) in NEEDED {
        let found =
            std::env::var("PATH").unwrap_or_default().split(':').any(|f| Path::new(f).join(program).exists());
        assert!(found, "{program} is missing: hack/test-deps.sh installs the Debian package {package}");
    }
}

impl Scratch {
    /// An empty host.
    pub fn new() -> Self {
        require_programs();
        let folder = tempfile::Builder::new().prefix("osc-node-").tempdir().unwrap();
        let root = folder.path().join("root");
        for place in [
            "dev",
            "etc",
            "opt",
            "proc",
            "root",
            "run",
            "sys",
            "tmp",
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "usr/local/bin",
            "usr/share",
            "var/lib",
            "var/tmp",
            "var/log",
        ] {
            fs::create_dir_all(root.join(place)).unwrap();
        }
        for (link, target) in
            [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let scratch = Self { folder, root, runtime };
        write_program(&scratch.folder.path().join("enter"), ENTER);
        scratch.program("systemctl", SYSTEMCTL);
        scratch.write("etc/os-release", "ID=debian\n");
        scratch
    }

    /// A host with containerd of this machine at work, configured as distributions do.
    pub fn with_containerd() -> Self {
        let scratch = Self::new();
        scratch.write("etc/containerd/config.toml", CONTAINERD_CONFIG);
        scratch.start_containerd();
        scratch
    }

    pub fn start_containerd(&self) {
        self.run(&["systemctl", "restart", "containerd.service"]);
        self.wait_for_socket("run/containerd/containerd.sock");
        let _ = fs::remove_file(self.root.join("run/calls"));
    }

    pub fn wait_for_socket(&self, path: &str) {
        for _ in 0..500 {
            if std::os::unix::net::UnixStream::connect(self.root.join(path)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("nothing listens on {path}: {}", self.read("run/containerd.log"));
    }

    /// What a reboot leaves: no process, nothing in `/run`.
    pub fn reboot(&self) {
        self.run(&["systemctl", "stop", "containerd.service"]);
        fs::remove_dir_all(self.root.join("run")).unwrap();
        fs::create_dir(self.root.join("run")).unwrap();
        self.start_containerd();
    }

    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program that enters the folder.
    pub fn enter(&self) -> PathBuf {
        self.folder.path().join("enter")
    }

    pub fn host(&self) -> Host {
        Host::new(&self.root, vec![self.enter().into(), self.root.clone().into()], self.handle())
    }

    pub fn work(&self, variables: &[(&str, &str)]) -> Work {
        Work { host: self.host(), settings: settings(variables), patience: Duration::from_secs(15) }
    }

    pub fn gated(&self, variables: &[(&str, &str)], gate: Gate) -> Work {
        let work = self.work(variables);
        Work { host: work.host.clone().with_gate(gate), ..work }
    }

    /// Runs a command in the folder.
    pub fn run(&self, command: &[&str]) -> String {
        let mut line: Vec<OsString> = vec![self.enter().into(), self.root.clone().into()];
        line.extend(command.iter().map(OsString::from));
        let output = Command::new(&line[0])
            .args(&line[1..])
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {} {stderr}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program of the folder.
    pub fn program(&self, name: &str, script: &str) {
        write_program(&self.root.join("usr/local/bin").join(name), script);
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let place = self.root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Lines that the stand-ins wrote.
    pub fn calls(&self) -> Vec<String> {
        self.read("run/calls").lines().map(str::to_owned).collect()
    }

    /// Handlers that the real containerd tells.
    pub fn handlers(&self) -> Vec<String> {
        self.handlers_behind("/run/containerd/containerd.sock")
    }

    /// The same behind another socket.
    pub fn handlers_behind(&self, socket: &str) -> Vec<String> {
        let status = osc_node::cri::status(&self.host(), socket).unwrap();
        assert!(status.ready, "{status:?}");
        status.handlers.unwrap().into_iter().collect()
    }

    /// Ordinary pods can run: containerd is ready and knows runc.
    pub fn assert_ordinary_pods(&self) {
        assert!(self.handlers().contains(&"runc".to_owned()), "{:?}", self.handlers());
    }

    /// Everything in the folder, without what processes keep there.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(&self.root, &self.root, &mut tree);
        tree
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let pid = self.read("run/containerd.pid");
        if let Ok(pid) = pid.trim().parse::<u32>() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// As a distribution ships it, with comments and a setting of its own that must not get lost.
const CONTAINERD_CONFIG: &str = r#"# Shipped by the distribution.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.example.com/pause:3.9" # ours
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = true
"#;

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn collect(root: &Path, folder: &Path, tree: &mut Tree) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // Kept by the kernel, containerd and rpm themselves.
        if [
            "var/cache/dnf",
            "var/lib/dnf",
            "var/log",
            "run",
            "proc",
            "sys",
            "dev",
            "root/.rpmdb",
            "var/lib/containerd",
            "tmp",
            "var/tmp",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        if metadata.is_symlink() {
            tree.insert(name, format!("link to {}", fs::read_link(&path).unwrap().display()));
        } else if metadata.is_dir() {
            tree.insert(name, format!("folder {mode:o}"));
            collect(root, &path, tree);
        } else {
            let digest = osc_node::digest::of(&fs::read(&path).unwrap());
            let time = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
            tree.insert(name, format!("file {mode:o} {}:{} {digest} {time}", metadata.uid(), metadata.gid()));
        }
    }
}

/// A tree without times: two hosts made one after the other.
pub fn timeless(tree: &Tree) -> Tree {
    let without = |text: &String| {
        if text.starts_with("file ") { text.rsplit_once(' ').unwrap().0.to_owned() } else { text.clone() }
    };
    tree.iter().map(|(path, text)| (path.clone(), without(text))).collect()
}

/// What differs between two trees, for people.
pub fn difference(one: &Tree, other: &Tree) -> String {
    let mut text = String::new();
    for path in one.keys().chain(other.keys()).collect::<std::collections::BTreeSet<_>>() {
        if one.get(path) != other.get(path) {
            let _ = writeln!(text, "{path}: {:?} -> {:?}", one.get(path), other.get(path));
        }
    }
    text
}

/// Settings as the DaemonSet gives them.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let mut arguments = vec!["test".to_owned(), "--node-name=worker-0".to_owned()];
    arguments.extend(
        variables.iter().map(|(name, value)| format!("--{}={value}", name.to_lowercase().replace('_', "-"))),
    );
    let matches = Settings::augment_args(Arguments::new("test")).get_matches_from(arguments);
    Settings::from_arg_matches(&matches).unwrap()
}

pub fn node() -> NodeInfo {
    NodeInfo {
        architecture: "amd64".to_owned(),
        runtime: "containerd://1.6.20~ds1".to_owned(),
        kubelet: "v1.33.1".to_owned(),
    }
}

/// A bundle of Kata, as small as can be.
pub struct Bundle {
    pub path: PathBuf,
    pub digest: String,
}

impl Bundle {
    /// Variables of the DaemonSet for it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("KATA_BUNDLE", self.path.display().to_string()),
            ("KATA_BUNDLE_DIGEST", format!("sha256:{}", self.digest)),
        ]
    }
}

pub fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Makes a bundle in a folder, compressed by the program that belongs to the ending.
pub fn bundle(folder: &Path, name: &str, more: &[(&str, &[u8])]) -> Bundle {
    let mut tar = tar::Builder::new(Vec::new());
    let shim = fs::read("/usr/bin/true").unwrap();
    let mut files: Vec<(&str, &[u8], u32)> = vec![
        ("./opt/kata/bin/containerd-shim-kata-v2", &shim, 0o755),
        ("./opt/kata/share/defaults/kata-containers/configuration-qemu.toml", b"[hypervisor.qemu]\n", 0o644),
        (
            "./opt/kata/share/defaults/kata-containers/configuration-qemu-snp.toml",
            b"[hypervisor.qemu]\n#snp\n",
            0o644,
        ),
        ("./opt/kata/share/kata-containers/vmlinux.container", b"a kernel", 0o644),
    ];
    files.extend(more.iter().map(|(path, content)| (*path, *content, 0o644)));
    for path in [
        "./",
        "./opt/",
        "./opt/kata/",
        "./opt/kata/bin/",
        "./opt/kata/share/",
        "./opt/kata/share/defaults/",
        "./opt/kata/share/defaults/kata-containers/",
        "./opt/kata/share/kata-containers/",
    ] {
        let mut header = header(tar::EntryType::Directory, 0, 0o755);
        tar.append_data(&mut header, path, std::io::empty()).unwrap();
    }
    for (path, content, mode) in files {
        let mut header = header(tar::EntryType::Regular, content.len() as u64, mode);
        tar.append_data(&mut header, path, content).unwrap();
    }
    let mut link = header(tar::EntryType::Symlink, 0, 0o777);
    let path = "./opt/kata/share/defaults/kata-containers/configuration.toml";
    tar.append_link(&mut link, path, "configuration-qemu.toml").unwrap();
    compress(folder, name, &tar.into_inner().unwrap())
}

pub fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

pub fn compress(folder: &Path, name: &str, tar: &[u8]) -> Bundle {
    let plain = folder.join("plain.tar");
    fs::write(&plain, tar).unwrap();
    let path = folder.join(name);
    let program = if path.extension().is_some_and(|end| end == "xz") { "xz" } else { "zstd" };
    let output = Command::new(program).arg("--stdout").arg(&plain).output().unwrap();
    assert!(output.status.success(), "{program}");
    fs::write(&path, &output.stdout).unwrap();
    Bundle { path, digest: osc_node::digest::of(&output.stdout) }
}
