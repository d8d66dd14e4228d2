//! libvirt by ssh, as the documentation has it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use osc_cloud::libvirt::Libvirt;
use osc_cloud::{Account, Deletion, Error, Kind, Provider};

use crate::host::{Host, spec};

/// A server for ssh on loopback that lets one key in.
struct Server {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success(), "ssh-keygen fails: run hack/test-deps.sh (openssh-client)");
}

impl Server {
    fn start(directory: &Path) -> Self {
        let directory = directory.join("ssh");
        fs::create_dir(&directory).unwrap();
        for name in ["host", "user", "stranger"] {
            key(&directory.join(name));
        }
        fs::copy(directory.join("user.pub"), directory.join("authorized")).unwrap();
        fs::set_permissions(directory.join("authorized"), fs::Permissions::from_mode(0o600)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host_key = fs::read_to_string(directory.join("host.pub")).unwrap();
        fs::write(directory.join("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        fs::write(
            directory.join("config"),
            format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
                 PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nPidFile none\n",
                directory.display()
            ),
        )
        .unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(directory.join("config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd is needed: run hack/test-deps.sh (openssh-server)");
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self { child, port, directory };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("sshd does not listen on port {port}");
    }

    fn account(&self, host: &Host, identity: &str, more: &str) -> Account {
        let socket = host.socket();
        let uri = format!("qemu+ssh://root@127.0.0.1:{}/system?socket={}{more}", self.port, socket.display());
        let mut account = host.account().credential("LIBVIRT_URI", uri);
        account.ssh_identity = Some(self.directory.join(identity));
        account
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_ssh_with_the_key_that_is_accepted() {
    let host = Host::start();
    let server = Server::start(host.directory.path());
    let known = format!("&known_hosts={}", server.directory.join("known").display());
    let cloud = Libvirt::new(&server.account(&host, "user", &known)).unwrap();
    let notes = cloud.verify().await.unwrap();
    assert!(!notes.iter().any(|note| note.contains("host key")), "{notes:?}");
    // The nodes are elsewhere.
    assert!(notes.iter().any(|note| note.contains("network default has no way to other hosts")), "{notes:?}");
    let made = cloud.create(&spec("web")).await.unwrap();
    assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::Deleted));
    assert_eq!(host.left(), [] as [&str; 0]);

    let unchecked = Libvirt::new(&server.account(&host, "user", "&no_verify=1")).unwrap();
    let notes = unchecked.verify().await.unwrap();
    assert!(notes[0].contains("the host key of 127.0.0.1 is not checked"), "{notes:?}");

    // Refusals, each with what to do.
    let stranger = Libvirt::new(&server.account(&host, "stranger", "&no_verify=1")).unwrap();
    let error = stranger.verify().await.unwrap_err().remove(0);
    assert!(
        matches!(error, Error::Unauthorized { .. }) && error.to_string().contains("ssh-key-secret"),
        "{error}"
    );
    let other = server.directory.join("other");
    fs::write(&other, "").unwrap();
    let unknown =
        Libvirt::new(&server.account(&host, "user", &format!("&known_hosts={}", other.display()))).unwrap();
    let error = unknown.verify().await.unwrap_err().remove(0);
    assert!(error.to_string().contains("known_hosts=FILE"), "{error}");
    let account = Account::new(Kind::Libvirt)
        .setting("LIBVIRT_POOL", "pods")
        .credential("LIBVIRT_URI", "qemu+ssh://root@127.0.0.1:1/system?no_verify=1");
    let error = Libvirt::new(&account).unwrap().verify().await.unwrap_err().remove(0);
    assert!(error.is_transient() && error.to_string().contains("refused"), "{error}");
}
