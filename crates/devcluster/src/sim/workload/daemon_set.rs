//! DaemonSets: one pod on every node that fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Toleration};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{PodView, count, pod_from, scaled, template_hash};
use crate::sim::node::{is_cordoned, is_ready, taints};
use crate::sim::options::hex;
use crate::sim::placement::{matches_node, untolerated};
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, owned_by};

const HASH_LABEL: &str = "controller-revision-hash";

/// What a DaemonSet wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A pod.
    Run,
    /// No new pod, but one that is there may stay.
    Keep,
    /// No pod.
    Leave,
}

/// How a DaemonSet replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// At most so many nodes without a ready pod at a time.
    Rolling(i32),
    /// Pods that somebody deletes come back in the new form.
    OnDelete,
}

/// What to do about a DaemonSet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods to delete.
    pub delete: Vec<String>,
    /// Nodes that should have a pod.
    pub desired: i32,
    /// Those that have one.
    pub scheduled: i32,
    /// Nodes that have one but should not.
    pub misscheduled: i32,
    /// Nodes with a ready pod.
    pub ready: i32,
    /// Nodes with a pod of the present template.
    pub updated: i32,
}

/// What the DaemonSet's pods tolerate without saying so.
pub fn implied_tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut implied = vec![("not-ready", "NoExecute"), ("unreachable", "NoExecute")];
    implied.extend(
        ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"].map(|k| (k, "NoSchedule")),
    );
    if spec.host_network == Some(true) {
        implied.push(("network-unavailable", "NoSchedule"));
    }
    let own = spec.tolerations.iter().flatten().cloned();
    let more = implied.into_iter().map(|(key, effect)| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    });
    own.chain(more).collect()
}

/// What the DaemonSet wants of a node.
pub fn wish(spec: &PodSpec, tolerations: &[Toleration], node: &Node) -> Wish {
    if !matches_node(spec, node) || untolerated(taints(node), tolerations, &["NoExecute"]).is_some() {
        Wish::Leave
    } else if untolerated(taints(node), tolerations, &["NoSchedule"]).is_some() {
        Wish::Keep
    } else {
        Wish::Run
    }
}

/// Decides. `wishes` has every node but those left alone.
pub fn plan(wishes: &BTreeMap<String, Wish>, pods: &[PodView], strategy: Strategy) -> Plan {
    let mut plan = Plan::default();
    let mut on_node: BTreeMap<&str, Vec<&PodView>> = BTreeMap::new();
    for pod in pods {
        on_node.entry(&pod.node).or_default().push(pod);
    }
    let mut outdated: Vec<&PodView> = Vec::new();
    let mut unavailable = 0;
    for (node, wish) in wishes.iter().filter(|(_, wish)| **wish != Wish::Leave) {
        let here = on_node.remove(node.as_str()).unwrap_or_default();
        let kept = here.iter().find(|pod| pod.active());
        // Finished pods make room for new ones, and of two pods one is too many.
        let surplus =
            here.iter().filter(|pod| !pod.terminating && kept.is_none_or(|kept| kept.name != pod.name));
        plan.delete.extend(surplus.map(|pod| pod.name.clone()));
        let ready = kept.is_some_and(|pod| pod.ready);
        if *wish == Wish::Run {
            plan.desired += 1;
            plan.scheduled += i32::from(kept.is_some());
            plan.ready += i32::from(ready);
            plan.updated += i32::from(kept.is_some_and(|pod| pod.current));
            unavailable += i32::from(!ready);
            if here.is_empty() {
                plan.create.push(node.clone());
            }
        } else {
            plan.misscheduled += i32::from(kept.is_some());
        }
        outdated.extend(kept.filter(|pod| !pod.current));
    }
    for pod in on_node.into_values().flatten().filter(|pod| !pod.terminating) {
        plan.misscheduled += i32::from(pod.active());
        plan.delete.push(pod.name.clone());
    }
    if let Strategy::Rolling(limit) = strategy {
        // An outdated pod that is not ready costs nothing to replace; a ready one uses up the budget.
        let (ready, broken): (Vec<_>, Vec<_>) = outdated.into_iter().partition(|pod| pod.ready);
        let room = usize::try_from(limit.max(1) - unavailable).unwrap_or(0);
        plan.delete
            .extend(broken.into_iter().chain(ready.into_iter().take(room)).map(|pod| pod.name.clone()));
    }
    plan
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("daemon-sets"));
    let delay = world.settle(world.options.timing.workload_delay);
    let adds = queue.clone();
    world.daemon_sets.on_change(move |change| {
        if let Some(set) = change.object()
            && change.differs(|set| (set.spec.clone(), set.metadata.deletion_timestamp.clone(), set.uid()))
        {
            adds.add_after((Key::of(&**set), set.uid().unwrap_or_default()), delay);
        }
    });
    let adds = queue.clone();
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        if let Some(("DaemonSet", name, uid)) = controller_of(&**pod)
            && change.differs(|pod| PodView::read(pod, HASH_LABEL, ""))
        {
            let namespace = pod.namespace().unwrap_or_default();
            adds.add_after((Key { namespace, name: name.to_owned() }, uid.to_owned()), delay);
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    world.nodes.on_change(move |change| {
        let view = |n: &Node| (is_ready(n), is_cordoned(n), taints(n).to_vec(), n.metadata.labels.clone());
        if change.differs(view) {
            for set in shared.daemon_sets.all() {
                adds.add_after((Key::of(&*set), set.uid().unwrap_or_default()), delay);
            }
        }
    });
    queue.run(4, &cancel, |(key, uid)| sync(world.clone(), key, uid)).await;
}

