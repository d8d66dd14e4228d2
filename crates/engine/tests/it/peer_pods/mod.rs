//! Peer pods: from what a person set to a runtime class, and back.

mod adaptor;
mod credentials;
mod foreign;
mod image;
mod install;
mod removal;
mod settings;
mod switch;
mod webhook;

use osc_api::peerpods;
use osc_engine::Kind;
use serde_json::json;

use crate::cloud::SETTINGS;
use crate::world::{KATA, World};

/// Somebody asks for peer pods, and everything happens.
fn enabled(mut world: World) -> World {
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run();
    world
}

/// Peer pods that pods can use.
fn usable() -> World {
    let world = enabled(World::for_peer_pods(&SETTINGS));
    assert_ready(&world);
    world
}

/// Somebody asks for peer pods, and nothing has happened yet.
fn asked_for() -> World {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({"enablePeerPods": true}));
    world
}

/// The job has begun to make an image, and does not come to an end.
fn image_begun() -> World {
    let mut world = asked_for();
    world.cloud.slow = true;
    world.run_until(|world| world.cloud.begun);
    world
}

/// The job that makes the image failed with these words.
fn image_failed(words: &str) -> World {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.fails = Some(words.to_owned());
    enabled(world)
}

/// The job came to its end.
fn ended(job: &str) -> impl Fn(&World) -> bool {
    move |world| world.own(Kind::Job, job).is_some_and(|job| !job["status"]["conditions"].is_null())
}

/// Somebody writes a setting into `peer-pods-cm`.
fn set(world: &mut World, key: &str, value: &str) {
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| map["data"][key] = json!(value));
}

/// Somebody deletes the KataConfig, and it goes.
fn removed(world: &mut World) {
    world.remove(KATA);
    world.run();
    assert_gone(world);
}

fn assert_gone(world: &World) {
    assert!(world.kata_config(KATA).is_none(), "{}", world.condition(KATA, "Degraded"));
}

fn assert_ready(world: &World) {
    let [ready, degraded] = ["Ready", "Degraded"].map(|condition| world.condition(KATA, condition));
    assert!(ready.starts_with("True Installed: "), "{ready}; {degraded}");
}

/// The condition `Degraded` has all these words.
fn assert_degraded(world: &World, parts: &[&str]) {
    let words = world.condition(KATA, "Degraded");
    for part in parts {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
}

/// Reasons of the condition `InProgress` in the order in which they were told.
fn told(world: &World) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for (_, status) in &world.told {
        let condition = status.condition("InProgress").unwrap();
        let words = format!("{} {}: {}", condition.status, condition.reason, condition.message);
        if reasons.last() != Some(&words) {
            reasons.push(words);
        }
    }
    reasons
}
