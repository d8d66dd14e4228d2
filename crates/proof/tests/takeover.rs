//! Installations of the Go operator are taken over; and the proof of it notices when they are not.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use osc_proof::simulation::simulate;
use osc_proof::takeover::bed::Bed;
use osc_proof::takeover::fixture::{Fixture, all};
use osc_proof::takeover::story::play;
use osc_proof::takeover::{Arguments, run};

fn named(name: &str) -> Fixture {
    all().into_iter().find(|fixture| fixture.name == name).unwrap()
}

#[test]
fn every_installation_of_the_go_operator_is_taken_over() {
    assert!(run(&Arguments::default()).unwrap());
}

/// An operator that is told to install another extension rewrites the machine config.
#[test]
fn a_changed_machine_config_is_noticed() {
    let outcome = simulate(0, async {
        let fixture = named("single-node-1.12");
        let mut bed = Bed::embedded(fixture.topology.clone()).await;
        bed.options.extension = Some("usbguard".to_owned());
        play(&fixture, &bed).await
    });
    let changed: Vec<&str> = outcome.changed.iter().map(String::as_str).collect();
    assert_eq!(
        changed,
        ["MachineConfig 50-enable-sandboxed-containers-extension", "MachineConfigPool master"]
    );
    assert!(
        outcome.wrong.iter().any(|line| line.starts_with("taken over: reboots were")),
        "{:?}",
        outcome.wrong
    );
}

/// What nobody removes is found: here, a runtime class that lost all signs of whose it is.
#[test]
fn what_is_left_is_noticed() {
    let outcome = simulate(0, async {
        let fixture = named("single-node-1.11");
        let bed = Bed::embedded(fixture.topology.clone()).await;
        let (outcome, ()) = tokio::join!(play(&fixture, &bed), async {
            let classes: kube::Api<k8s_openapi::api::node::v1::RuntimeClass> =
                kube::Api::all(bed.client.clone());
            tokio::time::sleep(std::time::Duration::from_mins(30)).await;
            let stranger = serde_json::json!({"metadata": {"name": "kata-remote"}, "handler": "kata-remote"});
            classes
                .create(&kube::api::PostParams::default(), &serde_json::from_value(stranger).unwrap())
                .await
                .unwrap();
        });
        outcome
    });
    assert_eq!(outcome.wrong, ["left: RuntimeClass kata-remote"]);
    assert!(outcome.changed.is_empty());
}
