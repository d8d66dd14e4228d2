//! Field selectors.

use serde_json::Value;
use std::borrow::Cow;

/// A field selector: every requirement must hold. The empty selector selects everything.
///
/// Which fields a kind lets clients select by is the server's business: see [`FieldSelector::fields`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Parses the query parameter `fieldSelector`: `a.b=c`, `a.b==c`, `a.b!=c`, joined by commas; `\\`, `\,` and `\=`
    /// stand for themselves in values. The error is the server's text.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for term in split_terms(query) {
            if term.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(term) else {
                return Err(format!("invalid selector: '{query}'; can't understand '{term}'"));
            };
            requirements.push(Requirement { field: field.to_owned(), equal, value: unescape(value)? });
        }
        Ok(Self { requirements })
    }

    /// The paths it asks about, as `spec.nodeName`.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|r| r.field.as_str())
    }

    /// Whether the object is selected. An absent field reads as the empty text, booleans and numbers as their text.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|r| (text_at(object, &r.field) == r.value) == r.equal)
    }
}

fn text_at<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    let found = path.split('.').try_fold(object, |value, field| value.get(field));
    match found {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Bool(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    }
}

/// Splits at commas that no backslash protects.
fn split_terms(query: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in query.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&query[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&query[start..]);
    terms
}

/// Splits at the leftmost operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        let rest = &term[i..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..i], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: unterminated escape sequence".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("", true)]
    #[case("metadata.name=a", true)]
    #[case("metadata.name==a", true)]
    #[case("metadata.name!=a", false)]
    #[case("metadata.name=a,spec.nodeName=", true)]
    #[case("spec.nodeName!=", false)]
    #[case("spec.unschedulable=true", true)]
    #[case("spec.replicas=3", true)]
    #[case(r"metadata.tricky=x\,y\=z\\", true)]
    #[case("metadata.name.deeper=", true)]
    fn parses_and_matches(#[case] query: &str, #[case] expected: bool) {
        let object = json!({
            "metadata": {"name": "a", "tricky": "x,y=z\\"},
            "spec": {"unschedulable": true, "replicas": 3}
        });
        assert_eq!(FieldSelector::parse(query).unwrap().matches(&object), expected, "{query}");
    }

    #[rstest]
    #[case("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'")]
    #[case("a=b=c", "invalid field selector: unescaped character in value: =")]
    #[case(r"a=b\n", r"invalid field selector: invalid escape sequence: \n")]
    #[case(r"a=b\", "invalid field selector: unterminated escape sequence")]
    fn refuses(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(FieldSelector::parse(query).unwrap_err(), expected);
    }

    #[test]
    fn tells_its_fields() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=Running").unwrap();
        assert_eq!(selector.fields().collect::<Vec<_>>(), ["metadata.name", "status.phase"]);
    }

    proptest! {
        #[test]
        fn escaped_values_come_back(value in "[a-z,=\\\\]{0,8}") {
            let escaped = value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            let selector = FieldSelector::parse(&format!("spec.x={escaped}")).unwrap();
            let object = json!({"spec": {"x": value}});
            prop_assert!(selector.matches(&object));
        }
    }
}
