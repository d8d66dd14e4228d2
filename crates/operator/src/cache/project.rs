//! From API objects to what the engine reads. What is not readable becomes words, never a panic.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use kube::ResourceExt;
use kube::api::DynamicObject;
use osc_api::openshift::{MachineConfig, MachineConfigPool};
use osc_api::peerpods::PeerPod;
use osc_api::{KataConfigSpec, KataConfigStatus, names, peerpods};
use osc_engine::observed::{AdaptorView, ImagePodView};
use osc_engine::peerpods::release::Record;
use osc_engine::{KataConfigView, Kind, NodeView, PodView, PoolView, Rendered, quantity};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::table::UNKNOWN_VERSION;
use super::wire;

/// The version of an object, as a number: API servers count it up.
pub fn version(resource_version: Option<&str>) -> u64 {
    resource_version.and_then(|version| version.parse().ok()).unwrap_or(UNKNOWN_VERSION)
}

/// A KataConfig. A specification or status of the wrong shape is told, not dropped.
pub fn kata_config(object: &DynamicObject) -> KataConfigView {
    let spec = match &object.data["spec"] {
        Value::Null => Ok(KataConfigSpec::default()),
        spec => serde_json::from_value(spec.clone()).map_err(|error| error.to_string()),
    };
    let status: Option<KataConfigStatus> =
        serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
    KataConfigView {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        created: object.creation_timestamp().map(|time| time.0),
        deleting: object.metadata.deletion_timestamp.is_some(),
        finalizers: object.finalizers().to_vec(),
        spec,
        status: status.unwrap_or_default(),
    }
}

/// A node. `before`: what was known of it, for the time of its last change.
pub fn node(node: &wire::Node, before: Option<&NodeView>, now: Timestamp) -> NodeView {
    let annotation = |key: &str| node.annotations().get(key).cloned();
    let ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    let mut view = NodeView {
        name: node.name_any(),
        labels: node.labels().clone(),
        mco_state: annotation(names::MCO_STATE),
        current_config: annotation(names::MCO_CURRENT_CONFIG),
        desired_config: annotation(names::MCO_DESIRED_CONFIG),
        mco_reason: annotation(names::MCO_REASON),
        draining: drains(node.annotations()),
        unschedulable: node.spec.unschedulable,
        ready: node.status.conditions.iter().any(ready),
        agent_failure: annotation(names::AGENT_FAILURE),
        agent_version: annotation(names::AGENT_VERSION),
        vms: node.status.capacity.get(peerpods::VM_RESOURCE).map(|room| whole_number(room)),
        changed_at: now,
        labels_changed_at: now,
    };
    if let Some(before) = before {
        let labels = std::mem::take(&mut view.labels);
        (view.changed_at, view.labels_changed_at) = (before.changed_at, now);
        // Labels apart: they change for reasons that have nothing to do with a rollout.
        let same = NodeView {
            labels: before.labels.clone(),
            labels_changed_at: before.labels_changed_at,
            vms: before.vms.clone(),
            ..view.clone()
        } == *before;
        let state = |labels: &BTreeMap<String, String>| labels.get(names::DAEMON_SET_MODE_LABEL).cloned();
        if !same || state(&labels) != state(&before.labels) {
            view.changed_at = now;
        }
        view.labels = labels;
    }
    view
}

/// A quantity as a plain number: API servers write a thousand as `1k`.
fn whole_number(room: &str) -> String {
    quantity::parse(room).map_or_else(|| room.to_owned(), |thousandths| (thousandths / 1000).to_string())
}

/// A drain is asked for by `drain-<config>` and done when the answer says the same.
pub fn drains(annotations: &BTreeMap<String, String>) -> bool {
    let desired = annotations.get(names::MCO_DESIRED_DRAIN);
    desired.is_some_and(|desired| {
        desired.starts_with("drain-") && annotations.get(names::MCO_LAST_APPLIED_DRAIN) != Some(desired)
    })
}

/// A machine config pool.
pub fn pool(pool: &MachineConfigPool) -> PoolView {
    let status = pool.status.clone().unwrap_or_default();
    let configuration = pool.spec.configuration.clone().unwrap_or_default();
    let mut degraded: Vec<String> = Vec::new();
    for condition in &status.conditions {
        let relevant = matches!(condition.type_.as_str(), "Degraded" | "NodeDegraded" | "RenderDegraded");
        let message = condition.message.trim();
        if relevant
            && condition.status == "True"
            && !message.is_empty()
            && !degraded.iter().any(|told| told == message)
        {
            degraded.push(message.to_owned());
        }
    }
    PoolView {
        name: pool.name_any(),
        node_selector: pool.spec.node_selector.clone(),
        paused: pool.spec.paused.unwrap_or_default(),
        target: configuration.name.filter(|name| !name.is_empty()),
        sources: configuration.source.into_iter().flatten().filter_map(|source| source.name).collect(),
        updating: status.is_true("Updating"),
        degraded,
    }
}

