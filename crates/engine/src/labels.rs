//! Which labels of nodes the engine reads.
//!
//! Nodes of a large cluster change labels all the time, for reasons of their own. The cache shows the engine only those
//! that can matter, so that the others cost nothing: no pass over all nodes for each of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_api::names;

use crate::observed::{KataConfigView, PoolView};

/// Labels that are read whatever anybody selects by. Whoever reads another one adds it here: the engine never sees it
/// otherwise.
const ALWAYS: [&str; 5] = [
    names::NODE_ELIGIBLE_LABEL,
    crate::offer::ARCHITECTURE,
    "intel.feature.node.kubernetes.io/tdx",
    "amd.feature.node.kubernetes.io/snp",
    "ibm.feature.node.kubernetes.io/se",
];

/// Beginnings of such labels.
const ALWAYS_PREFIXES: [&str; 3] =
    [names::NODE_ROLE_PREFIX, "kataconfiguration.openshift.io/", "nvidia.com/"];

/// The labels that matter in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelevantLabels {
    selected_by: BTreeSet<String>,
}

impl RelevantLabels {
    /// Those by which KataConfigs and pools select nodes, besides those that always matter.
    pub fn of<'a>(
        kata_configs: impl Iterator<Item = &'a KataConfigView>,
        pools: impl Iterator<Item = &'a PoolView>,
    ) -> Self {
        let wanted =
            kata_configs.filter_map(|config| config.spec.as_ref().ok()?.kata_config_pool_selector.as_ref());
        let selectors = wanted.chain(pools.filter_map(|pool| pool.node_selector.as_ref()));
        Self { selected_by: selectors.flat_map(keys).cloned().collect() }
    }

    /// The labels among these that matter.
    #[must_use]
    pub fn among(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let relevant = labels.iter().filter(|(key, _)| self.contains(key));
        relevant.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn contains(&self, key: &str) -> bool {
        ALWAYS.contains(&key)
            || ALWAYS_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
            || self.selected_by.contains(key)
    }
}

fn keys(selector: &LabelSelector) -> impl Iterator<Item = &String> {
    let expressions = selector.match_expressions.iter().flatten();
    selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, _)| key)
        .chain(expressions.map(|expression| &expression.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_api::KataConfigSpec;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::role("node-role.kubernetes.io/infra", true)]
    #[case::eligible("feature.node.kubernetes.io/runtime.kata", true)]
    #[case::state_of_the_agent("kataconfiguration.openshift.io/kata-ds-rpm-install", true)]
    #[case::gpu("nvidia.com/cc.mode.state", true)]
    #[case::tee("intel.feature.node.kubernetes.io/tdx", true)]
    #[case::selected_by_a_kata_config("zone", true)]
    #[case::by_an_expression("tier", true)]
    #[case::selected_by_a_pool("rack", true)]
    #[case::nobody_reads_it("example.com/churn", false)]
    #[case::another_feature("feature.node.kubernetes.io/cpu-model.id", false)]
    fn only_what_is_read_matters(#[case] key: &str, #[case] expected: bool) {
        let selector = json!({
            "matchLabels": {"zone": "a"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
        });
        let spec: KataConfigSpec =
            serde_json::from_value(json!({"kataConfigPoolSelector": selector})).unwrap();
        let kata_config = KataConfigView { spec: Ok(spec), ..KataConfigView::default() };
        let selector = serde_json::from_value(json!({"matchLabels": {"rack": "1"}})).unwrap();
        let pool = PoolView { node_selector: Some(selector), ..PoolView::default() };
        let relevant = RelevantLabels::of([&kata_config].into_iter(), [&pool].into_iter());
        let labels: BTreeMap<_, _> = [(key.to_owned(), "x".to_owned())].into();
        assert_eq!(relevant.among(&labels).contains_key(key), expected);
    }
}
