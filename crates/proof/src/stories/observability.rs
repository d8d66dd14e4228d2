//! Health, readiness and metrics over HTTP.

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use osc_operator::Options;
use osc_operator::options::BindAddress;
use serde_json::json;

use super::Beginning::Bare;
use super::{Story, story};
use crate::bed::{self, Bed, NAME, eventually, workers};

pub fn stories() -> Vec<Story> {
    vec![
        story!(readiness_says_what_is_missing_and_metrics_follow_the_work, workers(2)).from(Bare),
        story!(a_taken_port_is_told_at_start, workers(1)).from(Bare),
    ]
}

async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client.get(format!("http://127.0.0.1:{port}{path}").parse().unwrap()).await.ok()?;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((code, String::from_utf8(body.to_vec()).unwrap()))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn readiness_says_what_is_missing_and_metrics_follow_the_work(bed: &mut Bed) {
    let port = free_port();
    let address = BindAddress(Some(([127, 0, 0, 1], port).into()));
    bed.install_without(&["CustomResourceDefinition"]).await;
    bed.run_operator(Options { metrics_bind_address: address, ..bed::options() }).await;
    let missing = "CustomResourceDefinition kataconfigs.kataconfiguration.openshift.io is missing: install it with kubectl \
                   apply -k deploy/\n";
    assert!(eventually(|| async { get(port, "/readyz").await == Some((503, missing.to_owned())) }).await);
    assert_eq!(get(port, "/healthz").await, Some((200, "ok\n".to_owned())));
    bed.install().await;
    assert!(eventually(|| async { get(port, "/readyz").await == Some((200, "ok\n".to_owned())) }).await);

    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let done = || async {
        let text = get(port, "/metrics").await.unwrap().1;
        text.contains("kata_config_installation_success 1\n")
            && text.contains("osc_nodes{state=\"installed\"} 2\n")
    };
    assert!(eventually(done).await, "{:?}", get(port, "/metrics").await);
    let text = get(port, "/metrics").await.unwrap().1;
    for line in [
        "osc_reconcile_total{result=\"success\"}",
        "osc_writes_total{verb=\"apply\",kind=\"MachineConfig\"} 1",
        "osc_writes_total{verb=\"label\",kind=\"Node\"} 2",
        "osc_leader 1",
        "osc_setup_info{setup_type=\"baremetal\",cloud_provider=\"none\",tee_type=\"none\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

async fn a_taken_port_is_told_at_start(bed: &mut Bed) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let options = Options { metrics_bind_address: BindAddress(Some(address)), ..bed::options() };
    let clock = std::sync::Arc::new(osc_operator::WallClock);
    let cancel = tokio_util::sync::CancellationToken::new();
    let metrics = osc_operator::metrics::Metrics::default();
    let error = osc_operator::run(bed.client.clone(), options, clock, metrics, cancel).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot listen on {address}")), "{error}");
}
