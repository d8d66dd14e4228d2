//! Structural schemas of custom resources: validation, defaults and pruning.

use serde_json::{Value, json};

use super::objects::{anything, define, object, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        types_are_checked,
        required_fields_are_needed,
        enumerations_are_kept,
        patterns_are_kept,
        texts_have_lengths,
        numbers_have_bounds,
        bounds_can_be_exclusive,
        numbers_are_multiples,
        lists_have_lengths,
        maps_have_sizes,
        formats_are_checked,
        defaults_are_filled_in,
        nested_defaults_need_their_parent,
        defaults_in_lists,
        null_and_defaults,
        a_nullable_field_keeps_null,
        a_field_that_is_not_nullable_drops_null,
        unknown_fields_are_pruned,
        unknown_fields_can_be_kept,
        fields_below_what_is_kept_are_known,
        an_embedded_resource_has_metadata,
        a_number_or_a_text,
        sets_have_no_duplicates,
        maps_by_key_have_no_duplicates,
        additional_properties_are_checked,
        one_of_several,
        all_of_several,
        any_and_none_of_several,
        updates_are_validated_too,
        the_status_is_validated_too,
        metadata_is_not_pruned_away,
        several_complaints_come_together,
        old_objects_are_defaulted_when_read,
    ]
}

/// A definition whose `spec` has one field `f` of this schema.
async fn field(t: &Trial, schema: Value) -> String {
    define(t, object(json!({ "f": schema })), json!({})).await
}

async fn takes(t: &Trial, widgets: &str, name: &str, value: Value) {
    t.post(widgets, widget(t, name, json!({ "f": value }))).await.is(201);
}

async fn refuses(t: &Trial, widgets: &str, value: Value, field: &str) {
    t.post(widgets, widget(t, "bad", json!({ "f": value }))).await.refused(422, "Invalid").names(field);
}

async fn types_are_checked(t: Trial) {
    let all = object(
        json!({ "s": { "type": "string" }, "i": { "type": "integer" }, "n": { "type": "number" },
        "b": { "type": "boolean" }, "a": { "type": "array", "items": { "type": "string" } }, "o": { "type": "object" } }),
    );
    let widgets = define(&t, all, json!({})).await;
    let good = json!({ "s": "x", "i": 1, "n": 1.5, "b": true, "a": ["x"], "o": {} });
    t.post(&widgets, widget(&t, "a", good)).await.is(201);
    for (name, value) in [
        ("s", json!(1)),
        ("i", json!("1")),
        ("i", json!(1.5)),
        ("n", json!("x")),
        ("b", json!("true")),
        ("a", json!({})),
        ("o", json!([])),
    ] {
        let answer = t.post(&widgets, widget(&t, "bad", json!({ name: value }))).await;
        answer.refused(422, "Invalid").names(&format!("spec.{name}"));
    }
}

async fn required_fields_are_needed(t: Trial) {
    let spec = json!({ "type": "object", "required": ["f"], "properties": { "f": { "type": "string" } } });
    let widgets = define(&t, spec, json!({})).await;
    t.post(&widgets, widget(&t, "bad", json!({}))).await.refused(422, "Invalid").names("spec.f");
    takes(&t, &widgets, "a", json!("")).await;
}

async fn enumerations_are_kept(t: Trial) {
    let widgets = field(&t, json!({ "type": "string", "enum": ["red", "green"] })).await;
    takes(&t, &widgets, "a", json!("red")).await;
    refuses(&t, &widgets, json!("blue"), "spec.f").await;
}

async fn patterns_are_kept(t: Trial) {
    let widgets = field(&t, json!({ "type": "string", "pattern": "^[a-z]+-[0-9]{2}$" })).await;
    takes(&t, &widgets, "a", json!("abc-12")).await;
    refuses(&t, &widgets, json!("abc-1"), "spec.f").await;
}

async fn texts_have_lengths(t: Trial) {
    let widgets = field(&t, json!({ "type": "string", "minLength": 2, "maxLength": 4 })).await;
    takes(&t, &widgets, "a", json!("äöüß")).await;
    refuses(&t, &widgets, json!("a"), "spec.f").await;
    refuses(&t, &widgets, json!("abcde"), "spec.f").await;
}

async fn numbers_have_bounds(t: Trial) {
    let widgets = field(&t, json!({ "type": "integer", "minimum": 1, "maximum": 3 })).await;
    takes(&t, &widgets, "a", json!(1)).await;
    takes(&t, &widgets, "b", json!(3)).await;
    refuses(&t, &widgets, json!(0), "spec.f").await;
    refuses(&t, &widgets, json!(4), "spec.f").await;
}

