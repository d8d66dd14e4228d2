//! JSON, merge and strategic merge patches.

use serde_json::json;

use super::objects::{DEPLOYMENTS, anything, config_map, define, deployment, pod, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        json_operations_work,
        a_failed_json_test_is_refused,
        a_json_path_that_does_not_exist_is_refused,
        a_json_patch_is_a_list,
        a_json_pointer_is_escaped,
        json_appends_to_lists,
        merge_sets_and_removes,
        merge_replaces_lists,
        strategic_merges_containers_by_name,
        strategic_deletes_an_item_by_its_key,
        strategic_replaces_a_list,
        strategic_replaces_and_deletes_maps,
        strategic_retains_keys,
        strategic_orders_lists,
        strategic_merges_finalizers,
        strategic_deletes_from_a_list_of_texts,
        strategic_merges_tolerations_as_one,
        strategic_merges_environment_and_ports,
        custom_resources_take_no_strategic_patch,
        custom_resources_take_the_other_two,
        another_patch_type_is_refused,
        a_patch_may_name_its_version,
        a_patch_does_not_rename,
        a_patch_does_not_change_the_kind,
        a_patch_of_nothing_is_not_found,
        force_is_for_apply_only,
    ];
    let malformed = cases![
        a_merge_patch_is_an_object,
        a_patch_that_is_no_json_is_refused,
        a_directive_nobody_knows_is_refused
    ];
    cases.extend(
        malformed.into_iter().map(|case| {
            case.exempt("since 1.27 a malformed patch is 400 BadRequest, before it was 422 or 500")
        }),
    );
    let replaced = Case::new("json_replaces_only_what_is_there", json_replaces_only_what_is_there);
    cases.push(replaced.exempt("1.20 replaces what is not there, later releases refuse that"));
    cases
}

async fn json_replaces_only_what_is_there(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let answer =
        t.json_patch("configmaps/a", json!([{ "op": "replace", "path": "/data/x", "value": "1" }])).await;
    assert!(matches!(answer.code, 200 | 422), "{}", answer.body);
}

async fn a_directive_nobody_knows_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    assert!(t.strategic("configmaps/a", json!({ "data": { "$patch": "invent" } })).await.code >= 400);
    t.get("configmaps/a").await.is(200).has("/data", json!({ "k": "1" }));
}

async fn json_operations_work(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1", "l": "2" }))).await.is(201);
    let patch = json!([
        { "op": "test", "path": "/data/k", "value": "1" },
        { "op": "replace", "path": "/data/k", "value": "3" },
        { "op": "remove", "path": "/data/l" },
        { "op": "add", "path": "/data/m", "value": "4" },
        { "op": "copy", "from": "/data/m", "path": "/data/n" },
        { "op": "move", "from": "/data/n", "path": "/data/o" },
    ]);
    t.json_patch("configmaps/a", patch).await.is(200).has("/data", json!({ "k": "3", "m": "4", "o": "4" }));
}

async fn a_failed_json_test_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = json!([
        { "op": "add", "path": "/data/x", "value": "1" }, { "op": "test", "path": "/data/k", "value": "2" },
    ]);
    t.json_patch("configmaps/a", patch).await.is(422);
    t.get("configmaps/a").await.is(200).has("/data", json!({ "k": "1" }));
}

async fn a_json_path_that_does_not_exist_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    for patch in [
        json!([{ "op": "remove", "path": "/data/x" }]),
        json!([{ "op": "add", "path": "/metadata/labels/x", "value": "1" }]),
    ] {
        t.json_patch("configmaps/a", patch).await.is(422);
    }
}

async fn a_json_patch_is_a_list(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.json_patch("configmaps/a", json!({ "data": { "k": "2" } })).await.is(400);
    t.json_patch("configmaps/a", json!([{ "op": "invent", "path": "/data" }])).await.is(422);
    t.json_patch("configmaps/a", json!([])).await.is(200).has("/data/k", json!("1"));
}

async fn a_json_pointer_is_escaped(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = json!([
        { "op": "add", "path": "/metadata/annotations", "value": {} },
        { "op": "add", "path": "/metadata/annotations/example.com~1a", "value": "b" },
    ]);
    let after = t.json_patch("configmaps/a", patch).await.is(200);
    after.has("/metadata/annotations/example.com~1a", json!("b"));
}

