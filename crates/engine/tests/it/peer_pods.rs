//! Peer pods: from what a person set to a runtime class, and back.

use jiff::SignedDuration;
use osc_api::names;
use osc_api::peerpods::{self, webhook};
use osc_engine::Kind;
use osc_engine::observed::{PeerPodView, Sts};
use rstest::rstest;
use serde_json::{Value, json};

use crate::cloud::{IMAGE, SETTINGS, assert_nothing_left, own};
use crate::removal::assert_clean;
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

#[test]
fn peer_pods_come_with_everything_that_they_need() {
    let world = usable();
    assert_eq!(
        told(&world),
        [
            "True Installing: Performing initial installation of kata on cluster",
            "True PodVMImageJobRunning: Creating Pod VM Image",
            "True PodVMImageJobCompleted: Created Pod VM Image",
            "False : ",
        ]
    );
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    assert_eq!(world.setting("PODVM_AMI_ID"), Some(IMAGE));
    let map = world.own(Kind::ConfigMap, peerpods::SETTINGS).unwrap();
    assert_eq!(map["metadata"]["annotations"]["LATEST_AMI_ID"], IMAGE);
    assert_eq!(world.setting("DISABLECVM"), Some("true"), "the feature gate decides");
    let class = world.object(Kind::RuntimeClass, "kata-remote").unwrap();
    assert_eq!(class["handler"], "kata-remote");
    assert_eq!(class["overhead"]["podFixed"], json!({"cpu": "250m", "memory": "120Mi"}));
    assert_eq!(class["scheduling"]["nodeSelector"], json!({"node-role.kubernetes.io/kata-oc": ""}));
    assert!(world.status().runtime_classes.iter().any(|name| name == "kata-remote"));
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("10"));
    assert_eq!(world.node("master-0").vms, None);
    let limit = world.own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG).unwrap();
    assert_eq!(limit["spec"]["limit"], "10");
    assert!(world.own(Kind::Job, peerpods::IMAGE_CREATION).is_none(), "it did its work");
}

#[test]
fn the_objects_are_the_documented_ones() {
    let world = usable();
    let mut job = World::for_peer_pods(&SETTINGS);
    job.create(KATA, json!({"enablePeerPods": true}));
    job.run_until(|world| world.own(Kind::Job, peerpods::IMAGE_CREATION).is_some());
    let strip = |object: &Value| {
        let mut object = object.clone();
        for key in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"] {
            object["metadata"].as_object_mut().unwrap().remove(key);
        }
        object.as_object_mut().unwrap().remove("status");
        object
    };
    let objects: Vec<Value> = [
        world.own(Kind::DaemonSet, peerpods::ADAPTOR),
        world.own(Kind::Deployment, webhook::DEPLOYMENT),
        world.own(Kind::Service, webhook::SERVICE),
        world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION),
        world.own(Kind::PeerPodConfig, peerpods::PEER_POD_CONFIG),
        world.object(Kind::SecurityContextConstraints, peerpods::ADAPTOR_SCC),
        world.own(Kind::ConfigMap, "aws-podvm-image-cm"),
        job.own(Kind::Job, peerpods::IMAGE_CREATION),
    ]
    .into_iter()
    .map(|object| strip(object.unwrap()))
    .collect();
    insta::assert_yaml_snapshot!(objects);
}

#[test]
fn everything_goes_again() {
    let mut world = usable();
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
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

/// API servers must not be told to ask a webhook that is gone, or that is not there yet.
#[test]
fn nobody_is_asked_while_nobody_answers() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({"enablePeerPods": true}));
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

#[test]
fn what_is_wrong_is_told_and_nothing_is_made() {
    let settings = [("CLOUD_PROVIDER", "aws"), ("AWS_REGION", "eu-central-1"), ("VXLAN_PORT", "many")];
    let world = enabled(World::for_peer_pods(&settings));
    let words = world.condition(KATA, "Degraded");
    assert!(words.starts_with("True PeerPodsMisconfigured: peer pods cannot work like this: "), "{words}");
    for part in ["AWS_SUBNET_ID is not set", "VXLAN_PORT is \"many\"", "osc peerpods check tells more"] {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
    assert!(world.own(Kind::Job, peerpods::IMAGE_CREATION).is_none());
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_none());
    assert!(world.object(Kind::RuntimeClass, "kata").is_some(), "Kata itself is installed");
}

