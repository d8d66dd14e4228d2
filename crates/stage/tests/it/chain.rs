//! From a config map to pods that are scheduled, accounted and never leaked.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use osc_api::peerpods::webhook::{DEFAULT_MEMORY, DEFAULT_VCPUS};
use osc_api::peerpods::{IMAGE_CREATION, PeerPod, SETTINGS, VM_RESOURCE};
use osc_devcluster::sim::annotations::ADAPTOR_FORGETS;
use serde_json::{Value, json};

use crate::world::World;

/// What a container of the pod asks for.
fn resources(pod: &k8s_openapi::api::core::v1::Pod) -> Value {
    json!(pod.spec.as_ref().unwrap().containers[0].resources)
}

async fn image(world: &World) -> Option<String> {
    let map = world.own::<ConfigMap>().get(SETTINGS).await.unwrap();
    map.data.unwrap().remove("PODVM_AMI_ID").filter(|image| !image.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_pods_come_and_go_and_leave_nothing() {
    let world = World::start().await;
    let before = world.inventory();
    world.install().await;
    world.until("an image is being made", async || !world.memory.left().volumes.is_empty()).await;
    world.ready().await;

    let made = image(&world).await.unwrap();
    assert!(made.starts_with("ami-"), "{made}");
    assert_eq!(world.memory.left().to_string(), format!("image {made}"));
    let nodes: Api<Node> = Api::all(world.client.clone());
    let room = nodes.list(&ListParams::default()).await.unwrap().items.into_iter().filter_map(|node| {
        node.status.unwrap().allocatable.unwrap().remove(VM_RESOURCE).map(|amount| amount.0)
    });
    assert_eq!(room.collect::<Vec<_>>(), ["3", "3", "3"]);
    Api::<RuntimeClass>::all(world.client.clone()).get("kata-remote").await.unwrap();

    // What it asks for becomes the size of its machine, and it is counted.
    let wish = json!({"cpu": "1500m", "memory": "3Gi"});
    let pod = world.create_pod("web", json!({"requests": wish, "limits": wish})).await;
    assert_eq!(
        (pod.annotations()[DEFAULT_VCPUS].as_str(), pod.annotations()[DEFAULT_MEMORY].as_str()),
        ("2", "3072")
    );
    assert_eq!(resources(&pod), json!({"requests": {VM_RESOURCE: "1"}, "limits": {VM_RESOURCE: "1"}}));
    let pod = world.until_running("web").await;
    let [machine] = <[_; 1]>::try_from(world.memory.instances()).unwrap();
    assert_eq!(machine.tags.pod, "web");
    assert_eq!(Some(machine.tags.node.as_str()), pod.spec.as_ref().unwrap().node_name.as_deref());
    let peer_pods: Api<PeerPod> = Api::default_namespaced(world.client.clone());
    let [recorded] = <[_; 1]>::try_from(peer_pods.list(&ListParams::default()).await.unwrap().items).unwrap();
    assert_eq!(recorded.spec.instance_id, machine.id);

    world.delete_pod("web").await;
    let image_alone = || world.memory.left().to_string() == format!("image {made}");
    world.until("its machine is gone", async || image_alone()).await;

    // An adaptor that forgets a machine leaves it to the operator.
    world.create_pod("forgotten", json!({})).await;
    world.until_running("forgotten").await;
    world
        .merge(&world.pods(), "forgotten", json!({"metadata": {"annotations": {ADAPTOR_FORGETS: "true"}}}))
        .await;
    world.delete_pod("forgotten").await;
    world.until("the operator has deleted it", async || image_alone()).await;
    world
        .until("its PeerPod is gone", async || {
            peer_pods.list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;

    world.uninstall().await;
    assert!(world.memory.left().is_empty(), "{}", world.memory.left());
    assert_eq!(image(&world).await, None);
    world.until("nothing is left", async || world.inventory() == before).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_given_up_half_made_is_cleaned_up() {
    let world = World::start().await;
    let before = world.inventory();
    world.install().await;
    world.until("an image is being made", async || !world.memory.left().volumes.is_empty()).await;
    world.uninstall().await;
    assert!(world.memory.left().is_empty(), "{}", world.memory.left());
    world.until("nothing is left", async || world.inventory() == before).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_job_that_fails_is_told_and_tried_again_when_the_settings_change() {
    let world = World::start().await;
    // The job tries twice.
    for _ in 0..2 {
        world.faults.fail_next("the bucket images does not exist");
    }
    world.install().await;
    world
        .until("the failure is told", async || {
            world
                .condition("Degraded")
                .await
                .1
                .contains("failed to make the pod VM image: the bucket images does not exist")
        })
        .await;
    assert_eq!((world.memory.left().volumes.len(), world.memory.left().images.len()), (1, 0));
    assert!(world.own::<Job>().get_opt(IMAGE_CREATION).await.unwrap().is_some());
    world.merge(&world.own::<ConfigMap>(), SETTINGS, json!({"data": {"BUCKET_NAME": "other"}})).await;
    world.ready().await;
    assert_eq!((world.memory.left().volumes.len(), world.memory.left().images.len()), (0, 1));
    world.stop().await;
}
