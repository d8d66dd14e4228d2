//! What somebody changes of what the operator made is put right, and what belongs to others is left alone.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use osc_api::openshift::MachineConfig;
use osc_api::{KataConfig, names};
use serde_json::json;

use super::{Story, story};
use crate::bed::{Bed, NAME, eventually, is, workers};

pub fn stories() -> Vec<Story> {
    vec![
        story!(what_somebody_changes_is_put_right, workers(1)),
        story!(the_dashboard_is_copied_kept_up_to_date_and_removed, workers(1)),
        story!(log_level_and_selection_change_and_all_is_removed, workers(2)),
        story!(a_layered_image_of_another_operator_goes_with_the_kata_config, workers(1)),
    ]
}

async fn a_layered_image_of_another_operator_goes_with_the_kata_config(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let labels = json!({names::MACHINE_CONFIG_ROLE: "nobody", names::APP_LABEL: NAME});
    let config = json!({
        "metadata": {"name": names::IMAGE_MACHINE_CONFIG, "labels": labels},
        "spec": {"osImageURL": "quay.io/test/os:2"},
    });
    let configs: Api<MachineConfig> = Api::all(bed.client.clone());
    configs.create(&PostParams::default(), &serde_json::from_value(config).unwrap()).await.unwrap();
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(configs.get_opt(names::IMAGE_MACHINE_CONFIG).await.unwrap().is_none());
    bed.assert_reboots(&[("worker-0", 2)]).await;
}

async fn what_somebody_changes_is_put_right(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;

    // The class's node selector.
    bed.patch::<RuntimeClass>("kata", json!({"scheduling": {"nodeSelector": {"zone": "a"}}})).await;
    let classes: Api<RuntimeClass> = Api::all(bed.client.clone());
    let mended = || async {
        let selector = classes.get("kata").await.unwrap().scheduling.and_then(|found| found.node_selector);
        selector.is_some_and(|found| found.contains_key(names::KATA_NODE_ROLE) && found.len() == 1)
    };
    assert!(eventually(mended).await, "the node selector is put right");

    // The labels of the operator's namespace.
    let label = "openshift.io/cluster-monitoring";
    let labels = json!({"metadata": {"labels": {label: null}}});
    bed.patch::<Namespace>(names::OPERATOR_NAMESPACE, labels).await;
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    let labelled =
        || async { namespaces.get(names::OPERATOR_NAMESPACE).await.unwrap().labels().contains_key(label) };
    assert!(eventually(labelled).await, "the namespace has its label");
    bed.assert_reboots(&[("worker-0", 1)]).await;
}

async fn the_dashboard_is_copied_kept_up_to_date_and_removed(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let sources: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let copies: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::DASHBOARD_NAMESPACE);
    let name = names::DASHBOARD_CONFIG_MAP;
    let copy = copies.get(name).await.unwrap();
    assert_eq!(copy.labels()[names::DASHBOARD_LABEL], "true");
    assert_eq!(copy.data, sources.get(name).await.unwrap().data, "what deploy/ brought");

    let changed = json!({"data": {"more.json": "{}"}});
    let changed = sources.patch(name, &PatchParams::default(), &Patch::Merge(&changed)).await.unwrap();
    let follows = || async { copies.get(name).await.unwrap().data == changed.data };
    assert!(eventually(follows).await, "the copy follows its source");

    bed.delete(NAME).await;
    bed.gone(NAME).await;
    assert!(copies.get_opt(name).await.unwrap().is_none());
    assert!(sources.get_opt(name).await.unwrap().is_some(), "the source is not ours");
}

async fn log_level_and_selection_change_and_all_is_removed(bed: &mut Bed) {
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    bed.installed(NAME).await;
    bed.assert_reboots(&[("worker-0", 1), ("worker-1", 1)]).await;
    bed.patch::<KataConfig>(NAME, json!({"spec": {"logLevel": "info"}})).await;
    bed.updated(NAME).await;
    bed.assert_reboots(&[("worker-0", 2), ("worker-1", 2)]).await;
    bed.patch::<Node>("worker-0", json!({"metadata": {"labels": {"kata": "true"}}})).await;
    let selector = json!({"matchLabels": {"kata": "true"}});
    bed.patch::<KataConfig>(NAME, json!({"spec": {"kataConfigPoolSelector": selector}})).await;
    bed.until(NAME, "one node", |status| {
        status.kata_nodes.installed == ["worker-0"]
            && status.kata_nodes.uninstalling.is_empty()
            && is(status, "Ready", "True")
    })
    .await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.assert_reboots(&[("worker-0", 3), ("worker-1", 3)]).await;
    assert!(bed.names_of::<RuntimeClass>().await.is_empty());
}
