//! A cluster, an operator, a cloud, and words to act on them and to wait for things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use osc_api::KataConfig;
use osc_api::names::OPERATOR_NAMESPACE;
use osc_cloud::memory::Memory;
use osc_devcluster::server::Services;
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::{Cluster, ClusterConfig};
use osc_operator::metrics::Metrics;
use osc_operator::options::{BindAddress, PeerPodsOptions};
use osc_stage::ImageFaults;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct World {
    pub client: Client,
    pub memory: Memory,
    pub faults: ImageFaults,
    pub cluster: Cluster,
    operator: JoinHandle<Result<(), osc_operator::Error>>,
    cancel: CancellationToken,
}

fn settings() -> Value {
    let data = json!({
        "CLOUD_PROVIDER": "aws", "AWS_REGION": "eu-west-1", "AWS_SUBNET_ID": "subnet-0a1b2c3d",
        "AWS_VPC_ID": "vpc-0a1b2c3d", "AWS_SG_IDS": "sg-0a1b2c3d", "PODVM_INSTANCE_TYPE": "t3.medium",
        "PODVM_INSTANCE_TYPES": "t3.medium,t3.large", "PODVM_AMI_ID": "", "BUCKET_NAME": "images",
        "PEERPODS_LIMIT_PER_NODE": "3", "DISABLECVM": "true",
    });
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "peer-pods-cm", "namespace": OPERATOR_NAMESPACE}, "data": data})
}

fn credentials() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "peer-pods-secret", "namespace": OPERATOR_NAMESPACE},
        "data": {"AWS_ACCESS_KEY_ID": "QUtJQTEyMzQ1Njc4OTBBQkNERUY=",
            "AWS_SECRET_ACCESS_KEY": "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWZnaGlqa2xtbg=="}})
}

impl World {
    /// Three workers, at ten minutes a second, with the settings of peer pods on AWS.
    pub async fn start() -> Self {
        let (memory, faults, services) = (Memory::new(), ImageFaults::default(), Services::default());
        let config = ClusterConfig {
            contents: Topology::default().into(),
            speed: 600.0,
            programs: osc_stage::programs_with_faults(&memory, &services, &faults),
            services,
            ..ClusterConfig::default()
        };
        let cluster = Cluster::start(config).await.unwrap();
        let definitions = osc_api::crds().into_iter();
        let definitions = definitions.map(|one| {
            let mut one = serde_json::to_value(one).unwrap();
            one["apiVersion"] = json!("apiextensions.k8s.io/v1");
            one["kind"] = json!("CustomResourceDefinition");
            one
        });
        cluster.server().load(definitions.collect()).unwrap();
        cluster.server().load(vec![settings(), credentials()]).unwrap();
        let cancel = CancellationToken::new();
        let operator = operator(&cluster, &memory, &cancel);
        let client = cluster.server().client_named("osc-stage").unwrap();
        Self { client, memory, faults, cluster, operator, cancel }
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        self.operator.await.unwrap().unwrap();
        self.cluster.stop().await;
    }

    pub fn own<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    pub async fn install(&self) {
        let api: Api<KataConfig> = Api::all(self.client.clone());
        let object = json!({"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
            "metadata": {"name": "example"}, "spec": {"enablePeerPods": true}});
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    pub async fn uninstall(&self) {
        let api: Api<KataConfig> = Api::all(self.client.clone());
        api.delete("example", &DeleteParams::default()).await.unwrap();
        self.until("the KataConfig is gone", async || api.get_opt("example").await.unwrap().is_none()).await;
    }

    pub async fn merge<K>(&self, api: &Api<K>, name: &str, patch: Value)
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Reason and message of a condition of the KataConfig.
    pub async fn condition(&self, type_: &str) -> (String, String) {
        let api: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &kube::api::ApiResource::erase::<KataConfig>(&()));
        let object = api.get("example").await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == type_).unwrap_or_default();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (format!("{}/{}", text("status"), text("reason")), text("message"))
    }

    pub async fn ready(&self) {
        self.until("peer pods are ready", async || self.condition("Ready").await.0.starts_with("True/"))
            .await;
    }

    pub async fn create_pod(&self, name: &str, resources: Value) -> Pod {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "runtimeClassName": "kata-remote",
            "containers": [{"name": "main", "image": "example.com/x:1", "resources": resources}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    pub async fn delete_pod(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
        self.until("the pod is gone", async || self.pods().get_opt(name).await.unwrap().is_none()).await;
    }

    pub async fn until_running(&self, name: &str) -> Pod {
        self.until(&format!("pod {name} runs"), async || {
            let pod = self.pods().get(name).await.unwrap();
            pod.status.and_then(|status| status.phase).as_deref() == Some("Running")
        })
        .await;
        self.pods().get(name).await.unwrap()
    }

    /// Fails with what is known if it takes too long.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let start = Instant::now();
        while !holds().await {
            if start.elapsed() > PATIENCE {
                let mut told = Vec::new();
                let configs: Api<KataConfig> = Api::all(self.client.clone());
                for one in configs.list(&ListParams::default()).await.unwrap() {
                    told.push(serde_json::to_string_pretty(&one.status).unwrap());
                }
                panic!("waited in vain: {what}; in the cloud: {}; {}", self.memory.left(), told.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every object by kind and name, without what others write by themselves.
    pub fn inventory(&self) -> Vec<String> {
        let name = |object: &Value| {
            let text = |pointer: &str| {
                object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            let ours = !matches!(kind.as_str(), "Event" | "Lease") && !name.starts_with("rendered-");
            ours.then(|| format!("{kind} {}/{name}", text("/metadata/namespace")))
        };
        let mut all: Vec<String> =
            self.cluster.server().objects().iter().filter_map(|object| name(object)).collect();
        all.sort();
        all
    }
}

fn operator(
    cluster: &Cluster,
    memory: &Memory,
    cancel: &CancellationToken,
) -> JoinHandle<Result<(), osc_operator::Error>> {
    let image = |name: &str| Some(format!("registry.example.com/osc/{name}:1"));
    let options = osc_operator::Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: image("monitor"),
        peer_pods: PeerPodsOptions {
            adaptor_image: image("adaptor"),
            webhook_image: image("webhook"),
            image_tool_image: image("podvm-image"),
            pod_vm_image: image("podvm"),
            ..PeerPodsOptions::default()
        },
        ..osc_operator::Options::default()
    };
    let clock = cluster.clock();
    let speed = clock.speed();
    let clock = Arc::new(osc_operator::SimulatedTime::new(move || clock.now(), speed));
    tokio::spawn(osc_operator::run_with_clouds(
        cluster.server().client_named("osc-operator").unwrap(),
        options,
        clock,
        Metrics::default(),
        Arc::new(memory.clone()),
        cancel.clone(),
    ))
}
