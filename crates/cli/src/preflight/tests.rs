//! Every finding, and its absence.

use std::collections::BTreeMap;

use osc_api::{KataConfig, names};
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::{Intent, findings};
use crate::snapshot::tests::with;
use crate::snapshot::{Missing, Right, Snapshot};

fn kata_config(spec: &Value) -> KataConfig {
    serde_json::from_value(json!({"metadata": {"name": "example"}, "spec": spec})).unwrap()
}

fn all_workers() -> Intent {
    apply(kata_config(&json!({})))
}

fn apply(kata_config: KataConfig) -> Intent {
    Intent::Apply(Box::new(kata_config))
}

/// A regular cluster with three workers, and these objects besides.
fn cluster(more: Vec<Value>) -> Snapshot {
    let mut snapshot = with(&Topology::default(), more);
    snapshot.rights = Some(rights(&[]));
    snapshot
}

fn rights(denied: &[&str]) -> Vec<Right> {
    ["get", "list", "create", "patch", "delete"]
        .map(|verb| Right { verb, resource: names::KATACONFIG_CRD, allowed: !denied.contains(&verb) })
        .to_vec()
}

/// Finding's reason and severity, for tables.
fn told(found: &[Finding]) -> Vec<(Severity, &'static str)> {
    found.iter().map(|finding| (finding.severity, finding.reason)).collect()
}

