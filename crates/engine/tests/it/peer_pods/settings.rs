//! What a person set or did not set, and what the operator itself lacks.

use osc_api::peerpods;
use osc_engine::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use super::{assert_degraded, assert_ready, enabled, set, usable};
use crate::cloud::SETTINGS;
use crate::world::{KATA, World};

#[test]
fn what_is_wrong_is_told_and_nothing_is_made() {
    let settings = [("CLOUD_PROVIDER", "aws"), ("AWS_REGION", "eu-central-1"), ("VXLAN_PORT", "many")];
    let world = enabled(World::for_peer_pods(&settings));
    let words = world.condition(KATA, "Degraded");
    assert!(words.starts_with("True PeerPodsMisconfigured: peer pods cannot work like this: "), "{words}");
    assert_degraded(
        &world,
        &["AWS_SUBNET_ID is not set", "VXLAN_PORT is \"many\"", "osc peerpods check tells more"],
    );
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
    assert_degraded(&world, &[words]);
    world.put_own(kind, name, object);
    world.run();
    assert_ready(&world);
}

#[test]
fn wrong_settings_later_take_nothing_away() {
    let mut world = usable();
    set(&mut world, "VXLAN_PORT", "many");
    world.run();
    assert_degraded(&world, &["VXLAN_PORT"]);
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some());
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_some());
    assert_eq!(world.node("worker-0").vms.as_deref(), Some("10"));
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
    assert_degraded(&world, &[key]);
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
    assert_degraded(&world, &[word]);
    assert!(world.condition(KATA, "Ready").starts_with("False PeerPods"));
    assert!(world.object(Kind::RuntimeClass, "kata-remote").is_none());
}