async fn sync(world: Arc<World>, key: Key, uid: String) -> Next {
    let pods = world.pods.indexed(&owned_by(&uid));
    let found = world.daemon_sets.get(&key).filter(|set| set.uid().as_deref() == Some(uid.as_str()));
    let Some(set) = found else {
        // The owner is gone. A real cluster's garbage collector does this; a bare API server has none.
        delete_all(&world, &pods).await?;
        return Ok(None);
    };
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(None);
    };
    let pod_spec = spec.template.spec.clone().unwrap_or_default();
    let tolerations = implied_tolerations(&pod_spec);
    let hash = template_hash(&spec.template);
    let wishes =
        world.nodes.all().iter().map(|node| (node.name_any(), wish(&pod_spec, &tolerations, node))).collect();
    let views: Vec<PodView> = pods.iter().map(|pod| PodView::read(pod, HASH_LABEL, &hash)).collect();
    let plan = plan(&wishes, &views, strategy(&set, count(wishes.len())));
    for pod in pods.iter().filter(|pod| plan.delete.contains(&pod.name_any())) {
        world.delete(&world.pods, &**pod, None).await?;
    }
    create_all(&world, &set, &plan.create, &tolerations, &hash).await?;
    write_status(&world, &key, &set, &plan).await?;
    Ok(None)
}

async fn delete_all(world: &World, pods: &[Arc<Pod>]) -> Result<(), kube::Error> {
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        world.delete(&world.pods, &**pod, None).await?;
    }
    Ok(())
}

fn strategy(set: &DaemonSet, nodes: i32) -> Strategy {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return Strategy::OnDelete;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    Strategy::Rolling(scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1, nodes, true))
}

async fn create_all(
    world: &World,
    set: &DaemonSet,
    nodes: &[String],
    tolerations: &[Toleration],
    hash: &str,
) -> Result<(), kube::Error> {
    use futures::{StreamExt, TryStreamExt};
    let Some(spec) = &set.spec else { return Ok(()) };
    let uid = set.uid().unwrap_or_default();
    let mut creations = Vec::with_capacity(nodes.len());
    for node in nodes {
        // The name follows from node and template: a lost answer cannot lead to a second pod.
        let name = format!("{}-{}", set.name_any(), hex(&[&uid, node, hash], 5));
        let mut pod = pod_from(set, &spec.template, name, &[(HASH_LABEL, hash)]);
        if let Some(pod_spec) = &mut pod.spec {
            // Bound at creation, as DaemonSets did before they used the scheduler: one request less for each pod.
            pod_spec.node_name = Some(node.clone());
            pod_spec.tolerations = Some(tolerations.to_vec());
        }
        creations.push(async move { world.create(&world.pods, &pod).await });
    }
    futures::stream::iter(creations).buffer_unordered(16).try_collect::<()>().await
}

