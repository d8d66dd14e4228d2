//! The adaptors: when they are restarted, and how many virtual machines a node may have.

use osc_api::names;
use osc_api::peerpods;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use super::{assert_degraded, enabled, set, usable};
use crate::cloud::SETTINGS;
use crate::world::World;

#[test]
fn the_limit_holds_at_once_whoever_changes_it() {
    let mut world = usable();
    let adaptors = world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap()["spec"].clone();
    // As the documentation has it.
    world.edit_own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG, |found| {
        found["spec"]["limit"] = json!("4");
    });
    world.run();
    assert_eq!(world.node("worker-1").vms.as_deref(), Some("4"));
    assert_eq!(world.setting("PEERPODS_LIMIT_PER_NODE"), Some("4"));
    // As newer releases have it.
    set(&mut world, "PEERPODS_LIMIT_PER_NODE", "7");
    world.run();
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("7"));
    let limit = world.own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG).unwrap();
    assert_eq!(limit["spec"]["limit"], "7");
    let after = world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap()["spec"].clone();
    assert_eq!(after, adaptors, "no adaptor is restarted for it");
    // What is no limit is told, and the limit that was agreed on holds.
    world.edit_own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG, |found| {
        found["spec"]["limit"] = json!("many");
    });
    world.run();
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("7"));
    assert_degraded(&world, &["spec.limit is \"many\""]);
}

#[test]
fn adaptors_are_restarted_when_what_they_read_changes_and_only_then() {
    let mut world = usable();
    let template =
        |world: &World| world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap()["spec"]["template"].clone();
    let first = template(&world);
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["metadata"]["annotations"]["note"] = json!("somebody was here");
    });
    world.run();
    assert_eq!(template(&world), first, "a note is no setting");
    set(&mut world, "TAGS", "team=shop");
    world.run();
    let second = template(&world);
    assert_ne!(second, first);
    world.edit_own(Kind::Secret, peerpods::CREDENTIALS, |secret| {
        secret["digests"]["AWS_SECRET_ACCESS_KEY"] = json!("another");
    });
    world.run();
    assert_ne!(template(&world), second);
}

#[rstest]
#[case::default(None, json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}))]
#[case::by_hand(Some("OnDelete"), json!({"type": "OnDelete"}))]
fn adaptors_are_updated_as_the_gate_says(#[case] gate: Option<&str>, #[case] expected: Value) {
    let mut world = World::for_peer_pods(&SETTINGS);
    if let Some(gate) = gate {
        world.put_own(Kind::ConfigMap, names::FEATURE_GATES, json!({"data": {"caaUpdateStrategy": gate}}));
    }
    let world = enabled(world);
    let found = &world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap()["spec"]["updateStrategy"];
    assert_eq!(found["type"], expected["type"]);
}

/// By which virtual machines that no PeerPod knows are found; what a person has there stays.
#[rstest]
#[case::nothing("", "kata.peerpods.io/cluster=c0ffee")]
#[case::theirs("team=shop", "team=shop,kata.peerpods.io/cluster=c0ffee")]
fn machines_on_aws_are_tagged_as_those_of_the_cluster(#[case] theirs: &str, #[case] tags: &str) {
    let mut settings = SETTINGS.to_vec();
    settings.push(("TAGS", theirs));
    let world = enabled(World::for_peer_pods(&settings));
    let adaptor = world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap();
    let env = adaptor["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let told: Vec<&Value> = env.iter().filter(|one| one["name"] == "TAGS").collect();
    assert_eq!(told, [&json!({"name": "TAGS", "value": tags})]);
}
