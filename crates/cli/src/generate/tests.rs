//! What is printed is what the documentation has, and fits the cluster.

use super::cluster::{Cluster, Served};
use super::*;
use clap::Parser as _;
use rstest::rstest;
use serde_json::{Value, json};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// The text for these arguments and that cluster.
fn generate(arguments: &str, known: &Known) -> anyhow::Result<String> {
    let line = Line::try_parse_from(["generate"].into_iter().chain(arguments.split(' ')))?;
    text(&line.arguments.what, known)
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn document(arguments: &str, known: &Known) -> Value {
    let documents = documents(&generate(arguments, known).unwrap());
    assert_eq!(documents.len(), 1);
    documents.into_iter().next().unwrap()
}

fn offline() -> Known {
    Known::default()
}

fn cluster(change: impl Fn(&mut Cluster)) -> Known {
    let mut cluster = Cluster {
        address: "https://api.example.com:6443/".to_owned(),
        openshift: Some("4.21.9".to_owned()),
        dedicated_workers: true,
        machine_configs: true,
        olm: true,
        ..Cluster::default()
    };
    change(&mut cluster);
    Known { cluster: Some(cluster) }
}

/// The documented rules.
fn documented_rules() -> Value {
    let exists = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"op": "Exists"})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let features =
        |feature: &str, expressions: Value| json!({"feature": feature, "matchExpressions": expressions});
    let kvm = |instruction: &str, module: &str| {
        json!({"matchFeatures": [
            features("cpu.cpuid", exists(&["SSE42", instruction])),
            features("kernel.loadedmodule", exists(&["kvm", module])),
        ]})
    };
    json!([
        {
            "name": "runtime.kata",
            "labels": {"feature.node.kubernetes.io/runtime.kata": "true"},
            "matchAny": [kvm("VMX", "kvm_intel"), kvm("SVM", "kvm_amd")],
        },
        {
            "name": "amd.sev-snp",
            "labels": {"amd.feature.node.kubernetes.io/snp": "true"},
            "extendedResources": {"sev-snp.amd.com/esids": "@cpu.security.sev.encrypted_state_ids"},
            "matchFeatures": [
                features("cpu.cpuid", exists(&["SVM"])),
                features("cpu.security", exists(&["sev.snp.enabled"])),
            ],
        },
        {
            "name": "intel.sgx",
            "labels": {"intel.feature.node.kubernetes.io/sgx": "true"},
            "extendedResources": {"sgx.intel.com/epc": "@cpu.security.sgx.epc"},
            "matchFeatures": [
                features("cpu.cpuid", exists(&["SGX", "SGXLC"])),
                features("cpu.security", json!({"sgx.enabled": {"op": "IsTrue"}})),
                features("kernel.config", exists(&["X86_SGX"])),
            ],
        },
        {
            "name": "intel.tdx",
            "labels": {"intel.feature.node.kubernetes.io/tdx": "true"},
            "extendedResources": {"tdx.intel.com/keys": "@cpu.security.tdx.total_keys"},
            "matchFeatures": [
                features("cpu.cpuid", exists(&["VMX"])),
                features("cpu.security", exists(&["tdx.enabled"])),
            ],
        },
        {
            "name": "ibm.se.enabled",
            "labels": {"ibm.feature.node.kubernetes.io/se": "true"},
            "matchFeatures": [features("cpu.security", json!({"se.enabled": {"op": "IsTrue"}}))],
        },
    ])
}

#[test]
fn the_node_feature_rule_is_the_documented_one() {
    assert_eq!(
        document("nfd-rule", &offline()),
        json!({
            "apiVersion": "nfd.openshift.io/v1alpha1",
            "kind": "NodeFeatureRule",
            "metadata": {"name": "consolidated-hardware-features", "namespace": "openshift-nfd"},
            "spec": {"rules": documented_rules()},
        })
    );
}

#[rstest]
#[case("nfd-rule --tee tdx", &["runtime.kata", "intel.sgx", "intel.tdx"])]
#[case("nfd-rule --tee snp,se", &["runtime.kata", "amd.sev-snp", "ibm.se.enabled"])]
#[case("nfd-rule --tee snp --tee se", &["runtime.kata", "amd.sev-snp", "ibm.se.enabled"])]
#[case("nfd-rule --tee none", &["runtime.kata"])]
fn rules_are_chosen_by_tee(#[case] arguments: &str, #[case] expected: &[&str]) {
    let rules = document(arguments, &offline())["spec"]["rules"].clone();
    let documented = documented_rules();
    let known: Vec<&Value> = documented
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| expected.contains(&rule["name"].as_str().unwrap()))
        .collect();
    assert_eq!(rules.as_array().unwrap().iter().collect::<Vec<_>>(), known);
}

