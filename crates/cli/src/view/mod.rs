//! The live view of a rollout, from any cluster: `osc demo` and `osc status --watch` show the same.

mod model;
mod screen;
pub mod style;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use osc_api::KataConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use model::Snapshot;
pub use screen::{Screen, Style};

/// A node as far as the view needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ready.
    pub ready: bool,
    /// The Machine Config Operator wants it drained and has not achieved it yet.
    pub draining: bool,
}

impl From<&Node> for NodeView {
    fn from(node: &Node) -> Self {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = |c: &k8s_openapi::api::core::v1::NodeCondition| c.type_ == "Ready" && c.status == "True";
        Self {
            labels: node.labels().clone(),
            ready: conditions.is_some_and(|conditions| conditions.iter().any(ready)),
            draining: osc_operator::cache::project::drains(node.annotations()),
        }
    }
}

/// A view that follows a cluster until dropped.
pub struct Follow {
    snapshots: watch::Receiver<Option<Snapshot>>,
    task: JoinHandle<()>,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follow {
    /// Follows KataConfigs and nodes; every change is shown on the screen.
    pub fn start(client: &Client, screen: Screen) -> Self {
        let (sender, snapshots) = watch::channel(None);
        let kata_configs = changes(
            Api::<KataConfig>::all(client.clone()),
            |(name, object): (String, Option<KataConfig>)| Change::KataConfig(name, object.map(Box::new)),
            Listed::KataConfigs,
        );
        let nodes = changes(
            Api::<Node>::all(client.clone()),
            |(name, object): (String, Option<Node>)| Change::Node(name, object.as_ref().map(NodeView::from)),
            Listed::Nodes,
        );
        let task = tokio::spawn(follow(kata_configs, nodes, sender, screen));
        Self { snapshots, task }
    }

    /// Waits until the cluster is as wished.
    pub async fn until(&self, limit: Duration, wished: impl Fn(&Snapshot) -> bool) -> Option<Snapshot> {
        let mut snapshots = self.snapshots.clone();
        let arrived = snapshots.wait_for(|snapshot| snapshot.as_ref().is_some_and(&wished));
        match tokio::time::timeout(limit, arrived).await {
            Ok(Ok(snapshot)) => snapshot.clone(),
            _ => None,
        }
    }

    /// The last snapshot.
    pub fn latest(&self) -> Snapshot {
        self.snapshots.borrow().clone().unwrap_or_default()
    }
}

/// One change of one object; `None`: it is gone.
enum Change {
    KataConfig(String, Option<Box<KataConfig>>),
    Node(String, Option<NodeView>),
    /// A list of one kind is complete, the first one or one after the watch broke: what is not in it is gone.
    Listed(Listed),
}

/// The names in a complete list.
enum Listed {
    KataConfigs(BTreeSet<String>),
    Nodes(BTreeSet<String>),
}

fn changes<K>(
    api: Api<K>,
    make: fn((String, Option<K>)) -> Change,
    listed: fn(BTreeSet<String>) -> Listed,
) -> impl Stream<Item = Change> + Send
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut names = BTreeSet::new();
    watcher(api, watcher::Config::default()).default_backoff().filter_map(move |event| {
        let change = match event {
            Ok(Event::Apply(object)) => Some(make((object.name_any(), Some(object)))),
            Ok(Event::InitApply(object)) => {
                names.insert(object.name_any());
                Some(make((object.name_any(), Some(object))))
            }
            Ok(Event::Delete(object)) => Some(make((object.name_any(), None))),
            Ok(Event::InitDone) => Some(Change::Listed(listed(std::mem::take(&mut names)))),
            Ok(Event::Init) => {
                names.clear();
                None
            }
            Err(error) => {
                tracing::warn!(%error, "watch failed; trying again");
                None
            }
        };
        std::future::ready(change)
    })
}

async fn follow(
    kata_configs: impl Stream<Item = Change> + Send,
    nodes: impl Stream<Item = Change> + Send,
    sender: watch::Sender<Option<Snapshot>>,
    screen: Screen,
) {
    let mut changes = Box::pin(futures::stream::select(kata_configs, nodes));
    let mut shown = Snapshot::default();
    let mut current = Snapshot::default();
    let (mut kata_configs_known, mut nodes_known) = (false, false);
    while let Some(change) = changes.next().await {
        match change {
            Change::KataConfig(name, Some(object)) => drop(current.kata_configs.insert(name, *object)),
            Change::KataConfig(name, None) => drop(current.kata_configs.remove(&name)),
            Change::Node(name, Some(node)) => drop(current.nodes.insert(name, node)),
            Change::Node(name, None) => drop(current.nodes.remove(&name)),
            Change::Listed(Listed::KataConfigs(names)) => {
                kata_configs_known = true;
                current.kata_configs.retain(|name, _| names.contains(name));
            }
            Change::Listed(Listed::Nodes(names)) => {
                nodes_known = true;
                current.nodes.retain(|name, _| names.contains(name));
            }
        }
        if !(kata_configs_known && nodes_known) {
            continue;
        }
        screen.show(&current.rows(), &current.news(&shown));
        shown.clone_from(&current);
        let _ = sender.send(Some(current.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kata_config(name: &str) -> Change {
        let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Change::KataConfig(name.to_owned(), Some(Box::new(object)))
    }

    /// What is known after those changes.
    async fn after(changes: Vec<Change>) -> Option<Snapshot> {
        let (sender, receiver) = watch::channel(None);
        follow(futures::stream::iter(changes), futures::stream::empty(), sender, Screen::silent()).await;
        receiver.borrow().clone()
    }

    fn listed(names: &[&str]) -> Change {
        Change::Listed(Listed::KataConfigs(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[tokio::test]
    async fn what_a_new_list_lacks_is_gone() {
        let nodes = || Change::Listed(Listed::Nodes(BTreeSet::new()));
        let first = vec![kata_config("a"), kata_config("b"), listed(&["a", "b"]), nodes()];
        let names = |snapshot: Snapshot| snapshot.kata_configs.into_keys().collect::<Vec<_>>();
        assert_eq!(names(after(first).await.unwrap()), ["a", "b"]);
        let again = vec![
            kata_config("a"),
            kata_config("b"),
            listed(&["a", "b"]),
            nodes(),
            kata_config("b"),
            listed(&["b"]),
        ];
        assert_eq!(names(after(again).await.unwrap()), ["b"]);
    }

    #[tokio::test]
    async fn nothing_is_shown_before_both_kinds_are_known() {
        assert!(after(vec![kata_config("a"), listed(&["a"])]).await.is_none());
    }
}