#[rstest]
#[case::settings(Kind::ConfigMap, peerpods::SETTINGS, "ConfigMap peer-pods-cm does not exist")]
#[case::credentials(Kind::Secret, peerpods::CREDENTIALS, "Secret peer-pods-secret does not exist")]
fn what_is_missing_is_told_and_comes_later(#[case] kind: Kind, #[case] name: &str, #[case] words: &str) {
    let mut world = World::for_peer_pods(&SETTINGS);
    let object = world.own(kind, name).unwrap().clone();
    world.delete_own(kind, name);
    let mut world = enabled(world);
    assert!(world.condition(KATA, "Degraded").contains(words), "{}", world.condition(KATA, "Degraded"));
    world.put_own(kind, name, object);
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Degraded"));
}

#[test]
fn wrong_settings_later_take_nothing_away() {
    let mut world = usable();
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| map["data"]["VXLAN_PORT"] = json!("many"));
    world.run();
    assert!(world.condition(KATA, "Degraded").contains("VXLAN_PORT"));
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some());
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_some());
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("10"));
}

/// The failure is told with the job's own words.
#[test]
fn a_job_that_fails_is_told_with_its_last_words_until_it_is_mended() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.fails = Some("bucket podvm-images does not exist".to_owned());
    let mut world = enabled(world);
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True PodVMImageJobFailed: Failed to create Pod VM Image"
    );
    let words = world.condition(KATA, "Degraded");
    assert!(words.contains("bucket podvm-images does not exist"), "{words}");
    assert!(words.contains("oc delete job osc-podvm-image-creation"), "{words}");
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
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Degraded"));
}

#[test]
fn a_job_that_failed_runs_again_when_it_is_deleted() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.fails = Some("no network".to_owned());
    let mut world = enabled(world);
    world.cloud.fails = None;
    world.delete_own(Kind::Job, peerpods::IMAGE_CREATION);
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Degraded"));
}

/// Whatever it was may have passed: a cloud that could not be reached for some minutes needs nobody's attention.
#[test]
fn a_job_that_failed_runs_again_after_an_hour() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.fails = Some("connection reset by peer".to_owned());
    let mut world = enabled(world);
    world.cloud.fails = None;
    let hour = world.cluster.now + SignedDuration::from_hours(1);
    assert_eq!(world.plan().wake_at, Some(hour));
    world.cluster.now = hour - SignedDuration::from_secs(1);
    world.run();
    assert!(world.condition(KATA, "Degraded").contains("runs again after an hour"));
    world.cluster.now = hour;
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Degraded"));
}

/// So does one that deletes, and nobody has to say so.
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
    assert!(world.kata_config(KATA).is_none(), "{}", world.condition(KATA, "Degraded"));
    assert!(world.cloud.images.is_empty());
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
    assert!(world.condition(KATA, "Degraded").contains("did not say which image it made"));
}

/// What nobody remembers is asked for again: the job finds what it made.
#[test]
fn a_pod_that_was_removed_before_it_was_heard_is_run_again() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| {
        world
            .own(Kind::Job, peerpods::IMAGE_CREATION)
            .is_some_and(|job| !job["status"]["conditions"].is_null())
    });
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
    assert!(world.condition(KATA, "Ready").starts_with("True "));
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-11111111111111111"));
    assert!(!told(&world).iter().any(|words| words.contains("Deleting Pod VM Image")));
}

/// Named while another one is being made: what was begun is not left behind.
#[test]
fn an_image_that_a_person_names_meanwhile_leaves_nothing_of_the_other_one() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.slow = true;
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| world.cloud.begun);
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["data"]["PODVM_AMI_ID"] = json!("ami-11111111111111111");
    });
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
    assert!(world.cloud.images.is_empty(), "{:?}", world.cloud.images);
    assert!(peerpods::IMAGE_JOBS.iter().all(|job| world.own(Kind::Job, job).is_none()));
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-11111111111111111"));
}

