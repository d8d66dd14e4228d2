//! Peer pods: from settings and credentials to a pod whose machine runs elsewhere, and back to nothing. The cloud is one in
//! memory; adaptors and image jobs are programs in simulated pods.

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use osc_api::names;
use osc_api::peerpods::{self, PEER_POD_CONFIG, PeerPod, PeerPodConfig, Provider, VM_RESOURCE};
use osc_cloud::Tags;
use osc_devcluster::sim::topology::{Kind, Platform, Topology};
use osc_operator::Options;
use osc_operator::options::PeerPodsOptions;
use serde_json::{Value, json};

use super::agents::config_map;
use super::{Beginning, Story, story};
use crate::bed::{self, Bed, NAME, eventually, reason, workers};
use crate::simulation::peer_pods_options;

pub fn stories() -> Vec<Story> {
    let aws = Topology { platform: Platform::Aws, ..workers(1) };
    let kubernetes = Topology {
        kind: Kind::PlainKubernetes,
        version: "1.32.5".to_owned(),
        workers: 1,
        ..Topology::default()
    };
    vec![
        story!(peer_pods_come_are_used_and_leave_nothing, workers(2)),
        story!(credentials_are_asked_for_on_the_clusters_own_cloud, aws),
        Story {
            beginning: Beginning::Installed,
            ..story!(a_cloud_that_trusts_the_cluster_needs_no_keys, workers(1))
        },
        story!(peer_pods_on_kubernetes_have_a_certificate_of_the_operators_own, kubernetes),
    ]
}

async fn settings(bed: &Bed) {
    let data = json!({
        "CLOUD_PROVIDER": "aws",
        "AWS_REGION": "eu-west-1",
        "AWS_SUBNET_ID": "subnet-0123456789abcdef0",
        "AWS_VPC_ID": "vpc-0123456789abcdef0",
        "AWS_SG_IDS": "sg-0123456789abcdef0",
    });
    config_map(bed, peerpods::SETTINGS, data).await;
}

fn secrets(bed: &Bed) -> Api<Secret> {
    Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE)
}

async fn secret(bed: &Bed, name: &str, data: Value) {
    let secret = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data})).unwrap();
    secrets(bed).create(&PostParams::default(), &secret).await.unwrap();
}

async fn keys(bed: &Bed) {
    let data = json!({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"});
    secret(bed, peerpods::CREDENTIALS, data).await;
}

fn asks() -> Value {
    json!({"enablePeerPods": true})
}

async fn room(bed: &Bed) -> Vec<String> {
    let nodes = bed.nodes().await;
    let said =
        nodes.iter().filter_map(|node| node.status.as_ref()?.capacity.as_ref()?.get(VM_RESOURCE).cloned());
    said.map(|quantity| quantity.0).collect()
}

async fn classes(bed: &Bed) -> Vec<String> {
    bed.names_of::<RuntimeClass>().await
}

async fn nothing_is_left(bed: &Bed) {
    bed.gone(NAME).await;
    assert!(bed.cloud.left().is_empty(), "{}", bed.cloud.left());
    assert!(!classes(bed).await.contains(&names::REMOTE_RUNTIME_CLASS.to_owned()));
    assert_eq!(room(bed).await, Vec::<String>::new());
}

async fn peer_pods_come_are_used_and_leave_nothing(bed: &mut Bed) {
    settings(bed).await;
    keys(bed).await;
    bed.create(NAME, asks()).await;
    bed.installed(NAME).await;
    assert!(classes(bed).await.contains(&names::REMOTE_RUNTIME_CLASS.to_owned()));
    let ten = || async { room(bed).await == ["10", "10"] };
    assert!(eventually(ten).await, "{:?}", room(bed).await);

    let one = json!({VM_RESOURCE: "1"});
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {
            "runtimeClassName": names::REMOTE_RUNTIME_CLASS,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": one, "limits": one}}],
        },
    });
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let runs = || async {
        let found = pods.get("web").await.unwrap();
        found.status.and_then(|status| status.phase).as_deref() == Some("Running")
    };
    assert!(eventually(runs).await, "{:?}", pods.get("web").await.unwrap().status);
    assert_eq!(bed.cloud.instances().len(), 1);

    // As the documentation has it: at once, and no adaptor is restarted for it.
    let limits: Api<PeerPodConfig> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let four = Patch::Merge(json!({"spec": {"limit": "4"}}));
    limits.patch(PEER_POD_CONFIG, &PatchParams::default(), &four).await.unwrap();
    let told = || async { room(bed).await == ["4", "4"] };
    assert!(eventually(told).await, "{:?}", room(bed).await);

    // One that no pod owns, and that nobody but the operator would delete.
    let orphan = bed.cloud.plant(Provider::Aws, "podvm-old-01234567", Tags::default());
    let record = json!({
        "metadata": {"name": "old", "finalizers": [peerpods::PEER_POD_FINALIZER]},
        "spec": {"cloudProvider": "aws", "instanceID": orphan},
    });
    let records: Api<PeerPod> = Api::namespaced(bed.client.clone(), "default");
    records.create(&PostParams::default(), &serde_json::from_value(record).unwrap()).await.unwrap();

    bed.delete(NAME).await;
    bed.until(NAME, "blocked", |status| reason(status, "InProgress").1 == "BlockedByExistingKataPods").await;
    pods.delete("web", &DeleteParams::default()).await.unwrap();
    nothing_is_left(bed).await;
}

