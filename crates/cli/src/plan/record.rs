//! What happens to the nodes of a simulated cluster, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use osc_api::KataConfig;
use osc_api::openshift::MachineConfigPool;
use osc_devcluster::Clock;
use osc_devcluster::sim::annotations;
use osc_engine::NodeView;
use osc_operator::cache::{project, wire};
use tokio::time::Instant;

/// So long without anything new is rest: longer than every deadline of the operator and of the Machine Config Operator.
const QUIET: Duration = Duration::from_hours(2);

/// Nobody waits longer than this.
const LIMIT: Duration = Duration::from_hours(24 * 60);

/// One node being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub node: String,
    /// When its drain began.
    pub begin: SignedDuration,
    /// When it took pods again; never, if it got stuck.
    pub end: Option<SignedDuration>,
    /// How often it rebooted.
    pub reboots: u32,
}

/// What happens to the nodes.
pub struct Record {
    clock: Clock,
    origin: Timestamp,
    reboots: BTreeMap<String, u32>,
    /// The nodes that were changed, in the order in which that began.
    pub changes: Vec<Change>,
}

/// Something new.
enum News {
    Node(Box<wire::Node>),
    Other,
}

impl Record {
    /// Nothing happened yet.
    pub fn new(clock: Clock, origin: Timestamp) -> Self {
        Self { clock, origin, reboots: BTreeMap::new(), changes: Vec::new() }
    }

    /// Takes notes until nothing happens any more.
    pub async fn until_rest(&mut self, client: &Client) {
        let nodes = news(client, |node: wire::Node| News::Node(Box::new(node)));
        let kata_configs = news(client, |_: KataConfig| News::Other);
        let pools = news(client, |_: MachineConfigPool| News::Other);
        let mut news = Box::pin(futures::stream::select(nodes, futures::stream::select(kata_configs, pools)));
        let end = Instant::now() + LIMIT;
        let mut rest = Instant::now() + QUIET;
        loop {
            tokio::select! {
                biased;
                item = news.next() => match item {
                    Some(item) => {
                        rest = Instant::now() + QUIET;
                        if let News::Node(node) = item {
                            self.take(&node);
                        }
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(rest.min(end)) => return,
            }
        }
    }

    fn take(&mut self, node: &wire::Node) {
        let now = self.clock.now().duration_since(self.origin);
        let name = node.name_any();
        let view = project::node(node, None, self.origin);
        let count =
            node.annotations().get(annotations::REBOOTS).and_then(|text| text.parse().ok()).unwrap_or(0);
        let seen = self.reboots.insert(name.clone(), count).unwrap_or(0);
        let open = self.changes.iter_mut().find(|change| change.node == name && change.end.is_none());
        match open {
            Some(change) => {
                change.reboots += count.saturating_sub(seen);
                if is_idle(&view) {
                    change.end = Some(now);
                }
            }
            None if is_busy(&view) => {
                self.changes.push(Change { node: name.clone(), begin: now, end: None, reboots: 0 });
            }
            None => {}
        }
    }

    /// Those that did not come to an end.
    pub fn open(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.end.is_none())
    }
}

/// Its daemon is at work, or cannot go on with it.
fn is_busy(node: &NodeView) -> bool {
    node.mco_state.as_deref().is_some_and(|state| state != "Done")
        && node.current_config != node.desired_config
}

fn is_idle(node: &NodeView) -> bool {
    node.mco_state.as_deref() == Some("Done") && node.current_config == node.desired_config && node.ready
}

fn news<K>(client: &Client, make: fn(K) -> News) -> impl Stream<Item = News> + Send
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let stream = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    stream.filter_map(move |event| {
        let item = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => Some(make(object)),
            Ok(Event::Delete(_)) => Some(News::Other),
            // A kind that the cluster does not serve is tried again and again, which is no news.
            Ok(Event::Init | Event::InitDone) | Err(_) => None,
        };
        std::future::ready(item)
    })
}
