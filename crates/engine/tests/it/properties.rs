//! Whatever is observed, however broken: the engine decides, the same every time, and never does the few things that
//! must not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, Time};
use osc_api::kataconfig::StatusCondition;
use osc_api::{DeploymentMode, KataConfigSpec, KataConfigStatus, KataNodesStatus, names};
use osc_engine::gates::FeatureGates;
use osc_engine::layout::Layout;
use osc_engine::mode;
use osc_engine::nodes::Survey;
use osc_engine::observed::Pods;
use osc_engine::{
    Capabilities, KataConfigView, Kind, NodeView, ObjectId, Observed, PodView, PoolView, Rendered, Settings,
    Step, decide,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::store;

const NODES: [&str; 5] = ["node-0", "node-1", "node-2", "node-3", "node-4"];
const RENDERED: [&str; 7] = [
    "rendered-kata-oc-1",
    "rendered-kata-oc-2",
    "rendered-worker-1",
    "rendered-master-1",
    "rendered-master-2",
    "rendered-",
    "",
];

fn text(of: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(of.to_vec()).prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (0..200_000_i64).prop_map(|second| Timestamp::from_second(1_767_225_600 + second).unwrap()),
        1 => Just(Timestamp::MIN),
        1 => Just(Timestamp::MAX),
    ]
}

fn labels() -> BoxedStrategy<BTreeMap<String, String>> {
    let keys = [
        names::WORKER_NODE_ROLE,
        names::WORKER_NODE_ROLE,
        names::KATA_NODE_ROLE,
        names::MASTER_NODE_ROLE,
        names::CONTROL_PLANE_NODE_ROLE,
        names::NODE_ELIGIBLE_LABEL,
        "node-role.kubernetes.io/infra",
        "kata",
        "",
    ];
    let states = [
        "waiting_to_install",
        "installing",
        "waiting_for_reboot",
        "installed",
        "install_failed",
        "waiting_to_uninstall",
        "uninstalling",
        "uninstalled",
        "uninstall_failed",
        "",
        "x",
    ];
    let labels = btree_map(text(&keys), text(&["", "true", "yes", "\u{1f980}"]), 0..7);
    (labels, option::weighted(0.2, text(&states)))
        .prop_map(|(mut labels, state)| {
            labels.extend(state.map(|state| (names::DAEMON_SET_MODE_LABEL.to_owned(), state)));
            labels
        })
        .boxed()
}

/// How Kata comes to the nodes for this KataConfig.
fn mode_of(observed: &Observed, settings: &Settings, kata_config: &KataConfigView) -> DeploymentMode {
    if kata_config.deleting {
        return mode::of_removal(observed, settings, kata_config);
    }
    let requested = || mode::requested(&FeatureGates::of(observed, settings), observed.capabilities);
    mode::installed(observed, settings, kata_config).unwrap_or_else(requested)
}

