use super::*;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

/// A schema whose `spec` is the given one.
fn schema(spec: &Value) -> Schema {
    let metadata = json!({"type": "object"});
    Schema::from_openapi(&json!({"type": "object", "properties": {"spec": spec, "metadata": metadata}}))
        .unwrap()
}

fn complaints(x: &Value, value: &Value) -> Vec<String> {
    let object = json!({"apiVersion": "e/v1", "kind": "E", "metadata": {"name": "e"}, "spec": {"x": value}});
    let spec = json!({"type": "object", "properties": {"x": x}});
    schema(&spec).validate(&object).iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::fits(json!({"type": "integer"}), json!(3), &[])]
#[case::whole(json!({"type": "integer"}), json!(3.0), &[])]
#[case::number(json!({"type": "number"}), json!(3), &[])]
#[case::kind(json!({"type": "integer"}), json!("a"),
    &[r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#])]
#[case::null(json!({"type": "integer"}), json!(null),
    &[r#"spec.x: Invalid value: "null": spec.x in body must be of type integer: "null""#])]
#[case::nullable(json!({"type": "integer", "nullable": true}), json!(null), &[])]
#[case::int_or_string(json!({"x-kubernetes-int-or-string": true}), json!("50%"), &[])]
#[case::int_or_string_bad(json!({"x-kubernetes-int-or-string": true}), json!(true),
    &[r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#])]
#[case::one_of_values(json!({"type": "string", "enum": ["b", "c"]}), json!("a"),
    &[r#"spec.x: Unsupported value: "a": supported values: "b", "c""#])]
#[case::maximum(json!({"type": "integer", "maximum": 2}), json!(3),
    &["spec.x: Invalid value: 3: spec.x in body should be less than or equal to 2"])]
#[case::below(json!({"type": "integer", "maximum": 3, "exclusiveMaximum": true}), json!(3),
    &["spec.x: Invalid value: 3: spec.x in body should be less than 3"])]
#[case::minimum(json!({"type": "number", "minimum": 0.5}), json!(0.1),
    &["spec.x: Invalid value: 0.1: spec.x in body should be greater than or equal to 0.5"])]
#[case::multiple(json!({"type": "integer", "multipleOf": 5}), json!(7),
    &["spec.x: Invalid value: 7: spec.x in body should be a multiple of 5"])]
#[case::int32(json!({"type": "integer", "format": "int32"}), json!(3_000_000_000_i64),
    &[r#"spec.x: Invalid value: "integer": spec.x in body must be of type int32: "integer""#])]
#[case::short(json!({"type": "string", "minLength": 2}), json!("ü"),
    &[r#"spec.x: Invalid value: "ü": spec.x in body should be at least 2 chars long"#])]
#[case::long(json!({"type": "string", "maxLength": 2}), json!("abc"), &["spec.x: Too long: may not be more than 2 bytes"])]
#[case::pattern(json!({"type": "string", "pattern": "^a+$"}), json!("b"),
    &[r#"spec.x: Invalid value: "b": spec.x in body should match '^a+$'"#])]
#[case::date(json!({"type": "string", "format": "date-time"}), json!("foo"),
    &[r#"spec.x: Invalid value: "foo": spec.x in body must be of type date-time: "foo""#])]
#[case::few(json!({"type": "array", "minItems": 1, "items": {"type": "string"}}), json!([]),
    &["spec.x: Invalid value: 0: spec.x in body should have at least 1 items"])]
#[case::many(json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}), json!(["a", "b"]),
    &["spec.x: Too many: 2: must have at most 1 item"])]
#[case::items(json!({"type": "array", "items": {"type": "string"}}), json!(["a", 3]),
    &[r#"spec.x[1]: Invalid value: "integer": spec.x[1] in body must be of type string: "integer""#])]
#[case::set(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), json!(["a", "b", "a"]),
    &[r#"spec.x[2]: Duplicate value: "a""#])]
#[case::keyed(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string", "default": "a"}}}}), json!([{"k": "a"}, {}]),
    &[r#"spec.x[1]: Duplicate value: {"k":"a"}"#])]
#[case::properties(json!({"type": "object", "minProperties": 1}), json!({}),
    &["spec.x: Invalid value: 0: spec.x in body should have at least 1 properties"])]
#[case::required(json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}), json!({}),
    &["spec.x.a: Required value"])]