/// A rendered machine config.
pub fn rendered(config: &MachineConfig) -> Rendered {
    Rendered {
        extensions: config.spec.extensions.clone().unwrap_or_default().into_iter().collect(),
        os_image: config.spec.os_image_url.clone().unwrap_or_default(),
    }
}

/// Conditions without what changes with every look at them.
fn conditions(status: &Value) -> impl Iterator<Item = Value> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.map(|one| {
        let fields = ["type", "status", "message", "lastTransitionTime"];
        fields.into_iter().map(|field| (field.to_owned(), one[field].clone())).collect()
    })
}

/// An object of which the engine reads the whole: all but what others write all the time.
pub fn whole(kind: Kind, object: &DynamicObject) -> Value {
    let metadata = &object.metadata;
    let mut whole = object.data.clone();
    let status = whole.as_object_mut().and_then(|whole| whole.remove("status"));
    if kind == Kind::ClusterVersion
        && let Some(status) = status
    {
        whole["status"] = json!({"desired": {"image": status["desired"]["image"]}});
    } else if kind == Kind::Infrastructure
        && let Some(status) = status
    {
        // The older field is the one that every release fills.
        let platform = [&status["platformStatus"]["type"], &status["platform"]];
        whole["status"] = json!({
            "platform": platform.into_iter().find(|found| found.is_string()),
            "region": status.pointer("/platformStatus/aws/region"),
        });
    } else if is_agent(kind, metadata.name.as_deref())
        && let Some(status) = status
    {
        let fields = ["observedGeneration", "desiredNumberScheduled", "updatedNumberScheduled"];
        whole["status"] = fields.into_iter().map(|field| (field.to_owned(), status[field].clone())).collect();
    } else if kind == Kind::Deployment
        && let Some(status) = status
    {
        let conditions = conditions(&status);
        whole["status"] = json!({
            "availableReplicas": status["availableReplicas"],
            "conditions": conditions.filter(|one| one["type"] == "Available").collect::<Vec<_>>(),
        });
    } else if kind == Kind::CredentialsRequest
        && let Some(status) = status
    {
        whole["status"] = json!({"conditions": conditions(&status).collect::<Vec<_>>()});
    } else if kind == Kind::Job
        && let Some(status) = status
    {
        whole["status"] = json!({"conditions": status["conditions"]});
    } else if kind == Kind::Secret {
        whole = json!({"digests": digests(&whole["data"])});
    }
    if !whole.is_object() {
        whole = json!({});
    }
    whole["metadata"] = json!({
        "name": metadata.name,
        "namespace": metadata.namespace,
        "labels": metadata.labels,
        "ownerReferences": metadata.owner_references,
        "finalizers": metadata.finalizers,
        "deletionTimestamp": metadata.deletion_timestamp,
    });
    if is_agent(kind, metadata.name.as_deref()) {
        whole["metadata"]["generation"] = json!(metadata.generation);
    }
    // Needed where finalizers are set or what people wrote is changed; elsewhere it would make news of every heartbeat.
    if matches!(kind, Kind::RuntimeClass | Kind::PeerPodConfig) || is_settings(kind, metadata.name.as_deref())
    {
        whole["metadata"]["resourceVersion"] = json!(metadata.resource_version);
    }
    if matches!(kind, Kind::Secret | Kind::Job | Kind::PeerPodConfig)
        || is_settings(kind, metadata.name.as_deref())
    {
        whole["metadata"]["annotations"] = json!(metadata.annotations);
        whole["metadata"]["uid"] = json!(metadata.uid);
    }
    if matches!(kind, Kind::Service | Kind::MutatingWebhookConfiguration) {
        whole["metadata"]["annotations"] = json!(metadata.annotations);
    }
    if kind == Kind::CredentialsRequest {
        whole["metadata"]["creationTimestamp"] = json!(metadata.creation_timestamp);
    }
    if kind == Kind::Namespace {
        whole["metadata"]["uid"] = json!(metadata.uid);
    }
    if let Some(types) = &object.types {
        whole["apiVersion"] = json!(types.api_version);
        whole["kind"] = json!(types.kind);
    } else {
        whole["apiVersion"] = json!(kind.api_version());
        whole["kind"] = json!(kind.name());
    }
    whole
}

/// Whether it is the config map with the settings of peer pods: what is noted at it is read as well.
fn is_settings(kind: Kind, name: Option<&str>) -> bool {
    kind == Kind::ConfigMap && name == Some(peerpods::SETTINGS)
}

