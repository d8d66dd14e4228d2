//! Webhooks that change objects.

use serde_json::{Value, json};

use super::{Hooks, with};
use crate::conformance::case::{Case, cases};
use crate::conformance::subjects::objects::{config_map, define, object, pod, widget};
use crate::conformance::trial::Trial;
use crate::conformance::webhook_server::{Answer, allow, patch};

pub fn cases() -> Vec<Case> {
    cases![
        a_change_is_stored_and_belongs_to_nobody,
        who_validates_sees_the_change,
        webhooks_are_asked_in_the_order_of_their_configurations,
        a_change_that_makes_the_object_invalid_is_refused,
        a_change_of_what_only_the_server_sets_is_lost,
        a_change_of_the_name_of_an_existing_object_is_refused,
        who_wants_to_is_asked_again_after_a_change,
        nobody_is_asked_again_without_a_change,
        a_change_of_a_custom_resource_is_pruned_and_defaulted,
        a_change_through_the_status_changes_the_status,
        a_runtime_class_set_by_a_webhook_brings_its_overhead,
        a_change_of_a_deletion_is_refused,
        a_change_undone_changes_nothing,
    ]
}

fn add(path: &str, value: Value) -> Answer {
    patch(json!([{ "op": "add", "path": path, "value": value }]))
}

async fn a_change_is_stored_and_belongs_to_nobody(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("change", |_| add("/data/by", json!("webhook")));
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" })))
        .await
        .is(201)
        .has("/data/by", json!("webhook"));
    t.apply("configmaps/b", "one", config_map("b", json!({ "k": "1" }))).await.is(201);
    t.apply("configmaps/b", "one", config_map("b", json!({ "k": "2" }))).await.is(200);
    t.merge("configmaps/a", json!({ "data": { "k": "2", "by": null } }))
        .await
        .has("/data/by", json!("webhook"));
}

async fn who_validates_sees_the_change(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("change", |_| add("/metadata/labels", json!({ "by": "webhook" })));
    hooks.allow("judge");
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    let hook = hooks.webhook("judge", &["configmaps"]);
    hooks
        .validating("v", &[with(hook, "objectSelector", json!({ "matchLabels": { "by": "webhook" } }))])
        .await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_eq!(hooks.count("judge"), 1);
    hooks.note("judge");
}

/// Adds its name to a trail, once or each time it is asked.
fn trail(hooks: &Hooks, path: &'static str, once: bool) {
    hooks.server.on(path, move |request| {
        let trail = request["object"]["data"]["trail"].as_str().unwrap_or_default();
        if once && trail.contains(path) {
            return allow();
        }
        add("/data/trail", json!(format!("{trail} {path}")))
    });
}

async fn webhooks_are_asked_in_the_order_of_their_configurations(t: Trial) {
    let hooks = Hooks::start(&t).await;
    for path in ["one", "two", "three"] {
        trail(&hooks, path, true);
    }
    let hook = |path| hooks.webhook(path, &["configmaps"]);
    hooks.mutating("b", &[hook("two"), hook("one")]).await;
    hooks.mutating("a", &[hook("three")]).await;
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await;
    made.is(201).has("/data/trail", json!(" three two one"));
}

async fn a_change_that_makes_the_object_invalid_is_refused(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("change", |_| add("/data/not a key", json!("x")));
    hooks.allow("judge");
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.refused(422, "Invalid");
    assert_eq!(hooks.count("judge"), 0, "what is invalid is not asked about");
}

async fn a_change_of_what_only_the_server_sets_is_lost(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.server.on("change", |_| {
        patch(json!([
            { "op": "add", "path": "/metadata/uid", "value": "00000000-0000-0000-0000-000000000000" },
            { "op": "add", "path": "/metadata/creationTimestamp", "value": "2001-01-01T00:00:00Z" },
            { "op": "add", "path": "/metadata/generation", "value": 77 },
        ]))
    });
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    let made = t.unrecorded().post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_ne!(made.uid(), "00000000-0000-0000-0000-000000000000");
    assert!(!made.metadata("creationTimestamp").starts_with("2001"));
}

async fn a_change_of_the_name_of_an_existing_object_is_refused(t: Trial) {
    let hooks = Hooks::start(&t).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.server.on("change", |_| add("/metadata/name", json!("other")));
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    let refused = t.unrecorded().merge("configmaps/a", json!({ "data": { "k": "2" } })).await;
    assert!((400..500).contains(&refused.code), "{}", refused.body);
    t.get("configmaps/a").await.has("/data/k", json!("1"));
    t.get("configmaps/other").await.is(404);
}

