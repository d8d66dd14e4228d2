//! Checks of pools and nodes: what would keep a rollout from going on, or make it other than one expects.

use std::collections::BTreeSet;

use osc_api::names;
use osc_devcluster::sim::machine_config::pool::limit;
use osc_engine::layout::Layout;
use osc_engine::{NodeView, PoolView};

use super::finding::Finding;
use super::situation::{Intent, Situation};

/// `Node worker-0`.
fn place(name: &str) -> String {
    format!("Node {name}")
}

fn pool_place(name: &str) -> String {
    format!("MachineConfigPool {name}")
}

/// Pools that are held, degraded, or busy with something else.
pub fn pools(situation: &Situation<'_>) -> Vec<Finding> {
    if situation.affected.is_empty() {
        return Vec::new();
    }
    let pools = situation.pools().into_iter().filter_map(|name| situation.observed.pool(name));
    pools.flat_map(|pool| of_pool(situation, pool)).collect()
}

fn of_pool(situation: &Situation<'_>, pool: &PoolView) -> Vec<Finding> {
    let needed = is_needed(situation, &pool.name);
    let mut found = Vec::new();
    if pool.paused {
        found.push(paused(pool, needed));
    }
    if !pool.degraded.is_empty() && degraded_nodes(situation).is_empty() {
        let what = format!("MachineConfigPool {} is degraded", pool.name);
        let finding =
            if needed { Finding::blocks("PoolDegraded", what) } else { Finding::warns("PoolDegraded", what) };
        found.push(
            finding
                .at(pool_place(&pool.name))
                .why(format!("The Machine Config Operator says: {}", pool.degraded.join(" ")))
                .remedy("Mend that first.")
                .command(format!("oc describe mcp {}", pool.name)),
        );
    }
    if pool.updating && pool.degraded.is_empty() {
        found.push(
            Finding::warns(
                "PoolUpdating",
                format!("MachineConfigPool {} is rolling something out", pool.name),
            )
            .at(pool_place(&pool.name))
            .why("Nodes that have not had their turn may reboot twice, and the times told here may be wrong.")
            .remedy("Wait until it is done, then ask again.")
            .command(format!("oc wait mcp/{} --for=condition=Updated --timeout=24h", pool.name)),
        );
    }
    found
}

/// Whether nodes get their next configuration from this pool. Nodes that only leave it do not care.
fn is_needed(situation: &Situation<'_>, pool: &str) -> bool {
    let deleting = matches!(situation.intent, Intent::Delete);
    match (situation.layout, pool) {
        (Layout::Converged, _) => true,
        (Layout::Regular, names::WORKER_POOL) => deleting || !situation.membership.leave.is_empty(),
        (Layout::Regular, _) if deleting => false,
        // Nodes that only leave it need nothing of it.
        (Layout::Regular, _) => situation.affected.len() > situation.membership.leave.len(),
    }
}

fn paused(pool: &PoolView, needed: bool) -> Finding {
    let name = &pool.name;
    let what = format!("MachineConfigPool {name} is paused");
    let go_on = format!("oc patch mcp {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'");
    if needed {
        return Finding::blocks("PoolPaused", what)
            .at(pool_place(name))
            .why("No node is changed while the pool it belongs to is paused: the rollout would begin and never end.")
            .remedy("Find out who paused it and why; then let it go on.")
            .command(go_on);
    }
    let next = if name == names::KATA_POOL { names::WORKER_POOL } else { names::KATA_POOL };
    Finding::warns("PoolPaused", what)
        .at(pool_place(name))
        .why(format!(
            "Nodes leave this pool for {next}: changes that the pause holds back reach them there, in the same reboot."
        ))
        .remedy("Find out what it holds back, and pause or postpone this, too, if that must not happen.")
        .command(format!("oc describe mcp {name}"))
}

