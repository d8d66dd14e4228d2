//! What is known of a node: what the engine sees of it, and the labels that it may ask for later.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use osc_engine::NodeView;
use osc_engine::labels::RelevantLabels;

use super::{project, wire};

/// A node. Two are equal if the engine sees no difference: a label that nobody reads is no news.
#[derive(Clone, Debug)]
pub struct KnownNode {
    view: Arc<NodeView>,
    /// All of them: another selector may make any of them matter, and nothing is read again for that.
    labels: BTreeMap<String, String>,
}

impl PartialEq for KnownNode {
    fn eq(&self, other: &Self) -> bool {
        self.view == other.view
    }
}

impl KnownNode {
    /// Takes in a node. `before`: what was known of it.
    pub fn new(node: &wire::Node, before: Option<&Self>, relevant: &RelevantLabels, now: Timestamp) -> Self {
        let mut view = project::node(node, before.map(|before| before.view.as_ref()), now);
        let labels = std::mem::take(&mut view.labels);
        view.labels = relevant.among(&labels);
        if let Some(before) = before.filter(|before| before.view.labels == view.labels) {
            view.labels_changed_at = before.view.labels_changed_at;
        }
        Self { view: Arc::new(view), labels }
    }

    /// What the engine sees.
    pub fn view(&self) -> Arc<NodeView> {
        self.view.clone()
    }

    /// Other labels matter from now on.
    pub fn show(&mut self, relevant: &RelevantLabels) {
        let labels = relevant.among(&self.labels);
        if labels != self.view.labels {
            Arc::make_mut(&mut self.view).labels = labels;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_engine::KataConfigView;
    use serde_json::{Value, json};

    fn node(labels: &Value) -> wire::Node {
        serde_json::from_value(json!({"metadata": {"name": "w0", "labels": labels}})).unwrap()
    }

    fn selecting(key: &str) -> RelevantLabels {
        let spec =
            serde_json::from_value(json!({"kataConfigPoolSelector": {"matchLabels": {key: "a"}}})).unwrap();
        let kata_config = KataConfigView { spec: Ok(spec), ..KataConfigView::default() };
        RelevantLabels::of([&kata_config].into_iter(), std::iter::empty())
    }

    #[test]
    fn a_label_is_news_only_if_somebody_selects_by_it() {
        let relevant = selecting("zone");
        let known = KnownNode::new(&node(&json!({"zone": "a"})), None, &relevant, Timestamp::UNIX_EPOCH);
        let now = |labels| KnownNode::new(&node(&labels), Some(&known), &relevant, Timestamp::UNIX_EPOCH);
        assert!(now(json!({"zone": "a", "churn": "1"})) == known);
        assert!(now(json!({"zone": "b"})) != known);
        let later = Timestamp::from_second(9).unwrap();
        let at =
            |labels| KnownNode::new(&node(&labels), Some(&known), &relevant, later).view().labels_changed_at;
        assert_eq!(at(json!({"zone": "a", "churn": "1"})), Timestamp::UNIX_EPOCH);
        assert_eq!(at(json!({"zone": "b"})), later);
    }

    #[test]
    fn another_selector_finds_labels_that_came_before_it() {
        let mut known =
            KnownNode::new(&node(&json!({"rack": "7"})), None, &selecting("zone"), Timestamp::UNIX_EPOCH);
        assert_eq!(known.view().labels.len(), 0);
        known.show(&selecting("rack"));
        assert_eq!(known.view().labels["rack"], "7");
    }
}
