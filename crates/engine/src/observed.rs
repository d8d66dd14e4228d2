//! What the shell tells the engine about the cluster: plain values, shared and never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_api::{KataConfigSpec, KataConfigStatus, names};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::object::{Kind, ObjectId};

/// The cluster as the caches show it at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The time, by the clock that also wrote the status' transition times.
    pub now: Timestamp,
    /// Which optional APIs the cluster serves.
    pub capabilities: Capabilities,
    /// Kinds that we need and cannot read, each with the error in words. Nothing is concluded from their absence.
    pub unreadable: BTreeMap<&'static str, String>,
    /// All KataConfigs, in any order.
    pub kata_configs: Vec<Arc<KataConfigView>>,
    /// All nodes, sorted by name.
    pub nodes: Vec<Arc<NodeView>>,
    /// All machine config pools.
    pub pools: Vec<Arc<PoolView>>,
    /// Objects that we own or read whole, by name. Absent here means absent in the cluster.
    pub objects: BTreeMap<ObjectId, Arc<Value>>,
    /// Rendered machine configs, by name, as far as [`crate::layout::rendered_needed`] asked for them.
    pub rendered: BTreeMap<String, Rendered>,
    /// Pods that use one of our runtime classes and have not ended; only needed while something is being deleted.
    pub pods: Pods,
    /// The adaptor's pods, by node; only known while there is a DaemonSet of them.
    pub adaptors: Vec<AdaptorView>,
    /// Pods of the jobs that make and delete pod VM images.
    pub image_pods: Vec<ImagePodView>,
    /// All PeerPods.
    pub peer_pods: Vec<PeerPodView>,
    /// Virtual machines of this cluster that no PeerPod knows, in words.
    pub strays: Vec<String>,
}

/// One pod of the adaptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdaptorView {
    /// The node that it is on.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Whether it is ready and not on its way out.
    pub ready: bool,
    /// Why its container does not run, in the kubelet's words.
    pub waiting: Option<String>,
    /// When the operator last saw one of the fields above change.
    pub changed_at: Timestamp,
}

/// One pod of a job that makes or deletes an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePodView {
    /// Name of the job.
    pub job: String,
    /// Unique identity of the job.
    pub job_uid: String,
    /// Name of the pod.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded` or `Failed`.
    pub phase: String,
    /// Why its container does not run, in the kubelet's words.
    pub waiting: Option<String>,
    /// What it said at its end.
    pub message: Option<String>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// One PeerPod: a pod VM that is to be deleted when its pod is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `aws`, `azure`, `gcp` or `libvirt`.
    pub provider: String,
    /// Identifier of the virtual machine.
    pub instance: String,
    /// When its deletion was requested.
    pub deleted: Option<Timestamp>,
    /// Why its virtual machine could not be deleted so far.
    pub error: Option<String>,
}

/// Which optional APIs the cluster serves.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// `MachineConfig` and `MachineConfigPool`: the Machine Config Operator is there.
    pub machine_config: bool,
    /// `ContainerRuntimeConfig`.
    pub container_runtime_config: bool,
    /// `SecurityContextConstraints`.
    pub scc: bool,
    /// `ClusterVersion`: the cluster is an OpenShift cluster.
    pub openshift: bool,
    /// `CredentialsRequest`: the cluster can be asked for credentials of its cloud.
    pub credentials_requests: bool,
    /// `PeerPodConfig` and `PeerPod`.
    pub peer_pods: bool,
    /// The API server asks a webhook only about what its conditions let through: from release 1.28 on.
    pub match_conditions: bool,
    /// The API server has told its release, so that the answer before counts.
    pub release_known: bool,
}

/// What of a rendered machine config may be Kata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Extensions of the operating system.
    pub extensions: BTreeSet<String>,
    /// Image of the operating system; empty if not told.
    pub os_image: String,
}

/// What is known about pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// They are not watched, since nothing is being deleted.
    #[default]
    Unknown,
    /// They are watched, and the first list is still to come.
    Awaited {
        /// Since when.
        since: Timestamp,
        /// What the API server said last, if it said anything.
        error: Option<String>,
    },
    /// Those that use a runtime class and have not ended.
    Known(Vec<PodView>),
    /// They cannot be listed; the error in words.
    Unreadable(String),
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its runtime class.
    pub runtime_class: String,
    /// The node that it is on; empty while it is on none.
    pub node: String,
}

