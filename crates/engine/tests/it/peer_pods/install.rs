//! Peer pods become usable, with everything that they need.

use osc_api::peerpods::{self, webhook};
use osc_engine::Kind;
use serde_json::{Value, json};

use super::{assert_ready, told, usable};
use crate::cloud::{IMAGE, SETTINGS};
use crate::world::{KATA, World};

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
    assert_ready(&world);
}
