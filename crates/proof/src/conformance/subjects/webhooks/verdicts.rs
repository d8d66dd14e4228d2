//! What a webhook is asked, and what its yes and no do.

use serde_json::{Value, json};

use super::{GROUP, Hooks, with};
use crate::conformance::case::{Case, cases};
use crate::conformance::subjects::objects::{anything, config_map, define, object, pod, widget};
use crate::conformance::trial::{Answer, Trial};
use crate::conformance::webhook_server::{self, deny};

pub fn cases() -> Vec<Case> {
    cases![
        a_webhook_is_asked_about_a_creation,
        a_webhook_is_asked_about_updates_and_patches,
        a_webhook_is_asked_about_a_deletion_and_may_refuse_it,
        a_webhook_is_asked_about_each_object_of_a_deletion_of_many,
        a_webhook_is_asked_about_apply,
        a_webhook_is_asked_about_dry_runs,
        a_webhook_is_asked_about_custom_resources,
        a_webhook_is_asked_about_the_status,
        a_webhook_is_asked_about_bindings_and_evictions,
        a_webhook_is_asked_about_namespaces,
        a_generated_name_is_known_to_who_validates,
        a_refusal_has_the_words_and_the_code_of_the_webhook,
        a_refusal_without_explanation,
        a_refusal_with_a_code_of_success_is_a_bad_request,
        warnings_reach_the_client,
        configurations_are_not_asked_about,
        what_is_wrong_with_a_configuration,
        defaults_of_a_configuration,
    ]
}

async fn a_webhook_is_asked_about_a_creation(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("one");
    hooks.allow("two");
    hooks.mutating("m", &[hooks.webhook("one", &["configmaps"])]).await;
    hooks.validating("v", &[hooks.webhook("two", &["configmaps"])]).await;
    t.post("configmaps?fieldManager=me", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.note("one");
    hooks.note("two");
    assert_eq!((hooks.count("one"), hooks.count("two")), (1, 1));
}

async fn a_webhook_is_asked_about_updates_and_patches(t: Trial) {
    let hooks = Hooks::start(&t).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.allow("judge");
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    hooks.settle("configmaps/a").await;
    t.put("configmaps/a", config_map("a", json!({ "k": "2" }))).await.is(200);
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a", json!({ "data": { "k": "3" } })).await.is(200);
    hooks.settle("configmaps/a").await;
    t.strategic("configmaps/a", json!({ "data": { "l": "4" } })).await.is(200);
    hooks.settle("configmaps/a").await;
    t.json_patch("configmaps/a", json!([{ "op": "remove", "path": "/data/l" }])).await.is(200);
    hooks.note("judge");
    assert_eq!(hooks.count("judge"), 4);
}

async fn a_webhook_is_asked_about_a_deletion_and_may_refuse_it(t: Trial) {
    let hooks = Hooks::start(&t).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.server.on("judge", |request| match request["operation"].as_str() {
        Some("DELETE") if request["oldObject"]["data"]["k"] == "1" => {
            deny(json!({ "message": "keep it", "code": 403, "reason": "Forbidden" }))
        }
        _ => webhook_server::allow(),
    });
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    t.delete_with("configmaps/a", json!({ "propagationPolicy": "Background" }))
        .await
        .refused(403, "Forbidden");
    t.delete("configmaps/a?gracePeriodSeconds=0").await.refused(403, "Forbidden");
    t.get("configmaps/a").await.is(200);
    t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    hooks.settle("configmaps/a").await;
    t.delete("configmaps/a").await.is(200);
    hooks.note("judge");
}

async fn a_webhook_is_asked_about_each_object_of_a_deletion_of_many(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    let hook =
        with(hooks.webhook("judge", &["secrets"]), "objectSelector", json!({ "matchLabels": { "x": "y" } }));
    hooks.validating("v", &[hook]).await;
    for name in ["a", "b"] {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "labels": { "x": "y" } } });
        t.post("secrets", secret).await.is(201);
        hooks.settle(&format!("secrets/{name}")).await;
    }
    t.unrecorded().delete("secrets?labelSelector=x%3Dy").await.is(200);
    hooks.note("judge");
    assert_eq!(hooks.count("judge"), 4);
}