fn check(snapshot: &Snapshot, intent: &Intent, expected: &[(Severity, &'static str)]) -> Vec<Finding> {
    let found = findings(snapshot, intent);
    assert_eq!(told(&found), expected, "{found:#?}");
    for finding in &found {
        assert!(
            !finding.what.is_empty() && !finding.why.is_empty() && !finding.remedy.is_empty(),
            "{finding:#?}"
        );
        assert!(finding.why.ends_with('.') || finding.why.contains(": "), "{finding:#?}");
    }
    found
}

use Severity::{Blocks, Info, Warns};

/// An object of the cluster with something about it changed.
fn changed(topology: &Topology, kind: &str, name: &str, change: impl Fn(&mut Value)) -> Value {
    let objects = topology.objects("2026-01-02T03:04:05Z".parse().unwrap());
    let found =
        objects.into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let mut object = found.unwrap_or_else(|| panic!("no {kind} {name}"));
    change(&mut object);
    object
}

fn node(name: &str, change: impl Fn(&mut Value)) -> Value {
    changed(&Topology::default(), "Node", name, change)
}

fn pool(name: &str, change: impl Fn(&mut Value)) -> Value {
    changed(&Topology::default(), "MachineConfigPool", name, change)
}

fn custom_pool(name: &str, change: impl Fn(&mut Value)) -> Value {
    pool("worker", |object| {
        object["metadata"]["name"] = json!(name);
        object["spec"]["nodeSelector"] =
            json!({"matchLabels": {format!("{}{name}", names::NODE_ROLE_PREFIX): ""}});
        change(object);
    })
}

fn object(api_version: &str, kind: &str, metadata: Value, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object["metadata"] = metadata;
    object
}

fn pod(name: &str, node: &str, owner: Option<&str>, more: &Value) -> Value {
    let owners = owner.map(
        |kind| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]),
    );
    let mut spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    object(
        "v1",
        "Pod",
        json!({"name": name, "namespace": "shop", "labels": {"app": "db"}, "ownerReferences": owners}),
        json!({"spec": spec, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    )
}

fn budget(name: &str, allowed: i32, needed: i32, expected: i32) -> Value {
    object(
        "policy/v1",
        "PodDisruptionBudget",
        json!({"name": name, "namespace": "shop"}),
        json!({"spec": {"selector": {"matchLabels": {"app": "db"}}, "minAvailable": needed},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": expected, "desiredHealthy": needed, "expectedPods": expected}}),
    )
}

fn installed(class: Option<&str>) -> Vec<Value> {
    let status = json!({"runtimeClasses": class.map(|class| vec![class]).unwrap_or_default()});
    vec![object(
        "kataconfiguration.openshift.io/v1",
        "KataConfig",
        json!({"name": "example", "creationTimestamp": "2026-01-01T00:00:00Z"}),
        json!({"spec": {}, "status": status}),
    )]
}

#[test]
fn a_healthy_cluster_has_nothing_to_tell() {
    check(&cluster(vec![]), &all_workers(), &[]);
    for kind in [Kind::Compact, Kind::SingleNode] {
        let mut snapshot = with(&Topology { kind, ..Topology::default() }, vec![]);
        snapshot.rights = Some(rights(&[]));
        check(&snapshot, &all_workers(), &[]);
    }
}

#[test]
fn an_old_release_is_told_and_not_enforced() {
    for (version, expected) in
        [("4.18.30", true), ("4.19.27", true), ("4.19.28", false), ("4.20.0-rc.1", false)]
    {
        let mut snapshot = with(&Topology { version: version.to_owned(), ..Topology::default() }, vec![]);
        snapshot.rights = Some(rights(&[]));
        let expected: &[_] = if expected { &[(Warns, "ReleaseUnsupported")] } else { &[] };
        let found = check(&snapshot, &all_workers(), expected);
        assert!(found.iter().all(|finding| finding.what.contains(version)));
    }
    let mut unknown = cluster(vec![]);
    unknown.objects.retain(|object| object["kind"] != "ClusterVersion");
    check(&unknown, &all_workers(), &[(Info, "ReleaseUnknown")]);
}

#[test]
fn a_cluster_without_the_machine_config_operator_is_told() {
    let topology =
        Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), ..Topology::default() };
    let mut snapshot = with(&topology, vec![]);
    snapshot.rights = Some(rights(&[]));
    let gates = object(
        "v1",
        "ConfigMap",
        json!({"name": names::FEATURE_GATES, "namespace": names::OPERATOR_NAMESPACE}),
        json!({"data": {"deploymentMode": "MachineConfig"}}),
    );
    check(&snapshot, &all_workers(), &[(Info, "DaemonSetMode")]);
    snapshot.objects.push(gates);
    check(&snapshot, &all_workers(), &[(Blocks, "MachineConfigOperatorAbsent")]);
}

#[test]
fn without_definition_or_operator_it_says_how_to_install_them() {
    let mut snapshot = cluster(vec![]);
    snapshot.objects.retain(|object| object["metadata"]["name"] != names::OPERATOR_NAMESPACE);
    let found = check(&snapshot, &all_workers(), &[(Warns, "OperatorAbsent")]);
    assert_eq!(found[0].command.as_deref(), Some("oc apply -k deploy/"));
    snapshot.objects.retain(|object| object["metadata"]["name"] != names::KATACONFIG_CRD);
    check(&snapshot, &all_workers(), &[(Blocks, "DefinitionMissing")]);
}

#[test]
fn missing_rights_block_what_needs_them() {
    let mut snapshot = cluster(installed(None));
    snapshot.rights = Some(rights(&["delete"]));
    check(&snapshot, &all_workers(), &[]);
    check(&snapshot, &Intent::Delete, &[(Blocks, "RightsMissing")]);
    snapshot.rights = Some(rights(&["create", "patch"]));
    let found = check(&snapshot, &all_workers(), &[(Blocks, "RightsMissing")]);
    assert!(found[0].what.starts_with("you may not create, patch kataconfigs"), "{}", found[0].what);
    snapshot.rights = None;
    check(&snapshot, &all_workers(), &[(Info, "RightsUnknown")]);
}

#[test]
fn what_could_not_be_read_is_told_with_what_that_means() {
    let mut snapshot = cluster(vec![]);
    let missing = Missing { resource: "poddisruptionbudgets.policy".to_owned(), why: "forbidden".to_owned() };
    snapshot.info.missing.push(missing);
    let found = check(&snapshot, &all_workers(), &[(Warns, "KindUnreadable")]);
    assert_eq!(found[0].places, ["poddisruptionbudgets.policy: no budget is seen that holds up a drain"]);
    assert_eq!(found[0].why, "What is told does not take them into account. forbidden.");
    assert_eq!(
        found[0].command.as_deref(),
        Some("oc auth can-i list poddisruptionbudgets.policy --all-namespaces")
    );
    snapshot.info.missing.push(Missing { resource: "pods".to_owned(), why: "forbidden, too".to_owned() });
    let found = check(&snapshot, &all_workers(), &[(Warns, "KindUnreadable")]);
    assert_eq!((found[0].what.as_str(), found[0].places.len()), ("2 kinds could not be read", 2));
}

#[test]
fn a_specification_that_cannot_be_is_refused() {
    let intent = apply(kata_config(
        &json!({"logLevel": "loud", "kataConfigPoolSelector": {"matchLabels": {"-": ""}}}),
    ));
    check(&cluster(vec![]), &intent, &[(Blocks, "InvalidConfiguration"), (Blocks, "InvalidConfiguration")]);
    let peer_pods = apply(kata_config(&json!({"enablePeerPods": true})));
    check(&cluster(vec![]), &peer_pods, &[(Info, "PeerPods")]);
}

#[test]
fn a_second_kata_config_and_one_that_goes_are_told() {
    let other = |metadata: Value| {
        cluster(vec![object(
            "kataconfiguration.openshift.io/v1",
            "KataConfig",
            metadata,
            json!({"spec": {}}),
        )])
    };
    check(&other(json!({"name": "first"})), &all_workers(), &[(Blocks, "SecondKataConfig")]);
    check(&other(json!({"name": "example"})), &all_workers(), &[]);
    let going =
        other(json!({"name": "example", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}));
    check(&going, &all_workers(), &[(Blocks, "KataConfigDeleting")]);
    check(&cluster(vec![]), &Intent::Delete, &[(Info, "NothingToDelete")]);
}

#[test]
fn a_runtime_class_of_somebody_else_collides_only_with_another_handler() {
    let class = |handler: &str, finalizers: Value| {
        cluster(vec![object(
            "node.k8s.io/v1",
            "RuntimeClass",
            json!({"name": "kata", "finalizers": finalizers}),
            json!({"handler": handler}),
        )])
    };
    check(&class("runsc", json!([])), &all_workers(), &[(Blocks, "RuntimeClassCollision")]);
    check(&class("kata", json!([])), &all_workers(), &[(Info, "RuntimeClassForeign")]);
    check(&class("runsc", json!([names::RUNTIME_CLASS_FINALIZER])), &all_workers(), &[]);
}

#[test]
fn an_installation_by_node_agents_is_told() {
    let labelled = node("worker-0", |node| {
        node["metadata"]["labels"][names::DAEMON_SET_MODE_LABEL] = json!("installed");
    });
    let kata_config = object(
        "kataconfiguration.openshift.io/v1",
        "KataConfig",
        json!({"name": "example"}),
        json!({"spec": {}}),
    );
    let found = check(&cluster(vec![labelled, kata_config]), &all_workers(), &[(Info, "DaemonSetMode")]);
    assert_eq!(found[0].places, ["Node worker-0"]);
}

#[test]
fn a_paused_pool_blocks_where_nodes_need_it_and_is_told_where_they_leave_it() {
    let paused = |object: &mut Value| object["spec"]["paused"] = json!(true);
    check(&cluster(vec![pool("worker", paused)]), &all_workers(), &[(Warns, "PoolPaused")]);
    check(&cluster(vec![pool("master", paused)]), &all_workers(), &[]);
    let mut objects = installed(Some("kata"));
    objects.extend([
        pool("worker", paused),
        node("worker-0", |node| {
            node["metadata"]["labels"][names::KATA_NODE_ROLE] = json!("");
            node["metadata"]["annotations"][names::MCO_CURRENT_CONFIG] = json!("rendered-kata-oc-1");
        }),
    ]);
    check(&cluster(objects), &Intent::Delete, &[(Blocks, "PoolPaused")]);
    let kata = custom_pool("kata-oc", paused);
    let found = check(&cluster(vec![kata.clone()]), &all_workers(), &[(Blocks, "PoolPaused")]);
    assert_eq!(
        found[0].command.as_deref(),
        Some("oc patch mcp kata-oc --type merge -p '{\"spec\":{\"paused\":false}}'")
    );
    let compact = Topology { kind: Kind::Compact, ..Topology::default() };
    let mut snapshot = with(&compact, vec![changed(&compact, "MachineConfigPool", "master", paused)]);
    snapshot.rights = Some(rights(&[]));
    check(&snapshot, &all_workers(), &[(Blocks, "PoolPaused")]);
}

#[test]
fn a_degraded_or_busy_pool_is_told() {
    let condition = |type_: &'static str| {
        move |object: &mut Value| {
            object["status"]["conditions"] =
                json!([{"type": type_, "status": "True", "message": "no such thing"}]);
        }
    };
    let found = check(
        &cluster(vec![custom_pool("kata-oc", condition("RenderDegraded"))]),
        &all_workers(),
        &[(Blocks, "PoolDegraded")],
    );
    assert!(found[0].why.contains("no such thing"), "{}", found[0].why);
    check(&cluster(vec![pool("worker", condition("Degraded"))]), &all_workers(), &[(Warns, "PoolDegraded")]);
    check(&cluster(vec![pool("worker", condition("Updating"))]), &all_workers(), &[(Warns, "PoolUpdating")]);
    check(&cluster(vec![pool("master", condition("Degraded"))]), &all_workers(), &[]);
}

#[test]
fn nodes_that_are_unavailable_use_up_what_the_pool_allows() {
    let cordoned = node("worker-1", |node| node["spec"]["unschedulable"] = json!(true));
    let down = node("worker-1", |node| {
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown"}]);
    });
    let roomy = custom_pool("kata-oc", |pool| pool["spec"]["maxUnavailable"] = json!(2));
    let found = check(&cluster(vec![cordoned.clone()]), &all_workers(), &[(Blocks, "NodeCordoned")]);
    assert_eq!(found[0].places, ["Node worker-1"]);
    check(&cluster(vec![cordoned.clone(), roomy.clone()]), &all_workers(), &[(Warns, "NodeCordoned")]);
    check(&cluster(vec![down.clone()]), &all_workers(), &[(Blocks, "NodeNotReady")]);
    check(&cluster(vec![down, roomy]), &all_workers(), &[(Warns, "NodeNotReady")]);
    // Not one that has nothing to do with it.
    let chosen = apply(kata_config(
        &json!({"kataConfigPoolSelector": {"matchLabels": {"kubernetes.io/hostname": "worker-0"}}}),
    ));
    check(&cluster(vec![cordoned]), &chosen, &[]);
}

#[test]
fn nodes_that_cannot_be_changed_are_named() {
    let degraded = node("worker-2", |node| {
        node["metadata"]["annotations"][names::MCO_STATE] = json!("Degraded");
        node["metadata"]["annotations"][names::MCO_REASON] = json!("disk full");
    });
    let found = check(&cluster(vec![degraded]), &all_workers(), &[(Blocks, "NodeDegraded")]);
    assert!(found[0].why.ends_with("disk full"), "{}", found[0].why);
    let unmanaged = node("worker-2", |node| node["metadata"]["annotations"] = json!({}));
    check(&cluster(vec![unmanaged]), &all_workers(), &[(Blocks, "NodeUnmanaged")]);
}

#[test]
fn a_node_cannot_be_in_two_custom_pools() {
    let infra = custom_pool("infra", |_| {});
    let with_roles = |roles: &[&str]| {
        node("worker-0", |node| {
            for role in roles {
                node["metadata"]["labels"][format!("{}{role}", names::NODE_ROLE_PREFIX)] = json!("");
            }
        })
    };
    check(
        &cluster(vec![infra.clone(), with_roles(&["infra"])]),
        &all_workers(),
        &[(Warns, "NodeInTwoPools")],
    );
    check(
        &cluster(vec![infra.clone(), with_roles(&["infra", "kata-oc"])]),
        &all_workers(),
        &[(Blocks, "NodeInTwoPools")],
    );
    check(&cluster(vec![infra]), &all_workers(), &[]);
}

#[test]
fn selected_nodes_of_the_control_plane_are_told() {
    let master = node("master-0", |node| node["metadata"]["labels"][names::WORKER_NODE_ROLE] = json!(""));
    let explicit = apply(kata_config(&json!({"kataConfigPoolSelector": {}})));
    check(&cluster(vec![master]), &explicit, &[(Warns, "ControlPlaneNodeSelected")]);
}

#[test]
fn the_selection_has_to_select_something() {
    let nothing = apply(kata_config(&json!({"kataConfigPoolSelector": {"matchLabels": {"no": "such"}}})));
    check(&cluster(vec![]), &nothing, &[(Blocks, "NothingSelected")]);
    let eligible = apply(kata_config(&json!({"checkNodeEligibility": true})));
    check(&cluster(vec![]), &eligible, &[(Blocks, "NoEligibleNodes")]);
    let labelled =
        node("worker-0", |node| node["metadata"]["labels"][names::NODE_ELIGIBLE_LABEL] = json!("true"));
    let found = check(&cluster(vec![labelled]), &eligible, &[(Warns, "NodeNotEligible")]);
    assert_eq!(found[0].places, ["Node worker-1", "Node worker-2"]);
    let all = BTreeMap::from([(names::NODE_ELIGIBLE_LABEL.to_owned(), "true".to_owned())]);
    let mut snapshot = with(&Topology { worker_labels: all, ..Topology::default() }, vec![]);
    snapshot.rights = Some(rights(&[]));
    check(&snapshot, &eligible, &[]);
}

#[test]
fn a_budget_without_room_is_told_with_its_pods_and_their_nodes() {
    let db = |node: &str| pod("db-0", node, Some("StatefulSet"), &json!({}));
    let found = check(
        &cluster(vec![budget("db", 0, 1, 1), db("worker-1")]),
        &all_workers(),
        &[(Blocks, "DisruptionBudgetWithoutRoom")],
    );
    assert_eq!(found[0].places, ["Pod shop/db-0 on worker-1"]);
    assert!(found[0].why.starts_with("It needs 1 of 1 pods at all times"), "{}", found[0].why);
    let now = findings(&cluster(vec![budget("db", 0, 1, 2), db("worker-1")]), &all_workers());
    assert!(now[0].why.starts_with("It needs 1 healthy pods"), "{}", now[0].why);
    check(&cluster(vec![budget("db", 1, 1, 2), db("worker-1")]), &all_workers(), &[]);
    // On a node that does not reboot, or in another namespace, it does not matter.
    check(&cluster(vec![budget("db", 0, 1, 1), db("master-0")]), &all_workers(), &[]);
    let mut elsewhere = budget("db", 0, 1, 1);
    elsewhere["metadata"]["namespace"] = json!("other");
    check(&cluster(vec![elsewhere, db("worker-1")]), &all_workers(), &[]);
    // Pods of DaemonSets stay where they are.
    check(
        &cluster(vec![budget("db", 0, 1, 1), pod("db-0", "worker-1", Some("DaemonSet"), &json!({}))]),
        &all_workers(),
        &[],
    );
}

#[test]
fn two_budgets_for_one_pod_block_its_eviction() {
    let pod = pod("db-0", "worker-1", Some("StatefulSet"), &json!({}));
    check(
        &cluster(vec![budget("a", 1, 1, 2), budget("b", 1, 1, 2), pod]),
        &all_workers(),
        &[(Blocks, "DisruptionBudgetsOverlap")],
    );
}

#[test]
fn pods_that_nobody_brings_back_are_told() {
    let found = check(
        &cluster(vec![pod("alone", "worker-0", None, &json!({}))]),
        &all_workers(),
        &[(Warns, "PodWithoutController")],
    );
    assert_eq!(found[0].places, ["Pod shop/alone on worker-0"]);
    check(&cluster(vec![pod("owned", "worker-0", Some("ReplicaSet"), &json!({}))]), &all_workers(), &[]);
    check(&cluster(vec![pod("static", "worker-0", Some("Node"), &json!({}))]), &all_workers(), &[]);
}

#[test]
fn pods_that_find_no_room_elsewhere_are_told() {
    let pod = |name: &str, node: &str, cpu: &str| {
        let containers =
            json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]);
        pod(name, node, Some("ReplicaSet"), &json!({"containers": containers}))
    };
    // A node has 15.5 CPU.
    let tight = ["worker-0", "worker-1", "worker-2"].map(|node| pod(node, node, "12"));
    let found = check(&cluster(tight.to_vec()), &all_workers(), &[(Warns, "NoRoomForPods")]);
    assert_eq!(
        found[0].places[0],
        "Node worker-0 (its pods need 12 CPU and 1Gi of memory, the others have 7 CPU and 121Gi of memory)"
    );
    let roomy = ["worker-0", "worker-1", "worker-2"].map(|node| pod(node, node, "8"));
    check(&cluster(roomy.to_vec()), &all_workers(), &[]);
}

