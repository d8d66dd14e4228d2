//! `osc peerpods` on embedded clusters of four clouds.

use osc_api::peerpods::Provider;
use osc_devcluster::server::{Server, ServerConfig};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Cluster, PLANTED, check, osc, setup, stderr, stdout};

/// What a person finds out with the commands that are printed.
fn found(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::Aws => &[
            ("AWS_SUBNET_ID", "subnet-0a1b2c"),
            ("AWS_VPC_ID", "vpc-0a1b2c"),
            ("AWS_SG_IDS", "sg-0a1b2c,sg-0d4e5f"),
        ],
        Provider::Azure => &[
            (
                "AZURE_SUBNET_ID",
                "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Network/virtualNetworks/v/subnets/worker",
            ),
            (
                "AZURE_NSG_ID",
                "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Network/networkSecurityGroups/nsg",
            ),
            (
                "AZURE_IMAGE_ID",
                "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Compute/galleries/shop/images/podvm/versions/1.0.0",
            ),
        ],
        Provider::Gcp => &[("GCP_NETWORK", "shop-network"), ("PODVM_IMAGE_NAME", "shop-podvm")],
        Provider::Libvirt => &[
            ("LIBVIRT_POOL", "shop"),
            ("LIBVIRT_VOL_NAME", "shop-volume"),
            ("LIBVIRT_DIR_NAME", "/var/lib/libvirt/images/shop"),
        ],
    }
}

/// What the cluster knows by itself.
fn known(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::Aws => &[("AWS_REGION", "eu-west-1")],
        Provider::Azure => &[("AZURE_REGION", "westeurope"), ("AZURE_RESOURCE_GROUP", "shop-rg")],
        Provider::Gcp => &[("GCP_PROJECT_ID", "shop-prod"), ("GCP_ZONE", "europe-west1-b")],
        Provider::Libvirt => &[],
    }
}

fn secrets(provider: Provider) -> String {
    let all = setup(provider);
    all.split("---\n").filter(|part| part.contains("kind: Secret")).collect::<Vec<_>>().join("---\n")
}

fn sets(provider: Provider) -> Vec<String> {
    found(provider).iter().map(|(key, value)| format!("--set={key}={value}")).collect()
}

fn with<'a>(arguments: &[&'a str], sets: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(sets.iter().map(String::as_str)).collect()
}