#[rstest]
#[case("nfd.openshift.io/v1alpha1", true, Some("openshift-nfd"))]
#[case("nfd.openshift.io/v1", true, Some("openshift-nfd"))]
#[case("nfd.openshift.io/v1", false, None)]
#[case("nfd.k8s-sigs.io/v1alpha1", false, None)]
#[case("nfd.k8s-sigs.io/v1alpha1", true, Some("node-feature-discovery"))]
fn the_rule_is_of_the_version_that_is_served(
    #[case] api_version: &str,
    #[case] namespaced: bool,
    #[case] namespace: Option<&str>,
) {
    let served = Served { api_version: api_version.to_owned(), namespaced };
    let known = cluster(|cluster| cluster.node_feature_rules = Some(served.clone()));
    let rule = document("nfd-rule", &known);
    assert_eq!(
        (rule["apiVersion"].as_str(), rule["metadata"]["namespace"].as_str()),
        (Some(api_version), namespace)
    );
}

#[test]
fn a_cluster_without_node_feature_discovery_is_told() {
    let text = generate("nfd-rule", &cluster(|_| {})).unwrap();
    assert!(
        text.contains(
            "# This cluster does not know NodeFeatureRules yet: install the Node Feature Discovery"
        ),
        "{text}"
    );
    assert_eq!(documents(&text)[0]["apiVersion"], "nfd.openshift.io/v1alpha1");
}

fn tdx_machine_config(role: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {
            "name": "99-enable-intel-tdx",
            "labels": {"machineconfiguration.openshift.io/role": role},
        },
        "spec": {
            "kernelArguments": ["kvm_intel.tdx=1", "nohibernate"],
            "config": {
                "ignition": {"version": "3.2.0"},
                "storage": {"files": [{
                    "path": "/etc/modules-load.d/vsock.conf",
                    "mode": 420,
                    "contents": {"source": "data:text/plain;charset=utf-8;base64,dnNvY2stbG9vcGJhY2sK"},
                }]},
            },
        },
    })
}

fn iommu_machine_config(role: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {
            "name": "100-iommu-kernel-args",
            "labels": {"machineconfiguration.openshift.io/role": role},
        },
        "spec": {
            "config": {"ignition": {"version": "3.2.0"}},
            "kernelArguments": ["amd_iommu=on", "intel_iommu=on"],
        },
    })
}

#[rstest]
#[case::nobody_asked("", None, "kata-oc", "worker")]
#[case::workers("", Some(true), "kata-oc", "worker")]
#[case::single_node("", Some(false), "master", "master")]
#[case::asked_for(" --role gpu", Some(true), "gpu", "gpu")]
fn machine_configs_are_the_documented_ones(
    #[case] flags: &str,
    #[case] dedicated_workers: Option<bool>,
    #[case] tdx: &str,
    #[case] iommu: &str,
) {
    let known = dedicated_workers
        .map_or_else(offline, |dedicated| cluster(|cluster| cluster.dedicated_workers = dedicated));
    assert_eq!(document(&format!("tdx-machine-config{flags}"), &known), tdx_machine_config(tdx));
    assert_eq!(document(&format!("iommu-machine-config{flags}"), &known), iommu_machine_config(iommu));
}

fn gates(data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "osc-feature-gates", "namespace": "openshift-sandboxed-containers-operator"},
        "data": data,
    })
}

#[rstest]
#[case("feature-gates --confidential", true, json!({"confidential": "true", "deploymentMode": "MachineConfig"}))]
#[case("feature-gates", true, json!({"confidential": "false", "deploymentMode": "MachineConfig"}))]
#[case("feature-gates", false, json!({"confidential": "false", "deploymentMode": "DaemonSet"}))]
#[case(
    "feature-gates --deployment-mode DaemonSetFallback --layered-image --memory-overhead 512", true,
    json!({"confidential": "false", "deploymentMode": "DaemonSetFallback", "layeredImageDeployment": "true",
        "memoryOverheadMB": "512"})
)]
fn feature_gates_are_the_documented_ones(
    #[case] arguments: &str,
    #[case] machine_configs: bool,
    #[case] data: Value,
) {
    let known = cluster(|cluster| cluster.machine_configs = machine_configs);
    assert_eq!(document(arguments, &known), gates(&data));
    if machine_configs {
        assert_eq!(document(arguments, &offline()), gates(&data));
    }
}

#[rstest]
#[case::kata("kataconfig", json!({"enablePeerPods": false, "checkNodeEligibility": false, "logLevel": "info"}))]
#[case::confidential(
    "kataconfig --confidential",
    json!({"enablePeerPods": false, "checkNodeEligibility": true, "logLevel": "info"})
)]
#[case::selected(
    "kataconfig --selector kata=true --selector example.com/zone=1 --log-level debug",
    json!({"enablePeerPods": false, "checkNodeEligibility": false, "logLevel": "debug",
        "kataConfigPoolSelector": {"matchLabels": {"kata": "true", "example.com/zone": "1"}}})
)]
fn the_kata_config_is_the_documented_one(#[case] arguments: &str, #[case] spec: Value) {
    let expected = json!({
        "apiVersion": "kataconfiguration.openshift.io/v1",
        "kind": "KataConfig",
        "metadata": {"name": "example-kataconfig"},
        "spec": spec,
    });
    assert_eq!(document(arguments, &offline()), expected);
}

