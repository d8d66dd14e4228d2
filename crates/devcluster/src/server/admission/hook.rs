//! Webhooks as configured, and which of them a request concerns.

use serde::Deserialize;
use serde_json::Value;

use crate::object::selector::LabelSelector;
use crate::server::call::State;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

impl Operation {
    /// As in rules and reviews.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The two kinds of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They may change the object.
    Mutating,
    /// They may only refuse it.
    Validating,
}

/// One webhook of either kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// Its name within its configuration.
    pub name: String,
    /// Where it is.
    pub client_config: Value,
    /// What it is called for.
    pub rules: Vec<Rule>,
    /// `Fail` or `Ignore`.
    pub failure_policy: String,
    /// `Exact` or `Equivalent`.
    pub match_policy: String,
    /// Namespaces it is called for.
    pub namespace_selector: Value,
    /// Objects it is called for.
    pub object_selector: Value,
    /// Conditions in CEL on the requests it is called for.
    pub match_conditions: Vec<Value>,
    /// `None` or `NoneOnDryRun`, in old objects also `Some` or `Unknown`.
    pub side_effects: String,
    /// How long an answer may take.
    pub timeout_seconds: u64,
    /// Versions of the review it understands.
    pub admission_review_versions: Vec<String>,
    /// `Never` or `IfNeeded`.
    pub reinvocation_policy: String,
}

/// One of a webhook's `rules`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    operations: Vec<String>,
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
}

/// What a rule is held against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What happens.
    pub operation: Operation,
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Subresource, empty for none.
    pub subresource: &'a str,
    /// Whether the object lives in a namespace.
    pub namespaced: bool,
}

/// The webhooks of one kind, in the order in which they are called.
pub fn configured(state: &State, phase: Phase) -> Vec<Webhook> {
    let collection = if phase == Phase::Mutating { MUTATING } else { VALIDATING };
    // Lists are in the order of names.
    let (configurations, _) = state.store.list(collection, "");
    configurations
        .iter()
        .flat_map(|configuration| configuration["webhooks"].as_array().into_iter().flatten())
        .filter_map(|webhook| {
            Webhook::deserialize(webhook)
                .inspect_err(
                    |error| tracing::warn!(%error, %webhook, "a webhook is left out: it cannot be read"),
                )
                .ok()
        })
        .collect()
}

impl Webhook {
    /// Whether a rule covers the subject.
    pub fn covers(&self, subject: Subject<'_>) -> bool {
        self.rules.iter().any(|rule| rule.covers(subject))
    }

    /// Whether calls that fail are passed over.
    pub fn ignores_failures(&self) -> bool {
        self.failure_policy == "Ignore"
    }

    /// Whether it is asked again when a later webhook has changed the object.
    pub fn is_reinvoked(&self) -> bool {
        self.reinvocation_policy == "IfNeeded"
    }

    /// Whether it may be called for a dry run.
    pub fn allows_dry_run(&self) -> bool {
        matches!(self.side_effects.as_str(), "None" | "NoneOnDryRun")
    }
}

impl Rule {
    fn covers(&self, subject: Subject<'_>) -> bool {
        let in_scope = match self.scope.as_str() {
            "Namespaced" => subject.namespaced,
            "Cluster" => !subject.namespaced,
            _ => true,
        };
        in_scope
            && lists(&self.operations, subject.operation.as_str())
            && lists(&self.api_groups, subject.group)
            && lists(&self.api_versions, subject.version)
            && self.resources.iter().any(|resource| names(resource, subject))
    }
}

fn lists(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*` (no subresources) or `*/*`.
fn names(pattern: &str, subject: Subject<'_>) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == subject.resource)
        && (subresource == "*" || subresource == subject.subresource)
}

/// Whether a selector takes one of the objects; an empty one takes everything.
pub fn selects(selector: &Value, objects: &[Option<&Value>]) -> Result<bool, String> {
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(true);
    }
    let selector = LabelSelector::from_value(selector)?;
    Ok(objects.iter().flatten().any(|object| selector.matches(object["metadata"]["labels"].as_object())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject<'a>(resource: &'a str, subresource: &'a str) -> Subject<'a> {
        Subject {
            operation: Operation::Update,
            group: "apps",
            version: "v1",
            resource,
            subresource,
            namespaced: true,
        }
    }

    #[test]
    fn resources_are_named_with_their_subresources() {
        for (pattern, plain, status) in [
            ("deployments", true, false),
            ("deployments/status", false, true),
            ("deployments/*", true, true),
            ("*/status", false, true),
            ("*", true, false),
            ("*/*", true, true),
            ("daemonsets", false, false),
        ] {
            assert_eq!(names(pattern, subject("deployments", "")), plain, "{pattern}");
            assert_eq!(names(pattern, subject("deployments", "status")), status, "{pattern}");
        }
    }

    #[test]
    fn every_part_of_a_rule_has_to_hold() {
        let whole = json!({ "operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
            "resources": ["deployments"], "scope": "Namespaced" });
        let rule = |field: &str, value: Value| {
            let mut rule = whole.clone();
            rule[field] = value;
            Rule::deserialize(rule).unwrap()
        };
        let subject = subject("deployments", "");
        assert!(rule("scope", json!("*")).covers(subject));
        assert!(rule("operations", json!(["*"])).covers(subject));
        for (field, value) in [
            ("operations", json!(["CREATE", "DELETE", "CONNECT"])),
            ("apiGroups", json!([""])),
            ("apiVersions", json!(["v1beta1"])),
            ("resources", json!([])),
            ("scope", json!("Cluster")),
        ] {
            assert!(!rule(field, value).covers(subject), "{field}");
        }
    }

    #[test]
    fn a_selector_takes_the_old_or_the_new_object() {
        let labelled = json!({ "metadata": { "labels": { "a": "b" } } });
        let bare = json!({ "metadata": {} });
        let selector = json!({ "matchLabels": { "a": "b" } });
        assert_eq!(selects(&selector, &[Some(&bare), Some(&labelled)]), Ok(true));
        assert_eq!(selects(&selector, &[Some(&bare), None]), Ok(false));
        let absent = json!({ "matchExpressions": [{ "key": "a", "operator": "DoesNotExist" }] });
        assert_eq!(selects(&absent, &[None, None]), Ok(false));
        assert_eq!(selects(&json!({}), &[None]), Ok(true));
        assert!(selects(&json!({ "matchLabels": { "a": 1 } }), &[None]).is_err());
    }
}
