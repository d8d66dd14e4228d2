//! Server-side apply: lists and maps.

use serde_json::{Value, json};

use super::objects::{config_map, define, deployment, object, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        containers_are_owned_by_name,
        a_container_of_another_manager_stays,
        ports_are_owned_by_number_and_protocol,
        environment_is_owned_by_name,
        volumes_of_two_managers_live_together,
        finalizers_are_a_set,
        owners_are_keyed_by_uid,
        tolerations_are_one_value,
        duplicate_keys_are_refused,
        a_missing_key_is_refused,
        a_custom_list_is_one_value,
        a_custom_set_is_shared,
        a_custom_map_list_is_shared_by_key,
        a_custom_map_list_with_two_keys,
        a_custom_map_can_be_one_value,
        a_custom_map_is_granular,
        an_item_given_up_goes,
    ];
    let order = Case::new("the_order_of_items_follows_the_applier", the_order_of_items_follows_the_applier);
    cases.push(
        order.exempt("newer releases order a list as its applier does, 1.20 keeps the order that was there"),
    );
    cases
}

const PATH: &str = "apps/v1:deployments/a";

fn containers(list: Value) -> Value {
    let mut config = deployment("a");
    config["spec"]["template"]["spec"]["containers"] = list;
    config
}

/// Only the pod template, as a second manager would write it.
fn partial(spec: Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
        "spec": { "template": { "spec": spec } } })
}

async fn containers_are_owned_by_name(t: Trial) {
    t.apply(PATH, "one", deployment("a")).await.is(201);
    let config = partial(json!({ "containers": [{ "name": "main", "image": "example.com/main:2" }] }));
    let refused = t.apply(PATH, "two", config).await.refused(409, "Conflict");
    refused.names(".spec.template.spec.containers[name=\"main\"].image");
}

async fn a_container_of_another_manager_stays(t: Trial) {
    t.apply(PATH, "one", deployment("a")).await.is(201);
    let config = partial(json!({ "containers": [{ "name": "side", "image": "example.com/side:1" }] }));
    t.apply(PATH, "two", config).await.is(200);
    let after =
        t.apply(PATH, "one", containers(json!([{ "name": "main", "image": "example.com/main:2" }]))).await;
    assert_eq!(after.is(200).body["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
}

async fn ports_are_owned_by_number_and_protocol(t: Trial) {
    let ports = |list: Value| containers(json!([{ "name": "main", "image": "x:1", "ports": list }]));
    let both =
        json!([{ "containerPort": 80, "protocol": "TCP" }, { "containerPort": 80, "protocol": "UDP" }]);
    t.apply(PATH, "one", ports(both)).await.is(201);
    let one = json!([{ "containerPort": 80, "protocol": "UDP", "name": "dns" }]);
    let after = t.apply(PATH, "one", ports(one)).await.is(200);
    let left = &after.body["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(left, &json!([{ "name": "dns", "containerPort": 80, "protocol": "UDP" }]));
}

async fn environment_is_owned_by_name(t: Trial) {
    let env = |list: Value| containers(json!([{ "name": "main", "image": "x:1", "env": list }]));
    t.apply(PATH, "one", env(json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "1" }])))
        .await
        .is(201);
    let config =
        partial(json!({ "containers": [{ "name": "main", "env": [{ "name": "C", "value": "1" }] }] }));
    t.apply(PATH, "two", config).await.is(200);
    let after = t.apply(PATH, "one", env(json!([{ "name": "B", "value": "2" }]))).await.is(200);
    let found = &after.body["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(found.as_array().unwrap().len(), 2);
}

async fn volumes_of_two_managers_live_together(t: Trial) {
    t.apply(PATH, "one", deployment("a")).await.is(201);
    for (manager, name) in [("two", "x"), ("three", "y")] {
        let config = partial(json!({ "volumes": [{ "name": name, "emptyDir": { "medium": "Memory" } }] }));
        t.apply(PATH, manager, config).await.is(200);
    }
    let nothing = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" } });
    let after = t.apply(PATH, "two", nothing).await.is(200);
    after.has("/spec/template/spec/volumes", json!([{ "name": "y", "emptyDir": { "medium": "Memory" } }]));
}

fn finalized(list: Value) -> Value {
    let mut config = config_map("a", json!({ "k": "1" }));
    config["metadata"]["finalizers"] = list;
    config
}

async fn finalizers_are_a_set(t: Trial) {
    t.apply("configmaps/a", "one", finalized(json!(["example.com/a"]))).await.is(201);
    t.apply("configmaps/a", "two", finalized(json!(["example.com/b"]))).await.is(200);
    let after = t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(200);
    after.has("/metadata/finalizers", json!(["example.com/b"]));
}

async fn owners_are_keyed_by_uid(t: Trial) {
    let owner = t.post("configmaps", config_map("owner", json!({ "k": "1" }))).await.is(201);
    let mut config = config_map("a", json!({ "k": "1" }));
    config["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid() }]);
    t.apply("configmaps/a", "one", config).await.is(201);
    let after = t.apply("configmaps/a", "one", config_map("a", json!({ "k": "1" }))).await.is(200);
    after.has("/metadata/ownerReferences", json!(null));
}

async fn tolerations_are_one_value(t: Trial) {
    let tolerating = |key: &str| partial(json!({ "tolerations": [{ "key": key, "operator": "Exists" }] }));
    t.apply(PATH, "one", deployment("a")).await.is(201);
    t.apply(PATH, "two", tolerating("a")).await.is(200);
    let refused = t.apply(PATH, "three", tolerating("b")).await.refused(409, "Conflict");
    refused.names(".spec.template.spec.tolerations");
}

async fn duplicate_keys_are_refused(t: Trial) {
    let twice = json!([{ "name": "main", "image": "x:1" }, { "name": "main", "image": "x:2" }]);
    let answer = t.unrecorded().apply(PATH, "one", containers(twice)).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn a_missing_key_is_refused(t: Trial) {
    let answer = t.unrecorded().apply(PATH, "one", containers(json!([{ "image": "x:1" }]))).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn listed(t: &Trial, more: Value) -> String {
    let mut list = json!({ "type": "array", "items": { "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "kind": { "type": "string", "default": "plain" }, "size": { "type": "integer" } } } });
    for (field, value) in more.as_object().unwrap() {
        list[field] = value.clone();
    }
    format!("{}/a", define(t, object(json!({ "list": list })), json!({})).await)
}

fn items(t: &Trial, list: Value) -> Value {
    widget(t, "a", json!({ "list": list }))
}

async fn a_custom_list_is_one_value(t: Trial) {
    let path = listed(&t, json!({})).await;
    t.apply(&path, "one", items(&t, json!([{ "name": "x", "size": 1 }]))).await.is(201);
    let refused = t.apply(&path, "two", items(&t, json!([{ "name": "y" }]))).await.refused(409, "Conflict");
    refused.names(".spec.list");
}

async fn a_custom_set_is_shared(t: Trial) {
    let set = json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } });
    let path = format!("{}/a", define(&t, object(json!({ "list": set })), json!({})).await);
    t.apply(&path, "one", items(&t, json!(["x", "y"]))).await.is(201);
    t.apply(&path, "two", items(&t, json!(["y", "z"]))).await.is(200);
    let after = t.apply(&path, "one", items(&t, json!(["x"]))).await.is(200);
    assert_eq!(after.body["spec"]["list"].as_array().unwrap().len(), 3);
    let after = t.apply(&path, "two", items(&t, json!(["z"]))).await.is(200);
    assert_eq!(after.body["spec"]["list"].as_array().unwrap().len(), 2);
    let twice = t.unrecorded().apply(&path, "one", items(&t, json!(["x", "x"]))).await;
    assert!(twice.code >= 400, "{}", twice.body);
}

async fn a_custom_map_list_is_shared_by_key(t: Trial) {
    let keys = json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] });
    let path = listed(&t, keys).await;
    t.apply(&path, "one", items(&t, json!([{ "name": "x", "size": 1 }]))).await.is(201);
    t.apply(&path, "two", items(&t, json!([{ "name": "y", "size": 1 }]))).await.is(200);
    let refused = t.apply(&path, "two", items(&t, json!([{ "name": "x", "size": 2 }]))).await;
    refused.refused(409, "Conflict").names(".spec.list[name=\"x\"].size");
    let after = t.apply(&path, "one", items(&t, json!([{ "name": "x", "size": 3 }]))).await.is(200);
    assert_eq!(after.body["spec"]["list"].as_array().unwrap().len(), 2);
}

async fn a_custom_map_list_with_two_keys(t: Trial) {
    let keys = json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "kind"] });
    let path = listed(&t, keys).await;
    let both = json!([{ "name": "x", "kind": "a", "size": 1 }, { "name": "x", "kind": "b", "size": 1 }]);
    t.apply(&path, "one", items(&t, both)).await.is(201);
    let after =
        t.apply(&path, "one", items(&t, json!([{ "name": "x", "kind": "b", "size": 2 }]))).await.is(200);
    after.has("/spec/list", json!([{ "name": "x", "kind": "b", "size": 2 }]));
}

