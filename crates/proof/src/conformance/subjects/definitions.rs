//! CustomResourceDefinitions.

use serde_json::{Value, json};

use super::objects::{
    DEFINITIONS, anything, define, definition, definition_path, group, install, object, widget, widgets,
};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        a_definition_is_established,
        a_definition_gets_its_defaults,
        the_name_is_plural_and_group,
        one_version_is_stored,
        a_version_needs_a_schema,
        a_schema_has_to_be_structural,
        a_group_with_kubernetes_in_it_needs_approval,
        names_have_a_form,
        the_scope_is_one_of_two,
        the_scope_is_immutable,
        a_definition_is_created_once,
        a_definition_that_goes_takes_its_resources,
        a_definition_waits_for_finalizers,
        a_version_is_served_or_not,
        two_versions_show_the_same_object,
        a_cluster_scoped_kind,
        columns_need_a_path,
        defaults_have_to_fit,
        a_schema_can_change,
        another_kind_in_the_body_is_refused,
        unknown_versions_are_not_found,
    ]
}

async fn post(t: &Trial, definition: Value) -> crate::conformance::trial::Answer {
    t.post(DEFINITIONS, definition).await
}

fn plain(t: &Trial) -> Value {
    definition(t, anything(), json!({}))
}

fn has_condition(body: &Value, kind: &str) -> bool {
    let conditions = body["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == kind && c["status"] == "True")
}

async fn a_definition_is_established(t: Trial) {
    t.unrecorded().post(DEFINITIONS, plain(&t)).await.is(201);
    let ready = t.unrecorded().until(&definition_path(&t), |a| has_condition(&a.body, "Established")).await;
    assert!(has_condition(&ready.body, "NamesAccepted"));
    t.note("status", ready.body["status"].clone());
    t.note("spec", ready.body["spec"].clone());
    t.unrecorded().until(&widgets(&t), |answer| answer.code == 200).await;
    t.get(&widgets(&t)).await.is(200).has("/kind", json!("WidgetList"));
}

async fn a_definition_gets_its_defaults(t: Trial) {
    let mut bare = plain(&t);
    bare["spec"]["names"] = json!({ "plural": "widgets", "kind": "Widget" });
    let made = t.unrecorded().post(DEFINITIONS, bare).await.is(201);
    assert_eq!(made.body["spec"]["names"]["singular"], "widget");
    t.note("spec", made.body["spec"].clone());
}

async fn the_name_is_plural_and_group(t: Trial) {
    let mut wrong = plain(&t);
    wrong["metadata"]["name"] = json!(format!("others.{}", group(&t)));
    post(&t, wrong).await.refused(422, "Invalid").names("metadata.name");
}

async fn one_version_is_stored(t: Trial) {
    let mut none = plain(&t);
    none["spec"]["versions"][0]["storage"] = json!(false);
    post(&t, none).await.refused(422, "Invalid").names("spec.versions");
    let mut two = plain(&t);
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    two["spec"]["versions"].as_array_mut().unwrap().push(second);
    post(&t, two).await.refused(422, "Invalid").names("spec.versions");
    let mut empty = plain(&t);
    empty["spec"]["versions"] = json!([]);
    post(&t, empty).await.refused(422, "Invalid");
}

async fn a_version_needs_a_schema(t: Trial) {
    let mut bare = plain(&t);
    bare["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
    post(&t, bare).await.refused(422, "Invalid").names("spec.versions[0].schema.openAPIV3Schema");
}

async fn a_schema_has_to_be_structural(t: Trial) {
    for (spec, field) in [
        (json!({ "properties": { "a": { "type": "string" } } }), "spec.type"),
        (object(json!({ "a": {} })), "a.type"),
        (object(json!({ "a": { "type": "array" } })), "a.items"),
    ] {
        let refused = post(&t, definition(&t, spec, json!({}))).await.refused(422, "Invalid");
        let causes = refused.body["details"]["causes"].to_string();
        assert!(causes.contains(field.rsplit('.').next().unwrap()), "{causes}");
    }
}

async fn a_group_with_kubernetes_in_it_needs_approval(t: Trial) {
    let mut protected = plain(&t);
    protected["spec"]["group"] = json!(format!("{}.k8s.io", t.id));
    protected["metadata"]["name"] = json!(format!("widgets.{}.k8s.io", t.id));
    let refused = post(&t, protected).await.refused(422, "Invalid");
    refused.names("metadata.annotations[api-approved.kubernetes.io]");
}

async fn names_have_a_form(t: Trial) {
    let mut wrong = plain(&t);
    wrong["spec"]["names"]["kind"] = json!("wid get");
    post(&t, wrong).await.refused(422, "Invalid").names("spec.names.kind");
    let mut wrong = plain(&t);
    wrong["spec"]["names"]["shortNames"] = json!(["W D"]);
    post(&t, wrong).await.refused(422, "Invalid").names("spec.names.shortNames[0]");
    let mut wrong = plain(&t);
    wrong["spec"]["versions"][0]["name"] = json!("V 1");
    post(&t, wrong).await.refused(422, "Invalid");
}

async fn the_scope_is_one_of_two(t: Trial) {
    let mut wrong = plain(&t);
    wrong["spec"]["scope"] = json!("Everywhere");
    post(&t, wrong).await.refused(422, "Invalid").names("spec.scope");
    let mut none = plain(&t);
    none["spec"].as_object_mut().unwrap().remove("scope");
    post(&t, none).await.refused(422, "Invalid").names("spec.scope");
}

async fn the_scope_is_immutable(t: Trial) {
    install(&t, plain(&t)).await;
    t.merge(&definition_path(&t), json!({ "spec": { "scope": "Cluster" } }))
        .await
        .refused(422, "Invalid")
        .names("spec.scope");
}

async fn a_definition_is_created_once(t: Trial) {
    install(&t, plain(&t)).await;
    post(&t, plain(&t)).await.refused(409, "AlreadyExists");
}

async fn a_definition_that_goes_takes_its_resources(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.unrecorded().post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.unrecorded().delete(&definition_path(&t)).await.is(200);
    t.until_gone(&definition_path(&t)).await;
    t.unrecorded().until(&widgets, |answer| answer.code == 404).await;
    install(&t, plain(&t)).await;
    t.get(&widgets).await.is(200).has("/items", json!([]));
}

async fn a_definition_waits_for_finalizers(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let mut held = widget(&t, "a", json!({ "size": 1 }));
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let quiet = t.unrecorded();
    quiet.post(&widgets, held).await.is(201);
    quiet.delete(&definition_path(&t)).await.is(200);
    let path = format!("{widgets}/a");
    quiet.until(&path, |a| !a.metadata("deletionTimestamp").is_empty()).await;
    quiet.get(&definition_path(&t)).await.is(200);
    t.post(&widgets, widget(&t, "b", json!({ "size": 1 }))).await.refused(405, "MethodNotAllowed");
    quiet.merge(&path, json!({ "metadata": { "finalizers": null } })).await.is(200);
    t.until_gone(&definition_path(&t)).await;
}

/// A definition with versions `v1` and `v2`.
fn two_versions(t: &Trial) -> Value {
    let mut definition = plain(t);
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    definition
}

fn second(t: &Trial) -> String {
    format!("{}/v2:widgets", group(t))
}

async fn a_version_is_served_or_not(t: Trial) {
    install(&t, two_versions(&t)).await;
    t.unrecorded().until(&second(&t), |answer| answer.code == 200).await;
    let patch = json!([{ "op": "replace", "path": "/spec/versions/1/served", "value": false }]);
    t.unrecorded().json_patch(&definition_path(&t), patch).await.is(200);
    t.unrecorded().until(&second(&t), |answer| answer.code == 404).await;
    t.get(&second(&t)).await.is(404);
    t.get(&widgets(&t)).await.is(200);
}

async fn two_versions_show_the_same_object(t: Trial) {
    install(&t, two_versions(&t)).await;
    t.unrecorded().until(&second(&t), |answer| answer.code == 200).await;
    t.unrecorded().post(&widgets(&t), widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let path = format!("{}/a", second(&t));
    t.get(&path).await.is(200).has("/apiVersion", json!(format!("{}/v2", group(&t))));
    t.merge(&path, json!({ "spec": { "size": 2 } })).await.is(200);
    t.get(&format!("{}/a", widgets(&t)))
        .await
        .is(200)
        .has("/spec/size", json!(2))
        .has("/apiVersion", json!(format!("{}/v1", group(&t))));
    t.get(&second(&t)).await.is(200).has("/items/0/apiVersion", json!(format!("{}/v2", group(&t))));
}

async fn a_cluster_scoped_kind(t: Trial) {
    let mut cluster = plain(&t);
    cluster["spec"]["scope"] = json!("Cluster");
    install(&t, cluster).await;
    let path = format!("/apis/{}/v1/widgets", group(&t));
    t.post(&path, widget(&t, "a", json!({ "size": 1 })))
        .await
        .is(201)
        .has("/metadata/namespace", json!(null));
    t.get(&widgets(&t)).await.is(404);
}

async fn columns_need_a_path(t: Trial) {
    let columns = json!({ "additionalPrinterColumns": [{ "name": "Size", "type": "whole", "jsonPath": ".spec.size" }] });
    let refused = post(&t, definition(&t, anything(), columns)).await.refused(422, "Invalid");
    refused.names("spec.additionalPrinterColumns[0].type");
    let columns = json!({ "additionalPrinterColumns": [{ "name": "Size", "type": "integer" }] });
    let refused = post(&t, definition(&t, anything(), columns)).await.refused(422, "Invalid");
    refused.names("spec.additionalPrinterColumns[0].JSONPath");
}

async fn defaults_have_to_fit(t: Trial) {
    let spec = object(json!({ "size": { "type": "integer", "default": "three" } }));
    post(&t, definition(&t, spec, json!({}))).await.refused(422, "Invalid");
}

async fn a_schema_can_change(t: Trial) {
    let widgets = define(&t, object(json!({ "size": { "type": "integer" } })), json!({})).await;
    let quiet = t.unrecorded();
    quiet.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let patch = json!([{ "op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour",
        "value": { "type": "string", "default": "red" } }]);
    quiet.json_patch(&definition_path(&t), patch).await.is(200).has("/metadata/generation", json!(2));
    quiet.until(&format!("{widgets}/a"), |a| a.body["spec"]["colour"] == "red").await;
    t.get(&format!("{widgets}/a")).await.is(200).has("/spec/colour", json!("red"));
}

async fn another_kind_in_the_body_is_refused(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let mut wrong = widget(&t, "a", json!({ "size": 1 }));
    wrong["kind"] = json!("Gadget");
    t.post(&widgets, wrong).await.refused(422, "Invalid").names("kind");
    let mut wrong = widget(&t, "a", json!({ "size": 1 }));
    wrong["apiVersion"] = json!("example.com/v1");
    t.post(&widgets, wrong).await.refused(400, "BadRequest");
}

async fn unknown_versions_are_not_found(t: Trial) {
    install(&t, plain(&t)).await;
    t.get(&second(&t)).await.is(404);
    t.get(&format!("{}/v1:gadgets", group(&t))).await.is(404);
}
