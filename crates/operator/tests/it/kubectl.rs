//! `kubectl` as a person uses it while the operator works.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::bed::{Bed, workers};

struct Kubectl {
    directory: tempfile::TempDir,
}

impl Kubectl {
    fn new(kubeconfig: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kubeconfig"), kubeconfig).unwrap();
        Self { directory }
    }

    async fn run(&self, arguments: &str, input: &str) -> String {
        let kubeconfig = self.directory.path().join("kubeconfig");
        let cache = self.directory.path().join("cache");
        let (arguments, input) = (arguments.to_owned(), input.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut child = Command::new("kubectl")
                .args(arguments.split(' '))
                .env("KUBECONFIG", kubeconfig)
                .env("KUBECACHEDIR", cache)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("kubectl is needed: hack/test-deps.sh installs it");
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "kubectl {arguments}: {stderr}");
            String::from_utf8(output.stdout).unwrap()
        })
        .await
        .unwrap()
    }
}

const EXAMPLE: &str = include_str!("../../../../docs/examples/example-kataconfig.yaml");

#[tokio::test]
async fn a_person_with_kubectl_installs_looks_changes_and_removes() {
    let bed = Bed::start(workers(2)).await;
    let kubectl = Kubectl::new(&bed.cluster.server().kubeconfig().unwrap());
    let applied = kubectl.run("apply -f -", EXAMPLE).await;
    assert_eq!(applied, "kataconfig.kataconfiguration.openshift.io/example-kataconfig created\n");
    bed.installed("example-kataconfig").await;

    let table = kubectl.run("get kataconfig", "").await;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "INPROGRESS", "COMPLETED", "TOTAL", "AGE"]);
    assert_eq!(lines[1][..4], ["example-kataconfig", "False", "2", "2"]);

    let wide = kubectl.run("get kataconfig,mcp,nodes,runtimeclass -o wide", "").await;
    for part in [
        "kataconfig.kataconfiguration.openshift.io/example-kataconfig",
        "machineconfigpool.machineconfiguration.openshift.io/kata-oc",
        "node/worker-0",
        "runtimeclass.node.k8s.io/kata",
    ] {
        assert!(wide.contains(part), "{part} is not in\n{wide}");
    }
    let pool = wide.lines().find(|line| line.contains("/kata-oc")).unwrap();
    let cells: Vec<&str> = pool.split_whitespace().collect();
    assert_eq!(cells[2..9], ["True", "False", "False", "2", "2", "2", "0"], "{pool}");

    let described = kubectl.run("describe kataconfig example-kataconfig", "").await;
    for part in
        ["Status:", "Kata Nodes:", "Installed:", "Ready Node Count:  2", "Events:", "Installing", "Installed"]
    {
        assert!(described.contains(part), "{part} is not in\n{described}");
    }
    assert_eq!(
        kubectl
            .run("wait kataconfig/example-kataconfig --for=condition=Ready --timeout=10s", "")
            .await
            .trim(),
        "kataconfig.kataconfiguration.openshift.io/example-kataconfig condition met"
    );

    let patched =
        "patch kataconfig example-kataconfig --type merge --patch {\"spec\":{\"logLevel\":\"debug\"}}";
    assert!(kubectl.run(patched, "").await.ends_with("example-kataconfig patched\n"));
    bed.until("example-kataconfig", "updating", |status| {
        status.is_some_and(|status| crate::bed::reason(status, "InProgress").1 == "Updating")
    })
    .await;
    bed.installed("example-kataconfig").await;

    // As the documentation says, this waits until the nodes are back.
    let deleted = kubectl.run("delete kataconfig example-kataconfig --timeout=80s", "").await;
    assert!(deleted.contains("example-kataconfig\" deleted"), "{deleted}");
    assert!(bed.status("example-kataconfig").await.is_none());
    bed.stop().await;
}
