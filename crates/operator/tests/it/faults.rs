//! The API server misbehaves; the work gets done.

use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use rstest::rstest;
use serde_json::json;

use crate::bed::{Bed, OPERATOR, message, options, reason, workers};

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

/// Nothing to install, so that time need not run fast.
fn nothing_selected() -> serde_json::Value {
    json!({"kataConfigPoolSelector": {"matchLabels": {"no": "node"}}})
}

fn settled(status: &osc_api::KataConfigStatus) -> bool {
    reason(status, "Ready") == ("False", "NoNodesSelected")
}

/// An API server that has just been started, or a role that is being replaced, refuses for a moment.
#[tokio::test]
async fn a_moment_without_rights_is_nobodys_business() {
    // Half a minute of the cluster is six seconds of ours; the watch is tried again after one to two.
    let mut bed = Bed::without_operator_at(workers(1), 5.0).await;
    bed.install_crd().await;
    bed.run_operator(options());
    bed.create(NAME, json!({"kataConfigPoolSelector": {"matchLabels": {"no": "node"}}})).await;
    let settled =
        |status: &osc_api::KataConfigStatus| reason(status, "Ready") == ("False", "NoNodesSelected");
    bed.until(NAME, "settled", |status| status.is_some_and(settled)).await;
    let before = bed.kata_configs().get(NAME).await.unwrap().metadata.resource_version;
    for (code, reason) in [(403, "Forbidden"), (401, "Unauthorized")] {
        let pools = |user_agent: Option<&str>| Matcher {
            resource: Some("machineconfigpools".into()),
            user_agent: user_agent.map(str::to_owned),
            ..Matcher::default()
        };
        let fault = Fault { matcher: pools(Some(OPERATOR)), times: Some(1), action: status(code, reason) };
        bed.cluster.server().faults().inject(fault);
        bed.cluster.server().faults().expire_watches(&pools(None));
        tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    }
    let after = bed.kata_configs().get(NAME).await.unwrap().metadata.resource_version;
    assert_eq!(before, after, "{:?}", bed.status(NAME).await);
    bed.stop().await;
}

/// A list may work where its watch is refused. That is no recovery, and must not be tried every second.
#[tokio::test]
async fn a_watch_that_breaks_right_after_its_list_is_told_and_tried_ever_more_slowly() {
    let mut bed = Bed::without_operator_at(workers(1), 20.0).await;
    bed.install_crd().await;
    bed.run_operator(options());
    bed.create(NAME, nothing_selected()).await;
    bed.until(NAME, "settled", |status| status.is_some_and(settled)).await;
    let pools = |verb| Matcher {
        verb,
        resource: Some("machineconfigpools".into()),
        user_agent: Some(OPERATOR.into()),
        ..Matcher::default()
    };
    let fault = Fault { matcher: pools(Some(Verb::Watch)), times: None, action: status(403, "Forbidden") };
    bed.cluster.server().faults().inject(fault);
    bed.cluster.server().requests().clear();
    bed.cluster.server().faults().expire_watches(&pools(None));
    let told =
        |status: &osc_api::KataConfigStatus| reason(status, "Degraded") == ("True", "ClusterUnreadable");
    bed.until(NAME, "told", |status| status.is_some_and(told)).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert!(told(&bed.status(NAME).await.unwrap()), "a list in between takes nothing back");
    let requests = bed.cluster.server().requests().snapshot();
    let lists = requests.iter().filter(|record| {
        record.request.user_agent.contains(OPERATOR)
            && record.request.verb == Verb::List
            && record.request.path.ends_with("/machineconfigpools")
    });
    let lists = lists.count();
    // All pools are watched, and ours by its name.
    assert!(
        (4..=10).contains(&lists),
        "twice: after 1, 2, 4, 8 seconds and as much again by chance: {lists}"
    );
    bed.cluster.server().faults().clear();
    bed.until(NAME, "settled again", |status| status.is_some_and(settled)).await;
    bed.stop().await;
}

#[tokio::test]
async fn pods_that_cannot_be_listed_hold_removal_in_words() {
    let bed = Bed::start(workers(1)).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let matcher =
        Matcher { resource: Some("pods".into()), user_agent: Some(OPERATOR.into()), ..Matcher::default() };
    let fault = Fault { matcher, times: None, action: status(500, "InternalError") };
    bed.cluster.server().faults().inject(fault);
    bed.delete(NAME).await;
    bed.until(NAME, "told", |status| {
        status.is_some_and(|status| {
            reason(status, "InProgress") == ("False", "BlockedByExistingKataPods")
                && message(status, "InProgress").starts_with("Failed to list kata pods: injected")
        })
    })
    .await;
    bed.cluster.server().faults().clear();
    bed.gone(NAME).await;
    bed.stop().await;
}
