//! Resources declared at run time.

use serde_json::json;

use crate::support::{Api, DEFINITIONS, WIDGETS, definition, server, widget};

#[tokio::test]
async fn a_definition_is_served_at_once_and_validates() {
    let server = server().await;
    let api = Api::of(&server);
    assert_eq!(api.get(WIDGETS).await.unwrap_err().code, 404);
    let made = api.post(DEFINITIONS, definition()).await.unwrap();
    assert_eq!(made["status"]["acceptedNames"]["kind"], "Widget");
    assert_eq!(made["status"]["conditions"][1]["type"], "Established");
    let list = api.get(WIDGETS).await.unwrap();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("WidgetList"), Some("example.com/v1"))
    );
    let refused = api.post(WIDGETS, widget("w", 0)).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        refused.message,
        "Widget.example.com \"w\" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
    );
    let made = api.post(WIDGETS, widget("w", 1)).await.unwrap();
    assert_eq!(made["spec"]["note"], "none");
    let mut unversioned = made.clone();
    unversioned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let refused = api.put(&format!("{WIDGETS}/w"), unversioned).await.unwrap_err();
    assert_eq!(
        refused.message,
        "Widget.example.com \"w\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    );
}

#[tokio::test]
async fn a_definition_takes_its_objects_along_and_waits_for_their_finalizers() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(DEFINITIONS, definition()).await.unwrap();
    let mut held = widget("held", 1);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(WIDGETS, held).await.unwrap();
    api.post(WIDGETS, widget("free", 1)).await.unwrap();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    api.delete(&path).await.unwrap();
    api.gone(&format!("{WIDGETS}/free")).await;
    assert_eq!(
        api.get(&path).await.unwrap()["metadata"]["finalizers"][0],
        "customresourcecleanup.apiextensions.k8s.io"
    );
    assert_eq!(api.post(WIDGETS, widget("new", 1)).await.unwrap_err().code, 405);
    let held =
        api.until(&format!("{WIDGETS}/held"), |o| o["metadata"]["deletionTimestamp"].is_string()).await;
    assert_eq!(held["metadata"]["generation"], 2);
    api.merge(&format!("{WIDGETS}/held"), json!({ "metadata": { "finalizers": null } })).await.unwrap();
    api.gone(&path).await;
    assert_eq!(api.get(WIDGETS).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn all_served_versions_show_the_same_objects() {
    let server = server().await;
    let api = Api::of(&server);
    let mut definition = definition();
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v1beta1");
    second["storage"] = json!(false);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    api.post(DEFINITIONS, definition).await.unwrap();
    api.post(WIDGETS, widget("w", 3)).await.unwrap();
    let old = api.get("/apis/example.com/v1beta1/widgets/w").await.unwrap();
    assert_eq!(
        (old["apiVersion"].as_str(), old["spec"]["size"].as_i64()),
        (Some("example.com/v1beta1"), Some(3))
    );
    let group = api.get("/apis/example.com").await.unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn loading_keeps_what_is_given_and_fills_in_the_rest() {
    let server = server().await;
    let api = Api::of(&server);
    let mut object = widget("w", 2);
    object["status"] = json!({ "phase": "old" });
    object["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    let node = json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "n", "creationTimestamp": "2020-01-01T00:00:00Z" } });
    server.load(vec![object, node, definition()]).unwrap();
    let found = api.get(&format!("{WIDGETS}/w")).await.unwrap();
    assert_eq!(found["status"]["phase"], "old");
    assert_eq!(found["metadata"]["uid"], "11111111-2222-3333-4444-555555555555");
    assert_eq!(found["spec"]["note"], "none");
    let node = api.get("/api/v1/nodes/n").await.unwrap();
    assert_eq!(node["metadata"]["creationTimestamp"], "2020-01-01T00:00:00Z");
    let unknown = json!({ "apiVersion": "no.such/v1", "kind": "Thing", "metadata": { "name": "t" } });
    let refused = server.load(vec![unknown]).unwrap_err();
    assert_eq!(refused.to_string(), "cannot load Thing t: no resource no.such/v1 Thing is served");
}
