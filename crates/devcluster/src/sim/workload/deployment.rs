//! Deployments, without ReplicaSets in between: the Deployment owns its pods.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::daemon_set::already;
use super::{PodView, count, pod_from, scaled, template_hash};
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, owned_by};

const HASH_LABEL: &str = "pod-template-hash";

/// How many pods a Deployment wants and how it replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Pods wanted.
    pub replicas: i32,
    /// Pods above that during an update.
    pub surge: i32,
    /// Pods that may be missing during an update.
    pub unavailable: i32,
    /// Delete all old pods before the first new one.
    pub recreate: bool,
}

/// What to do about a Deployment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many pods to create.
    pub create: usize,
    /// Pods to delete.
    pub delete: Vec<String>,
}

impl Wish {
    /// Reads it from a spec.
    pub fn read(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = |up| scaled(Some(&quarter_text()), 1, replicas, up);
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = scaled(surge, quarter(true), replicas, true);
        let unavailable = scaled(unavailable, quarter(false), replicas, false);
        Self {
            replicas,
            surge,
            // Both zero would never get anywhere; the API refuses it, percentages can still round to it.
            unavailable: if surge == 0 { unavailable.max(1) } else { unavailable },
            recreate: strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate"),
        }
    }
}

fn quarter_text() -> k8s_openapi::apimachinery::pkg::util::intstr::IntOrString {
    k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String("25%".to_owned())
}

/// Decides.
pub fn plan(wish: Wish, pods: &[PodView]) -> Plan {
    let active: Vec<&PodView> = pods.iter().filter(|pod| pod.active()).collect();
    let (mut new, mut old): (Vec<&PodView>, Vec<&PodView>) = active.iter().partition(|pod| pod.current);
    // Those that are not ready go first.
    new.sort_by_key(|pod| pod.ready);
    old.sort_by_key(|pod| pod.ready);
    let length = |list: &[&PodView]| count(list.len());
    let names = |list: &[&PodView], number: i32| -> Vec<String> {
        list.iter().take(usize::try_from(number).unwrap_or(0)).map(|pod| pod.name.clone()).collect()
    };
    let mut delete: Vec<String> = pods
        .iter()
        .filter(|pod| pod.finished.is_some() && !pod.terminating)
        .map(|pod| pod.name.clone())
        .collect();
    delete.extend(names(&new, length(&new) - wish.replicas));
    let missing = wish.replicas - length(&new);
    if wish.recreate {
        delete.extend(names(&old, length(&old)));
        let create = if pods.iter().any(|pod| !pod.current) { 0 } else { missing };
        return Plan { create: usize::try_from(create).unwrap_or(0), delete };
    }
    let room = wish.replicas + wish.surge - length(&active);
    let create = usize::try_from(missing.min(if old.is_empty() { missing } else { room })).unwrap_or(0);
    let ready = count(active.iter().filter(|pod| pod.ready).count());
    let broken = count(old.iter().filter(|pod| !pod.ready).count());
    let spare = (ready - (wish.replicas - wish.unavailable)).max(0);
    delete.extend(names(&old, broken + spare));
    Plan { create, delete }
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("deployments"));
    let delay = world.settle(world.options.timing.workload_delay);
    let adds = queue.clone();
    world.deployments.on_change(move |change| {
        if let Some(deployment) = change.object()
            && change.differs(|d| (d.spec.clone(), d.metadata.deletion_timestamp.clone(), d.uid()))
        {
            adds.add_after((Key::of(&**deployment), deployment.uid().unwrap_or_default()), delay);
        }
    });
    let adds = queue.clone();
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        if let Some(("Deployment", name, uid)) = controller_of(&**pod)
            && change.differs(|pod| PodView::read(pod, HASH_LABEL, ""))
        {
            let namespace = pod.namespace().unwrap_or_default();
            adds.add_after((Key { namespace, name: name.to_owned() }, uid.to_owned()), delay);
        }
    });
    queue.run(4, &cancel, |(key, uid)| sync(world.clone(), key, uid)).await;
}

async fn sync(world: Arc<World>, key: Key, uid: String) -> Next {
    let pods = world.pods.indexed(&owned_by(&uid));
    let found = world.deployments.get(&key).filter(|found| found.uid().as_deref() == Some(uid.as_str()));
    let Some(deployment) = found else {
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            world.delete(&world.pods, &**pod, None).await?;
        }
        return Ok(None);
    };
    let alive = deployment.metadata.deletion_timestamp.is_none();
    let Some(spec) = deployment.spec.as_ref().filter(|_| alive) else { return Ok(None) };
    let hash = template_hash(&spec.template);
    let views: Vec<PodView> = pods.iter().map(|pod| PodView::read(pod, HASH_LABEL, &hash)).collect();
    let wish = Wish::read(spec);
    if spec.paused != Some(true) {
        let plan = plan(wish, &views);
        for pod in pods.iter().filter(|pod| plan.delete.contains(&pod.name_any())) {
            world.delete(&world.pods, &**pod, None).await?;
        }
        for _ in 0..plan.create {
            let suffix = hex_suffix();
            let name = format!("{}-{hash}-{suffix}", key.name);
            let pod = pod_from(&*deployment, &spec.template, name, &[(HASH_LABEL, &hash)]);
            world.create(&world.pods, &pod).await?;
        }
    }
    write_status(&world, &key, &deployment, wish, &views).await?;
    Ok(None)
}

