//! The life of a KataConfig under exactly the shipped rights: none is missing, and none is superfluous.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use osc_api::openshift::MachineConfig;
use osc_api::{KataConfig, names};
use osc_devcluster::Clock;
use osc_devcluster::sim::topology::{Kind, Topology};
use osc_devcluster::sim::{self, SimOptions, annotations};
use osc_operator::metrics::Metrics;
use osc_operator::options::BindAddress;
use osc_operator::{Options, WallClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::audit;
use osc_proof::control_plane::ControlPlane;

const NAME: &str = "example-kataconfig";
const USER: &str =
    "system:serviceaccount:openshift-sandboxed-containers-operator:sandboxed-containers-operator";

/// How long one step may take, in real time.
const PATIENCE: Duration = Duration::from_mins(2);

struct Bed {
    plane: ControlPlane,
    client: Client,
    cancel: CancellationToken,
}

impl Bed {
    async fn start(topology: Topology) -> Self {
        let plane = ControlPlane::start().await;
        let client = plane.admin("test");
        sim::topology::apply(&client, &topology).await.unwrap();
        let cancel = CancellationToken::new();
        // Half an hour of rollout in a few seconds.
        let clock = Clock::scaled(300.0, jiff::Timestamp::now());
        let options = SimOptions { clock, ..SimOptions::default() };
        tokio::spawn(sim::run(plane.admin("osc-simulation"), options, cancel.clone()));
        // The monitoring stack's own definitions are not installed here, and the operator's pod runs as a task.
        plane.install_manifests(&["ServiceMonitor", "PrometheusRule", "Deployment"]).await;
        let bed = Self { plane, client, cancel };
        bed.run_operator().await;
        bed
    }

    async fn run_operator(&self) {
        let client = self.plane.service_account(names::OPERATOR_NAMESPACE, names::OPERATOR_NAME).await;
        let options = Options {
            leader_elect: true,
            metrics_bind_address: BindAddress(None),
            monitor_image: Some("quay.io/test/monitor@sha256:0".to_owned()),
            ..Options::default()
        };
        let operator =
            osc_operator::run(client, options, Arc::new(WallClock), Metrics::default(), self.cancel.clone());
        tokio::spawn(async move { operator.await.unwrap() });
    }

    fn kata_configs(&self) -> Api<KataConfig> {
        Api::all(self.client.clone())
    }

    async fn create(&self, spec: Value) {
        let resource = ApiResource::erase::<KataConfig>(&());
        let object = DynamicObject::new(NAME, &resource).data(json!({"spec": spec}));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn until(&self, what: &str, wished: impl Fn(Option<&KataConfig>) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.kata_configs().get_opt(NAME).await.unwrap();
            if wished(found.as_ref()) {
                return;
            }
            if tokio::time::Instant::now() > deadline {
                let (_, refused) = audit::uses(&self.plane.audit_log(), USER);
                panic!("waited in vain: {what}; refused: {refused:#?}; found: {found:#?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn condition(&self, type_: &'static str, status: &'static str, reason: &'static str) {
        let wished = move |found: Option<&KataConfig>| {
            let status_found = found.and_then(|found| found.status.as_ref());
            status_found
                .and_then(|found| found.condition(type_))
                .is_some_and(|c| c.status == status && c.reason == reason)
        };
        self.until(&format!("{type_}={status} {reason}"), wished).await;
    }

    async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn remove(&self) {
        self.kata_configs().delete(NAME, &DeleteParams::default()).await.unwrap();
        self.until("gone", |found| found.is_none()).await;
    }

    /// A machine config that the Go operator would have made, next to ours: it goes with the KataConfig.
    async fn layered_image(&self) {
        let name = names::IMAGE_MACHINE_CONFIG;
        let labels = json!({names::MACHINE_CONFIG_ROLE: "master", names::APP_LABEL: NAME});
        let config = json!({"metadata": {"name": name, "labels": labels}, "spec": {"osImageURL": "quay.io/test/os:2"}});
        let api: Api<MachineConfig> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(config).unwrap()).await.unwrap();
    }

    async fn reboots(&self) -> Vec<String> {
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await.unwrap();
        let count = |node: &Node| {
            Some(format!("{} {}", node.name_any(), node.annotations().get(annotations::REBOOTS)?))
        };
        nodes.iter().filter_map(count).filter(|told| !told.ends_with(" 0")).collect()
    }

    /// Ends the operator, then tells what it did and what it was refused: watches are logged when they end.
    async fn stop(self) -> (BTreeSet<audit::Use>, Vec<String>) {
        self.cancel.cancel();
        tokio::time::sleep(Duration::from_secs(2)).await;
        audit::uses(&self.plane.audit_log(), USER)
    }

    /// Waits until it becomes true.
    async fn eventually<F: Future<Output = bool>>(&self, what: &str, check: impl Fn() -> F) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !check().await {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The rights that the manifests give to the operator.
    async fn rules(&self) -> Vec<PolicyRule> {
        let cluster: ClusterRole = Api::all(self.client.clone()).get(names::OPERATOR_NAME).await.unwrap();
        let mut rules = cluster.rules.unwrap_or_default();
        let namespaced: Api<Role> = Api::all(self.client.clone());
        for role in namespaced.list(&ListParams::default()).await.unwrap() {
            if role.name_any().starts_with(names::OPERATOR_NAME) {
                rules.extend(role.rules.unwrap_or_default());
            }
        }
        rules
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_needed_and_none_is_missing() {
    let regular = Bed::start(Topology { workers: 2, ..Topology::default() }).await;
    regular_story(&regular).await;
    let rules = regular.rules().await;
    assert!(rules.len() > 15, "the roles were found: {}", rules.len());
    let (mut uses, refused) = regular.stop().await;
    assert!(refused.is_empty(), "{refused:#?}");

    let compact = Bed::start(Topology { kind: Kind::Compact, workers: 0, ..Topology::default() }).await;
    compact.create(json!({})).await;
    compact.condition("Ready", "True", "Installed").await;
    compact.layered_image().await;
    compact.remove().await;
    let configs: Api<MachineConfig> = Api::all(compact.client.clone());
    assert!(configs.get_opt(names::IMAGE_MACHINE_CONFIG).await.unwrap().is_none());
    let (more, refused) = compact.stop().await;
    assert!(refused.is_empty(), "{refused:#?}");
    uses.extend(more);

    let unused = audit::unused(&rules, &uses);
    // Asked for by an admission plugin, not by a request: it is granted on behalf of another write.
    let by_admission = "update kataconfigs/finalizers.kataconfiguration.openshift.io []".to_owned();
    assert_eq!(unused, [by_admission].into());
}

/// Install, mend what somebody broke, change level and selection, remove.
async fn regular_story(bed: &Bed) {
    bed.create(json!({"logLevel": "debug"})).await;
    bed.condition("InProgress", "True", "Installing").await;
    bed.condition("Ready", "True", "Installed").await;
    assert_eq!(bed.reboots().await, ["worker-0 1", "worker-1 1"]);

    // The class's node selector is ours; somebody changes it, and it is put right.
    bed.merge::<RuntimeClass>("kata", json!({"scheduling": {"nodeSelector": {"zone": "a"}}})).await;
    let classes: Api<RuntimeClass> = Api::all(bed.client.clone());
    let mended = || async {
        let class = classes.get("kata").await.unwrap();
        class
            .scheduling
            .and_then(|found| found.node_selector)
            .is_some_and(|found| found.contains_key(names::KATA_NODE_ROLE) && found.len() == 1)
    };
    bed.eventually("the node selector is put right", mended).await;

    // So are the labels of the operator's namespace.
    let label = "openshift.io/cluster-monitoring";
    bed.merge::<Namespace>(names::OPERATOR_NAMESPACE, json!({"metadata": {"labels": {label: null}}})).await;
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    let labelled =
        || async { namespaces.get(names::OPERATOR_NAMESPACE).await.unwrap().labels().contains_key(label) };
    bed.eventually("the namespace has its label", labelled).await;

    // The dashboard's copy follows its source.
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let copies: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::DASHBOARD_NAMESPACE);
    let data = json!({"data": {"more.json": "{}"}});
    maps.patch(names::DASHBOARD_CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&data)).await.unwrap();
    let follows = || async {
        let copy = copies.get(names::DASHBOARD_CONFIG_MAP).await.unwrap();
        copy.data.is_some_and(|data| data.contains_key("more.json"))
    };
    bed.eventually("the copy follows its source", follows).await;

    bed.merge::<KataConfig>(NAME, json!({"spec": {"logLevel": "info"}})).await;
    bed.condition("InProgress", "True", "Updating").await;
    bed.condition("Ready", "True", "Installed").await;
    bed.merge::<Node>("worker-0", json!({"metadata": {"labels": {"kata": "true"}}})).await;
    let selector = json!({"matchLabels": {"kata": "true"}});
    bed.merge::<KataConfig>(NAME, json!({"spec": {"kataConfigPoolSelector": selector}})).await;
    bed.until("one node", |found| {
        let status = found.and_then(|found| found.status.as_ref());
        status.is_some_and(|status| {
            status.kata_nodes.installed == ["worker-0"]
                && status.kata_nodes.uninstalling.is_empty()
                && status.condition("Ready").is_some_and(|ready| ready.status == "True")
        })
    })
    .await;
    bed.remove().await;
    assert_eq!(bed.reboots().await, ["worker-0 3", "worker-1 3"]);
    let classes: Api<RuntimeClass> = Api::all(bed.client.clone());
    assert!(classes.get_opt("kata").await.unwrap().is_none());
}
