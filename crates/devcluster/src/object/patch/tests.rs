use super::*;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

fn pod(patch: &Value, target: &Value) -> Result<Value, PatchError> {
    strategic(target, patch, &Topology::builtin("", "Pod"))
}

#[rstest]
#[case::add(json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2}))]
#[case::remove(json!({"a": 1}), json!([{"op": "remove", "path": "/a"}]), json!({}))]
#[case::escaped(json!({"l": {"x.y/z": "1"}}), json!([{"op": "replace", "path": "/l/x.y~1z", "value": "2"}]), json!({"l": {"x.y/z": "2"}}))]
#[case::append(json!({"l": []}), json!([{"op": "add", "path": "/l/-", "value": 2}]), json!({"l": [2]}))]
fn json_patches(#[case] target: Value, #[case] patch: Value, #[case] expected: Value) {
    assert_eq!(json(&target, &patch).unwrap(), expected);
}

#[rstest]
#[case(json!({"op": "add"}), true)]
#[case(json!([{"op": "shove", "path": "/a"}]), false)]
#[case(json!(["shove"]), true)]
#[case(json!([{"op": "remove", "path": "/x"}]), false)]
#[case(json!([{"op": "remove", "path": "/l/-"}]), false)]
#[case(json!([{"op": "test", "path": "/a", "value": 2}]), false)]
#[case(json!([{"op": "add", "path": "/x/y", "value": 2}]), false)]
fn json_patches_that_fail(#[case] patch: Value, #[case] malformed: bool) {
    let error = json(&json!({"a": 1, "l": []}), &patch).unwrap_err();
    assert_eq!(matches!(error, PatchError::Malformed(_)), malformed, "{error}");
}

#[rstest]
#[case::fields(json!({"spec": {"a": {"x": 1, "y": 2}}}), json!({"spec": {"a": {"x": null, "z": 3}}}),
    json!({"spec": {"a": {"y": 2, "z": 3}}}))]
#[case::nulls_of_new_objects_vanish(json!({}), json!({"spec": {"a": {"x": null, "z": 3}}}), json!({"spec": {"a": {"z": 3}}}))]
#[case::keyed(json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}),
    json!({"spec": {"containers": [{"name": "b", "image": "2"}]}}),
    json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}}))]
#[case::keyed_new(json!({"spec": {"containers": [{"name": "a"}]}}),
    json!({"spec": {"containers": [{"name": "b", "image": "2"}]}}),
    json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a"}]}}))]
#[case::keyed_delete(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}),
    json!({"spec": {"containers": [{"name": "b"}]}}))]
#[case::keyed_delete_of_nothing(json!({"spec": {}}),
    json!({"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}), json!({"spec": {"containers": []}}))]
#[case::keyed_replace(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}),
    json!({"spec": {"containers": [{"name": "c"}]}}))]
#[case::replace(json!({"spec": {"a": {"x": 1}}}), json!({"spec": {"a": {"$patch": "replace", "y": 2}}}), json!({"spec": {"a": {"y": 2}}}))]
#[case::delete(json!({"spec": {"a": {"x": 1}}}), json!({"spec": {"a": {"$patch": "delete"}}}), json!({"spec": {"a": {}}}))]
#[case::retain(json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
    json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
    json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}))]
#[case::order(json!({"spec": {"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]}}),
    json!({"spec": {"containers": [{"name": "server"}, {"name": "b"}, {"name": "a", "image": "2"}]}}))]
#[case::order_alone(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
    json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}))]
#[case::values(json!({"metadata": {"finalizers": ["a", "b"]}}),
    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b", "c"], "finalizers": ["c"]}}),
    json!({"metadata": {"finalizers": ["b", "c"]}}))]
#[case::atomic(json!({"spec": {"tolerations": [{"key": "a"}]}}), json!({"spec": {"tolerations": [{"key": "b"}]}}),
    json!({"spec": {"tolerations": [{"key": "b"}]}}))]
fn strategic_patches(#[case] target: Value, #[case] patch: Value, #[case] expected: Value) {
    assert_eq!(pod(&patch, &target).unwrap(), expected);
}

#[rstest]
#[case(json!([]), "a strategic merge patch must be an object")]
#[case(json!({"spec": {"$patch": "shred"}}), "Unknown patch type [shred] found")]
#[case(json!({"spec": {"containers": [{"image": "x"}]}}), "map: {\"image\":\"x\"} does not contain declared merge key: name")]
#[case(json!({"spec": {"containers": ["x"]}}), "an item of a list that merges by name must be an object: \"x\"")]
#[case(json!({"spec": {"$setElementOrder/containers": 3}}), "$setElementOrder/containers must be a list")]
#[case(json!({"spec": {"$retainKeys": ["a"], "b": 1}}), "b is in the patch but not in $retainKeys")]
fn strategic_patches_that_fail(#[case] patch: Value, #[case] expected: &str) {
    let error = pod(&patch, &json!({"spec": {"containers": [{"name": "a"}]}})).unwrap_err();
    assert_eq!(error, PatchError::Malformed(expected.to_owned()));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|m| m.into_iter().collect::<Value>()),
        ]
    })
}

/// The merge patch from one document to another; neither holds a null.
fn diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|k| !to.contains_key(*k)).map(|k| (k.clone(), Value::Null));
    let other = to.iter().filter(|(k, v)| from.get(*k) != Some(v));
    gone.chain(other.map(|(k, v)| (k.clone(), from.get(k).map_or_else(|| v.clone(), |f| diff(f, v)))))
        .collect()
}

proptest! {
    #[test]
    fn merging_a_difference_gives_the_other(from in documents(), to in documents()) {
        prop_assert_eq!(merge(&from, &diff(&from, &to)), to);
    }

    #[test]
    fn without_keyed_lists_a_strategic_patch_is_a_merge_patch(from in documents(), to in documents()) {
        let (from, to) = (json!({"spec": from}), json!({"spec": to}));
        prop_assert_eq!(pod(&diff(&from, &to), &from).unwrap(), to);
    }
}