fn machine(strategy: &Value, migratable: &str) -> Value {
    object(
        "kubevirt.io/v1",
        "VirtualMachineInstance",
        json!({"name": "vm", "namespace": "shop"}),
        json!({"spec": {"evictionStrategy": strategy}, "status": {"nodeName": "worker-0", "phase": "Running",
            "conditions": [{"type": "LiveMigratable", "status": migratable, "message": "its disk is local"}]}}),
    )
}

#[test]
fn virtual_machines_that_cannot_move_block_unless_they_may_be_shut_down() {
    for (strategy, migratable, expected) in [
        (json!("LiveMigrate"), "False", Some((Blocks, "VirtualMachineNotMigratable"))),
        (json!(null), "False", Some((Blocks, "VirtualMachineNotMigratable"))),
        (json!("None"), "False", Some((Warns, "VirtualMachineStops"))),
        (json!("LiveMigrateIfPossible"), "False", Some((Warns, "VirtualMachineStops"))),
        (json!("External"), "False", Some((Warns, "VirtualMachineMovedByOthers"))),
        (json!("LiveMigrate"), "True", None),
    ] {
        let expected: Vec<_> = expected.into_iter().collect();
        let found = check(&cluster(vec![machine(&strategy, migratable)]), &all_workers(), &expected);
        assert!(found.iter().all(|finding| finding.why.ends_with("its disk is local")), "{found:#?}");
    }
    let mut elsewhere = machine(&json!("LiveMigrate"), "False");
    elsewhere["status"]["nodeName"] = json!("master-0");
    check(&cluster(vec![elsewhere]), &all_workers(), &[]);
}

