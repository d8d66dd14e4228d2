//! The operator dies after every single write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use osc_api::names;
use osc_devcluster::sim::annotations;
use osc_proof::crash;
use osc_proof::simulation::scenario::{SCENARIOS, chosen};
use osc_proof::simulation::{Rig, differences, play};
use serde_json::json;

#[test]
fn nothing_comes_out_differently_wherever_the_operator_dies() {
    let mut tried = 0;
    for scenario in SCENARIOS {
        let trials = crash::all(scenario).unwrap();
        assert!(trials.iter().all(|trial| trial.deaths > 0), "{} was to kill the operator", scenario.name);
        let diverged: Vec<_> =
            trials.iter().filter(|trial| !trial.divergence.is_empty() || trial.extra_reboots > 0).collect();
        assert!(diverged.is_empty(), "{diverged:#?}");
        tried += trials.len();
    }
    assert!(tried > 300, "only {tried} points: a scenario has lost its writes");
}

/// Plays the smallest scenario with somebody who does damage, and tells what the comparison says of it.
fn damage<F: Future<Output = ()>>(damage: impl FnOnce(Rig) -> F) -> (Vec<String>, u32) {
    let scenario = chosen(Some("install-one-worker")).unwrap()[0];
    let expected = crash::baseline(scenario).unwrap().end;
    let (end, _) = play(scenario, 0, damage);
    let end = end.unwrap();
    (differences(&expected.objects, &end.objects), crash::extra(&expected.reboots, &end.reboots))
}

#[test]
fn a_reboot_for_nothing_would_be_seen() {
    let (_, extra) = damage(async |rig| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        rig.annotate_node("worker-0", annotations::RESTART, Some("")).await;
    });
    assert_eq!(extra, 1);
}

#[test]
fn something_left_behind_or_changed_would_be_seen() {
    let (told, _) = damage(async |rig| {
        // After the reboot: the drain before it would take the pod away.
        tokio::time::sleep(Duration::from_mins(20)).await;
        rig.create_pod("stray", None).await;
        rig.merge::<k8s_openapi::api::core::v1::Node>(
            "worker-0",
            json!({"metadata": {"labels": {"stray": ""}}}),
        )
        .await;
    });
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_lost_finalizer_would_be_seen() {
    let scenario = chosen(Some("install-one-worker")).unwrap()[0];
    let (_, rig) = play(scenario, 0, |_| async {});
    assert_eq!(rig.violations(), Vec::<String>::new());
    osc_proof::simulation::simulate(0, async {
        let scenario = chosen(Some("install-one-worker")).unwrap()[0];
        let rig = Rig::start(scenario.contents(), 0).await;
        scenario.play(&rig).await.unwrap();
        rig.kill_operator("first").await;
        let nothing = json!({"metadata": {"finalizers": null}});
        rig.merge::<osc_api::KataConfig>("example-kataconfig", nothing).await;
        let told = rig.violations();
        assert!(told.iter().any(|line| line.contains(names::KATA_POOL)), "{told:?}");
    });
}
