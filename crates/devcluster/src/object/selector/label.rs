//! Label selectors.

use super::lexer::{Token, tokens};
use super::names::{key_complaint, value_complaint};
use serde_json::{Map, Value};

/// A label selector: every requirement must hold. The empty selector selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also holds where the label is absent.
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl LabelSelector {
    /// Parses the query parameter `labelSelector`: `a=b`, `a==b`, `a!=b`, `k in (x,y)`, `k notin (x,y)`, `k`, `!k`,
    /// `k>1`, `k<1`, joined by commas. The error is the server's text.
    pub fn parse(query: &str) -> Result<Self, String> {
        let tokens = tokens(query);
        let mut parser = Parser { tokens: &tokens };
        let mut requirements = Vec::new();
        loop {
            match parser.peek() {
                Token::End => break,
                Token::Word(_) | Token::Symbol("!") => {
                    let requirement =
                        parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                    requirements.push(requirement);
                }
                other @ Token::Symbol(_) => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    ));
                }
            }
            match parser.next() {
                Token::End => break,
                Token::Symbol(",") => match parser.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
                },
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
        Ok(Self { requirements })
    }

    /// Reads a `LabelSelector` object: `matchLabels` and `matchExpressions`. The empty object selects everything; so
    /// does `null`, which callers that mean "nothing" must catch before.
    pub fn from_value(v: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        if let Some(labels) = v.get("matchLabels").filter(|l| !l.is_null()) {
            let labels = labels.as_object().ok_or("matchLabels: must be an object of strings")?;
            for (key, value) in labels {
                let value = value.as_str().ok_or_else(|| format!("matchLabels.{key}: must be a string"))?;
                requirements.push(requirement(key, Test::In(vec![value.to_owned()]))?);
            }
        }
        if let Some(expressions) = v.get("matchExpressions").filter(|e| !e.is_null()) {
            for expression in expressions.as_array().ok_or("matchExpressions: must be a list")? {
                requirements.push(expression_of(expression)?);
            }
        }
        Ok(Self { requirements })
    }

    /// Whether an object with these labels is selected. `None` and values that are not strings count as absent.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements
            .iter()
            .all(|r| r.test.holds(labels.and_then(|labels| labels.get(&r.key)).and_then(Value::as_str)))
    }
}

impl Test {
    fn holds(&self, label: Option<&str>) -> bool {
        let listed = |values: &[String]| label.is_some_and(|label| values.iter().any(|v| v == label));
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match self {
            Self::Exists => label.is_some(),
            Self::Absent => label.is_none(),
            Self::In(values) => listed(values),
            Self::NotIn(values) => !listed(values),
            Self::Above(bound) => number().is_some_and(|n| n > *bound),
            Self::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

fn requirement(key: &str, test: Test) -> Result<Requirement, String> {
    if let Some(complaint) = key_complaint(key) {
        return Err(format!("key: Invalid value: {key:?}: {complaint}"));
    }
    if let Test::In(values) | Test::NotIn(values) = &test {
        for (i, value) in values.iter().enumerate() {
            if let Some(complaint) = value_complaint(value) {
                return Err(format!("values[{i}][{key}]: Invalid value: {value:?}: {complaint}"));
            }
        }
    }
    Ok(Requirement { key: key.to_owned(), test })
}

fn expression_of(v: &Value) -> Result<Requirement, String> {
    let string = |field: &str| v.get(field).and_then(Value::as_str).unwrap_or_default();
    let values: Vec<String> = match v.get("values") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list
            .iter()
            .map(|v| v.as_str().map(str::to_owned).ok_or("values: must be strings"))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("values: must be a list".to_owned()),
    };
    let test = match (string("operator"), values.is_empty()) {
        ("In", false) => Test::In(values),
        ("NotIn", false) => Test::NotIn(values),
        ("Exists", true) => Test::Exists,
        ("DoesNotExist", true) => Test::Absent,
        ("In" | "NotIn", true) => {
            return Err("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                .to_owned());
        }
        ("Exists" | "DoesNotExist", false) => {
            return Err(
                "values: Invalid value: values set must be empty for exists and does not exist".to_owned()
            );
        }
        (other, _) => return Err(format!("{other:?} is not a valid label selector operator")),
    };
    requirement(string("key"), test)
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.first().copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.tokens = self.tokens.get(1..).unwrap_or_default();
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        if absent {
            return requirement(key, Test::Absent);
        }
        let test = match self.peek() {
            Token::End | Token::Symbol(",") => Test::Exists,
            Token::Symbol("=" | "==") => {
                self.next();
                Test::In(vec![self.exact_value()?])
            }
            Token::Symbol("!=") => {
                self.next();
                Test::NotIn(vec![self.exact_value()?])
            }
            Token::Symbol(">") => Test::Above(self.bound()?),
            Token::Symbol("<") => Test::Below(self.bound()?),
            Token::Word("in") => Test::In(self.values()?),
            Token::Word("notin") => Test::NotIn(self.values()?),
            other => {
                return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text()));
            }
        };
        requirement(key, test)
    }

