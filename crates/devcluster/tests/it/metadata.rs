//! Names, labels, generations, field validation.

use serde_json::json;

use crate::support::{
    Api, CLASSES, CONFIG_MAPS, DEFINITIONS, WIDGETS, config_map, definition, runtime_class, server, widget,
};

#[tokio::test]
async fn bad_names_and_labels_are_told_with_their_cause() {
    let server = server().await;
    let api = Api::of(&server);
    let refused = api.post(CONFIG_MAPS, config_map("Bad_Name")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        refused.message,
        "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    );
    let cause = &refused.details.as_ref().unwrap().causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldValueInvalid", "metadata.name"));
    let mut labelled = config_map("a");
    labelled["metadata"]["labels"] = json!({ "a": "no good" });
    let refused = api.post(CONFIG_MAPS, labelled).await.unwrap_err();
    assert!(
        refused.message.contains("metadata.labels: Invalid value: \"no good\": a valid label must be"),
        "{}",
        refused.message
    );
    let mut unnamed = config_map("");
    unnamed["metadata"] = json!({});
    let refused = api.post(CONFIG_MAPS, unnamed).await.unwrap_err();
    assert!(refused.message.contains("name or generateName is required"), "{}", refused.message);
}

#[tokio::test]
async fn generated_names_have_five_more_characters() {
    let server = server().await;
    let mut object = config_map("");
    object["metadata"] = json!({ "generateName": "x-" });
    let made = Api::of(&server).post(CONFIG_MAPS, object).await.unwrap();
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 7);
}

#[tokio::test]
async fn the_handler_of_a_runtime_class_is_immutable() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CLASSES, runtime_class("kata")).await.unwrap();
    let refused = api.merge(&format!("{CLASSES}/kata"), json!({ "handler": "other" })).await.unwrap_err();
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message,
        "RuntimeClass.node.k8s.io \"kata\" is invalid: handler: Invalid value: \"other\": field is immutable"
    );
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_specification_only() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(DEFINITIONS, definition()).await.unwrap();
    let path = format!("{WIDGETS}/w");
    let generation = |object: &serde_json::Value| object["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&api.post(WIDGETS, widget("w", 1)).await.unwrap()), 1);
    let labelled = json!({ "metadata": { "labels": { "a": "b" } } });
    assert_eq!(generation(&api.merge(&path, labelled).await.unwrap()), 1);
    let status = json!({ "status": { "phase": "x" } });
    let ignored = api.merge(&path, status.clone()).await.unwrap();
    assert!(ignored.get("status").is_none());
    let set = api.merge(&format!("{path}/status"), status).await.unwrap();
    assert_eq!((generation(&set), set["status"]["phase"].as_str()), (1, Some("x")));
    let spec_through_status = json!({ "spec": { "size": 9 } });
    let kept = api.merge(&format!("{path}/status"), spec_through_status.clone()).await.unwrap();
    assert_eq!(kept["spec"]["size"], 1);
    assert_eq!(generation(&api.merge(&path, spec_through_status).await.unwrap()), 2);
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_about_or_ignored() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(DEFINITIONS, definition()).await.unwrap();
    let mut object = widget("w", 1);
    object["spec"]["colour"] = json!("red");
    let refused = api.post(&format!("{WIDGETS}?fieldValidation=Strict"), object.clone()).await.unwrap_err();
    assert_eq!(refused.code, 400);
    assert!(
        refused.message.contains("strict decoding error: unknown field \"spec.colour\""),
        "{}",
        refused.message
    );
    let made = api.post(WIDGETS, object).await.unwrap();
    assert_eq!(made["spec"], json!({ "size": 1, "note": "none" }));
    let mut object = config_map("a");
    object["dat"] = json!({});
    let refused = api.post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), object).await.unwrap_err();
    assert_eq!(
        refused.message,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\""
    );
}
