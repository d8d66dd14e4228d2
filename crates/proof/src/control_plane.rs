//! etcd, kube-apiserver and the two controllers of kube-controller-manager that a bare API server lacks.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};

const ADMIN_TOKEN: &str = "admin-of-this-test";

/// Everything is logged that a request says about itself, and nothing of its content.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

/// A running control plane. It ends when dropped.
pub struct ControlPlane {
    directory: tempfile::TempDir,
    port: u16,
    etcd_port: u16,
    processes: Vec<Process>,
}

/// A running binary, and how it was started.
struct Process {
    binary: &'static str,
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.processes.iter_mut().rev().for_each(Process::end);
    }
}

/// Where the binaries are. Who comes first when there are none builds them, which takes minutes; the others wait.
/// Without them nothing is proven, so that there is no going on.
fn assets() -> &'static Path {
    static ASSETS: OnceLock<PathBuf> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let script = crate::root().join("hack/control-plane.sh");
        let output = Command::new(&script).stderr(Stdio::inherit()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        assert!(
            output.status.success(),
            "there is no control plane to run on: hack/control-plane.sh failed and said above why"
        );
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl ControlPlane {
    /// Starts one. Nothing is in it but what the API server itself makes.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (client_port, peer_port) = (free_port(), free_port());
        let mut plane = Self { directory, port: free_port(), etcd_port: client_port, processes: Vec::new() };
        plane.write("audit-policy.yaml", AUDIT_POLICY);
        plane.write("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,system:masters\n"));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        plane.write("service-account.key", &key.serialize_pem());
        plane.write("service-account.pub", &key.public_key_pem());
        let file = |name: &str| plane.directory.path().join(name).display().to_string();
        let etcd = [
            format!("--data-dir={}", file("etcd")),
            format!("--listen-client-urls=http://127.0.0.1:{client_port}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client_port}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
        ];
        let apiserver = [
            format!("--etcd-servers=http://127.0.0.1:{client_port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", plane.port),
            format!("--cert-dir={}", file("certificates")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
            format!("--service-account-key-file={}", file("service-account.pub")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={}", file("tokens.csv")),
            // As OpenShift has it: who blocks an owner's deletion must be allowed to.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
            // Nobody makes the ServiceAccounts that the one would demand of every pod, nobody takes away the taint that
            // the other gives to every new node.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
        ];
        plane.spawn("etcd", etcd.to_vec());
        plane.spawn("kube-apiserver", apiserver.to_vec());
        plane.wait_until_ready().await;
        let kubeconfig = plane.write("admin.kubeconfig", &plane.kubeconfig());
        let manager = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--controllers=garbagecollector,namespace,clusterrole-aggregation".to_owned(),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        plane.spawn("kube-controller-manager", manager.to_vec());
        plane
    }

    /// Starts kube-scheduler, too, for those who want pods to get their nodes from the real one.
    pub fn start_scheduler(&mut self) {
        assert!(
            assets().join("kube-scheduler").exists(),
            "there is no kube-scheduler in {}; unset KUBEBUILDER_ASSETS to have it built",
            assets().display()
        );
        let kubeconfig = self.directory.path().join("admin.kubeconfig");
        let scheduler = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.spawn("kube-scheduler", scheduler.to_vec());
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn spawn(&mut self, binary: &'static str, arguments: Vec<String>) {
        let program = assets().join(binary);
        let path = self.log_file(binary);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        // It ends with the thread that started it, however that ends: nothing is left behind by an interrupted proof.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args(&arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start setpriv (of util-linux) {}: {error}", program.display())
            });
        self.processes.push(Process { binary, arguments, child });
    }

    fn log_file(&self, binary: &str) -> PathBuf {
        self.directory.path().join(format!("{binary}.log"))
    }

    /// The API server ends, is gone for that long, and comes back with what it had.
    pub async fn outage(&mut self, duration: Duration) {
        let found = self.processes.iter().position(|process| process.binary == "kube-apiserver");
        let mut apiserver = self.processes.remove(found.expect("the API server was started"));
        apiserver.end();
        tokio::time::sleep(duration).await;
        self.spawn(apiserver.binary, apiserver.arguments);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let admin = self.admin("readiness");
        for _ in 0..300 {
            if self.processes.iter_mut().any(|process| process.child.try_wait().unwrap().is_some()) {
                break;
            }
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            if admin.request_text(request).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let log = std::fs::read_to_string(self.log_file("kube-apiserver")).unwrap_or_default();
        panic!(
            "kube-apiserver did not become ready: {}",
            log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
        );
    }

    /// A kubeconfig of one who may do everything.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: test, user: {{token: '{ADMIN_TOKEN}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.port
        )
    }

    /// Makes etcd forget the history of all objects: what was read before cannot be continued.
    pub async fn compact(&self) {
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        let etcd = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let post =
            |path: &str, body: &Value| http::Request::post(path).body(body.to_string().into_bytes()).unwrap();
        let key = json!({ "key": "AA==" });
        let answer: Value = etcd.request(post("/v3/kv/range", &key)).await.unwrap();
        let revision = json!({ "revision": answer["header"]["revision"], "physical": true });
        etcd.request_text(post("/v3/kv/compaction", &revision)).await.unwrap();
    }

    fn client(&self, user: AuthInfo, user_agent: &str) -> Client {
        Client::try_from(self.config(user, user_agent)).unwrap()
    }

    /// The configuration of a client that may do everything.
    pub fn admin_config(&self, user_agent: &str) -> Config {
        self.config(with_token(ADMIN_TOKEN), user_agent)
    }

    fn config(&self, user: AuthInfo, user_agent: &str) -> Config {
        let mut config = Config::new(format!("https://127.0.0.1:{}", self.port).parse().unwrap());
        // The server makes its own certificate at each start.
        config.accept_invalid_certs = true;
        config.auth_info = user;
        config.headers.push((http::header::USER_AGENT, user_agent.parse().unwrap()));
        config
    }

    /// A client that may do everything.
    pub fn admin(&self, user_agent: &str) -> Client {
        self.client(with_token(ADMIN_TOKEN), user_agent)
    }

    /// A client of a person with that name, who may do what bindings say.
    pub fn person(&self, name: &str) -> Client {
        self.client(AuthInfo { impersonate: Some(name.to_owned()), ..with_token(ADMIN_TOKEN) }, name)
    }

    /// A client with the rights of a ServiceAccount.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Client {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&body).unwrap())
            .unwrap();
        let answer: Value = self.admin("test").request(request).await.unwrap();
        self.client(with_token(answer["status"]["token"].as_str().unwrap()), name)
    }

    /// The audit log: one JSON object a line, written before each answer.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }
}

fn with_token(token: &str) -> AuthInfo {
    AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }
}