async fn write_status(world: &World, key: &Key, set: &DaemonSet, plan: &Plan) -> Result<(), kube::Error> {
    let status = json!({
        "observedGeneration": set.metadata.generation,
        "desiredNumberScheduled": plan.desired,
        "currentNumberScheduled": plan.scheduled,
        "numberMisscheduled": plan.misscheduled,
        "numberReady": plan.ready,
        "numberAvailable": plan.ready,
        "numberUnavailable": plan.desired - plan.ready,
        "updatedNumberScheduled": plan.updated,
    });
    if !already(set.status.as_ref(), &status) {
        world.patch_status(&world.daemon_sets, key, &json!({"status": status})).await?;
    }
    Ok(())
}

/// Whether a status has all these fields with these values; a zero may be left out.
pub(super) fn already<S: serde::Serialize>(status: Option<&S>, wanted: &Value) -> bool {
    let present = serde_json::to_value(status).unwrap_or_default();
    wanted.as_object().into_iter().flatten().all(|(field, value)| {
        let known = present.get(field).unwrap_or(&Value::Null);
        known == value || known.is_null() && (value == &json!(0) || value.is_null())
    }) && status.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn pod(name: &str, node: &str, current: bool, ready: bool) -> PodView {
        PodView { name: name.into(), node: node.into(), current, ready, ..PodView::default() }
    }

    fn wishes(list: &[(&str, Wish)]) -> BTreeMap<String, Wish> {
        list.iter().map(|(node, wish)| ((*node).to_owned(), *wish)).collect()
    }

    #[test]
    fn pods_come_and_go_with_the_nodes() {
        let wishes = wishes(&[("a", Wish::Run), ("b", Wish::Run), ("c", Wish::Keep), ("d", Wish::Leave)]);
        let pods = [pod("1", "a", true, true), pod("2", "c", true, true), pod("3", "d", true, true)];
        let expected = Plan {
            create: vec!["b".into()],
            delete: vec!["3".into()],
            desired: 2,
            scheduled: 1,
            misscheduled: 2,
            ready: 1,
            updated: 1,
        };
        assert_eq!(plan(&wishes, &pods, Strategy::Rolling(1)), expected);
    }

    #[rstest]
    #[case::one_at_a_time(Strategy::Rolling(1), true, &["a"])]
    #[case::two_at_a_time(Strategy::Rolling(2), true, &["a", "b"])]
    #[case::on_delete(Strategy::OnDelete, true, &[])]
    #[case::broken_ones_first(Strategy::Rolling(1), false, &["c"])]
    fn a_new_template_replaces_pods(
        #[case] strategy: Strategy,
        #[case] healthy: bool,
        #[case] deleted: &[&str],
    ) {
        let wishes = wishes(&[("a", Wish::Run), ("b", Wish::Run), ("c", Wish::Run)]);
        let pods = [pod("a", "a", false, true), pod("b", "b", false, true), pod("c", "c", false, healthy)];
        assert_eq!(plan(&wishes, &pods, strategy).delete, deleted);
    }

    #[test]
    fn a_finished_pod_is_replaced_and_a_terminating_one_waited_for() {
        let wishes = wishes(&[("a", Wish::Run), ("b", Wish::Run)]);
        let finished = PodView { finished: Some(false), ..pod("1", "a", true, false) };
        let leaving = PodView { terminating: true, ..pod("2", "b", true, false) };
        let plan = plan(&wishes, &[finished, leaving], Strategy::Rolling(1));
        assert_eq!((plan.create, plan.delete), (vec![], vec!["1".to_owned()]));
    }

    #[test]
    fn taints_that_daemon_pods_tolerate_on_their_own() {
        let node = |taint: &str, effect: &str| -> Node {
            let taints = json!([{"key": format!("node.kubernetes.io/{taint}"), "effect": effect}]);
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}})).unwrap()
        };
        let spec = PodSpec::default();
        let tolerations = implied_tolerations(&spec);
        let wish = |taint, effect| wish(&spec, &tolerations, &node(taint, effect));
        assert_eq!(wish("unschedulable", "NoSchedule"), Wish::Run);
        assert_eq!(wish("not-ready", "NoSchedule"), Wish::Keep);
        assert_eq!(wish("not-ready", "NoExecute"), Wish::Run);
        assert_eq!(wish("out-of-service", "NoExecute"), Wish::Leave);
    }
}
