//! Credentials: of a person, asked for, or of a cloud that trusts the cluster.

use std::sync::Arc;

use jiff::SignedDuration;
use osc_api::names;
use osc_api::peerpods;
use osc_engine::observed::Sts;
use osc_engine::{Kind, ObjectId};
use rstest::rstest;
use serde_json::json;

use super::{assert_ready, enabled, removed};
use crate::cloud::SETTINGS;
use crate::world::{KATA, World};

fn request() -> ObjectId {
    let name = "openshift-sandboxed-containers-aws";
    ObjectId::namespaced(Kind::CredentialsRequest, peerpods::CREDENTIALS_REQUEST_NAMESPACE, name)
}

/// Refused, or in the manual mode of the Cloud Credential Operator, in which it answers nobody.
#[rstest]
#[case::refused(
    Some("cloud credentials insufficient to satisfy credentials request"),
    0,
    "cloud credentials insufficient to satisfy"
)]
#[case::silent(None, 5, "no answer for 5 min; in its manual mode it gives none")]
fn credentials_that_nobody_gives_are_told(
    #[case] says: Option<&str>,
    #[case] minutes: i64,
    #[case] words: &str,
) {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.credentials_requests = true;
    world.put(Kind::Infrastructure, names::INFRASTRUCTURE, json!({"status": {"platform": "AWS"}}));
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    let mut world = enabled(world);
    let (id, now) = (request(), world.cluster.now);
    let mut found = world.cluster.objects.get(&id).unwrap().as_ref().clone();
    found["metadata"]["creationTimestamp"] = json!(now);
    if let Some(says) = says {
        let fails = json!({"type": "InsufficientCloudCreds", "status": "True", "message": says});
        found["status"] = json!({"conditions": [fails]});
    } else {
        let fine = json!({"type": "InsufficientCloudCreds", "status": "False", "message": "fine"});
        found["status"] = json!({"conditions": [fine]});
    }
    world.cluster.objects.insert(id, Arc::new(found));
    if says.is_none() {
        world.run();
        assert!(world.condition(KATA, "Degraded").starts_with("False "), "it has some time to answer");
    }
    world.cluster.now += SignedDuration::from_mins(minutes);
    world.run();
    let told = world.condition(KATA, "Degraded");
    assert!(told.starts_with("True CredentialsNotGiven: ") && told.contains(words), "{told}");
    assert!(
        told.contains("openshift-sandboxed-containers-aws") && told.contains("peer-pods-secret"),
        "{told}"
    );
}

#[test]
fn credentials_are_asked_for_on_the_clusters_own_cloud_and_given_back() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.credentials_requests = true;
    world.put(Kind::Infrastructure, names::INFRASTRUCTURE, json!({"status": {"platform": "AWS"}}));
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    let mut world = enabled(world);
    let id = request();
    let asked = world.cluster.objects.get(&id).unwrap();
    assert_eq!(asked["spec"]["secretRef"]["name"], "cco-secret");
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ", "asking is no mistake");
    // The Cloud Credential Operator answers.
    let digests = json!({"aws_access_key_id": "a", "aws_secret_access_key": "b", "credentials": "c"});
    world.put_own(Kind::Secret, peerpods::CLOUD_CREDENTIALS, json!({"digests": digests}));
    world.run();
    let secret = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap();
    assert_eq!(secret["metadata"]["labels"][peerpods::REQUESTED_LABEL], "true");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["name"], "cco-secret");
    assert_ready(&world);
    // The request is that of an older release.
    let mut older = world.cluster.objects.get(&id).unwrap().as_ref().clone();
    older["spec"]["providerSpec"]["statementEntries"] =
        json!([{"effect": "Allow", "action": ["ec2:*"], "resource": "*"}]);
    world.cluster.objects.insert(id.clone(), Arc::new(older));
    world.run();
    let entries = &world.cluster.objects[&id]["spec"]["providerSpec"]["statementEntries"];
    assert!(entries.to_string().contains("s3:CreateBucket"), "{entries}");
    let secret = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap();
    // It changes them.
    let before = secret["metadata"]["annotations"][peerpods::SOURCE_DIGEST].clone();
    world.edit_own(Kind::Secret, peerpods::CLOUD_CREDENTIALS, |secret| {
        secret["digests"]["aws_access_key_id"] = json!("z");
    });
    world.run();
    let secret = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap();
    assert_ne!(secret["metadata"]["annotations"][peerpods::SOURCE_DIGEST], before);
    removed(&mut world);
    assert!(!world.cluster.objects.contains_key(&id));
}

#[rstest]
#[case::aws(Sts::Aws { role: "arn:aws:iam::1:role/x".to_owned() }, "aws")]
fn credentials_of_a_cloud_that_trusts_the_cluster_are_written_and_removed(
    #[case] sts: Sts,
    #[case] cloud: &str,
) {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.settings.peer_pods.sts = Some(sts);
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| world.own(Kind::Secret, peerpods::CREDENTIALS).is_some());
    // Only their digests are ever seen.
    world.edit_own(Kind::Secret, peerpods::CREDENTIALS, |secret| {
        let data = secret.as_object_mut().unwrap().remove("stringData").unwrap();
        secret["digests"] = data;
    });
    world.run();
    let secret = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap();
    assert_eq!(secret["metadata"]["labels"][peerpods::STS_LABEL], cloud);
    let volumes =
        world.own(Kind::DaemonSet, peerpods::ADAPTOR).unwrap()["spec"]["template"]["spec"]["volumes"].clone();
    assert!(volumes.as_array().unwrap().iter().any(|volume| volume["name"] == "bound-sa-token"));
    world.remove(KATA);
    world.run();
    assert!(world.own(Kind::Secret, peerpods::CREDENTIALS).is_none());
}

#[test]
fn a_secret_of_a_person_is_never_touched() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.settings.peer_pods.sts = Some(Sts::Aws { role: "arn".to_owned() });
    let before = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap().clone();
    world.put_own(Kind::Secret, peerpods::CLOUD_CREDENTIALS, json!({"digests": {"aws_access_key_id": "a"}}));
    let mut world = enabled(world);
    world.remove(KATA);
    world.run();
    assert_eq!(world.own(Kind::Secret, peerpods::CREDENTIALS), Some(&before));
}
