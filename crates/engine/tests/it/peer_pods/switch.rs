//! Peer pods are switched off, and on again.

use osc_api::peerpods;
use osc_engine::Kind;
use serde_json::json;

use super::{assert_degraded, assert_ready, ended, image_begun, usable};
use crate::cloud::{IMAGE, assert_nothing_left, own};
use crate::world::KATA;

#[test]
fn switched_off_they_go_and_kata_stays() {
    let mut world = usable();
    world.add_pod("shop", "web", "kata-remote");
    world.respec(KATA, json!({}));
    world.run();
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some(), "a pod uses them");
    assert_degraded(&world, &["shop/web"]);
    world.pods.clear();
    world.run();
    assert_nothing_left(&world);
    assert_ready(&world);
    assert!(world.object(Kind::RuntimeClass, "kata").is_some());
    assert!(!world.cluster.objects.contains_key(&own(Kind::Job, peerpods::IMAGE_DELETION)));
}

#[test]
fn switched_on_again_while_the_image_is_deleted_another_one_is_made() {
    let mut world = usable();
    world.respec(KATA, json!({}));
    world.run_until(ended(peerpods::IMAGE_DELETION));
    world.respec(KATA, json!({"enablePeerPods": true}));
    world.run();
    assert_ready(&world);
    assert!(world.cloud.images.contains(IMAGE), "the one that is used is there");
}

#[test]
fn switched_on_again_while_the_making_of_an_image_is_stopped_it_is_made() {
    let mut world = image_begun();
    world.respec(KATA, json!({}));
    world.run_until(|world| {
        world.own(Kind::Job, peerpods::IMAGE_CREATION).is_some_and(|job| job["spec"]["parallelism"] == 0)
    });
    world.cloud.slow = false;
    world.respec(KATA, json!({"enablePeerPods": true}));
    world.run();
    assert_ready(&world);
}