prop_compose! {
    fn node(name: &'static str)(
        labels in labels(),
        mco_state in option::weighted(0.9, text(&["Done", "Done", "Working", "Degraded", "Unreconcilable", "Rebooting", "", "x"])),
        current_config in option::weighted(0.9, text(&RENDERED)),
        desired_config in option::weighted(0.9, text(&RENDERED)),
        mco_reason in option::of(text(&["", "disk full"])),
        draining: bool,
        unschedulable: bool,
        ready: bool,
        agent_failure in option::of(text(&["", "no space left on device"])),
        agent_version in option::of(text(&["bundle sha256:ab12"])),
        changed_at in time(),
        labels_changed_at in time(),
    ) -> Arc<NodeView> {
        let name = name.to_owned();
        Arc::new(NodeView {
            name, labels, mco_state, current_config, desired_config, mco_reason, draining, unschedulable, ready,
            agent_failure, agent_version, changed_at, labels_changed_at, vms: None,
        })
    }
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let keys = [
        "kata",
        names::WORKER_NODE_ROLE,
        names::KATA_NODE_ROLE,
        "node-role.kubernetes.io/infra",
        "-bad-",
        "",
    ];
    let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Near"];
    let expression = (text(&keys), text(&operators), option::of(vec(text(&["yes", "", "b a d"]), 0..3)))
        .prop_map(|(key, operator, values)| LabelSelectorRequirement { key, operator, values });
    (option::of(btree_map(text(&keys), text(&["", "yes", "b a d"]), 0..2)), option::of(vec(expression, 0..2)))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

prop_compose! {
    fn pool(name: &'static str)(
        node_selector in option::of(selector()),
        paused: bool,
        target in option::weighted(0.8, text(&RENDERED)),
        sources in btree_set(text(&[
            names::EXTENSION_MACHINE_CONFIG, names::IMAGE_MACHINE_CONFIG, "99-kata-oc-generated-containerruntime", "00-worker", "",
        ]), 0..4),
        updating: bool,
        degraded in vec(text(&["Node node-0 is reporting: \"disk full\"", ""]), 0..2),
    ) -> Arc<PoolView> {
        let name = name.to_owned();
        Arc::new(PoolView { name, node_selector, paused, target, sources, updating, degraded })
    }
}

/// JSON of any shape, with keys that the engine looks for.
fn garbage() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(&["", "kata", "master", "kata-oc", "KataConfig", names::RUNTIME_CLASS_FINALIZER])
            .prop_map(Value::from),
    ];
    let keys = [
        "metadata",
        "labels",
        "finalizers",
        "deletionTimestamp",
        "resourceVersion",
        "ownerReferences",
        "kind",
        "spec",
        "handler",
        "scheduling",
        "nodeSelector",
        "extensions",
        "status",
        "desired",
        "image",
        "data",
        names::MACHINE_CONFIG_ROLE,
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(text(&keys), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// An object that could be one of ours.
fn plausible() -> impl Strategy<Value = Value> {
    let finalizers = subsequence(vec![names::RUNTIME_CLASS_FINALIZER, "example.com/hold"], 0..=2);
    let role = select(vec!["kata-oc", "master", "x"]);
    let handler = select(vec!["kata", "kata", "kata-qemu"]);
    (finalizers, role, handler, option::of(Just("2026-01-01T00:00:00Z")), any::<bool>()).prop_map(
        |(finalizers, role, handler, deleted, owned)| {
            json!({
                "metadata": {
                    "labels": {names::MACHINE_CONFIG_ROLE: role, names::APP_LABEL: "a"},
                    "finalizers": finalizers,
                    "deletionTimestamp": deleted,
                    "resourceVersion": "7",
                    "ownerReferences": if owned { json!([{"kind": "KataConfig", "uid": "a"}]) } else { Value::Null },
                },
                "handler": handler,
                "spec": {"extensions": ["sandboxed-containers"], "osImageURL": "os:2"},
            })
        },
    )
}

fn objects() -> BoxedStrategy<BTreeMap<ObjectId, Arc<Value>>> {
    let namespace = names::OPERATOR_NAMESPACE;
    let ids = vec![
        ObjectId::cluster(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG),
        ObjectId::cluster(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG),
        ObjectId::cluster(Kind::MachineConfigPool, names::KATA_POOL),
        ObjectId::cluster(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG),
        ObjectId::cluster(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS),
        ObjectId::cluster(Kind::RuntimeClass, names::REMOTE_RUNTIME_CLASS),
        ObjectId::cluster(Kind::RuntimeClass, names::GPU_RUNTIME_CLASS),
        ObjectId::cluster(Kind::RuntimeClass, names::CONFIDENTIAL_RUNTIME_CLASS),
        ObjectId::cluster(Kind::SecurityContextConstraints, names::MONITOR_SCC),
        ObjectId::cluster(Kind::Namespace, namespace),
        ObjectId::cluster(Kind::ClusterVersion, names::CLUSTER_VERSION),
        ObjectId::namespaced(Kind::DaemonSet, namespace, names::MONITOR),
        ObjectId::namespaced(Kind::ConfigMap, namespace, names::DASHBOARD_CONFIG_MAP),
        ObjectId::namespaced(Kind::ConfigMap, names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP),
    ];
    let agent = ObjectId::namespaced(Kind::DaemonSet, namespace, names::INSTALL_DAEMON_SET);
    let gates = ObjectId::namespaced(Kind::ConfigMap, namespace, names::FEATURE_GATES);
    let settings = ObjectId::namespaced(Kind::ConfigMap, namespace, names::DAEMON_SET_CONFIG_MAP);
    let objects = btree_map(select(ids), prop_oneof![plausible(), garbage()].prop_map(Arc::new), 0..8);
    (objects, prop::bool::weighted(0.02), option::of(data(&GATES)), option::of(data(&AGENT)))
        .prop_map(move |(mut objects, daemon_set_mode, said, told)| {
            if daemon_set_mode {
                objects.insert(agent.clone(), Arc::new(json!({})));
            }
            objects.extend(said.map(|said| (gates.clone(), Arc::new(said))));
            objects.extend(told.map(|told| (settings.clone(), Arc::new(told))));
            objects
        })
        .boxed()
}

const GATES: [(&str, &[&str]); 4] = [
    ("confidential", &["true", "false", "?"]),
    ("deploymentMode", &["MachineConfig", "DaemonSet", "DaemonSetFallback", "?"]),
    ("layeredImageDeployment", &["true", "?"]),
    ("CONFIDENTIAL", &["true"]),
];
const AGENT: [(&str, &[&str]); 3] =
    [("image", &["agent@sha256:0", ""]), ("maxUnavailable", &["2", "50%", "-1"]), ("bundle", &["/b"])];

/// A ConfigMap with some of these values.
fn data(entries: &'static [(&'static str, &'static [&'static str])]) -> impl Strategy<Value = Value> {
    let keys: Vec<&'static str> = entries.iter().map(|(key, _)| *key).collect();
    let length = keys.len();
    (subsequence(keys, 0..=length), any::<prop::sample::Index>()).prop_map(move |(keys, index)| {
        let value = |key: &str| {
            let (_, values) = entries.iter().find(|(known, _)| *known == key).unwrap();
            json!(index.get(values))
        };
        let data: serde_json::Map<String, Value> =
            keys.into_iter().map(|key| (key.to_owned(), value(key))).collect();
        json!({"data": data})
    })
}