async fn a_webhook_is_asked_about_apply(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.settle("configmaps/a").await;
    t.apply("configmaps/a", "one", config_map("a", json!({ "k": "2" }))).await.is(200);
    hooks.settle("configmaps/a").await;
    t.apply_forced("configmaps/a", "two", config_map("a", json!({ "k": "3" }))).await.is(200);
    hooks.note("judge");
    assert_eq!(hooks.count("judge"), 3);
}

async fn a_webhook_is_asked_about_dry_runs(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    let hook = with(hooks.webhook("judge", &["configmaps"]), "sideEffects", json!("NoneOnDryRun"));
    hooks.validating("v", &[hook]).await;
    t.post("configmaps?dryRun=All", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.get("configmaps/a").await.is(404);
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a?dryRun=All", json!({ "data": { "k": "2" } })).await.is(200);
    t.delete("configmaps/a?dryRun=All").await.is(200);
    t.get("configmaps/a").await.is(200);
    hooks.note("judge");
    assert_eq!(hooks.count("judge"), 4);
}

async fn a_webhook_is_asked_about_custom_resources(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let schema =
        object(json!({ "size": { "type": "integer" }, "note": { "type": "string", "default": "none" } }));
    let widgets = define(&t, schema, json!({})).await;
    hooks.server.on("judge", |request| match request["object"]["spec"]["size"].as_i64() {
        Some(13) => deny(json!({ "message": "not that one" })),
        _ => webhook_server::allow(),
    });
    hooks.validating("v", &[hooks.webhook("judge", &["widgets"])]).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1, "unknown": true }))).await.is(201);
    hooks.settle(&format!("{widgets}/a")).await;
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "size": 13 } })).await.is(400);
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "size": 2 } })).await.is(200);
    hooks.settle(&format!("{widgets}/a")).await;
    t.get(&format!("{widgets}/a")).await.has("/spec/size", json!(2));
    t.delete(&format!("{widgets}/a")).await.is(200);
    hooks.note("judge");
    assert_eq!(hooks.count("judge"), 4);
}

async fn a_webhook_is_asked_about_the_status(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let widgets = define(&t, anything(), json!({ "subresources": { "status": {} } })).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    hooks.allow("plain");
    hooks.allow("status");
    let all = [hooks.webhook("plain", &["widgets"]), hooks.webhook("status", &["widgets/status"])];
    hooks.validating("v", &all).await;
    hooks.settle(&format!("{widgets}/a")).await;
    t.merge(&format!("{widgets}/a/status"), json!({ "status": { "phase": "x" } })).await.is(200);
    assert_eq!((hooks.count("plain"), hooks.count("status")), (0, 1));
    hooks.settle(&format!("{widgets}/a")).await;
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "size": 2 } })).await.is(200);
    assert_eq!((hooks.count("plain"), hooks.count("status")), (1, 1));
    hooks.note("status");
    hooks.note("plain");
}

async fn a_webhook_is_asked_about_bindings_and_evictions(t: Trial) {
    let hooks = Hooks::start(&t).await;
    t.unrecorded().post("pods", pod("p")).await.is(201);
    hooks.server.on("judge", |request| match request["object"]["target"]["name"].as_str() {
        Some("good") => webhook_server::allow(),
        _ => deny(json!({ "message": "no", "code": 403 })),
    });
    hooks.validating("v", &[hooks.webhook("judge", &["pods/binding", "pods/eviction"])]).await;
    let binding = |node: &str| {
        json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" },
            "target": { "kind": "Node", "name": node } })
    };
    t.post("pods/p/binding", binding("bad")).await.is(403);
    t.post("pods/p/binding", binding("good")).await.is(201);
    t.unrecorded().get("pods/p").await.has("/spec/nodeName", json!("good"));
    let eviction = json!({ "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": { "name": "p" } });
    t.unrecorded().post("pods/p/eviction", eviction).await.is(403);
    note_briefly(&t, &hooks);
    assert_eq!(hooks.count("judge"), 3);
}