#[test]
fn without_credentials_the_image_is_left_and_told_and_removal_goes_on() {
    let mut world = usable();
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none(), "{}", world.condition(KATA, "Degraded"));
    assert!(world.cloud.images.contains(IMAGE), "nobody could delete it");
    let event = world.events.iter().find(|event| event.reason == "PodVMImageLeft").unwrap();
    assert!(event.message.contains(IMAGE) && event.message.contains("peer-pods-secret"), "{}", event.message);
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
    let words = world.condition(KATA, "Degraded");
    assert!(words.contains("not authorized") && words.contains("LATEST_AMI_ID-"), "{words}");
    // The way out that was told: to leave the image.
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["metadata"]["annotations"] = json!({});
    });
    world.run();
    assert!(world.kata_config(KATA).is_none());
}

#[test]
fn virtual_machines_go_before_who_deletes_them() {
    let mut world = usable();
    world.cluster.peer_pods.push(PeerPodView {
        namespace: "shop".to_owned(),
        name: "web-resource-x1y2z".to_owned(),
        provider: "aws".to_owned(),
        instance: "i-1".to_owned(),
        deleted: Some(world.cluster.now),
        error: Some("request limit exceeded".to_owned()),
    });
    world.remove(KATA);
    world.run();
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some());
    assert!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_none());
    let words = world.condition(KATA, "Degraded");
    for part in
        ["PeerPodStuck", "virtual machine i-1 of PeerPod shop/web-resource-x1y2z", "request limit exceeded"]
    {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
    world.cluster.peer_pods.clear();
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert_nothing_left(&world);
}

#[test]
fn a_machine_that_nobody_deletes_is_told_after_a_while() {
    let mut world = usable();
    world.cluster.peer_pods.push(PeerPodView {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        provider: "aws".to_owned(),
        instance: "i-1".to_owned(),
        deleted: Some(world.cluster.now),
        error: None,
    });
    world.remove(KATA);
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    let wake = world.plan().wake_at.unwrap();
    world.advance(wake.duration_since(world.cluster.now) + SignedDuration::from_secs(1));
    world.run();
    assert!(world.condition(KATA, "Degraded").contains("PeerPodStuck"));
}

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
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["data"]["PEERPODS_LIMIT_PER_NODE"] = json!("7");
    });
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
    assert!(world.condition(KATA, "Degraded").contains("spec.limit is \"many\""));
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
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| map["data"]["TAGS"] = json!("team=shop"));
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

#[test]
fn a_daemon_set_and_a_webhook_of_another_operator_are_replaced() {
    let mut world = World::for_peer_pods(&SETTINGS);
    let foreign = |name: &str| {
        json!({"spec": {"selector": {"matchLabels": {"name": name}}, "template": {"spec": {"containers": [
            {"name": "manager", "image": "old"},
        ]}}}})
    };
    world.put_own(Kind::Deployment, webhook::DEPLOYMENT, foreign(webhook::DEPLOYMENT));
    world.put_own(Kind::DaemonSet, peerpods::ADAPTOR, foreign(peerpods::ADAPTOR));
    let world = enabled(world);
    for (kind, name, container) in [
        (Kind::Deployment, webhook::DEPLOYMENT, "webhook"),
        (Kind::DaemonSet, peerpods::ADAPTOR, peerpods::ADAPTOR_CONTAINER),
    ] {
        let containers = &world.own(kind, name).unwrap()["spec"]["template"]["spec"]["containers"];
        assert_eq!((containers.as_array().unwrap().len(), &containers[0]["name"]), (1, &json!(container)));
    }
}

#[test]
fn credentials_are_asked_for_on_the_clusters_own_cloud_and_given_back() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.credentials_requests = true;
    world.put(Kind::Infrastructure, names::INFRASTRUCTURE, json!({"status": {"platform": "AWS"}}));
    world.delete_own(Kind::Secret, peerpods::CREDENTIALS);
    let mut world = enabled(world);
    let request = "openshift-sandboxed-containers-aws";
    let id = osc_engine::ObjectId::namespaced(
        Kind::CredentialsRequest,
        peerpods::CREDENTIALS_REQUEST_NAMESPACE,
        request,
    );
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
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
    // It changes them.
    let before = secret["metadata"]["annotations"][peerpods::SOURCE_DIGEST].clone();
    world.edit_own(Kind::Secret, peerpods::CLOUD_CREDENTIALS, |secret| {
        secret["digests"]["aws_access_key_id"] = json!("z");
    });
    world.run();
    let secret = world.own(Kind::Secret, peerpods::CREDENTIALS).unwrap();
    assert_ne!(secret["metadata"]["annotations"][peerpods::SOURCE_DIGEST], before);
    world.remove(KATA);
    world.run();
    assert!(!world.cluster.objects.contains_key(&id));
    assert!(world.kata_config(KATA).is_none());
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

