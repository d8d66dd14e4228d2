//! etcd, kube-apiserver and the two controllers of kube-controller-manager that a bare API server lacks.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
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
    processes: Vec<Child>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the binaries are. Building them takes minutes; `make test` does it before.
fn assets() -> PathBuf {
    let output =
        Command::new(root().join("hack/control-plane.sh")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "hack/control-plane.sh failed");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl ControlPlane {
    /// Starts one. Nothing is in it but what the API server itself makes.
    pub async fn start() -> Self {
        let assets = assets();
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
        plane.spawn(&assets, "etcd", &etcd);
        plane.spawn(&assets, "kube-apiserver", &apiserver);
        plane.wait_until_ready().await;
        let kubeconfig = plane.write("admin.kubeconfig", &plane.admin_kubeconfig());
        let manager = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--controllers=garbagecollector,namespace".to_owned(),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        plane.spawn(&assets, "kube-controller-manager", &manager);
        plane
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn spawn(&mut self, assets: &Path, binary: &str, arguments: &[String]) {
        let log = std::fs::File::create(self.directory.path().join(format!("{binary}.log"))).unwrap();
        let child = Command::new(assets.join(binary))
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", assets.join(binary).display()));
        self.processes.push(child);
    }

    async fn wait_until_ready(&mut self) {
        let admin = self.admin("readiness");
        for _ in 0..300 {
            if self.processes.iter_mut().any(|process| process.try_wait().unwrap().is_some()) {
                break;
            }
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            if admin.request_text(request).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let log =
            std::fs::read_to_string(self.directory.path().join("kube-apiserver.log")).unwrap_or_default();
        panic!(
            "kube-apiserver did not become ready: {}",
            log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
        );
    }

    fn kubeconfig(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: test, user: {{token: '{token}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.port
        )
    }

    /// A kubeconfig of somebody who may do everything.
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig(ADMIN_TOKEN)
    }

    /// Makes etcd forget the history of all objects: what was read before cannot be continued.
    pub async fn compact(&self) {
        let etcd =
            Client::try_from(Config::new(format!("http://127.0.0.1:{}", self.etcd_port).parse().unwrap())).unwrap();
        let post = |path: &str, body: &Value| http::Request::post(path).body(body.to_string().into_bytes()).unwrap();
        let key = json!({ "key": "AA==" });
        let answer: Value = etcd.request(post("/v3/kv/range", &key)).await.unwrap();
        let revision = json!({ "revision": answer["header"]["revision"], "physical": true });
        etcd.request_text(post("/v3/kv/compaction", &revision)).await.unwrap();
    }

    fn config(&self, token: &str, user_agent: &str) -> Config {
        let mut config = Config::new(format!("https://127.0.0.1:{}", self.port).parse().unwrap());
        // The server makes its own certificate at each start.
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        config.headers.push((http::header::USER_AGENT, user_agent.parse().unwrap()));
        config
    }

    fn client(&self, token: &str, user_agent: &str) -> Client {
        Client::try_from(self.config(token, user_agent)).unwrap()
    }

    /// The configuration of a client that may do everything.
    pub fn admin_config(&self, user_agent: &str) -> Config {
        self.config(ADMIN_TOKEN, user_agent)
    }

    /// A client that may do everything.
    pub fn admin(&self, user_agent: &str) -> Client {
        self.client(ADMIN_TOKEN, user_agent)
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
        self.client(answer["status"]["token"].as_str().unwrap(), "osc-operator")
    }

    /// Applies `deploy/osc.yaml`, as `kubectl apply` does; kinds that this server does not know are left out by name.
    pub async fn install_manifests(&self, left_out: &[&str]) {
        let text = std::fs::read_to_string(root().join("deploy/osc.yaml")).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let client = self.admin("kubectl");
        for object in objects {
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            let types = object.types.clone().unwrap();
            if left_out.contains(&types.kind.as_str()) {
                continue;
            }
            let kind = kube::api::GroupVersionKind::try_from(&types).unwrap();
            let resource = kube::api::ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let name = object.metadata.name.clone().unwrap();
            api.patch(&name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object))
                .await
                .unwrap_or_else(|error| panic!("cannot apply {} {name}: {error}", types.kind));
        }
    }

    /// The audit log so far: one JSON object a line.
    pub fn audit_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