fn status() -> BoxedStrategy<KataConfigStatus> {
    let conditions = btree_map(
        text(&["InProgress", "Ready", "Degraded", "Other"]),
        (text(&["True", "False", "Unknown"]), text(&["", "Installing", "Failed"]), text(&["", "x"]), time()),
        0..4,
    );
    let nodes = || vec(text(&NODES), 0..2);
    let mode = option::of(select(vec![DeploymentMode::MachineConfig, DeploymentMode::DaemonSet]));
    (conditions, nodes(), nodes(), vec(text(&["kata", "kata-remote"]), 0..2), any::<bool>(), mode)
        .prop_map(
            |(
                conditions,
                installed,
                waiting_to_uninstall,
                runtime_classes,
                waiting_for_mco_to_start,
                mode,
            )| {
                KataConfigStatus {
                    runtime_classes,
                    kata_nodes: KataNodesStatus {
                        installed,
                        waiting_to_uninstall,
                        ..KataNodesStatus::default()
                    },
                    conditions: conditions
                        .into_iter()
                        .map(|(type_, (status, reason, message, at))| StatusCondition {
                            type_,
                            status,
                            last_transition_time: Time(at),
                            reason,
                            message,
                        })
                        .collect(),
                    waiting_for_mco_to_start,
                    deployment_mode: mode,
                }
            },
        )
        .boxed()
}

prop_compose! {
    fn kata_config(name: &'static str)(
        created in option::of(time()),
        deleting: bool,
        finalizers in subsequence(
            vec![names::KATACONFIG_FINALIZER, names::KATACONFIG_FINALIZER_1_0, "example.com/hold"], 0..=3,
        ),
        kata_config_pool_selector in option::weighted(0.4, selector()),
        check_node_eligibility in prop::bool::weighted(0.2),
        log_level in text(&["info", "info", "", "debug", "verbose"]),
        enable_peer_pods: bool,
        broken in prop::bool::weighted(0.05),
        status in status(),
    ) -> Arc<KataConfigView> {
        let spec = KataConfigSpec { kata_config_pool_selector, check_node_eligibility, log_level, enable_peer_pods };
        // One that is being deleted and that nothing holds does not exist.
        let held = if deleting && finalizers.is_empty() { vec!["example.com/hold"] } else { finalizers };
        Arc::new(KataConfigView {
            name: name.to_owned(),
            uid: name.to_owned(),
            resource_version: "3".to_owned(),
            created,
            deleting,
            finalizers: held.into_iter().map(str::to_owned).collect(),
            spec: if broken { Err("invalid type".to_owned()) } else { Ok(spec) },
            status,
        })
    }
}

