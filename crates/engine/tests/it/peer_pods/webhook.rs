//! The webhook: who is asked about pods, and when.

use osc_api::peerpods::webhook;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::json;

use super::{asked_for, assert_ready, enabled};
use crate::cloud::{SETTINGS, assert_nothing_left};
use crate::world::{KATA, World};

/// API servers must not be told to ask a webhook that is gone, or that is not there yet.
#[test]
fn nobody_is_asked_while_nobody_answers() {
    let mut world = asked_for();
    let check = |world: &World| {
        let asked = world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_some();
        let server = world.own(Kind::Deployment, webhook::DEPLOYMENT);
        let answers = server.is_some_and(|server| server["status"]["availableReplicas"] == 2);
        assert!(!asked || answers && world.own(Kind::Service, webhook::SERVICE).is_some());
        false
    };
    world.run_until(check);
    world.remove(KATA);
    world.run_until(check);
    assert_nothing_left(&world);
}

#[test]
fn nobody_is_asked_before_the_api_server_has_told_its_release() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.release_known = false;
    let mut world = enabled(world);
    assert!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_none());
    world.cluster.capabilities.release_known = true;
    world.run();
    assert_ready(&world);
}

#[test]
fn a_webhook_that_does_not_start_keeps_the_class_away() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.no_webhook = true;
    let world = enabled(world);
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none());
    assert_eq!(
        world.condition(KATA, "Ready"),
        "False PeerPods: Kata is installed on 2 nodes; pods use it with runtimeClassName: kata; peer pods cannot be used \
         yet: the webhook starts"
    );
}

#[rstest]
#[case::with_conditions(true, "Fail")]
#[case::without(false, "Ignore")]
fn a_webhook_that_fails_keeps_no_other_pod_away(#[case] conditions: bool, #[case] policy: &str) {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.match_conditions = conditions;
    let world = enabled(world);
    let webhook =
        &world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).unwrap()["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], policy);
    assert_eq!(webhook["matchConditions"].is_array(), conditions);
    assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE"]));
}

/// Whether it never started or went down later: right away nothing is told, for nodes restart.
#[test]
fn a_webhook_that_stays_down_is_told_after_a_while() {
    let mut world = enabled(World::for_peer_pods(&SETTINGS));
    let since = world.cluster.now;
    world.edit_own(Kind::Deployment, webhook::DEPLOYMENT, |deployment| {
        deployment["status"] = json!({"availableReplicas": 0, "conditions": [
            {"type": "Available", "status": "False", "message": "does not have minimum availability", "lastTransitionTime": since},
        ]});
    });
    world.run();
    assert!(world.condition(KATA, "Degraded").starts_with("False "));
    let deadline = since + world.settings.peer_pods.start_deadline;
    assert_eq!(world.plan().wake_at, Some(deadline));
    world.cluster.now = deadline;
    world.run();
    let told = world.condition(KATA, "Degraded");
    assert!(told.starts_with("True PeerPodsWebhookNotReady: no pod of Deployment"), "{told}");
    assert!(told.contains("5 min") && told.contains("-l app=peer-pods-webhook"), "{told}");
    let there = world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_some();
    assert!(there, "peer pods are not started without being counted");
}
