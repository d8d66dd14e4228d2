//! How far each node is.

use osc_api::{KataNodesStatus, names};

use crate::delivery;
use crate::layout::Layout;
use crate::observed::{NodeView, Observed};

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It has Kata and runs what its pool wants.
    Installed,
    /// It is being changed and will have Kata.
    Installing,
    /// It is to have Kata, or a newer configuration with it, and its turn is yet to come.
    WaitingToInstall,
    /// It is degraded and was to have Kata.
    FailedToInstall,
    /// It is being changed and will no longer have Kata.
    Uninstalling,
    /// It has Kata, is no longer to have it, and its turn is yet to come.
    WaitingToUninstall,
    /// It is degraded and was to lose Kata.
    FailedToUninstall,
    /// It neither has Kata nor is to have it.
    Unconcerned,
}

impl NodeState {
    /// Whether the node is being changed right now.
    pub fn is_changing(self) -> bool {
        matches!(self, Self::Installing | Self::Uninstalling)
    }

    /// Whether the node's turn is yet to come.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::WaitingToInstall | Self::WaitingToUninstall)
    }

    /// Whether the node has Kata and keeps it, or is to have it.
    pub fn is_of_member(self) -> bool {
        matches!(self, Self::Installed | Self::Installing | Self::WaitingToInstall | Self::FailedToInstall)
    }

    /// Whether the node cannot go on.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::FailedToInstall | Self::FailedToUninstall)
    }
}

/// What the state of a node is told from.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// MCO annotation `state`.
    pub mco_state: &'a str,
    /// Rendered machine config that the node runs.
    pub current: &'a str,
    /// Rendered machine config that was chosen for the node.
    pub desired: Option<&'a str>,
    /// Rendered machine config that its pool wants; unknown until the pool is rendered.
    pub target: Option<&'a str>,
    /// Whether that target has Kata in it.
    pub target_has_kata: bool,
    /// Whether the node is to have Kata.
    pub wanted: bool,
    /// Whether the node runs, or is on its way to, a configuration that has Kata in it.
    pub has_kata: bool,
}

impl NodeFacts<'_> {
    /// The state, after the table of the Machine Config Operator's states.
    ///
    /// States between `Working` and `Done` (for instance `Rebooting`) count as `Working`.
    pub fn state(&self) -> NodeState {
        // One that was away for a moment may still be on its way out, and has to go all of it before it comes back.
        let stays = self.desired.is_none_or(|desired| desired == self.current);
        let settled = self.target_has_kata && self.target == Some(self.current) && stays;
        match (self.mco_state, self.wanted) {
            ("Done", true) if settled => NodeState::Installed,
            ("Done", true) => NodeState::WaitingToInstall,
            ("Degraded" | "Unreconcilable", true) => NodeState::FailedToInstall,
            (_, true) => NodeState::Installing,
            // A node that never had Kata may roll out something else: that is none of our business.
            (_, false) if !self.has_kata => NodeState::Unconcerned,
            ("Done", false) => NodeState::WaitingToUninstall,
            ("Degraded" | "Unreconcilable", false) => NodeState::FailedToUninstall,
            (_, false) => NodeState::Uninstalling,
        }
    }
}

/// All nodes that are or were to have Kata.
#[derive(Clone, Debug, Default)]
pub struct Survey<'a> {
    /// The nodes with their states, in the order of their names; without the unconcerned.
    pub nodes: Vec<(&'a NodeView, NodeState)>,
    /// Nodes that are to have Kata but lack the annotations of the Machine Config Operator.
    pub unmanaged: Vec<&'a NodeView>,
    /// Nodes that carry the pool's label.
    pub labelled: usize,
}

impl<'a> Survey<'a> {
    /// Surveys the nodes. `leaving`: Kata is to go from all of them.
    pub fn of(observed: &'a Observed, layout: Layout, leaving: bool) -> Self {
        let mut survey = Self::default();
        // Of nodes that are not to have Kata, what their pool wants does not matter.
        let target = observed.pool(layout.pool()).and_then(|pool| pool.target.as_deref());
        let kata_in = KataIn::new(observed, layout, leaving);
        let target_has_kata = target.is_some_and(|target| kata_in.rendered(target));
        for node in &observed.nodes {
            let member = is_member(node, layout);
            survey.labelled += usize::from(member);
            let wanted = member && !leaving;
            let (Some(mco_state), Some(current)) = (&node.mco_state, &node.current_config) else {
                if wanted {
                    survey.unmanaged.push(node);
                }
                continue;
            };
            let facts = NodeFacts {
                mco_state,
                current,
                desired: node.desired_config.as_deref(),
                target,
                target_has_kata,
                wanted,
                has_kata: kata_in.rendered(current)
                    || node.desired_config.as_deref().is_some_and(|desired| kata_in.rendered(desired)),
            };
            let state = facts.state();
            if state != NodeState::Unconcerned {
                survey.nodes.push((node, state));
            }
        }
        survey
    }