/// Nothing against it, and nothing to look at but the bucket of AWS, which only a person knows.
fn fine(provider: Provider, output: &std::process::Output) {
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)));
    let findings = value["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(0), "{value:#}");
    let warns = crate::fixture::reasons(findings, "warns");
    let expected: &[&str] = if provider == Provider::Aws { &["BucketMissing"] } else { &[] };
    assert_eq!(warns, expected, "{value:#}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_passes_the_check_when_the_marks_are_filled_in(
    #[values(Provider::Aws, Provider::Azure, Provider::Gcp, Provider::Libvirt)] provider: Provider,
) {
    let cluster = Cluster::start(provider).await;
    let printed = cluster.osc(&["configure", "--provider", provider.name(), "-o", "peer-pods-cm.yaml"]).await;
    assert!(printed.status.success(), "{}", stderr(&printed));
    let file = cluster.directory().join("peer-pods-cm.yaml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let object: Value = serde_saphyr::from_str(&text).unwrap();
    for (key, value) in known(provider) {
        assert_eq!(object["data"][key], *value, "{text}");
    }
    let unfilled = check(&format!("{text}---\n{}", secrets(provider)), &["-o", "json"]);
    assert_eq!(unfilled.status.code(), Some(2), "{}", stdout(&unfilled));
    assert_eq!(text.matches("# TO FILL IN: ").count(), found(provider).len(), "{text}");
    for (key, value) in found(provider) {
        assert!(stderr(&printed).contains(key), "{}", stderr(&printed));
        let line = format!("  {key}: \"\"");
        assert_eq!(text.matches(&line).count(), 1, "{text}");
        text = text.replace(&line, &format!("  {key}: \"{value}\""));
    }
    fine(provider, &check(&format!("{text}---\n{}", secrets(provider)), &["-o", "json"]));
    // The file is not written over.
    let again = cluster.osc(&["configure", "--provider", provider.name(), "-o", "peer-pods-cm.yaml"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("cannot write peer-pods-cm.yaml"), "{}", stderr(&again));
    cluster.server.stop().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_passes_the_check_of_the_cluster(
    #[values(Provider::Aws, Provider::Azure, Provider::Gcp, Provider::Libvirt)] provider: Provider,
) {
    let cluster = Cluster::start(provider).await;
    let name = ["--provider", provider.name()];
    let refused = cluster.osc(&[&["configure", "--apply"], &name[..]].concat()).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("nothing was applied: these values are not known"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(cluster.settings(), None);
    let sets = sets(provider);
    let shown = cluster.osc(&with(&[&["configure", "--diff"], &name[..]].concat(), &sets)).await;
    assert!(shown.status.success(), "{}", stderr(&shown));
    assert_eq!(cluster.settings(), None, "--diff changes nothing");
    let applied = cluster.osc(&with(&[&["configure", "--apply"], &name[..]].concat(), &sets)).await;
    assert_eq!(stdout(&applied), stdout(&shown), "{}", stderr(&applied));
    for (key, value) in found(provider).iter().chain(known(provider)) {
        assert_eq!(cluster.settings().unwrap()[key], *value);
    }
    let alone = cluster.osc(&["check", "-o", "json"]).await;
    if matches!(provider, Provider::Gcp | Provider::Libvirt) {
        assert_eq!(alone.status.code(), Some(2), "{}", stdout(&alone));
    }
    cluster.apply(&secrets(provider)).await;
    let checked = cluster.osc(&["check", "-o", "json", "--show"]).await;
    fine(provider, &checked);
    assert!(!stdout(&checked).contains(PLANTED));
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_values_are_never_lost() {
    let cluster = Cluster::start(Provider::Gcp).await;
    let own = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "peer-pods-cm", "namespace": "openshift-sandboxed-containers-operator"},
        "data": {"CLOUD_PROVIDER": "gcp", "VXLAN_PORT": "9001", "GCP_ZONE": "europe-west1-d", "GCP_NETWORK": "mine",
            "PODVM_IMAGE_NAME": "my-image", "MINE": "kept", "PROXY_TIMEOUT": ""},
    });
    cluster.apply(&own.to_string()).await;
    let applied = cluster.osc(&["configure", "--apply", "--set", "PEERPODS_LIMIT_PER_NODE=20"]).await;
    let lines = stdout(&applied);
    assert!(
        lines.starts_with("ConfigMap openshift-sandboxed-containers-operator/peer-pods-cm is changed:\n"),
        "{lines}"
    );
    assert!(
        lines.contains("  + PEERPODS_LIMIT_PER_NODE: \"20\"\n") && !lines.contains("VXLAN_PORT"),
        "{lines}"
    );
    let settings = cluster.settings().unwrap();
    for (key, value) in own["data"].as_object().unwrap().iter().filter(|(_, value)| *value != "") {
        assert_eq!(&settings[key], value, "{key}");
    }
    assert_eq!(
        (&settings["PROXY_TIMEOUT"], &settings["PEERPODS_LIMIT_PER_NODE"]),
        (&json!("5m"), &json!("20"))
    );
    let again = cluster.osc(&["configure", "--apply", "--set", "PEERPODS_LIMIT_PER_NODE=20"]).await;
    assert!(stdout(&again).ends_with("has all of it already.\n"), "{}", stdout(&again));
    assert_eq!(cluster.settings().unwrap(), settings);
    let asked = cluster.osc(&["configure", "--apply", "--set", "VXLAN_PORT=9000"]).await;
    let lines = stdout(&asked);
    assert!(lines.contains("  - VXLAN_PORT: \"9001\"\n  + VXLAN_PORT: \"9000\""), "{lines}");
    assert_eq!(cluster.settings().unwrap()["VXLAN_PORT"], "9000");
    // What is printed has all of it, too: applied by hand, it loses nothing either.
    let printed = stdout(&cluster.osc(&["configure"]).await);
    let object: Value = serde_saphyr::from_str(&printed).unwrap();
    for (key, value) in cluster.settings().unwrap().as_object().unwrap() {
        assert_eq!(&object["data"][key], value, "{key} in\n{printed}");
    }
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_than_that_of_the_map_is_refused() {
    let cluster = Cluster::start(Provider::Aws).await;
    let sets = sets(Provider::Aws);
    assert!(
        cluster.osc(&with(&["configure", "--apply"], &sets)).await.status.success(),
        "the cluster's own cloud"
    );
    let before = cluster.settings();
    for flag in ["--apply", "--diff"] {
        let refused = cluster.osc(&["configure", flag, "--provider", "azure"]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("on the cluster is for aws, and --provider is azure"),
            "{}",
            stderr(&refused)
        );
    }
    assert_eq!(cluster.settings(), before);
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_the_operators_namespace_says_so() {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, server.kubeconfig().unwrap()).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let sets = sets(Provider::Libvirt);
        osc(
            directory.path(),
            Some(&file),
            &with(&["configure", "--apply", "--provider", "libvirt"], &sets),
            "",
        )
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not exist: install the operator first"), "{}", stderr(&output));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_of_a_cluster_is_told_with_peer_pod_config_and_gates() {
    let cluster = Cluster::start(Provider::Azure).await;
    cluster
        .apply(&setup(Provider::Azure).replace("westeurope", "eastus").replace("shop-rg\"", "other-rg\""))
        .await;
    let namespace = "openshift-sandboxed-containers-operator";
    let config = json!({"apiVersion": "confidentialcontainers.org/v1alpha1", "kind": "PeerPodConfig",
        "metadata": {"name": "peerpodconfig-openshift", "namespace": namespace}, "spec": {"limit": "many"}});
    let gates = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "osc-feature-gates", "namespace": namespace},
        "data": {"confidential": "true", "caaUpdateStrategy": "ondelete"}});
    let kata_config = json!({"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
        "metadata": {"name": "example-kataconfig"}, "spec": {"enablePeerPods": false}});
    for object in [config, gates, kata_config] {
        cluster.apply(&object.to_string()).await;
    }
    let output = cluster.osc(&["check", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = value["findings"].as_array().unwrap();
    assert_eq!(crate::fixture::reasons(findings, "blocks"), ["WrongLimit"], "{value:#}");
    let warns = crate::fixture::reasons(findings, "warns");
    for reason in ["GateMeaningless", "GateDecides", "SizeNotConfidential", "OtherRegion"] {
        assert!(warns.contains(&reason.to_owned()), "{reason} is not in {warns:?}");
    }
    let infos = crate::fixture::reasons(findings, "info");
    for reason in ["NotEnabled", "OtherHome", "TwoLimits"] {
        assert!(infos.contains(&reason.to_owned()), "{reason} is not in {infos:?}");
    }
    cluster.server.stop().await;
}

#[rstest]
#[case(&["configure", "--provider", "vmware"], "invalid value 'vmware'")]
#[case(&["configure"], "which provider? Say it by --provider, one of aws, azure, gcp, libvirt")]
#[case(&["configure", "--provider", "aws", "--set", "AWS_SUBNET=subnet-1"], "there is no such key; AWS_SUBNET_ID is one")]
#[case(&["configure", "--provider", "aws", "--set", "AWS_SUBNET_ID=vpc-1"], "found \"vpc-1\", expected one subnet-...")]
#[case(&["configure", "--provider", "aws", "--apply"], "no cluster to apply to")]
#[case(&["configure", "--provider", "aws", "--apply", "--offline"], "cannot be used with")]
#[case(&["configure", "--provider", "aws", "--apply", "--with", "secret"], "cannot be used with")]
fn what_cannot_be_configured_is_refused(#[case] arguments: &[&str], #[case] words: &str) {
    let output = osc(&crate::fixture::root(), None, arguments, "");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", stderr(&output));
    assert!(stderr(&output).contains(words), "{}", stderr(&output));
}

/// Templates are parts of one stream of documents, and fit the check.
#[test]
fn everything_that_is_printed_offline_parses_and_is_known() {
    for provider in Provider::ALL {
        let name = provider.name();
        let all = "secret,image-map,peerpodconfig,kataconfig";
        let output = osc(
            &crate::fixture::root(),
            None,
            &["configure", "--offline", "--provider", name, "--with", all],
            "",
        );
        let text = stdout(&output);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let kinds: Vec<&str> = documents.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ConfigMap", "Secret", "ConfigMap", "PeerPodConfig", "KataConfig"]);
        let (code, found) = crate::fixture::findings(&text);
        let told = crate::fixture::reasons(&found, "blocks");
        let expected = ["SettingMissing", "Placeholder", "SshKeyMissing", "ImageMissing"];
        assert!(
            code == Some(2) && told.iter().all(|reason| expected.contains(&reason.as_str())),
            "{found:#?}"
        );
        assert!(!crate::fixture::reasons(&found, "warns").contains(&"UnknownKey".to_owned()), "{found:#?}");
    }
}

/// Who may not read secrets is told so, and nothing is said to be missing from them.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_told_and_not_missed() {
    use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
    let cluster = Cluster::start(Provider::Gcp).await;
    cluster.apply(&setup(Provider::Gcp)).await;
    let forbid = |resource: &str| Fault {
        matcher: Matcher::new(Verb::Get, resource),
        times: None,
        action: FaultAction::Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: format!("{resource} is forbidden: User \"viewer\" cannot get it"),
            retry_after: None,
        },
    };
    cluster.server.faults().inject(forbid("secrets"));
    let output = cluster.osc(&["check", "-o", "json"]).await;
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = value["findings"].as_array().unwrap();
    assert_eq!(crate::fixture::reasons(findings, "warns"), ["Unreadable"; 2], "{value:#}");
    assert_eq!(crate::fixture::reasons(findings, "blocks"), [""; 0], "{value:#}");
    assert!(findings[0]["why"].as_str().unwrap().contains("User \"viewer\" cannot get it"), "{value:#}");
    // A config map that cannot be read is not written either.
    cluster.server.faults().inject(forbid("configmaps"));
    let before = cluster.settings();
    let output = cluster.osc(&["configure", "--provider", "gcp", "--apply", "--set", "GCP_NETWORK=x"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot be read, so that it is not written"), "{}", stderr(&output));
    assert_eq!(cluster.settings(), before);
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_somebody_else_changes_in_the_meantime_is_left_alone() {
    use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
    let cluster = Cluster::start(Provider::Gcp).await;
    cluster.apply(&setup(Provider::Gcp)).await;
    let before = cluster.settings();
    let fault = Fault {
        matcher: Matcher::new(Verb::Patch, "configmaps"),
        times: None,
        action: FaultAction::Status {
            code: 409,
            reason: "Conflict".to_owned(),
            message: "the object has been modified".to_owned(),
            retry_after: None,
        },
    };
    cluster.server.faults().inject(fault);
    let output = cluster.osc(&["configure", "--apply", "--set", "VXLAN_PORT=9001"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("changed by somebody else in the meantime"), "{}", stderr(&output));
    assert_eq!(cluster.settings(), before);
    cluster.server.stop().await;
}
