//! What the engine is told about a small cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_api::{KataConfigSpec, names};
use osc_engine::{Capabilities, KataConfigView, NodeView, Observed, PodView, PoolView, Settings, observed};

use super::cluster::{Cluster, Kata, Level, Node, Phase, Pods, Pools, Rendered};
use super::scope::{Scope, Selected, Wish};
use super::store::{KATA_NAMES, READ, Store, uid};

/// The label by which a wish selects one node.
const PICK: &str = "example.com/number";

/// What was chosen when the operator was installed.
pub fn settings() -> Settings {
    Settings {
        monitor_image: Some("monitor@sha256:0".to_owned()),
        extension: Some(names::EXTENSION_PRODUCT.to_owned()),
        ..Settings::default()
    }
}

/// The name of a node.
pub fn node_name(index: usize) -> String {
    format!("node-{index}")
}

/// The place of a node.
pub fn node_index(name: &str) -> usize {
    name.strip_prefix("node-")
        .and_then(|index| index.parse().ok())
        .unwrap_or_else(|| panic!("no node {name:?}"))
}

/// The name of our pool.
pub fn our_pool(scope: &Scope) -> &'static str {
    if scope.compact { names::MASTER_POOL } else { names::KATA_POOL }
}

/// What the engine is told.
pub fn observe(scope: &Scope, store: &Store, cluster: &Cluster) -> Observed {
    let katas = cluster.katas.iter().enumerate().filter_map(|(index, kata)| Some((index, kata.as_ref()?)));
    let pod = || PodView {
        namespace: "shop".into(),
        name: "web".into(),
        runtime_class: names::KATA_RUNTIME_CLASS.into(),
        node: node_name(0),
    };
    Observed {
        now: Timestamp::UNIX_EPOCH,
        capabilities: Capabilities {
            machine_config: true,
            container_runtime_config: true,
            ..Capabilities::default()
        },
        unreadable: BTreeMap::new(),
        kata_configs: katas.map(|(index, kata)| Arc::new(kata_config(scope, store, index, kata))).collect(),
        nodes: (0..scope.nodes).map(|index| Arc::new(node(scope, index, &cluster.nodes[index]))).collect(),
        pools: pools(scope, &cluster.pools).into_iter().map(Arc::new).collect(),
        objects: store
            .slots()
            .filter(|(slot, _)| cluster.objects[*slot] != 0)
            .map(|(slot, id)| (id.clone(), store.body(cluster.objects[slot]).clone()))
            .collect(),
        rendered: Rendered::all()
            .map(|rendered| {
                let extension = rendered.has_kata().then(|| names::EXTENSION_PRODUCT.to_owned());
                let content = osc_engine::Rendered {
                    extensions: extension.into_iter().collect(),
                    ..Default::default()
                };
                (rendered_name(scope, rendered), content)
            })
            .collect(),
        pods: match cluster.pods {
            Pods::Unknown => observed::Pods::Unknown,
            Pods::None => observed::Pods::Known(Vec::new()),
            Pods::One => observed::Pods::Known(vec![pod()]),
        },
        ..Observed::default()
    }
}

fn kata_config(scope: &Scope, store: &Store, index: usize, kata: &Kata) -> KataConfigView {
    let created = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(kata.incarnation));
    KataConfigView {
        name: KATA_NAMES[index].to_owned(),
        uid: uid(kata.incarnation),
        resource_version: READ.to_owned(),
        created: Some(created),
        deleting: kata.deleting,
        finalizers: store.finalizers(kata.finalizers).clone(),
        spec: Ok(spec(scope.wishes[usize::from(kata.spec)])),
        status: store.status(kata.status).clone(),
    }
}

fn spec(wish: Wish) -> KataConfigSpec {
    let selector = match wish.nodes {
        Selected::All => None,
        Selected::Only(index) => Some(labels(&[(PICK, index.to_string())])),
    };
    let mut spec = KataConfigSpec { kata_config_pool_selector: selector, ..KataConfigSpec::default() };
    if wish.level != Level::Unset {
        wish.level.word().clone_into(&mut spec.log_level);
    }
    spec
}

fn labels(labels: &[(&str, String)]) -> LabelSelector {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn node(scope: &Scope, index: usize, node: &Node) -> NodeView {
    let roles: &[&str] = if scope.compact {
        &[names::MASTER_NODE_ROLE, names::CONTROL_PLANE_NODE_ROLE, names::WORKER_NODE_ROLE]
    } else {
        &[names::WORKER_NODE_ROLE]
    };
    let role = node.role.then_some(names::KATA_NODE_ROLE);
    let mut labels: BTreeMap<String, String> =
        roles.iter().copied().chain(role).map(|role| (role.to_owned(), String::new())).collect();
    labels.insert(PICK.to_owned(), index.to_string());
    // There are no GPUs then: with one runtime class the worlds stay small, and others take the same way.
    labels.insert("kubernetes.io/arch".to_owned(), "s390x".to_owned());
    NodeView {
        name: node_name(index),
        labels,
        mco_state: Some(if node.phase == Phase::Idle { "Done" } else { "Working" }.to_owned()),
        current_config: Some(rendered_name(scope, node.current)),
        desired_config: Some(rendered_name(scope, node.desired)),
        mco_reason: None,
        draining: node.phase == Phase::Draining,
        unschedulable: node.phase != Phase::Idle,
        ready: node.phase != Phase::Rebooting,
        agent_failure: None,
        agent_version: None,
        vms: None,
        changed_at: Timestamp::UNIX_EPOCH,
        labels_changed_at: Timestamp::UNIX_EPOCH,
    }
}

/// The name of a rendered machine config.
pub fn rendered_name(scope: &Scope, rendered: Rendered) -> String {
    if !rendered.is_ours() {
        let pool = if scope.compact { names::MASTER_POOL } else { names::WORKER_POOL };
        return format!("rendered-{pool}-base");
    }
    let extension = if rendered.has_kata() { "kata" } else { "plain" };
    format!("rendered-{}-{extension}.{}", our_pool(scope), rendered.level().word())
}

fn pools(scope: &Scope, pools: &Pools) -> Vec<PoolView> {
    let role = |name: &str| labels(&[(&format!("{}{name}", names::NODE_ROLE_PREFIX), String::new())]);
    let pool = |name: &str| PoolView {
        name: name.to_owned(),
        node_selector: Some(role(name)),
        target: Some(format!("rendered-{name}-base")),
        ..PoolView::default()
    };
    let ours = pools.exists.then(|| {
        let name = our_pool(scope);
        let generated = format!("99-{name}-generated-containerruntime");
        let mut sources = vec!["00-worker".to_owned()];
        if let Some(target) = pools.target {
            sources.extend(target.has_kata().then(|| names::EXTENSION_MACHINE_CONFIG.to_owned()));
            sources.extend((target.level() != Level::Unset).then_some(generated));
        }
        PoolView {
            paused: pools.paused,
            target: pools.target.map(|target| rendered_name(scope, target)),
            sources: pools.target.into_iter().flat_map(|_| sources.clone()).collect(),
            updating: pools.updating,
            ..pool(name)
        }
    });
    let workers = PoolView { paused: pools.workers_paused, ..pool(names::WORKER_POOL) };
    let control_plane = (!scope.compact).then(|| pool(names::MASTER_POOL));
    control_plane.into_iter().chain([workers]).chain(ours).collect()
}