async fn json_appends_to_lists(t: Trial) {
    let mut object = config_map("a", json!({ "k": "1" }));
    object["metadata"]["finalizers"] = json!(["example.com/a"]);
    t.post("configmaps", object).await.is(201);
    let patch = json!([
        { "op": "add", "path": "/metadata/finalizers/-", "value": "example.com/c" },
        { "op": "add", "path": "/metadata/finalizers/1", "value": "example.com/b" },
    ]);
    let wanted = json!(["example.com/a", "example.com/b", "example.com/c"]);
    t.json_patch("configmaps/a", patch).await.is(200).has("/metadata/finalizers", wanted);
    let patch = json!([{ "op": "remove", "path": "/metadata/finalizers/0" }]);
    let wanted = json!(["example.com/b", "example.com/c"]);
    t.json_patch("configmaps/a", patch).await.is(200).has("/metadata/finalizers", wanted);
    let patch = json!([{ "op": "add", "path": "/metadata/finalizers/7", "value": "example.com/d" }]);
    t.json_patch("configmaps/a", patch).await.is(422);
}

async fn merge_sets_and_removes(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1", "l": "2" }))).await.is(201);
    let patch = json!({ "data": { "k": null, "l": "3", "m": "4", "gone": null } });
    t.merge("configmaps/a", patch).await.is(200).has("/data", json!({ "l": "3", "m": "4" }));
    t.merge("configmaps/a", json!({ "data": null })).await.is(200).has("/data", json!(null));
}

async fn merge_replaces_lists(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "other", "image": "b:2" }] } } } });
    let after = t.merge("apps/v1:deployments/a", patch).await.is(200);
    after
        .has("/spec/template/spec/containers/0/name", json!("other"))
        .has("/spec/template/spec/containers/1", json!(null));
}

async fn a_merge_patch_is_an_object(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    for patch in [json!([]), json!("text"), json!(7)] {
        assert!(t.merge("configmaps/a", patch).await.code >= 400);
    }
}

async fn a_patch_that_is_no_json_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    for media_type in
        ["application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"]
    {
        let path = "configmaps/a?fieldManager=m";
        let answer = t.send(http::Method::PATCH, path, &[("content-type", media_type)], b"{[".to_vec()).await;
        assert!(answer.code >= 400, "{}", answer.body);
    }
}

