//! The scheduler: gives each pending pod a node with room for it, or says why there is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use kube::ResourceExt;
use kube::core::Request;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::status::condition;
use crate::sim::node::{is_cordoned, is_ready, taints};
use crate::sim::placement::{Refusal, objection, unschedulable_message};
use crate::sim::queue::{Next, Queue};
use crate::sim::resources::{Amounts, Shortage, is_extended, requests, shortages, taken, takes_room};
use crate::sim::store::Key;
use crate::sim::world::{UNBOUND, World, on_node, post_params};

/// How long a burst of changes to nodes may last before pods are looked at again.
const CALM: Duration = Duration::from_millis(5);

/// What to do about a pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Give it this node.
    Bind(String),
    /// Say that there is none.
    Refuse(String),
}

/// Picks the node with the fewest pods among those that will do; the name decides between equals. `used` is what
/// the pods of a node take; it is asked only where that may matter.
pub fn choose(
    spec: &PodSpec,
    wanted: &Amounts,
    nodes: &[Arc<Node>],
    load: impl Fn(&str) -> usize,
    used: impl Fn(&str) -> Amounts,
) -> Decision {
    let mut refusals = Vec::new();
    let mut candidates: Vec<(usize, String, &Node)> = Vec::new();
    for node in nodes {
        let name = node.name_any();
        match objection(spec, node) {
            Some(reason) => refusals.push(Refusal::plain(reason)),
            None => candidates.push((load(&name), name, node)),
        }
    }
    candidates.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for (_, name, node) in candidates {
        let short = if wanted.is_empty() { Vec::new() } else { shortages(wanted, &used(&name), node) };
        if short.is_empty() {
            return Decision::Bind(name);
        }
        refusals.push(Refusal {
            room_could_be_made: short.iter().all(|shortage| !shortage.hopeless),
            reasons: short.iter().map(Shortage::message).collect(),
        });
    }
    Decision::Refuse(unschedulable_message(&refusals))
}

/// Pods that were given a node of which the cache does not know yet: they take up room all the same.
#[derive(Default)]
struct Assumed(Mutex<HashMap<String, (String, Arc<Pod>)>>);

impl Assumed {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, Arc<Pod>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

/// Runs the scheduler until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("scheduler"));
    let assumed = Arc::new(Assumed::default());
    connect(&world, &queue, &assumed);
    queue.run(4, &cancel, |key| sync(world.clone(), assumed.clone(), key)).await;
}

