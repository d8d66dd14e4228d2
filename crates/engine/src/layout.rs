//! The shape of the cluster: regular or converged, which pool carries Kata, which nodes are to be in it.

use std::collections::BTreeSet;

use osc_api::names;

use crate::delivery::Delivery;
use crate::nodes::is_of_kata_pool;
use crate::object::Kind;
use crate::observed::{NodeView, Observed};
use crate::selector::Selector;
use crate::spec::ValidSpec;

/// Where Kata goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// There are worker nodes of their own: the chosen ones move to the pool `kata-oc`.
    Regular,
    /// The control plane does the work (compact and single-node clusters): Kata goes to the pool `master`, whole.
    Converged,
}

impl Layout {
    /// Which layout the cluster has.
    ///
    /// What was chosen at installation stays: our machine config carries the pool's role, so that a compact cluster
    /// that grows a worker later is still updated and uninstalled the way it was installed. Otherwise the nodes
    /// decide, not the number of pools: an extra custom pool does not make a compact cluster regular.
    pub fn detect(observed: &Observed) -> Self {
        if !observed.capabilities.machine_config {
            return Self::Regular;
        }
        let ours = observed.cluster_object(Kind::MachineConfig, Delivery::of(observed).machine_config());
        let role = ours.and_then(|mc| mc["metadata"]["labels"][names::MACHINE_CONFIG_ROLE].as_str());
        match role {
            Some(names::MASTER_POOL) => return Self::Converged,
            Some(_) => return Self::Regular,
            None => {}
        }
        if observed.pool(names::KATA_POOL).is_some() || observed.pool(names::MASTER_POOL).is_none() {
            return Self::Regular;
        }
        if was_converged(observed) {
            return Self::Converged;
        }
        let mut workers = observed.nodes.iter().filter(|node| node.is_worker()).peekable();
        if workers.peek().is_some() && workers.all(|node| node.is_master()) {
            Self::Converged
        } else {
            Self::Regular
        }
    }

    /// The pool that carries our machine config.
    pub fn pool(self) -> &'static str {
        match self {
            Self::Regular => names::KATA_POOL,
            Self::Converged => names::MASTER_POOL,
        }
    }

    /// The node label that marks the pool's nodes; monitor, runtime class and count go by it.
    pub fn node_label(self) -> &'static str {
        match self {
            Self::Regular => names::KATA_NODE_ROLE,
            Self::Converged => names::MASTER_NODE_ROLE,
        }
    }
}

/// Whether the status still lists control-plane nodes: during removal, when our machine config is gone already.
fn was_converged(observed: &Observed) -> bool {
    observed.kata_configs.iter().any(|kata_config| {
        let nodes = &kata_config.status.kata_nodes;
        let lists = [
            &nodes.installed,
            &nodes.installing,
            &nodes.waiting_to_install,
            &nodes.failed_to_install,
            &nodes.uninstalling,
            &nodes.waiting_to_uninstall,
            &nodes.failed_to_uninstall,
        ];
        let listed = |name: &String| lists.iter().any(|list| list.contains(name));
        // One that somebody moved to `kata-oc` is listed, too, while it loses Kata: it tells nothing.
        let of_kata_pool = |config: &Option<String>| config.as_deref().is_some_and(is_of_kata_pool);
        let moved =
            |node: &NodeView| of_kata_pool(&node.current_config) || of_kata_pool(&node.desired_config);
        let tells = |node: &NodeView| node.is_master() && listed(&node.name) && !moved(node);
        kata_config.deleting && observed.nodes.iter().any(|node| tells(node))
    })
}

/// Which nodes are to enter and leave the pool `kata-oc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Nodes to be given the role.
    pub enter: Vec<&'a str>,
    /// Nodes to lose the role.
    pub leave: Vec<&'a str>,
    /// Nodes that are selected and belong to custom pools, too: the Machine Config Operator allows one.
    pub conflicts: Vec<(&'a str, Vec<&'a str>)>,
    /// Selected nodes of the control plane, which cannot be in a custom pool.
    pub control_plane: Vec<&'a str>,
    /// How many nodes are selected and can be had.
    pub selected: usize,
}

