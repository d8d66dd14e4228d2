//! From the wire's KataConfig to one that can be relied on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use osc_api::{KataConfigSpec, names};

use crate::observed::KataConfigView;
use crate::selector::Selector;

/// A specification that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSpec {
    /// Which worker nodes are to have Kata, eligibility apart.
    pub selector: Selector,
    /// Whether the person named nodes at all.
    pub selects_explicitly: bool,
    /// Whether only nodes with the eligibility label are to have Kata.
    pub check_node_eligibility: bool,
    /// Log level of CRI-O.
    pub log_level: String,
    /// Whether peer pods are asked for.
    pub peer_pods: bool,
}

/// Checks a KataConfig's specification; each complaint names the field, what was found and what to write.
pub fn validate(kata_config: &KataConfigView) -> Result<ValidSpec, Vec<String>> {
    let spec = kata_config.spec.as_ref().map_err(|error| vec![format!("spec cannot be read: {error}")])?;
    let mut complaints = Vec::new();
    let log_level = log_level(spec).unwrap_or_else(|complaint| {
        complaints.push(complaint);
        String::new()
    });
    let selector = match &spec.kata_config_pool_selector {
        None => Selector::default(),
        Some(selector) => {
            complaints.extend(self_defeating(selector));
            Selector::parse(selector, "spec.kataConfigPoolSelector").unwrap_or_else(|errors| {
                complaints.extend(errors);
                Selector::default()
            })
        }
    };
    if !complaints.is_empty() {
        return Err(complaints);
    }
    Ok(ValidSpec {
        selector,
        selects_explicitly: spec.kata_config_pool_selector.is_some(),
        check_node_eligibility: spec.check_node_eligibility,
        log_level,
        peer_pods: spec.enable_peer_pods,
    })
}

/// Demands that a node no longer meets once it is selected.
fn self_defeating(selector: &LabelSelector) -> Vec<String> {
    let role = names::KATA_NODE_ROLE;
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    let excludes = |expression: &LabelSelectorRequirement| {
        expression.key == role && matches!(expression.operator.as_str(), "DoesNotExist" | "NotIn")
    };
    expressions
        .filter(|(_, expression)| excludes(expression))
        .map(|(index, _)| {
            format!(
                "spec.kataConfigPoolSelector.matchExpressions[{index}] excludes nodes with label {role}, which every \
                 selected node is given: nodes would enter and leave the pool forever; select by another label"
            )
        })
        .collect()
}

fn log_level(spec: &KataConfigSpec) -> Result<String, String> {
    let level = if spec.log_level.is_empty() { names::DEFAULT_LOG_LEVEL } else { &spec.log_level };
    if names::LOG_LEVELS.contains(&level) {
        Ok(level.to_owned())
    } else {
        Err(format!(
            "spec.logLevel is {level:?}, which CRI-O does not know; use one of {}",
            names::LOG_LEVELS.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(spec: serde_json::Value) -> KataConfigView {
        let spec: Option<KataConfigSpec> = serde_json::from_value(spec).unwrap();
        KataConfigView { spec: Ok(spec.unwrap_or_default()), ..KataConfigView::default() }
    }

    #[test]
    fn a_null_spec_means_all_workers_at_level_info() {
        let valid = validate(&view(serde_json::Value::Null)).unwrap();
        assert_eq!((valid.selector, valid.log_level.as_str()), (Selector::default(), "info"));
    }

    #[test]
    fn an_unknown_log_level_is_refused_with_the_known_ones() {
        let complaints = validate(&view(serde_json::json!({"logLevel": "verbose"}))).unwrap_err();
        assert_eq!(
            complaints,
            [
                "spec.logLevel is \"verbose\", which CRI-O does not know; use one of fatal, panic, error, warn, info, \
              debug, trace"
            ]
        );
    }

    #[test]
    fn an_empty_log_level_means_info() {
        assert_eq!(validate(&view(serde_json::json!({"logLevel": ""}))).unwrap().log_level, "info");
    }

    #[test]
    fn an_unreadable_spec_is_told() {
        let broken = KataConfigView { spec: Err("invalid type".to_owned()), ..KataConfigView::default() };
        assert_eq!(validate(&broken).unwrap_err(), ["spec cannot be read: invalid type"]);
    }
}