fn pods() -> impl Strategy<Value = Pods> {
    let pod = text(&["kata", "kata-remote", "gvisor", ""]).prop_map(|runtime_class| PodView {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        runtime_class,
        node: "worker-0".to_owned(),
    });
    prop_oneof![
        1 => Just(Pods::Unknown),
        1 => (time(), option::of(text(&["etcdserver: request timed out"])))
            .prop_map(|(since, error)| Pods::Awaited { since, error }),
        1 => Just(Pods::Unreadable("forbidden".to_owned())),
        4 => Just(Pods::Known(Vec::new())),
        2 => vec(pod, 0..5).prop_map(Pods::Known),
    ]
}

fn some<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let all = 0..=of.len();
    subsequence(of, all)
}

fn rendered() -> impl Strategy<Value = Rendered> {
    let extensions = btree_set(text(&["sandboxed-containers", "kata-containers", "usbguard"]), 0..2);
    (extensions, text(&["", "os:1", "os:2"]))
        .prop_map(|(extensions, os_image)| Rendered { extensions, os_image })
}

prop_compose! {
    fn observed()(
        now in time(),
        (machine_config, container_runtime_config, scc, openshift) in
            (prop::bool::weighted(0.9), any::<bool>(), any::<bool>(), any::<bool>()),
        unreadable in prop::bool::weighted(0.05),
        kata_configs in (kata_config("a").boxed(), kata_config("b").boxed()).prop_flat_map(|(a, b)| some(vec![a, b])),
        nodes in (
            node(NODES[0]).boxed(), node(NODES[1]).boxed(), node(NODES[2]).boxed(), node(NODES[3]).boxed(),
            node(NODES[4]).boxed(),
        )
            .prop_flat_map(|(a, b, c, d, e)| some(vec![a, b, c, d, e])),
        pools in (pool("master"), pool("worker"), pool("kata-oc"), pool("infra"))
            .prop_flat_map(|(a, b, c, d)| some(vec![a, b, c, d])),
        objects in objects(),
        rendered in btree_map(text(&RENDERED), rendered(), 0..4),
        pods in pods(),
    ) -> Observed {
        let unreadable = if unreadable { [("nodes", "forbidden".to_owned())].into() } else { BTreeMap::new() };
        let capabilities =
            Capabilities { machine_config, container_runtime_config, scc, openshift, ..Capabilities::default() };
        Observed {
            now, capabilities, unreadable, kata_configs, nodes, pools, objects, rendered, pods, ..Observed::default()
        }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), any::<bool>()).prop_map(|(monitor, agent)| Settings {
        monitor_image: monitor.then(|| "monitor@sha256:0".to_owned()),
        agent_image: agent.then(|| "agent@sha256:0".to_owned()),
        ..Settings::default()
    })
}

fn node_of<'a>(observed: &'a Observed, name: &str) -> &'a NodeView {
    observed.nodes.iter().find(|node| node.name == name).unwrap()
}

