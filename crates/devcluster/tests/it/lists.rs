//! Lists: selectors, pages, versions, other forms.

use http::Request;
use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, PODS, config_map, pod, server};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_show_one_moment_and_expire() {
    let server = server().await;
    let api = Api::of(&server);
    for name in ["a", "b", "c", "d"] {
        api.post(CONFIG_MAPS, config_map(name)).await.unwrap();
    }
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.unwrap();
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let token = first["metadata"]["continue"].as_str().unwrap();
    api.delete(&format!("{CONFIG_MAPS}/c")).await.unwrap();
    api.post(CONFIG_MAPS, config_map("e")).await.unwrap();
    let rest = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.unwrap();
    assert_eq!(names(&rest), ["c", "d"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(rest["metadata"].get("continue").is_none());
    server.compact();
    let expired = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.unwrap_err();
    assert_eq!((expired.code, expired.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn labels_and_fields_select() {
    let server = server().await;
    let api = Api::of(&server);
    for (name, node) in [("a", "n1"), ("b", "n2")] {
        let mut object = pod(name);
        object["spec"]["nodeName"] = json!(node);
        object["metadata"]["labels"] = json!({ "app": name });
        api.post(PODS, object).await.unwrap();
    }
    let by_node = api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2").await.unwrap();
    assert_eq!(names(&by_node), ["b"]);
    let by_label = api.get(&format!("{PODS}?labelSelector=app+in+(a,c)")).await.unwrap();
    assert_eq!(names(&by_label), ["a"]);
    let refused = api.get("/api/v1/pods?fieldSelector=spec.foo%3Dx").await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (400, "field label not supported: spec.foo"));
    let refused = api.get(&format!("{CONFIG_MAPS}?fieldSelector=data.a%3Dx")).await.unwrap_err();
    assert_eq!(
        refused.message,
        "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test]
async fn a_version_from_the_future_is_refused_and_an_exact_one_is_honoured() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let list = api.get(CONFIG_MAPS).await.unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.post(CONFIG_MAPS, config_map("b")).await.unwrap();
    let path = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&api.get(&path).await.unwrap()), ["a"]);
    let path = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&api.get(&path).await.unwrap()), ["a", "b"]);
    let refused = api.get(&format!("{CONFIG_MAPS}?resourceVersion=999999")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (504, "Timeout"));
    assert!(refused.message.starts_with("Too large resource version: 999999"));
}

#[tokio::test]
async fn metadata_and_tables_are_other_forms_of_the_same() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let ask = |accept: &'static str| {
        let request = Request::get(CONFIG_MAPS).header("accept", accept).body(Vec::new()).unwrap();
        let client = api.client();
        async move { client.request::<Value>(request).await.unwrap() }
    };
    let list = ask("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert!(list["items"][0].get("data").is_none());
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["cells"][1], 1);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
