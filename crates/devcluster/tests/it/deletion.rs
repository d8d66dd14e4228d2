//! Finalizers, preconditions, owners, namespaces.

use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, config_map, server};

fn path(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

fn owned(name: &str, owner: &Value, block: bool) -> Value {
    let mut object = config_map(name);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block,
    }]);
    object
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_one_goes() {
    let server = server().await;
    let api = Api::of(&server);
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(CONFIG_MAPS, object).await.unwrap();
    let held = api.delete(&path("a")).await.unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let more = json!({ "metadata": { "finalizers": ["example.com/hold", "example.com/more"] } });
    let refused = api.merge(&path("a"), more).await.unwrap_err();
    assert!(refused.message.contains("no new finalizers can be added if the object is being deleted"));
    api.merge(&path("a"), json!({ "metadata": { "finalizers": null } })).await.unwrap();
    assert_eq!(api.get(&path("a")).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn preconditions_hold() {
    let server = server().await;
    let api = Api::of(&server);
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let wrong = json!({ "preconditions": { "uid": "0000" } });
    let refused = api.delete_with(&path("a"), wrong).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    assert!(refused.message.contains("the UID in the precondition (0000"), "{}", refused.message);
    let right = json!({ "preconditions": { "uid": made["metadata"]["uid"] } });
    let done = api.delete_with(&path("a"), right).await.unwrap();
    assert_eq!((done["kind"].as_str(), done["status"].as_str()), (Some("Status"), Some("Success")));
    assert_eq!(done["details"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test]
async fn dependants_go_with_their_owner() {
    let server = server().await;
    let api = Api::of(&server);
    let owner = api.post(CONFIG_MAPS, config_map("owner")).await.unwrap();
    let child = api.post(CONFIG_MAPS, owned("child", &owner, false)).await.unwrap();
    api.post(CONFIG_MAPS, owned("grandchild", &child, false)).await.unwrap();
    api.delete(&path("owner")).await.unwrap();
    api.gone(&path("child")).await;
    api.gone(&path("grandchild")).await;
    // The owner is long gone.
    api.post(CONFIG_MAPS, owned("late", &owner, false)).await.unwrap();
    api.gone(&path("late")).await;
}

#[tokio::test]
async fn orphans_lose_their_reference() {
    let server = server().await;
    let api = Api::of(&server);
    let owner = api.post(CONFIG_MAPS, config_map("owner")).await.unwrap();
    api.post(CONFIG_MAPS, owned("child", &owner, false)).await.unwrap();
    api.delete_with(&path("owner"), json!({ "propagationPolicy": "Orphan" })).await.unwrap();
    api.gone(&path("owner")).await;
    let child = api.get(&path("child")).await.unwrap();
    assert!(child["metadata"].get("ownerReferences").is_none());
}

#[tokio::test]
async fn a_deletion_in_the_foreground_waits_for_what_blocks_it() {
    let server = server().await;
    let api = Api::of(&server);
    let owner = api.post(CONFIG_MAPS, config_map("owner")).await.unwrap();
    let mut child = owned("child", &owner, true);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(CONFIG_MAPS, child).await.unwrap();
    let begun = api.delete_with(&path("owner"), json!({ "propagationPolicy": "Foreground" })).await.unwrap();
    assert_eq!(begun["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    api.until(&path("child"), |child| child["metadata"]["deletionTimestamp"].is_string()).await;
    assert!(api.get(&path("owner")).await.is_ok());
    let child = api.get(&path("child")).await.unwrap();
    let rest: Vec<&Value> = child["metadata"]["finalizers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| *f != "example.com/hold")
        .collect();
    api.merge(&path("child"), json!({ "metadata": { "finalizers": rest } })).await.unwrap();
    api.gone(&path("child")).await;
    api.gone(&path("owner")).await;
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let server = server().await;
    let api = Api::of(&server);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } });
    api.post("/api/v1/namespaces", namespace).await.unwrap();
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post("/api/v1/namespaces/n/configmaps", held).await.unwrap();
    let begun = api.delete("/api/v1/namespaces/n").await.unwrap();
    assert_eq!(begun["status"]["phase"], "Terminating");
    let refused = api.post("/api/v1/namespaces/n/configmaps", config_map("b")).await.unwrap_err();
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message,
        "configmaps \"b\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    let held = "/api/v1/namespaces/n/configmaps/held";
    api.until(held, |object| object["metadata"]["deletionTimestamp"].is_string()).await;
    api.merge(held, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    api.gone("/api/v1/namespaces/n").await;
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = server().await;
    let api = Api::of(&server);
    for name in ["a", "b"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({ "n": name });
        api.post(CONFIG_MAPS, object).await.unwrap();
    }
    let deleted = api.delete(&format!("{CONFIG_MAPS}?labelSelector=n%3Da")).await.unwrap();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(CONFIG_MAPS).await.unwrap()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn loaded_objects_may_come_before_their_owners() {
    let server = server().await;
    let api = Api::of(&server);
    let mut owner = config_map("owner");
    owner["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    let child = owned("child", &owner, false);
    server.load(vec![child, owner]).unwrap();
    // Whatever is deleted by mistake is deleted by the time that a true orphan is.
    let nobody = json!({ "metadata": { "name": "nobody", "uid": "0" } });
    api.post(CONFIG_MAPS, owned("orphan", &nobody, false)).await.unwrap();
    api.gone(&path("orphan")).await;
    assert!(api.get(&path("child")).await.is_ok());
}
