//! Faults as clients feel them, and the record of requests.

use std::sync::Arc;
use std::time::Duration;

use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use serde_json::Value;

use crate::support::{Api, CONFIG_MAPS, config_map, server};

async fn try_get(api: &Api, path: &str) -> Result<Value, kube::Error> {
    api.client().request(http::Request::get(path).body(Vec::new()).unwrap()).await
}

fn on(verb: Verb, action: FaultAction) -> Fault {
    Fault { matcher: Matcher::new(verb, "configmaps"), times: Some(1), action }
}

#[tokio::test]
async fn a_status_is_answered_as_often_as_asked_for() {
    let server = server().await;
    let api = Api::of(&server);
    let action = FaultAction::Status {
        code: 429,
        reason: "TooManyRequests".into(),
        message: "later".into(),
        retry_after: Some(1),
    };
    server.faults().inject(on(Verb::List, action));
    let refused = api.get(CONFIG_MAPS).await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (429, "later"));
    assert!(api.get(CONFIG_MAPS).await.is_ok());
}

#[tokio::test]
async fn a_drop_comes_before_or_after_the_work() {
    let server = server().await;
    let api = Api::of(&server);
    let post = |name: &'static str| {
        let request =
            http::Request::post(CONFIG_MAPS).body(config_map(name).to_string().into_bytes()).unwrap();
        let client = api.client();
        async move { client.request::<Value>(request).await }
    };
    server.faults().inject(on(Verb::Create, FaultAction::Drop));
    assert!(matches!(post("a").await, Err(error) if !matches!(error, kube::Error::Api(_))));
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.unwrap_err().code, 404);
    server.faults().inject(on(Verb::Create, FaultAction::DropAfter));
    assert!(post("b").await.is_err());
    assert!(api.get(&format!("{CONFIG_MAPS}/b")).await.is_ok());
}

#[tokio::test]
async fn a_hanging_request_never_ends_and_a_delayed_one_does() {
    let server = server().await;
    let api = Api::of(&server);
    server.faults().inject(on(Verb::List, FaultAction::Hang));
    let hanging = tokio::time::timeout(Duration::from_millis(200), try_get(&api, CONFIG_MAPS)).await;
    assert!(hanging.is_err());
    server.faults().inject(on(Verb::List, FaultAction::Delay(Duration::from_millis(100))));
    let begun = std::time::Instant::now();
    assert!(try_get(&api, CONFIG_MAPS).await.is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_pause_makes_the_server_unreachable() {
    let server = server().await;
    let api = Api::of(&server);
    assert!(try_get(&api, CONFIG_MAPS).await.is_ok());
    server.faults().pause_all();
    assert!(try_get(&api, CONFIG_MAPS).await.is_err());
    server.faults().resume_all();
    assert!(try_get(&api, CONFIG_MAPS).await.is_ok());
}

#[tokio::test]
async fn a_hook_sees_who_asks() {
    let server = server().await;
    server.faults().set_hook(Arc::new(|request| {
        (request.user_agent == "operator" && request.verb == Verb::List).then(|| FaultAction::Status {
            code: 500,
            reason: "InternalError".into(),
            message: "no luck".into(),
            retry_after: None,
        })
    }));
    assert!(Api::of(&server).get(CONFIG_MAPS).await.is_ok());
    assert_eq!(Api::named(&server, "operator").get(CONFIG_MAPS).await.unwrap_err().message, "no luck");
    server.faults().clear();
    assert!(Api::named(&server, "operator").get(CONFIG_MAPS).await.is_ok());
}

#[tokio::test]
async fn the_log_knows_what_was_asked() {
    let server = server().await;
    let api = Api::named(&server, "operator/1.0");
    api.post(CONFIG_MAPS, config_map("a")).await.unwrap();
    api.post(&format!("{CONFIG_MAPS}?dryRun=All&fieldManager=me"), config_map("b")).await.unwrap();
    assert!(api.get(&format!("{CONFIG_MAPS}/b")).await.is_err());
    let log = server.requests().snapshot();
    let seen: Vec<(Verb, &str, u16, &str, bool)> = log
        .iter()
        .map(|r| {
            let q = &r.request;
            (q.verb, q.name.as_str(), r.code, q.field_manager.as_str(), q.dry_run)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Verb::Create, "", 201, "operator", false),
            (Verb::Create, "", 201, "me", true),
            (Verb::Get, "b", 404, "operator", false),
        ]
    );
    assert_eq!((server.requests().total(), server.requests().writes()), (3, 1));
    server.requests().clear();
    assert!(server.requests().is_empty());
}
