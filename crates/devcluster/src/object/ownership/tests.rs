//! Apply and update together, on whole objects.

use super::*;
use crate::object::schema::Schema;
use crate::object::topology::Topology;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

const T0: &str = "2024-01-01T00:00:00Z";
const T1: &str = "2024-01-01T00:00:01Z";

fn deployment() -> Topology {
    Topology::builtin("apps", "Deployment")
}

fn config(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec})
}

fn applied(live: Option<&Value>, spec: &Value, manager: &str, force: bool) -> Result<Value, ApplyError> {
    apply(live, &config(spec), manager, None, force, "apps/v1", T0, &deployment())
}

fn updated(before: Option<&Value>, spec: &Value, manager: &str) -> Value {
    let mut after = before.cloned().unwrap_or_else(|| config(spec));
    after["spec"] = spec.clone();
    update(before, &mut after, manager, None, "apps/v1", T1, &deployment());
    after
}

/// Who owns what: `manager/operation` to its fields.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text = |e: &Value, field: &str| e[field].as_str().unwrap().to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|e| (format!("{}/{}", text(e, "manager"), text(e, "operation")), e["fieldsV1"].clone()))
        .collect()
}

fn owner(name: &str, fields: Value) -> (String, Value) {
    (name.to_owned(), fields)
}

#[test]
fn an_apply_creates_and_owns_what_it_mentions() {
    let object = applied(
        None,
        &json!({"replicas": 1, "template": {"spec": {"containers": [
            {"name": "a", "image": "x", "args": ["1"], "ports": [{"containerPort": 80}]}
        ]}}}),
        "me",
        false,
    )
    .unwrap();
    let expected = json!([{
        "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": T0, "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}
            }}
        }}}}}
    }]);
    assert_eq!(object["metadata"]["managedFields"], expected);
    assert_eq!(object["metadata"]["name"], "d");
}

#[test]
fn a_create_owns_all_but_what_the_go_type_always_has() {
    let mut object = config(&json!({"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}}}));
    object["metadata"]["labels"] = json!({"a": "b"});
    object["metadata"]["uid"] = json!("u");
    update(None, &mut object, "me", None, "apps/v1", T0, &deployment());
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {"f:replicas": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}}}
    });
    assert_eq!(owners(&object), [owner("me/Update", fields)]);
}

#[test]
fn a_dropped_field_goes_away_with_its_defaults() {
    let first =
        applied(None, &json!({"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}}}), "me", false)
            .unwrap();
    let mut live = first;
    live["spec"]["strategy"]["type"] = json!("RollingUpdate"); // a default: nobody's
    let object = applied(Some(&live), &json!({"replicas": 1}), "me", false).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 1}));
}

#[test]
fn a_dropped_field_stays_where_another_owns_it() {
    let one = applied(None, &json!({"replicas": 1, "paused": true}), "one", false).unwrap();
    let two = applied(Some(&one), &json!({"replicas": 1}), "two", false).unwrap();
    let object = applied(Some(&two), &json!({"paused": true}), "one", false).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 1, "paused": true}));
    assert_eq!(
        owners(&object),
        [
            owner("one/Apply", json!({"f:spec": {"f:paused": {}}})),
            owner("two/Apply", json!({"f:spec": {"f:replicas": {}}}))
        ]
    );
}

#[test]
fn list_items_are_merged_and_dropped_one_by_one() {
    let containers = |list: Value| json!({"template": {"spec": {"containers": list}}});
    let one = applied(None, &containers(json!([{"name": "a"}, {"name": "b"}])), "one", false).unwrap();
    let two =
        applied(Some(&one), &containers(json!([{"name": "c"}, {"name": "b", "image": "x"}])), "two", false)
            .unwrap();
    let names = |o: &Value| -> Vec<String> {
        let list = o.pointer("/spec/template/spec/containers").and_then(Value::as_array).unwrap();
        list.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&two), ["a", "c", "b"]);
    let object = applied(Some(&two), &containers(json!([{"name": "d"}])), "one", false).unwrap();
    assert_eq!(names(&object), ["c", "b", "d"]);
}

