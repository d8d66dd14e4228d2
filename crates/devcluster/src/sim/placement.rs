//! Whether a pod may go to a node: node selector, required node affinity, taints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use super::node::{is_cordoned, is_ready, taints};

/// What a selector says about labels. An absent selector matches nothing; one that cannot be parsed neither.
pub fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .and_then(|selector| Selector::try_from(selector.clone()).ok())
        .is_some_and(|selector| selector.matches(labels))
}

/// Whether the pod's node selector and required node affinity match the node.
pub fn matches_node(spec: &PodSpec, node: &Node) -> bool {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let selector = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    selector
        && required
            .is_none_or(|any| any.node_selector_terms.iter().any(|term| term_matches(term, labels, name)))
}

fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term without any requirement matches nothing.
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|wanted| requirement_holds(wanted, labels.get(&wanted.key).map(String::as_str)))
        && fields.iter().all(|wanted| wanted.key == "metadata.name" && requirement_holds(wanted, Some(name)))
}

fn requirement_holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(bound).is_some_and(|(value, bound)| value > bound),
        "Lt" => number(value).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// The first taint with one of the effects that no toleration covers.
pub fn untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        // An empty key is allowed only together with `Exists`.
        "Equal" | "" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// Why the scheduler does not take this node, in its own words; `None` if it may.
pub fn objection(spec: &PodSpec, node: &Node) -> Option<String> {
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let effects = ["NoSchedule", "NoExecute"];
    if let Some(taint) = untolerated(taints(node), tolerations, &effects) {
        if taint.key == super::node::UNSCHEDULABLE_TAINT && is_cordoned(node) {
            return Some("node(s) were unschedulable".to_owned());
        }
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    }
    let cordon = Taint {
        key: super::node::UNSCHEDULABLE_TAINT.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if is_cordoned(node) && untolerated(std::slice::from_ref(&cordon), tolerations, &effects).is_some() {
        return Some("node(s) were unschedulable".to_owned());
    }
    if !is_ready(node) {
        return Some("node(s) had untolerated taint {node.kubernetes.io/not-ready: }".to_owned());
    }
    (!matches_node(spec, node)).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

/// Why one node will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reasons in the scheduler's words.
    pub reasons: Vec<String>,
    /// Whether the node might do if other pods left it.
    pub room_could_be_made: bool,
}

impl Refusal {
    /// Nothing can be done about this reason by moving pods.
    pub fn plain(reason: String) -> Self {
        Self { reasons: vec![reason], room_could_be_made: false }
    }
}

/// The scheduler's message when no node will do.
pub fn unschedulable_message(refusals: &[Refusal]) -> String {
    let total = refusals.len();
    if total == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons = counted(refusals.iter().flat_map(|refusal| &refusal.reasons).map(String::as_str));
    let preemption = counted(refusals.iter().map(|refusal| {
        if refusal.room_could_be_made {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    }));
    format!(
        "0/{total} nodes are available: {reasons}. preemption: 0/{total} nodes are available: {preemption}."
    )
}

/// `2 this, 3 that`, sorted as text.
fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut counted: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    counted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn node(labels: &Value, spec: &Value, ready: &str) -> Node {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let value = json!({
            "metadata": {"name": "n", "labels": labels}, "spec": spec, "status": {"conditions": conditions},
        });
        serde_json::from_value(value).unwrap()
    }

    fn spec(mut value: Value) -> PodSpec {
        value["containers"] = json!([]);
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case::no_wish(json!({}), true)]
    #[case::selector(json!({"nodeSelector": {"zone": "a"}}), true)]
    #[case::other_value(json!({"nodeSelector": {"zone": "b"}}), false)]
    #[case::affinity(affinity(&json!({"key": "zone", "operator": "In", "values": ["a", "b"]})), true)]
    #[case::not_in(affinity(&json!({"key": "zone", "operator": "NotIn", "values": ["a"]})), false)]
    #[case::exists(affinity(&json!({"key": "gpu", "operator": "Exists"})), false)]
    #[case::absent(affinity(&json!({"key": "gpu", "operator": "DoesNotExist"})), true)]
    #[case::greater(affinity(&json!({"key": "cores", "operator": "Gt", "values": ["7"]})), true)]
    fn selectors_and_affinity(#[case] wish: Value, #[case] fits: bool) {
        let node = node(&json!({"zone": "a", "cores": "8"}), &json!({}), "True");
        assert_eq!(matches_node(&spec(wish), &node), fits);
    }

    fn affinity(expression: &Value) -> Value {
        let terms = json!([{"matchExpressions": [expression]}]);
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[rstest]
    #[case::none(json!([]), false)]
    #[case::all(json!([{"operator": "Exists"}]), true)]
    #[case::key(json!([{"key": "k", "operator": "Exists"}]), true)]
    #[case::equal(json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]), true)]
    #[case::other_value(json!([{"key": "k", "value": "w"}]), false)]
    #[case::other_effect(json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]), false)]
    fn toleration_rules(#[case] tolerations: Value, #[case] fits: bool) {
        let taints: Vec<Taint> =
            serde_json::from_value(json!([{"key": "k", "value": "v", "effect": "NoSchedule"}])).unwrap();
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        assert_eq!(untolerated(&taints, &tolerations, &["NoSchedule"]).is_none(), fits);
    }

    #[test]
    fn the_scheduler_says_why() {
        let nodes = [
            node(&json!({}), &json!({}), "True"),
            node(&json!({"zone": "a"}), &json!({"unschedulable": true}), "True"),
            node(&json!({"zone": "a"}), &json!({}), "False"),
            node(&json!({}), &json!({"taints": [{"key": "master", "effect": "NoSchedule"}]}), "True"),
        ];
        let spec = spec(json!({"nodeSelector": {"zone": "a"}}));
        let refusals: Vec<Refusal> =
            nodes.iter().filter_map(|node| objection(&spec, node)).map(Refusal::plain).collect();
        assert_eq!(
            unschedulable_message(&refusals),
            "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
             1 node(s) had untolerated taint {master: }, \
             1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 node(s) were unschedulable. \
             preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
        );
        assert_eq!(objection(&spec, &node(&json!({"zone": "a"}), &json!({}), "True")), None);
    }

    #[test]
    fn a_full_node_might_do_if_others_left_it() {
        let full = Refusal { reasons: vec!["Insufficient a.b/c".to_owned()], room_could_be_made: true };
        let none = Refusal::plain("Insufficient a.b/c".to_owned());
        let tainted = Refusal::plain("node(s) had untolerated taint {x: }".to_owned());
        assert_eq!(
            unschedulable_message(&[full.clone(), none, tainted, full]),
            "0/4 nodes are available: 1 node(s) had untolerated taint {x: }, 3 Insufficient a.b/c. \
             preemption: 0/4 nodes are available: 2 No preemption victims found for incoming pod, \
             2 Preemption is not helpful for scheduling."
        );
        assert_eq!(unschedulable_message(&[]), "no nodes available to schedule pods");
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(!selects(None, &labels));
        assert!(selects(Some(&LabelSelector::default()), &labels));
    }
}
