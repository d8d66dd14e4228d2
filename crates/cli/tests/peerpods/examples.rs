//! Every manifest below docs/examples/peerpods.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use osc_api::names::OPERATOR_NAMESPACE;
use osc_api::peerpods::{PeerPodConfig, Provider};
use serde_json::Value;

use crate::fixture::{self, PLANTED, filled, findings, reasons, root};

fn files() -> Vec<PathBuf> {
    fn walk(folder: PathBuf, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(root().join("docs/examples/peerpods"), &mut found);
    found.sort();
    found
}

fn name(path: &std::path::Path) -> String {
    let folder = root().join("docs/examples/peerpods");
    path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
}

/// By name, filled in.
fn documents() -> BTreeMap<String, Value> {
    let read = |path: &PathBuf| {
        let text = filled(&std::fs::read_to_string(path).unwrap());
        let open = text.lines().find(|line| !line.starts_with('#') && line.contains(['<', '>']));
        assert_eq!(open, None, "{}: a placeholder that the test does not fill in", name(path));
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(documents.len(), 1, "{}", name(path));
        (name(path), documents.into_iter().next().unwrap())
    };
    files().iter().map(read).collect()
}

#[test]
fn each_is_one_object_of_the_kind_and_in_the_place_that_the_documentation_has() {
    let documents = documents();
    assert!(documents.len() >= 30, "{}", documents.len());
    for (file, object) in documents {
        if file == "peerpodconfig-limit-patch.yaml" {
            assert_eq!(object, serde_json::json!({"spec": {"limit": "20"}}));
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, object_name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let namespace = object["metadata"]["namespace"].as_str();
        let stem = file.rsplit('/').next().unwrap().trim_end_matches(".yaml");
        let expected = match stem {
            "kataconfig" => ("KataConfig", "example-kataconfig", None),
            "peerpodconfig" => ("PeerPodConfig", "peerpodconfig-openshift", Some(OPERATOR_NAMESPACE)),
            "deployment" => ("Deployment", "web-remote", None),
            "pull-secret" if object["kind"] == "Secret" => ("Secret", "pull-secret", Some("shop")),
            "service-account-pull-secret" => ("ServiceAccount", "default", Some("shop")),
            stem if stem.ends_with("-secret") && !file.starts_with("pods/") => {
                ("Secret", stem, Some(OPERATOR_NAMESPACE))
            }
            stem if stem.ends_with("-cm") || stem == "osc-feature-gates" => {
                ("ConfigMap", stem, Some(OPERATOR_NAMESPACE))
            }
            _ => {
                assert!(file.starts_with("pods/"), "{file} is not expected here");
                ("Pod", object_name.as_str(), None)
            }
        };
        assert_eq!((kind.as_str(), object_name.as_str(), namespace), expected, "{file}");
        for values in [&object["data"], &object["stringData"]] {
            for (key, value) in values.as_object().into_iter().flatten() {
                assert!(value.is_string(), "{file}: {key} is no text");
            }
        }
    }
}

#[test]
fn settings_of_each_provider_have_nothing_against_them_when_they_are_filled_in() {
    for provider in Provider::ALL {
        let (code, found) = findings(&fixture::setup(provider));
        assert_eq!(code, Some(0), "{provider:?}: {found:#?}");
        assert_eq!(reasons(&found, "warns"), [""; 0], "{provider:?}: {found:#?}");
        assert!(!format!("{found:?}").contains(PLANTED));
    }
}

#[test]
fn older_settings_of_libvirt_are_understood_and_told() {
    let older = ["peer-pods-cm", "peer-pods-secret", "libvirt-podvm-image-cm"];
    let mut texts: Vec<String> =
        older.iter().map(|name| fixture::example(&format!("libvirt/older/{name}.yaml"))).collect();
    texts.push(fixture::example("libvirt/ssh-key-secret.yaml"));
    let (code, found) = findings(&texts.join("---\n"));
    assert_eq!((code, reasons(&found, "warns")), (Some(0), Vec::new()), "{found:#?}");
    let infos = reasons(&found, "info");
    assert_eq!(infos.iter().filter(|reason| *reason == "OlderPlace").count(), 2, "{found:#?}");
    assert!(infos.contains(&"NoEffect".to_owned()), "{found:#?}");
}

#[test]
fn each_placeholder_of_the_settings_is_refused_while_it_is_there() {
    for provider in Provider::ALL {
        let folder = root().join("docs/examples/peerpods").join(provider.name());
        let mut unfilled = BTreeSet::new();
        let mut text = String::new();
        for path in files().into_iter().filter(|path| path.parent() == Some(&folder)) {
            let content = std::fs::read_to_string(&path).unwrap();
            let object: Value = serde_saphyr::from_str(&content).unwrap();
            for values in [&object["data"], &object["stringData"]] {
                let open = values.as_object().into_iter().flatten();
                let open = open.filter(|(_, value)| value.as_str().unwrap().contains('<'));
                // What is in the keys of a key pair is not looked at.
                unfilled.extend(open.map(|(key, _)| key.clone()).filter(|key| !key.starts_with("id_rsa")));
            }
            text.push_str("---\n");
            text.push_str(&content);
        }
        let (code, found) = findings(&text);
        assert_eq!(code, Some(2));
        let refused: BTreeSet<String> = found
            .iter()
            .filter(|finding| finding["reason"] == "Placeholder")
            .map(|finding| finding["what"].as_str().unwrap().split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(refused, unfilled, "{provider:?}: {found:#?}");
    }
}

/// The keys that the documentation's chapters on AWS, Azure, Google Cloud and IBM Z name, by folder.
const DOCUMENTED: &[(&str, &[&str])] = &[
    (
        "aws",
        &[
            "CLOUD_PROVIDER",
            "VXLAN_PORT",
            "PROXY_TIMEOUT",
            "PODVM_INSTANCE_TYPE",
            "PODVM_INSTANCE_TYPES",
            "PODVM_AMI_ID",
            "AWS_REGION",
            "AWS_SUBNET_ID",
            "AWS_VPC_ID",
            "AWS_SG_IDS",
            "TAGS",
            "PEERPODS_LIMIT_PER_NODE",
            "ROOT_VOLUME_SIZE",
            "DISABLECVM",
        ],
    ),
    (
        "azure",
        &[
            "CLOUD_PROVIDER",
            "VXLAN_PORT",
            "PROXY_TIMEOUT",
            "AZURE_INSTANCE_SIZE",
            "AZURE_INSTANCE_SIZES",
            "AZURE_SUBNET_ID",
            "AZURE_NSG_ID",
            "AZURE_IMAGE_ID",
            "AZURE_REGION",
            "AZURE_RESOURCE_GROUP",
            "TAGS",
            "PEERPODS_LIMIT_PER_NODE",
            "ROOT_VOLUME_SIZE",
            "DISABLECVM",
            "id_rsa",
            "id_rsa.pub",
        ],
    ),
    (
        "gcp",
        &[
            "CLOUD_PROVIDER",
            "VXLAN_PORT",
            "PROXY_TIMEOUT",
            "GCP_MACHINE_TYPE",
            "GCP_PROJECT_ID",
            "GCP_ZONE",
            "GCP_NETWORK",
            "TAGS",
            "PEERPODS_LIMIT_PER_NODE",
            "ROOT_VOLUME_SIZE",
            "DISABLECVM",
            "IMAGE_TYPE",
            "PODVM_IMAGE_URI",
            "IMAGE_BASE_NAME",
            "IMAGE_VERSION",
            "INSTALL_PACKAGES",
            "DISABLE_CLOUD_CONFIG",
            "UPDATE_PEERPODS_CM",
            "BOOT_FIPS",
            "BOOTC_BUILD_CONFIG",
        ],
    ),
    (
        "libvirt",
        &[
            "CLOUD_PROVIDER",
            "LIBVIRT_URI",
            "REDHAT_OFFLINE_TOKEN",
            "LIBVIRT_POOL",
            "LIBVIRT_VOL_NAME",
            "LIBVIRT_DIR_NAME",
            "LIBVIRT_NET",
            "PEERPODS_LIMIT_PER_NODE",
            "ROOT_VOLUME_SIZE",
            "DISABLECVM",
            "PODVM_DISTRO",
            "DOWNLOAD_SOURCES",
            "CAA_SRC",
            "CAA_REF",
            "CONFIDENTIAL_COMPUTE_ENABLED",
            "UPDATE_PEERPODS_CM",
            "ORG_ID",
            "ACTIVATION_KEY",
            "PODVM_IMAGE_URI",
            "SE_BOOT",
            "BASE_OS_VERSION",
            "SE_VERIFY",
            "IMAGE_NAME",
            "id_rsa",
            "id_rsa.pub",
        ],
    ),
];

#[test]
fn every_documented_key_is_in_an_example() {
    let documents = documents();
    for (folder, keys) in DOCUMENTED {
        let mut present = BTreeSet::new();
        for (_, object) in documents.iter().filter(|(file, _)| file.starts_with(&format!("{folder}/"))) {
            for values in [&object["data"], &object["stringData"]] {
                present.extend(values.as_object().into_iter().flatten().map(|(key, _)| key.as_str()));
            }
        }
        let missing: Vec<_> = keys.iter().filter(|key| !present.contains(**key)).collect();
        assert!(missing.is_empty(), "no example of {folder} has {missing:?}");
    }
}

/// Annotations that the documentation has people set.
const ANNOTATIONS: [&str; 6] = [
    "io.katacontainers.config.agent.policy",
    "io.katacontainers.config.hypervisor.cc_init_data",
    "io.katacontainers.config.hypervisor.default_memory",
    "io.katacontainers.config.hypervisor.default_vcpus",
    "io.katacontainers.config.hypervisor.image",
    "io.katacontainers.config.hypervisor.machine_type",
];

#[test]
fn pods_are_of_the_runtime_class_and_every_documented_annotation_is_used() {
    let mut annotations = BTreeSet::new();
    let (mut pods, mut gpus, mut pull_secrets) = (0, 0, 0);
    for (file, object) in documents() {
        let template = match object["kind"].as_str() {
            Some("Pod") => object.clone(),
            Some("Deployment") => object["spec"]["template"].clone(),
            _ => continue,
        };
        pods += 1;
        let pod: k8s_openapi::api::core::v1::PodTemplateSpec = serde_json::from_value(template).unwrap();
        let spec = pod.spec.unwrap();
        assert_eq!(spec.runtime_class_name.as_deref(), Some("kata-remote"), "{file}");
        annotations.extend(pod.metadata.unwrap().annotations.unwrap_or_default().into_keys());
        pull_secrets += spec.image_pull_secrets.unwrap_or_default().len();
        let limits = spec.containers[0].resources.as_ref().and_then(|resources| resources.limits.as_ref());
        gpus += usize::from(limits.is_some_and(|limits| limits.contains_key("nvidia.com/gpu")));
    }
    assert_eq!(annotations.into_iter().collect::<Vec<_>>(), ANNOTATIONS);
    assert_eq!((pods, gpus, pull_secrets), (10, 1, 1));
}

#[test]
fn custom_resources_parse() {
    let documents = documents();
    let kata_config: osc_api::KataConfig =
        serde_json::from_value(documents["kataconfig.yaml"].clone()).unwrap();
    assert!(kata_config.spec.unwrap().enable_peer_pods);
    let config: PeerPodConfig = serde_json::from_value(documents["peerpodconfig.yaml"].clone()).unwrap();
    assert_eq!(config.spec.limit.as_deref(), Some("10"));
    let gates =
        osc_engine::gates::FeatureGates::parse(documents["osc-feature-gates.yaml"]["data"].as_object(), "ns");
    assert_eq!((gates.complaints, gates.confidential), (Vec::new(), false));
}
