//! Which pool a node belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use osc_api::names;

use super::node_view::NodeView;

/// A pool's name and which nodes it selects.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSelector {
    /// Name.
    pub name: String,
    selector: Option<Selector>,
}

impl PoolSelector {
    /// Reads it. A selector that is absent, empty or malformed selects nothing: a pool must not take every node by
    /// mistake.
    pub fn new(name: &str, selector: Option<&LabelSelector>) -> Self {
        let selector = selector.and_then(|selector| Selector::try_from(selector.clone()).ok());
        Self { name: name.to_owned(), selector: selector.filter(|selector| !selector.selects_all()) }
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}

/// The pool of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// No pool wants it.
    None,
    /// It belongs to this one.
    Pool(String),
    /// These custom pools want it, so it belongs to none.
    Conflict(Vec<String>),
}

impl Membership {
    /// Every pool whose status the node has a part in.
    pub fn pools(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Pool(pool) => std::slice::from_ref(pool),
            Self::Conflict(pools) => pools,
        }
    }
}

/// Decides: master wins over a custom pool, which wins over worker; two custom pools are an error.
pub fn membership(labels: &BTreeMap<String, String>, pools: &[PoolSelector]) -> Membership {
    let selected = || pools.iter().filter(|pool| pool.selects(labels)).map(|pool| pool.name.as_str());
    let base = [names::MASTER_POOL, names::WORKER_POOL];
    let custom: Vec<&str> = selected().filter(|name| !base.contains(name)).collect();
    let has = |name: &str| selected().any(|selected| selected == name);
    match custom.as_slice() {
        [_, _, ..] => Membership::Conflict(custom.iter().map(|&name| name.to_owned()).collect()),
        _ if has(names::MASTER_POOL) => Membership::Pool(names::MASTER_POOL.to_owned()),
        [one] => Membership::Pool((*one).to_owned()),
        [] if has(names::WORKER_POOL) => Membership::Pool(names::WORKER_POOL.to_owned()),
        [] => Membership::None,
    }
}

/// What a pool says about a node that other custom pools want as well.
pub fn conflict_message(node: &str, pools: usize) -> String {
    format!("node {node} belongs to {pools} custom roles, cannot proceed with this Node")
}

/// All nodes by pool, kept up to date node by node.
#[derive(Default)]
pub struct Fleet(Mutex<Members>);

#[derive(Default)]
struct Members {
    pools: Vec<PoolSelector>,
    nodes: BTreeMap<String, (Arc<NodeView>, Membership)>,
    of_pool: HashMap<String, BTreeSet<String>>,
}

impl Fleet {
    /// Takes in a node; returns the pools whose status may have changed.
    pub fn set_node(&self, view: NodeView) -> Vec<String> {
        let mut members = self.lock();
        if members.nodes.get(&view.name).is_some_and(|(known, _)| **known == view) {
            return Vec::new();
        }
        let mut touched = members.take(&view.name);
        let place = membership(&view.labels, &members.pools);
        touched.extend(place.pools().iter().cloned());
        members.put(Arc::new(view), place);
        touched.sort();
        touched.dedup();
        touched
    }

    /// Takes in that a node is gone.
    pub fn remove_node(&self, name: &str) -> Vec<String> {
        self.lock().take(name)
    }

    /// Takes in the pools; returns those whose members changed.
    pub fn set_pools(&self, pools: Vec<PoolSelector>) -> Vec<String> {
        let mut members = self.lock();
        if members.pools == pools {
            return Vec::new();
        }
        members.pools = pools;
        let mut touched = BTreeSet::new();
        let nodes: Vec<_> = members.nodes.values().cloned().collect();
        for (view, old) in nodes {
            let place = membership(&view.labels, &members.pools);
            if place != old {
                touched.extend(members.take(&view.name));
                touched.extend(place.pools().iter().cloned());
                members.put(view, place);
            }
        }
        touched.into_iter().collect()
    }

    /// The members of a pool, by name, and what it says about nodes that it has to leave alone.
    pub fn members(&self, pool: &str) -> (Vec<Arc<NodeView>>, Vec<String>) {
        let members = self.lock();
        let (mut nodes, mut conflicts) = (Vec::new(), Vec::new());
        for name in members.of_pool.get(pool).into_iter().flatten() {
            match members.nodes.get(name) {
                Some((_, Membership::Conflict(pools))) => conflicts.push(conflict_message(name, pools.len())),
                Some((view, _)) => nodes.push(view.clone()),
                None => {}
            }
        }
        (nodes, conflicts)
    }

