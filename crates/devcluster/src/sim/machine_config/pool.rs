//! The pool controller: hands the rendered config to a few nodes at a time and keeps the pool's status.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use osc_api::names;
use osc_api::openshift::MachineConfigPool;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::RenderErrors;
use super::membership::{Fleet, PoolSelector};
use super::node_view::NodeView;
use super::pool_status::{Observed, compute};
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::workload::{count, scaled};
use crate::sim::world::World;

/// The queue of pools, by name.
pub type PoolQueue = Queue<String>;

/// How many nodes of a pool may be unavailable at a time.
pub fn limit(max_unavailable: Option<&IntOrString>, nodes: usize) -> usize {
    usize::try_from(scaled(max_unavailable, 1, count(nodes), false)).unwrap_or(0).max(1)
}

/// The nodes that get the new config now. Nodes that are unavailable for whatever reason use up the limit, and so
/// do those that fail to install this very config.
pub fn candidates(target: &str, nodes: &[Arc<NodeView>], limit: usize) -> Vec<String> {
    let unavailable = nodes.iter().filter(|node| node.is_unavailable()).count();
    let is_target = |node: &NodeView| node.desired.as_deref() == Some(target);
    let failing =
        nodes.iter().filter(|node| is_target(node) && node.is_failing() && !node.is_unavailable()).count();
    let room = limit.saturating_sub(unavailable).saturating_sub(failing);
    let mut waiting: Vec<&Arc<NodeView>> =
        nodes.iter().filter(|node| !is_target(node) && node.current.is_some()).collect();
    waiting.sort_by(|a, b| (a.zone(), a.created, &a.name).cmp(&(b.zone(), b.created, &b.name)));
    waiting.into_iter().take(room).map(|node| node.name.clone()).collect()
}

/// Keeps `fleet` and `queue` informed of nodes and pools.
pub fn connect(world: &Arc<World>, fleet: &Arc<Fleet>, queue: &Arc<PoolQueue>) {
    let delay = world.settle(world.options.timing.sync_delay);
    let refresh = {
        let (shared, fleet, queue) = (world.clone(), fleet.clone(), queue.clone());
        move || {
            let mut pools = shared.pools.all();
            pools.sort_by_key(|pool| pool.name_any());
            let selectors =
                pools.iter().map(|p| PoolSelector::new(&p.name_any(), p.spec.node_selector.as_ref()));
            for touched in fleet.set_pools(selectors.collect()) {
                queue.add_after(touched, delay);
            }
        }
    };
    let adds = queue.clone();
    world.pools.on_change(move |change| {
        let selector = |pool: &MachineConfigPool| pool.spec.node_selector.clone();
        if change.before.is_none() || change.after.is_none() || change.differs(selector) {
            refresh();
        }
        if let Some(pool) = change.after.as_ref()
            && change.differs(|pool| (pool.spec.clone(), pool.metadata.generation))
        {
            adds.add_after(pool.name_any(), delay);
        }
    });
    let (members, adds) = (fleet.clone(), queue.clone());
    world.nodes.on_change(move |change| {
        let touched = match (&change.before, &change.after) {
            (_, Some(node)) => members.set_node(NodeView::read(node)),
            (Some(node), None) => members.remove_node(&node.name_any()),
            (None, None) => Vec::new(),
        };
        for pool in touched {
            adds.add_after(pool, delay);
        }
    });
}

/// Runs the controller until cancelled.
pub async fn run(
    world: Arc<World>,
    fleet: Arc<Fleet>,
    errors: Arc<RenderErrors>,
    queue: Arc<PoolQueue>,
    cancel: CancellationToken,
) {
    queue
        .run(4, &cancel, |name| {
            let (world, fleet, errors) = (world.clone(), fleet.clone(), errors.clone());
            async move { sync(&world, &fleet, &errors, &name).await }
        })
        .await;
}

async fn sync(world: &World, fleet: &Fleet, errors: &RenderErrors, name: &str) -> Next {
    let key = Key::cluster(name);
    let Some(pool) = world.pools.get(&key).filter(|pool| pool.metadata.deletion_timestamp.is_none()) else {
        return Ok(None);
    };
    let (mut nodes, mut conflicts) = fleet.members(name);
    let target = pool.spec.configuration.as_ref().and_then(|configuration| configuration.name.as_deref());
    if let Some(target) = target.filter(|_| pool.spec.paused != Some(true)) {
        let limit = limit(pool.spec.max_unavailable.as_ref(), nodes.len());
        let chosen = candidates(target, &nodes, limit);
        if !chosen.is_empty() {
            retarget(world, &chosen, target).await?;
            (nodes, conflicts) = fleet.members(name);
        }
    }
    let render_error = errors.get(name);
    // A pool that was never rendered says nothing until it is, unless it cannot be.
    if target.is_none() && render_error.is_none() {
        return Ok(None);
    }
    let observed = Observed {
        spec: &pool.spec,
        generation: pool.metadata.generation,
        status: pool.status.as_ref(),
        nodes: &nodes,
        conflicts: &conflicts,
        render_error: render_error.as_deref(),
    };
    let status = compute(&observed, &world.time());
    if pool.status.as_ref() != Some(&status) {
        world.patch_status(&world.pools, &key, &json!({"status": with_zeroes(&status)?})).await?;
    }
    Ok(None)
}

