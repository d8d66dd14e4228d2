//! From the bytes of a question to the bytes of its answer.

use http::StatusCode;
use json_patch::Patch;
use k8s_openapi::ByteString;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use serde_json::json;

/// What the API server asks.
pub type Request = AdmissionRequest<DynamicObject>;

/// The version of the questions that are understood.
pub const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Let it pass.
    Allow {
        /// What the person who asked should know all the same.
        warnings: Vec<String>,
        /// What is to be changed before.
        patch: Patch,
    },
    /// Do not let it pass, and why.
    Refuse(String),
    /// It cannot be told whether it may pass, as it is not what it should be; where, and what was found.
    Malformed(String),
}

impl Verdict {
    /// Let it pass as it is.
    pub fn allow() -> Self {
        Self::warn(Vec::new())
    }

    /// Let it pass as it is, and say this.
    pub fn warn(warnings: Vec<String>) -> Self {
        Self::Allow { warnings, patch: Patch::default() }
    }
}

/// Why a body is no question: the status of the answer, and words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NoReview {
    /// Status of the answer.
    pub status: StatusCode,
    /// What was found and what is expected.
    pub words: String,
}

impl NoReview {
    fn bad(words: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, words }
    }
}

/// Reads a question.
pub fn read(body: &[u8]) -> Result<Request, NoReview> {
    if body.is_empty() {
        return Err(NoReview::bad(format!("the body is empty; send an {KIND} of {VERSION}")));
    }
    let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body)
        .map_err(|error| NoReview::bad(format!("the body is no {KIND}: {error}")))?;
    let (version, kind) = (&review.types.api_version, &review.types.kind);
    if version != VERSION || kind != KIND {
        return Err(NoReview::bad(format!(
            "the body is {kind:?} of apiVersion {version:?}; this server understands {KIND} of {VERSION}: say so in \
             admissionReviewVersions of the webhook configuration"
        )));
    }
    let request: Result<Request, _> = review.try_into();
    let request = request
        .map_err(|_| NoReview::bad(format!("the {KIND} has no request: there is nothing to answer")))?;
    if request.uid.is_empty() {
        return Err(NoReview::bad(format!(
            "request.uid of the {KIND} is empty, so that no answer could be matched"
        )));
    }
    Ok(request)
}

/// The answer to that question.
pub fn answer(request: &Request, verdict: Verdict) -> Result<Vec<u8>, serde_json::Error> {
    Reply::to(request).with(verdict)
}

/// An answer that has no verdict yet. It knows which question it is for, so that the question, which may be large, need
/// not be kept.
pub struct Reply(AdmissionResponse);

impl Reply {
    /// To that question.
    pub fn to(request: &Request) -> Self {
        Self(request.into())
    }

    /// With that verdict.
    pub fn with(self, verdict: Verdict) -> Result<Vec<u8>, serde_json::Error> {
        with_verdict(self.0, verdict)
    }
}

fn with_verdict(mut response: AdmissionResponse, verdict: Verdict) -> Result<Vec<u8>, serde_json::Error> {
    match verdict {
        Verdict::Refuse(why) => response = denied(response, why, StatusCode::FORBIDDEN, "Forbidden"),
        Verdict::Malformed(why) => response = denied(response, why, StatusCode::BAD_REQUEST, "BadRequest"),
        Verdict::Allow { warnings, patch } => {
            response.warnings = (!warnings.is_empty()).then_some(warnings);
            if !patch.is_empty() {
                return with_patch(response, &patch);
            }
        }
    }
    serde_json::to_vec(&response.into_review())
}

fn denied(response: AdmissionResponse, why: String, code: StatusCode, reason: &str) -> AdmissionResponse {
    let mut response = response.deny(why);
    response.result.code = code.as_u16();
    reason.clone_into(&mut response.result.reason);
    response
}

