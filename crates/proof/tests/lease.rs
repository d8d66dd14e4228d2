//! Two operators, one Lease, and what goes wrong between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use osc_api::names;
use osc_devcluster::server::{FaultAction, RequestInfo, RequestRecord};
use osc_proof::simulation::scenario::chosen;
use osc_proof::simulation::{OPERATOR, Rig, play, simulate};
use serde_json::Value;

async fn two_operators() -> Rig {
    let rig = Rig::start(chosen(Some("install-three-workers")).unwrap()[0].contents(), 1).await;
    rig.kill_operator("first").await;
    rig.start_operator("first", true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.start_operator("second", true);
    rig
}

fn holder(rig: &Rig) -> String {
    let objects = rig.cluster().server().objects();
    let is_ours = |object: &&Arc<Value>| {
        object["kind"] == "Lease" && object["metadata"]["name"] == names::LEADER_ELECTION_LEASE
    };
    let lease = objects.iter().find(is_ours).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Who worked, with the second of simulated time, without the Lease itself.
fn work(rig: &Rig) -> Vec<(String, i64)> {
    let log = rig.cluster().server().requests().snapshot();
    let began = log[0].time.as_second();
    let is_work = |record: &&RequestRecord| {
        record.is_write()
            && record.request.user_agent.starts_with(OPERATOR)
            && record.request.resource != "leases"
    };
    log.iter()
        .filter(is_work)
        .map(|record| (record.request.user_agent.clone(), record.time.as_second() - began))
        .collect()
}

fn is_of(identity: &'static str) -> impl Fn(&RequestInfo) -> bool {
    move |request| request.user_agent.ends_with(identity)
}

#[test]
fn a_holder_that_reaches_nobody_stops_before_another_begins() {
    simulate(1, async {
        let rig = two_operators().await;
        rig.create(serde_json::json!({})).await;
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(holder(&rig), "first");
        // The first one is cut off, in the middle of an installation, and notices nothing: it gets no answers.
        let cut_off = is_of("first");
        let hang: osc_devcluster::server::Hook =
            Arc::new(move |request| cut_off(request).then_some(FaultAction::Hang));
        let faults = rig.cluster().server().faults();
        faults.set_hook(hang);
        faults.cut_watches(&osc_devcluster::server::Matcher::default());
        let cut = work(&rig).len();
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(holder(&rig), "second");
        // It comes back, and has to see that it is not the holder any more.
        faults.clear();
        rig.until_installed(&["worker-0", "worker-1", "worker-2"]).await.unwrap();
        rig.rest().await.unwrap();
        let after = &work(&rig)[cut..];
        assert!(!after.is_empty() && after.iter().all(|(who, _)| who.ends_with("second")), "{after:?}");
        assert!(rig.reboots().values().all(|count| *count <= 1), "{:?}", rig.reboots());
    });
}

/// Everything works for it but the Lease: nothing else would keep it from working on beside its successor.
#[test]
fn a_holder_that_cannot_renew_stops_although_it_could_work() {
    simulate(4, async {
        let rig = two_operators().await;
        rig.create(serde_json::json!({})).await;
        rig.until_installed(&["worker-0", "worker-1", "worker-2"]).await.unwrap();
        assert_eq!(holder(&rig), "first");
        let without_lease = is_of("first");
        let hang: osc_devcluster::server::Hook = Arc::new(move |request| {
            (without_lease(request) && request.resource == "leases").then_some(FaultAction::Hang)
        });
        rig.cluster().server().faults().set_hook(hang);
        // It was renewed at most some seconds ago, must not be relied on after 20, and is taken after 30.
        let cut = work(&rig).len();
        tokio::time::sleep(Duration::from_secs(22)).await;
        assert_eq!(holder(&rig), "first");
        rig.change(serde_json::json!({"logLevel": "debug"})).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(work(&rig).len(), cut, "nobody works while nobody can be sure");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(holder(&rig), "second");
        rig.until_reboots("worker", 2).await.unwrap();
        let after = &work(&rig)[cut..];
        assert!(!after.is_empty() && after.iter().all(|(who, _)| who.ends_with("second")), "{after:?}");
    });
}

#[test]
fn a_holder_that_dies_is_replaced_within_forty_seconds() {
    simulate(2, async {
        let rig = two_operators().await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        rig.kill_operator("first").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(holder(&rig), "first", "a lease is left alone while it lasts");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(holder(&rig), "second");
    });
}

#[test]
fn a_clock_that_is_wrong_takes_no_lease_away() {
    simulate(3, async {
        let rig = two_operators().await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        for wrong in [86_400, -86_400] {
            rig.set_clock_wrong(wrong);
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(holder(&rig), "first");
        }
    });
}

#[test]
fn of_two_who_reach_for_it_one_gets_it() {
    for seed in 0..50 {
        simulate(seed, async {
            let rig = Rig::start(chosen(Some("install-one-worker")).unwrap()[0].contents(), seed).await;
            rig.kill_operator("first").await;
            for identity in ["first", "second"] {
                rig.start_operator(identity, true);
            }
            rig.create(serde_json::json!({})).await;
            rig.until_installed(&["worker-0"]).await.unwrap();
            let work = work(&rig);
            assert!(work.iter().all(|(who, _)| *who == work[0].0), "seed {seed}: {work:?}");
            assert!(work[0].0.ends_with(&holder(&rig)));
        });
    }
}

/// What the adaptor forgot is deleted by whoever holds the Lease, and by nobody else.
#[test]
fn the_holder_deletes_what_the_adaptor_forgot() {
    let scenario = chosen(Some("peer-pods-forgotten")).unwrap()[0];
    let (end, rig) = play(scenario, 1, async |rig| {
        rig.kill_operator("first").await;
        for identity in ["first", "second"] {
            rig.start_operator(identity, true);
        }
    });
    end.unwrap();
    assert_eq!(rig.left_behind(), Vec::<String>::new());
    let writers: std::collections::BTreeSet<String> = work(&rig).into_iter().map(|(who, _)| who).collect();
    assert_eq!(writers.len(), 1, "{writers:?}");
}