#[rstest]
#[case::azure(
    &[("CLOUD_PROVIDER", "azure"), ("AZURE_REGION", "westeurope"), ("AZURE_RESOURCE_GROUP", "g"),
      ("AZURE_SUBNET_ID", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n")],
    &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_CLIENT_SECRET"],
    "AZURE_IMAGE_ID"
)]
fn an_image_that_nobody_can_make_is_refused_in_words(
    #[case] settings: &[(&str, &str)],
    #[case] keys: &[&str],
    #[case] key: &str,
) {
    let mut world = World::for_peer_pods(settings);
    let digests: serde_json::Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), json!("d"))).collect();
    world.put_own(Kind::Secret, peerpods::CREDENTIALS, json!({"digests": digests}));
    world.put_own(Kind::Secret, peerpods::SSH_KEYS, json!({"digests": {"id_rsa.pub": "d"}}));
    let world = enabled(world);
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True PodVMImageUnsupportedProvider: Pod VM image provider is unsupported"
    );
    assert!(world.condition(KATA, "Degraded").contains(key), "{}", world.condition(KATA, "Degraded"));
}

#[rstest]
#[case::adaptor("RELATED_IMAGE_CAA")]
#[case::webhook("RELATED_IMAGE_PEERPODS_WEBHOOK")]
#[case::tool("RELATED_IMAGE_PODVM_BUILDER")]
#[case::source("PODVM_IMAGE_URI")]
#[case::definitions("PeerPodConfig")]
fn what_the_operator_lacks_is_told(#[case] word: &str) {
    let mut world = World::for_peer_pods(&SETTINGS);
    match word {
        "RELATED_IMAGE_CAA" => world.settings.peer_pods.adaptor_image = None,
        "RELATED_IMAGE_PEERPODS_WEBHOOK" => world.settings.peer_pods.webhook_image = None,
        "RELATED_IMAGE_PODVM_BUILDER" => world.settings.peer_pods.image_tool = None,
        "PODVM_IMAGE_URI" => world.settings.peer_pods.pod_vm_image = None,
        _ => world.cluster.capabilities.peer_pods = false,
    }
    let world = enabled(world);
    assert!(world.condition(KATA, "Degraded").contains(word), "{}", world.condition(KATA, "Degraded"));
    assert!(world.condition(KATA, "Ready").starts_with("False PeerPods"));
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none());
}

#[test]
fn switched_off_they_go_and_kata_stays() {
    let mut world = usable();
    world.add_pod("shop", "web", "kata-remote");
    world.respec(KATA, json!({}));
    world.run();
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some(), "a pod uses them");
    assert!(world.condition(KATA, "Degraded").contains("shop/web"), "{}", world.condition(KATA, "Degraded"));
    world.pods.clear();
    world.run();
    assert_nothing_left(&world);
    assert!(
        world.condition(KATA, "Ready").starts_with("True Installed"),
        "{}",
        world.condition(KATA, "Ready")
    );
    assert!(world.object(Kind::RuntimeClass, "kata").is_some());
    assert!(!world.cluster.objects.contains_key(&own(Kind::Job, peerpods::IMAGE_DELETION)));
}

#[test]
fn a_job_waits_until_nodes_are_left_alone() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({}));
    world.run();
    // Peer pods and a new log level at once: nodes reboot for the one, and would take the other's job with them.
    world.respec(KATA, json!({"enablePeerPods": true, "logLevel": "debug"}));
    let calm = |world: &World| {
        world.cluster.nodes.iter().all(|node| node.mco_state.as_deref() == Some("Done") && node.ready)
    };
    world.run_until(|world| {
        if world.own(Kind::Job, peerpods::IMAGE_CREATION).is_some() {
            assert!(calm(world), "a job runs while nodes reboot");
        }
        false
    });
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
}

/// Its name is one that many projects use.
#[test]
fn a_webhook_configuration_of_somebody_else_is_left_alone() {
    let theirs =
        json!({"webhooks": [{"name": "theirs.example.com", "clientConfig": {"url": "https://theirs"}}]});
    let mut world = World::for_peer_pods(&SETTINGS);
    world.put(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION, theirs);
    let before = world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).cloned();
    world.create(KATA, json!({}));
    world.run();
    world.respec(KATA, json!({"enablePeerPods": true}));
    world.run();
    assert!(world.condition(KATA, "Degraded").contains("PeerPodsWebhookCollision"));
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none());
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert_eq!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).cloned(), before);
}