    /// The value after `=`; nothing at all is the empty value.
    fn exact_value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(value) => {
                self.next();
                Ok(value.to_owned())
            }
            Token::Symbol(other) => Err(format!("found '{other}', expected: identifier")),
        }
    }

    fn bound(&mut self) -> Result<i64, String> {
        self.next();
        let text = self.exact_value()?;
        text.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    /// The values after `in` and `notin`. `()` is the one empty value, as in the server.
    fn values(&mut self) -> Result<Vec<String>, String> {
        self.next();
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        let mut word = "";
        loop {
            match self.next() {
                Token::Word(text) if word.is_empty() => word = text,
                Token::Symbol(end @ ("," | ")")) => {
                    if !values.iter().any(|v| v == word) {
                        values.push(word.to_owned());
                    }
                    if end == ")" {
                        return Ok(values);
                    }
                    word = "";
                }
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn selects(query: &str, labels: &Value) -> bool {
        LabelSelector::parse(query).unwrap().matches(labels.as_object())
    }

    #[rstest]
    #[case("", true)]
    #[case("a=b", true)]
    #[case("a==b", true)]
    #[case(" a = b ", true)]
    #[case("a=c", false)]
    #[case("a=", false)]
    #[case("e=", true)]
    #[case("a!=b", false)]
    #[case("a!=c", true)]
    #[case("absent!=c", true)]
    #[case("a in (b,c)", true)]
    #[case("a in ( c , d )", false)]
    #[case("a notin (b,c)", false)]
    #[case("absent notin (b)", true)]
    #[case("e in ()", true)]
    #[case("a", true)]
    #[case("!a", false)]
    #[case("!absent", true)]
    #[case("absent", false)]
    #[case("node-role.kubernetes.io/worker", true)]
    #[case("node-role.kubernetes.io/worker=,a=b", true)]
    #[case("node-role.kubernetes.io/worker,!a", false)]
    #[case("n>4,n<6", true)]
    #[case("n>5", false)]
    #[case("in in (in)", true)]
    #[case("notin", false)]
    fn parses_and_matches(#[case] query: &str, #[case] expected: bool) {
        let labels = json!({"a": "b", "e": "", "n": "5", "in": "in", "node-role.kubernetes.io/worker": ""});
        assert_eq!(selects(query, &labels), expected, "{query}");
    }

    #[rstest]
    #[case("a=b=c", "found '=', expected: ',' or 'end of string'")]
    #[case("=b", "found '=', expected: !, identifier, or 'end of string'")]
    #[case("a,", "found '', expected: identifier after ','")]
    #[case("a,=b", "found '=', expected: identifier after ','")]
    #[case("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt")]
    #[case("a in b", "unable to parse requirement: found 'b' expected: '('")]
    #[case("a in (b", "unable to parse requirement: found '', expected: ',' or ')'")]
    #[case("!", "unable to parse requirement: found '', expected: identifier")]
    fn refuses_in_the_servers_words(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(LabelSelector::parse(query).unwrap_err(), expected);
    }

    #[rstest]
    #[case("a/b/c=d", "key: Invalid value: \"a/b/c\": a qualified name")]
    #[case("/b=d", "key: Invalid value: \"/b\": prefix part must be non-empty")]
    #[case("A.b/c=d", "key: Invalid value: \"A.b/c\": prefix part a lowercase RFC 1123 subdomain")]
    #[case("a=-b", "values[0][a]: Invalid value: \"-b\": a valid label must be")]
    #[case("-a", "key: Invalid value: \"-a\": name part must consist of")]
    fn refuses_bad_names(#[case] query: &str, #[case] expected: &str) {
        let error = LabelSelector::parse(query).unwrap_err();
        assert!(error.starts_with(&format!("unable to parse requirement: {expected}")), "{error}");
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!(null), true)]
    #[case(json!({"matchLabels": {"a": "b"}}), true)]
    #[case(json!({"matchLabels": {"a": "c"}}), false)]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}), false)]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), true)]
    #[case(json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}), false)]
    fn reads_objects(#[case] selector: Value, #[case] expected: bool) {
        let labels = json!({"a": "b"});
        assert_eq!(LabelSelector::from_value(&selector).unwrap().matches(labels.as_object()), expected);
    }

    #[rstest]
    #[case(json!({"matchLabels": []}))]
    #[case(json!({"matchLabels": {"a": 1}}))]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}))]
    #[case(json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["x"]}]}))]
    #[case(json!({"matchExpressions": [3]}))]
    fn refuses_bad_objects(#[case] selector: Value) {
        assert!(LabelSelector::from_value(&selector).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(query in "[a-c=!(),<>in /\\-]{0,12}") {
            let _ = LabelSelector::parse(&query);
        }

        #[test]
        fn equality_and_inequality_are_opposites(key in "[a-z]{1,4}", value in "[a-z]{0,3}", held in "[a-z]{0,3}") {
            let labels = json!({ "a": held });
            prop_assert_ne!(
                selects(&format!("{key}={value}"), &labels),
                selects(&format!("{key}!={value}"), &labels)
            );
        }
    }
}