impl<'a> Membership<'a> {
    /// Compares the selection with the roles that the nodes have.
    pub fn of(observed: &'a Observed, spec: &ValidSpec) -> Self {
        let custom_pools = custom_pools(observed);
        let mut membership = Self::default();
        for node in observed.nodes.iter().filter(|node| node.is_worker()) {
            let selected = spec.selector.matches(&node.labels);
            if node.is_master() {
                if selected && spec.selects_explicitly {
                    membership.control_plane.push(&node.name);
                }
                continue;
            }
            // Eligibility is asked of nodes that enter. One that is in and loses the label stays in: labels go with Node
            // Feature Discovery, and nodes must not reboot for that.
            if !selected {
                if node.has_kata_role() {
                    membership.leave.push(&node.name);
                }
                continue;
            }
            let others = pools_of(node, &custom_pools);
            if !others.is_empty() {
                // One that has the role already keeps it: taking it away would cost a reboot that nobody asked for.
                membership.conflicts.push((&node.name, others));
                continue;
            }
            if node.has_kata_role() {
                membership.selected += 1;
            } else if !spec.check_node_eligibility || node.is_eligible() {
                membership.selected += 1;
                membership.enter.push(&node.name);
            }
        }
        membership
    }

    /// Whether any role is to change.
    pub fn changes(&self) -> bool {
        !(self.enter.is_empty() && self.leave.is_empty())
    }
}

/// Custom pools other than ours, with their selectors. One whose selector cannot be read selects nothing.
fn custom_pools(observed: &Observed) -> Vec<(&str, Selector)> {
    let built_in = [names::MASTER_POOL, names::WORKER_POOL, names::KATA_POOL];
    observed
        .pools
        .iter()
        .filter(|pool| !built_in.contains(&pool.name.as_str()))
        .filter_map(|pool| {
            let selector = Selector::parse(pool.node_selector.as_ref()?, "spec.nodeSelector").ok()?;
            // To the Machine Config Operator, a selector that says nothing selects nothing.
            (selector != Selector::default()).then_some((pool.name.as_str(), selector))
        })
        .collect()
}

fn pools_of<'a>(node: &NodeView, custom_pools: &[(&'a str, Selector)]) -> Vec<&'a str> {
    custom_pools
        .iter()
        .filter(|(_, selector)| selector.matches(&node.labels))
        .map(|(name, _)| *name)
        .collect()
}

