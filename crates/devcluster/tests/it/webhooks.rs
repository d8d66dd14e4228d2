//! Admission webhooks, as their authors and their victims see them.

use std::collections::BTreeMap;

use http::{Method, Request};
use kube::client::Body;
use osc_devcluster::server::{Server, ServerConfig, ServicePort};
use serde_json::{Value, json};

use crate::support::{
    Api, CLASSES, CONFIG_MAPS, DEFINITIONS, PODS, WIDGETS, config_map, definition, pod, runtime_class,
    server, widget,
};
use crate::webhook_server::{Answer, WebhookServer, allow, deny, other_authority, patch};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A webhook at `/path` for everything that happens to some resources.
fn webhook(hooks: &WebhookServer, path: &str, resources: &[&str]) -> Value {
    json!({ "name": format!("{path}.example.com"), "clientConfig": hooks.client(path), "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{ "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources }] })
}

fn with(mut webhook: Value, field: &str, value: Value) -> Value {
    webhook[field] = value;
    webhook
}

async fn install(api: &Api, kind: &str, name: &str, webhooks: &[Value]) {
    let object = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"), "metadata": { "name": name }, "webhooks": webhooks });
    let path = format!("{GROUP}/{}webhookconfigurations", kind.to_lowercase());
    api.post(&path, object).await.unwrap();
}

async fn validating(api: &Api, webhook: Value) {
    install(api, "Validating", "hooks", &[webhook]).await;
}

async fn setup() -> (Server, Api, WebhookServer) {
    let server = server().await;
    let api = Api::of(&server);
    (server, api, WebhookServer::start().await)
}

#[tokio::test]
async fn a_webhook_sees_the_request_and_may_refuse_it() {
    let (_server, api, hooks) = setup().await;
    hooks.on("judge", |request| match request["object"]["data"]["a"].as_str() {
        Some("1") => allow(),
        _ => deny(json!({ "message": "a has to be 1", "reason": "Forbidden", "code": 403 })),
    });
    validating(&api, webhook(&hooks, "judge", &["configmaps"])).await;
    api.post(&format!("{CONFIG_MAPS}?fieldManager=me"), config_map("good")).await.unwrap();
    let mut bad = config_map("bad");
    bad["data"] = json!({});
    let refused = api.post(CONFIG_MAPS, bad).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (403, "Forbidden"));
    assert_eq!(refused.message, "admission webhook \"judge.example.com\" denied the request: a has to be 1");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/bad")).await.unwrap_err().code, 404);
    let seen = &hooks.seen("judge")[0];
    assert_eq!(seen["kind"], json!({ "group": "", "version": "v1", "kind": "ConfigMap" }));
    assert_eq!(seen["requestResource"], json!({ "group": "", "version": "v1", "resource": "configmaps" }));
    assert_eq!(
        (seen["name"].as_str(), seen["namespace"].as_str(), seen["operation"].as_str()),
        (Some("good"), Some("default"), Some("CREATE"))
    );
    assert_eq!((&seen["dryRun"], &seen["oldObject"]), (&json!(false), &Value::Null));
    assert_eq!(
        seen["options"],
        json!({ "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me" })
    );
    assert_eq!(seen["userInfo"]["groups"][0], "system:masters");
}

#[tokio::test]
async fn a_change_by_a_webhook_is_defaulted_validated_and_seen_by_the_next() {
    let (_server, api, hooks) = setup().await;
    hooks.on("change", |request| {
        let value = request["object"]["data"]["a"].as_str().unwrap_or_default();
        match value {
            "1" => patch(json!([{ "op": "add", "path": "/data/by", "value": "webhook" }])),
            _ => patch(json!([{ "op": "add", "path": "/data/not valid", "value": "x" }])),
        }
    });
    hooks.on("judge", |_| allow());
    install(&api, "Mutating", "change", &[webhook(&hooks, "change", &["configmaps"])]).await;
    validating(&api, webhook(&hooks, "judge", &["configmaps"])).await;
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    assert_eq!(made["data"]["by"], "webhook");
    // What a webhook adds belongs to nobody.
    assert!(!made["metadata"]["managedFields"].to_string().contains("f:by"));
    assert_eq!(hooks.seen("judge")[0]["object"]["data"]["by"], "webhook");
    assert_eq!(hooks.seen("judge")[0]["object"]["metadata"]["uid"], made["metadata"]["uid"]);
    let mut bad = config_map("b");
    bad["data"]["a"] = json!("2");
    let refused = api.post(CONFIG_MAPS, bad).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(hooks.seen("judge").len(), 1, "what is invalid is not asked about");
}

