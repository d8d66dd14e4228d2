//! A cluster on which the Go operator was, then ours: embedded, in simulated time; or on a real control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::{Client, ResourceExt};
use osc_api::KataConfigStatus;
use osc_devcluster::sim::topology::Topology;
use osc_devcluster::sim::{self, SimOptions, annotations};
use osc_devcluster::{Clock, Cluster, ClusterConfig};
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use osc_operator::{Options, SimulatedTime, WallClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::go;
use crate::control_plane::ControlPlane;
use crate::simulation::OPERATOR;

/// Field manager of the Go operator, which writes by create and update.
const GO: &str = "manager";

/// How long anything may take, in simulated time.
const PATIENCE: Duration = Duration::from_hours(24);

/// So long without a write of ours, or a change of a node, is rest: longer than a reboot.
const QUIET: Duration = Duration::from_mins(20);

/// Simulated seconds in a real one, on the real control plane.
const SPEED: f64 = 300.0;

/// A cluster.
pub struct Bed {
    /// Somebody who may do everything.
    pub client: Client,
    /// How our operator is started.
    pub options: Options,
    place: Place,
    clock: Clock,
    cancel: CancellationToken,
}

enum Place {
    Embedded(Box<Cluster>),
    Real(Box<ControlPlane>),
}

fn options() -> Options {
    Options {
        metrics_bind_address: BindAddress(None),
        monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
        agent_image: Some("quay.io/test/node@sha256:0".to_owned()),
        ..Options::default()
    }
}

/// A write of our operator: verb, resource, name.
pub type Write = (String, String, String);

impl Bed {
    /// An embedded cluster; to be used within [`crate::simulation::simulate`].
    pub async fn embedded(topology: Topology) -> Self {
        let origin = "2026-01-01T00:00:00Z".parse().unwrap();
        let contents = topology.into();
        let config =
            ClusterConfig { contents, listen: None, origin: Some(origin), ..ClusterConfig::default() };
        let cluster = Cluster::start(config).await.unwrap();
        let client = cluster.server().client_named("user").unwrap();
        let clock = cluster.clock();
        let place = Place::Embedded(Box::new(cluster));
        Self { client, options: options(), place, clock, cancel: CancellationToken::new() }
    }

    /// A real control plane with simulated nodes.
    pub async fn real(topology: Topology) -> Self {
        let plane = ControlPlane::start().await;
        let client = plane.admin("user");
        sim::topology::apply(&client, &topology).await.unwrap();
        let cancel = CancellationToken::new();
        let clock = Clock::scaled(SPEED, Timestamp::now());
        let simulation = SimOptions { clock: clock.clone(), ..SimOptions::default() };
        tokio::spawn(sim::run(plane.admin("osc-simulation"), simulation, cancel.clone()));
        Self { client, options: options(), place: Place::Real(Box::new(plane)), clock, cancel }
    }

    /// Installs the manifests of our operator, as far as this place needs them: on a real control plane those of
    /// `deploy/`, over whatever is there.
    pub async fn install_manifests(&self) {
        match &self.place {
            Place::Embedded(_) => {
                for definition in osc_api::crds() {
                    let resource = ApiResource::erase::<
                        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
                    >(&());
                    let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                    let params = PatchParams::apply("kubectl").force();
                    api.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await.unwrap();
                }
            }
            Place::Real(plane) => {
                crate::bed::apply_manifests(&plane.admin("kubectl"), &[]).await;
            }
        }
    }

    /// Everything in the embedded cluster.
    pub fn objects(&self) -> Vec<Value> {
        match &self.place {
            Place::Embedded(cluster) => {
                cluster.server().objects().iter().map(|object| (**object).clone()).collect()
            }
            Place::Real(_) => unreachable!("only embedded clusters tell all they have at once"),
        }
    }

    /// Starts our operator, on a real control plane with no more than its rights.
    pub async fn start_operator(&self) {
        let namespace = osc_api::names::OPERATOR_NAMESPACE;
        let (client, clock): (_, Arc<dyn osc_operator::Clock>) = match &self.place {
            Place::Embedded(cluster) => {
                let client = cluster.server().client_named(OPERATOR).unwrap();
                let clock = self.clock.clone();
                let speed = clock.speed();
                (client, Arc::new(SimulatedTime::new(move || clock.now(), speed)))
            }
            Place::Real(plane) => {
                let account = osc_api::names::OPERATOR_NAME;
                (plane.service_account(namespace, account).await, Arc::new(WallClock))
            }
        };
        let options = self.options.clone();
        tokio::spawn(osc_operator::run(client, options, clock, Metrics::default(), self.cancel.clone()));
    }

    /// What our operator wrote so far, events apart.
    pub fn operator_writes(&self) -> Vec<Write> {
        let all: Vec<Write> = match &self.place {
            Place::Embedded(cluster) => {
                let log = cluster.server().requests().snapshot();
                let ours = log.iter().filter(|record| record.request.user_agent.starts_with(OPERATOR));
                let writes = ours.filter(|record| record.is_write() && !record.request.dry_run);
                writes
                    .map(|record| {
                        let request = &record.request;
                        (request.verb.as_str().to_owned(), request.resource.clone(), request.name.clone())
                    })
                    .collect()
            }
            Place::Real(plane) => {
                let log = std::fs::read_to_string(plane.audit_log()).unwrap();
                let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let ours = log.iter().filter(|entry| {
                    entry["userAgent"] == OPERATOR
                        && entry["stage"] == "ResponseComplete"
                        && ["create", "update", "patch", "delete"].contains(&text(&entry["verb"]).as_str())
                });
                ours.map(|entry| {
                    let object = &entry["objectRef"];
                    (text(&entry["verb"]), text(&object["resource"]), text(&object["name"]))
                })
                .collect()
            }
        };
        all.into_iter().filter(|(_, resource, _)| resource != "events").collect()
    }

    /// Lets simulated time pass.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.clock.real_duration(duration)).await;
    }

    /// Waits until it holds; false if it never does.
    pub async fn eventually<F: Future<Output = bool>>(&self, check: impl Fn() -> F) -> bool {
        let deadline = self.clock.now() + PATIENCE;
        while self.clock.now() < deadline {
            if check().await {
                return true;
            }
            self.sleep(Duration::from_secs(5)).await;
        }
        false
    }

    /// Waits until our operator writes nothing and no node changes for a while.
    pub async fn rest(&self) -> bool {
        let deadline = self.clock.now() + PATIENCE;
        let mut before = None;
        while self.clock.now() < deadline {
            let now = (self.operator_writes().len(), self.configurations().await);
            if before.as_ref() == Some(&now) {
                return true;
            }
            before = Some(now);
            self.sleep(QUIET).await;
        }
        false
    }

    /// The client for an object that says of itself what it is.
    fn api(&self, object: &DynamicObject) -> Api<DynamicObject> {
        let types = object.types.as_ref().expect("a fixture names its kind");
        let kind = GroupVersionKind::try_from(types).unwrap();
        let resource = if kind.kind == "SecurityContextConstraints" {
            ApiResource::from_gvk_with_plural(&kind, "securitycontextconstraints")
        } else {
            ApiResource::from_gvk(&kind)
        };
        match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// The Go operator creates an object, with its status; owned by the KataConfig if it says so.
    pub async fn go_creates(&self, mut value: Value) {
        self.fill_in_owner(&mut value).await;
        let status = value.as_object_mut().and_then(|object| object.remove("status"));
        let object: DynamicObject = serde_json::from_value(value).unwrap();
        let params = PostParams { field_manager: Some(GO.to_owned()), ..PostParams::default() };
        let name = object.name_any();
        let api = self.api(&object);
        // A kind is served a moment after its definition was created.
        let created = self.eventually(|| async {
            match api.create(&params, &object).await {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.code == 404 => false,
                Err(error) => panic!("cannot create {name}: {error}"),
            }
        });
        assert!(created.await, "{name} is of a kind that is not served");
        if let Some(status) = status {
            self.go_reports(&api, &name, status).await;
        }
    }

    async fn fill_in_owner(&self, value: &mut Value) {
        let Some(owners) = value["metadata"]["ownerReferences"].as_array_mut() else { return };
        let uid = self.kata_configs().get(go::NAME).await.unwrap().uid();
        for owner in owners {
            owner["uid"] = json!(uid);
        }
    }

    async fn go_reports(&self, api: &Api<DynamicObject>, name: &str, status: Value) {
        let mut object = api.get(name).await.unwrap();
        object.data["status"] = status;
        let params = PostParams { field_manager: Some(GO.to_owned()), ..PostParams::default() };
        api.replace_status(name, &params, &object).await.unwrap();
    }

    /// The Go operator writes the status of the KataConfig.
    pub async fn go_tells(&self, status: Value) {
        self.go_reports(&self.kata_configs(), go::NAME, status).await;
    }

    /// Somebody sets or removes labels of a node.
    pub async fn label(&self, node: &str, labels: Value) {
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams { field_manager: Some(GO.to_owned()), ..PatchParams::default() };
        api.patch(node, &params, &Patch::Merge(json!({"metadata": {"labels": labels}}))).await.unwrap();
    }

    /// Somebody deletes an object; one that is gone already is fine.
    pub async fn delete(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) {
        let object = serde_json::from_value(json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace},
        }));
        match self.api(&object.unwrap()).delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("cannot delete {kind} {name}: {error}"),
        }
    }

    /// KataConfigs, whatever is in them.
    pub fn kata_configs(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kataconfiguration.openshift.io", "v1", "KataConfig");
        Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind))
    }

    /// Somebody changes the KataConfig's specification.
    pub async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.kata_configs().patch(go::NAME, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The status of the KataConfig; none without a KataConfig.
    pub async fn status(&self) -> Option<KataConfigStatus> {
        let found = self.kata_configs().get_opt(go::NAME).await.unwrap()?;
        Some(serde_json::from_value(found.data["status"].clone()).unwrap_or_default())
    }

    /// All nodes.
    pub async fn nodes(&self) -> Vec<Node> {
        Api::all(self.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    /// How often each node rebooted.
    pub async fn reboots(&self) -> BTreeMap<String, u32> {
        let count = |node: &Node| node.annotations().get(annotations::REBOOTS)?.parse().ok();
        self.nodes().await.iter().map(|node| (node.name_any(), count(node).unwrap_or_default())).collect()
    }

    /// What each node does and runs: state, current and desired configuration.
    pub async fn configurations(&self) -> BTreeMap<String, [String; 3]> {
        let keys = ["state", "currentConfig", "desiredConfig"];
        let told = |node: &Node| {
            keys.map(|key| {
                let annotation = format!("machineconfiguration.openshift.io/{key}");
                node.annotations().get(&annotation).cloned().unwrap_or_default()
            })
        };
        self.nodes().await.iter().map(|node| (node.name_any(), told(node))).collect()
    }

    async fn list(&self, api_version: &str, kind: &str) -> Vec<DynamicObject> {
        let object = serde_json::from_value(json!({"apiVersion": api_version, "kind": kind, "metadata": {}}));
        self.api(&object.unwrap()).list(&ListParams::default()).await.unwrap().items
    }

    /// Machine configs and pools, by kind and name: what people and operators say about them.
    pub async fn machine_configuration(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for kind in ["MachineConfig", "MachineConfigPool"] {
            for object in self.list("machineconfiguration.openshift.io/v1", kind).await {
                let metadata = &object.metadata;
                let said = json!({
                    "labels": metadata.labels, "annotations": metadata.annotations, "finalizers": metadata.finalizers,
                    "owners": metadata.owner_references, "spec": object.data["spec"],
                });
                found.insert(format!("{kind} {}", object.name_any()), said);
            }
        }
        found
    }

    /// Everything that an operator of Kata can leave: objects by kind and name, and labels of nodes. What the Machine
    /// Config Operator rendered stays, as in every cluster.
    pub async fn inventory(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (api_version, kind) in [
            ("machineconfiguration.openshift.io/v1", "MachineConfig"),
            ("machineconfiguration.openshift.io/v1", "MachineConfigPool"),
            ("machineconfiguration.openshift.io/v1", "ContainerRuntimeConfig"),
            ("node.k8s.io/v1", "RuntimeClass"),
            ("security.openshift.io/v1", "SecurityContextConstraints"),
            ("apps/v1", "DaemonSet"),
        ] {
            let objects = self.list(api_version, kind).await;
            let names =
                objects.iter().map(ResourceExt::name_any).filter(|name| !name.starts_with("rendered-"));
            found.extend(names.map(|name| format!("{kind} {name}")));
        }
        let dashboards = "openshift-config-managed";
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(self.client.clone(), dashboards);
        let maps = maps.list(&ListParams::default()).await.unwrap().items;
        // Each namespace has one by itself.
        let maps = maps.iter().map(ResourceExt::name_any).filter(|name| name != "kube-root-ca.crt");
        found.extend(maps.map(|name| format!("ConfigMap {name}")));
        for node in self.nodes().await {
            let labels = node
                .labels()
                .iter()
                .filter(|(key, _)| [go::KATA_ROLE, go::AGENT_LABEL].contains(&key.as_str()));
            found.extend(labels.map(|(key, value)| format!("label {key}={value} of {}", node.name_any())));
        }
        found
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.cancel.cancel();
        if let Place::Embedded(cluster) = self.place {
            cluster.stop().await;
        }
    }
}
