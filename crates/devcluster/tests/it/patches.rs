//! The four kinds of patch.

use http::Method;
use serde_json::json;

use crate::support::{
    Api, CONFIG_MAPS, DEFINITIONS, PODS, WIDGETS, config_map, definition, pod, server, widget,
};

#[tokio::test]
async fn json_and_strategic_patches() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(PODS, pod("p")).await.unwrap();
    let path = format!("{PODS}/p");
    let operations = json!([{ "op": "add", "path": "/metadata/labels", "value": { "a": "b" } }]);
    let body = operations.to_string().into_bytes();
    let labelled = api.send(Method::PATCH, &path, "application/json-patch+json", body).await.unwrap();
    assert_eq!(labelled["metadata"]["labels"]["a"], "b");
    let containers = json!({ "spec": { "containers": [{ "name": "c", "image": "i:2" }] } });
    let body = containers.to_string().into_bytes();
    let media_type = "application/strategic-merge-patch+json";
    let changed = api.send(Method::PATCH, &path, media_type, body.clone()).await.unwrap();
    assert_eq!(changed["spec"]["containers"][0]["image"], "i:2");
    assert_eq!(changed["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    api.post(DEFINITIONS, definition()).await.unwrap();
    api.post(WIDGETS, widget("w", 1)).await.unwrap();
    let refused = api.send(Method::PATCH, &format!("{WIDGETS}/w"), media_type, body).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (415, "UnsupportedMediaType"));
}

#[tokio::test]
async fn a_patch_with_an_old_version_is_a_conflict() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let patch = json!({ "metadata": { "resourceVersion": "1" }, "data": { "a": "2" } });
    let refused = api.merge(&format!("{CONFIG_MAPS}/a"), patch).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
}

#[tokio::test]
async fn server_side_apply_creates_owns_and_refuses() {
    let server = server().await;
    let api = Api::of(&server);
    let path = format!("{CONFIG_MAPS}/a");
    let nobody = api.apply(&path, config_map("a")).await.unwrap_err();
    assert_eq!(nobody.code, 422);
    assert!(nobody.message.contains("fieldManager: Required value"), "{}", nobody.message);
    let made = api.apply(&format!("{path}?fieldManager=one"), config_map("a")).await.unwrap();
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "one");
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = api.apply(&format!("{path}?fieldManager=one"), config_map("a")).await.unwrap();
    assert_eq!(made["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);
    let mut other = config_map("a");
    other["data"]["a"] = json!("2");
    let refused = api.apply(&format!("{path}?fieldManager=two"), other.clone()).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let forced = api.apply(&format!("{path}?fieldManager=two&force=true"), other).await.unwrap();
    assert_eq!(forced["data"]["a"], "2");
    let mut wrong = config_map("a");
    wrong["daat"] = json!({});
    let refused = api.apply(&format!("{path}?fieldManager=one"), wrong).await.unwrap_err();
    assert!(refused.message.contains(".daat: field not declared in schema"), "{}", refused.message);
}

#[tokio::test]
async fn a_json_patch_that_does_not_fit_is_refused() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let operations = json!([{ "op": "test", "path": "/data/a", "value": "9" }]).to_string().into_bytes();
    let path = format!("{CONFIG_MAPS}/a");
    let refused =
        api.send(Method::PATCH, &path, "application/json-patch+json", operations).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(refused.message, "the server rejected our request due to an error in our request");
}
