//! `osc generate ... | kubectl apply -f -` on an embedded cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "peerpods/kubectl.rs"]
mod kubectl;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use osc_devcluster::server::{Server, ServerConfig};
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

fn definition(group: &str, kind: &str, plural: &str, versions: &[&str], scope: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| json!({"name": name, "served": true, "storage": index == 0, "schema": schema}))
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": scope, "versions": versions,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")}},
    })
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A cluster with these objects besides those of its topology.
struct Cluster {
    server: Server,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(topology: Topology, more: Vec<Value>) -> Self {
        let server = Server::start(ServerConfig::default()).await.unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let own = osc_api::crds().into_iter().map(|definition| serde_json::to_value(definition).unwrap());
        server.load(topology.objects(now).into_iter().chain(own).chain(more).collect()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kubeconfig"), server.kubeconfig().unwrap()).unwrap();
        Self { server, directory }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// `osc generate ... | kubectl apply -f -`, twice; then the objects as they are stored.
    async fn apply(&self, arguments: &str) -> Vec<String> {
        let kubeconfig = self.kubeconfig();
        let arguments = arguments.to_owned();
        tokio::task::spawn_blocking(move || {
            let generated = osc(&arguments, Some(&kubeconfig));
            let text = String::from_utf8(generated.stdout).unwrap();
            assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
            let first = kubectl::apply(&kubeconfig, &text);
            assert!(first.lines().all(|line| !line.contains("error")), "{first}");
            kubectl::apply(&kubeconfig, &text).lines().map(str::to_owned).collect()
        })
        .await
        .unwrap()
    }

    fn object(&self, kind: &str) -> Value {
        let objects = self.server.objects();
        let found: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"] == kind && object["metadata"]["annotations"][APPLIED].is_string())
            .collect();
        assert_eq!(found.len(), 1, "{kind}");
        (**found[0]).clone()
    }
}

/// What `kubectl apply` leaves on an object.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn osc(arguments: &str, kubeconfig: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc"));
    command.arg("generate").args(arguments.split(' ')).env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    if let Some(kubeconfig) = kubeconfig {
        command.arg("--kubeconfig").arg(kubeconfig);
    }
    command.output().unwrap()
}

fn definitions(feature_version: &str) -> Vec<Value> {
    vec![
        definition(
            "nfd.openshift.io",
            "NodeFeatureRule",
            "nodefeaturerules",
            &[feature_version],
            "Namespaced",
        ),
        // Another kind of the group, in a version of its own.
        definition(
            "nfd.openshift.io",
            "NodeFeatureDiscovery",
            "nodefeaturediscoveries",
            &["v1"],
            "Namespaced",
        ),
        definition("operators.coreos.com", "OperatorGroup", "operatorgroups", &["v1"], "Namespaced"),
        definition("operators.coreos.com", "Subscription", "subscriptions", &["v1alpha1"], "Namespaced"),
        namespace("openshift-nfd"),
        namespace("openshift-marketplace"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_applied_on_a_cluster_with_workers() {
    let cluster = Cluster::start(Topology::default(), definitions("v1alpha1")).await;
    for (arguments, expected) in [
        ("subscription", "subscription.operators.coreos.com/sandboxed-containers-operator unchanged"),
        ("nfd-rule", "nodefeaturerule.nfd.openshift.io/consolidated-hardware-features unchanged"),
        (
            "tdx-machine-config",
            "machineconfig.machineconfiguration.openshift.io/99-enable-intel-tdx unchanged",
        ),
        (
            "iommu-machine-config",
            "machineconfig.machineconfiguration.openshift.io/100-iommu-kernel-args unchanged",
        ),
        ("feature-gates --confidential", "configmap/osc-feature-gates unchanged"),
        (
            "kataconfig --confidential --selector kata=true",
            "kataconfig.kataconfiguration.openshift.io/example-kataconfig unchanged",
        ),
    ] {
        let told = cluster.apply(arguments).await;
        assert_eq!(told.last().map(String::as_str), Some(expected), "{arguments}");
    }
    assert_eq!(cluster.object("NodeFeatureRule")["apiVersion"], "nfd.openshift.io/v1alpha1");
    let gates = cluster.object("ConfigMap");
    assert_eq!(gates["data"], json!({"confidential": "true", "deploymentMode": "MachineConfig"}));
    let kata_config = cluster.object("KataConfig");
    assert_eq!(kata_config["spec"]["kataConfigPoolSelector"], json!({"matchLabels": {"kata": "true"}}));
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_and_another_version_are_seen() {
    let topology = Topology { kind: Kind::SingleNode, control_plane: 1, workers: 0, ..Topology::default() };
    let cluster = Cluster::start(topology, definitions("v1")).await;
    cluster.apply("nfd-rule --tee tdx").await;
    cluster.apply("tdx-machine-config").await;
    assert_eq!(cluster.object("NodeFeatureRule")["apiVersion"], "nfd.openshift.io/v1");
    let role =
        &cluster.object("MachineConfig")["metadata"]["labels"]["machineconfiguration.openshift.io/role"];
    assert_eq!(role, "master");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_cluster_gets_what_fits_it() {
    let topology = Topology { kind: Kind::PlainKubernetes, ..Topology::default() };
    let own = namespace("openshift-sandboxed-containers-operator");
    let rules =
        definition("nfd.k8s-sigs.io", "NodeFeatureRule", "nodefeaturerules", &["v1alpha1"], "Cluster");
    let cluster = Cluster::start(topology, vec![own, rules]).await;
    cluster.apply("feature-gates").await;
    assert_eq!(cluster.object("ConfigMap")["data"]["deploymentMode"], "DaemonSet");
    cluster.apply("nfd-rule").await;
    let rule = cluster.object("NodeFeatureRule");
    assert_eq!(
        (&rule["apiVersion"], &rule["metadata"]["namespace"]),
        (&json!("nfd.k8s-sigs.io/v1alpha1"), &Value::Null)
    );
    for (arguments, words) in [
        ("iommu-machine-config", "has no Machine Config Operator"),
        ("subscription", "has no Operator Lifecycle Manager"),
    ] {
        let kubeconfig = cluster.kubeconfig();
        let output = tokio::task::spawn_blocking(move || osc(arguments, Some(&kubeconfig))).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(words) && told.contains("--offline") && output.stdout.is_empty(), "{told}");
    }
    cluster.server.stop().await;
}

#[test]
fn without_a_cluster_the_documented_values_are_printed() {
    for offline in ["nfd-rule", "nfd-rule --offline"] {
        let output = osc(offline, None);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("# No cluster was asked"), "{text}");
    }
}

#[test]
fn a_cluster_that_cannot_be_asked_is_told_and_nothing_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("down");
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\nusers: [{name: c, user: {}}]\n";
    std::fs::write(&file, kubeconfig).unwrap();
    for (file, words) in [
        (
            file.as_path(),
            "cannot ask the cluster at http://127.0.0.1:1/; --offline prints the documented values",
        ),
        (Path::new("/nonexistent/kubeconfig"), "cannot use kubeconfig /nonexistent/kubeconfig"),
    ] {
        let output = osc("kataconfig", Some(file));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(words) && output.stdout.is_empty(), "{told}");
    }
}
