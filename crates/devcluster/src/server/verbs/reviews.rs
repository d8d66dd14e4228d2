//! Resources that are questions: nothing is stored, the POST is answered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::subresource;
use crate::server::call::{Call, Reply};
use crate::server::status::ApiError;

/// Answers a POST.
pub async fn answer(call: &Call, mut object: Value) -> Result<Reply, ApiError> {
    match call.resource.plural.as_str() {
        "bindings" => return subresource::bind(call, &object).await,
        "selfsubjectrulesreviews" => {
            object["status"] = json!({
                "incomplete": false,
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            });
        }
        _ => object["status"] = json!({ "allowed": true }),
    }
    Ok(Reply::object(201, Arc::new(object)))
}
