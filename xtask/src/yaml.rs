//! YAML whose bytes depend on nothing but its content.

use serde_json::{Map, Value};

/// One document, without a separator. Keys are in alphabetical order whatever features `serde_json` was built with.
pub fn document(value: &Value) -> anyhow::Result<String> {
    // Lines are not folded: a person who searches for an image or an expression finds it whole.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 4_000, min_fold_chars: 4_000 };
    Ok(serde_saphyr::to_string_with_options(&sorted(value), options)?)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_what_is_read() {
        let value = json!({
            "yes": "no", "number": "1", "list": [{"b": "", "a": null}], "text": "two\nlines\n", "colon": "a: b # c",
            "empty": {}, "long": "word ".repeat(60), "template": "{{ $labels.state }}", "star": "*",
        });
        let read: Value = serde_saphyr::from_str(&document(&value).unwrap()).unwrap();
        assert_eq!(read, value);
    }
}