/// Whether it is a DaemonSet of node agents: how far its rollout is, is read as well.
fn is_agent(kind: Kind, name: Option<&str>) -> bool {
    kind == Kind::DaemonSet && name.is_some_and(|name| names::DAEMON_SET_MODE_DAEMON_SETS.contains(&name))
}

/// What stands for the values of a Secret, which are kept nowhere.
fn digests(data: &Value) -> Value {
    let digest = |value: &Value| {
        let hash = Sha256::digest(value.as_str().unwrap_or_default().as_bytes());
        hash.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let entries = data.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), Value::from(digest(value))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A pod, if it has a runtime class.
pub fn pod(pod: &wire::Pod) -> Option<PodView> {
    Some(PodView {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        runtime_class: pod.spec.runtime_class_name.clone()?,
        node: pod.spec.node_name.clone().unwrap_or_default(),
    })
}

/// A pod of the adaptor. `before`: what was known of it, for the time of its last change.
pub fn adaptor(pod: &wire::Pod, before: Option<&AdaptorView>, now: Timestamp) -> Option<AdaptorView> {
    let ready = |condition: &PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let view = AdaptorView {
        node: pod.spec.node_name.clone().filter(|node| !node.is_empty())?,
        name: pod.name_any(),
        ready: pod.metadata.deletion_timestamp.is_none() && pod.status.conditions.iter().any(ready),
        waiting: waiting(pod),
        changed_at: now,
    };
    // By readiness alone: the kubelet's words change with every try.
    let since = before.filter(|before| (before.ready, &before.node) == (view.ready, &view.node));
    Some(AdaptorView { changed_at: since.map_or(now, |before| before.changed_at), ..view })
}

/// A pod of a job that makes or deletes an image.
pub fn image_pod(pod: &wire::Pod) -> Option<ImagePodView> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let job = owners.into_iter().find(|owner| owner.kind == "Job")?;
    let mut ended =
        pod.status.container_statuses.iter().filter_map(|status| status.state.as_ref()?.terminated.as_ref());
    let ended = ended.next();
    Some(ImagePodView {
        job: job.name.clone(),
        job_uid: job.uid.clone(),
        name: pod.name_any(),
        phase: pod.status.phase.clone(),
        waiting: waiting(pod),
        message: ended.and_then(|ended| ended.message.clone()),
        ended: ended.and_then(|ended| ended.finished_at.as_ref().map(|time| time.0)),
    })
}

/// Why the pod's containers do not run: a word, and what is said about it.
fn waiting(pod: &wire::Pod) -> Option<String> {
    let words = |reason: &str, message: Option<&String>| match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    let scheduled = pod.status.conditions.iter().find(|condition| condition.type_ == "PodScheduled");
    if let Some(refused) = scheduled.filter(|condition| condition.status == "False") {
        return Some(words(refused.reason.as_deref().unwrap_or("Unschedulable"), refused.message.as_ref()));
    }
    let waits =
        pod.status.container_statuses.iter().find_map(|status| status.state.as_ref()?.waiting.as_ref())?;
    Some(words(waits.reason.as_deref()?, waits.message.as_ref()))
}