/// The nodes that will be in the pools that matter: those affected, and those that are in them already.
fn concerned<'a>(situation: &Situation<'a>) -> Vec<&'a NodeView> {
    let members: BTreeSet<&str> = situation.members().map(|node| node.name.as_str()).collect();
    let concerned = |node: &&NodeView| {
        situation.affected.contains(node.name.as_str()) || members.contains(node.name.as_str())
    };
    situation.observed.nodes.iter().map(AsRef::as_ref).filter(concerned).collect()
}

fn degraded_nodes<'a>(situation: &Situation<'a>) -> Vec<&'a NodeView> {
    let degraded =
        |node: &&NodeView| matches!(node.mco_state.as_deref(), Some("Degraded" | "Unreconcilable"));
    concerned(situation).into_iter().filter(degraded).collect()
}

/// Nodes that cannot take part, or that count as unavailable.
pub fn availability(situation: &Situation<'_>) -> Vec<Finding> {
    if situation.affected.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for node in degraded_nodes(situation) {
        let reason =
            node.mco_reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("no reason given");
        found.push(
            Finding::blocks("NodeDegraded", format!("node {} is degraded", node.name))
                .at(place(&node.name))
                .why(format!("The Machine Config Operator cannot change it: {reason}"))
                .remedy("Mend that first.")
                .command(format!("oc describe node {}", node.name)),
        );
    }
    let concerned = concerned(situation);
    let cordoned: Vec<&NodeView> =
        concerned.iter().copied().filter(|node| node.ready && node.unschedulable).collect();
    let not_ready: Vec<&NodeView> = concerned.iter().copied().filter(|node| !node.ready).collect();
    let pool = situation
        .snapshot
        .pools
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(situation.layout.pool()));
    let limit = limit(pool.and_then(|pool| pool.spec.max_unavailable.as_ref()), concerned.len());
    let stalls = cordoned.len() + not_ready.len() >= limit;
    for (reason, word, nodes) in
        [("NodeCordoned", "cordoned", cordoned), ("NodeNotReady", "not ready", not_ready)]
    {
        found.extend(unavailable(reason, word, &nodes, limit, stalls));
    }
    found
}

fn unavailable(
    reason: &'static str,
    word: &str,
    nodes: &[&NodeView],
    limit: usize,
    stalls: bool,
) -> Option<Finding> {
    let first = nodes.first()?;
    let what = match nodes.len() {
        1 => format!("node {} is {word}", first.name),
        count => format!("{count} nodes are {word}"),
    };
    let allowed = if limit == 1 { "one node".to_owned() } else { format!("{limit} nodes") };
    let (finding, why) = if stalls {
        let why = format!(
            "The pool lets {allowed} be unavailable at a time. What is unavailable already uses that up, and no node is begun with."
        );
        (Finding::blocks(reason, what), why)
    } else {
        let why = format!(
            "The pool lets {allowed} be unavailable at a time; these count, so that it takes longer."
        );
        (Finding::warns(reason, what), why)
    };
    let finding = finding.at_all(nodes.iter().map(|node| place(&node.name))).why(why);
    Some(if reason == "NodeCordoned" {
        finding
            .remedy("When the work on it is done, let it take pods again.")
            .command(format!("oc adm uncordon {}", first.name))
    } else {
        finding
            .remedy("Get it back, or remove it from the cluster.")
            .command(format!("oc describe node {}", first.name))
    })
}

/// Nodes that the Machine Config Operator does not manage.
pub fn unmanaged(situation: &Situation<'_>) -> Vec<Finding> {
    let unmanaged = |node: &&NodeView| node.mco_state.is_none() || node.current_config.is_none();
    let nodes: Vec<&NodeView> = concerned(situation).into_iter().filter(unmanaged).collect();
    if nodes.is_empty() || !situation.observed.capabilities.machine_config {
        return Vec::new();
    }
    vec![
        Finding::blocks("NodeUnmanaged", "nodes are not managed by the Machine Config Operator")
            .at_all(nodes.iter().map(|node| place(&node.name)))
            .why(format!("They lack the annotation {} or {}.", names::MCO_STATE, names::MCO_CURRENT_CONFIG))
            .remedy("See whether machine-config-daemon runs there. Workers that do not run CoreOS are not supported.")
            .command("oc get pods -n openshift-machine-config-operator -l k8s-app=machine-config-daemon -o wide"),
    ]
}

