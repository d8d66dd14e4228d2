//! Which nodes are to have Kata in DaemonSet mode.

use crate::observed::{NodeView, Observed};
use crate::selector::Selector;
use crate::spec::ValidSpec;

/// Nodes that come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Nodes to be given the role.
    pub enter: Vec<&'a NodeView>,
    /// Nodes to lose the role.
    pub leave: Vec<&'a NodeView>,
    /// How many nodes are selected.
    pub selected: usize,
}

impl<'a> Selection<'a> {
    /// Compares the selection with the roles that the nodes have.
    pub fn of(observed: &'a Observed, spec: &ValidSpec) -> Self {
        let choice = Choice::of(observed, spec);
        let mut selection = Self::default();
        for node in &observed.nodes {
            let selected = choice.offers(node) && spec.selector.matches(&node.labels);
            match (selected, node.has_kata_role()) {
                (true, true) => selection.selected += 1,
                // Eligibility is asked of nodes that enter: labels go with Node Feature Discovery.
                (true, false) if !spec.check_node_eligibility || node.is_eligible() => {
                    selection.selected += 1;
                    selection.enter.push(node);
                }
                (false, true) => selection.leave.push(node),
                (_, false) => {}
            }
        }
        selection
    }

    /// Whether any role is to change.
    pub fn changes(&self) -> bool {
        !(self.enter.is_empty() && self.leave.is_empty())
    }
}

/// What there is to choose from.
struct Choice {
    openshift: bool,
    control_plane: bool,
}

impl Choice {
    /// The control plane is left alone, unless there is nothing else or the person asks for it by a label.
    fn of(observed: &Observed, spec: &ValidSpec) -> Self {
        let openshift = observed.capabilities.openshift;
        let workers = Self { openshift, control_plane: false };
        let only_control_plane = !observed.nodes.iter().any(|node| workers.offers(node));
        let named = spec.selector != Selector::default();
        Self { openshift, control_plane: only_control_plane || named }
    }

    /// On OpenShift workers have a role; elsewhere all nodes are workers that are not the control plane.
    fn offers(&self, node: &NodeView) -> bool {
        (node.is_worker() || !self.openshift) && (self.control_plane || !node.is_master())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use osc_api::names;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    type Nodes = &'static [(&'static str, &'static [&'static str])];

    const KUBERNETES: Nodes = &[("cp", &["control-plane"]), ("w0", &[]), ("w1", &["pick"])];
    const K3S: Nodes = &[("server", &["control-plane", "master"])];
    const OPENSHIFT: Nodes = &[("m", &["master"]), ("w0", &["worker"]), ("w1", &["worker", "pick"])];
    const COMPACT: Nodes = &[("m0", &["master", "worker"]), ("m1", &["master", "worker"])];
    const GROWN: Nodes = &[("m0", &["master", "worker", "pick"]), ("w0", &["worker"])];

    fn observed(nodes: Nodes, openshift: bool) -> Observed {
        let view = |(name, roles): &(&str, &[&str])| {
            let labels =
                roles.iter().map(|role| (format!("{}{role}", names::NODE_ROLE_PREFIX), String::new()));
            Arc::new(NodeView { name: (*name).to_owned(), labels: labels.collect(), ..NodeView::default() })
        };
        Observed {
            capabilities: Capabilities { openshift, ..Capabilities::default() },
            nodes: nodes.iter().map(view).collect(),
            ..Observed::default()
        }
    }

    fn spec(selector: Value, eligible: bool) -> ValidSpec {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        ValidSpec {
            selector: Selector::parse(&selector, "").unwrap(),
            selects_explicitly: true,
            check_node_eligibility: eligible,
            log_level: "info".to_owned(),
            peer_pods: false,
        }
    }

    fn pick() -> Value {
        json!({"matchLabels": {"node-role.kubernetes.io/pick": ""}})
    }

    #[rstest]
    #[case::all_workers_of_kubernetes(KUBERNETES, false, json!({}), &["w0", "w1"])]
    #[case::one_of_kubernetes(KUBERNETES, false, pick(), &["w1"])]
    #[case::nothing_but_a_server(K3S, false, json!({}), &["server"])]
    #[case::all_workers_of_openshift(OPENSHIFT, true, json!({}), &["w0", "w1"])]
    #[case::one_of_openshift(OPENSHIFT, true, pick(), &["w1"])]
    #[case::compact(COMPACT, true, json!({}), &["m0", "m1"])]
    #[case::grown(GROWN, true, json!({}), &["w0"])]
    #[case::control_plane_by_its_label(GROWN, true, pick(), &["m0"])]
    fn nodes_are_chosen(
        #[case] nodes: Nodes,
        #[case] openshift: bool,
        #[case] selector: Value,
        #[case] expected: &[&str],
    ) {
        let observed = observed(nodes, openshift);
        let selection = Selection::of(&observed, &spec(selector, false));
        let names: Vec<&str> = selection.enter.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((names.as_slice(), selection.selected), (expected, expected.len()));
    }

    #[test]
    fn eligibility_is_asked_of_nodes_that_enter() {
        let mut observed = observed(KUBERNETES, false);
        let labels = |node: &mut Arc<NodeView>, key: &str, value: &str| {
            Arc::make_mut(node).labels.insert(key.to_owned(), value.to_owned());
        };
        labels(&mut observed.nodes[1], names::KATA_NODE_ROLE, "");
        let selection = Selection::of(&observed, &spec(json!({}), true));
        assert!(!selection.changes() && selection.selected == 1, "{selection:?}");
        labels(&mut observed.nodes[2], names::NODE_ELIGIBLE_LABEL, "true");
        assert_eq!(Selection::of(&observed, &spec(json!({}), true)).enter.len(), 1);
    }
}