#[test]
fn finalizers_are_a_set() {
    let with = |list: Value| json!({"metadata": {"finalizers": list}});
    let topology = Topology::builtin("", "ConfigMap");
    let go = |live: Option<&Value>, config: &Value, who: &str| {
        apply(live, config, who, None, false, "v1", T0, &topology).unwrap()
    };
    let one = go(None, &with(json!(["a", "b"])), "one");
    let two = go(Some(&one), &with(json!(["c", "b"])), "two");
    let object = go(Some(&two), &json!({}), "one");
    assert_eq!(object["metadata"]["finalizers"], json!(["c", "b"]));
    let object = go(Some(&object), &json!({}), "two");
    assert_eq!(object, json!({"metadata": {}}));
}

#[test]
fn conflicts_name_the_manager_and_the_field() {
    let live = updated(None, &json!({"replicas": 1}), "kubectl-edit");
    let error = applied(Some(&live), &json!({"replicas": 2}), "me", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas"
    );
    let ApplyError::Conflicts(conflicts) = error else { panic!("{error:?}") };
    assert_eq!(
        (conflicts[0].manager.as_str(), conflicts[0].path.as_str()),
        ("kubectl-edit", ".spec.replicas")
    );

    let object = applied(Some(&live), &json!({"replicas": 2}), "me", true).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    assert_eq!(owners(&object), [owner("me/Apply", json!({"f:spec": {"f:replicas": {}}}))]);
}

#[test]
fn several_conflicts_are_grouped_by_manager() {
    let one = applied(None, &json!({"replicas": 1, "paused": true}), "one", false).unwrap();
    let live = updated(Some(&one), &json!({"replicas": 1, "paused": true, "minReadySeconds": 5}), "two");
    let error =
        applied(Some(&live), &json!({"replicas": 2, "paused": false, "minReadySeconds": 6}), "me", false)
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .spec.paused\n- .spec.replicas\n\
         conflicts with \"two\" using apps/v1:\n- .spec.minReadySeconds"
    );
}

#[test]
fn equal_values_are_shared() {
    let live = updated(None, &json!({"replicas": 1}), "other");
    let object = applied(Some(&live), &json!({"replicas": 1}), "me", false).unwrap();
    let fields = json!({"f:spec": {"f:replicas": {}}});
    assert_eq!(owners(&object), [owner("me/Apply", fields.clone()), owner("other/Update", fields)]);
}

#[test]
fn what_was_there_before_the_first_apply_is_owned_by_a_manager_of_its_own() {
    let live = config(&json!({"replicas": 1, "paused": true}));
    let error = applied(Some(&live), &json!({"replicas": 2}), "me", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
    let object = applied(Some(&live), &json!({"replicas": 1}), "me", false).unwrap();
    assert_eq!(owners(&object)[1].0, "before-first-apply/Update");
}

#[test]
fn an_update_takes_fields_away_from_all_others() {
    let one =
        applied(None, &json!({"replicas": 1, "paused": true, "minReadySeconds": 5}), "one", false).unwrap();
    let object = updated(Some(&one), &json!({"replicas": 2, "paused": true}), "two");
    assert_eq!(
        owners(&object),
        [
            owner("one/Apply", json!({"f:spec": {"f:paused": {}}})),
            owner("two/Update", json!({"f:spec": {"f:replicas": {}}}))
        ]
    );
    assert_eq!(object.pointer("/metadata/managedFields/0/time"), Some(&json!(T0)));
}

#[test]
fn an_update_that_changes_nothing_leaves_the_entries_alone() {
    let one = applied(None, &json!({"replicas": 1}), "one", false).unwrap();
    assert_eq!(updated(Some(&one), &json!({"replicas": 1}), "two"), one);
}

#[rstest]
#[case::cleared(json!([{}]), 0)]
#[case::left_out(json!(null), 1)]
#[case::empty(json!([]), 1)]
#[case::nonsense(json!(["x"]), 1)]
#[case::sent(json!([{"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:paused": {}}}},
    {"manager": "b", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]), 2)]
fn managers_that_a_client_sends(#[case] sent: Value, #[case] expected: usize) {
    let live = applied(None, &json!({"replicas": 1}), "one", false).unwrap();
    let mut after = live.clone();
    after["metadata"]["managedFields"] = sent;
    update(Some(&live), &mut after, "two", None, "apps/v1", T1, &deployment());
    assert_eq!(owners(&after).len(), expected);
}

