//! AdmissionReview v1: the question and the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::hook::Phase;
use crate::server::status::ApiError;

/// The only version spoken.
pub const VERSION: &str = "v1";
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What a webhook said.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Whether the request may go on, or why not.
    pub outcome: Result<(), ApiError>,
    /// A JSON patch as it came; empty for none.
    pub patch: Vec<u8>,
    /// Sentences for the client.
    pub warnings: Vec<String>,
}

/// Wraps a request into a review.
pub fn question(request: &Value) -> Vec<u8> {
    json!({ "kind": KIND, "apiVersion": API_VERSION, "request": request }).to_string().into_bytes()
}

/// Reads an answer. The error is why it does not count as one.
pub fn answer(webhook: &str, phase: Phase, uid: &str, body: &[u8]) -> Result<Verdict, String> {
    let review: Value = serde_json::from_slice(body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let found = response["uid"].as_str().unwrap_or_default();
    if found != uid {
        return Err(format!("expected response.uid={uid:?}, got {found:?}"));
    }
    let text = |field: &str| review[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != (API_VERSION, KIND) {
        let (version, kind) = (text("apiVersion"), text("kind"));
        return Err(format!(
            "expected webhook response of {API_VERSION}, Kind={KIND}, got {version}, Kind={kind}"
        ));
    }
    let allowed = match &response["allowed"] {
        Value::Bool(allowed) => *allowed,
        Value::Null => false,
        other => return Err(format!("response.allowed is {other} instead of true or false")),
    };
    let patch = patch(phase, response)?;
    let outcome = if allowed { Ok(()) } else { Err(denial(webhook, &response["status"])) };
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Verdict { outcome, patch, warnings })
}

/// Patch and patch type come together, and from mutating webhooks only.
fn patch(phase: Phase, response: &Value) -> Result<Vec<u8>, String> {
    let patch = response["patch"].as_str().unwrap_or_default();
    let kind = response["patchType"].as_str();
    if phase == Phase::Validating {
        return match (patch, kind) {
            ("", None) => Ok(Vec::new()),
            ("", Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
            _ => Err("validating webhook may not return response.patch".to_owned()),
        };
    }
    match (patch, kind) {
        ("", None) => Ok(Vec::new()),
        ("", Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (_, None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (_, Some("")) => Err("webhook returned invalid response.patchType of \"\"".to_owned()),
        (patch, Some("JSONPatch")) => {
            STANDARD.decode(patch).map_err(|error| format!("response.patch: {error}"))
        }
        (_, Some(other)) => Err(format!("unsupported patch type {other:?}")),
    }
}

/// A refusal with what the webhook says about it.
fn denial(webhook: &str, status: &Value) -> ApiError {
    let denied = format!("admission webhook {webhook:?} denied the request");
    let reason = status["reason"].as_str().unwrap_or_default();
    let message = match status["message"].as_str().unwrap_or_default() {
        "" if reason.is_empty() => format!("{denied} without explanation"),
        "" => format!("{denied}: {reason}"),
        message => format!("{denied}: {message}"),
    };
    // A refusal is never told with a code of success.
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    let mut error = ApiError::new(code.unwrap_or(400), reason, message);
    error.details = status["details"].clone();
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(phase: Phase, response: &Value) -> Result<Verdict, String> {
        let review = json!({ "apiVersion": API_VERSION, "kind": KIND, "response": response });
        answer("a.b.c", phase, "u", review.to_string().as_bytes())
    }

    #[test]
    fn what_does_not_count_as_an_answer() {
        for (phase, response, why) in [
            (Phase::Mutating, json!(null), "webhook response was absent"),
            (Phase::Mutating, json!({ "allowed": true }), "expected response.uid=\"u\", got \"\""),
            (
                Phase::Mutating,
                json!({ "uid": "u", "allowed": true, "patch": "W10=" }),
                "webhook returned response.patch but not response.patchType",
            ),
            (
                Phase::Mutating,
                json!({ "uid": "u", "allowed": true, "patchType": "JSONPatch" }),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                Phase::Mutating,
                json!({ "uid": "u", "allowed": true, "patchType": "Merge", "patch": "W10=" }),
                "unsupported patch type \"Merge\"",
            ),
            (
                Phase::Validating,
                json!({ "uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": "W10=" }),
                "validating webhook may not return response.patch",
            ),
            (
                Phase::Validating,
                json!({ "uid": "u", "allowed": "yes" }),
                "response.allowed is \"yes\" instead of true or false",
            ),
        ] {
            assert_eq!(read(phase, &response), Err(why.to_owned()));
        }
        let old =
            br#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","response":{"uid":"u"}}"#;
        assert_eq!(
            answer("a.b.c", Phase::Mutating, "u", old).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview"
        );
        assert!(answer("a.b.c", Phase::Mutating, "u", b"no").is_err());
    }

    #[test]
    fn a_refusal_carries_the_words_and_the_code_of_the_webhook() {
        let refusal = |status: Value| {
            let response = json!({ "uid": "u", "allowed": false, "status": status });
            let error = read(Phase::Validating, &response).unwrap().outcome.unwrap_err();
            (error.code, error.reason, error.message)
        };
        let denied = "admission webhook \"a.b.c\" denied the request";
        assert_eq!(refusal(json!(null)), (400, String::new(), format!("{denied} without explanation")));
        assert_eq!(
            refusal(json!({ "reason": "Forbidden", "code": 403 })),
            (403, "Forbidden".to_owned(), format!("{denied}: Forbidden"))
        );
        assert_eq!(
            refusal(json!({ "message": "no", "code": 200 })),
            (400, String::new(), format!("{denied}: no"))
        );
    }

    #[test]
    fn an_answer_without_a_word_allows_nothing() {
        assert!(read(Phase::Mutating, &json!({ "uid": "u" })).unwrap().outcome.is_err());
    }
}
