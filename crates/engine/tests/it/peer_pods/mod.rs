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

use serde_json::json;

use crate::cloud::SETTINGS;
use crate::world::{KATA, World};

fn enabled(mut world: World) -> World {
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run();
    world
}

fn usable() -> World {
    let world = enabled(World::for_peer_pods(&SETTINGS));
    assert!(
        world.condition(KATA, "Ready").starts_with("True Installed: "),
        "{}",
        world.condition(KATA, "Ready")
    );
    world
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
