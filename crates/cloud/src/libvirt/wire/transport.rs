//! How libvirt is reached: by a Unix socket of this host, or by the program `ssh` to one of another host.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use url::Url;

use super::session::Session;
use crate::{Error, Kind};

const KEY: &str = "LIBVIRT_URI";
/// Where the daemons listen: the one for everything, or a proxy in its place; else the one for QEMU.
const SOCKETS: [&str; 2] = ["/var/run/libvirt/libvirt-sock", "/var/run/libvirt/virtqemud-sock"];
/// What ssh says is told in errors; more than that is not of use.
const TOLD: usize = 2000;

/// Where a `LIBVIRT_URI` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The connection as the daemon is asked for it: `qemu:///system`.
    pub(crate) name: String,
    path: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Unix { sockets: Vec<PathBuf> },
    Ssh(Ssh),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ssh {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    verify: bool,
    netcat: String,
    socket: Option<String>,
}

impl Endpoint {
    /// What a `LIBVIRT_URI` says. The identity is used where the URI names no `keyfile`.
    pub(crate) fn parse(uri: &str, identity: Option<&Path>) -> Result<Self, Error> {
        let url = Url::parse(uri).map_err(|error| wrong(uri, &format!("is no URI ({error})")))?;
        let (driver, transport) = url.scheme().split_once('+').unwrap_or((url.scheme(), ""));
        if !matches!(driver, "qemu" | "test") {
            return Err(wrong(uri, &format!("is of driver {driver}, and pod VMs need qemu")));
        }
        if url.password().is_some() {
            // Not told: it would show the password.
            return Err(Error::Setting {
                key: KEY,
                problem: "has a password, which ssh does not take from there; use a key in ssh-key-secret"
                    .to_owned(),
            });
        }
        let name = format!("{driver}://{}", url.path());
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let parameter =
            |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
        let path = match transport {
            "" | "unix" if host.is_empty() => Way::Unix {
                sockets: parameter("socket")
                    .map_or_else(|| SOCKETS.map(PathBuf::from).to_vec(), |one| vec![one.into()]),
            },
            "ssh" if !host.is_empty() => {
                let word = |value: String| shell_word(uri, value);
                Way::Ssh(Ssh {
                    host: plain_host(uri, host)?,
                    user: Some(url.username()).filter(|user| !user.is_empty()).map(str::to_owned),
                    port: url.port(),
                    identity: parameter("keyfile")
                        .map(PathBuf::from)
                        .or_else(|| identity.map(Path::to_owned)),
                    known_hosts: parameter("known_hosts").map(PathBuf::from),
                    verify: parameter("no_verify").is_none_or(|value| value == "0"),
                    netcat: word(parameter("netcat").unwrap_or_else(|| "nc".to_owned()))?,
                    socket: parameter("socket").map(word).transpose()?,
                })
            }
            "ssh" => return Err(wrong(uri, "names no host")),
            _ => {
                let problem = "is reached neither by a socket of this host nor by ssh; those two are supported: \
                               qemu+ssh://root@HOST/system or qemu:///system";
                return Err(wrong(uri, problem));
            }
        };
        Ok(Self { name, path })
    }

    /// For people, without what is not theirs to see.
    pub(crate) fn told(&self) -> String {
        match &self.path {
            Way::Unix { sockets } => format!("{} by {}", self.name, sockets[0].display()),
            Way::Ssh(ssh) => format!("{} on {} by ssh", self.name, ssh.host),
        }
    }

    /// Whether it leads to another host.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.path, Way::Ssh(_))
    }

    /// What a person should know about this way.
    pub(crate) fn notes(&self) -> Vec<String> {
        match &self.path {
            Way::Ssh(Ssh { verify: false, host, .. }) => vec![format!(
                "the host key of {host} is not checked, because {KEY} has no_verify=1: whoever can answer for that address \
                 gets the pod VMs; put the key into a known_hosts file and say known_hosts=FILE instead"
            )],
            _ => Vec::new(),
        }
    }

    /// Connects. Nothing was said to libvirt yet.
    pub(crate) async fn open(&self) -> Result<Line, Error> {
        match &self.path {
            Way::Unix { sockets } => open_unix(sockets).await,
            Way::Ssh(ssh) => ssh.open(&self.name),
        }
    }
}

/// A connection, and the program that carries it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) session: Session,
    ssh: Option<(tokio::sync::Mutex<Child>, Arc<Mutex<String>>)>,
    host: String,
}

