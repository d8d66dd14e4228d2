//! What people do with peer pods. The cloud is one in memory; adaptors and image jobs are programs in simulated pods.
//!
//! Pods are made in a namespace that the webhook is not asked about, and so ask for their virtual machine themselves, as the
//! documentation has it: there are no sockets in simulated time, over which it could be asked.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use osc_api::names::{OPERATOR_NAMESPACE, REMOTE_RUNTIME_CLASS};
use osc_api::peerpods::{self, IMAGE_CREATION, PEER_POD_CONFIG, PeerPodConfig, VM_RESOURCE};
use osc_devcluster::sim::annotations;
use serde_json::{Value, json};

use super::rig::{Rig, Stuck, persist};

/// Where the pods are.
const NAMESPACE: &str = "kube-system";

/// Settings for AWS, as the documentation has them.
fn settings() -> Value {
    json!({
        "CLOUD_PROVIDER": "aws",
        "AWS_REGION": "eu-central-1",
        "AWS_SUBNET_ID": "subnet-0123456789abcdef0",
        "AWS_VPC_ID": "vpc-0123456789abcdef0",
        "AWS_SG_IDS": "sg-0123456789abcdef0",
        "PODVM_INSTANCE_TYPE": "t3.medium",
    })
}

impl Rig {
    /// Writes down where pod VMs are to run, as people do before they ask for peer pods.
    pub async fn prepare_peer_pods(&self) {
        let credentials = json!({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"});
        self.put_own::<Secret>(peerpods::CREDENTIALS, json!({"stringData": credentials})).await;
        self.put_own::<ConfigMap>(peerpods::SETTINGS, json!({"data": settings()})).await;
    }

    async fn put_own<K>(&self, name: &str, mut object: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let own = serde_json::from_value(json!({"metadata": {"name": OPERATOR_NAMESPACE}})).unwrap();
        persist(|| async {
            match namespaces.create(&PostParams::default(), &own).await {
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                other => other.map(drop),
            }
        })
        .await;
        object["metadata"] = json!({"name": name});
        let api: Api<K> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let object: K = serde_json::from_value(object).unwrap();
        persist(|| async { api.create(&PostParams::default(), &object).await.map(drop) }).await;
        self.is_of_people(&format!("{} {OPERATOR_NAMESPACE}/{name}", K::kind(&())));
    }

    /// Merges a patch into an object of the operator's namespace.
    async fn merge_own<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let patch = Patch::Merge(patch);
        persist(|| async { api.patch(name, &PatchParams::default(), &patch).await.map(drop) }).await;
    }

    /// Creates a peer pod that runs until it is deleted.
    async fn create_peer_pod(&self, name: &str) {
        let one = json!({VM_RESOURCE: "1"});
        let pod = json!({
            "metadata": {"name": name, "annotations": {annotations::SCRIPT: "run"}},
            "spec": {
                "runtimeClassName": REMOTE_RUNTIME_CLASS,
                "containers": [{"name": "c", "image": "i", "resources": {"requests": one, "limits": one}}],
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let pod = serde_json::from_value(pod).unwrap();
        persist(|| async { pods.create(&PostParams::default(), &pod).await.map(drop) }).await;
    }

    async fn delete_peer_pod(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        persist(|| async { pods.delete(name, &DeleteParams::default()).await.map(drop) }).await;
    }

    async fn until_phase(&self, name: &str, phase: &str) -> Result<(), Stuck> {
        self.until(&format!("pod {name} is {phase}"), |_| {
            self.find("Pod", name).is_some_and(|pod| pod["status"]["phase"] == phase)
        })
        .await
    }

    async fn until_machines(&self, count: usize) -> Result<(), Stuck> {
        self.until(&format!("{count} virtual machines"), |_| self.cloud().instances().len() == count).await
    }

    /// Waits until all virtual machines are gone. Those that a PeerPod knows have to go by themselves. One that the adaptor
    /// could not write down is told as unknown, and a person deletes it then by the cloud's own tools.
    async fn until_no_machines(&self, recorded: &[String]) -> Result<(), Stuck> {
        self.until("no virtual machines", |status| {
            let degraded = status.and_then(|status| status.condition("Degraded"));
            let told = degraded.filter(|degraded| degraded.reason == "UnknownVirtualMachines");
            for machine in self.cloud().instances() {
                if !recorded.contains(&machine.id)
                    && told.is_some_and(|told| told.message.contains(&machine.id))
                {
                    self.cloud().vanish(&machine.id);
                }
            }
            self.cloud().instances().is_empty()
        })
        .await
    }

    /// Identifiers of the machines that PeerPods know.
    fn recorded(&self) -> Vec<String> {
        let objects = self.cluster().server().objects();
        let records = objects.iter().filter(|object| object["kind"] == "PeerPod");
        records.filter_map(|record| record["spec"]["instanceID"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until peer pods can be used.
    async fn until_usable(&self) -> Result<(), Stuck> {
        self.until("peer pods can be used", |status| {
            status.and_then(|status| status.condition("Ready")).is_some_and(|ready| ready.status == "True")
                && self.find("RuntimeClass", REMOTE_RUNTIME_CLASS).is_some()
        })
        .await
    }

    async fn enable(&self) -> Result<(), Stuck> {
        self.prepare_peer_pods().await;
        self.create(json!({"enablePeerPods": true})).await;
        self.until_usable().await
    }
}

/// They are enabled, used, and removed.
pub async fn used(rig: &Rig) -> Result<(), Stuck> {
    rig.enable().await?;
    rig.create_peer_pod("web").await;
    rig.until_phase("web", "Running").await?;
    rig.until_machines(1).await?;
    rig.delete().await;
    rig.until_condition("InProgress", "False", "BlockedByExistingKataPods").await?;
    rig.delete_peer_pod("web").await;
    rig.until_gone().await
}

/// The adaptor forgets a virtual machine, which the operator deletes.
pub async fn forgotten(rig: &Rig) -> Result<(), Stuck> {
    rig.enable().await?;
    for node in ["worker-0", "worker-1"] {
        rig.annotate_node(node, annotations::ADAPTOR_FORGETS, Some("true")).await;
    }
    rig.create_peer_pod("web").await;
    rig.until_phase("web", "Running").await?;
    rig.until_machines(1).await?;
    let recorded = rig.recorded();
    rig.delete_peer_pod("web").await;
    rig.until_no_machines(&recorded).await?;
    rig.delete().await;
    rig.until_gone().await
}

/// The limit is changed in both places, a pod waits for room, and gets it.
pub async fn limited(rig: &Rig) -> Result<(), Stuck> {
    rig.enable().await?;
    let limit = |limit: &str| json!({"spec": {"limit": limit}});
    rig.merge_own::<PeerPodConfig>(PEER_POD_CONFIG, limit("0")).await;
    rig.until_room(&["0", "0"]).await?;
    rig.create_peer_pod("web").await;
    rig.until("the pod waits", |_| {
        rig.find("Pod", "web")
            .is_some_and(|pod| pod["status"]["conditions"].to_string().contains(VM_RESOURCE))
    })
    .await?;
    let settings = json!({"data": {"PEERPODS_LIMIT_PER_NODE": "3"}});
    rig.merge_own::<ConfigMap>(peerpods::SETTINGS, settings).await;
    rig.until_room(&["3", "3"]).await?;
    rig.until_phase("web", "Running").await?;
    let recorded = rig.recorded();
    rig.delete_peer_pod("web").await;
    rig.until_no_machines(&recorded).await
}

/// They are switched off and on again.
pub async fn switched(rig: &Rig) -> Result<(), Stuck> {
    rig.enable().await?;
    rig.change(json!({"enablePeerPods": false})).await;
    rig.until("peer pods are gone", |status| {
        rig.cloud().left().is_empty()
            && rig.find("DaemonSet", peerpods::ADAPTOR).is_none()
            && status.and_then(|status| status.condition("Ready")).is_some_and(|ready| ready.status == "True")
    })
    .await?;
    rig.change(json!({"enablePeerPods": true})).await;
    rig.until_usable().await
}

/// The image cannot be made until somebody mends what is wrong.
pub async fn failed(rig: &Rig) -> Result<(), Stuck> {
    rig.image_faults().fail_always("bucket podvm-images does not exist");
    rig.prepare_peer_pods().await;
    rig.create(json!({"enablePeerPods": true})).await;
    rig.until_condition("InProgress", "True", "PodVMImageJobFailed").await?;
    rig.image_faults().mend();
    rig.merge_own::<ConfigMap>(peerpods::SETTINGS, json!({"data": {"TAGS": "team=shop"}})).await;
    rig.until_usable().await?;
    rig.delete().await;
    rig.until_gone().await
}

/// Somebody changes their mind while the image is made.
pub async fn interrupted(rig: &Rig) -> Result<(), Stuck> {
    rig.prepare_peer_pods().await;
    rig.create(json!({"enablePeerPods": true})).await;
    rig.until("the image is made", |_| {
        rig.find("Job", IMAGE_CREATION).is_some_and(|job| job["status"]["active"] == 1)
            && !rig.cloud().left().is_empty()
    })
    .await?;
    rig.delete().await;
    rig.until_gone().await
}