#[test]
fn an_object_without_managers_stays_so_until_it_is_applied_to() {
    let live = config(&json!({"replicas": 1}));
    assert_eq!(owners(&updated(Some(&live), &json!({"replicas": 2}), "me")), []);
}

#[test]
fn a_status_write_owns_the_status_alone() {
    let live = updated(None, &json!({"replicas": 1}), "one");
    let mut after = live.clone();
    after["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    update(Some(&live), &mut after, "two", Some("status"), "apps/v1", T1, &deployment());
    let condition = json!({".": {}, "f:type": {}, "f:status": {}});
    let fields = json!({"f:status": {"f:replicas": {}, "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": condition}}});
    assert_eq!(owners(&after)[1], owner("two/Update", fields));
    assert_eq!(after.pointer("/metadata/managedFields/1/subresource"), Some(&json!("status")));

    let mut config = config(&json!({"replicas": 7}));
    config["status"] = json!({"replicas": 2});
    let error =
        apply(Some(&after), &config, "me", Some("status"), false, "apps/v1", T0, &deployment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"two\" with subresource \"status\" using apps/v1: .status.replicas"
    );
    let object =
        apply(Some(&after), &config, "me", Some("status"), true, "apps/v1", T0, &deployment()).unwrap();
    assert_eq!((&object["spec"]["replicas"], &object["status"]["replicas"]), (&json!(1), &json!(2)));
}

#[rstest]
#[case(json!([]), "an applied configuration must be an object")]
#[case(json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil")]
#[case(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
    "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]")]
#[case(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
    "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)")]
fn bad_configurations(#[case] config: Value, #[case] expected: &str) {
    let error = apply(None, &config, "me", None, false, "apps/v1", T0, &deployment()).unwrap_err();
    assert_eq!(error, ApplyError::Invalid(expected.to_owned()));
}

fn custom() -> Topology {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}},
        "limits": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
        "list": {"type": "array", "items": {"type": "string"}}
    }}}});
    Topology::of_schema(&Schema::from_openapi(&schema).unwrap())
}

#[test]
fn custom_resources_merge_as_their_schema_says() {
    let spec = json!({"size": 1, "tags": ["a"], "ports": [{"port": 1}], "limits": {"cpu": "1"},
        "free": {"x": {"y": [1]}}, "whole": {"a": "b"}, "list": ["a"]});
    let object = apply(None, &json!({"spec": spec}), "me", None, false, "e/v1", T0, &custom()).unwrap();
    let fields = json!({"f:spec": {
        "f:size": {}, "f:tags": {"v:\"a\"": {}}, "f:ports": {"k:{\"port\":1}": {".": {}, "f:port": {}}},
        "f:limits": {"f:cpu": {}}, "f:free": {"f:x": {".": {}, "f:y": {}}}, "f:whole": {}, "f:list": {}
    }});
    assert_eq!(owners(&object), [owner("me/Apply", fields)]);
    let error =
        apply(None, &json!({"spec": {"sise": 1}}), "me", None, false, "e/v1", T0, &custom()).unwrap_err();
    assert!(error.to_string().ends_with(": .spec.sise: field not declared in schema"), "{error}");
}

fn specs() -> impl Strategy<Value = Value> {
    let port = (1..4, prop::option::of("[a-b]")).prop_map(|(port, name)| match name {
        Some(name) => json!({"port": port, "name": name}),
        None => json!({"port": port}),
    });
    let ports = prop::collection::vec(port, 0..4).prop_map(|mut list| {
        let mut seen = std::collections::HashSet::new();
        list.retain(|p: &Value| seen.insert(p["port"].to_string()));
        Value::from(list)
    });
    let tags = prop::collection::btree_set("[a-c]", 0..3).prop_map(|s| s.into_iter().collect::<Value>());
    let limits = prop::collection::btree_map("[a-c]", "[x-y]", 0..3).prop_map(|m| json!(m));
    let some = |s: BoxedStrategy<Value>| prop::option::of(s);
    (
        some((0..3).prop_map(Value::from).boxed()),
        some(tags.boxed()),
        some(ports.boxed()),
        some(limits.clone().boxed()),
        some(limits.boxed()),
        some(prop::collection::vec("[a-b]", 0..3).prop_map(Value::from).boxed()),
    )
        .prop_map(|(size, tags, ports, limits, whole, list)| {
            let fields = [
                ("size", size),
                ("tags", tags),
                ("ports", ports),
                ("limits", limits),
                ("whole", whole),
                ("list", list),
            ];
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        })
}

