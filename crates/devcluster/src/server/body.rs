//! Request bodies: JSON or YAML, and protobuf of a few kinds.

use bytes::Bytes;
use serde_json::Value;

use super::protobuf;
use super::status::ApiError;

/// A request body as it arrived.
pub struct Body {
    /// Media type without parameters, lower case; empty if none was sent.
    pub media_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

const OBJECT_TYPES: &str = "application/json, application/yaml";

impl Body {
    /// The object in the body.
    pub fn object(&self) -> Result<Value, ApiError> {
        match self.media_type.as_str() {
            "application/yaml" => yaml(&self.bytes),
            protobuf::MEDIA_TYPE => protobuf::decode(&self.bytes),
            "" | "application/json" | "*/*" => json(&self.bytes),
            _ => Err(ApiError::unsupported_media_type(OBJECT_TYPES)),
        }
    }

    /// The options in the body of a DELETE; null for an empty body.
    pub fn options(&self) -> Result<Value, ApiError> {
        if self.bytes.is_empty() { Ok(Value::Null) } else { self.object() }
    }
}

/// Parses JSON.
pub fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type JSON): {error}"))
    })
}

/// Parses YAML (of which JSON is a part).
pub fn yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let bad = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("error decoding YAML: {error}"));
    let text = std::str::from_utf8(bytes).map_err(|error| bad(&error))?;
    serde_saphyr::from_str(text).map_err(|error| bad(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_give_the_same_and_other_forms_are_refused() {
        let body = |media_type: &str, text: &'static str| Body {
            media_type: media_type.to_owned(),
            bytes: Bytes::from_static(text.as_bytes()),
        };
        let wanted = json!({ "a": { "b": [1, "x"] } });
        assert_eq!(body("application/yaml", "a:\n  b: [1, x]\n").object().unwrap(), wanted);
        assert_eq!(body("application/json", r#"{"a":{"b":[1,"x"]}}"#).object().unwrap(), wanted);
        assert_eq!(body("application/cbor", "").object().unwrap_err().code, 415);
        assert_eq!(body("application/json", "{").object().unwrap_err().code, 400);
    }
}
