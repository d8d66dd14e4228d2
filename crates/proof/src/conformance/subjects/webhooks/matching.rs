//! Which webhooks are asked.

use serde_json::json;

use super::{Hooks, with};
use crate::conformance::case::{Case, cases};
use crate::conformance::subjects::objects::{
    anything, config_map, definition, group, install, labelled, widget,
};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        only_the_operations_of_the_rule,
        only_the_groups_versions_and_resources_of_the_rule,
        only_the_scope_of_the_rule,
        only_the_namespaces_selected,
        only_the_objects_selected_old_or_new,
        other_versions_count_unless_the_match_is_exact,
        an_unselected_object_passes_a_closed_door,
    ]
}

async fn only_the_operations_of_the_rule(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    let mut hook = hooks.webhook("judge", &["configmaps"]);
    hook["rules"][0]["operations"] = json!(["UPDATE"]);
    hooks.validating("v", &[hook]).await;
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_eq!(hooks.count("judge"), 0);
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    t.delete("configmaps/a").await.is(200);
    assert_eq!(hooks.count("judge"), 1);
    hooks.note("judge");
}

async fn only_the_groups_versions_and_resources_of_the_rule(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let paths = ["group", "version", "resource", "all"];
    for path in paths {
        hooks.allow(path);
    }
    let hook = |path: &str, field: &str, value: &str| {
        let mut hook = hooks.webhook(path, &["configmaps"]);
        hook["rules"][0][field] = json!([value]);
        // Other cases have objects without a namespace.
        with(hook, "objectSelector", json!({ "matchLabels": { "own": t.id } }))
    };
    let all = [
        hook("group", "apiGroups", "apps"),
        hook("version", "apiVersions", "v2"),
        hook("resource", "resources", "configmaps/status"),
        hook("all", "resources", "*/*"),
    ];
    hooks.validating("v", &all).await;
    t.post("configmaps", labelled("a", json!({ "own": t.id }))).await.is(201);
    assert_eq!(paths.map(|path| hooks.count(path)), [0, 0, 0, 1]);
}

async fn only_the_scope_of_the_rule(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("inside");
    hooks.allow("outside");
    let hook = |path: &str, scope: &str| {
        let mut hook = hooks.webhook(path, &["configmaps", "runtimeclasses", "namespaces"]);
        hook["rules"][0]["scope"] = json!(scope);
        hook["objectSelector"] = json!({ "matchLabels": { "own": t.id } });
        hook
    };
    hooks.validating("v", &[hook("inside", "Namespaced"), hook("outside", "Cluster")]).await;
    t.post("configmaps", labelled("a", json!({ "own": t.id }))).await.is(201);
    assert_eq!((hooks.count("inside"), hooks.count("outside")), (1, 0));
    let class = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "x",
        "metadata": { "name": t.id, "labels": { "own": t.id } } });
    t.unrecorded().post("/apis/node.k8s.io/v1/runtimeclasses", class).await.is(201);
    assert_eq!((hooks.count("inside"), hooks.count("outside")), (1, 1));
    let own = json!({ "metadata": { "labels": { "own": t.id } } });
    t.unrecorded().merge("/api/v1/namespaces/{id}", own).await.is(200);
    assert_eq!((hooks.count("inside"), hooks.count("outside")), (1, 2));
}

async fn only_the_namespaces_selected(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    hooks.validating("v", &[hooks.webhook("judge", &["configmaps"])]).await;
    let other = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": format!("{}-other", t.id) } });
    t.unrecorded().post("/api/v1/namespaces", other).await.is(201);
    let path = "/api/v1/namespaces/{id}-other/configmaps";
    t.post(path, config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_eq!(hooks.count("judge"), 0);
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert_eq!(hooks.count("judge"), 1);
}

async fn only_the_objects_selected_old_or_new(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.allow("judge");
    let selector = json!({ "matchExpressions": [{ "key": "me", "operator": "In", "values": ["too"] }] });
    hooks.validating("v", &[with(hooks.webhook("judge", &["configmaps"]), "objectSelector", selector)]).await;
    t.post("configmaps", labelled("a", json!({ "me": "not" }))).await.is(201);
    assert_eq!(hooks.count("judge"), 0);
    let label = |value| json!({ "metadata": { "labels": { "me": value } } });
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a", label(json!("too"))).await.is(200);
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a", label(json!(null))).await.is(200);
    hooks.settle("configmaps/a").await;
    t.merge("configmaps/a", json!({ "data": { "k": "1" } })).await.is(200);
    t.delete("configmaps/a").await.is(200);
    assert_eq!(hooks.count("judge"), 2);
    hooks.note("judge");
}

async fn other_versions_count_unless_the_match_is_exact(t: Trial) {
    let hooks = Hooks::start(&t).await;
    let mut definition = definition(&t, anything(), json!({}));
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    install(&t, definition).await;
    hooks.allow("exact");
    hooks.allow("equivalent");
    let hook = |path: &str, policy: &str| {
        let mut hook = with(hooks.webhook(path, &["widgets"]), "matchPolicy", json!(policy));
        hook["rules"][0]["apiVersions"] = json!(["v1"]);
        hook
    };
    hooks.validating("v", &[hook("exact", "Exact"), hook("equivalent", "Equivalent")]).await;
    let path = format!("{}/v2:widgets", group(&t));
    let newer = with(widget(&t, "a", json!({ "size": 1 })), "apiVersion", json!(format!("{}/v2", group(&t))));
    t.unrecorded().until(&format!("/apis/{}/v2/widgets", group(&t)), |answer| answer.code == 200).await;
    t.post(&path, newer).await.is(201);
    assert_eq!((hooks.count("exact"), hooks.count("equivalent")), (0, 1));
    t.post(&format!("{}/v1:widgets", group(&t)), widget(&t, "b", json!({}))).await.is(201);
    assert_eq!((hooks.count("exact"), hooks.count("equivalent")), (1, 2));
    hooks.note("equivalent");
}

async fn an_unselected_object_passes_a_closed_door(t: Trial) {
    let hooks = Hooks::start(&t).await;
    hooks.deny("no", json!({ "message": "no" }));
    let selector = json!({ "matchExpressions": [{ "key": "open", "operator": "DoesNotExist" }] });
    hooks.validating("v", &[with(hooks.webhook("no", &["configmaps"]), "objectSelector", selector)]).await;
    t.post("configmaps", labelled("a", json!({ "open": "sesame" }))).await.is(201);
    t.post("configmaps", labelled("b", json!({}))).await.is(400);
}
