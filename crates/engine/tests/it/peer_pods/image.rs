//! The image that pod VMs start from: the job that makes it, and images of people.

use jiff::SignedDuration;
use osc_api::peerpods;
use osc_engine::Kind;
use serde_json::json;

use super::{
    asked_for, assert_degraded, assert_ready, enabled, ended, image_begun, image_failed, removed, set, told,
};
use crate::cloud::{IMAGE, SETTINGS, assert_nothing_left};
use crate::world::{KATA, World};

/// The failure is told with the job's own words.
#[test]
fn a_job_that_fails_is_told_with_its_last_words_until_it_is_mended() {
    let mut world = image_failed("bucket podvm-images does not exist");
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True PodVMImageJobFailed: Failed to create Pod VM Image"
    );
    assert_degraded(
        &world,
        &["bucket podvm-images does not exist", "oc delete job osc-podvm-image-creation"],
    );
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_none(), "there is no image to start VMs from");
    let of_job = |event: &&osc_engine::Event| event.about.kind == Kind::Job;
    let told: Vec<&str> = world.events.iter().filter(of_job).map(|event| event.reason.as_str()).collect();
    assert_eq!(told, ["PodVMImageJobRunning", "PodVMImageJobFailed"]);
    let event = world.events.iter().rfind(of_job).unwrap();
    assert_eq!((event.about.name.as_str(), event.uid.is_empty()), (peerpods::IMAGE_CREATION, false));
    let before = world.steps;
    world.run();
    assert_eq!(world.steps, before, "it is not tried over and over");
    // A person mends it, by what the job reads.
    world.cloud.fails = None;
    world.put_own(Kind::ConfigMap, "aws-podvm-image-cm", json!({"data": {"BUCKET_NAME": "podvm-image-2"}}));
    world.run();
    assert_ready(&world);
}

#[test]
fn a_job_that_failed_runs_again_when_it_is_deleted() {
    let mut world = image_failed("no network");
    world.cloud.fails = None;
    world.delete_own(Kind::Job, peerpods::IMAGE_CREATION);
    world.run();
    assert_ready(&world);
}

/// Whatever it was may have passed: a cloud that could not be reached for some minutes needs nobody's attention.
#[test]
fn a_job_that_failed_runs_again_after_an_hour() {
    let mut world = image_failed("connection reset by peer");
    world.cloud.fails = None;
    let hour = world.cluster.now + SignedDuration::from_hours(1);
    assert_eq!(world.plan().wake_at, Some(hour));
    world.cluster.now = hour - SignedDuration::from_secs(1);
    world.run();
    assert_degraded(&world, &["runs again after an hour"]);
    world.cluster.now = hour;
    world.run();
    assert_ready(&world);
}

#[test]
fn a_job_that_does_not_say_what_it_made_is_told() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.says = Some("done".to_owned());
    let world = enabled(world);
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "Unknown PodVMImageJobStatusUnknown: Pod VM Image creation status is unknown"
    );
    assert_degraded(&world, &["did not say which image it made"]);
}

/// What nobody remembers is asked for again: the job finds what it made.
#[test]
fn a_pod_that_was_removed_before_it_was_heard_is_run_again() {
    let mut world = asked_for();
    world.run_until(ended(peerpods::IMAGE_CREATION));
    world.cluster.image_pods.clear();
    world.run();
    assert_eq!(world.setting("PODVM_AMI_ID"), Some(IMAGE));
}

#[test]
fn an_image_of_a_person_is_used_and_never_deleted() {
    let mut settings = SETTINGS.to_vec();
    settings.push(("PODVM_AMI_ID", "ami-11111111111111111"));
    let mut world = enabled(World::for_peer_pods(&settings));
    assert!(!world.cloud.begun, "no image is made");
    assert_ready(&world);
    removed(&mut world);
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-11111111111111111"));
    assert!(!told(&world).iter().any(|words| words.contains("Deleting Pod VM Image")));
}

/// Named while another one is being made: what was begun is not left behind.
#[test]
fn an_image_that_a_person_names_meanwhile_leaves_nothing_of_the_other_one() {
    let mut world = image_begun();
    set(&mut world, "PODVM_AMI_ID", "ami-11111111111111111");
    world.run();
    assert_ready(&world);
    assert!(world.cloud.images.is_empty(), "{:?}", world.cloud.images);
    assert!(peerpods::IMAGE_JOBS.iter().all(|job| world.own(Kind::Job, job).is_none()));
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-11111111111111111"));
}

/// What the message of an unknown outcome asks people to do must not delete the image.
#[test]
fn an_image_that_a_person_writes_down_for_the_job_is_used_and_goes_with_peer_pods() {
    let mut world = asked_for();
    world.run_until(ended(peerpods::IMAGE_CREATION));
    set(&mut world, "PODVM_AMI_ID", IMAGE);
    world.run();
    assert_ready(&world);
    assert!(world.cloud.images.contains(IMAGE));
    world.remove(KATA);
    world.run();
    assert_nothing_left(&world);
}