#[tokio::test]
async fn a_call_that_fails_refuses_or_is_passed_over() {
    let (_server, api, hooks) = setup().await;
    hooks.on("never", |_| Answer::Never);
    hooks.on("broken", |_| Answer::Raw(500, "out of order".to_owned()));
    hooks.on("garbage", |_| Answer::Raw(200, "no json".to_owned()));
    hooks.on("other-uid", |_| Answer::Response(json!({ "allowed": true, "uid": "x" })));
    let closed = json!({ "url": "https://127.0.0.1:1/x", "caBundle": hooks.authority });
    let stranger = with(hooks.client("never"), "caBundle", json!(other_authority()));
    let service = json!({ "service": { "namespace": "default", "name": "nobody" } });
    for (path, client, why) in [
        ("closed", closed, "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("never", hooks.client("never"), "?timeout=1s\": context deadline exceeded"),
        (
            "stranger",
            stranger,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        ("broken", hooks.client("broken"), "an error on the server (\"out of order\")"),
        ("missing", hooks.client("missing"), "the server could not find the requested resource"),
        ("garbage", hooks.client("garbage"), "couldn't get version/kind; json parse error"),
        ("other-uid", hooks.client("other-uid"), "got \"x\""),
        ("service", service, "Post \"https://nobody.default.svc/?timeout=1s\": service \"nobody\" not found"),
    ] {
        let hook = with(webhook(&hooks, path, &["configmaps"]), "clientConfig", client);
        let hook = with(hook, "timeoutSeconds", json!(1));
        validating(&api, hook.clone()).await;
        let refused = api.post(CONFIG_MAPS, config_map(path)).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (500, "InternalError"), "{path}");
        let start = format!("Internal error occurred: failed calling webhook \"{path}.example.com\": ");
        assert!(refused.message.starts_with(&start), "{}", refused.message);
        assert!(refused.message.contains(why), "{}", refused.message);
        api.delete(&format!("{GROUP}/validatingwebhookconfigurations/hooks")).await.unwrap();
        validating(&api, with(hook, "failurePolicy", json!("Ignore"))).await;
        api.post(CONFIG_MAPS, config_map(path)).await.unwrap();
        api.delete(&format!("{GROUP}/validatingwebhookconfigurations/hooks")).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_is_reached_where_the_configuration_of_the_server_says() {
    let hooks = WebhookServer::start().await;
    let port = ServicePort { namespace: "default".to_owned(), name: "webhook".to_owned(), port: 443 };
    let services = BTreeMap::from([(port, hooks.address)]);
    let server = Server::start(ServerConfig { services, ..ServerConfig::default() }).await.unwrap();
    let api = Api::of(&server);
    hooks.on("judge", |_| deny(json!(null)));
    let client = json!({ "service": { "namespace": "default", "name": "webhook", "path": "/judge" },
        "caBundle": hooks.authority });
    validating(&api, with(webhook(&hooks, "judge", &["configmaps"]), "clientConfig", client)).await;
    let refused = api.post(CONFIG_MAPS, config_map("a")).await.unwrap_err();
    assert_eq!(refused.code, 400);
    assert_eq!(
        refused.message,
        "admission webhook \"judge.example.com\" denied the request without explanation"
    );
}

#[tokio::test]
async fn a_service_is_reached_while_somebody_answers_for_it() {
    let (server, api, hooks) = setup().await;
    hooks.on("judge", |_| deny(json!(null)));
    let client = |port: u16, name: &str| {
        let service = json!({ "namespace": "default", "name": name, "path": "/judge", "port": port });
        json!({ "service": service, "caBundle": hooks.authority })
    };
    let hook = webhook(&hooks, "judge", &["configmaps"]);
    validating(&api, with(hook.clone(), "clientConfig", client(443, "webhook"))).await;
    let refusal = async |why: &str| {
        let refused = api.post(CONFIG_MAPS, config_map("a")).await.unwrap_err();
        assert!(refused.message.contains(why), "{why}: {}", refused.message);
    };
    let port = ServicePort { namespace: "default".to_owned(), name: "webhook".to_owned(), port: 443 };
    let endpoint = server.services().register(port.clone(), hooks.address);
    refusal("service \"webhook\" not found").await;
    let service = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": "webhook" }, "ports": [{ "port": 443, "targetPort": 9443 }] } })
    };
    for name in ["webhook", "other"] {
        api.post("/api/v1/namespaces/default/services", service(name)).await.unwrap();
    }
    refusal("denied the request without explanation").await;
    drop(endpoint);
    refusal("no endpoints available for service \"webhook\"").await;
    let _endpoint = server.services().register(port.clone(), hooks.address);
    let _other = server.services().register(ServicePort { name: "other".to_owned(), ..port }, hooks.address);
    refusal("denied the request without explanation").await;
    let path = format!("{GROUP}/validatingwebhookconfigurations/hooks");
    for (client, why) in [
        (client(8443, "webhook"), "no service port 8443 found for service \"webhook\""),
        // Its certificate is not for that name.
        (client(443, "other"), "tls: failed to verify certificate"),
    ] {
        api.delete(&path).await.unwrap();
        validating(&api, with(hook.clone(), "clientConfig", client)).await;
        refusal(why).await;
    }
}

#[tokio::test]
async fn conditions_decide_before_the_call() {
    let (_server, api, hooks) = setup().await;
    hooks.on("judge", |_| deny(json!(null)));
    let hook = webhook(&hooks, "judge", &["pods"]);
    let install_with = async |expression: &str, policy: &str| {
        let conditions = json!([{ "name": "x", "expression": expression }]);
        let hook = with(with(hook.clone(), "matchConditions", conditions), "failurePolicy", json!(policy));
        validating(&api, hook).await;
    };
    let path = format!("{GROUP}/validatingwebhookconfigurations/hooks");
    api.post(CLASSES, runtime_class("kata")).await.unwrap();
    let mut kata = pod("kata");
    kata["spec"]["runtimeClassName"] = json!("kata");
    install_with("has(object.spec.runtimeClassName) && object.spec.runtimeClassName == 'kata'", "Fail").await;
    api.post(PODS, pod("plain")).await.unwrap();
    assert!(hooks.seen("judge").is_empty());
    assert_eq!(api.post(PODS, kata.clone()).await.unwrap_err().code, 400);
    assert_eq!(hooks.seen("judge").len(), 1);
    // What cannot be told is refused, or passed over.
    api.delete(&path).await.unwrap();
    install_with("object.spec.runtimeClassName == 'kata'", "Fail").await;
    let refused = api.post(PODS, pod("other")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (403, "Forbidden"));
    assert!(refused.message.starts_with("pods \"other\" is forbidden: expression "), "{}", refused.message);
    api.delete(&path).await.unwrap();
    install_with("object.spec.runtimeClassName == 'kata'", "Ignore").await;
    api.post(PODS, pod("other")).await.unwrap();
    assert_eq!(hooks.seen("judge").len(), 1);
    // A deletion has an old object only.
    api.delete(&path).await.unwrap();
    install_with(
        "request.operation == 'DELETE' && oldObject.metadata.name == 'other' && object == null",
        "Fail",
    )
    .await;
    assert_eq!(api.delete(&format!("{PODS}/other")).await.unwrap_err().code, 400);
    api.delete(&format!("{PODS}/plain")).await.unwrap();
}

#[tokio::test]
async fn selectors_go_by_the_namespace_and_by_the_old_or_the_new_object() {
    let (_server, api, hooks) = setup().await;
    hooks.on("judge", |_| allow());
    api.merge("/api/v1/namespaces/default", json!({ "metadata": { "labels": { "judged": "yes" } } }))
        .await
        .unwrap();
    let hook = webhook(&hooks, "judge", &["configmaps"]);
    let hook = with(hook, "namespaceSelector", json!({ "matchLabels": { "judged": "yes" } }));
    validating(&api, with(hook, "objectSelector", json!({ "matchLabels": { "me": "too" } }))).await;
    let mut labelled = config_map("a");
    labelled["metadata"]["labels"] = json!({ "me": "too" });
    api.post(CONFIG_MAPS, config_map("b")).await.unwrap();
    api.post("/api/v1/namespaces/kube-system/configmaps", labelled.clone()).await.unwrap();
    assert!(hooks.seen("judge").is_empty());
    api.post(CONFIG_MAPS, labelled).await.unwrap();
    api.merge(&format!("{CONFIG_MAPS}/a"), json!({ "metadata": { "labels": null } })).await.unwrap();
    api.merge(&format!("{CONFIG_MAPS}/a"), json!({ "data": { "x": "y" } })).await.unwrap();
    let operations: Vec<Value> = hooks.seen("judge").iter().map(|r| r["operation"].clone()).collect();
    assert_eq!(operations, ["CREATE", "UPDATE"]);
}

#[tokio::test]
async fn a_dry_run_is_asked_about_unless_that_has_side_effects() {
    let (server, api, hooks) = setup().await;
    hooks.on("judge", |_| allow());
    validating(&api, webhook(&hooks, "judge", &["configmaps"])).await;
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    api.post(&dry, config_map("a")).await.unwrap();
    assert_eq!(hooks.seen("judge")[0]["dryRun"], true);
    assert_eq!(hooks.seen("judge")[0]["options"]["dryRun"], json!(["All"]));
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.unwrap_err().code, 404);
    // A client can no longer say so, but what is loaded may be old.
    let old = with(webhook(&hooks, "judge", &["configmaps"]), "sideEffects", json!("Some"));
    server
        .load(vec![json!({ "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "hooks" }, "webhooks": [old] })])
        .unwrap();
    let refused = api.post(&dry, config_map("a")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (400, "BadRequest"));
    assert_eq!(refused.message, "admission webhook \"judge.example.com\" does not support dry run");
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
}

async fn warnings(api: &Api, name: &str) -> (u16, Vec<String>) {
    let body = Body::from(config_map(name).to_string().into_bytes());
    let request = Request::builder().method(Method::POST).uri(CONFIG_MAPS);
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let response = api.client().send(request).await.unwrap();
    let headers = response.headers().get_all("warning").iter();
    let warnings = headers.map(|value| value.to_str().unwrap().to_owned()).collect();
    (response.status().as_u16(), warnings)
}

#[tokio::test]
async fn warnings_reach_the_client_with_yes_and_with_no() {
    let (_server, api, hooks) = setup().await;
    hooks.on("judge", |request| {
        let allowed = request["name"] == "good";
        Answer::Response(json!({ "allowed": allowed, "warnings": ["mind the \"gap\"", "twice", "twice"] }))
    });
    validating(&api, webhook(&hooks, "judge", &["configmaps"])).await;
    let expected = vec!["299 - \"mind the \\\"gap\\\"\"".to_owned(), "299 - \"twice\"".to_owned()];
    assert_eq!(warnings(&api, "good").await, (201, expected.clone()));
    assert_eq!(warnings(&api, "bad").await, (400, expected));
}

#[tokio::test]
async fn webhooks_are_called_by_name_and_asked_again_if_they_want_to() {
    let (_server, api, hooks) = setup().await;
    for path in ["one", "never", "two"] {
        hooks.on(path, move |request| {
            let trail = request["object"]["data"]["trail"].as_str().unwrap_or_default();
            // Each adds itself once.
            if trail.contains(path) {
                return allow();
            }
            patch(json!([{ "op": "add", "path": "/data/trail", "value": format!("{trail} {path}") }]))
        });
    }
    let hook = |path| webhook(&hooks, path, &["configmaps"]);
    install(&api, "Mutating", "b", &[hook("never"), hook("two")]).await;
    install(&api, "Mutating", "a", &[with(hook("one"), "reinvocationPolicy", json!("IfNeeded"))]).await;
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    assert_eq!(made["data"]["trail"], " one never two");
    let calls = ["one", "never", "two"].map(|path| hooks.seen(path).len());
    assert_eq!(calls, [2, 1, 1]);
    assert_eq!(hooks.seen("one")[1]["object"]["data"]["trail"], " one never two");
}

#[tokio::test]
async fn a_runtime_class_set_by_a_webhook_brings_its_overhead() {
    let (_server, api, hooks) = setup().await;
    api.post(CLASSES, runtime_class("kata")).await.unwrap();
    hooks.on("class", |_| patch(json!([{ "op": "add", "path": "/spec/runtimeClassName", "value": "kata" }])));
    install(&api, "Mutating", "class", &[webhook(&hooks, "class", &["pods"])]).await;
    let made = api.post(PODS, pod("p")).await.unwrap();
    assert_eq!(made["spec"]["overhead"]["memory"], "350Mi");
    assert_eq!(made["spec"]["nodeSelector"], json!({ "node-role.kubernetes.io/kata-oc": "" }));
}

#[tokio::test]
async fn a_deletion_shows_the_old_object_and_can_be_refused() {
    let (_server, api, hooks) = setup().await;
    hooks.on("judge", |request| match request["operation"].as_str() {
        Some("DELETE") if request["oldObject"]["data"]["a"] == "1" => deny(json!({ "message": "keep it" })),
        _ => allow(),
    });
    validating(&api, webhook(&hooks, "judge", &["configmaps"])).await;
    api.post(CONFIG_MAPS, config_map("kept")).await.unwrap();
    let options = json!({ "propagationPolicy": "Background" });
    let refused = api.delete_with(&format!("{CONFIG_MAPS}/kept"), options).await.unwrap_err();
    assert_eq!(refused.message, "admission webhook \"judge.example.com\" denied the request: keep it");
    let seen = hooks.seen("judge").pop().unwrap();
    assert_eq!((&seen["object"], &seen["name"]), (&Value::Null, &json!("kept")));
    assert_eq!(seen["options"]["kind"], "DeleteOptions");
    assert_eq!(seen["options"]["propagationPolicy"], "Background");
    assert!(api.delete(CONFIG_MAPS).await.is_err());
    api.merge(&format!("{CONFIG_MAPS}/kept"), json!({ "data": { "a": "2" } })).await.unwrap();
    api.delete(&format!("{CONFIG_MAPS}/kept")).await.unwrap();
}

#[tokio::test]
async fn custom_resources_are_pruned_and_defaulted_after_a_webhook() {
    let (_server, api, hooks) = setup().await;
    api.post(DEFINITIONS, definition()).await.unwrap();
    hooks.on("change", |request| match request["subResource"].as_str() {
        Some("status") => patch(json!([{ "op": "add", "path": "/status/by", "value": "webhook" },
            { "op": "replace", "path": "/spec/size", "value": 99 }])),
        _ => patch(json!([{ "op": "add", "path": "/spec/unknown", "value": 1 },
            { "op": "replace", "path": "/spec/size", "value": 7 }, { "op": "remove", "path": "/spec/note" }])),
    });
    install(&api, "Mutating", "change", &[webhook(&hooks, "change", &["widgets/*"])]).await;
    let made = api.apply(&format!("{WIDGETS}/w?fieldManager=me"), widget("w", 1)).await.unwrap();
    assert_eq!(made["spec"], json!({ "size": 7, "note": "none" }));
    let patched = api.merge(&format!("{WIDGETS}/w"), json!({ "spec": { "size": 3 } })).await.unwrap();
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(7), &json!(1)));
    let status = json!({ "status": { "phase": "x" } });
    let patched = api.merge(&format!("{WIDGETS}/w/status"), status).await.unwrap();
    assert_eq!(patched["status"], json!({ "phase": "x", "by": "webhook" }));
    assert_eq!(patched["spec"]["size"], 7, "through the status, only the status changes");
    let operations: Vec<Value> = hooks.seen("change").iter().map(|r| r["operation"].clone()).collect();
    assert_eq!(operations, ["CREATE", "UPDATE", "UPDATE"]);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let (_server, api, hooks) = setup().await;
    let hook = with(
        webhook(&hooks, "judge", &["*"]),
        "matchConditions",
        json!([{ "name": "x", "expression": "object.x ==" }]),
    );
    let object = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "x" }, "webhooks": [hook] });
    let path = format!("{GROUP}/validatingwebhookconfigurations");
    let refused = api.post(&path, object).await.unwrap_err();
    let start = "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"x\" is invalid: \
                 webhooks[0].matchConditions[0].expression: Invalid value: \"object.x ==\": compilation failed: ";
    assert!(refused.message.starts_with(start), "{}", refused.message);
    // One that refuses everything has no say about itself.
    hooks.on("no", |_| deny(json!({ "message": "no" })));
    validating(&api, webhook(&hooks, "no", &["*/*"])).await;
    assert!(api.post(CONFIG_MAPS, config_map("a")).await.is_err());
    api.delete(&format!("{path}/hooks")).await.unwrap();
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn paused_time_does_not_run_past_a_webhook() {
    let server = Server::start(ServerConfig { listen: None, ..ServerConfig::default() }).await.unwrap();
    let hooks = WebhookServer::start().await;
    hooks.on("judge", |_| allow());
    let hook = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "x" }, "webhooks": [webhook(&hooks, "judge", &["*"])] });
    server.load(vec![hook]).unwrap();
    let before = tokio::time::Instant::now();
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", "application/json")
        .body(config_map("a").to_string().into_bytes())
        .unwrap();
    let made: Value = server.client().unwrap().request(request).await.unwrap();
    assert_eq!(made["metadata"]["name"], "a");
    assert_eq!(hooks.seen("judge").len(), 1);
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}
