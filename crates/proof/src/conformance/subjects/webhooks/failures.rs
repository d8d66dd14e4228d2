//! Calls that fail, and what the failure policy makes of it.

use serde_json::{Value, json};

use super::{Hooks, with};
use crate::conformance::case::{Case, cases};
use crate::conformance::subjects::objects::config_map;
use crate::conformance::trial::Trial;
use crate::conformance::webhook_server::{Answer, other_authority, patch};

pub fn cases() -> Vec<Case> {
    cases![
        nobody_listens,
        nobody_answers_in_time,
        the_certificate_is_somebody_elses,
        the_certificate_has_no_authority,
        the_service_does_not_exist,
        the_answer_is_an_error,
        the_answer_is_not_found,
        the_answer_is_no_review,
        the_answer_is_empty,
        the_answer_has_another_uid,
        the_answer_has_no_response,
        the_patch_has_no_type,
        the_patch_has_an_unknown_type,
        the_patch_comes_from_who_validates,
        the_patch_is_no_patch,
        the_patch_does_not_fit,
    ]
}

/// Once with each failure policy and as each kind of webhook: the same webhook, so that only the policy decides.
async fn fails(t: &Trial, hooks: &Hooks, hook: Value) {
    both(t, hooks, "m", hook.clone()).await;
    both(t, hooks, "v", hook).await;
}

async fn both(t: &Trial, hooks: &Hooks, kind: &str, hook: Value) {
    let labelled = |policy: &str| json!({ "matchLabels": { "policy": policy, "kind": kind } });
    let with_policy = |policy: &str| {
        let hook = with(hook.clone(), "failurePolicy", json!(policy));
        let hook = with(hook, "name", json!(format!("{}.hooks.example.com", policy.to_lowercase())));
        with(hook, "objectSelector", labelled(policy))
    };
    let hooks_of_both = [with_policy("Fail"), with_policy("Ignore")];
    match kind {
        "m" => hooks.mutating("m", &hooks_of_both).await,
        _ => hooks.validating("v", &hooks_of_both).await,
    }
    for policy in ["Fail", "Ignore"] {
        let mut object = config_map(&format!("{kind}-{}", policy.to_lowercase()), json!({ "k": "1" }));
        object["metadata"]["labels"] = json!({ "policy": policy, "kind": kind });
        let answer = t.post("configmaps", object).await;
        if policy == "Fail" {
            let start = "Internal error occurred: failed calling webhook \"fail.hooks.example.com\": ";
            let message = answer.body["message"].as_str().unwrap_or_default();
            assert!(message.starts_with(start), "{message}");
            answer.refused(500, "InternalError");
        } else {
            answer.is(201);
        }
    }
}

async fn nobody_listens(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let closed = json!({ "url": "https://127.0.0.1:1/x", "caBundle": hooks.server.authority });
    fails(&t, &hooks, with(hooks.webhook("x", &["configmaps"]), "clientConfig", closed)).await;
}

async fn nobody_answers_in_time(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("x", |_| Answer::Never);
    fails(&t, &hooks, with(hooks.webhook("x", &["configmaps"]), "timeoutSeconds", json!(1))).await;
}

async fn the_certificate_is_somebody_elses(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("x");
    let client = with(hooks.server.client("x"), "caBundle", json!(other_authority()));
    fails(&t, &hooks, with(hooks.webhook("x", &["configmaps"]), "clientConfig", client)).await;
}

async fn the_certificate_has_no_authority(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("x");
    let client = json!({ "url": hooks.server.client("x")["url"] });
    fails(&t, &hooks, with(hooks.webhook("x", &["configmaps"]), "clientConfig", client)).await;
}

async fn the_service_does_not_exist(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let client = json!({ "service": { "namespace": t.id, "name": "nobody" } });
    fails(&t, &hooks, with(hooks.webhook("x", &["configmaps"]), "clientConfig", client)).await;
}

async fn fails_with(t: Trial, answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("x", answer);
    fails(&t, &hooks, hooks.webhook("x", &["configmaps"])).await;
}

async fn the_answer_is_an_error(t: Trial) {
    fails_with(t, |_| Answer::Raw(500, "out of order".to_owned())).await;
}

async fn the_answer_is_not_found(t: Trial) {
    fails_with(t, |_| Answer::Raw(404, "not here".to_owned())).await;
}

async fn the_answer_is_no_review(t: Trial) {
    fails_with(t, |_| Answer::Raw(200, "no json".to_owned())).await;
}

async fn the_answer_is_empty(t: Trial) {
    fails_with(t, |_| Answer::Raw(200, "{}".to_owned())).await;
}

async fn the_answer_has_another_uid(t: Trial) {
    fails_with(t, |_| Answer::Response(json!({ "uid": "other", "allowed": true }))).await;
}

async fn the_answer_has_no_response(t: Trial) {
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" });
    fails_with(t, move |_| Answer::Raw(200, review.to_string())).await;
}

/// As only one kind of webhook, with both policies.
async fn fails_as(t: Trial, kind: &str, answer: Value) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("x", move |_| Answer::Response(answer.clone()));
    both(&t, &hooks, kind, hooks.webhook("x", &["configmaps"])).await;
}

async fn the_patch_has_no_type(t: Trial) {
    fails_as(t, "m", json!({ "allowed": true, "patch": "W10=" })).await;
}

async fn the_patch_has_an_unknown_type(t: Trial) {
    let add = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEveCIsInZhbHVlIjoieSJ9XQ==";
    fails_as(t, "m", json!({ "allowed": true, "patchType": "MergePatch", "patch": add })).await;
}

async fn the_patch_comes_from_who_validates(t: Trial) {
    fails_as(t, "v", json!({ "allowed": true, "patchType": "JSONPatch", "patch": "W10=" })).await;
}

/// A patch of no use refuses the request whatever the policy says: the call did not fail.
async fn is_of_no_use(t: Trial, answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("x", answer);
    let hook = with(hooks.webhook("x", &["configmaps"]), "failurePolicy", json!("Ignore"));
    hooks.mutating("m", &[hook]).await;
    t.unrecorded().post("configmaps", config_map("a", json!({}))).await.refused(500, "InternalError");
    t.get("configmaps/a").await.is(404);
}

async fn the_patch_is_no_patch(t: Trial) {
    is_of_no_use(t, |_| patch(json!({ "op": "add" }))).await;
}

async fn the_patch_does_not_fit(t: Trial) {
    is_of_no_use(t, |_| patch(json!([{ "op": "remove", "path": "/spec/nothing" }]))).await;
}