/// A PeerPod, as it is told and as it is decided about.
pub fn peer_pod(object: &PeerPod) -> Record {
    let owners = object.metadata.owner_references.iter().flatten();
    Record {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        created: object.creation_timestamp().map(|time| time.0),
        deleting: object.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers: object.finalizers().to_vec(),
        pod: owners.into_iter().find(|owner| owner.kind == "Pod").map(|owner| owner.uid.clone()),
        provider: object.spec.cloud_provider.clone(),
        instance: object.spec.instance_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dynamic(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_spec_of_the_wrong_shape_becomes_words() {
        let view = kata_config(&dynamic(json!({
            "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
            "metadata": {"name": "k"}, "spec": {"checkNodeEligibility": "perhaps"}
        })));
        let error = view.spec.unwrap_err();
        assert!(error.contains("perhaps") && error.contains("boolean"), "{error}");
    }

    #[test]
    fn a_status_of_an_old_release_is_read_as_far_as_it_goes() {
        let view = kata_config(&dynamic(json!({
            "apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig", "metadata": {"name": "k"},
            "spec": null, "status": {"runtimeClass": "kata", "totalNodesCount": 3, "runtimeClasses": ["kata"]}
        })));
        assert_eq!(
            (view.status.runtime_classes, view.spec),
            (vec!["kata".to_owned()], Ok(KataConfigSpec::default()))
        );
    }

    /// What the engine reads of a workload that stays down and of a request that is refused; probes are no news.
    #[test]
    fn what_keeps_peer_pods_waiting_is_kept() {
        let condition = |type_: &str, probed: &str| {
            json!({"type": type_, "status": "False", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastProbeTime": probed, "lastUpdateTime": probed})
        };
        let object = |kind: &str, type_: &str, probed: &str| {
            dynamic(json!({"apiVersion": "x/v1", "kind": kind, "spec": {},
                "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"availableReplicas": 0, "conditions": [condition(type_, probed), condition("Other", probed)]}}))
        };
        let deployment = |probed: &str| whole(Kind::Deployment, &object("Deployment", "Available", probed));
        let conditions = &deployment("2026-01-01T00:01:00Z")["status"]["conditions"];
        assert_eq!(conditions.as_array().unwrap().len(), 1);
        assert_eq!(conditions[0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(deployment("2026-01-01T00:01:00Z"), deployment("2026-01-01T00:02:00Z"));
        let request = |probed: &str| {
            whole(Kind::CredentialsRequest, &object("CredentialsRequest", "InsufficientCloudCreds", probed))
        };
        assert_eq!(request("2026-01-01T00:01:00Z")["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(request("2026-01-01T00:01:00Z")["status"]["conditions"][0]["message"], "m");
        assert_eq!(request("2026-01-01T00:01:00Z"), request("2026-01-01T00:02:00Z"));
    }

    fn wire_node(state: &str, heartbeat: &str, labels: &Value) -> wire::Node {
        serde_json::from_value(json!({
            "metadata": {"name": "w0", "labels": labels, "annotations": {names::MCO_STATE: state}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat}],
                       "images": [{"names": ["x"], "sizeBytes": 1}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_heartbeat_does_not_change_a_node_and_a_state_does() {
        let (then, now) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        let first = node(&wire_node("Done", "2026-01-01T00:00:00Z", &json!({})), None, then);
        let beat = node(&wire_node("Done", "2026-01-01T00:01:00Z", &json!({})), Some(&first), now);
        assert_eq!(beat.changed_at, then);
        let labelled =
            node(&wire_node("Done", "2026-01-01T00:01:00Z", &json!({"a": "b"})), Some(&first), now);
        assert_eq!((labelled.changed_at, labelled.labels.len()), (then, 1));
        let working = node(&wire_node("Working", "2026-01-01T00:01:00Z", &json!({})), Some(&first), now);
        assert_eq!(working.changed_at, now);
    }

    #[test]
    fn the_state_of_the_node_agent_is_the_one_label_that_counts_as_progress() {
        let (then, now) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        let at = |state: &str| {
            wire_node("Done", "2026-01-01T00:00:00Z", &json!({names::DAEMON_SET_MODE_LABEL: state}))
        };
        let first = node(&at("installing"), None, then);
        assert_eq!(node(&at("installing"), Some(&first), now).changed_at, then);
        assert_eq!(node(&at("installed"), Some(&first), now).changed_at, now);
    }

    #[test]
    fn nothing_of_a_secret_is_kept_but_a_digest() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull-secret", "namespace": "n"},
            "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "c2VjcmV0"}
        });
        let kept = whole(Kind::Secret, &dynamic(secret));
        let digest = kept["digests"][".dockerconfigjson"].as_str().unwrap();
        assert_eq!(digest.len(), 64);
        assert!(!kept.to_string().contains("c2VjcmV0"), "{kept}");
    }

    #[test]
    fn of_the_agents_the_rollout_is_read_and_of_others_nothing() {
        let set = |name: &str| {
            whole(
                Kind::DaemonSet,
                &dynamic(json!({
                    "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "generation": 3},
                    "spec": {}, "status": {"observedGeneration": 2, "updatedNumberScheduled": 1, "numberReady": 1}
                })),
            )
        };
        let agent = set(names::INSTALL_DAEMON_SET);
        assert_eq!(
            (&agent["metadata"]["generation"], &agent["status"]["observedGeneration"]),
            (&json!(3), &json!(2))
        );
        assert!(agent["status"]["numberReady"].is_null() && set(names::MONITOR)["status"].is_null());
    }

    #[test]
    fn a_pool_tells_each_degradation_once() {
        let pool_object: MachineConfigPool = serde_json::from_value(json!({
            "metadata": {"name": "worker"},
            "spec": {"configuration": {"name": "", "source": [{"name": "00-worker"}]}},
            "status": {"conditions": [
                {"type": "NodeDegraded", "status": "True", "message": "node w0"},
                {"type": "Degraded", "status": "True", "message": "node w0"},
                {"type": "RenderDegraded", "status": "False", "message": "no"},
                {"type": "Updating", "status": "True"}
            ]}
        }))
        .unwrap();
        let view = pool(&pool_object);
        assert_eq!((view.degraded, view.target, view.updating), (vec!["node w0".to_owned()], None, true));
        assert!(view.sources.contains("00-worker"));
    }
}