    /// The nodes in that state.
    pub fn in_state(&self, state: NodeState) -> impl Iterator<Item = &'a NodeView> {
        self.nodes.iter().filter(move |(_, found)| *found == state).map(|(node, _)| *node)
    }

    /// The nodes whose state is such.
    pub fn nodes_where(&self, such: fn(NodeState) -> bool) -> impl Iterator<Item = &'a NodeView> {
        self.nodes.iter().filter(move |(_, state)| such(*state)).map(|(node, _)| *node)
    }

    /// The names of the nodes whose state is such.
    pub fn names_where(&self, such: fn(NodeState) -> bool) -> impl Iterator<Item = &'a str> {
        self.nodes_where(such).map(|node| node.name.as_str())
    }

    /// Whether every concerned node is as it is to be.
    pub fn settled(&self) -> bool {
        self.unmanaged.is_empty() && self.nodes.iter().all(|(_, state)| *state == NodeState::Installed)
    }

    /// Whether a node is being changed right now.
    pub fn working(&self) -> bool {
        self.nodes_where(NodeState::is_changing).next().is_some()
    }

    /// The node lists of the status. `leaving`: nothing counts, as the documentation shows it.
    pub fn status(&self, leaving: bool) -> KataNodesStatus {
        let names = |state| -> Vec<String> { self.in_state(state).map(|node| node.name.clone()).collect() };
        let installed = names(NodeState::Installed);
        KataNodesStatus {
            node_count: if leaving { 0 } else { i64::try_from(self.labelled).unwrap_or(i64::MAX) },
            ready_node_count: i64::try_from(installed.len()).unwrap_or(i64::MAX),
            installed,
            installing: names(NodeState::Installing),
            waiting_to_install: names(NodeState::WaitingToInstall),
            failed_to_install: names(NodeState::FailedToInstall),
            uninstalling: names(NodeState::Uninstalling),
            waiting_to_uninstall: names(NodeState::WaitingToUninstall),
            failed_to_uninstall: names(NodeState::FailedToUninstall),
        }
    }
}

/// Whether the node is in the pool that carries Kata. The Machine Config Operator keeps control-plane nodes in
/// `master` whatever other roles they have.
fn is_member(node: &NodeView, layout: Layout) -> bool {
    match layout {
        Layout::Regular => node.has_kata_role() && !node.is_master(),
        Layout::Converged => node.is_master(),
    }
}

/// Tells whether rendered machine configs have Kata in them.
#[derive(Clone, Copy, Debug)]
struct KataIn<'a> {
    observed: &'a Observed,
    layout: Layout,
    image: Image<'a>,
}

