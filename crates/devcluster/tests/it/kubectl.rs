//! The real `kubectl` against the embedded server.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use osc_devcluster::Clock;
use osc_devcluster::server::{Server, ServerConfig};
use serde_json::{Value, json};

use crate::support::{definition, pod, runtime_class, widget};

struct Kubectl {
    home: tempfile::TempDir,
}

/// Standard output and error of one call, and whether it succeeded.
struct Outcome {
    ok: bool,
    out: String,
    err: String,
}

impl Kubectl {
    /// None, loudly, if `kubectl` is older than 1.`minor`: Debian's has not learnt everything that is tried here.
    fn of(server: &Server, minor: u32) -> Option<Self> {
        let version = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output();
        let version = version.expect("kubectl is needed: hack/test-deps.sh installs it");
        let version: Value = serde_json::from_slice(&version.stdout).unwrap();
        let found = version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+');
        if found.parse::<u32>().unwrap() < minor {
            eprintln!("SKIPPED: this needs kubectl 1.{minor}; found 1.{found}");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kubeconfig"), server.kubeconfig().unwrap()).unwrap();
        Some(Self { home })
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn run(&self, arguments: &str, input: &str) -> Outcome {
        let mut command = Command::new("kubectl");
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let call = move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::spawn_blocking(call).await.unwrap();
        Outcome {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Output of a call that has to succeed.
    async fn ok(&self, arguments: &str) -> String {
        let outcome = self.run(arguments, "").await;
        assert!(outcome.ok, "kubectl {arguments}: {}", outcome.err);
        outcome.out
    }
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_printed_with_roles_and_ages() {
    let clock = Clock::scaled(1.0, "2026-01-01T09:00:00Z".parse().unwrap());
    let config = ServerConfig { clock, tls: true, token: Some("t".into()), ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 20) else { return };
    server
        .load(vec![json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "worker-0", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {
                "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/kata-oc": "" } },
            "spec": { "unschedulable": true },
            "status": {
                "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
                "nodeInfo": { "kubeletVersion": "v1.32.5", "osImage": "RHCOS", "kernelVersion": "5.14",
                    "containerRuntimeVersion": "cri-o://1.32", "architecture": "amd64", "bootID": "",
                    "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "systemUUID": "" },
            },
        })])
        .unwrap();
    let printed = kubectl.ok("get nodes -o wide").await;
    let lines: Vec<String> = printed.lines().map(squeezed).collect();
    assert_eq!(
        lines[0],
        "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME"
    );
    assert_eq!(
        lines[1],
        "worker-0 Ready,SchedulingDisabled kata-oc,worker 9h v1.32.5 10.0.0.1 <none> RHCOS 5.14 cri-o://1.32"
    );
    let described = kubectl.ok("describe node worker-0").await;
    assert!(described.contains("Unschedulable:      true"), "{described}");
    kubectl.ok("uncordon worker-0").await;
    assert!(!kubectl.ok("get nodes").await.contains("SchedulingDisabled"));
    kubectl.ok("label node worker-0 a=b").await;
    assert_eq!(kubectl.ok("get nodes -l a=b -o name").await.trim(), "node/worker-0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_applied_patched_and_deleted() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 20) else { return };
    let manifest = |image: &str| {
        json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "d" },
            "spec": { "selector": { "matchLabels": { "a": "b" } }, "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "c", "image": image }] } } } })
        .to_string()
    };
    let apply = |text: String| {
        let kubectl = &kubectl;
        async move { kubectl.run("apply -f -", &text).await.out.trim().to_owned() }
    };
    assert_eq!(apply(manifest("i:1")).await, "daemonset.apps/d created");
    assert_eq!(apply(manifest("i:1")).await, "daemonset.apps/d unchanged");
    assert_eq!(apply(manifest("i:2")).await, "daemonset.apps/d configured");
    let printed = kubectl.ok("get ds d -o wide").await;
    let line = squeezed(printed.lines().nth(1).unwrap());
    assert!(line.starts_with("d 0 0 0 0 0 <none>") && line.ends_with("c i:2 a=b"), "{line}");
    assert_eq!(kubectl.ok("get ds d -o jsonpath={.metadata.generation}").await, "2");
    let patched =
        kubectl.ok(r#"patch ds d --type=json -p [{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]"#);
    assert_eq!(patched.await.trim(), "daemonset.apps/d patched");
    let patched = kubectl.ok(r#"patch ds d -p {"metadata":{"labels":{"x":"z"}}}"#).await;
    assert_eq!(patched.trim(), "daemonset.apps/d patched");
    let file = kubectl.file("d.yaml", &manifest("i:3"));
    let applied = kubectl.run(&format!("apply --server-side -f {}", file.display()), "").await;
    assert!(!applied.ok);
    assert!(applied.err.contains("Apply failed with 1 conflict"), "{}", applied.err);
    kubectl.ok(&format!("apply --server-side --force-conflicts -f {}", file.display())).await;
    assert_eq!(kubectl.ok("delete ds d").await.trim(), "daemonset.apps \"d\" deleted");
    let missing = kubectl.run("get ds d", "").await;
    assert_eq!(missing.err.trim(), "Error from server (NotFound): daemonsets.apps \"d\" not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_explained_printed_and_checked() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 27) else { return };
    let made = kubectl.run("create -f -", &definition().to_string()).await;
    assert_eq!(made.out.trim(), "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created");
    let made = kubectl.run("create -f -", &widget("w", 3).to_string()).await;
    assert_eq!(made.out.trim(), "widget.example.com/w created", "{}", made.err);
    kubectl
        .ok(r#"patch widget w --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Updated","status":"True"}]}}"#)
        .await;
    let printed = kubectl.ok("get wd -o wide").await;
    let lines: Vec<String> = printed.lines().map(squeezed).collect();
    assert_eq!(lines[0], "NAME UPDATED SIZE NOTE AGE");
    assert!(lines[1].starts_with("w True 3 none "), "{}", lines[1]);
    let mut typo = widget("x", 1);
    typo["spec"]["colour"] = json!("red");
    let refused = kubectl.run("apply -f -", &typo.to_string()).await;
    assert!(!refused.ok);
    assert!(refused.err.contains("strict decoding error: unknown field \"spec.colour\""), "{}", refused.err);
    let explained = kubectl.ok("explain widget.spec").await;
    assert!(explained.contains("size\t<integer> -required-"), "{explained}");
    assert!(kubectl.ok("explain pod.spec.runtimeClassName").await.contains("RuntimeClass"));
    let mut changed = widget("w", 4);
    changed["metadata"]["annotations"] = json!({});
    let applied = kubectl.run("apply -f -", &changed.to_string()).await;
    assert_eq!(applied.out.trim(), "widget.example.com/w configured", "{}", applied.err);
    let resources = kubectl.ok("api-resources").await;
    assert!(
        resources.lines().any(|l| squeezed(l) == "widgets wd example.com/v1 false Widget"),
        "{resources}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_described_waited_for_and_refused() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 27) else { return };
    let mut object = pod("p");
    object["spec"]["runtimeClassName"] = json!("kata");
    let refused = kubectl.run("create -f -", &object.to_string()).await;
    assert!(
        refused.err.contains("pods \"p\" is forbidden: pod rejected: RuntimeClass \"kata\" not found"),
        "{}",
        refused.err
    );
    server.load(vec![runtime_class("kata")]).unwrap();
    assert!(kubectl.run("create -f -", &object.to_string()).await.ok);
    let described = kubectl.ok("describe pod p").await;
    assert!(described.contains("Runtime Class Name:  kata"), "{described}");
    let printed = kubectl.ok("get pods").await;
    assert!(squeezed(printed.lines().nth(1).unwrap()).starts_with("p 0/1 Pending 0 "), "{printed}");
    let classes = kubectl.ok("get runtimeclass").await;
    assert!(squeezed(classes.lines().nth(1).unwrap()).starts_with("kata kata "), "{classes}");
    kubectl.ok("delete pod p --wait").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_only_sends_as_protobuf_is_read() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 27) else { return };
    for (arguments, made) in [
        ("create namespace n", "namespace/n created"),
        ("create configmap c --from-literal=a=b", "configmap/c created"),
        ("create secret generic s --from-literal=a=b", "secret/s created"),
        ("create serviceaccount sa", "serviceaccount/sa created"),
        ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
        (
            "create clusterrole cr --verb=get --resource=pods",
            "clusterrole.rbac.authorization.k8s.io/cr created",
        ),
        (
            "create rolebinding rb --role=r --serviceaccount=default:sa",
            "rolebinding.rbac.authorization.k8s.io/rb created",
        ),
        (
            "create clusterrolebinding crb --clusterrole=cr --user=u",
            "clusterrolebinding.rbac.authorization.k8s.io/crb created",
        ),
        ("create deployment d --image=i:1 --replicas=0 --port=80", "deployment.apps/d created"),
        ("create job j --image=i:1 -- sleep 1", "job.batch/j created"),
        ("create service clusterip svc --tcp=80:8080", "service/svc created"),
        (
            "create poddisruptionbudget p --selector=a=b --min-available=50%",
            "poddisruptionbudget.policy/p created",
        ),
        ("create priorityclass pc --value=5", "priorityclass.scheduling.k8s.io/pc created"),
        ("auth can-i create pods", "yes"),
    ] {
        assert_eq!(kubectl.ok(arguments).await.trim(), made);
    }
    assert_eq!(kubectl.ok("get configmap c -o jsonpath={.data}").await, r#"{"a":"b"}"#);
    assert_eq!(kubectl.ok("get secret s -o jsonpath={.data.a}").await, "Yg==");
    let path = "jsonpath={.spec.replicas},{.spec.template.spec.containers[0].ports[0].containerPort}";
    assert_eq!(kubectl.ok(&format!("get deployment d -o {path}")).await, "0,80");
    assert_eq!(kubectl.ok("get pdb p -o jsonpath={.spec.minAvailable}").await, "50%");
    let path = "jsonpath={.spec.template.spec.containers[0].command}";
    assert_eq!(kubectl.ok(&format!("get job j -o {path}")).await, r#"["sleep","1"]"#);
    assert_eq!(kubectl.ok("get svc svc -o jsonpath={.spec.ports[0].targetPort}").await, "8080");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_evicts_and_respects_budgets() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let Some(kubectl) = Kubectl::of(&server, 27) else { return };
    let mut object = pod("p");
    object["spec"]["nodeName"] = json!("n");
    object["metadata"]["labels"] = json!({ "app": "x" });
    object["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "x" } } } });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } });
    server.load(vec![node, object, budget]).unwrap();
    let refused = kubectl.run("drain n --force --timeout=2s", "").await;
    assert!(!refused.ok);
    assert!(refused.err.contains("would violate the pod's disruption budget"), "{}", refused.err);
    kubectl.ok("delete pdb b").await;
    let drained = kubectl.run("drain n --force --timeout=10s --grace-period=0", "").await;
    assert!(drained.ok, "{}", drained.err);
    assert!(drained.out.contains("node/n drained"), "{}", drained.out);
}