#[test]
fn the_subscription_is_the_documented_one() {
    let namespace = "openshift-sandboxed-containers-operator";
    let expected = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({
            "apiVersion": "operators.coreos.com/v1",
            "kind": "OperatorGroup",
            "metadata": {"name": "sandboxed-containers-operator-group", "namespace": namespace},
            "spec": {"targetNamespaces": [namespace]},
        }),
        json!({
            "apiVersion": "operators.coreos.com/v1alpha1",
            "kind": "Subscription",
            "metadata": {"name": "sandboxed-containers-operator", "namespace": namespace},
            "spec": {
                "channel": "stable",
                "installPlanApproval": "Automatic",
                "name": "sandboxed-containers-operator",
                "source": "redhat-operators",
                "sourceNamespace": "openshift-marketplace",
                "startingCSV": "sandboxed-containers-operator.v1.12.0",
            },
        }),
    ];
    assert_eq!(documents(&generate("subscription", &offline()).unwrap()), expected);
    let manual = documents(&generate("subscription --manual --source own", &cluster(|_| {})).unwrap());
    assert_eq!(
        (&manual[2]["spec"]["installPlanApproval"], &manual[2]["spec"]["source"]),
        (&json!("Manual"), &json!("own"))
    );
}

/// Arguments that cannot be carried out, and what is said about them.
#[rstest]
#[case("nfd-rule --tee none,tdx", "--tee none stands alone")]
#[case("nfd-rule --tee sgx", "invalid value 'sgx' for '--tee <TEE>'")]
#[case("tdx-machine-config --role Kata_OC", "--role is \"Kata_OC\", which is no name of a pool")]
#[case(
    "feature-gates --deployment-mode Daemonset",
    "[possible values: MachineConfig, DaemonSet, DaemonSetFallback]"
)]
#[case(
    "feature-gates --deployment-mode DaemonSet --layered-image",
    "--layered-image has no effect without the Machine Config"
)]
#[case("feature-gates --memory-overhead 0", "0 is not in 1..=32768")]
#[case("kataconfig --log-level loud", "[possible values: fatal, panic, error, warn, info, debug, trace]")]
#[case("kataconfig --name Kata", "--name is \"Kata\", which is no name of an object")]
#[case("kataconfig --selector kata", "--selector is \"kata\"; write KEY=VALUE, for instance kata=true")]
#[case("kataconfig --selector kata=yes!", "--selector.matchLabels[kata]: \"yes!\" is no label value")]
#[case("kataconfig --selector a=b --selector a=c", "--selector names label a twice")]
#[case("subscription --channel 'x", "--channel is \"'x\"; write a name")]
#[case("everything", "unrecognized subcommand 'everything'")]
fn what_cannot_be_is_refused_in_words(#[case] arguments: &str, #[case] words: &str) {
    let error = generate(arguments, &offline()).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[rstest]
#[case("tdx-machine-config", "has no Machine Config Operator, so that a MachineConfig does nothing there")]
#[case("iommu-machine-config", "has no Machine Config Operator, so that a MachineConfig does nothing there")]
#[case(
    "feature-gates --deployment-mode MachineConfig",
    "this cluster has no Machine Config Operator; use DaemonSet"
)]
#[case("subscription", "has no Operator Lifecycle Manager; install the operator with oc apply -k deploy/")]
fn what_a_plain_cluster_lacks_is_told(#[case] arguments: &str, #[case] words: &str) {
    let known = cluster(|cluster| (cluster.machine_configs, cluster.olm) = (false, false));
    let error = generate(arguments, &known).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[rstest]
#[case("kataconfig", "There is KataConfig \"mine\" already, and a second one is refused")]
#[case(
    "feature-gates",
    "There is KataConfig \"mine\" already: the deployment mode of what is installed cannot be changed"
)]
fn what_is_there_already_is_told(#[case] arguments: &str, #[case] words: &str) {
    let known = cluster(|cluster| cluster.kata_configs = vec!["mine".to_owned()]);
    assert!(generate(arguments, &known).unwrap().contains(words));
    assert!(!generate("kataconfig --name mine", &known).unwrap().contains("already"));
}

#[rstest]
#[case(offline(), "# No cluster was asked: the values are the documented ones.\n")]
#[case(cluster(|_| {}), "# For the cluster at https://api.example.com:6443/, OpenShift 4.21.9.\n")]
#[case(cluster(|cluster| cluster.openshift = None), "# For the cluster at https://api.example.com:6443/.\n")]
fn it_is_said_where_the_values_come_from(#[case] known: Known, #[case] line: &str) {
    for what in [
        "nfd-rule",
        "tdx-machine-config",
        "iommu-machine-config",
        "feature-gates",
        "kataconfig",
        "subscription",
    ] {
        let text = generate(what, &known).unwrap();
        assert!(text.starts_with("# ") && text.contains(line), "{text}");
    }
}
