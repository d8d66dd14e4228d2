use serde_json::json;

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE}, "data": data})
}

fn of(items: Vec<Value>) -> Setup {
    setup(&Objects { items, ..Objects::default() })
}

fn kinds(setup: &Setup) -> Vec<OddityKind> {
    setup.oddities.iter().map(|oddity| oddity.kind.clone()).collect()
}

#[test]
fn secrets_are_read_encoded_and_plain() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": CREDENTIALS, "namespace": OPERATOR_NAMESPACE},
        "data": {"A": "aHVzaA==", "B": "aHVzaA==", "WRONG": "not base64", "BYTES": "/w=="},
        "stringData": {"B": "plain"},
    });
    let setup = of(vec![secret]);
    let credentials = setup.credentials.clone().unwrap();
    assert_eq!((credentials["A"].as_str(), credentials["B"].as_str()), ("hush", "plain"));
    let wrong = ["BYTES", "WRONG"].map(|key| OddityKind::NotBase64 { key: key.to_owned() });
    assert_eq!(kinds(&setup), wrong);
}

#[test]
fn what_is_no_text_is_told_and_looked_at_all_the_same() {
    let data = json!({"CLOUD_PROVIDER": "aws", "VXLAN_PORT": 9000, "DISABLECVM": true, "TAGS": {"a": "b"}, "PODVM_AMI_ID": null});
    let setup = of(vec![map(SETTINGS, data)]);
    let found: Vec<(String, &str)> = kinds(&setup)
        .into_iter()
        .map(|kind| match kind {
            OddityKind::NotText { key, found } => (key, found),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        [("DISABLECVM", "true or false without quotes"), ("TAGS", "an object"), ("VXLAN_PORT", "a number")];
    assert_eq!(found, expected.map(|(key, found)| (key.to_owned(), found)));
    let settings = setup.settings.unwrap();
    assert_eq!((settings["VXLAN_PORT"].as_str(), settings["PODVM_AMI_ID"].as_str()), ("9000", ""));
}

#[test]
fn places_and_doubles_are_told() {
    let mut elsewhere = map(SETTINGS, json!({}));
    elsewhere["metadata"]["namespace"] = json!("default");
    elsewhere["immutable"] = json!(true);
    let mut nowhere = map(SETTINGS, json!({"CLOUD_PROVIDER": "aws"}));
    nowhere["metadata"].as_object_mut().unwrap().remove("namespace");
    let setup = of(vec![elsewhere, nowhere]);
    let expected = [
        OddityKind::OtherNamespace(Some("default".to_owned())),
        OddityKind::Immutable,
        OddityKind::OtherNamespace(None),
        OddityKind::Twice,
    ];
    assert_eq!(kinds(&setup), expected);
    assert_eq!(setup.settings.unwrap()["CLOUD_PROVIDER"], "aws", "the last one counts");
}

#[test]
fn the_image_map_of_the_provider_is_chosen() {
    let settings = map(SETTINGS, json!({"CLOUD_PROVIDER": "gcp"}));
    let maps = ["aws-podvm-image-cm", "podvm-image-cm", "gcp-podvm-image-cm"]
        .map(|name| map(name, json!({"N": name})));
    let mut items = vec![settings];
    items.extend(maps);
    let both = of(items.clone());
    assert_eq!(both.image_map.unwrap().0, "gcp-podvm-image-cm");
    assert_eq!(both.other_image_maps, ["aws-podvm-image-cm", "podvm-image-cm"]);
    items.pop();
    let other_name = of(items);
    assert_eq!(other_name.image_map.unwrap().0, "podvm-image-cm");
    assert_eq!(other_name.other_image_maps, ["aws-podvm-image-cm"]);
}

#[test]
fn an_image_that_the_job_made_is_known_by_its_note() {
    let mut settings = map(SETTINGS, json!({"CLOUD_PROVIDER": "aws", "PODVM_AMI_ID": "ami-1"}));
    assert_eq!(of(vec![settings.clone()]).image_made, None);
    settings["metadata"]["annotations"] = json!({"LATEST_AMI_ID": "ami-1"});
    assert_eq!(of(vec![settings]).image_made.as_deref(), Some("ami-1"));
    let volume = |id: &str| {
        let data = json!({"CLOUD_PROVIDER": "libvirt", "LIBVIRT_VOL_NAME": "volume", "LIBVIRT_IMAGE_ID": id});
        of(vec![map(SETTINGS, data)]).image_made
    };
    assert_eq!((volume("volume").as_deref(), volume("mine"), volume("")), (Some("volume"), None, None));
}

#[test]
fn the_cluster_is_known_by_infrastructure_and_nodes() {
    let infrastructure = |platform: Value| json!({"kind": "Infrastructure", "metadata": {"name": "cluster"}, "status": {"platformStatus": platform}});
    let node = json!({"kind": "Node", "metadata": {"name": "n", "labels": {"topology.kubernetes.io/region": "westeurope"}}});
    let azure = infrastructure(json!({"type": "Azure", "azure": {"resourceGroupName": "rg"}}));
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(
        Platform::of(&[node, azure]),
        Platform { name: told("Azure"), region: told("westeurope"), home: told("rg") }
    );
    let aws = infrastructure(json!({"type": "AWS", "aws": {"region": "eu-west-1"}}));
    assert_eq!(Platform::of(&[aws]), Platform { name: told("AWS"), region: told("eu-west-1"), home: None });
    assert_eq!(Platform::of(&[]), Platform::default());
}

/// Who has asked a cluster knows that there is no Infrastructure; who reads files does not.
#[test]
fn plain_kubernetes_runs_on_nothing_that_could_be_asked_for_credentials() {
    let platform = |objects: Objects| setup(&objects).platform;
    assert_eq!(platform(Objects::default()), None);
    assert_eq!(platform(Objects { of_cluster: true, ..Objects::default() }), Some("None".to_owned()));
    let hidden = vec![("Infrastructure cluster".to_owned(), "forbidden".to_owned())];
    assert_eq!(platform(Objects { of_cluster: true, unreadable: hidden, items: Vec::new() }), None);
}

#[test]
fn limit_gates_and_kata_config_are_read() {
    let config = json!({"kind": "PeerPodConfig", "metadata": {"name": PEER_POD_CONFIG, "namespace": OPERATOR_NAMESPACE},
        "spec": {"limit": "20"}});
    let gates = map(FEATURE_GATES, json!({"confidential": "true", "deploymentMode": "?"}));
    let kata_config = json!({"kind": "KataConfig", "metadata": {"name": "k"}, "spec": {}});
    let read = of(vec![config.clone(), gates, kata_config]);
    assert_eq!(read.peer_pod_config_limit.as_deref(), Some("20"));
    assert_eq!(read.peer_pod_config_names, Some((CREDENTIALS.to_owned(), SETTINGS.to_owned())));
    assert!(read.confidential && read.gate_complaints.len() == 1 && read.enabled == Some(false));
    let mut number = config;
    number["spec"]["limit"] = json!(20);
    assert!(matches!(kinds(&of(vec![number])).as_slice(), [OddityKind::NotText { .. }]));
}

#[test]
fn only_keys_of_the_ssh_secret_are_kept() {
    let secret = json!({"kind": "Secret", "metadata": {"name": SSH_KEYS, "namespace": OPERATOR_NAMESPACE},
        "stringData": {"id_rsa": "hush", "id_rsa.pub": ""}});
    let setup = of(vec![secret]);
    assert_eq!(setup.ssh_keys.as_deref(), Some(&["id_rsa".to_owned()][..]));
    assert!(!format!("{setup:?}").contains("hush"));
}
