//! The agent's own Node object: what it says, and what the agent says on it. Nothing else of the cluster is touched.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use osc_api::names;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::platform::NodeInfo;
use crate::state::State;

/// Field manager of everything the agent writes.
pub const FIELD_MANAGER: &str = "osc-node";
/// Why it did not work, for people.
pub const FAILURE_ANNOTATION: &str = names::AGENT_FAILURE;
/// What is installed.
pub const VERSION_ANNOTATION: &str = names::AGENT_VERSION;
/// Where events about objects without a namespace belong.
const EVENT_NAMESPACE: &str = "default";
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// Longest sentence on a node, in bytes.
pub const FAILURE_LIMIT: usize = 1024;

/// What the Node says that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The label's text.
    pub label: Option<String>,
    /// Why it did not work.
    pub failure: Option<String>,
    /// What is installed.
    pub version: Option<String>,
    /// Its machine.
    pub info: NodeInfo,
    uid: Option<String>,
}

impl Seen {
    /// The node's state.
    pub fn state(&self) -> State {
        State::parse(self.label.as_deref())
    }
}

/// Access to the agent's own Node.
#[derive(Clone)]
pub struct OwnNode {
    nodes: Api<Node>,
    events: Api<Event>,
    name: String,
    label: String,
}

impl OwnNode {
    /// The node of that name, and the label that tells its state.
    pub fn new(client: Client, name: &str, label: &str) -> Self {
        let events = Api::namespaced(client.clone(), EVENT_NAMESPACE);
        Self { nodes: Api::all(client), events, name: name.to_owned(), label: label.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says now.
    pub async fn get(&self) -> Result<Seen> {
        let node = limited(self.nodes.get(&self.name)).await.map_err(|why| self.told("read", &why))?;
        Ok(self.read(&node))
    }

    fn read(&self, node: &Node) -> Seen {
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let info = info.map(|info| NodeInfo {
            architecture: info.architecture.clone(),
            runtime: info.container_runtime_version.clone(),
            kubelet: info.kubelet_version.clone(),
        });
        let annotation = |name: &str| node.annotations().get(name).cloned();
        Seen {
            label: node.labels().get(&self.label).cloned(),
            failure: annotation(FAILURE_ANNOTATION),
            version: annotation(VERSION_ANNOTATION),
            info: info.unwrap_or_default(),
            uid: node.uid(),
        }
    }

    /// Sends what the node says, whenever that changes, until told to stop. Faults of the API server are waited out.
    pub async fn watch(self, sender: watch::Sender<Option<Seen>>, stop: CancellationToken) {
        let only_this = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut stream = watcher(self.nodes.clone(), only_this).default_backoff().applied_objects().boxed();
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return,
                next = stream.next() => next,
            };
            match next {
                Some(Ok(node)) => {
                    let seen = self.read(&node);
                    sender.send_if_modified(|last| last.replace(seen.clone()) != Some(seen));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot watch the Node {}; trying again", self.name);
                }
                None => return,
            }
        }
    }

    /// Whether the agent may write the label: nothing on the host is touched if it cannot tell of it.
    pub async fn check_rights(&self, seen: &Seen) -> Result<()> {
        let patch = json!({ "metadata": { "labels": { (self.label.as_str()): seen.label } } });
        let dry_run = PatchParams { dry_run: true, ..params() };
        limited(self.nodes.patch_metadata(&self.name, &dry_run, &Patch::Merge(patch)))
            .await
            .map(|_| ())
            .map_err(|why| self.told("label", &why))
    }

    /// Changes the state, provided that the label still says what was seen. Otherwise nothing is written, and the answer
    /// is `false`: somebody else decided otherwise in the meantime.
    pub async fn set_state(&self, seen: &Seen, state: State) -> Result<bool> {
        let (Some(found), Some(wanted)) = (&seen.label, state.name()) else { return Ok(false) };
        let path = format!("/metadata/labels/{}", self.label.replace('~', "~0").replace('/', "~1"));
        let operations = json!([
            { "op": "test", "path": path, "value": found },
            { "op": "replace", "path": path, "value": wanted },
        ]);
        let operations = serde_json::from_value(operations).map_err(|error| Error::Api(error.to_string()))?;
        match limited(self.nodes.patch_metadata(&self.name, &params(), &Patch::Json::<Node>(operations)))
            .await
        {
            Ok(_) => Ok(true),
            // The test failed, or somebody was faster.
            Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => Ok(false),
            Err(why) => Err(self.told("label", &why)),
        }
    }

    /// Sets annotations, or removes those without a text.
    pub async fn annotate(&self, annotations: &BTreeMap<&str, Option<&str>>) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": annotations } });
        limited(self.nodes.patch_metadata(&self.name, &params(), &Patch::Merge(patch)))
            .await
            .map(|_| ())
            .map_err(|why| self.told("annotate", &why))
    }

    /// Tells an event about the node. One that cannot be told is only logged: label and annotation matter more.
    pub async fn tell(&self, seen: &Seen, type_: &str, reason: &str, message: &str) {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // Unique as those of Kubernetes' own components are: name and time.
                name: Some(format!("{}.{:x}", self.name, now.as_nanosecond())),
                namespace: Some(EVENT_NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(self.name.clone()),
                uid: seen.uid.clone(),
                ..ObjectReference::default()
            },
            type_: Some(type_.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            source: Some(EventSource {
                component: Some(FIELD_MANAGER.to_owned()),
                host: Some(self.name.clone()),
            }),
            reporting_component: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.name.clone()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        };
        if let Err(error) = limited(self.events.create(&PostParams::default(), &event)).await {
            tracing::warn!(%error, reason, "cannot tell an event about the Node {}", self.name);
        }
    }

    fn told(&self, action: &str, why: &kube::Error) -> Error {
        let hint = match why {
            kube::Error::Api(status) if status.code == 403 => {
                ": nothing on the host is changed while that is so; the ServiceAccount kata-install needs the ClusterRole \
                 kata-install, and a ValidatingAdmissionPolicy may allow each agent its own node only"
            }
            _ => "",
        };
        let why = match why {
            kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
            other => other.to_string(),
        };
        Error::Api(format!("cannot {action} the Node {}: {why}{hint}", self.name))
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// A request that ends.
async fn limited<T>(
    request: impl Future<Output = std::result::Result<T, kube::Error>>,
) -> std::result::Result<T, kube::Error> {
    tokio::time::timeout(REQUEST_LIMIT, request)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}

/// A sentence that fits on a node: cut at a character, in the limit of bytes.
pub fn fitting(sentence: &str) -> &str {
    if sentence.len() <= FAILURE_LIMIT {
        return sentence;
    }
    let end = (0..=FAILURE_LIMIT).rev().find(|end| sentence.is_char_boundary(*end));
    &sentence[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        assert_eq!(fitting("short"), "short");
        let long = "é".repeat(FAILURE_LIMIT);
        assert_eq!(fitting(&long).len(), FAILURE_LIMIT);
        assert_eq!(fitting(&format!("x{long}")).len(), FAILURE_LIMIT - 1);
    }
}