/// Five characters that no other pod has.
fn hex_suffix() -> String {
    format!("{:05x}", fastrand::u32(..1 << 20))
}

async fn write_status(
    world: &World,
    key: &Key,
    deployment: &Deployment,
    wish: Wish,
    pods: &[PodView],
) -> Result<(), kube::Error> {
    let number =
        |of: &dyn Fn(&PodView) -> bool| count(pods.iter().filter(|pod| pod.active() && of(pod)).count());
    let ready = number(&|pod| pod.ready);
    let updated = number(&|pod| pod.current);
    let counts = json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": number(&|_| true),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": (wish.replicas - ready).max(0),
    });
    let available = ready >= wish.replicas - wish.unavailable;
    let complete = ready == wish.replicas && updated == wish.replicas && number(&|_| true) == wish.replicas;
    let known = deployment.status.as_ref();
    let conditions = conditions(known, available, complete, &world.time());
    let same = |type_: &str, wanted: &Value| {
        let known = known.iter().flat_map(|status| status.conditions.iter().flatten());
        known.filter(|known| known.type_ == type_).any(|known| {
            known.status == wanted["status"] && known.reason.as_deref() == wanted["reason"].as_str()
        })
    };
    if already(known, &counts) && same("Available", &conditions[0]) && same("Progressing", &conditions[1]) {
        return Ok(());
    }
    let mut status = counts;
    status["conditions"] = conditions;
    world.patch_status(&world.deployments, key, &json!({"status": status})).await
}

fn conditions(
    known: Option<&k8s_openapi::api::apps::v1::DeploymentStatus>,
    available: bool,
    complete: bool,
    now: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> Value {
    let known = known.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let condition = |type_: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let before = known.iter().find(|known| known.type_ == type_ && known.status == status);
        let since = before.and_then(|known| known.last_transition_time.as_ref()).unwrap_or(now);
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since, "lastUpdateTime": now})
    };
    json!([
        if available {
            let message = "Deployment has minimum availability.";
            condition("Available", true, "MinimumReplicasAvailable", message)
        } else {
            let message = "Deployment does not have minimum availability.";
            condition("Available", false, "MinimumReplicasUnavailable", message)
        },
        if complete {
            condition("Progressing", true, "NewReplicaSetAvailable", "The rollout is complete.")
        } else {
            condition("Progressing", true, "ReplicaSetUpdated", "The rollout is progressing.")
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pods(list: &str) -> Vec<PodView> {
        // N/n: new, ready or not; O/o: old, ready or not; x: terminating; f: failed.
        let pod = |(at, kind): (usize, char)| PodView {
            name: format!("{kind}{at}"),
            current: matches!(kind, 'N' | 'n'),
            ready: kind.is_uppercase(),
            terminating: kind == 'x',
            finished: (kind == 'f').then_some(false),
            ..PodView::default()
        };
        list.chars().enumerate().map(pod).collect()
    }

    #[rstest]
    #[case::new("", 3, &[])]
    #[case::converged("NNN", 0, &[])]
    #[case::one_evicted("NNx", 1, &[])]
    #[case::one_failed("NNf", 1, &["f2"])]
    #[case::too_many("NnNN", 0, &["n1"])]
    #[case::update_begins("OOO", 1, &[])]
    #[case::surge_is_not_ready("OOOn", 0, &[])]
    #[case::surge_is_ready("OOON", 0, &["O0"])]
    #[case::broken_old_ones_go("oOOn", 0, &["o0"])]
    #[case::last_step("ONNN", 0, &["O0"])]
    fn rolling(#[case] present: &str, #[case] create: usize, #[case] delete: &[&str]) {
        let wish = Wish { replicas: 3, surge: 1, unavailable: 0, recreate: false };
        let plan = plan(wish, &pods(present));
        assert_eq!(
            (plan.create, plan.delete.iter().map(String::as_str).collect::<Vec<_>>()),
            (create, delete.to_vec())
        );
    }

    #[rstest]
    #[case("OO", 0, 2)]
    #[case("xx", 0, 0)]
    #[case("", 2, 0)]
    fn recreate(#[case] present: &str, #[case] create: usize, #[case] deleted: usize) {
        let wish = Wish { replicas: 2, surge: 0, unavailable: 1, recreate: true };
        let plan = plan(wish, &pods(present));
        assert_eq!((plan.create, plan.delete.len()), (create, deleted));
    }
}