/// The library writes a patch as a list of numbers, which Go servers accept; this is what the API is documented to have.
fn with_patch(response: AdmissionResponse, patch: &Patch) -> Result<Vec<u8>, serde_json::Error> {
    let mut review = serde_json::to_value(response.into_review())?;
    review["response"]["patchType"] = json!("JSONPatch");
    review["response"]["patch"] = serde_json::to_value(ByteString(serde_json::to_vec(patch)?))?;
    serde_json::to_vec(&review)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    fn question() -> Value {
        json!({"apiVersion": VERSION, "kind": KIND, "request": {
            "uid": "1", "operation": "CREATE", "userInfo": {},
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
            "oldObject": null,
        }})
    }

    #[test]
    fn a_question_is_read_and_answered_under_its_uid() {
        let request = read(question().to_string().as_bytes()).unwrap();
        let refused = answer(&request, Verdict::Refuse("no".to_owned())).unwrap();
        let refused: Value = serde_json::from_slice(&refused).unwrap();
        assert_eq!((&refused["apiVersion"], &refused["kind"]), (&json!(VERSION), &json!(KIND)));
        let response = &refused["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("1"), &json!(false)));
        assert_eq!(
            (&response["status"]["message"], &response["status"]["code"]),
            (&json!("no"), &json!(403))
        );
        let allowed = answer(&request, Verdict::warn(vec!["look".to_owned()])).unwrap();
        let allowed: Value = serde_json::from_slice(&allowed).unwrap();
        assert_eq!(allowed["response"]["allowed"], true);
        assert_eq!(allowed["response"]["warnings"], json!(["look"]));
        assert_eq!(allowed["response"]["patch"], Value::Null);
    }

    #[test]
    fn what_is_malformed_is_told_as_a_bad_request() {
        let request = read(question().to_string().as_bytes()).unwrap();
        let answer = answer(&request, Verdict::Malformed("what is that".to_owned())).unwrap();
        let status = &serde_json::from_slice::<Value>(&answer).unwrap()["response"]["status"];
        assert_eq!(
            (&status["code"], &status["reason"], &status["message"]),
            (&json!(400), &json!("BadRequest"), &json!("what is that"))
        );
    }

    #[test]
    fn a_patch_is_told_as_the_api_has_it() {
        let request = read(question().to_string().as_bytes()).unwrap();
        let patch: Patch = serde_json::from_value(json!([{"op": "remove", "path": "/a"}])).unwrap();
        let answer = answer(&request, Verdict::Allow { warnings: Vec::new(), patch }).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        assert_eq!(answer["response"]["patch"], "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=");
        assert_eq!(answer["response"]["allowed"], true);
    }

    #[rstest]
    #[case::nothing("", "the body is empty; send an AdmissionReview of admission.k8s.io/v1")]
    #[case::no_json("{", "the body is no AdmissionReview: EOF while parsing an object at line 1 column 1")]
    #[case::a_list(
        "[]",
        "the body is no AdmissionReview: invalid type: sequence, expected struct AdmissionReview"
    )]
    #[case::no_request(
        r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#,
        "the AdmissionReview has no request: there is nothing to answer"
    )]
    #[case::old(
        r#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#,
        "the body is \"AdmissionReview\" of apiVersion \"admission.k8s.io/v1beta1\"; this server understands \
         AdmissionReview of admission.k8s.io/v1: say so in admissionReviewVersions of the webhook configuration"
    )]
    #[case::something_else(
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {}}"#,
        "the body is \"Pod\" of apiVersion \"v1\"; this server understands AdmissionReview of admission.k8s.io/v1: say \
         so in admissionReviewVersions of the webhook configuration"
    )]
    fn what_is_no_question_is_told(#[case] body: &str, #[case] expected: &str) {
        let error = read(body.as_bytes()).unwrap_err();
        assert!(error.words.starts_with(expected), "{}", error.words);
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_question_without_uid_is_refused() {
        let mut question = question();
        question["request"]["uid"] = json!("");
        assert!(read(question.to_string().as_bytes()).unwrap_err().words.contains("request.uid"));
    }

    proptest! {
        /// Whatever comes: an answer, never a panic.
        #[test]
        fn no_body_breaks_it(body in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
            let _ = read(&body);
            let mut question = question().to_string().into_bytes();
            let at = at.min(question.len());
            question.splice(at..at, body);
            let _ = read(&question);
        }
    }
}