/// Without the objects.
fn note_briefly(t: &Trial, hooks: &Hooks) {
    for request in hooks.asked("judge") {
        let fields = ["operation", "resource", "subResource", "name", "namespace"];
        t.note("what judge was asked", fields.iter().map(|field| request[*field].clone()).collect());
        // Evictions have moved to v1 since.
        t.note("about a", request["kind"]["kind"].clone());
    }
}

async fn a_webhook_is_asked_about_namespaces(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    hooks.validating("v", &[hooks.webhook("judge", &["namespaces"])]).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": format!("{}-more", t.id), "labels": { "case": t.id } } });
    let path = "/api/v1/namespaces/{id}-more";
    let quiet = t.unrecorded();
    quiet.post("/api/v1/namespaces", namespace).await.is(201);
    hooks.settle(path).await;
    quiet.merge(path, json!({ "metadata": { "annotations": { "x": "y" } } })).await.is(200);
    hooks.settle(path).await;
    // The change that takes the label away is that of a namespace without it.
    quiet.merge(path, json!({ "metadata": { "labels": { "case": null } } })).await.is(200);
    assert_eq!(hooks.count("judge"), 2);
    note_briefly(&t, &hooks);
}

async fn a_generated_name_is_known_to_who_validates(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("one");
    hooks.allow("two");
    hooks.mutating("m", &[hooks.webhook("one", &["configmaps"])]).await;
    hooks.validating("v", &[hooks.webhook("two", &["configmaps"])]).await;
    let nameless = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "a-" } });
    let made = t.unrecorded().post("configmaps", nameless).await.is(201);
    t.hide(&made.metadata("name"), "generated");
    hooks.note("one");
    hooks.note("two");
    assert_eq!(hooks.asked("two")[0]["name"], made.metadata("name"));
}

async fn a_refusal_has_the_words_and_the_code_of_the_webhook(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let status = json!({ "code": 409, "reason": "Conflict", "message": "there is one already",
        "details": { "causes": [{ "reason": "Why", "message": "so", "field": "data.k" }] } });
    hooks.deny("judge", status);
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    let refused =
        t.post("configmaps", config_map("a", json!({}))).await.refused(409, "Conflict").names("data.k");
    let words = "admission webhook \"judge.hooks.example.com\" denied the request: there is one already";
    refused.has("/message", json!(words));
    t.get("configmaps/a").await.is(404);
}

/// The message, which is left out of what is compared for some codes.
fn message(t: &Trial, answer: &Answer) {
    t.note("the message", answer.body["message"].clone());
}

async fn a_refusal_without_explanation(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("judge", |request| match request["object"]["data"]["k"].as_str() {
        Some("reason") => deny(json!({ "reason": "Gone" })),
        _ => deny(json!(null)),
    });
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    let refused = t.post("configmaps", config_map("a", json!({ "k": "nothing" }))).await.is(400);
    message(&t, &refused);
    let refused = t.post("configmaps", config_map("a", json!({ "k": "reason" }))).await.is(400);
    message(&t, &refused);
}

async fn a_refusal_with_a_code_of_success_is_a_bad_request(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.deny("judge", json!({ "code": 200, "message": "no", "status": "Success" }));
    hooks.mutating("m", &[hooks.webhook("judge", &["configmaps"])]).await;
    let refused = t.post("configmaps", config_map("a", json!({}))).await.is(400);
    message(&t, &refused);
}