/// Names of the rendered machine configs whose extensions the engine needs to know: none on regular clusters.
pub fn rendered_needed(observed: &Observed) -> BTreeSet<String> {
    if Layout::detect(observed) == Layout::Regular {
        return BTreeSet::new();
    }
    let target = observed.pool(names::MASTER_POOL).and_then(|pool| pool.target.clone());
    let masters = observed.nodes.iter().filter(|node| node.is_master());
    target.into_iter().chain(masters.filter_map(|node| node.current_config.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Capabilities, PoolView};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use rstest::rstest;
    use std::sync::Arc;

    fn node(name: &str, roles: &[&str]) -> Arc<NodeView> {
        let labels = roles.iter().map(|role| (format!("{}{role}", names::NODE_ROLE_PREFIX), String::new()));
        Arc::new(NodeView { name: name.to_owned(), labels: labels.collect(), ..NodeView::default() })
    }

    fn pool(name: &str) -> Arc<PoolView> {
        let selector = LabelSelector {
            match_labels: Some([(format!("{}{name}", names::NODE_ROLE_PREFIX), String::new())].into()),
            ..LabelSelector::default()
        };
        Arc::new(PoolView { name: name.to_owned(), node_selector: Some(selector), ..PoolView::default() })
    }

    fn cluster(pools: &[&str], nodes: &[(&str, &[&str])]) -> Observed {
        Observed {
            capabilities: Capabilities { machine_config: true, ..Capabilities::default() },
            pools: pools.iter().map(|name| pool(name)).collect(),
            nodes: nodes.iter().map(|(name, roles)| node(name, roles)).collect(),
            ..Observed::default()
        }
    }

    const COMPACT: &[(&str, &[&str])] = &[("m0", &["master", "worker"]), ("m1", &["master", "worker"])];
    const WITH_WORKER: &[(&str, &[&str])] = &[("m0", &["master"]), ("w0", &["worker"])];
    const GROWN: &[(&str, &[&str])] = &[("m0", &["master", "worker"]), ("w0", &["worker"])];
    const IDLE: &[(&str, &[&str])] = &[("m0", &["master"])];

    #[rstest]
    #[case::two_pools_no_pure_worker(&["master", "worker"], COMPACT, Layout::Converged)]
    #[case::two_pools_one_worker(&["master", "worker"], WITH_WORKER, Layout::Regular)]
    #[case::extra_pool_on_compact_cluster(&["master", "worker", "infra"], COMPACT, Layout::Converged)]
    #[case::kata_pool_exists(&["master", "worker", "kata-oc"], COMPACT, Layout::Regular)]
    #[case::control_plane_grown_by_a_worker(&["master", "worker"], GROWN, Layout::Regular)]
    #[case::nobody_works(&["master", "worker"], IDLE, Layout::Regular)]
    fn converged_is_told_by_the_nodes(
        #[case] pools: &[&str],
        #[case] nodes: &[(&str, &[&str])],
        #[case] expected: Layout,
    ) {
        assert_eq!(Layout::detect(&cluster(pools, nodes)), expected);
    }

    #[test]
    fn without_the_pool_api_no_cluster_is_converged() {
        let mut observed = cluster(&["master", "worker"], COMPACT);
        observed.capabilities.machine_config = false;
        assert_eq!(Layout::detect(&observed), Layout::Regular);
    }

    #[rstest]
    #[case("master", WITH_WORKER, Layout::Converged)]
    #[case("kata-oc", COMPACT, Layout::Regular)]
    fn the_layout_of_the_installation_stays(
        #[case] role: &str,
        #[case] nodes: &[(&str, &[&str])],
        #[case] expected: Layout,
    ) {
        let mut observed = cluster(&["master", "worker"], nodes);
        let ours = serde_json::json!({"metadata": {"labels": {names::MACHINE_CONFIG_ROLE: role}}});
        let id = crate::ObjectId::cluster(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG);
        observed.objects.insert(id, Arc::new(ours));
        assert_eq!(Layout::detect(&observed), expected);
    }

    fn spec(selector: serde_json::Value) -> ValidSpec {
        let explicit = !selector.is_null();
        let selector: LabelSelector = serde_json::from_value(selector).unwrap_or_default();
        ValidSpec {
            selector: Selector::parse(&selector, "").unwrap(),
            selects_explicitly: explicit,
            check_node_eligibility: false,
            log_level: "info".to_owned(),
            peer_pods: false,
        }
    }

    #[test]
    fn selection_moves_nodes_in_both_directions() {
        let observed = cluster(
            &["master", "worker", "kata-oc"],
            &[
                ("in", &["worker", "pick"]),
                ("out", &["worker", "kata-oc"]),
                ("stays", &["worker", "kata-oc", "pick"]),
            ],
        );
        let selector = serde_json::json!({"matchLabels": {"node-role.kubernetes.io/pick": ""}});
        let membership = Membership::of(&observed, &spec(selector));
        assert_eq!((membership.enter, membership.leave, membership.selected), (vec!["in"], vec!["out"], 2));
    }

    #[test]
    fn a_node_of_another_custom_pool_is_refused_and_named() {
        let observed =
            cluster(&["master", "worker", "infra"], &[("w0", &["worker"]), ("w1", &["worker", "infra"])]);
        let membership = Membership::of(&observed, &spec(serde_json::Value::Null));
        assert_eq!(membership.enter, ["w0"]);
        assert_eq!(membership.conflicts, [("w1", vec!["infra"])]);
    }

    #[test]
    fn a_control_plane_node_never_enters_the_pool() {
        let observed = cluster(&["master", "worker"], &[("m0", &["master", "worker"]), ("w0", &["worker"])]);
        let membership = Membership::of(&observed, &spec(serde_json::json!({})));
        assert_eq!((membership.enter, membership.control_plane), (vec!["w0"], vec!["m0"]));
    }
}