#[test]
fn the_budget_of_a_virtual_machine_is_left_to_the_virtual_machine() {
    let mut guard = budget("kubevirt-disruption-budget-x", 0, 1, 1);
    guard["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": "u"}]);
    let launcher = pod("virt-launcher-vm", "worker-0", Some("VirtualMachineInstance"), &json!({}));
    check(&cluster(vec![guard, launcher, machine(&json!("LiveMigrate"), "True")]), &all_workers(), &[]);
}

#[test]
fn pods_that_use_kata_hold_up_its_removal() {
    let mut objects = installed(Some("kata"));
    check(&cluster(objects.clone()), &Intent::Delete, &[]);
    objects.push(pod("db-0", "worker-0", Some("StatefulSet"), &json!({"runtimeClassName": "kata"})));
    objects.push(pod("db-1", "worker-0", Some("StatefulSet"), &json!({"runtimeClassName": "gvisor"})));
    let found = check(&cluster(objects.clone()), &Intent::Delete, &[(Blocks, "PodsUseKata")]);
    assert_eq!(found[0].places, ["Pod shop/db-0"]);
    check(&cluster(objects), &all_workers(), &[]);
}

#[test]
fn the_gravest_comes_first() {
    let mut snapshot = cluster(vec![
        pod("alone", "worker-0", None, &json!({})),
        node("worker-1", |node| node["spec"]["unschedulable"] = json!(true)),
    ]);
    snapshot.rights = None;
    check(
        &snapshot,
        &all_workers(),
        &[(Blocks, "NodeCordoned"), (Warns, "PodWithoutController"), (Info, "RightsUnknown")],
    );
}

#[test]
fn without_a_kata_config_the_one_on_the_cluster_counts() {
    let selector = json!({"kataConfigPoolSelector": {"matchLabels": {"no": "such"}}});
    let present = object(
        "kataconfiguration.openshift.io/v1",
        "KataConfig",
        json!({"name": "mine"}),
        json!({"spec": selector}),
    );
    let snapshot = cluster(vec![present]);
    let intent = Intent::of_cluster(&snapshot);
    assert_eq!(intent.name(), Some("mine"));
    check(&snapshot, &intent, &[(Blocks, "NothingSelected")]);
    assert_eq!(Intent::of_cluster(&cluster(vec![])).name(), Some("example-kataconfig"));
}