impl Line {
    /// Why the connection broke, where ssh knows it better.
    pub(crate) async fn explain(&self, why: String) -> Error {
        let kind = Kind::Libvirt;
        let Some((child, told)) = &self.ssh else { return Error::Unreachable { kind, message: why } };
        // What it says last comes shortly before it ends.
        let _ = tokio::time::timeout(Duration::from_secs(2), async { child.lock().await.wait().await }).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
        ssh_failure(&self.host, &why, &told)
    }
}

fn ssh_failure(host: &str, why: &str, told: &str) -> Error {
    let kind = Kind::Libvirt;
    let last = told.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(why).trim();
    if told.contains("Permission denied") {
        let message =
            format!("ssh to {host}: {last}; put a key that {host} accepts into ssh-key-secret (id_rsa)");
        Error::Unauthorized { kind, message }
    } else if told.contains("Host key verification failed") {
        let message = format!(
            "ssh to {host}: the host key is not known or another one; name a file with it by known_hosts=FILE in {KEY}"
        );
        Error::Unauthorized { kind, message }
    } else if told.contains("command not found") || told.contains("not found") && told.contains("nc") {
        let message = format!("ssh to {host}: {last}; install libvirt (virt-ssh-helper) or nc there");
        Error::Refused { kind, action: "connect".to_owned(), message }
    } else {
        Error::Unreachable { kind, message: format!("ssh to {host}: {last}") }
    }
}

async fn open_unix(sockets: &[PathBuf]) -> Result<Line, Error> {
    let mut failures = Vec::new();
    for socket in sockets {
        match UnixStream::connect(socket).await {
            Ok(stream) => {
                return Ok(Line { session: Session::new(stream), ssh: None, host: String::new() });
            }
            Err(error) => failures.push(format!("{}: {error}", socket.display())),
        }
    }
    Err(Error::Unreachable {
        kind: Kind::Libvirt,
        message: format!("no daemon answers on {}; start it, or change {KEY}", failures.join(", ")),
    })
}

impl Ssh {
    fn open(&self, name: &str) -> Result<Line, Error> {
        let mut child = Command::new("ssh")
            .args(self.arguments(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::Unreachable {
                kind: Kind::Libvirt,
                message: format!("cannot run ssh, which {KEY} asks for: {error}"),
            })?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            let message = "ssh has no pipes".to_owned();
            return Err(Error::Unreachable { kind: Kind::Libvirt, message });
        };
        let told = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&told);
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                if heard.len() < TOLD {
                    heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            }
        });
        let session = Session::new(tokio::io::join(stdout, stdin));
        Ok(Line { session, ssh: Some((tokio::sync::Mutex::new(child), told)), host: self.host.clone() })
    }

    fn arguments(&self, name: &str) -> Vec<String> {
        let mut all: Vec<String> = [
            "-T",
            "-e",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=15",
            "-o",
            "ServerAliveInterval=15",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut option = |name: &str, value: String| all.extend([name.to_owned(), value]);
        if let Some(port) = self.port {
            option("-p", port.to_string());
        }
        if let Some(user) = &self.user {
            option("-l", user.clone());
        }
        if let Some(identity) = &self.identity {
            option("-i", identity.display().to_string());
            option("-o", "IdentitiesOnly=yes".to_owned());
        }
        if self.verify {
            option("-o", "StrictHostKeyChecking=yes".to_owned());
            if let Some(file) = &self.known_hosts {
                option("-o", format!("UserKnownHostsFile={}", file.display()));
            }
        } else {
            option("-o", "StrictHostKeyChecking=no".to_owned());
            option("-o", "UserKnownHostsFile=/dev/null".to_owned());
            option("-o", "LogLevel=ERROR".to_owned());
        }
        all.extend(["--".to_owned(), self.host.clone(), self.remote_command(name)]);
        all
    }

    /// As libvirt's own client does: its helper, which knows the socket; else netcat to the socket.
    fn remote_command(&self, name: &str) -> String {
        let netcat = &self.netcat;
        let script = match &self.socket {
            Some(socket) => format!("exec {netcat} -U {socket}"),
            None => format!(
                "if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper {name}; fi; \
                 for s in {}; do if [ -S $s ]; then exec {netcat} -U $s; fi; done; \
                 echo no socket of libvirt >&2; exit 1",
                SOCKETS.join(" ")
            ),
        };
        format!("sh -c '{script}'")
    }
}

fn wrong(uri: &str, problem: &str) -> Error {
    Error::Setting { key: KEY, problem: format!("of peer-pods-secret is {uri:?}, which {problem}") }
}

