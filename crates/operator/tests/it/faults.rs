//! The API server misbehaves; the work gets done.

use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use rstest::rstest;
use serde_json::json;

use crate::bed::{Bed, OPERATOR, workers};

const NAME: &str = "example-kataconfig";

fn status(code: u16, reason: &str) -> FaultAction {
    FaultAction::Status { code, reason: reason.into(), message: "injected".into(), retry_after: Some(1) }
}

/// Every kind of write fails three times in this way; installation and removal end as without faults.
#[rstest]
#[case::conflict(status(409, "Conflict"))]
#[case::throttled(status(429, "TooManyRequests"))]
#[case::broken(status(500, "InternalError"))]
#[case::reset_before(FaultAction::Drop)]
#[case::reset_after(FaultAction::DropAfter)]
#[tokio::test]
async fn writes_that_fail_are_tried_again(#[case] action: FaultAction) {
    let bed = Bed::start(workers(2)).await;
    for verb in [Verb::Create, Verb::Patch, Verb::Delete] {
        let matcher = Matcher { verb: Some(verb), user_agent: Some(OPERATOR.into()), ..Matcher::default() };
        bed.cluster.server().faults().inject(Fault { matcher, times: Some(3), action: action.clone() });
    }
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert_eq!(bed.reboots().await, [("worker-0".into(), "2".into()), ("worker-1".into(), "2".into())]);
    bed.stop().await;
}

#[tokio::test]
async fn watches_that_break_or_expire_are_taken_up_again() {
    let bed = Bed::start(workers(2)).await;
    bed.create(NAME, json!({})).await;
    for round in 0..6 {
        let all = Matcher { user_agent: Some(OPERATOR.into()), ..Matcher::default() };
        if round % 2 == 0 {
            bed.cluster.server().faults().cut_watches(&all);
        } else {
            bed.cluster.server().faults().expire_watches(&all);
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    bed.installed(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_is_told_and_nothing_is_concluded() {
    let bed = Bed::start(workers(1)).await;
    let forbidden = || Fault {
        matcher: Matcher {
            resource: Some("machineconfigpools".into()),
            user_agent: Some(OPERATOR.into()),
            ..Matcher::default()
        },
        times: None,
        action: status(403, "Forbidden"),
    };
    bed.cluster.server().faults().inject(forbidden());
    let pools = Matcher { resource: Some("machineconfigpools".into()), ..Matcher::default() };
    bed.cluster.server().faults().expire_watches(&pools);
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        status.is_some_and(|status| {
            crate::bed::reason(status, "Degraded") == ("True", "ClusterUnreadable")
                && crate::bed::message(status, "Degraded").contains("cannot read MachineConfigPool: injected")
        })
    })
    .await;
    bed.cluster.server().faults().clear();
    bed.installed(NAME).await;
    bed.stop().await;
}