async fn strategic_merges_containers_by_name(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let containers = json!([
        { "name": "side", "image": "example.com/side:1" }, { "name": "main", "image": "example.com/main:2" },
    ]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    let images: Vec<&str> = after.body["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["image"].as_str().unwrap())
        .collect();
    assert!(images.contains(&"example.com/main:2") && images.contains(&"example.com/side:1"), "{images:?}");
}

async fn strategic_deletes_an_item_by_its_key(t: Trial) {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["volumes"] =
        json!([{ "name": "x", "emptyDir": {} }, { "name": "y", "emptyDir": {} }]);
    t.post(DEPLOYMENTS, object).await.is(201);
    let volumes = json!([{ "name": "x", "$patch": "delete" }, { "name": "nobody", "$patch": "delete" }]);
    let patch = json!({ "spec": { "template": { "spec": { "volumes": volumes } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    after.has("/spec/template/spec/volumes", json!([{ "name": "y", "emptyDir": {} }]));
}

async fn strategic_replaces_a_list(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let containers = json!([{ "$patch": "replace" }, { "name": "new", "image": "example.com/new:1" }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    after
        .has("/spec/template/spec/containers/0/name", json!("new"))
        .has("/spec/template/spec/containers/1", json!(null));
}

async fn strategic_replaces_and_deletes_maps(t: Trial) {
    let mut object = config_map("a", json!({ "k": "1", "l": "2" }));
    object["metadata"]["labels"] = json!({ "x": "y" });
    t.post("configmaps", object).await.is(201);
    let patch = json!({ "data": { "$patch": "replace", "m": "3" } });
    t.strategic("configmaps/a", patch).await.is(200).has("/data", json!({ "m": "3" }));
    let patch = json!({ "metadata": { "labels": { "$patch": "delete" } } });
    t.strategic("configmaps/a", patch).await.is(200).has("/metadata/labels", json!(null));
}

async fn strategic_retains_keys(t: Trial) {
    t.post(DEPLOYMENTS, deployment("a")).await.is(201);
    let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    after.has("/spec/strategy", json!({ "type": "Recreate" }));
}

async fn strategic_orders_lists(t: Trial) {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"] =
        json!([{ "name": "x", "image": "x:1" }, { "name": "y", "image": "y:1" }]);
    t.post(DEPLOYMENTS, object).await.is(201);
    let patch = json!({ "spec": { "template": { "spec": {
        "$setElementOrder/containers": [{ "name": "z" }, { "name": "y" }, { "name": "x" }],
        "containers": [{ "name": "z", "image": "z:1" }] } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    for (index, name) in ["z", "y", "x"].iter().enumerate() {
        let found = &after.body["spec"]["template"]["spec"]["containers"][index]["name"];
        assert_eq!(found, name);
    }
}

async fn strategic_merges_finalizers(t: Trial) {
    let mut object = config_map("a", json!({ "k": "1" }));
    object["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    t.post("configmaps", object).await.is(201);
    let patch = json!({ "metadata": { "finalizers": ["example.com/b", "example.com/c"] } });
    let after = t.strategic("configmaps/a", patch).await.is(200);
    assert_eq!(after.body["metadata"]["finalizers"].as_array().unwrap().len(), 3);
}

async fn strategic_deletes_from_a_list_of_texts(t: Trial) {
    let mut object = config_map("a", json!({ "k": "1" }));
    object["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    t.post("configmaps", object).await.is(201);
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["example.com/a"] } });
    let after = t.strategic("configmaps/a", patch).await.is(200);
    after.has("/metadata/finalizers", json!(["example.com/b"]));
}

async fn strategic_merges_tolerations_as_one(t: Trial) {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["tolerations"] = json!([{ "key": "a", "operator": "Exists" }]);
    t.post(DEPLOYMENTS, object).await.is(201);
    let tolerations = json!([{ "key": "b", "operator": "Exists" }]);
    let patch = json!({ "spec": { "template": { "spec": { "tolerations": tolerations } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    after.has("/spec/template/spec/tolerations", tolerations);
}

async fn strategic_merges_environment_and_ports(t: Trial) {
    let mut object = deployment("a");
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]);
    container["ports"] = json!([{ "containerPort": 80, "name": "web" }, { "containerPort": 81 }]);
    t.post(DEPLOYMENTS, object).await.is(201);
    let container = json!({ "name": "main", "env": [{ "name": "A", "value": "3" }, { "name": "C", "value": "4" }],
        "ports": [{ "containerPort": 80, "name": "http" }] });
    let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    let after = t.strategic("apps/v1:deployments/a", patch).await.is(200);
    let container = &after.body["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"].as_array().unwrap().len(), 3);
    assert_eq!(container["ports"].as_array().unwrap().len(), 2);
}

async fn custom_resources_take_no_strategic_patch(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    let answer = t.strategic(&format!("{widgets}/a"), json!({ "spec": { "size": 2 } })).await;
    answer.refused(415, "UnsupportedMediaType");
}

async fn custom_resources_take_the_other_two(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    let path = format!("{widgets}/a");
    t.post(&widgets, widget(&t, "a", json!({ "size": 1, "list": [1, 2] }))).await.is(201);
    t.merge(&path, json!({ "spec": { "size": 2, "list": [3] } })).await.is(200).has("/spec/list", json!([3]));
    let patch = json!([{ "op": "add", "path": "/spec/list/-", "value": 4 }]);
    t.json_patch(&path, patch).await.is(200).has("/spec/list", json!([3, 4]));
}

async fn another_patch_type_is_refused(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    for media_type in ["application/json", "text/plain"] {
        let answer = t
            .send(http::Method::PATCH, "configmaps/a", &[("content-type", media_type)], b"{}".to_vec())
            .await;
        answer.refused(415, "UnsupportedMediaType");
    }
}

async fn a_patch_may_name_its_version(t: Trial) {
    let made = t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let patch = |version: &str| json!({ "metadata": { "resourceVersion": version }, "data": { "k": "2" } });
    let changed = t.merge("configmaps/a", patch(&made.version())).await.is(200);
    assert_ne!(made.version(), changed.version());
    t.merge("configmaps/a", patch(&made.version())).await.refused(409, "Conflict");
    t.strategic("configmaps/a", patch(&made.version())).await.refused(409, "Conflict");
    let patch = json!([{ "op": "replace", "path": "/metadata/resourceVersion", "value": made.version() }]);
    t.json_patch("configmaps/a", patch).await.refused(409, "Conflict");
}

async fn a_patch_does_not_rename(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    let answer = t.merge("configmaps/a", json!({ "metadata": { "name": "b" } })).await;
    assert!(answer.code >= 400, "{}", answer.body);
    let answer = t.merge("configmaps/a", json!({ "metadata": { "namespace": "default" } })).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn a_patch_does_not_change_the_kind(t: Trial) {
    t.post("pods", pod("a")).await.is(201);
    let answer = t.merge("pods/a", json!({ "kind": "Secret" })).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn a_patch_of_nothing_is_not_found(t: Trial) {
    t.merge("configmaps/a", json!({ "data": { "k": "1" } })).await.refused(404, "NotFound");
    t.json_patch("configmaps/a", json!([])).await.refused(404, "NotFound");
    t.strategic("configmaps/a", json!({ "data": { "k": "1" } })).await.refused(404, "NotFound");
}

async fn force_is_for_apply_only(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "1" }))).await.is(201);
    t.merge("configmaps/a?force=true", json!({ "data": { "k": "2" } }))
        .await
        .refused(422, "Invalid")
        .names("force");
}
