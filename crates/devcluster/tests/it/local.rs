//! A server without a socket, in simulated time.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use osc_devcluster::server::{Fault, FaultAction, Matcher, Server, ServerConfig, ServerError, Verb};
use tokio::time::Instant;

async fn server() -> Server {
    Server::start(ServerConfig { listen: None, ..ServerConfig::default() }).await.unwrap()
}

fn api(server: &Server) -> Api<ConfigMap> {
    Api::namespaced(server.client().unwrap(), "default")
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(crate::support::config_map(name)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_and_watches_work_without_a_socket() {
    let server = server().await;
    let api = api(&server);
    let mut events = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(_)))));
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Deleted(_)))));
    server.stop().await;
    assert!(events.next().await.is_none_or(|end| end.is_err()));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_socket_is_refused_in_words() {
    let server = server().await;
    assert_eq!(server.address(), None);
    let error = server.kubeconfig().unwrap_err();
    assert!(matches!(error, ServerError::NoSocket(_)));
    assert_eq!(error.to_string(), "the server listens on no address, so there is no URL");
}

#[tokio::test(start_paused = true)]
async fn a_pause_cuts_watches_and_refuses_requests() {
    let server = server().await;
    let api = api(&server);
    let mut events = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    server.faults().pause_all();
    assert!(events.next().await.unwrap().is_err());
    let refused = api.get("a").await.unwrap_err();
    assert!(refused.to_string().contains("connection refused"), "{refused}");
    server.faults().resume_all();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_as_long_as_the_server_asks() {
    let server = server().await;
    let action = FaultAction::Status {
        code: 429,
        reason: "TooManyRequests".into(),
        message: "later".into(),
        retry_after: Some(7),
    };
    let matcher = Matcher::new(Verb::Create, "configmaps");
    server.faults().inject(Fault { matcher, times: Some(2), action });
    let begun = Instant::now();
    api(&server).create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 14);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_ends_after_five_minutes() {
    let server = server().await;
    let matcher = Matcher::new(Verb::Get, "configmaps");
    server.faults().inject(Fault { matcher, times: Some(1), action: FaultAction::Hang });
    let error = api(&server).get("a").await.unwrap_err();
    assert!(error.to_string().contains("no answer within 295 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lagging_watch_tells_all_and_late() {
    let server = server().await;
    let api = api(&server);
    let matcher = Matcher::new(Verb::Watch, "configmaps");
    let action = FaultAction::LagWatch(Duration::from_secs(20));
    server.faults().inject(Fault { matcher, times: Some(1), action });
    let mut events = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &config_map(name)).await.unwrap();
    }
    let begun = Instant::now();
    for name in ["a", "b"] {
        let Some(Ok(WatchEvent::Added(found))) = events.next().await else { panic!("no event for {name}") };
        assert_eq!(found.metadata.name.as_deref(), Some(name));
    }
    assert!((20..=40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn one_seed_gives_one_sequence_of_identities() {
    let identities = |seed: u64| {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let server = server().await;
            api(&server).create(&PostParams::default(), &config_map("a")).await.unwrap().metadata.uid
        })
    };
    assert_eq!(identities(7), identities(7));
    assert_ne!(identities(7), identities(8));
}
