//! Peer pods go with the KataConfig: virtual machines first, then the image.

use jiff::SignedDuration;
use osc_api::peerpods::{self, webhook};
use osc_engine::Kind;
use osc_engine::observed::PeerPodView;
use serde_json::json;

use super::{assert_degraded, assert_gone, image_begun, removed, set, told, usable};
use crate::cloud::{IMAGE, assert_nothing_left};
use crate::removal::assert_clean;
use crate::world::KATA;

/// A virtual machine of namespace `shop`.
fn peer_pod(name: &str) -> PeerPodView {
    PeerPodView {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        provider: "aws".to_owned(),
        instance: "i-1".to_owned(),
        ..PeerPodView::default()
    }
}

#[test]
fn everything_goes_again() {
    let mut world = usable();
    removed(&mut world);
    assert_clean(&world);
    assert_nothing_left(&world);
    let deletion = told(&world);
    let tail = &deletion[deletion.len() - 4..];
    assert_eq!(
        tail,
        [
            "True Uninstalling: Removing kata from cluster",
            "True PodVMImageJobRunning: Deleting Pod VM Image",
            "True PodVMImageJobCompleted: Deleted Pod VM Image",
            "True Uninstalling: Removing kata from cluster",
        ]
    );
    assert!(world.own(Kind::ConfigMap, peerpods::SETTINGS).is_some(), "what people made stays");
    assert!(world.own(Kind::Secret, peerpods::CREDENTIALS).is_some(), "what people made stays");
}

#[test]
fn virtual_machines_go_before_who_deletes_them() {
    let mut world = usable();
    world.cluster.peer_pods.push(PeerPodView {
        deleted: Some(world.cluster.now),
        error: Some("request limit exceeded".to_owned()),
        ..peer_pod("web-resource-x1y2z")
    });
    world.remove(KATA);
    world.run();
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some());
    assert!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_none());
    assert_degraded(
        &world,
        &["PeerPodStuck", "virtual machine i-1 of PeerPod shop/web-resource-x1y2z", "request limit exceeded"],
    );
    world.cluster.peer_pods.clear();
    world.run();
    assert_gone(&world);
    assert_nothing_left(&world);
}

#[test]
fn a_machine_that_nobody_deletes_is_told_after_a_while() {
    let mut world = usable();
    world.cluster.peer_pods.push(PeerPodView { deleted: Some(world.cluster.now), ..peer_pod("web") });
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    let wake = world.plan().wake_at.unwrap();
    world.advance(wake.duration_since(world.cluster.now) + SignedDuration::from_secs(1));
    world.run();
    assert_degraded(&world, &["PeerPodStuck"]);
}

#[test]
fn a_peer_pod_that_no_pod_owns_is_asked_to_go() {
    let mut world = usable();
    world.cluster.peer_pods.push(peer_pod("orphan"));
    world.remove(KATA);
    world.run_until(|world| {
        world.trace.iter().any(|step| step.contains("PeerPod") && step.contains("orphan"))
    });
    assert!(world.trace.iter().any(|step| step.starts_with("Delete") && step.contains("orphan")));
    world.cluster.peer_pods.clear();
    world.run();
    assert_gone(&world);
}

#[test]
fn a_deletion_that_fails_holds_and_tells_the_way_out() {
    let mut world = usable();
    world.cloud.fails = Some("you are not authorized to perform this operation".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True PodVMImageJobFailed: Failed to delete Pod VM Image"
    );
    assert_degraded(&world, &["not authorized", "LATEST_AMI_ID-"]);
    // The way out that was told: to leave the image.
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["metadata"]["annotations"] = json!({});
    });
    world.run();
    assert_gone(&world);
}

/// As one that makes an image does, and nobody has to say so.
#[test]
fn a_deletion_that_failed_runs_again_after_an_hour() {
    let mut world = usable();
    world.cloud.fails = Some("connection reset by peer".to_owned());
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_some());
    world.cloud.fails = None;
    world.cluster.now += SignedDuration::from_hours(1);
    world.run();
    assert_gone(&world);
    assert!(world.cloud.images.is_empty());
}

#[test]
fn without_credentials_the_image_is_left_and_told_and_removal_goes_on() {
    let mut world = usable();
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    removed(&mut world);
    assert!(world.cloud.images.contains(IMAGE), "nobody could delete it");
    let event = world.events.iter().find(|event| event.reason == "PodVMImageLeft").unwrap();
    assert!(event.message.contains(IMAGE) && event.message.contains("peer-pods-secret"), "{}", event.message);
}

/// People empty the key, as the documentation has them do before an update.
#[test]
fn an_image_that_no_key_names_any_more_goes_all_the_same() {
    let mut world = usable();
    set(&mut world, "PODVM_AMI_ID", "ami-22222222222222222");
    world.run();
    removed(&mut world);
    assert!(world.cloud.images.is_empty(), "{:?}", world.cloud.images);
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-22222222222222222"), "that one is a person's");
}

/// Deleted by somebody who wanted it to run again, and then everything is removed.
#[test]
fn what_a_job_had_begun_is_remembered_when_the_job_is_gone() {
    let mut world = image_begun();
    world.remove(KATA);
    world.delete_own(Kind::Job, peerpods::IMAGE_CREATION);
    world.run();
    assert_gone(&world);
    assert_nothing_left(&world);
}