async fn bounds_can_be_exclusive(t: Trial) {
    let schema = json!({ "type": "number", "minimum": 1, "exclusiveMinimum": true, "maximum": 2, "exclusiveMaximum": true });
    let widgets = field(&t, schema).await;
    takes(&t, &widgets, "a", json!(1.5)).await;
    refuses(&t, &widgets, json!(1), "spec.f").await;
    refuses(&t, &widgets, json!(2), "spec.f").await;
}

async fn numbers_are_multiples(t: Trial) {
    let widgets = field(&t, json!({ "type": "integer", "multipleOf": 5 })).await;
    takes(&t, &widgets, "a", json!(15)).await;
    refuses(&t, &widgets, json!(7), "spec.f").await;
}

async fn lists_have_lengths(t: Trial) {
    let widgets =
        field(&t, json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1, "maxItems": 2 }))
            .await;
    takes(&t, &widgets, "a", json!([1, 2])).await;
    refuses(&t, &widgets, json!([]), "spec.f").await;
    refuses(&t, &widgets, json!([1, 2, 3]), "spec.f").await;
}

async fn maps_have_sizes(t: Trial) {
    let schema = json!({ "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1, "maxProperties": 2 });
    let widgets = field(&t, schema).await;
    takes(&t, &widgets, "a", json!({ "x": "1" })).await;
    refuses(&t, &widgets, json!({}), "spec.f").await;
    refuses(&t, &widgets, json!({ "x": "1", "y": "1", "z": "1" }), "spec.f").await;
}

async fn formats_are_checked(t: Trial) {
    let all = object(
        json!({ "t": { "type": "string", "format": "date-time" }, "d": { "type": "string", "format": "date" },
        "u": { "type": "string", "format": "uuid" }, "i": { "type": "string", "format": "ipv4" },
        "b": { "type": "string", "format": "byte" }, "x": { "type": "string", "format": "nobody-knows" } }),
    );
    let widgets = define(&t, all, json!({})).await;
    let good = json!({ "t": "2020-01-01T00:00:00Z", "d": "2020-01-01", "u": "0f3a2b1c-0000-4000-8000-000000000000",
        "i": "10.0.0.1", "b": "eA==", "x": "anything" });
    t.post(&widgets, widget(&t, "a", good)).await.is(201);
    for (name, value) in
        [("t", "yesterday"), ("d", "2020-13-01"), ("u", "no"), ("i", "300.0.0.1"), ("b", "!")]
    {
        let answer = t.post(&widgets, widget(&t, "bad", json!({ name: value }))).await;
        answer.refused(422, "Invalid").names(&format!("spec.{name}"));
    }
}

async fn defaults_are_filled_in(t: Trial) {
    let spec = object(
        json!({ "s": { "type": "string", "default": "x" }, "i": { "type": "integer", "default": 3 },
        "b": { "type": "boolean", "default": true }, "l": { "type": "array", "items": { "type": "string" }, "default": ["a"] } }),
    );
    let widgets = define(&t, spec, json!({})).await;
    let made = t.post(&widgets, widget(&t, "a", json!({ "i": 5 }))).await.is(201);
    made.has("/spec", json!({ "s": "x", "i": 5, "b": true, "l": ["a"] }));
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "i": null } })).await.is(200).has("/spec/i", json!(3));
}

async fn nested_defaults_need_their_parent(t: Trial) {
    let spec = object(json!({ "without": object(json!({ "x": { "type": "string", "default": "y" } })),
        "with": { "type": "object", "default": {}, "properties": { "x": { "type": "string", "default": "y" } } } }));
    let widgets = define(&t, spec, json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({}))).await.is(201).has("/spec", json!({ "with": { "x": "y" } }));
    t.post(&widgets, widget(&t, "b", json!({ "without": {} })))
        .await
        .is(201)
        .has("/spec/without/x", json!("y"));
}

async fn defaults_in_lists(t: Trial) {
    let schema = json!({ "type": "array", "items": { "type": "object", "properties": {
        "x": { "type": "string", "default": "y" }, "n": { "type": "integer" } } } });
    let widgets = field(&t, schema).await;
    let made = t.post(&widgets, widget(&t, "a", json!({ "f": [{ "n": 1 }, { "x": "z" }] }))).await.is(201);
    made.has("/spec/f", json!([{ "n": 1, "x": "y" }, { "x": "z" }]));
}

