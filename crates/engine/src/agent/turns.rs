//! Whose turn it is.

use osc_api::names;

use super::state::AgentState;
use crate::observed::{NodeView, Observed, PodView, Pods};
use crate::plan::Step;
use crate::runtime_class::{self, is_kata};

/// Writes the state of a node.
pub fn set(node: &NodeView, state: Option<AgentState>) -> Step {
    let value = state.map(AgentState::text);
    Step::LabelNode { node: node.name.clone(), key: names::DAEMON_SET_MODE_LABEL, value }
}

/// Whether a node waits for Kata to be removed while it is not among those that are to have it.
pub(crate) fn is_leaving(node: &NodeView) -> bool {
    !node.has_kata_role() && AgentState::of(node) == Some(AgentState::WaitingToUninstall)
}

/// What keeps Kata on a node that is to lose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held<'a> {
    /// Nothing.
    No,
    /// It is not known yet.
    Unknown,
    /// These pods.
    By(Vec<&'a PodView>),
}

/// Nobody moves pods away from the node: their virtual machines would lose what they run on.
pub fn held<'a>(observed: &'a Observed, node: &NodeView) -> Held<'a> {
    let Pods::Known(pods) = &observed.pods else {
        // Without a runtime class of ours there is nothing that a pod could use.
        return if runtime_class::ours(observed).next().is_none() { Held::No } else { Held::Unknown };
    };
    let there: Vec<&PodView> =
        pods.iter().filter(|pod| pod.node == node.name && is_kata(observed, &pod.runtime_class)).collect();
    if there.is_empty() { Held::No } else { Held::By(there) }
}

/// Gives turns: to nodes that lose Kata first, and to ready ones only. Nodes that failed keep theirs, so that a
/// rollout that breaks nodes stops. `wanted`: whether a node is to have Kata.
pub fn give(observed: &Observed, max: usize, wanted: impl Fn(&NodeView) -> bool) -> Vec<Step> {
    let nodes = || observed.nodes.iter().map(AsRef::as_ref);
    let busy = nodes().filter(|node| AgentState::of(node).is_some_and(AgentState::has_turn)).count();
    let leaves = |node: &&NodeView| is_leaving(node) && !wanted(node) && held(observed, node) == Held::No;
    let enters = |node: &&NodeView| {
        node.has_kata_role() && AgentState::of(node) == Some(AgentState::WaitingToInstall) && wanted(node)
    };
    let leaving = nodes().filter(leaves).map(|node| (node, AgentState::Uninstalling));
    let entering = nodes().filter(enters).map(|node| (node, AgentState::Installing));
    let ready = leaving.chain(entering).filter(|(node, _)| node.ready);
    ready.take(max.saturating_sub(busy)).map(|(node, state)| set(node, Some(state))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, ObjectId};
    use rstest::rstest;
    use serde_json::json;
    use std::sync::Arc;

    /// Nodes by "name:state", with `!` for one that is not ready and `-` for one without the role.
    fn observed(nodes: &[&str]) -> Observed {
        let view = |text: &&str| {
            let (name, state) = text.split_once(':').unwrap();
            let mut labels = vec![(names::DAEMON_SET_MODE_LABEL.to_owned(), state.to_owned())];
            if !name.contains('-') {
                labels.push((names::KATA_NODE_ROLE.to_owned(), String::new()));
            }
            Arc::new(NodeView {
                name: name.trim_matches(['!', '-']).to_owned(),
                ready: !name.contains('!'),
                labels: labels.into_iter().collect(),
                ..NodeView::default()
            })
        };
        let nodes = nodes.iter().map(view).collect();
        Observed { nodes, pods: Pods::Known(Vec::new()), ..Observed::default() }
    }

    fn given(observed: &Observed, max: usize) -> Vec<(String, &'static str)> {
        let turn = |step| match step {
            Step::LabelNode { node, value, .. } => (node, value.unwrap()),
            other => panic!("{other:?}"),
        };
        give(observed, max, |node| node.has_kata_role() && node.name != "gone")
            .into_iter()
            .map(turn)
            .collect()
    }

    #[rstest]
    #[case::first(&["a:waiting_to_install", "b:waiting_to_install"], 1, &[("a", "installing")])]
    #[case::two_at_a_time(&["a:waiting_to_install", "b:waiting_to_install", "c:waiting_to_install"], 2,
        &[("a", "installing"), ("b", "installing")])]
    #[case::somebody_works(&["a:installing", "b:waiting_to_install"], 1, &[])]
    #[case::room_beside_one_that_works(&["a:installing", "b:waiting_to_install"], 2, &[("b", "installing")])]
    #[case::a_failure_stops_the_rollout(&["a:install_failed", "b:waiting_to_install"], 1, &[])]
    #[case::a_failed_removal_does_too(&["a-:uninstall_failed", "b:waiting_to_install"], 1, &[])]
    #[case::a_reboot_to_come_does_not(&["a:waiting_for_reboot", "b:waiting_to_install"], 1, &[("b", "installing")])]
    #[case::not_ready(&["a!:waiting_to_install", "b:waiting_to_install"], 1, &[("b", "installing")])]
    #[case::removal_first(&["a:waiting_to_install", "b-:waiting_to_uninstall"], 1, &[("b", "uninstalling")])]
    #[case::without_the_role(&["a-:waiting_to_install"], 1, &[])]
    #[case::about_to_lose_the_role(&["gone:waiting_to_install"], 1, &[])]
    #[case::with_the_role(&["a:waiting_to_uninstall"], 1, &[])]
    #[case::all_done(&["a:installed", "b-:uninstalled"], 1, &[])]
    #[case::more_busy_than_allowed(&["a:installing", "b:installing", "c:waiting_to_install"], 1, &[])]
    fn turns_are_given(
        #[case] nodes: &[&str],
        #[case] max: usize,
        #[case] expected: &[(&str, &'static str)],
    ) {
        let found = given(&observed(nodes), max);
        let found: Vec<(&str, &'static str)> =
            found.iter().map(|(node, state)| (node.as_str(), *state)).collect();
        assert_eq!(found, expected);
    }

    fn pod(node: &str, class: &str) -> PodView {
        let (namespace, name) = ("shop".to_owned(), "cart".to_owned());
        PodView { namespace, name, runtime_class: class.to_owned(), node: node.to_owned() }
    }

    #[rstest]
    #[case::no_pods(Pods::Known(Vec::new()), 1)]
    #[case::elsewhere(Pods::Known(vec![pod("b", "kata")]), 1)]
    #[case::of_another_runtime(Pods::Known(vec![pod("a", "gvisor")]), 1)]
    #[case::there(Pods::Known(vec![pod("a", "kata")]), 0)]
    #[case::not_known(Pods::Unknown, 0)]
    fn pods_hold_what_they_run_on(#[case] pods: Pods, #[case] expected: usize) {
        let mut observed = Observed { pods, ..observed(&["a-:waiting_to_uninstall"]) };
        let class = ObjectId::cluster(Kind::RuntimeClass, "kata");
        let ours = json!({"metadata": {"finalizers": [names::RUNTIME_CLASS_FINALIZER]}});
        observed.objects.insert(class, Arc::new(ours));
        assert_eq!(give(&observed, 1, |_| false).len(), expected);
    }
}
