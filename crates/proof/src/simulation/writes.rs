//! Looking at the cluster after every write of an operator.

use std::sync::{Arc, Mutex};

use osc_devcluster::server::{RequestInfo, RequestRecord};
use tokio::sync::broadcast::error::RecvError;

use super::{OPERATOR, Rig};

/// What was found wrong while a scenario was played; a line each.
pub type Findings = Arc<Mutex<Vec<String>>>;

/// Whether this is a write of an operator.
pub fn is_operators_write(request: &RequestInfo) -> bool {
    request.user_agent.starts_with(OPERATOR) && request.verb.is_write() && !request.dry_run
}

/// After every write of an operator, looks whether the finalizer holds, and does what else is to be done then. Goes on
/// until it is dropped.
pub async fn after_each_write(rig: &Rig, found: &Findings, mut then: impl AsyncFnMut(&RequestRecord)) {
    let mut log = rig.cluster().server().requests().subscribe();
    let find = |line| found.lock().unwrap().push(line);
    loop {
        match log.recv().await {
            Ok(record) if is_operators_write(&record.request) => {
                for violation in rig.violations() {
                    find(format!("after {:?} {}: {violation}", record.request.verb, record.request.path));
                }
                then(&record).await;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => find(format!("{missed} requests were not looked at")),
            Err(RecvError::Closed) => return,
        }
    }
}
