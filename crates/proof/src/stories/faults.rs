//! The API server misbehaves; the work gets done.

use std::time::Duration;

use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use serde_json::json;

use super::Beginning::Installed;
use super::{Story, story};
use crate::bed::{Bed, NAME, OPERATOR, On, message, options, reason, workers};

pub fn stories() -> Vec<Story> {
    let why = "needs an API server that fails on demand";
    let ways = [
        ("conflict", status(409, "Conflict")),
        ("throttled", status(429, "TooManyRequests")),
        ("broken", status(500, "InternalError")),
        ("reset_before", FaultAction::Drop),
        ("reset_after", FaultAction::DropAfter),
    ];
    let writes = ways.map(|(way, action)| {
        let name = format!("writes_that_fail_are_tried_again::{way}");
        Story::new(name, workers(2), move |bed| {
            Box::pin(writes_that_fail_are_tried_again(bed, action.clone()))
        })
    });
    let others = [
        story!(watches_that_break_or_expire_are_taken_up_again, workers(2)),
        story!(a_kind_that_may_not_be_read_is_told_and_nothing_is_concluded, workers(1)),
    ];
    writes.into_iter().chain(others).map(|story| story.from(Installed).only(On::Embedded, why)).collect()
}

/// Without leader election, whose requests would take the faults that are meant for the work.
async fn start(bed: &mut Bed) {
    bed.run_operator(osc_operator::Options { leader_elect: false, ..options() }).await;
}

fn status(code: u16, reason: &str) -> FaultAction {
    FaultAction::Status { code, reason: reason.into(), message: "injected".into(), retry_after: Some(1) }
}

/// Every kind of write fails three times in this way; installation and removal end as without faults.
async fn writes_that_fail_are_tried_again(bed: &mut Bed, action: FaultAction) {
    start(bed).await;
    for verb in [Verb::Create, Verb::Patch, Verb::Delete] {
        let matcher = Matcher { verb: Some(verb), user_agent: Some(OPERATOR.into()), ..Matcher::default() };
        bed.embedded().faults().inject(Fault { matcher, times: Some(3), action: action.clone() });
    }
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.assert_reboots(&[("worker-0", 2), ("worker-1", 2)]).await;
}

async fn watches_that_break_or_expire_are_taken_up_again(bed: &mut Bed) {
    start(bed).await;
    bed.create(NAME, json!({})).await;
    for round in 0..6 {
        let all = Matcher { user_agent: Some(OPERATOR.into()), ..Matcher::default() };
        if round % 2 == 0 {
            bed.embedded().faults().cut_watches(&all);
        } else {
            bed.embedded().faults().expire_watches(&all);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    bed.installed(NAME).await;
}

async fn a_kind_that_may_not_be_read_is_told_and_nothing_is_concluded(bed: &mut Bed) {
    start(bed).await;
    let forbidden = || Fault {
        matcher: Matcher {
            resource: Some("machineconfigpools".into()),
            user_agent: Some(OPERATOR.into()),
            ..Matcher::default()
        },
        times: None,
        action: status(403, "Forbidden"),
    };
    bed.embedded().faults().inject(forbidden());
    let pools = Matcher { resource: Some("machineconfigpools".into()), ..Matcher::default() };
    bed.embedded().faults().expire_watches(&pools);
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "Degraded") == ("True", "ClusterUnreadable")
            && message(status, "Degraded").contains("cannot read MachineConfigPool: injected")
    })
    .await;
    bed.embedded().faults().clear();
    bed.installed(NAME).await;
}
