//! Watches: what comes, in which order, and when they end.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as Typed;
use kube::runtime::{WatchStreamExt as _, watcher};
use osc_devcluster::server::{Fault, FaultAction, Matcher, Server, ServerConfig, Verb};
use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, DEFINITIONS, WIDGETS, config_map, definition, server, widget};

/// Reads events of a watch until it ends or nothing comes for a while.
struct Events {
    lines: futures::stream::BoxStream<'static, Value>,
}

impl Events {
    async fn open(api: &Api, path: &str) -> Self {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let reader = api.client().request_stream(request).await.unwrap();
        let lines = reader
            .lines()
            .map_ok(|line| serde_json::from_str::<Value>(&line).unwrap())
            .filter_map(|line| async { line.ok() })
            .boxed();
        Self { lines }
    }

    /// Type and name of the next event; none when the watch has ended.
    async fn next(&mut self) -> Option<(String, String)> {
        let event = self.raw().await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some((text(&event["type"]), text(&event["object"]["metadata"]["name"])))
    }

    async fn raw(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(5), self.lines.next()).await.expect("an event or the end")
    }
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_from_a_version_gets_what_came_after_it() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let list = api.get(CONFIG_MAPS).await.unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    api.post(CONFIG_MAPS, config_map("b")).await.unwrap();
    let mut events = Events::open(&api, &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(events.next().await, Some(event("ADDED", "b")));
    api.merge(&format!("{CONFIG_MAPS}/a"), json!({ "data": { "x": "y" } })).await.unwrap();
    assert_eq!(events.next().await, Some(event("MODIFIED", "a")));
    api.delete(&format!("{CONFIG_MAPS}/b")).await.unwrap();
    assert_eq!(events.next().await, Some(event("DELETED", "b")));
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_for_the_watch() {
    let server = server().await;
    let api = Api::of(&server);
    let mut events = Events::open(&api, &format!("{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes")).await;
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    let label = |value: &str| json!({ "metadata": { "labels": { "on": value } } });
    api.merge(&path, label("yes")).await.unwrap();
    assert_eq!(events.next().await, Some(event("ADDED", "a")));
    api.merge(&path, label("no")).await.unwrap();
    let last = events.raw().await.unwrap();
    assert_eq!(last["type"], "DELETED");
    assert_eq!(last["object"]["metadata"]["labels"]["on"], "yes");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut events = Events::open(&api, &path).await;
    assert_eq!(events.next().await, Some(event("ADDED", "a")));
    let bookmark = events.raw().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let refused = api.get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true")).await.unwrap_err();
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout_with_a_bookmark() {
    let server = server().await;
    let api = Api::of(&server);
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut events = Events::open(&api, &path).await;
    assert_eq!(events.raw().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_version_beyond_the_history_is_gone() {
    let config = ServerConfig { watch_history: 2, ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    let api = Api::of(&server);
    let made = api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    for name in ["b", "c", "d", "e"] {
        api.post(CONFIG_MAPS, config_map(name)).await.unwrap();
    }
    let mut events = Events::open(&api, &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
    let error = events.raw().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    assert_eq!(
        (error["object"]["code"].as_i64(), error["object"]["reason"].as_str()),
        (Some(410), Some("Expired"))
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_kube_watcher_survives_cut_and_expired_watches() {
    let server = server().await;
    let api = Api::of(&server);
    let maps: Typed<ConfigMap> = Typed::default_namespaced(api.client());
    let mut seen = watcher(maps, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let next = |name: &'static str| {
        let api = api.clone();
        async move { api.post(CONFIG_MAPS, config_map(name)).await.unwrap() }
    };
    for (name, action) in
        [("a", None), ("b", Some(FaultAction::CutWatch)), ("c", Some(FaultAction::GoneWatch)), ("d", None)]
    {
        if let Some(action) = action {
            let matcher = Matcher::new(Verb::Watch, "configmaps");
            server.faults().inject(Fault { matcher, times: Some(1), action });
        }
        next(name).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let found = tokio::time::timeout_at(deadline, seen.next()).await.expect("the object arrives");
            // A watch that expires is an error of the stream, after which it lists again.
            if let Ok(object) = found.unwrap()
                && object.metadata.name.as_deref() == Some(name)
            {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_its_definition() {
    let server = server().await;
    let api = Api::of(&server);
    api.post(DEFINITIONS, definition()).await.unwrap();
    api.post(WIDGETS, widget("w", 1)).await.unwrap();
    let mut events = Events::open(&api, &format!("{WIDGETS}?watch=1")).await;
    assert_eq!(events.next().await, Some(event("ADDED", "w")));
    api.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(event("DELETED", "w")));
}
