//! The status table of the documentation ("KataConfig status messages", two workers), as a client sees it.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use osc_api::KataConfigStatus;
use serde_json::{Value, json};

use super::{Story, story};
use crate::bed::{Bed, NAME, workers};

pub fn stories() -> Vec<Story> {
    vec![story!(the_documented_sequence_is_seen_in_its_order, workers(2))]
}

/// What the documentation shows of a status: the condition and the nodes.
fn documented(status: &KataConfigStatus) -> Value {
    let condition = status
        .condition("InProgress")
        .map(|found| json!({"status": found.status, "reason": found.reason, "message": found.message}));
    json!({"InProgress": condition, "kataNodes": status.kata_nodes})
}

#[allow(clippy::needless_pass_by_value, reason = "reads as a table")]
fn row(status: &str, reason: &str, message: &str, nodes: Value) -> Value {
    json!({"InProgress": {"status": status, "reason": reason, "message": message}, "kataNodes": nodes})
}

async fn the_documented_sequence_is_seen_in_its_order(bed: &mut Bed) {
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let record = seen.clone();
    let mut changes = watcher(bed.kata_configs(), watcher::Config::default()).applied_objects().boxed();
    let recorder = tokio::spawn(async move {
        while let Ok(Some(object)) = changes.try_next().await {
            let Some(status) = object.status else { continue };
            let row = documented(&status);
            let mut rows = record.lock().unwrap();
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
    });
    let spec = json!({"enablePeerPods": false, "checkNodeEligibility": false, "logLevel": "info"});
    bed.create(NAME, spec).await;
    bed.installed(NAME).await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    recorder.abort();
    let rows = seen.lock().unwrap().clone();
    check(&rows);
    bed.assert_reboots(&[("worker-0", 2), ("worker-1", 2)]).await;
}

/// The documentation lets worker-1 go first; the older node does, which is worker-0 here.
fn check(rows: &[Value]) {
    let installing =
        |nodes| row("True", "Installing", "Performing initial installation of kata on cluster", nodes);
    let uninstalling = |nodes| row("True", "Uninstalling", "Removing kata from cluster", nodes);
    let table = [
        installing(json!({"nodeCount": 0, "readyNodeCount": 0})),
        installing(
            json!({"nodeCount": 2, "readyNodeCount": 0, "waitingToInstall": ["worker-0", "worker-1"]}),
        ),
        installing(
            json!({"nodeCount": 2, "readyNodeCount": 0, "installing": ["worker-0"], "waitingToInstall": ["worker-1"]}),
        ),
        installing(
            json!({"nodeCount": 2, "readyNodeCount": 1, "installed": ["worker-0"], "installing": ["worker-1"]}),
        ),
        row(
            "False",
            "",
            "",
            json!({"nodeCount": 2, "readyNodeCount": 2, "installed": ["worker-0", "worker-1"]}),
        ),
        uninstalling(
            json!({"nodeCount": 0, "readyNodeCount": 0, "waitingToUninstall": ["worker-0", "worker-1"]}),
        ),
        uninstalling(
            json!({"nodeCount": 0, "readyNodeCount": 0, "uninstalling": ["worker-0"], "waitingToUninstall": ["worker-1"]}),
        ),
        uninstalling(json!({"nodeCount": 0, "readyNodeCount": 0, "uninstalling": ["worker-1"]})),
    ];
    // Between two nodes, one has finished and the next has not begun; the table leaves these moments out.
    let between = [
        installing(json!({"nodeCount": 1, "readyNodeCount": 0, "waitingToInstall": ["worker-0"]})),
        installing(
            json!({"nodeCount": 2, "readyNodeCount": 1, "installed": ["worker-0"], "waitingToInstall": ["worker-1"]}),
        ),
        installing(json!({"nodeCount": 2, "readyNodeCount": 2, "installed": ["worker-0", "worker-1"]})),
        uninstalling(json!({"nodeCount": 0, "readyNodeCount": 0, "waitingToUninstall": ["worker-1"]})),
        uninstalling(json!({"nodeCount": 0, "readyNodeCount": 0})),
    ];
    let found: Vec<&Value> = rows.iter().filter(|row| !between.contains(row)).collect();
    assert_eq!(found, table.iter().collect::<Vec<_>>(), "all rows: {rows:#?}");
}
