//! Bad input and bad surroundings: what the person is told, and that nothing is lost.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use osc_api::names;
use osc_api::openshift::MachineConfigPool;
use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use osc_devcluster::sim::topology::{Kind, Topology};
use rstest::rstest;
use serde_json::{Value, json};

use crate::bed::{Bed, eventually, message, options, reason, workers};

const NAME: &str = "example-kataconfig";

#[rstest]
#[case::unknown_operator(
    json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0].operator is \"Near\"; use In, NotIn, Exists or DoesNotExist"
)]
#[case::in_without_values(
    json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "In"}]}}),
    "spec.kataConfigPoolSelector.matchExpressions[0].values is empty, but operator In needs at least one value"
)]
#[case::bad_label(
    json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes, please"}}}),
    "spec.kataConfigPoolSelector.matchLabels[kata]: \"yes, please\" is no label value: it must be empty or at most 63 \
     letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
)]
#[case::log_level(
    json!({"logLevel": "verbose"}),
    "spec.logLevel is \"verbose\", which CRI-O does not know; use one of fatal, panic, error, warn, info, debug, trace"
)]
#[tokio::test]
async fn an_invalid_spec_is_told_and_mended(#[case] spec: Value, #[case] expected: &str) {
    let bed = Bed::start(workers(1)).await;
    bed.create(NAME, spec).await;
    bed.until(NAME, "refused", |status| {
        status.is_some_and(|status| {
            reason(status, "InProgress") == ("False", "InvalidConfiguration")
                && message(status, "InProgress") == expected
        })
    })
    .await;
    let mended = json!({"spec": {"logLevel": "info", "kataConfigPoolSelector": null}});
    bed.patch::<osc_api::KataConfig>(NAME, mended).await;
    bed.installed(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_null_spec_installs_with_all_defaults() {
    let bed = Bed::start(workers(1)).await;
    bed.create(NAME, Value::Null).await;
    bed.installed(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_second_kata_config_is_told_and_the_first_is_untouched() {
    let bed = Bed::start(workers(1)).await;
    bed.create("first", json!({})).await;
    bed.installed("first").await;
    let before = bed.kata_configs().get("first").await.unwrap();
    // Creation times have whole seconds.
    tokio::time::sleep(Duration::from_millis(20)).await;
    bed.create("second", json!({"logLevel": "debug"})).await;
    bed.until("second", "told", |status| {
        status.is_some_and(|status| {
            message(status, "InProgress")
                == "A KataConfig instance already exists: \"first\". This one is ignored; change the first one, or delete \
                    one of the two: oc delete kataconfig second"
        })
    })
    .await;
    let after = bed.kata_configs().get("first").await.unwrap();
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version);
    bed.delete("second").await;
    bed.gone("second").await;
    bed.stop().await;
}

#[tokio::test]
async fn without_the_machine_config_operator_the_person_is_told() {
    let topology = Topology { kind: Kind::PlainKubernetes, ..workers(1) };
    let bed = Bed::start(topology).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        status.is_some_and(|status| {
            reason(status, "InProgress") == ("False", "MachineConfigOperatorAbsent")
                && message(status, "InProgress")
                    .starts_with("deployment mode is set to MachineConfig, but it's not available: ")
        })
    })
    .await;
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_node_without_machine_config_annotations_is_named() {
    let bed = Bed::start(workers(2)).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    // The machine-config-daemon of that node does not run.
    let daemon = Matcher {
        verb: Some(Verb::Patch),
        resource: Some("nodes".into()),
        name: Some("worker-1".into()),
        user_agent: Some("osc-simulation".into()),
        ..Matcher::default()
    };
    bed.cluster.server().faults().inject(Fault { matcher: daemon, times: None, action: FaultAction::Drop });
    let stripped =
        json!({"metadata": {"annotations": {names::MCO_STATE: null, names::MCO_CURRENT_CONFIG: null}}});
    bed.patch::<Node>("worker-1", stripped).await;
    bed.until(NAME, "named", |status| {
        status.is_some_and(|status| {
            reason(status, "Degraded") == ("True", "NodeUnmanaged")
                && message(status, "Degraded")
                    .starts_with("the Machine Config Operator does not manage worker-1: ")
        })
    })
    .await;
    bed.stop().await;
}

#[tokio::test]
async fn a_pool_deleted_by_hand_during_installation_is_made_again() {
    let bed = Bed::start(workers(2)).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "begun", |status| status.is_some_and(|status| !status.kata_nodes.installing.is_empty()))
        .await;
    let pools: Api<MachineConfigPool> = Api::all(bed.client.clone());
    pools.delete(names::KATA_POOL, &DeleteParams::default()).await.unwrap();
    let again = || async { pools.get_opt(names::KATA_POOL).await.unwrap().is_some() };
    assert!(eventually(again).await);
    bed.installed(NAME).await;
    assert_eq!(bed.status(NAME).await.unwrap().kata_nodes.ready_node_count, 2);
    bed.stop().await;
}

#[tokio::test]
async fn a_missing_definition_is_waited_for() {
    let mut bed = Bed::without_operator(workers(1)).await;
    bed.run_operator(options());
    tokio::time::sleep(Duration::from_millis(300)).await;
    bed.install_crd().await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_gone_for_a_minute_is_waited_for() {
    let bed = Bed::start(workers(2)).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "begun", |status| status.is_some_and(|status| !status.kata_nodes.installing.is_empty()))
        .await;
    bed.cluster.server().faults().pause_all();
    // A minute of the cluster's time, and some of ours.
    tokio::time::sleep(Duration::from_secs(2)).await;
    bed.cluster.server().faults().resume_all();
    bed.installed(NAME).await;
    assert_eq!(bed.reboots().await, [("worker-0".into(), "1".into()), ("worker-1".into(), "1".into())]);
    bed.stop().await;
}

#[tokio::test]
async fn a_paused_pool_and_a_cordoned_node_are_told_with_the_remedy() {
    let bed = Bed::start(workers(2)).await;
    bed.patch::<Node>("worker-0", json!({"spec": {"unschedulable": true}})).await;
    bed.create(NAME, json!({})).await;
    let degraded = |expected: &'static str, part: &'static str| {
        move |status: Option<&osc_api::KataConfigStatus>| {
            status.is_some_and(|status| {
                reason(status, "Degraded") == ("True", expected) && message(status, "Degraded").contains(part)
            })
        }
    };
    bed.until(NAME, "the cordoned node is told", degraded("NodeCordoned", "oc adm uncordon worker-0")).await;
    bed.patch::<MachineConfigPool>(names::KATA_POOL, json!({"spec": {"paused": true}})).await;
    let remedy = "oc patch mcp kata-oc --type merge -p '{\"spec\":{\"paused\":false}}'";
    bed.until(NAME, "the paused pool is told", degraded("PoolPaused", remedy)).await;
    bed.patch::<MachineConfigPool>(names::KATA_POOL, json!({"spec": {"paused": false}})).await;
    bed.patch::<Node>("worker-0", json!({"spec": {"unschedulable": null}})).await;
    bed.installed(NAME).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_node_of_another_custom_pool_is_refused_with_both_names() {
    let bed = Bed::start(workers(2)).await;
    let infra = json!({
        "metadata": {"name": "infra"},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [
                {"key": names::MACHINE_CONFIG_ROLE, "operator": "In", "values": ["worker", "infra"]}]},
            "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/infra": ""}}
        }
    });
    let pools: Api<MachineConfigPool> = Api::all(bed.client.clone());
    pools.create(&PostParams::default(), &serde_json::from_value(infra).unwrap()).await.unwrap();
    bed.patch::<Node>("worker-1", json!({"metadata": {"labels": {"node-role.kubernetes.io/infra": ""}}}))
        .await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        status.is_some_and(|status| {
            reason(status, "Degraded") == ("True", "NodeInTwoPools")
                && message(status, "Degraded")
                    .contains("node worker-1 is selected for kata-oc and belongs to the custom pool infra")
        })
    })
    .await;
    bed.until(NAME, "the other node has kata", |status| {
        status.is_some_and(|status| status.kata_nodes.installed == ["worker-0"])
    })
    .await;
    let nodes = bed.nodes().await;
    let refused = nodes.iter().find(|node| node.name_any() == "worker-1").unwrap();
    assert!(!refused.labels().contains_key(names::KATA_NODE_ROLE));
    bed.stop().await;
}

#[test]
fn a_wrong_kubeconfig_ends_the_process_with_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, "this is no kubeconfig").unwrap();
    for path in [file.as_path(), &directory.path().join("missing")] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_osc-operator")).env("KUBECONFIG", path).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("no cluster to work for: neither a usable kubeconfig"), "{stderr}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_drained_is_told_with_the_place_to_look() {
    let bed = Bed::start(workers(1)).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "default");
    let pod = json!({
        "metadata": {"name": "stays", "labels": {"app": "stays"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(bed.client.clone(), "default");
    let budget = json!({"metadata": {"name": "stays"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "stays"}}}});
    budgets.create(&PostParams::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
    let runs = || async {
        let phase = pods.get_status("stays").await.unwrap().status.unwrap().phase;
        phase.as_deref() == Some("Running")
    };
    assert!(eventually(runs).await);
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        status.is_some_and(|status| {
            reason(status, "Degraded") == ("True", "NodeNotDraining")
                && message(status, "Degraded")
                    .starts_with("draining for more than 15 minutes: worker-0; a PodDisruptionBudget")
        })
    })
    .await;
    budgets.delete("stays", &DeleteParams::default()).await.unwrap();
    bed.installed(NAME).await;
    bed.stop().await;
}