/// One KataConfig.
#[derive(Clone, Debug, PartialEq)]
pub struct KataConfigView {
    /// Name.
    pub name: String,
    /// Unique identity, for owner references.
    pub uid: String,
    /// Version of this reading, for optimistic locking.
    pub resource_version: String,
    /// Creation time.
    pub created: Option<Timestamp>,
    /// Whether its deletion was requested.
    pub deleting: bool,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// What is asked for, or why it cannot be read.
    pub spec: Result<KataConfigSpec, String>,
    /// What was told last.
    pub status: KataConfigStatus,
}

impl Default for KataConfigView {
    fn default() -> Self {
        Self {
            name: String::new(),
            uid: String::new(),
            resource_version: String::new(),
            created: None,
            deleting: false,
            finalizers: Vec::new(),
            spec: Ok(KataConfigSpec::default()),
            status: KataConfigStatus::default(),
        }
    }
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// MCO annotation `state`.
    pub mco_state: Option<String>,
    /// MCO annotation `currentConfig`.
    pub current_config: Option<String>,
    /// MCO annotation `desiredConfig`.
    pub desired_config: Option<String>,
    /// MCO annotation `reason`.
    pub mco_reason: Option<String>,
    /// Whether the Machine Config Operator wants the node drained and has not achieved it yet.
    pub draining: bool,
    /// Whether the node is cordoned.
    pub unschedulable: bool,
    /// Whether the node is ready.
    pub ready: bool,
    /// What the node agent of DaemonSet mode says about its failure.
    pub agent_failure: Option<String>,
    /// What the node agent of DaemonSet mode has installed.
    pub agent_version: Option<String>,
    /// How many pod VMs it is said to have room for.
    pub vms: Option<String>,
    /// When the operator last saw one of the fields above, but for the last, change; of the labels, only that of the node agent counts.
    pub changed_at: Timestamp,
    /// When the operator last saw a label change.
    pub labels_changed_at: Timestamp,
}

impl NodeView {
    /// Whether the node has the label, with whatever value.
    pub fn has_label(&self, key: &str) -> bool {
        self.labels.contains_key(key)
    }

    /// Whether the node belongs to the control plane, as the Machine Config Operator sees it.
    pub fn is_master(&self) -> bool {
        self.has_label(names::MASTER_NODE_ROLE) || self.has_label(names::CONTROL_PLANE_NODE_ROLE)
    }

    /// Whether the node is labelled as able to run Kata.
    pub fn is_eligible(&self) -> bool {
        self.labels.get(names::NODE_ELIGIBLE_LABEL).is_some_and(|value| value == "true")
    }

    /// Whether the node has the worker role.
    pub fn is_worker(&self) -> bool {
        self.has_label(names::WORKER_NODE_ROLE)
    }

    /// Whether the node has the role that makes it a member of the pool `kata-oc`.
    pub fn has_kata_role(&self) -> bool {
        self.has_label(names::KATA_NODE_ROLE)
    }
}

/// One machine config pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolView {
    /// Name.
    pub name: String,
    /// Which nodes belong to it.
    pub node_selector: Option<LabelSelector>,
    /// Whether its rollout is held.
    pub paused: bool,
    /// Rendered machine config that the nodes are to run (`spec.configuration.name`).
    pub target: Option<String>,
    /// Names of the machine configs that the target was rendered from; empty if not told.
    pub sources: BTreeSet<String>,
    /// Condition `Updating`.
    pub updating: bool,
    /// Messages of the conditions `Degraded`, `NodeDegraded` and `RenderDegraded` that are `True`, without repeats.
    pub degraded: Vec<String>,
}

