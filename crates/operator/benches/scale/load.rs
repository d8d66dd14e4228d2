//! What goes on in a cluster and is none of the operator's business: labels that change, heartbeats.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use osc_devcluster::server::Server;
use serde_json::{Value, json};

use crate::process::Operator;
use crate::writes;

const CHURN_SECONDS: u32 = 20;
const CHURN_EACH_SECOND: u32 = 100;
/// A kubelet that has nothing new to tell writes its node's status every five minutes.
const HEARTBEATS_A_DAY: u32 = 288;

/// Label changes, 100 nodes a second.
pub struct Churn {
    /// How many in all.
    pub changes: u32,
    /// Writes of the operator meanwhile.
    pub writes: u32,
    /// Processor time of the operator.
    pub busy: Duration,
}

/// A day of heartbeats.
pub struct Day {
    /// How many in all.
    pub heartbeats: u32,
    /// Writes of the operator meanwhile.
    pub writes: u32,
    /// Processor time of the operator.
    pub busy: Duration,
    /// Hour of the day and resident memory of the operator in MB.
    pub memory: Vec<(f64, f64)>,
}

/// Changes labels at a steady pace.
pub async fn churn(client: &kube::Client, operator: &Operator, server: &Server) -> Churn {
    let nodes: Api<Node> = Api::all(client.clone());
    settled(operator).await;
    let (written, busy) = (writes(server).0, operator.processor_time());
    let mut pace = tokio::time::interval(Duration::from_secs(1) / CHURN_EACH_SECOND);
    let changes = CHURN_SECONDS * CHURN_EACH_SECOND;
    for change in 0..changes {
        pace.tick().await;
        let patch = json!({"metadata": {"labels": {"example.com/churn": change.to_string()}}});
        let name = format!("worker-{}", change % 100);
        nodes.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    settled(operator).await;
    Churn {
        changes,
        writes: writes(server).0 - written,
        busy: operator.processor_time().saturating_sub(busy),
    }
}

/// Puts heartbeats straight into the store, as fast as the operator takes them in: a day in some minutes.
pub async fn day(server: &Server, operator: &Operator) -> Day {
    let mut nodes: Vec<Value> = server
        .objects()
        .iter()
        .filter(|object| object["kind"] == "Node")
        .map(|object| object.as_ref().clone())
        .collect();
    let (written, busy) = (writes(server).0, operator.processor_time());
    let mut memory = vec![(0.0, operator.resident_memory())];
    let mut now = Timestamp::now();
    for beat in 1..=HEARTBEATS_A_DAY {
        now += SignedDuration::from_mins(5);
        for node in &mut nodes {
            let conditions = node["status"]["conditions"].as_array_mut().unwrap();
            for condition in conditions {
                condition["lastHeartbeatTime"] = json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            }
        }
        server.load(nodes.clone()).unwrap();
        settled(operator).await;
        memory.push((f64::from(beat) / 12.0, operator.resident_memory()));
    }
    Day {
        heartbeats: HEARTBEATS_A_DAY * u32::try_from(nodes.len()).unwrap(),
        writes: writes(server).0 - written,
        busy: operator.processor_time().saturating_sub(busy),
        memory,
    }
}

/// Waits until the operator has nothing more to do: its processor time stands still.
async fn settled(operator: &Operator) {
    let begun = Instant::now();
    loop {
        let before = operator.processor_time();
        tokio::time::sleep(Duration::from_millis(60)).await;
        if operator.processor_time() == before {
            return;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "the operator does not come to rest");
    }
}