async fn null_and_defaults(t: Trial) {
    let spec = object(
        json!({ "a": { "type": "string", "default": "x" }, "b": { "type": "string", "default": "x", "nullable": true } }),
    );
    let widgets = define(&t, spec, json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "a": null, "b": null })))
        .await
        .is(201)
        .has("/spec/a", json!("x"));
}

async fn a_nullable_field_keeps_null(t: Trial) {
    let widgets = field(&t, json!({ "type": "string", "nullable": true })).await;
    let made = t.post(&widgets, widget(&t, "a", json!({ "f": null }))).await.is(201);
    assert!(made.body["spec"].as_object().unwrap().contains_key("f"));
}

async fn a_field_that_is_not_nullable_drops_null(t: Trial) {
    let widgets = field(&t, json!({ "type": "string" })).await;
    t.post(&widgets, widget(&t, "a", json!({ "f": null }))).await;
}

async fn unknown_fields_are_pruned(t: Trial) {
    let widgets = field(&t, object(json!({ "x": { "type": "string" } }))).await;
    let mut sent = widget(&t, "a", json!({ "f": { "x": "1", "y": "2" }, "g": 1 }));
    sent["other"] = json!({ "z": 1 });
    let made = t.post(&widgets, sent).await.is(201);
    made.has("/spec", json!({ "f": { "x": "1" } })).has("/other", json!(null));
    t.merge(&format!("{widgets}/a"), json!({ "spec": { "f": { "y": "2" } } }))
        .await
        .is(200)
        .has("/spec/f/y", json!(null));
}

async fn unknown_fields_can_be_kept(t: Trial) {
    let widgets = field(&t, anything()).await;
    let value = json!({ "x": "1", "deep": [1, { "a": null }] });
    t.post(&widgets, widget(&t, "a", json!({ "f": value, "g": 1 })))
        .await
        .is(201)
        .has("/spec/g", json!(null))
        .has("/spec/f/x", json!("1"));
}

async fn fields_below_what_is_kept_are_known(t: Trial) {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "known": object(json!({ "x": { "type": "integer" } })) } });
    let widgets = field(&t, schema).await;
    let made = t
        .post(&widgets, widget(&t, "a", json!({ "f": { "known": { "x": 1, "y": 2 }, "other": { "y": 2 } } })))
        .await
        .is(201);
    made.has("/spec/f", json!({ "known": { "x": 1 }, "other": { "y": 2 } }));
    refuses(&t, &widgets, json!({ "known": { "x": "1" } }), "spec.f.known.x").await;
}

async fn an_embedded_resource_has_metadata(t: Trial) {
    let schema = json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true });
    let widgets = field(&t, schema).await;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "unknown": 1 }, "spec": { "a": 1 } });
    let made = t.unrecorded().post(&widgets, widget(&t, "a", json!({ "f": pod }))).await.is(201);
    assert_eq!(made.body["spec"]["f"]["spec"]["a"], 1);
    t.post(&widgets, widget(&t, "bad", json!({ "f": { "spec": {} } }))).await.refused(422, "Invalid");
}

async fn a_number_or_a_text(t: Trial) {
    let widgets = field(&t, json!({ "x-kubernetes-int-or-string": true })).await;
    takes(&t, &widgets, "a", json!(1)).await;
    takes(&t, &widgets, "b", json!("25%")).await;
    t.post(&widgets, widget(&t, "bad", json!({ "f": true }))).await.refused(422, "Invalid");
}

async fn sets_have_no_duplicates(t: Trial) {
    let widgets =
        field(&t, json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } }))
            .await;
    takes(&t, &widgets, "a", json!(["x", "y"])).await;
    refuses(&t, &widgets, json!(["x", "x"]), "spec.f[1]").await;
}

async fn maps_by_key_have_no_duplicates(t: Trial) {
    let schema = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "n": { "type": "integer" } } } });
    let widgets = field(&t, schema).await;
    takes(&t, &widgets, "a", json!([{ "name": "x" }, { "name": "y" }])).await;
    refuses(&t, &widgets, json!([{ "name": "x", "n": 1 }, { "name": "x", "n": 2 }]), "spec.f[1]").await;
}

async fn additional_properties_are_checked(t: Trial) {
    let widgets =
        field(&t, json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 } }))
            .await;
    takes(&t, &widgets, "a", json!({ "x": 1 })).await;
    refuses(&t, &widgets, json!({ "x": 0 }), "spec.f.x").await;
    refuses(&t, &widgets, json!({ "x": "1" }), "spec.f.x").await;
}