/// Plays the Cloud Credential Operator.
async fn credentials_are_asked_for_on_the_clusters_own_cloud(bed: &mut Bed) {
    settings(bed).await;
    bed.create(NAME, asks()).await;
    let kind = GroupVersionKind::gvk("cloudcredential.openshift.io", "v1", "CredentialsRequest");
    let resource = ApiResource::from_gvk(&kind);
    let requests: Api<DynamicObject> =
        Api::namespaced_with(bed.client.clone(), peerpods::CREDENTIALS_REQUEST_NAMESPACE, &resource);
    let request = "openshift-sandboxed-containers-aws";
    let asked = || async { requests.get_opt(request).await.unwrap().is_some() };
    assert!(eventually(asked).await, "nobody is asked");
    let given = json!({"aws_access_key_id": "key", "aws_secret_access_key": "secret"});
    secret(bed, peerpods::CLOUD_CREDENTIALS, given).await;
    bed.installed(NAME).await;
    let written = secrets(bed).get(peerpods::CREDENTIALS).await.unwrap();
    assert_eq!(written.data.unwrap()["AWS_SECRET_ACCESS_KEY"].0, b"secret");
    bed.delete(NAME).await;
    nothing_is_left(bed).await;
    assert!(requests.get_opt(request).await.unwrap().is_none(), "what was asked for is given back");
}

async fn a_cloud_that_trusts_the_cluster_needs_no_keys(bed: &mut Bed) {
    let role = Some("arn:aws:iam::123456789012:role/peer-pods".to_owned());
    let peer_pods = PeerPodsOptions { sts_role: role, ..peer_pods_options() };
    bed.run_operator(Options { peer_pods, ..bed::options() }).await;
    settings(bed).await;
    bed.create(NAME, asks()).await;
    bed.installed(NAME).await;
    let written = secrets(bed).get(peerpods::CREDENTIALS).await.unwrap();
    assert_eq!(written.metadata.labels.unwrap()[peerpods::STS_LABEL], "aws");
    bed.delete(NAME).await;
    nothing_is_left(bed).await;
    assert!(secrets(bed).get_opt(peerpods::CREDENTIALS).await.unwrap().is_none());
}

async fn peer_pods_on_kubernetes_have_a_certificate_of_the_operators_own(bed: &mut Bed) {
    settings(bed).await;
    keys(bed).await;
    bed.create(NAME, asks()).await;
    bed.installed(NAME).await;
    let certificate = secrets(bed).get(peerpods::webhook::SECRET).await.unwrap();
    assert!(certificate.data.unwrap().contains_key("tls.crt"));
    bed.delete(NAME).await;
    nothing_is_left(bed).await;
}