/// What the message of an unknown outcome asks people to do must not delete the image.
#[test]
fn an_image_that_a_person_writes_down_for_the_job_is_used_and_goes_with_peer_pods() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| {
        world
            .own(Kind::Job, peerpods::IMAGE_CREATION)
            .is_some_and(|job| !job["status"]["conditions"].is_null())
    });
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| map["data"]["PODVM_AMI_ID"] = json!(IMAGE));
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
    assert!(world.cloud.images.contains(IMAGE));
    world.remove(KATA);
    world.run();
    assert_nothing_left(&world);
}

#[test]
fn switched_on_again_while_the_image_is_deleted_another_one_is_made() {
    let mut world = usable();
    world.respec(KATA, json!({}));
    world.run_until(|world| {
        world
            .own(Kind::Job, peerpods::IMAGE_DELETION)
            .is_some_and(|job| !job["status"]["conditions"].is_null())
    });
    world.respec(KATA, json!({"enablePeerPods": true}));
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
    assert!(world.cloud.images.contains(IMAGE), "the one that is used is there");
}

#[test]
fn switched_on_again_while_the_making_of_an_image_is_stopped_it_is_made() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.slow = true;
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| world.cloud.begun);
    world.respec(KATA, json!({}));
    world.run_until(|world| {
        world.own(Kind::Job, peerpods::IMAGE_CREATION).is_some_and(|job| job["spec"]["parallelism"] == 0)
    });
    world.cloud.slow = false;
    world.respec(KATA, json!({"enablePeerPods": true}));
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
}

/// People empty the key, as the documentation has them do before an update.
#[test]
fn an_image_that_no_key_names_any_more_goes_all_the_same() {
    let mut world = usable();
    world.edit_own(Kind::ConfigMap, peerpods::SETTINGS, |map| {
        map["data"]["PODVM_AMI_ID"] = json!("ami-22222222222222222");
    });
    world.run();
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert!(world.cloud.images.is_empty(), "{:?}", world.cloud.images);
    assert_eq!(world.setting("PODVM_AMI_ID"), Some("ami-22222222222222222"), "that one is a person's");
}

/// Deleted by somebody who wanted it to run again, and then everything is removed.
#[test]
fn what_a_job_had_begun_is_remembered_when_the_job_is_gone() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cloud.slow = true;
    world.create(KATA, json!({"enablePeerPods": true}));
    world.run_until(|world| world.cloud.begun);
    world.remove(KATA);
    world.delete_own(Kind::Job, peerpods::IMAGE_CREATION);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    assert_nothing_left(&world);
}

#[test]
fn a_peer_pod_that_no_pod_owns_is_asked_to_go() {
    let mut world = usable();
    world.cluster.peer_pods.push(PeerPodView {
        namespace: "shop".to_owned(),
        name: "orphan".to_owned(),
        provider: "aws".to_owned(),
        instance: "i-1".to_owned(),
        ..PeerPodView::default()
    });
    world.remove(KATA);
    world.run_until(|world| {
        world.trace.iter().any(|step| step.contains("PeerPod") && step.contains("orphan"))
    });
    assert!(world.trace.iter().any(|step| step.starts_with("Delete") && step.contains("orphan")));
    world.cluster.peer_pods.clear();
    world.run();
    assert!(world.kata_config(KATA).is_none());
}

/// Another adaptor than ours may be there, on a cluster that never had peer pods of this operator.
#[test]
fn peer_pods_of_somebody_else_are_none_of_ours() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({}));
    world.cluster.peer_pods.push(PeerPodView { name: "theirs".to_owned(), ..PeerPodView::default() });
    world.node_mut("worker-0").vms = Some("5".to_owned());
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("5"));
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
}

#[test]
fn nobody_is_asked_before_the_api_server_has_told_its_release() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.cluster.capabilities.release_known = false;
    let mut world = enabled(world);
    assert!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).is_none());
    world.cluster.capabilities.release_known = true;
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True "), "{}", world.condition(KATA, "Ready"));
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