fn forced(live: Option<&Value>, spec: &Value, manager: &str, now: &str) -> Value {
    apply(
        live,
        &json!({"metadata": {"name": "x", "labels": {"app": "x"}}, "spec": spec}),
        manager,
        None,
        true,
        "e/v1",
        now,
        &custom(),
    )
    .unwrap()
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(a in specs(), b in specs(), c in specs()) {
        let live = forced(None, &a, "one", T0);
        let live = forced(Some(&live), &b, "two", T0);
        let once = forced(Some(&live), &c, "one", T0);
        prop_assert_eq!(&forced(Some(&once), &c, "one", T1), &once);
    }

    #[test]
    fn an_only_applier_gets_what_it_applied(a in specs(), b in specs()) {
        let live = forced(None, &a, "one", T0);
        let again = forced(Some(&live), &b, "one", T1);
        let fresh = forced(None, &b, "one", T1);
        // Empty lists own nothing, so an old one may stay behind or go.
        let full = |o: &Value| -> Value {
            let spec = o.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
            spec.into_iter().filter(|(_, v)| *v != json!([])).collect()
        };
        prop_assert_eq!(sorted(full(&again)), sorted(full(&fresh)));
    }

    #[test]
    fn after_an_update_every_changed_field_has_one_owner(a in specs(), b in specs(), c in specs()) {
        let live = forced(None, &a, "one", T0);
        let live = forced(Some(&live), &b, "two", T0);
        let mut after = live.clone();
        after["spec"] = c;
        update(Some(&live), &mut after, "three", None, "e/v1", T1, &custom());
        let sets: Vec<_> = owners(&after).into_iter().map(|(name, fields)| (name, fields_v1::from_value(fields).unwrap())).collect();
        if let Some((_, mine)) = sets.iter().find(|(name, _)| name == "three/Update") {
            for (name, theirs) in sets.iter().filter(|(name, _)| name != "three/Update") {
                prop_assert!(theirs.intersection(mine).is_empty(), "{} shares with three", name);
            }
        }
        for (name, set) in &sets {
            for path in set.paths() {
                prop_assert!(exists(&after, &path), "{} owns {:?}, which is gone", name, path);
            }
        }
    }

    #[test]
    fn no_input_makes_it_panic(live in any_json(), config in any_json(), after in any_json()) {
        let _ = apply(Some(&live), &config, "me", None, false, "v1", T0, &deployment());
        let mut after = after;
        update(Some(&live), &mut after, "me", None, "v1", T0, &deployment());
    }
}

/// Keyed lists in the order of their keys: the order of a list is nobody's.
fn sorted(mut spec: Value) -> Value {
    for field in ["ports", "tags"] {
        if let Some(Value::Array(list)) = spec.get_mut(field) {
            list.sort_by_key(ToString::to_string);
        }
    }
    spec
}

fn exists(object: &Value, path: &[String]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    let (kind, text) = step.split_once(':').unwrap();
    let next = match kind {
        "f" => object.get(text),
        "v" => object
            .as_array()
            .and_then(|l| l.iter().find(|v| fields_v1::value_step(v).as_deref() == Some(step))),
        _ => {
            let keys: Value = serde_json::from_str(text).unwrap();
            object.as_array().and_then(|l| l.iter().find(|v| v["port"] == keys["port"]))
        }
    };
    next.is_some_and(|next| exists(next, rest))
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("managedFields"),
        Just("template"),
        Just("containers"),
        Just("name"),
        Just("labels"),
        Just("finalizers"),
        Just("fieldsV1"),
        Just("f:spec"),
        Just("operation"),
        Just("status")
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[ab]|Apply|Update".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ]
    })
}