async fn warnings_reach_the_client(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("judge", |request| {
        let allowed = request["name"] == "good";
        let warnings = json!(["mind the \"gap\"", "twice", "twice"]);
        webhook_server::Answer::Response(json!({ "allowed": allowed, "warnings": warnings }))
    });
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    for name in ["good", "bad"] {
        let answer = t.post("configmaps", config_map(name, json!({ "k": "1" }))).await;
        let headers = answer.headers.get_all("warning").iter();
        let warnings: Vec<&str> = headers.map(|value| value.to_str().unwrap()).collect();
        assert_eq!(warnings.len(), 2);
        t.note("warnings", json!(warnings));
    }
}

async fn configurations_are_not_asked_about(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.deny("judge", json!({ "message": "no" }));
    let hook = hooks.webhook("judge", &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]);
    let own = json!({ "matchLabels": { "own": t.id } });
    hooks.validating("v", &[with(with(hook, "namespaceSelector", json!({})), "objectSelector", own)]).await;
    let other = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": format!("{}-other", t.id), "labels": { "own": t.id } } });
    t.post(&format!("{GROUP}/mutatingwebhookconfigurations"), other).await.is(201);
    t.delete(&format!("{GROUP}/mutatingwebhookconfigurations/{{id}}-other")).await.is(200);
    assert_eq!(hooks.count("judge"), 0);
}

fn configuration(t: &Trial, name: &str, webhook: Value) -> Value {
    json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": format!("{}-{name}", t.id) }, "webhooks": [webhook] })
}

async fn what_is_wrong_with_a_configuration(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let path = format!("{GROUP}/validatingwebhookconfigurations");
    for (field, value, complaint) in [
        ("name", json!("two.segments"), "name"),
        ("sideEffects", json!(null), "sideEffects"),
        ("sideEffects", json!("Some"), "sideEffects"),
        ("timeoutSeconds", json!(0), "timeoutSeconds"),
        ("timeoutSeconds", json!(31), "timeoutSeconds"),
        ("admissionReviewVersions", json!(["v2"]), "admissionReviewVersions"),
        ("failurePolicy", json!("Maybe"), "failurePolicy"),
        ("matchPolicy", json!("Maybe"), "matchPolicy"),
        ("clientConfig", json!({ "url": "http://localhost/" }), "clientConfig.url"),
        ("clientConfig", json!({ "url": "https://localhost/?x=y" }), "clientConfig.url"),
        ("clientConfig", json!({ "url": "https://me@localhost/" }), "clientConfig.url"),
        ("clientConfig", json!({}), "clientConfig"),
    ] {
        let wrong = with(hooks.webhook("judge", &["configmaps"]), field, value);
        let refused = t.post(&path, configuration(&t, "wrong", wrong)).await.refused(422, "Invalid");
        refused.names(&format!("webhooks[0].{complaint}"));
    }
    let mut wrong = hooks.webhook("judge", &["configmaps"]);
    wrong["rules"][0]["operations"] = json!(["*", "CREATE"]);
    wrong["rules"][0]["scope"] = json!("Everywhere");
    let refused = t.post(&path, configuration(&t, "wrong", wrong)).await.refused(422, "Invalid");
    refused.names("webhooks[0].rules[0].operations").names("webhooks[0].rules[0].scope");
}

async fn defaults_of_a_configuration(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let path = format!("{GROUP}/validatingwebhookconfigurations");
    let mut hook = hooks.webhook("judge", &["configmaps"]);
    hook["clientConfig"] = json!({ "service": { "namespace": t.id, "name": "nobody" } });
    let made = t.unrecorded().post(&path, configuration(&t, "defaults", hook)).await.is(201);
    t.note("webhooks", made.body["webhooks"].clone());
    made.has("/webhooks/0/timeoutSeconds", json!(10))
        .has("/webhooks/0/clientConfig/service/port", json!(443));
    t.unrecorded().delete(&format!("{path}/{{id}}-defaults")).await.is(200);
}