    /// The pool of a node.
    pub fn pool_of(&self, node: &str) -> Option<String> {
        match &self.lock().nodes.get(node)?.1 {
            Membership::Pool(pool) => Some(pool.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn put(&mut self, view: Arc<NodeView>, place: Membership) {
        for pool in place.pools() {
            self.of_pool.entry(pool.clone()).or_default().insert(view.name.clone());
        }
        self.nodes.insert(view.name.clone(), (view, place));
    }

    fn take(&mut self, node: &str) -> Vec<String> {
        let Some((_, place)) = self.nodes.remove(node) else { return Vec::new() };
        for pool in place.pools() {
            if let Some(nodes) = self.of_pool.get_mut(pool) {
                nodes.remove(node);
            }
        }
        place.pools().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn role(role: &str) -> String {
        format!("{}{role}", names::NODE_ROLE_PREFIX)
    }

    fn pool(name: &str) -> PoolSelector {
        let match_labels = Some(BTreeMap::from([(role(name), String::new())]));
        PoolSelector::new(name, Some(&LabelSelector { match_labels, match_expressions: None }))
    }

    fn pools() -> Vec<PoolSelector> {
        ["master", "worker", "kata-oc", "infra"].map(pool).to_vec()
    }

    fn node(name: &str, roles: &[&str]) -> NodeView {
        let labels = roles.iter().map(|name| (role(name), String::new())).collect();
        NodeView { name: name.to_owned(), labels, ..NodeView::default() }
    }

    #[rstest]
    #[case(&[], Membership::None)]
    #[case(&["worker"], Membership::Pool("worker".into()))]
    #[case(&["master", "worker"], Membership::Pool("master".into()))]
    #[case(&["kata-oc", "worker"], Membership::Pool("kata-oc".into()))]
    #[case(&["kata-oc"], Membership::Pool("kata-oc".into()))]
    #[case(&["kata-oc", "master", "worker"], Membership::Pool("master".into()))]
    #[case(&["kata-oc", "infra", "worker"], Membership::Conflict(vec!["kata-oc".into(), "infra".into()]))]
    fn one_node_one_pool(#[case] roles: &[&str], #[case] expected: Membership) {
        assert_eq!(membership(&node("n", roles).labels, &pools()), expected);
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        let pools =
            [PoolSelector::new("all", Some(&LabelSelector::default())), PoolSelector::new("nil", None)];
        assert_eq!(membership(&node("n", &["worker"]).labels, &pools), Membership::None);
    }

    #[test]
    fn the_fleet_follows_nodes_and_pools() {
        let fleet = Fleet::default();
        fleet.set_pools(pools());
        assert_eq!(fleet.set_node(node("n", &["worker"])), ["worker"]);
        assert!(fleet.set_node(node("n", &["worker"])).is_empty());
        assert_eq!(fleet.set_node(node("n", &["worker", "kata-oc"])), ["kata-oc", "worker"]);
        assert_eq!(fleet.pool_of("n").as_deref(), Some("kata-oc"));
        assert_eq!(fleet.members("kata-oc").0.len(), 1);
        // The custom pool is deleted: the node falls back to worker.
        assert_eq!(fleet.set_pools(pools()[..2].to_vec()), ["kata-oc", "worker"]);
        assert_eq!(fleet.pool_of("n").as_deref(), Some("worker"));
        assert_eq!(fleet.remove_node("n"), ["worker"]);
        assert!(fleet.members("worker").0.is_empty());
    }

    #[test]
    fn both_custom_pools_tell_of_a_conflict() {
        let fleet = Fleet::default();
        fleet.set_pools(pools());
        fleet.set_node(node("n", &["worker", "kata-oc", "infra"]));
        for pool in ["kata-oc", "infra"] {
            let (nodes, conflicts) = fleet.members(pool);
            assert!(nodes.is_empty());
            assert_eq!(conflicts, ["node n belongs to 2 custom roles, cannot proceed with this Node"]);
        }
    }
}