/// Nodes that are selected and cannot be had.
pub fn refused(situation: &Situation<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let in_pool =
        |name: &str| situation.observed.nodes.iter().any(|node| node.name == name && node.has_kata_role());
    for (node, pools) in &situation.membership.conflicts {
        let pools = pools.join(", ");
        let what = format!("node {node} is selected, and belongs to the custom pool {pools}");
        let finding = if in_pool(node) {
            Finding::blocks("NodeInTwoPools", what).why(format!(
                "It carries the role of {} as well: the Machine Config Operator allows one custom pool a node and leaves it alone.",
                names::KATA_POOL
            ))
        } else {
            Finding::warns("NodeInTwoPools", what).why(
                "The Machine Config Operator allows one custom pool a node, so that it will not get Kata.",
            )
        };
        found.push(
            finding
                .at(place(node))
                .remedy(format!("Take it out of {pools}, or leave it out in spec.kataConfigPoolSelector."))
                .command(format!("oc get node {node} --show-labels")),
        );
    }
    if !situation.membership.control_plane.is_empty() {
        found.push(
            Finding::warns("ControlPlaneNodeSelected", "nodes of the control plane are selected")
                .at_all(situation.membership.control_plane.iter().map(|name| place(name)))
                .why(format!(
                    "They cannot be in the pool {}, so that they will not get Kata.",
                    names::KATA_POOL
                ))
                .remedy("Select workers alone in spec.kataConfigPoolSelector."),
        );
    }
    found
}

/// Whether the selection selects anything, and the labels of Node Feature Discovery.
pub fn selection(situation: &Situation<'_>) -> Vec<Finding> {
    let Some(spec) = situation.valid().filter(|_| situation.observed.capabilities.machine_config) else {
        return Vec::new();
    };
    let label = names::NODE_ELIGIBLE_LABEL;
    if spec.check_node_eligibility && !situation.observed.nodes.iter().any(|node| node.is_eligible()) {
        return vec![
            Finding::blocks("NoEligibleNodes", format!("no node carries the label {label}=true"))
                .why("spec.checkNodeEligibility is true: nothing is done until a node carries it.")
                .remedy("Run Node Feature Discovery with the rule of the documentation, label nodes by hand, or set it to false.")
                .command(format!("oc label node NAME {label}=true")),
        ];
    }
    let mut found = Vec::new();
    if situation.layout == Layout::Regular && spec.check_node_eligibility {
        found.extend(ineligible(situation));
    }
    if situation.membership.selected == 0 && situation.membership.conflicts.is_empty() {
        found.push(
            Finding::blocks(
                "NothingSelected",
                "spec.kataConfigPoolSelector matches no worker node that can have Kata",
            )
            .why("Kata would be installed nowhere, and no runtime class would be made.")
            .remedy("Compare the selector with the labels of the workers.")
            .command(format!("oc get nodes -l {} --show-labels", names::WORKER_NODE_ROLE)),
        );
    }
    found
}

fn ineligible(situation: &Situation<'_>) -> Option<Finding> {
    let spec = situation.valid()?;
    let left_out = |node: &&NodeView| {
        node.is_worker()
            && !node.is_master()
            && !node.has_kata_role()
            && !node.is_eligible()
            && spec.selector.matches(&node.labels)
    };
    let nodes: Vec<&NodeView> = situation.observed.nodes.iter().map(AsRef::as_ref).filter(left_out).collect();
    let label = names::NODE_ELIGIBLE_LABEL;
    (!nodes.is_empty()).then(|| {
        Finding::warns(
            "NodeNotEligible",
            format!("{} selected nodes lack the label {label}=true", nodes.len()),
        )
        .at_all(nodes.iter().map(|node| place(&node.name)))
        .why("spec.checkNodeEligibility is true, so that they will not get Kata.")
        .remedy("Label those that can run virtual machines, or set it to false.")
        .command(format!("oc label node {} {label}=true", nodes[0].name))
    })
}
