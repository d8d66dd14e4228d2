//! What others have made under the names of peer pods.

use osc_api::peerpods::{self, webhook};
use osc_engine::Kind;
use osc_engine::observed::PeerPodView;
use serde_json::json;

use super::{assert_degraded, assert_ready, enabled, removed};
use crate::cloud::SETTINGS;
use crate::world::{KATA, World};

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
    assert_degraded(&world, &["PeerPodsWebhookCollision"]);
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none());
    removed(&mut world);
    assert_eq!(world.object(Kind::MutatingWebhookConfiguration, webhook::CONFIGURATION).cloned(), before);
}

/// Another adaptor than ours may be there, on a cluster that never had peer pods of this operator.
#[test]
fn peer_pods_of_somebody_else_are_none_of_ours() {
    let mut world = World::for_peer_pods(&SETTINGS);
    world.create(KATA, json!({}));
    world.cluster.peer_pods.push(PeerPodView { name: "theirs".to_owned(), ..PeerPodView::default() });
    world.node_mut("worker-0").vms = Some("5".to_owned());
    world.run();
    assert_ready(&world);
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("5"));
    removed(&mut world);
}
