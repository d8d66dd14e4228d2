//! Dry runs: everything but the storing.

use serde_json::json;

use super::objects::{anything, config_map, define, labelled, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_dry_creation,
        a_dry_creation_with_a_generated_name,
        a_dry_creation_is_validated,
        a_dry_replacement,
        dry_patches,
        a_dry_apply,
        a_dry_deletion,
        a_dry_deletion_of_a_collection,
        a_dry_run_of_a_custom_resource,
        a_dry_run_that_is_not_known_is_refused,
    ]
}

async fn a_dry_creation(t: Trial) {
    let made = t.post("configmaps?dryRun=All", config_map("a", json!({ "k": "v" }))).await.is(201);
    assert!(!made.uid().is_empty());
    t.get("configmaps/a").await.refused(404, "NotFound");
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.post("configmaps?dryRun=All", config_map("a", json!({ "k": "v" }))).await.refused(409, "AlreadyExists");
}

async fn a_dry_creation_with_a_generated_name(t: Trial) {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "x-" } });
    let made = t.post("configmaps?dryRun=All", object).await.is(201);
    t.hide(&made.metadata("name"), "generated");
}

async fn a_dry_creation_is_validated(t: Trial) {
    t.post("configmaps?dryRun=All", config_map("a", json!({ "a b": "v" }))).await.refused(422, "Invalid");
}

async fn a_dry_replacement(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let dry = t.put("configmaps/a?dryRun=All", config_map("a", json!({ "k": "2" }))).await.is(200);
    assert_eq!((dry.version(), &dry.body["data"]["k"]), (made.version(), &json!("2")));
    t.get("configmaps/a").await.is(200).has("/data/k", json!("1"));
}

async fn dry_patches(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = json!({ "data": { "k": "2" } });
    t.merge("configmaps/a?dryRun=All", patch.clone()).await.is(200).has("/data/k", json!("2"));
    t.strategic("configmaps/a?dryRun=All", patch).await.is(200).has("/data/k", json!("2"));
    let patch = json!([{ "op": "remove", "path": "/data/k" }]);
    t.json_patch("configmaps/a?dryRun=All", patch).await.is(200).has("/data/k", json!(null));
    t.get("configmaps/a").await.is(200).has("/data/k", json!("1"));
}

async fn a_dry_apply(t: Trial) {
    let config = config_map("a", json!({ "k": "1" }));
    t.apply_raw("configmaps/a?fieldManager=one&dryRun=All", config.clone()).await.is(201);
    t.get("configmaps/a").await.refused(404, "NotFound");
    t.apply("configmaps/a", "one", config).await.is(201);
    let other = config_map("a", json!({ "k": "2" }));
    t.apply_raw("configmaps/a?fieldManager=two&dryRun=All", other.clone()).await.refused(409, "Conflict");
    t.apply_raw("configmaps/a?fieldManager=two&dryRun=All&force=true", other)
        .await
        .is(200)
        .has("/data/k", json!("2"));
    t.get("configmaps/a").await.is(200).has("/data/k", json!("1"));
}

async fn a_dry_deletion(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.delete("configmaps/a?dryRun=All").await.is(200);
    t.delete_with("configmaps/a", json!({ "dryRun": ["All"] })).await.is(200);
    t.get("configmaps/a").await.is(200);
}

async fn a_dry_deletion_of_a_collection(t: Trial) {
    t.post("configmaps", labelled("a", json!({ "x": "y" }))).await.is(201);
    t.delete("configmaps?labelSelector=x&dryRun=All").await.is(200);
    t.get("configmaps/a").await.is(200);
}

async fn a_dry_run_of_a_custom_resource(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&format!("{widgets}?dryRun=All"), widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.get(&format!("{widgets}/a")).await.refused(404, "NotFound");
}

async fn a_dry_run_that_is_not_known_is_refused(t: Trial) {
    t.post("configmaps?dryRun=Half", config_map("a", json!({ "k": "v" }))).await.refused(422, "Invalid");
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.merge("configmaps/a?dryRun=Half", json!({ "data": { "k": "2" } })).await.refused(422, "Invalid");
    t.delete("configmaps/a?dryRun=Half").await.refused(422, "Invalid");
}