/// Part of a command on another host: nothing that its shell would read as more than a word.
fn shell_word(uri: &str, value: String) -> Result<String, Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !value.is_empty() && value.chars().all(fine) {
        return Ok(value);
    }
    Err(wrong(uri, "has characters in socket or netcat that are neither letters, digits nor one of / . _ -"))
}

fn plain_host(uri: &str, host: String) -> Result<String, Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    // One that begins with a dash would be an option of ssh.
    if host.chars().all(fine) && !host.starts_with('-') {
        Ok(host)
    } else {
        Err(wrong(uri, "names no host that can be"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(uri: &str) -> Ssh {
        match Endpoint::parse(uri, Some(Path::new("/root/.ssh/id_rsa"))).unwrap().path {
            Way::Ssh(ssh) => ssh,
            Way::Unix { .. } => panic!("{uri}"),
        }
    }

    #[test]
    fn the_documented_uri_is_ssh_without_a_check_of_the_host() {
        let uri = "qemu+ssh://root@192.168.122.1/system?no_verify=1";
        let endpoint = Endpoint::parse(uri, None).unwrap();
        assert_eq!(endpoint.name, "qemu:///system");
        assert!(
            endpoint.notes()[0].contains("host key of 192.168.122.1 is not checked"),
            "{:?}",
            endpoint.notes()
        );
        let line = ssh(uri).arguments("qemu:///system").join(" ");
        assert!(line.contains("-l root -i /root/.ssh/id_rsa -o IdentitiesOnly=yes"), "{line}");
        assert!(line.contains("StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"), "{line}");
        assert!(line.contains("-- 192.168.122.1 sh -c 'if command -v virt-ssh-helper"), "{line}");
    }

    #[test]
    fn otherwise_the_host_is_checked() {
        let uri = "qemu+ssh://[fd00::1]:2222/system?known_hosts=/etc/known&keyfile=/k&socket=/run/libvirt.sock&netcat=ncat";
        assert!(Endpoint::parse(uri, None).unwrap().notes().is_empty());
        let line = ssh(uri).arguments("qemu:///system").join(" ");
        assert!(line.contains("-p 2222 -i /k"), "{line}");
        assert!(line.contains("StrictHostKeyChecking=yes -o UserKnownHostsFile=/etc/known"), "{line}");
        assert!(line.ends_with("-- fd00::1 sh -c 'exec ncat -U /run/libvirt.sock'"), "{line}");
    }

    #[test]
    fn sockets_of_this_host() {
        let sockets = |uri: &str| match Endpoint::parse(uri, None).unwrap().path {
            Way::Unix { sockets } => sockets,
            Way::Ssh(_) => panic!("{uri}"),
        };
        assert_eq!(sockets("qemu:///system").len(), 2);
        assert_eq!(sockets("qemu+unix:///system?socket=/tmp/s"), [PathBuf::from("/tmp/s")]);
    }

    #[test]
    fn other_uris_are_refused_in_words() {
        for (uri, told) in [
            ("", "is no URI"),
            ("kvm-host", "is no URI"),
            ("xen:///system", "driver xen"),
            ("qemu+tls://host/system", "qemu+ssh://root@HOST/system"),
            ("qemu://host/system", "qemu+ssh://root@HOST/system"),
            ("qemu+ssh:///system", "names no host"),
            ("qemu+ssh://-oProxyCommand=x/system", "no host that can be"),
            ("qemu+ssh://host/system?socket=/a;reboot", "characters in socket"),
            ("qemu+ssh://host/system?netcat=nc%20-x", "characters in socket"),
        ] {
            let error = Endpoint::parse(uri, None).unwrap_err().to_string();
            assert!(error.starts_with("LIBVIRT_URI ") && error.contains(told), "{uri}: {error}");
        }
        let error = Endpoint::parse("qemu+ssh://root:hidden@host/system", None).unwrap_err().to_string();
        assert!(error.contains("ssh-key-secret") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn what_ssh_says_becomes_what_to_do() {
        for (told, part, transient) in [
            ("root@h: Permission denied (publickey).\r\n", "ssh-key-secret (id_rsa)", false),
            ("No ED25519 host key is known\r\nHost key verification failed.\r\n", "known_hosts=FILE", false),
            ("sh: 1: nc: not found\n", "install libvirt", false),
            ("ssh: connect to host h port 22: Connection refused\r\n", "Connection refused", true),
            ("", "closed", true),
        ] {
            let error = ssh_failure("h", "libvirt has closed the connection", told);
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.is_transient(), transient, "{error}");
        }
    }
}
