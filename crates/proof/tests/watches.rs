//! What cannot be read: for a moment, for longer, for good. In simulated time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use osc_api::KataConfigStatus;
use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use osc_proof::simulation::scenario::chosen;
use osc_proof::simulation::{OPERATOR, Rig, simulate};

async fn installed() -> Rig {
    let scenario = chosen(Some("install-one-worker")).unwrap()[0];
    let rig = Rig::start(scenario.contents(), 0).await;
    scenario.play(&rig).await.unwrap();
    rig.rest().await.unwrap();
    rig
}

fn refusal(code: u16, reason: &str) -> FaultAction {
    FaultAction::Status { code, reason: reason.into(), message: "injected".into(), retry_after: None }
}

fn of_operator(resource: &str, verb: Option<Verb>) -> Matcher {
    Matcher { verb, resource: Some(resource.into()), user_agent: Some(OPERATOR.into()), ..Matcher::default() }
}

fn is_unreadable(status: &KataConfigStatus) -> bool {
    let degraded = status.condition("Degraded");
    degraded
        .is_some_and(|found| (found.status.as_str(), found.reason.as_str()) == ("True", "ClusterUnreadable"))
}

/// An API server that has just been started, or a role that is being replaced, refuses for a moment.
#[test]
fn a_moment_without_rights_is_nobodys_business() {
    simulate(0, async {
        let rig = installed().await;
        let server = rig.cluster().server();
        server.requests().clear();
        for (code, reason) in [(403, "Forbidden"), (401, "Unauthorized")] {
            let pools = of_operator("machineconfigpools", None);
            let action = refusal(code, reason);
            server.faults().inject(Fault { matcher: pools.clone(), times: Some(2), action });
            server.faults().expire_watches(&pools);
            tokio::time::sleep(Duration::from_mins(2)).await;
        }
        assert_eq!(server.requests().writes(), 0, "{:?}", rig.status());
    });
}

/// A list may work where its watch is refused. That is no recovery, and must not be tried every second.
#[test]
fn a_watch_that_breaks_right_after_its_list_is_told_and_tried_ever_more_slowly() {
    simulate(0, async {
        let rig = installed().await;
        let server = rig.cluster().server();
        let fault = Fault {
            matcher: of_operator("machineconfigpools", Some(Verb::Watch)),
            times: None,
            action: refusal(403, "Forbidden"),
        };
        server.faults().inject(fault);
        server.requests().clear();
        server.faults().expire_watches(&of_operator("machineconfigpools", None));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(rig.status().is_some_and(|status| is_unreadable(&status)), "{:?}", rig.status());
        tokio::time::sleep(Duration::from_mins(9)).await;
        assert!(rig.status().is_some_and(|status| is_unreadable(&status)), "a list takes nothing back");
        let log = server.requests().snapshot();
        let lists = log.iter().filter(|record| {
            record.request.verb == Verb::List && record.request.path.ends_with("/machineconfigpools")
        });
        // All pools are watched, and ours by its name: each after 1, 2, 4, ... seconds, then every one to two minutes.
        let lists = lists.count();
        assert!((14..=40).contains(&lists), "{lists} lists in ten minutes");
        server.faults().clear();
        rig.until("settled again", |status| status.is_some_and(|status| !is_unreadable(status)))
            .await
            .unwrap();
    });
}

#[test]
fn pods_that_cannot_be_listed_hold_removal_in_words() {
    simulate(0, async {
        let rig = installed().await;
        let action = refusal(500, "InternalError");
        let fault = Fault { matcher: of_operator("pods", None), times: None, action };
        rig.cluster().server().faults().inject(fault);
        rig.delete().await;
        rig.until("told", |status| {
            status.and_then(|status| status.condition("InProgress")).is_some_and(|found| {
                (found.status.as_str(), found.reason.as_str()) == ("False", "BlockedByExistingKataPods")
                    && found.message.starts_with("Failed to list kata pods: injected")
            })
        })
        .await
        .unwrap();
        rig.cluster().server().faults().clear();
        rig.until_gone().await.unwrap();
    });
}

fn passes(rig: &Rig) -> String {
    let text = rig.metrics();
    let line = text.lines().find(|line| line.starts_with("osc_reconcile_total{result=\"success\"}"));
    line.expect("passes are counted").to_owned()
}

/// In a large cluster labels change all the time; a pass over all nodes for each of them would be most of the work.
#[test]
fn a_label_that_nobody_reads_costs_no_pass_and_is_known_when_somebody_selects_by_it() {
    simulate(0, async {
        let rig = installed().await;
        let before = passes(&rig);
        for value in ["a", "b"] {
            rig.label_node("worker-0", "example.com/zone", value).await;
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        assert_eq!(passes(&rig), before);
        rig.change(serde_json::json!({
            "kataConfigPoolSelector": {"matchLabels": {"example.com/zone": "b"}},
        }))
        .await;
        rig.rest().await.unwrap();
        let reboots = rig.reboots();
        rig.until_installed(&["worker-0"]).await.unwrap();
        rig.label_node("worker-0", "example.com/zone", "c").await;
        rig.until("told that it leaves", |status| {
            status.is_some_and(|status| status.kata_nodes.installed.is_empty())
        })
        .await
        .unwrap();
        assert_ne!(passes(&rig), before);
        assert_eq!(reboots["worker-0"], 1, "to be selected in another way is no reason to reboot");
    });
}
