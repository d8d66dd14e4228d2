//! The cluster-wide configuration objects of OpenShift.

use std::time::Duration;

use jiff::Timestamp;
use osc_api::names;
use serde_json::{Value, json};

use super::{Kind, Platform, Topology};
use crate::sim::options::hex;

/// ClusterVersion and Infrastructure, the pull secret, and the images of the operating system.
pub fn objects(topology: &Topology, now: Timestamp) -> Vec<Value> {
    vec![cluster_version(topology, now), infrastructure(topology), pull_secret(), os_images(topology)]
}

fn pull_secret() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names::PULL_SECRET, "namespace": names::PULL_SECRET_NAMESPACE},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {names::PULL_SECRET_KEY: "eyJhdXRocyI6e319"},
    })
}

fn os_images(topology: &Topology) -> Value {
    let image = |component: &str| {
        format!(
            "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:{}",
            hex(&[component, &topology.version], 64)
        )
    };
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::OS_IMAGES_CONFIG_MAP, "namespace": names::MCO_NAMESPACE},
        "data": {
            "releaseVersion": topology.version,
            "osImageURL": "",
            "baseOSContainerImage": image("rhel-coreos"),
            names::OS_EXTENSIONS_KEY: image("rhel-coreos-extensions"),
        },
    })
}

/// The image of the release payload.
fn image(topology: &Topology) -> String {
    let repository =
        if topology.product { names::RELEASE_REPOSITORY_PRODUCT } else { names::RELEASE_REPOSITORY_OKD };
    format!("quay.io/{repository}@sha256:{}", hex(&["release", repository, &topology.version], 64))
}

fn cluster_version(topology: &Topology, now: Timestamp) -> Value {
    let (version, image) = (&topology.version, image(topology));
    let started = now - Duration::from_hours(6);
    let completed = started + Duration::from_mins(38);
    let condition = |type_: &str, status: &str, message: String| json!({"type": type_, "status": status, "lastTransitionTime": seconds(completed), "message": message});
    json!({
        "apiVersion": "config.openshift.io/v1",
        "kind": "ClusterVersion",
        "metadata": {"name": names::CLUSTER_VERSION, "creationTimestamp": seconds(started)},
        "spec": {"clusterID": "6f2a4f0e-6c1b-4b5e-9a53-0d6f1c6a9b77", "channel": "stable"},
        "status": {
            "desired": {"version": version, "image": image},
            "history": [{
                "state": "Completed", "version": version, "image": image, "verified": false,
                "startedTime": seconds(started), "completionTime": seconds(completed),
            }],
            "observedGeneration": 1,
            "conditions": [
                condition("Available", "True", format!("Done applying {version}")),
                condition("Failing", "False", String::new()),
                condition("Progressing", "False", format!("Cluster version is {version}")),
            ],
        },
    })
}

fn infrastructure(topology: &Topology) -> Value {
    let replicas = |single: bool| if single { "SingleReplica" } else { "HighlyAvailable" };
    let single = topology.kind == Kind::SingleNode;
    let (platform, status) = match topology.platform {
        Platform::None => ("None", json!({"type": "None"})),
        Platform::Aws => ("AWS", json!({"type": "AWS", "aws": {"region": "eu-west-1"}})),
    };
    json!({
        "apiVersion": "config.openshift.io/v1",
        "kind": "Infrastructure",
        "metadata": {"name": "cluster"},
        "spec": {"platformSpec": {"type": platform}},
        "status": {
            "platform": platform,
            "platformStatus": status,
            "infrastructureName": "devcluster-x7k2p",
            "apiServerURL": "https://api.devcluster.example.com:6443",
            "controlPlaneTopology": replicas(single),
            "infrastructureTopology": replicas(single || topology.own_workers() == 1),
        },
    })
}

/// A time as the API writes it, in whole seconds.
pub fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
