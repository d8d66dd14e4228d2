//! Create, read, update, and the refusals that go with them.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api as Typed, ListParams, PostParams};
use kube::config::KubeConfigOptions;
use osc_devcluster::server::{Server, ServerConfig};
use serde_json::json;

use crate::support::{Api, CONFIG_MAPS, config_map, server};

#[tokio::test]
async fn a_typed_client_creates_reads_and_replaces() {
    let server = server().await;
    let api: Typed<ConfigMap> = Typed::default_namespaced(Api::of(&server).client());
    let wanted: ConfigMap = serde_json::from_value(config_map("a")).unwrap();
    let mut made = api.create(&PostParams::default(), &wanted).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert!(made.metadata.creation_timestamp.is_some());
    made.data.as_mut().unwrap().insert("b".into(), "2".into());
    let replaced = api.replace("a", &PostParams::default(), &made).await.unwrap();
    assert_ne!(made.metadata.resource_version, replaced.metadata.resource_version);
    assert_eq!(api.get("a").await.unwrap().data, made.data);
    let namespaces: Typed<Namespace> = Typed::all(Api::of(&server).client());
    let names: Vec<_> = namespaces
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|n| n.metadata.name)
        .collect();
    assert_eq!(
        names.iter().flatten().collect::<Vec<_>>(),
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
}

#[tokio::test]
async fn refusals_are_worded_as_by_a_real_server() {
    let server = server().await;
    let api = Api::of(&server);
    let missing = api.get(&format!("{CONFIG_MAPS}/a")).await.unwrap_err();
    assert_eq!((missing.code, missing.reason.as_str()), (404, "NotFound"));
    assert_eq!(missing.message, "configmaps \"a\" not found");
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let twice = api.post(CONFIG_MAPS, config_map("a")).await.unwrap_err();
    assert_eq!((twice.code, twice.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(twice.message, "configmaps \"a\" already exists");
    let mut versioned = config_map("b");
    versioned["metadata"]["resourceVersion"] = json!("7");
    let refused = api.post(CONFIG_MAPS, versioned).await.unwrap_err();
    assert_eq!(refused.message, "resourceVersion should not be set on objects to be created");
    let nowhere = api.post("/api/v1/namespaces/nope/configmaps", config_map("a")).await.unwrap_err();
    assert_eq!((nowhere.code, nowhere.message.as_str()), (404, "namespaces \"nope\" not found"));
    let absent = api.put(&format!("{CONFIG_MAPS}/b"), config_map("b")).await.unwrap_err();
    assert_eq!(absent.code, 404);
    let renamed = api.put(&format!("{CONFIG_MAPS}/a"), config_map("b")).await.unwrap_err();
    assert_eq!(renamed.message, "the name of the object (b) does not match the name on the URL (a)");
    let mut changed = made.clone();
    changed["data"]["a"] = json!("2");
    api.put(&format!("{CONFIG_MAPS}/a"), changed.clone()).await.unwrap();
    let stale = api.put(&format!("{CONFIG_MAPS}/a"), changed).await.unwrap_err();
    assert_eq!((stale.code, stale.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        stale.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_has_no_new_version() {
    let server = server().await;
    let api = Api::of(&server);
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let again = api.put(&format!("{CONFIG_MAPS}/a"), made.clone()).await.unwrap();
    assert_eq!(made, again);
    let patched = api.merge(&format!("{CONFIG_MAPS}/a"), json!({ "data": { "a": "1" } })).await.unwrap();
    assert_eq!(made["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_stores_nothing() {
    let server = server().await;
    let api = Api::of(&server);
    let made = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await.unwrap();
    assert!(made["metadata"]["uid"].is_string());
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.unwrap_err().code, 404);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    let patched = api.merge(&format!("{path}?dryRun=All"), json!({ "data": { "a": "2" } })).await.unwrap();
    assert_eq!(patched["data"]["a"], "2");
    assert_eq!(api.get(&path).await.unwrap()["data"]["a"], "1");
    api.delete(&format!("{path}?dryRun=All")).await.unwrap();
    assert!(api.get(&path).await.is_ok());
    assert_eq!(api.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await.unwrap_err().code, 409);
    assert_eq!(server.requests().writes(), 1);
}

#[tokio::test]
async fn tls_and_token_let_the_right_client_in() {
    let config = ServerConfig { tls: true, token: Some("s3same".into()), ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    assert!(server.url().unwrap().starts_with("https://"));
    assert!(Api::of(&server).get("/api/v1/namespaces/default").await.is_ok());
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig().unwrap()).unwrap();
    assert_eq!(kubeconfig.current_context.as_deref(), Some("osc-devcluster"));
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.token = Some("wrong".to_owned().into());
    let stranger = kube::Client::try_from(config).unwrap();
    let refused =
        stranger.request::<serde_json::Value>(http::Request::get("/api/v1/nodes").body(Vec::new()).unwrap());
    let Err(kube::Error::Api(status)) = refused.await else { panic!("not refused") };
    assert_eq!((status.code, status.reason.as_str()), (401, "Unauthorized"));
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let server = server().await;
    let api = Api::of(&server);
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v}\n".to_vec();
    let made = api.send(http::Method::POST, CONFIG_MAPS, "application/yaml", yaml).await.unwrap();
    assert_eq!(made["data"]["k"], "v");
}

#[tokio::test]
async fn stopping_ends_connections_in_bounded_time() {
    let server = server().await;
    let api = Api::of(&server);
    api.get("/version").await.unwrap();
    let begun = std::time::Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(3));
    let request = http::Request::get("/version").body(Vec::new()).unwrap();
    assert!(api.client().request::<serde_json::Value>(request).await.is_err());
}

#[tokio::test]
async fn a_put_creates_leases_as_in_a_real_server() {
    let server = server().await;
    let api = Api::of(&server);
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" },
        "spec": { "holderIdentity": "me" } });
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let made = api.put(path, lease).await.unwrap();
    assert!(made["metadata"]["uid"].is_string());
}