/// What the image of a rendered machine config tells on a converged cluster.
#[derive(Clone, Copy, Debug)]
enum Image<'a> {
    /// Nothing: Kata comes by an extension.
    Nothing,
    /// Whether Kata is in it.
    With(&'a str),
    /// Kata is going, and this image has none: any other is one that is to go. An upgrade of the operating system at the
    /// same time counts as well, so that removal waits for it.
    Without(&'a str),
}

impl<'a> KataIn<'a> {
    fn new(observed: &'a Observed, layout: Layout, leaving: bool) -> Self {
        let image_of = |rendered: &str| Some(observed.rendered.get(rendered)?.os_image.as_str());
        let pool = observed.pool(layout.pool());
        let target =
            pool.and_then(|pool| image_of(pool.target.as_deref()?)).filter(|image| !image.is_empty());
        let renders = pool.is_some_and(|pool| pool.sources.contains(names::IMAGE_MACHINE_CONFIG));
        let image = match (delivery::layered_image(observed), target) {
            (Some(image), _) if !image.is_empty() => Image::With(image),
            (_, Some(image)) if leaving && renders => Image::With(image),
            (_, Some(image)) if leaving => Image::Without(image),
            _ => Image::Nothing,
        };
        Self { observed, layout, image }
    }

    /// On regular clusters only the pool `kata-oc` has Kata, and rendered machine configs are named after their pool. On
    /// converged ones the rendered machine config itself tells.
    fn rendered(&self, name: &str) -> bool {
        match self.layout {
            Layout::Regular => is_of_kata_pool(name),
            Layout::Converged => self.observed.rendered.get(name).is_some_and(|rendered| {
                rendered.extensions.contains(names::EXTENSION_PRODUCT)
                    || rendered.extensions.contains(names::EXTENSION_OKD)
                    || match self.image {
                        Image::Nothing => false,
                        Image::With(image) => rendered.os_image == image,
                        Image::Without(image) => !rendered.os_image.is_empty() && rendered.os_image != image,
                    }
            }),
        }
    }
}

/// Whether a rendered machine config is one of the pool `kata-oc`.
pub fn is_of_kata_pool(rendered: &str) -> bool {
    let rest = rendered.strip_prefix("rendered-").and_then(|rest| rest.rsplit_once('-'));
    rest.is_some_and(|(pool, _)| pool == names::KATA_POOL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, ObjectId};
    use crate::observed::{PoolView, Rendered};
    use NodeState::*;
    use rstest::rstest;
    use std::sync::Arc;

    fn has_kata(observed: &Observed, layout: Layout, rendered: &str) -> bool {
        KataIn::new(observed, layout, false).rendered(rendered)
    }

    const KATA: &str = "rendered-kata-oc-1";
    const WORKER: &str = "rendered-worker-1";

    #[rstest]
    #[case::row_1("Done", KATA, KATA, true, Installed)]
    #[case::row_2("Done", WORKER, WORKER, false, Unconcerned)]
    #[case::row_3("Working", WORKER, KATA, true, Installing)]
    #[case::row_4("Working", KATA, WORKER, false, Uninstalling)]
    #[case::row_5("Done", WORKER, KATA, true, WaitingToInstall)]
    #[case::row_6("Done", KATA, WORKER, false, WaitingToUninstall)]
    #[case::row_7("Degraded", WORKER, KATA, true, FailedToInstall)]
    #[case::row_8("Degraded", KATA, WORKER, false, FailedToUninstall)]
    #[case::between_working_and_done("Rebooting", WORKER, KATA, true, Installing)]
    #[case::unreconcilable("Unreconcilable", WORKER, KATA, true, FailedToInstall)]
    #[case::worker_pool_rolls_out_something_else("Working", "rendered-worker-0", WORKER, false, Unconcerned)]
    #[case::worker_waits_for_something_else("Done", "rendered-worker-0", WORKER, false, Unconcerned)]
    fn the_state_follows_the_table(
        #[case] mco_state: &str,
        #[case] current: &str,
        #[case] target: &str,
        #[case] wanted: bool,
        #[case] expected: NodeState,
    ) {
        let observed = Observed::default();
        let facts = NodeFacts {
            mco_state,
            current,
            desired: None,
            target: Some(target),
            target_has_kata: has_kata(&observed, Layout::Regular, target),
            wanted,
            has_kata: has_kata(&observed, Layout::Regular, current),
        };
        assert_eq!(facts.state(), expected);
    }

    #[test]
    fn a_node_waits_while_its_pool_is_not_rendered() {
        let facts = NodeFacts {
            mco_state: "Done",
            current: WORKER,
            desired: None,
            target: None,
            target_has_kata: false,
            wanted: true,
            has_kata: false,
        };
        assert_eq!(facts.state(), WaitingToInstall);
    }

    #[rstest]
    #[case("rendered-kata-oc-0123abcd", true)]
    #[case("rendered-kata-oc-gpu-0123abcd", false)]
    #[case("rendered-worker-0123abcd", false)]
    #[case("kata-oc", false)]
    #[case("", false)]
    fn the_pool_is_read_from_the_rendered_name(#[case] rendered: &str, #[case] expected: bool) {
        assert_eq!(has_kata(&Observed::default(), Layout::Regular, rendered), expected);
    }

    #[test]
    fn a_converged_node_has_kata_if_its_rendered_config_has_the_extension() {
        let rendered = Rendered { extensions: ["kata-containers".to_owned()].into(), ..Rendered::default() };
        let observed =
            Observed { rendered: [("rendered-master-2".to_owned(), rendered)].into(), ..Observed::default() };
        assert!(has_kata(&observed, Layout::Converged, "rendered-master-2"));
        assert!(!has_kata(&observed, Layout::Converged, "rendered-master-1"));
    }

    /// A converged cluster on which somebody installed an image with Kata in it.
    fn with_images(sources: &[&str]) -> Observed {
        let rendered = |image: &str| Rendered { os_image: image.to_owned(), ..Rendered::default() };
        let pool = PoolView {
            name: names::MASTER_POOL.to_owned(),
            target: Some("rendered-master-2".to_owned()),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            ..PoolView::default()
        };
        let images = [("rendered-master-1", "first"), ("rendered-master-2", "second")];
        Observed {
            rendered: images.map(|(name, image)| (name.to_owned(), rendered(image))).into(),
            pools: vec![Arc::new(pool)],
            ..Observed::default()
        }
    }

    #[rstest]
    #[case::installed(true, &["00-master", "50-enable-sandboxed-containers-image"], false, (false, true))]
    #[case::going(true, &["00-master", "50-enable-sandboxed-containers-image"], true, (false, true))]
    #[case::gone_and_not_rendered(false, &["00-master", "50-enable-sandboxed-containers-image"], true, (false, true))]
    #[case::rendered_without(false, &["00-master"], true, (true, false))]
    #[case::never_there(false, &["00-master"], false, (false, false))]
    fn an_image_tells_on_converged_clusters(
        #[case] machine_config: bool,
        #[case] sources: &[&str],
        #[case] leaving: bool,
        #[case] expected: (bool, bool),
    ) {
        let mut observed = with_images(sources);
        if machine_config {
            let kata_config = crate::KataConfigView { name: "k".to_owned(), ..Default::default() };
            observed.kata_configs.push(Arc::new(kata_config));
            let id = ObjectId::cluster(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG);
            let config =
                serde_json::json!({"metadata": {"labels": {"app": "k"}}, "spec": {"osImageURL": "second"}});
            observed.objects.insert(id, Arc::new(config));
        }
        let kata_in = KataIn::new(&observed, Layout::Converged, leaving);
        let found = (kata_in.rendered("rendered-master-1"), kata_in.rendered("rendered-master-2"));
        assert_eq!(found, expected);
    }
}