fn connect(world: &Arc<World>, queue: &Arc<Queue<Key>>, assumed: &Arc<Assumed>) {
    let (adds, shared, notes) = (queue.clone(), world.clone(), assumed.clone());
    world.pods.on_change(move |change| {
        if let Some(pod) = change.after.as_ref().filter(|pod| waits_for_node(pod)) {
            adds.add(Key::of(&**pod));
            return;
        }
        let Some(pod) = change.object() else { return };
        notes.forget(&pod.uid().unwrap_or_default());
        // Room on a node may be what others wait for.
        let leaves = change.before.as_deref().is_some_and(takes_room)
            && !change.after.as_deref().is_some_and(takes_room);
        if leaves && pod.spec.as_ref().is_some_and(|spec| !requests(spec).is_empty()) {
            again(&shared, &adds);
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.nodes.on_change(move |change| {
        let view = |node: &Node| {
            let room = node.status.as_ref().and_then(|status| status.allocatable.clone());
            (is_ready(node), is_cordoned(node), taints(node).to_vec(), node.metadata.labels.clone(), room)
        };
        if change.differs(view) {
            again(&shared, &adds);
        }
    });
}

fn again(world: &World, queue: &Queue<Key>) {
    for pod in world.pods.indexed(UNBOUND) {
        queue.add_after(Key::of(&*pod), CALM);
    }
}

fn waits_for_node(pod: &Pod) -> bool {
    let free = |spec: &PodSpec| {
        spec.node_name.as_deref().unwrap_or_default().is_empty()
            && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
            && matches!(spec.scheduler_name.as_deref(), None | Some("" | "default-scheduler"))
    };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    pod.metadata.deletion_timestamp.is_none() && phase == "Pending" && pod.spec.as_ref().is_some_and(free)
}

/// Decides, and takes the room before anybody else does.
fn decide(world: &World, assumed: &Assumed, pod: &Arc<Pod>, spec: &PodSpec) -> Decision {
    let mut wanted = requests(spec);
    if world.options.partial {
        wanted.retain(|name, _| is_extended(name));
    }
    // Held from the look at what is left until what is taken is noted.
    let mut assumed = assumed.lock();
    let used = |node: &str| {
        let known = world.pods.indexed(&on_node(node));
        let late = assumed.iter().filter(|(uid, (at, _))| {
            at == node && !known.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid))
        });
        taken(known.iter().map(|pod| &**pod).chain(late.map(|(_, (_, pod))| &**pod)))
    };
    let decision = choose(spec, &wanted, &world.nodes.all(), |node| world.pods.count(&on_node(node)), used);
    if let Decision::Bind(node) = &decision
        && !wanted.is_empty()
    {
        assumed.insert(pod.uid().unwrap_or_default(), (node.clone(), pod.clone()));
    }
    decision
}

async fn sync(world: Arc<World>, assumed: Arc<Assumed>, key: Key) -> Next {
    let Some(pod) = world.pods.get(&key).filter(|pod| waits_for_node(pod)) else { return Ok(None) };
    let Some(spec) = &pod.spec else { return Ok(None) };
    let uid = pod.uid().unwrap_or_default();
    if assumed.lock().contains_key(&uid) {
        // Bound already; the watch is about to say so.
        return Ok(None);
    }
    match decide(&world, &assumed, &pod, spec) {
        Decision::Bind(node) => {
            let bound = bind(&world, &key, &pod, &node).await;
            if bound.is_err() {
                assumed.forget(&uid);
            }
            bound?;
        }
        Decision::Refuse(message) => {
            let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            if !known.into_iter().any(|known| known.message.as_deref() == Some(message.as_str())) {
                let scheduled = ("PodScheduled", false, "Unschedulable", message.as_str());
                let conditions = condition(&pod, &[scheduled], &world.time());
                let patch = json!({"status": {"phase": "Pending", "conditions": conditions}});
                world.patch_status(&world.pods, &key, &patch).await?;
            }
        }
    }
    Ok(None)
}

async fn bind(world: &World, key: &Key, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let body = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError)?;
    let url = <Pod as kube::Resource>::url_path(&(), key.namespace());
    let request = Request::new(url).create_subresource("binding", &key.name, &post_params(), body);
    match world.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await {
        // Bound already: the watch is about to say so.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    fn node(name: &str, cordoned: bool) -> Arc<Node> {
        let value = json!({
            "metadata": {"name": name},
            "spec": {"unschedulable": cordoned},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    const NOTHING: fn(&str) -> Amounts = |_| Amounts::new();

    #[test]
    fn the_emptiest_node_that_fits_is_chosen() {
        let nodes = [node("a", true), node("b", false), node("c", false), node("d", false)];
        let load = |name: &str| if name == "b" { 3 } else { 1 };
        let spec = PodSpec::default();
        let none = Amounts::new();
        assert_eq!(choose(&spec, &none, &nodes, load, NOTHING), Decision::Bind("c".into()));
        let Decision::Refuse(message) = choose(&spec, &none, &nodes[..1], load, NOTHING) else { panic!() };
        assert!(message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable."), "{message}");
    }

    #[test]
    fn a_node_without_room_is_passed_over() {
        let room = |name: &str, amount: Option<&str>| -> Arc<Node> {
            let mut node = (*node(name, false)).clone();
            let status = node.status.get_or_insert_default();
            let amount = amount.map(|amount| ("x.io/vm".to_owned(), Quantity(amount.to_owned())));
            status.allocatable = amount.map(|amount| [amount].into());
            Arc::new(node)
        };
        let nodes = [room("a", Some("1")), room("b", Some("2")), room("c", None), node("d", true)];
        let wanted = Amounts::from([("x.io/vm".to_owned(), 1000)]);
        let load = |name: &str| usize::from(name == "b");
        let one = |_: &str| Amounts::from([("x.io/vm".to_owned(), 1000)]);
        let spec = PodSpec::default();
        assert_eq!(choose(&spec, &wanted, &nodes, load, NOTHING), Decision::Bind("a".into()));
        assert_eq!(choose(&spec, &wanted, &nodes, load, one), Decision::Bind("b".into()));
        let two = |_: &str| Amounts::from([("x.io/vm".to_owned(), 2000)]);
        let Decision::Refuse(message) = choose(&spec, &wanted, &nodes, load, two) else { panic!() };
        assert_eq!(
            message,
            "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient x.io/vm. preemption: 0/4 nodes are \
             available: 2 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
        );
    }
}