/// What the person who installs the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The operator's namespace.
    pub namespace: String,
    /// Image of kata-monitor; without it, no monitor is run.
    pub monitor_image: Option<String>,
    /// Image of the node agent; without it, nothing is installed in DaemonSet mode.
    pub agent_image: Option<String>,
    /// Extension to install whatever the cluster says.
    pub extension: Option<String>,
    /// What peer pods need.
    pub peer_pods: PeerPodsSettings,
    /// Whether the operator's own host runs RHCOS: the last resort for choosing the extension.
    pub host_is_rhcos: bool,
    /// How long the API server may take to list something.
    pub read_deadline: SignedDuration,
    /// How long the Machine Config Operator may take to notice a change.
    pub start_deadline: SignedDuration,
    /// How long a node may take to drain.
    pub drain_deadline: SignedDuration,
    /// How long a node may take for anything else, a reboot above all.
    pub node_deadline: SignedDuration,
    /// How long a node agent may take for its work.
    pub agent_deadline: SignedDuration,
    /// How long labels have to be quiet before a runtime class goes that no node can run any more.
    pub label_grace: SignedDuration,
}

/// What the person who installs the operator chose about peer pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPodsSettings {
    /// Image of the adaptor.
    pub adaptor_image: Option<String>,
    /// Image of the webhook.
    pub webhook_image: Option<String>,
    /// Image of the tool that makes pod VM images.
    pub image_tool: Option<String>,
    /// The pod VM image of this release.
    pub pod_vm_image: Option<String>,
    /// How to log in to the cloud with tokens of the cluster's own.
    pub sts: Option<Sts>,
    /// Proxies that containers are to use: names and values of variables.
    pub proxies: Vec<(String, String)>,
    /// Whether the operator's own host, and so the cluster, is in FIPS mode.
    pub fips: bool,
    /// How long an adaptor may be away before its node counts as without.
    pub adaptor_grace: SignedDuration,
    /// How long a job or an adaptor may take to start.
    pub start_deadline: SignedDuration,
    /// How long a pod VM may take to be deleted.
    pub deletion_deadline: SignedDuration,
}

/// Whom the cloud knows the cluster as, where it trusts the cluster's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sts {
    /// Amazon Web Services.
    Aws {
        /// The role to take on.
        role: String,
    },
    /// Microsoft Azure.
    Azure {
        /// The application.
        client: String,
        /// The directory.
        tenant: String,
        /// The subscription.
        subscription: String,
    },
}

impl Default for PeerPodsSettings {
    fn default() -> Self {
        Self {
            adaptor_image: None,
            webhook_image: None,
            image_tool: None,
            pod_vm_image: None,
            sts: None,
            proxies: Vec::new(),
            fips: false,
            adaptor_grace: SignedDuration::from_mins(2),
            start_deadline: SignedDuration::from_mins(5),
            deletion_deadline: SignedDuration::from_mins(15),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: names::OPERATOR_NAMESPACE.to_owned(),
            monitor_image: None,
            agent_image: None,
            extension: None,
            peer_pods: PeerPodsSettings::default(),
            host_is_rhcos: false,
            read_deadline: SignedDuration::from_secs(30),
            start_deadline: SignedDuration::from_mins(10),
            drain_deadline: SignedDuration::from_mins(15),
            // The documentation: "from 10 to more than 60 minutes".
            node_deadline: SignedDuration::from_mins(90),
            // Packages are downloaded, and a container runtime is restarted.
            agent_deadline: SignedDuration::from_mins(30),
            // The documentation: relabelling takes up to a minute.
            label_grace: SignedDuration::from_mins(5),
        }
    }
}

impl Observed {
    /// The object of a cluster-scoped kind.
    pub fn cluster_object(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&ObjectId::cluster(kind, name)).map(AsRef::as_ref)
    }

    /// The object in a namespace.
    pub fn namespaced_object(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&ObjectId::namespaced(kind, namespace, name)).map(AsRef::as_ref)
    }

    /// What is in a ConfigMap.
    pub fn data(&self, namespace: &str, config_map: &str) -> Option<&Map<String, Value>> {
        self.namespaced_object(Kind::ConfigMap, namespace, config_map)?["data"].as_object()
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&PoolView> {
        self.pools.iter().map(AsRef::as_ref).find(|pool| pool.name == name)
    }
}
