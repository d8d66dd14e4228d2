//! A KVM host for one test, and the disk that its machines start from.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use osc_cloud::libvirt::Libvirt;
use osc_cloud::{Account, InstanceSpec, Kind, Tags};
use tempfile::TempDir;

/// Emulated machines are slow: so many at a time, and no more.
static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The disk, made once for all tests.
static DISK: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("podvm.qcow2");
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap()));
    let kernel = Path::new(&cache).join("osc/guest-kernel");
    assert!(kernel.join("vmlinuz").exists(), "no kernel in {}: run hack/test-deps.sh", kernel.display());
    let made = Command::new("sh")
        .arg(source("guest.sh"))
        .args([&disk, &kernel, &directory.path().join("work")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (directory, disk)
});

/// What libvirt found out about QEMU, which takes it ten seconds.
static CACHE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libvirt").join(file)
}

/// The disk that machines start from.
pub fn disk() -> &'static Path {
    &DISK.1
}

/// A host.
pub struct Host {
    _turn: MutexGuard<'static, ()>,
    pub directory: TempDir,
    child: Child,
    words: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
}

impl Drop for Host {
    fn drop(&mut self) {
        // Everything in its process namespace goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    /// Starts libvirt, with a network `default`, a pool `pods` and the image in it.
    pub fn start() -> Self {
        let turn = TURNS[NEXT.fetch_add(1, Ordering::Relaxed) % TURNS.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let root = Command::new("id").arg("-u").output().unwrap();
        assert_eq!(root.stdout, b"0\n", "these tests make namespaces and start libvirtd: run them as root");
        for (program, package) in [
            ("libvirtd", "libvirt-daemon libvirt-daemon-driver-qemu"),
            ("virsh", "libvirt-clients"),
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("dnsmasq", "dnsmasq-base"),
            ("busybox", "busybox-static"),
        ] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            assert!(
                found.status.success(),
                "{program} is not here; run hack/test-deps.sh, or install {package}"
            );
        }
        let directory = tempfile::Builder::new().prefix("osc-kvm-").tempdir().unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "bash"])
            .arg(source("host.sh"))
            .args([directory.path(), CACHE.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut host = Self { _turn: turn, directory, child, words, answers };
        let answer = host.answer();
        assert_eq!(answer, "ready", "libvirtd does not start: {}", host.log());
        let subnet = "<ip address='192.168.122.1' netmask='255.255.255.0'>";
        host.network(
            "default",
            &format!("{subnet}<dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip>"),
        );
        host.virsh("pool-define-as pods dir --target POOL");
        host.virsh("pool-start pods");
        fs::copy(disk(), host.pool().join("podvm.qcow2")).unwrap();
        host.virsh("pool-refresh pods");
        host
    }

    /// A network of that name with these addresses.
    pub fn network(&self, name: &str, addresses: &str) {
        let file = self.directory.path().join("network.xml");
        let xml = format!(
            "<network><name>{name}</name><bridge name='br-{name}' stp='off' delay='0'/>{addresses}</network>"
        );
        fs::write(&file, xml).unwrap();
        self.virsh(&format!("net-define {}", file.display()));
        self.virsh(&format!("net-start {name}"));
    }

    /// Directory of the pool.
    pub fn pool(&self) -> PathBuf {
        self.directory.path().join("pool")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock/libvirt-sock")
    }

    /// Its connection.
    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket().display())
    }

    /// The settings that lead to it.
    pub fn account(&self) -> Account {
        Account::new(Kind::Libvirt)
            .credential("LIBVIRT_URI", self.uri())
            .setting("LIBVIRT_POOL", "pods")
            .setting("LIBVIRT_VOL_NAME", "podvm.qcow2")
            .setting("LIBVIRT_MEMORY", "256")
            .setting("LIBVIRT_CPU", "1")
            .setting("LIBVIRT_ROOT_DISK_SIZE", "1")
    }

    /// It as a provider.
    pub fn provider(&self) -> Libvirt {
        Libvirt::new(&self.account()).unwrap()
    }

    /// Asks it with another client than ours. `POOL` is the pool's directory.
    pub fn virsh(&self, command: &str) -> String {
        let (ok, out) = self.try_virsh(command);
        assert!(ok, "virsh {command}: {out}");
        out
    }

    /// The same, which may fail.
    pub fn try_virsh(&self, command: &str) -> (bool, String) {
        let pool = self.pool();
        let words =
            command.split_whitespace().map(|word| if word == "POOL" { pool.to_str().unwrap() } else { word });
        let out = Command::new("virsh").args(["-q", "-c", &self.uri()]).args(words).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.success(), text.trim().to_owned())
    }

    /// Names of all domains, and of all files in the pool's directory but the image.
    pub fn left(&self) -> Vec<String> {
        let domains = self.virsh("list --all --name");
        let mut all: Vec<String> =
            domains.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let files =
            fs::read_dir(self.pool()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.extend(files.filter(|name| name != "podvm.qcow2"));
        all.sort();
        all
    }

    /// Says a word to it and waits for what it answers.
    pub fn say(&mut self, word: &str) -> String {
        writeln!(self.words, "{word}").unwrap();
        self.answer()
    }

    /// What a machine shows at that address and path.
    pub fn fetch(&mut self, address: std::net::IpAddr, path: &str) -> Option<Vec<u8>> {
        // Its server starts a moment after it has an address.
        for _ in 0..40 {
            if self.say(&format!("fetch {address} {path}")) == "done" {
                return Some(fs::read(self.directory.path().join("fetched")).unwrap());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        None
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log/libvirtd.log")).unwrap_or_default()
    }
}

/// A machine for the pod of that name.
pub fn spec(pod: &str) -> InstanceSpec {
    let tags = Tags {
        cluster: "cluster-1".into(),
        node: "worker-1".into(),
        namespace: "shop".into(),
        pod: pod.into(),
        pod_uid: format!("uid-{pod}"),
        sandbox: "0123456789abcdef".into(),
    };
    let mut spec = InstanceSpec::new(osc_cloud::vm_name(pod, &tags.sandbox), tags);
    spec.user_data = format!("#cloud-config\n# for {pod}\n").into_bytes();
    spec.patience = Duration::from_mins(2);
    spec
}