fn choice(word: &str) -> Value {
    json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
        word: [{ "required": ["a"] }, { "required": ["b"] }] })
}

async fn one_of_several(t: Trial) {
    let widgets = field(&t, choice("oneOf")).await;
    takes(&t, &widgets, "a", json!({ "a": "1" })).await;
    t.post(&widgets, widget(&t, "bad", json!({ "f": {} }))).await.refused(422, "Invalid");
    t.post(&widgets, widget(&t, "bad", json!({ "f": { "a": "1", "b": "1" } }))).await.refused(422, "Invalid");
}

async fn all_of_several(t: Trial) {
    let widgets = field(&t, choice("allOf")).await;
    takes(&t, &widgets, "a", json!({ "a": "1", "b": "1" })).await;
    t.post(&widgets, widget(&t, "bad", json!({ "f": { "a": "1" } }))).await.refused(422, "Invalid");
}

async fn any_and_none_of_several(t: Trial) {
    let mut schema = choice("anyOf");
    schema["not"] = json!({ "required": ["a", "b"] });
    let widgets = field(&t, schema).await;
    takes(&t, &widgets, "a", json!({ "b": "1" })).await;
    t.post(&widgets, widget(&t, "bad", json!({ "f": {} }))).await.refused(422, "Invalid");
    t.post(&widgets, widget(&t, "bad", json!({ "f": { "a": "1", "b": "1" } }))).await.refused(422, "Invalid");
}

async fn updates_are_validated_too(t: Trial) {
    let widgets = field(&t, json!({ "type": "integer", "maximum": 3 })).await;
    takes(&t, &widgets, "a", json!(1)).await;
    let path = format!("{widgets}/a");
    t.merge(&path, json!({ "spec": { "f": 4 } })).await.refused(422, "Invalid").names("spec.f");
    t.json_patch(&path, json!([{ "op": "replace", "path": "/spec/f", "value": "x" }]))
        .await
        .refused(422, "Invalid");
    t.apply_forced(&path, "one", widget(&t, "a", json!({ "f": 9 }))).await.refused(422, "Invalid");
}

async fn the_status_is_validated_too(t: Trial) {
    let mut definition =
        super::objects::definition(&t, anything(), json!({ "subresources": { "status": {} } }));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] =
        object(json!({ "ready": { "type": "boolean" }, "count": { "type": "integer", "default": 0 } }));
    super::objects::install(&t, definition).await;
    let widgets = super::objects::widgets(&t);
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let status = format!("{widgets}/a/status");
    t.merge(&status, json!({ "status": { "ready": "yes" } }))
        .await
        .refused(422, "Invalid")
        .names("status.ready");
    t.merge(&status, json!({ "status": { "ready": true, "unknown": 1 } }))
        .await
        .is(200)
        .has("/status", json!({ "ready": true, "count": 0 }));
}

async fn metadata_is_not_pruned_away(t: Trial) {
    let widgets = field(&t, json!({ "type": "integer" })).await;
    let mut sent = widget(&t, "a", json!({ "f": 1 }));
    sent["metadata"]["labels"] = json!({ "x": "y" });
    sent["metadata"]["annotations"] = json!({ "x": "y" });
    sent["metadata"]["unknown"] = json!(1);
    t.post(&widgets, sent)
        .await
        .is(201)
        .has("/metadata/labels/x", json!("y"))
        .has("/metadata/unknown", json!(null));
}

async fn several_complaints_come_together(t: Trial) {
    let spec = object(
        json!({ "a": { "type": "integer", "minimum": 1 }, "b": { "type": "string", "maxLength": 1 } }),
    );
    let widgets = define(&t, spec, json!({})).await;
    let mut sent = widget(&t, "a", json!({ "a": 0, "b": "xx" }));
    sent["metadata"]["labels"] = json!({ "a b": "" });
    t.post(&widgets, sent)
        .await
        .refused(422, "Invalid")
        .names("spec.a")
        .names("spec.b")
        .names("metadata.labels");
}

async fn old_objects_are_defaulted_when_read(t: Trial) {
    let widgets = field(&t, json!({ "type": "integer" })).await;
    takes(&t, &widgets, "a", json!(1)).await;
    let list = t.get(&widgets).await.is(200);
    assert_eq!(list.items(), ["a"]);
}
