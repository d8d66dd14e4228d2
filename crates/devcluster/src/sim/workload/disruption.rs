//! PodDisruptionBudgets: how many pods may be evicted now. The API server's eviction handler reads it from the
//! status; computing it is a controller's task.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use kube::ResourceExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{PodView, count, scaled};
use crate::sim::placement::selects;
use crate::sim::queue::{Next, Queue};
use crate::sim::store::Key;
use crate::sim::world::{World, controller_of, in_namespace};

/// What the budget's status says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Pods that there should be.
    pub expected: i32,
    /// Pods that are ready and not being evicted.
    pub healthy: i32,
    /// Pods that have to stay healthy.
    pub needed: i32,
    /// Pods that may go now.
    pub allowed: i32,
}

/// Computes them. `expected` is what the controllers of the selected pods want, `healthy` what there is.
pub fn numbers(spec: &PodDisruptionBudgetSpec, expected: i32, healthy: i32) -> Numbers {
    let needed = match (&spec.min_available, &spec.max_unavailable) {
        (Some(minimum), _) => scaled(Some(minimum), 0, expected, true),
        (None, Some(maximum)) => (expected - scaled(Some(maximum), 0, expected, true)).max(0),
        (None, None) => 0,
    };
    let allowed = if expected > 0 { (healthy - needed).max(0) } else { 0 };
    Numbers { expected, healthy, needed, allowed }
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("disruption-budgets"));
    let adds = queue.clone();
    world.budgets.on_change(move |change| {
        if let Some(budget) = change.after.as_ref()
            && change.differs(|budget| (budget.spec.clone(), budget.status.clone()))
        {
            adds.add(Key::of(&**budget));
        }
    });
    let (adds, shared) = (queue.clone(), world.clone());
    let delay = world.settle(std::time::Duration::from_millis(100));
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        let view = |pod: &Pod| (PodView::read(pod, "", ""), pod.metadata.labels.clone());
        if change.differs(view) {
            for budget in shared.budgets.indexed(&in_namespace(&pod.namespace().unwrap_or_default())) {
                adds.add_after(Key::of(&*budget), delay);
            }
        }
    });
    queue.run(4, &cancel, |key| sync(world.clone(), key)).await;
}

async fn sync(world: Arc<World>, key: Key) -> Next {
    let Some(budget) = world.budgets.get(&key) else { return Ok(None) };
    let Some(spec) = &budget.spec else { return Ok(None) };
    let pods: Vec<Arc<Pod>> = world
        .pods
        .indexed(&in_namespace(&key.namespace))
        .into_iter()
        .filter(|pod| selects(spec.selector.as_ref(), pod.labels()))
        .collect();
    let numbers = numbers(spec, expected(&world, spec, &pods), healthy(&budget, &pods));
    let Numbers { expected, healthy, needed, allowed } = numbers;
    let known = budget.status.as_ref().map(|status| {
        let counts = (status.expected_pods, status.current_healthy, status.desired_healthy);
        (counts, status.disruptions_allowed, status.observed_generation)
    });
    let forgotten = forgotten(&budget, &pods);
    if forgotten.is_empty()
        && known == Some(((expected, healthy, needed), allowed, budget.metadata.generation))
    {
        return Ok(None);
    }
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut patch = json!({
        // The eviction handler writes the same numbers; whoever comes second has to look again.
        "metadata": {"resourceVersion": budget.metadata.resource_version},
        "status": {
            "observedGeneration": budget.metadata.generation,
            "expectedPods": expected,
            "currentHealthy": healthy,
            "desiredHealthy": needed,
            "disruptionsAllowed": allowed,
            "conditions": [{
                "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": world.time(), "observedGeneration": budget.metadata.generation,
            }],
        },
    });
    for name in forgotten {
        patch["status"]["disruptedPods"][name] = json!(null);
    }
    world.patch_status(&world.budgets, &key, &patch).await?;
    Ok(None)
}

/// How many pods their controllers want; with a plain number to keep, how many there are.
fn expected(world: &World, spec: &PodDisruptionBudgetSpec, pods: &[Arc<Pod>]) -> i32 {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    if matches!(spec.min_available, Some(IntOrString::Int(_))) {
        return count(pods.len());
    }
    let mut owners: Vec<(&str, i32)> = Vec::new();
    let mut alone = 0;
    for pod in pods {
        let Some((kind, name, uid)) = controller_of(&**pod) else {
            alone += 1;
            continue;
        };
        if owners.iter().any(|(known, _)| *known == uid) {
            continue;
        }
        let key = Key { namespace: pod.namespace().unwrap_or_default(), name: name.to_owned() };
        let deployment = (kind == "Deployment").then(|| world.deployments.get(&key)).flatten();
        let replicas = deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas);
        let of_owner =
            || pods.iter().filter(|pod| controller_of(&***pod).is_some_and(|(.., other)| other == uid));
        owners.push((uid, replicas.unwrap_or_else(|| count(of_owner().count()))));
    }
    alone + owners.iter().map(|(_, replicas)| replicas).sum::<i32>()
}

/// Pods that the eviction handler marked and that are on their way out or gone: the mark has served its purpose.
fn forgotten(budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Vec<String> {
    let marked = budget.status.iter().flat_map(|status| status.disrupted_pods.iter().flatten());
    let stays = |name: &str| {
        pods.iter().any(|pod| pod.name_any() == name && pod.metadata.deletion_timestamp.is_none())
    };
    marked.map(|(name, _)| name.clone()).filter(|name| !stays(name)).collect()
}

fn healthy(budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> i32 {
    let evicted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let staying = |pod: &&Arc<Pod>| !evicted.is_some_and(|evicted| evicted.contains_key(&pod.name_any()));
    let views = pods.iter().filter(staying).map(|pod| PodView::read(pod, "", ""));
    count(views.filter(|pod| pod.active() && pod.ready).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use rstest::rstest;

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    #[rstest]
    #[case::all_needed(Some(IntOrString::Int(3)), None, 3, 3, 3, 0)]
    #[case::one_to_spare(Some(IntOrString::Int(2)), None, 3, 3, 2, 1)]
    #[case::one_is_down(Some(IntOrString::Int(2)), None, 3, 2, 2, 0)]
    #[case::half(Some(percent("50%")), None, 3, 3, 2, 1)]
    #[case::maximum(None, Some(IntOrString::Int(1)), 3, 3, 2, 1)]
    #[case::maximum_used(None, Some(IntOrString::Int(1)), 3, 2, 2, 0)]
    #[case::maximum_percent(None, Some(percent("30%")), 10, 10, 7, 3)]
    #[case::nothing_there(None, Some(IntOrString::Int(1)), 0, 0, 0, 0)]
    fn budgets(
        #[case] minimum: Option<IntOrString>,
        #[case] maximum: Option<IntOrString>,
        #[case] expected: i32,
        #[case] healthy: i32,
        #[case] needed: i32,
        #[case] allowed: i32,
    ) {
        let spec = PodDisruptionBudgetSpec {
            min_available: minimum,
            max_unavailable: maximum,
            ..PodDisruptionBudgetSpec::default()
        };
        assert_eq!(numbers(&spec, expected, healthy), Numbers { expected, healthy, needed, allowed });
    }
}
