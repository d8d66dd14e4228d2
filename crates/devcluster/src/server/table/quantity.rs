//! Small helpers for cells.

use serde_json::Value;

/// Text, or a placeholder if it is absent or empty.
pub fn text_or<'a>(value: &'a Value, placeholder: &'a str) -> &'a str {
    value.as_str().filter(|t| !t.is_empty()).unwrap_or(placeholder)
}

/// A number, absent counting as 0.
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Number of entries of a list or map.
pub fn count(value: &Value) -> usize {
    value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len)).unwrap_or(0)
}

/// `a=b,c=d`, or `<none>`.
pub fn labels(value: &Value) -> String {
    let list: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if list.is_empty() { "<none>".to_owned() } else { list.join(",") }
}

/// A label selector in the short form, or `<none>`.
pub fn selector(value: &Value) -> String {
    let mut list: Vec<String> = Vec::new();
    if count(&value["matchLabels"]) > 0 {
        list.push(labels(&value["matchLabels"]));
    }
    for expression in value["matchExpressions"].as_array().into_iter().flatten() {
        let key = text_or(&expression["key"], "");
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        list.push(match text_or(&expression["operator"], "") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if list.is_empty() { "<none>".to_owned() } else { list.join(",") }
}