#[case::map(json!({"type": "object", "additionalProperties": {"type": "string"}}), json!({"a": 1}),
    &[r#"spec.x.a: Invalid value: "integer": spec.x.a in body must be of type string: "integer""#])]
#[case::any_of(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({}),
    &["spec.x.a: Required value", r#"<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)"#])]
#[case::one_of(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({"a": "", "b": ""}),
    &[r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#])]
#[case::not(json!({"type": "string", "not": {"enum": ["a"]}}), json!("a"),
    &[r#"<nil>: Invalid value: "": "spec.x" must not validate the schema (not)"#])]
#[case::all_of(json!({"type": "integer", "allOf": [{"minimum": 1}, {"maximum": 5}]}), json!(7),
    &["spec.x: Invalid value: 7: spec.x in body should be less than or equal to 5",
      r#"<nil>: Invalid value: "": "spec.x" must validate all the schemas (allOf)"#])]
#[case::embedded(json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
    json!({"kind": "Pod"}), &["spec.x.apiVersion: Required value: must not be empty"])]
fn validates(#[case] x: Value, #[case] value: Value, #[case] expected: &[&str]) {
    assert_eq!(complaints(&x, &value), expected);
}

#[rstest]
#[case::absent(json!({}), json!({"a": 1, "o": {"b": "x"}}))]
#[case::null_with_default(json!({"a": null, "o": {}}), json!({"a": 1, "o": {"b": "x"}}))]
#[case::null_without_default(json!({"plain": null}), json!({"a": 1, "o": {"b": "x"}}))]
#[case::nullable_null(json!({"n": null}), json!({"a": 1, "n": null, "o": {"b": "x"}}))]
#[case::kept(json!({"a": 2, "o": {"b": "y"}}), json!({"a": 2, "o": {"b": "y"}}))]
#[case::inside(json!({"list": [{}, {"c": 2}], "map": {"k": {}, "gone": null}}),
    json!({"a": 1, "o": {"b": "x"}, "list": [{"c": 1}, {"c": 2}], "map": {"k": {"c": 1}}}))]
fn defaults(#[case] spec: Value, #[case] expected: Value) {
    let c = json!({"type": "object", "properties": {"c": {"type": "integer", "default": 1}}});
    let schema = schema(&json!({"type": "object", "properties": {
        "a": {"type": "integer", "default": 1},
        "n": {"type": "integer", "default": 1, "nullable": true},
        "plain": {"type": "integer"},
        "o": {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}},
        "list": {"type": "array", "items": c},
        "map": {"type": "object", "additionalProperties": c},
    }}));
    let mut object = json!({ "spec": spec });
    schema.default(&mut object);
    let mut expected = expected;
    if !object["spec"].as_object().unwrap().contains_key("n") || expected.get("n").is_none() {
        expected["n"] = json!(1);
    }
    assert_eq!(object["spec"], expected);
}

#[test]
fn prunes_what_the_schema_does_not_know() {
    let schema = schema(&json!({"type": "object", "properties": {
        "known": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"strict": {"type": "object", "properties": {}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object"}},
        "any": {"type": "object", "additionalProperties": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {}},
    }}));
    let mut object = json!({
        "apiVersion": "e/v1", "kind": "E", "metadata": {"name": "e", "odd": 1}, "other": 1,
        "spec": {
            "known": "x", "foo": {"a": 1}, "list": [{"a": "", "b": 1}], "free": {"x": {"y": 1}, "strict": {"z": 1}},
            "map": {"k": {"gone": 1}}, "any": {"x": {"y": 1}},
            "template": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "t"}, "spec": {}}
        }
    });
    let mut dropped = schema.prune(&mut object);
    dropped.sort();
    assert_eq!(
        dropped,
        [
            "other",
            // As kube-apiserver does: the fields are allowed, and nothing is said of what is in them.
            "spec.any.x.y",
            "spec.foo",
            "spec.free.strict.z",
            "spec.list[0].b",
            "spec.map.k.gone",
            "spec.template.spec"
        ]
    );
    assert_eq!(
        object["spec"],
        json!({
            "known": "x", "list": [{"a": ""}], "free": {"x": {"y": 1}, "strict": {}}, "map": {"k": {}},
            "any": {"x": {}}, "template": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "t"}}
        })
    );
    assert_eq!(object["metadata"], json!({"name": "e", "odd": 1}));
}

#[rstest]
#[case(json!({}), "type: Required value: must not be empty at the root")]
#[case(json!({"type": "array", "items": {"type": "string"}}), "type: Invalid value: \"array\": must be object at the root")]
#[case(json!({"type": "object", "properties": {"spec": {}}}),
    "properties[spec].type: Required value: must not be empty for specified object fields")]
#[case(json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
    "properties[a].items.type: Required value: must not be empty for specified array items")]
#[case(json!({"type": "object", "properties": {"a": {"type": "text"}}}), "properties[a].type: Unsupported value: \"text\"")]
#[case(json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}), "properties[a].pattern: Invalid value")]
#[case(json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}}}),
    "properties[a].x-kubernetes-list-map-keys: Required value")]
#[case(json!([]), ": Invalid value: []: must be a schema object")]
fn refuses_schemas(#[case] v: Value, #[case] expected: &str) {
    let errors = Schema::from_openapi(&v).unwrap_err();
    let text = errors[0].to_string();
    assert!(text.starts_with(expected), "{text}");
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3).prop_map(Value::from), "[ab]".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|spec", inner, 0..4)
                .prop_map(|m| m.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn pruning_and_defaulting_are_idempotent(object in documents()) {
        let schema = schema(&json!({"type": "object", "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 2}}},
            "b": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "nullable": true}}}},
            "c": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "string", "default": "x"}}}},
        }}));
        let mut once = object;
        schema.prune(&mut once);
        schema.default(&mut once);
        let mut twice = once.clone();
        prop_assert!(schema.prune(&mut twice).is_empty());
        schema.default(&mut twice);
        prop_assert_eq!(&twice, &once);
        let _ = schema.validate(&twice);
    }
}