async fn mapped(t: &Trial, more: Value) -> String {
    let mut map = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    for (field, value) in more.as_object().unwrap() {
        map[field] = value.clone();
    }
    format!("{}/a", define(t, object(json!({ "map": map })), json!({})).await)
}

async fn a_custom_map_can_be_one_value(t: Trial) {
    let path = mapped(&t, json!({ "x-kubernetes-map-type": "atomic" })).await;
    t.apply(&path, "one", widget(&t, "a", json!({ "map": { "x": "1" } }))).await.is(201);
    let refused = t.apply(&path, "two", widget(&t, "a", json!({ "map": { "y": "1" } }))).await;
    refused.refused(409, "Conflict").names(".spec.map");
}

async fn a_custom_map_is_granular(t: Trial) {
    let path = mapped(&t, json!({})).await;
    t.apply(&path, "one", widget(&t, "a", json!({ "map": { "x": "1" } }))).await.is(201);
    let after = t.apply(&path, "two", widget(&t, "a", json!({ "map": { "y": "1" } }))).await.is(200);
    after.has("/spec/map", json!({ "x": "1", "y": "1" }));
}

async fn an_item_given_up_goes(t: Trial) {
    let both = json!([{ "name": "main", "image": "x:1" }, { "name": "side", "image": "x:1" }]);
    t.apply(PATH, "one", containers(both)).await.is(201);
    let after = t.apply(PATH, "one", containers(json!([{ "name": "side", "image": "x:1" }]))).await.is(200);
    assert_eq!(after.body["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
}

async fn the_order_of_items_follows_the_applier(t: Trial) {
    let item = |name: &str| json!({ "name": name, "image": "x:1" });
    t.apply(PATH, "one", containers(json!([item("x"), item("y")]))).await.is(201);
    t.apply(PATH, "one", containers(json!([item("y"), item("z"), item("x")]))).await.is(200);
}
