//! How long a decision takes on large clusters: when all is as it should be, and in the middle of a rollout.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_api::names;
use osc_engine::{
    Capabilities, KataConfigView, Kind, NodeView, ObjectId, Observed, PoolView, Settings, Step, decide,
};
use serde_json::json;

const SIZES: [usize; 3] = [100, 1_000, 5_000];
const OLD: &str = "rendered-kata-oc-1";
const NEW: &str = "rendered-kata-oc-2";

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES)]
fn converged(bencher: divan::Bencher<'_, '_>, nodes: usize) {
    let (observed, settings) = cluster(nodes);
    assert!(decide(&observed, &settings).steps.is_empty());
    bencher.bench(|| decide(divan::black_box(&observed), &settings));
}

/// Half of the nodes are done, one is changing, the rest waits; the status is that of one node before.
#[divan::bench(args = SIZES)]
fn mid_rollout(bencher: divan::Bencher<'_, '_>, nodes: usize) {
    let (mut observed, settings) = cluster(nodes);
    observed.now += SignedDuration::from_mins(5);
    for pool in observed.pools.iter_mut().filter(|pool| pool.name == names::KATA_POOL) {
        let pool = Arc::make_mut(pool);
        (pool.target, pool.updating) = (Some(NEW.to_owned()), true);
    }
    let workers = observed.nodes.iter_mut().filter(|node| node.has_kata_role());
    for (index, node) in workers.enumerate() {
        let node = Arc::make_mut(node);
        if index < nodes / 2 {
            (node.current_config, node.desired_config) = (Some(NEW.to_owned()), Some(NEW.to_owned()));
        } else if index == nodes / 2 {
            node.desired_config = Some(NEW.to_owned());
            node.mco_state = Some("Working".to_owned());
            (node.unschedulable, node.draining) = (true, true);
        }
    }
    assert!(decide(&observed, &settings).steps.iter().any(|step| matches!(step, Step::PatchStatus { .. })));
    bencher.bench(|| decide(divan::black_box(&observed), &settings));
}

/// An installation that is done on so many workers, beside three control-plane nodes and another custom pool.
fn cluster(workers: usize) -> (Observed, Settings) {
    let settings = Settings { monitor_image: Some("monitor@sha256:0".to_owned()), ..Settings::default() };
    let masters = (0..3)
        .map(|index| node(&format!("master-{index}"), &["master", "control-plane"], "rendered-master-1"));
    let workers = (0..workers).map(|index| node(&format!("worker-{index:04}"), &["worker", "kata-oc"], OLD));
    let mut observed = Observed {
        now: Timestamp::UNIX_EPOCH,
        capabilities: Capabilities {
            machine_config: true,
            container_runtime_config: true,
            scc: true,
            openshift: true,
            ..Capabilities::default()
        },
        kata_configs: vec![Arc::new(KataConfigView {
            name: "example-kataconfig".to_owned(),
            uid: "0".to_owned(),
            ..KataConfigView::default()
        })],
        nodes: masters.chain(workers).collect(),
        pools: ["master", "worker", "infra", names::KATA_POOL].map(pool).to_vec(),
        ..Observed::default()
    };
    for _ in 0..10 {
        let plan = decide(&observed, &settings);
        for step in &plan.steps {
            apply(&mut observed, step);
        }
    }
    (observed, settings)
}

fn apply(observed: &mut Observed, step: &Step) {
    match step {
        Step::Apply { id, object } | Step::Create { id, object } => {
            observed.objects.insert(id.clone(), Arc::new(object.clone()));
        }
        Step::SetFinalizers { id: ObjectId { kind: Kind::KataConfig, .. }, finalizers, .. } => {
            Arc::make_mut(&mut observed.kata_configs[0]).finalizers.clone_from(finalizers);
        }
        Step::PatchStatus { status, .. } => {
            Arc::make_mut(&mut observed.kata_configs[0]).status.clone_from(status);
        }
        _ => {}
    }
}

/// A node with about as many labels as nodes have.
fn node(name: &str, roles: &[&str], config: &str) -> Arc<NodeView> {
    let roles = roles.iter().map(|role| (format!("{}{role}", names::NODE_ROLE_PREFIX), String::new()));
    let features =
        (0..60).map(|index| (format!("feature.node.kubernetes.io/cpu-{index}"), "true".to_owned()));
    Arc::new(NodeView {
        name: name.to_owned(),
        labels: roles.chain(features).collect(),
        mco_state: Some("Done".to_owned()),
        current_config: Some(config.to_owned()),
        desired_config: Some(config.to_owned()),
        ready: true,
        ..NodeView::default()
    })
}

fn pool(name: &str) -> Arc<PoolView> {
    let selector = json!({"matchLabels": {format!("{}{name}", names::NODE_ROLE_PREFIX): ""}});
    let target = if name == names::KATA_POOL { OLD.to_owned() } else { format!("rendered-{name}-1") };
    Arc::new(PoolView {
        name: name.to_owned(),
        node_selector: serde_json::from_value::<LabelSelector>(selector).ok(),
        target: Some(target),
        sources: [names::EXTENSION_MACHINE_CONFIG.to_owned()].into(),
        ..PoolView::default()
    })
}