fn names_kata_pool(config: Option<&String>) -> bool {
    config.is_some_and(|config| config.starts_with("rendered-kata-oc-"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_the_same_every_time(observed in observed(), settings in settings()) {
        prop_assert_eq!(decide(&observed, &settings), decide(&observed.clone(), &settings));
    }

    #[test]
    fn no_control_plane_node_is_given_the_role_and_nobody_twice(observed in observed(), settings in settings()) {
        let Some(first) = osc_engine::decide::oldest(&observed.kata_configs) else { return Ok(()) };
        let agents = mode_of(&observed, &settings, first) == DeploymentMode::DaemonSet;
        let mut labelled = BTreeSet::new();
        for step in decide(&observed, &settings).steps {
            if let Step::LabelNode { node, key, value } = step {
                let found = node_of(&observed, &node);
                prop_assert!(labelled.insert((node.clone(), key)), "{} is written twice", key);
                prop_assert!(found.labels.get(key).map(String::as_str) != value, "{} says so already", node);
                if agents {
                    prop_assert!(key == names::KATA_NODE_ROLE || key == names::DAEMON_SET_MODE_LABEL);
                    continue;
                }
                prop_assert_eq!(key, names::KATA_NODE_ROLE);
                prop_assert_eq!(found.has_kata_role(), value.is_none());
                if value.is_some() {
                    let control_plane = [names::MASTER_NODE_ROLE, names::CONTROL_PLANE_NODE_ROLE];
                    prop_assert!(!control_plane.iter().any(|role| found.labels.contains_key(*role)));
                    prop_assert!(found.labels.contains_key(names::WORKER_NODE_ROLE));
                }
            }
        }
    }

    #[test]
    fn never_more_nodes_have_a_turn_than_may(observed in observed(), settings in settings()) {
        let turns: Vec<String> = decide(&observed, &settings)
            .steps
            .into_iter()
            .filter_map(|step| match step {
                Step::LabelNode { node, value: Some("installing" | "uninstalling"), .. } => Some(node),
                _ => None,
            })
            .collect();
        let nodes = observed.nodes.len();
        let max = osc_engine::agent::AgentConfig::of(&observed, &settings).max_unavailable.of(nodes);
        prop_assert!(turns.len() <= max, "{turns:?}");
        for node in turns {
            prop_assert!(node_of(&observed, &node).ready);
        }
    }

    #[test]
    fn the_pool_is_not_deleted_while_a_node_has_the_role(observed in observed(), settings in settings()) {
        let id = ObjectId::cluster(Kind::MachineConfigPool, names::KATA_POOL);
        if decide(&observed, &settings).steps.contains(&Step::Delete { id }) {
            prop_assert!(!observed.nodes.iter().any(|node| node.labels.contains_key(names::KATA_NODE_ROLE)));
        }
    }

    #[test]
    fn nothing_lets_go_while_a_node_has_kata(observed in observed(), settings in settings()) {
        let plan = decide(&observed, &settings);
        let Some(first) = observed.kata_configs.iter().min_by_key(|found| (found.created, found.name.clone())) else {
            return Ok(());
        };
        let lets_go = plan.steps.iter().any(|step| matches!(
            step,
            Step::SetFinalizers { id, finalizers, .. } if id.kind == Kind::KataConfig && id.name == first.name
                && !finalizers.iter().any(|finalizer| finalizer == names::KATACONFIG_FINALIZER)
        ));
        if lets_go {
            prop_assert!(first.deleting);
            if mode_of(&observed, &settings, first) == DeploymentMode::DaemonSet {
                for node in &observed.nodes {
                    prop_assert!(!node.has_kata_role() && !node.has_label(names::DAEMON_SET_MODE_LABEL));
                }
                return Ok(());
            }
            let layout = Layout::detect(&observed);
            prop_assert!(Survey::of(&observed, layout, true).nodes.is_empty());
            for node in observed.nodes.iter().filter(|node| layout == Layout::Regular && node.mco_state.is_some()) {
                let kata = names_kata_pool(node.current_config.as_ref())
                    || node.current_config.is_some() && names_kata_pool(node.desired_config.as_ref());
                prop_assert!(!kata, "{node:?}");
            }
        }
    }

    #[test]
    fn pods_that_use_kata_keep_everything_as_it_is(observed in observed(), settings in settings()) {
        let Pods::Known(pods) = &observed.pods else { return Ok(()) };
        let all_deleting = observed.kata_configs.iter().all(|found| found.deleting);
        let ours = observed
            .cluster_object(Kind::RuntimeClass, "kata")
            .is_some_and(osc_engine::runtime_class::is_ours);
        if all_deleting && ours && pods.iter().any(|pod| pod.runtime_class == "kata") {
            for step in decide(&observed, &settings).steps {
                prop_assert!(!matches!(step, Step::LabelNode { .. } | Step::Delete { .. } | Step::Apply { .. }), "{step:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_stops_everything_but_words(mut observed in observed(), settings in settings()) {
        observed.unreadable.insert("machineconfigpools", "timeout".to_owned());
        for step in decide(&observed, &settings).steps {
            let finalizers = matches!(step, Step::SetFinalizers { .. });
            prop_assert!(finalizers || matches!(step, Step::PatchStatus { .. } | Step::Emit(_)), "{step:?}");
        }
    }

    #[test]
    fn a_plan_that_was_done_leaves_nothing_to_do(observed in observed(), settings in settings()) {
        let mut cluster = observed;
        let mut serial = 100;
        let mut seen = BTreeSet::new();
        for _ in 0..12 {
            let plan = decide(&cluster, &settings);
            if plan.steps.is_empty() {
                return Ok(());
            }
            seen.insert(format!("{:?}", plan.steps));
            for step in &plan.steps {
                // A KataConfig that goes takes its objects with it, under the feet of the next one: the pass ends.
                if store::apply(&mut cluster, &mut serial, step).is_err() {
                    break;
                }
            }
        }
        prop_assert!(false, "no end: {seen:#?}");
    }
}