async fn who_wants_to_is_asked_again_after_a_change(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let hook =
        |path, policy: &str| with(hooks.webhook(path, &["configmaps"]), "reinvocationPolicy", json!(policy));
    trail(&hooks, "one", false);
    trail(&hooks, "two", true);
    hooks.allow("three");
    hooks.allow("four");
    let all =
        [hook("three", "IfNeeded"), hook("one", "IfNeeded"), hook("two", "Never"), hook("four", "IfNeeded")];
    hooks.mutating("m", &all).await;
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await;
    made.is(201).has("/data/trail", json!(" one two one"));
    let counts = ["one", "two", "three", "four"].map(|path| hooks.count(path));
    t.note("how often each was asked", json!(counts));
}

async fn nobody_is_asked_again_without_a_change(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("one");
    trail(&hooks, "two", true);
    let again = |path| with(hooks.webhook(path, &["configmaps"]), "reinvocationPolicy", json!("IfNeeded"));
    hooks.mutating("m", &[again("two"), again("one")]).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_eq!((hooks.count("one"), hooks.count("two")), (1, 1));
}

async fn a_change_of_a_custom_resource_is_pruned_and_defaulted(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let schema =
        object(json!({ "size": { "type": "integer" }, "note": { "type": "string", "default": "none" } }));
    let widgets = define(&t, schema, json!({})).await;
    hooks.server.on("change", |request| match request["operation"].as_str() {
        // What an update adds beyond the schema counts as a change until it is dropped, on the real server.
        Some("UPDATE") => patch(json!([{ "op": "add", "path": "/spec/size", "value": 7 }])),
        _ => patch(json!([{ "op": "add", "path": "/spec/unknown", "value": true },
            { "op": "add", "path": "/spec/size", "value": 7 }, { "op": "remove", "path": "/spec/note" }])),
    });
    hooks.mutating("m", &[hooks.webhook("change", &["widgets"])]).await;
    let made = t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    made.has("/spec", json!({ "size": 7, "note": "none" }));
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "size": 3, "note": "x" } })).await.is(200);
    t.apply(&format!("{widgets}/b"), "me", widget(&t, "b", json!({ "size": 2 }))).await.is(201);
    t.get(&format!("{widgets}/b")).await.has("/spec", json!({ "size": 7, "note": "none" }));
}

async fn a_change_through_the_status_changes_the_status(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let widgets = define(
        &t,
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "subresources": { "status": {} } }),
    )
    .await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    hooks.server.on("change", |_| {
        patch(json!([{ "op": "add", "path": "/status/by", "value": "webhook" },
            { "op": "add", "path": "/spec/size", "value": 99 }]))
    });
    hooks.mutating("m", &[hooks.webhook("change", &["widgets/status"])]).await;
    let patched =
        t.merge(&format!("{widgets}/a/status"), json!({ "status": { "phase": "x" } })).await.is(200);
    patched.has("/status", json!({ "phase": "x", "by": "webhook" })).has("/spec/size", json!(1));
}

async fn a_runtime_class_set_by_a_webhook_brings_its_overhead(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let class = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": t.id },
        "handler": "kata", "overhead": { "podFixed": { "memory": "350Mi" } },
        "scheduling": { "nodeSelector": { "kata": "yes" } } });
    t.unrecorded().post("/apis/node.k8s.io/v1/runtimeclasses", class).await.is(201);
    let name = t.id.clone();
    hooks.server.on("change", move |_| add("/spec/runtimeClassName", json!(name)));
    hooks.mutating("m", &[hooks.webhook("change", &["pods"])]).await;
    let made = t.unrecorded().post("pods", pod("p")).await.is(201);
    made.has("/spec/overhead/memory", json!("350Mi")).has("/spec/nodeSelector", json!({ "kata": "yes" }));
}

async fn a_change_of_a_deletion_is_refused(t: Trial) {
    let hooks = Hooks::start(&t).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.server.on("change", |_| add("/data/by", json!("webhook")));
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    t.delete("configmaps/a").await.refused(500, "InternalError");
    t.get("configmaps/a").await.is(200);
}

async fn a_change_undone_changes_nothing(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    hooks.server.on("change", |_| add("/data/k", json!("1")));
    hooks.mutating("m", &[hooks.webhook("change", &["configmaps"])]).await;
    let patched = t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    patched.clone().has("/data/k", json!("1"));
    t.note("as before", json!(patched.version() == made.version()));
}
