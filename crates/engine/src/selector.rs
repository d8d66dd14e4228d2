//! Label selectors that were checked before use.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A selector that can be evaluated. Empty: selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Checks a selector; each complaint names the field below `path` and says what to write instead.
    pub fn parse(selector: &LabelSelector, path: &str) -> Result<Self, Vec<String>> {
        let mut requirements = Vec::new();
        let mut complaints = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            complaints.extend(check_key(key, &format!("{path}.matchLabels")));
            complaints.extend(check_value(value, &format!("{path}.matchLabels[{key}]")));
            requirements.push(Requirement { key: key.clone(), test: Test::In(vec![value.clone()]) });
        }
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            complaints.extend(check_key(&expression.key, &format!("{path}.key")));
            let values = expression.values.clone().unwrap_or_default();
            for value in &values {
                complaints.extend(check_value(value, &format!("{path}.values")));
            }
            match test(&expression.operator, values, &path) {
                Ok(test) => requirements.push(Requirement { key: expression.key.clone(), test }),
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() { Ok(Self { requirements }) } else { Err(complaints) }
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let found = labels.get(&requirement.key);
            match &requirement.test {
                Test::In(values) => found.is_some_and(|found| values.contains(found)),
                Test::NotIn(values) => found.is_none_or(|found| !values.contains(found)),
                Test::Exists => found.is_some(),
                Test::DoesNotExist => found.is_none(),
            }
        })
    }

    /// This selector with one more demand: the label has that value.
    #[must_use]
    pub fn and(mut self, key: &str, value: &str) -> Self {
        self.requirements.push(Requirement { key: key.to_owned(), test: Test::In(vec![value.to_owned()]) });
        self
    }
}

fn test(operator: &str, values: Vec<String>, path: &str) -> Result<Test, String> {
    let some_values = !values.is_empty();
    match operator {
        "In" | "NotIn" if !some_values => {
            Err(format!("{path}.values is empty, but operator {operator} needs at least one value"))
        }
        "Exists" | "DoesNotExist" if some_values => {
            Err(format!("{path}.values must be empty with operator {operator}; found {values:?}"))
        }
        "In" => Ok(Test::In(values)),
        "NotIn" => Ok(Test::NotIn(values)),
        "Exists" => Ok(Test::Exists),
        "DoesNotExist" => Ok(Test::DoesNotExist),
        other => Err(format!("{path}.operator is {other:?}; use In, NotIn, Exists or DoesNotExist")),
    }
}

/// Label keys: an optional DNS subdomain, a slash, and a name of at most 63 characters.
fn check_key(key: &str, path: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_dns_subdomain(prefix)) {
        return Some(format!(
            "{path}: label key {key:?} has a prefix that is no DNS name (lower-case letters, digits, '-' and '.')"
        ));
    }
    if name.is_empty() || !is_qualified(name) {
        return Some(format!(
            "{path}: {key:?} is no label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin \
             and end with a letter or digit"
        ));
    }
    None
}

fn check_value(value: &str, path: &str) -> Option<String> {
    (!value.is_empty() && !is_qualified(value)).then(|| {
        format!(
            "{path}: {value:?} is no label value: it must be empty or at most 63 letters, digits, '-', '_' or '.', \
             and begin and end with a letter or digit"
        )
    })
}

fn is_qualified(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && text.chars().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_dns_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn parse(selector: Value) -> Result<Selector, Vec<String>> {
        Selector::parse(&serde_json::from_value(selector).unwrap(), "spec.kataConfigPoolSelector")
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"matchLabels": {"kata": "true"}}), true)]
    #[case(json!({"matchLabels": {"kata": "false"}}), false)]
    #[case(json!({"matchLabels": {"kata": "true", "other": ""}}), false)]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a", "b"]}]}), false)]
    #[case(json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["a"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "kata", "operator": "Exists"}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "kata", "operator": "DoesNotExist"}]}), false)]
    fn selects(#[case] selector: Value, #[case] expected: bool) {
        let labels = [("kata".to_owned(), "true".to_owned()), ("zone".to_owned(), "b".to_owned())].into();
        assert_eq!(parse(selector).unwrap().matches(&labels), expected);
    }

    #[rstest]
    #[case(
        json!({"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]}),
        "spec.kataConfigPoolSelector.matchExpressions[0].operator is \"Near\"; use In, NotIn, Exists or DoesNotExist"
    )]
    #[case(
        json!({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "zone", "operator": "In"}]}),
        "spec.kataConfigPoolSelector.matchExpressions[1].values is empty, but operator In needs at least one value"
    )]
    #[case(
        json!({"matchExpressions": [{"key": "zone", "operator": "Exists", "values": ["a"]}]}),
        "spec.kataConfigPoolSelector.matchExpressions[0].values must be empty with operator Exists; found [\"a\"]"
    )]
    #[case(
        json!({"matchLabels": {"kata": "yes, please"}}),
        "spec.kataConfigPoolSelector.matchLabels[kata]: \"yes, please\" is no label value: it must be empty or at most \
         63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
    )]
    #[case(
        json!({"matchLabels": {"-kata": "true"}}),
        "spec.kataConfigPoolSelector.matchLabels: \"-kata\" is no label key: its name must be 1 to 63 letters, digits, \
         '-', '_' or '.', and begin and end with a letter or digit"
    )]
    #[case(
        json!({"matchLabels": {"Kata_X/y": "true"}}),
        "spec.kataConfigPoolSelector.matchLabels: label key \"Kata_X/y\" has a prefix that is no DNS name (lower-case \
         letters, digits, '-' and '.')"
    )]
    fn refuses_in_words(#[case] selector: Value, #[case] expected: &str) {
        assert_eq!(parse(selector).unwrap_err(), [expected]);
    }

    #[test]
    fn all_complaints_are_told_at_once() {
        let selector =
            json!({"matchLabels": {"a b": "c d"}, "matchExpressions": [{"key": "k", "operator": "="}]});
        assert_eq!(parse(selector).unwrap_err().len(), 3);
    }
}
