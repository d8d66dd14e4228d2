//! The JSON path of printer columns: fields, indices, `[*]` and filters on equality.

use serde_json::Value;

#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// `?(@.path=="value")`, negated if the flag is set.
    Filter(Vec<Step>, Value, bool),
    /// `?(@.path)`
    Present(Vec<Step>),
}

/// Every value that a path leads to. A path that cannot be understood leads nowhere.
pub fn read<'a>(path: &str, object: &'a Value) -> Vec<&'a Value> {
    match parse(path) {
        Some(steps) => walk(&steps, object),
        None => Vec::new(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let path = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let end = closing(tail)?;
            steps.push(bracket(&tail[..end])?);
            rest = &tail[end + 1..];
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let (name, tail) = field(rest);
            rest = tail;
            match name.as_str() {
                // A dot at the end or before a bracket says nothing; a dot before a dot is a mistake.
                "" if rest.starts_with('.') => return None,
                "" => {}
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
        }
    }
    Some(steps)
}

/// A field name; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[index..]),
            _ => name.push(character),
        }
    }
    (name, "")
}

/// Position of the bracket that closes, quotes and inner brackets apart.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(q), c) if q == c => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return self::filter(filter);
    }
    if let Some(name) = unquote(text) {
        return Some(Step::Field(name.to_owned()));
    }
    text.parse().ok().map(Step::Index)
}

fn filter(text: &str) -> Option<Step> {
    let path = |text: &str| parse(text.trim().strip_prefix('@')?);
    for (operator, negated) in [("==", false), ("!=", true)] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = right.trim();
            let wanted = match unquote(right) {
                Some(text) => Value::from(text),
                None => serde_json::from_str(right).ok()?,
            };
            return Some(Step::Filter(path(left)?, wanted, negated));
        }
    }
    path(text).map(Step::Present)
}

fn unquote(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|q| text.strip_prefix(q)?.strip_suffix(q))
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let next: Vec<&Value> = match step {
        Step::Field(name) => value.get(name).filter(|v| !v.is_null()).into_iter().collect(),
        Step::Index(index) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let position = if *index < 0 { length + index } else { *index };
            usize::try_from(position).ok().and_then(|p| items.get(p)).into_iter().collect()
        }
        Step::All => children(value).collect(),
        Step::Filter(path, wanted, negated) => children(value)
            .filter(|item| walk(path, item).first().is_some_and(|v| (*v == wanted) != *negated))
            .collect(),
        Step::Present(path) => children(value).filter(|item| !walk(path, item).is_empty()).collect(),
    };
    next.into_iter().flat_map(|value| walk(rest, value)).collect()
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let object = json!({
            "metadata": { "annotations": { "a.b/c": "x" } },
            "spec": { "list": [1, 2, 3] },
            "status": { "conditions": [
                { "type": "Updated", "status": "True" }, { "type": "Updating", "status": "False" },
            ] },
        });
        let cases = [
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([3])),
            (".spec.list[*]", json!([1, 2, 3])),
            (r#".status.conditions[?(@.type=="Updated")].status"#, json!(["True"])),
            (".status.conditions[?(@.type=='Updating')].status", json!(["False"])),
            (r#".status.conditions[?(@.type!="Updated")].status"#, json!(["False"])),
            (r".metadata.annotations.a\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".absent.field", json!([])),
            (".broken[", json!([])),
        ];
        for (path, wanted) in cases {
            assert_eq!(json!(read(path, &object)), wanted, "{path}");
        }
    }
}