/// A merge patch has to name what it sets to nothing.
fn with_zeroes(status: &osc_api::openshift::MachineConfigPoolStatus) -> Result<Value, kube::Error> {
    let mut value = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    if status.configuration.is_none() {
        value["configuration"] = Value::Null;
    }
    Ok(value)
}

async fn retarget(world: &World, nodes: &[String], target: &str) -> Result<(), kube::Error> {
    let patch = &json!({"metadata": {"annotations": {names::MCO_DESIRED_CONFIG: target}}});
    let mut patches = Vec::with_capacity(nodes.len());
    for node in nodes {
        patches.push(async move {
            match world.patch(&world.nodes, &Key::cluster(node), patch).await {
                // The node went away; the watch will say so.
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                result => result,
            }
        });
    }
    futures::stream::iter(patches).buffer_unordered(16).try_collect::<()>().await
}

#[cfg(test)]
mod tests {
    use super::super::node_view::State;
    use super::*;
    use jiff::Timestamp;
    use rstest::rstest;

    /// `a:3 done` style: name, age (higher is older), state.
    fn node(name: &str, age: i64, what: &str) -> NodeView {
        let (state, current, desired) = match what {
            "new" => (State::Done, "new", "new"),
            "working" | "drained" | "down" => (State::Working, "old", "new"),
            "failing" | "stuck" => (State::Degraded, "old", "new"),
            "failing-other" => (State::Degraded, "old", "bad"),
            _ => (State::Done, "old", "old"),
        };
        NodeView {
            name: name.to_owned(),
            created: Some(Timestamp::from_second(1000 - age).unwrap()),
            ready: what != "down",
            cordoned: matches!(what, "cordoned" | "drained" | "stuck"),
            state,
            current: Some(current.to_owned()),
            desired: Some(desired.to_owned()),
            ..NodeView::default()
        }
    }

    #[rstest]
    #[case::oldest_first(&[("a", 1, "old"), ("b", 3, "old"), ("c", 2, "old")], 1, &["b"])]
    #[case::name_decides(&[("b", 1, "old"), ("a", 1, "old")], 1, &["a"])]
    #[case::several(&[("a", 1, "old"), ("b", 3, "old"), ("c", 2, "old")], 2, &["b", "c"])]
    #[case::one_is_working(&[("a", 1, "old"), ("b", 3, "working")], 1, &[])]
    #[case::one_is_down(&[("a", 1, "old"), ("b", 3, "down")], 1, &[])]
    #[case::done(&[("a", 1, "new"), ("b", 3, "new")], 1, &[])]
    #[case::next(&[("a", 1, "old"), ("b", 3, "new")], 1, &["a"])]
    #[case::a_cordoned_node_stalls(&[("a", 1, "old"), ("b", 3, "cordoned")], 1, &[])]
    #[case::a_cordoned_node_costs_one(&[("a", 2, "old"), ("b", 1, "cordoned"), ("c", 1, "old")], 2, &["a"])]
    #[case::a_failing_node_stalls(&[("a", 1, "old"), ("b", 3, "failing")], 1, &[])]
    #[case::a_stuck_node_counts_once(&[("a", 1, "old"), ("b", 3, "stuck")], 2, &["a"])]
    #[case::failing_on_another_config(&[("a", 1, "old"), ("b", 3, "failing-other")], 1, &["b"])]
    fn who_is_next(#[case] nodes: &[(&str, i64, &str)], #[case] limit: usize, #[case] expected: &[&str]) {
        let nodes: Vec<_> = nodes.iter().map(|(name, age, what)| Arc::new(node(name, *age, what))).collect();
        assert_eq!(candidates("new", &nodes, limit), expected);
    }

    #[rstest]
    #[case(None, 10, 1)]
    #[case(Some(IntOrString::Int(3)), 10, 3)]
    #[case(Some(IntOrString::Int(0)), 10, 1)]
    #[case(Some(IntOrString::String("10%".into())), 1000, 100)]
    #[case(Some(IntOrString::String("10%".into())), 5, 1)]
    fn limits(#[case] value: Option<IntOrString>, #[case] nodes: usize, #[case] expected: usize) {
        assert_eq!(limit(value.as_ref(), nodes), expected);
    }

    #[test]
    fn zones_come_one_after_another() {
        let in_zone = |name: &str, age, zone: &str| {
            let mut view = node(name, age, "old");
            view.labels.insert("topology.kubernetes.io/zone".into(), zone.into());
            Arc::new(view)
        };
        let nodes = [in_zone("a", 9, "z2"), in_zone("b", 1, "z1"), in_zone("c", 2, "z1")];
        assert_eq!(candidates("new", &nodes, 3), ["c", "b", "a"]);
    }
}
