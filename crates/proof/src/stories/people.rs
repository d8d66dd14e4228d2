//! What people may do: `deploy/` lets who may view a cluster see KataConfigs, and who administers it change them.

use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use osc_api::KataConfig;
use osc_api::openshift::MachineConfigPool;
use serde_json::json;

use super::kubectl::Kubectl;
use super::{Story, story};
use crate::bed::{self, Bed, NAME, On, eventually, workers};

pub fn stories() -> Vec<Story> {
    let why = "the embedded server knows no rights";
    let stories = [
        story!(who_may_view_looks_and_changes_nothing, workers(1)),
        story!(an_editor_installs_changes_and_removes_and_nothing_else, workers(1)),
    ];
    stories.into_iter().map(|story| story.only(On::Real, why)).collect()
}

/// Lets a person do what a role says, and returns that person's client.
async fn person(bed: &Bed, name: &str, role: &str) -> Client {
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(bed.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let client = bed.real().person(name);
    // A role that is composed of others is, a moment after they came.
    let configs: Api<KataConfig> = Api::all(client.clone());
    let sees = || async { configs.list(&ListParams::default()).await.is_ok() };
    assert!(eventually(sees).await, "{name}, who is bound to {role}, may not list KataConfigs");
    client
}

/// Fails unless the API server forbade it.
fn forbidden<T>(what: &str, answer: Result<T, kube::Error>) {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what} is allowed"),
    }
}

fn log_level(level: &str) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"spec": {"logLevel": level}}))
}

async fn who_may_view_looks_and_changes_nothing(bed: &mut Bed) {
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    // Who may edit what is in namespaces may not reboot nodes.
    for (name, role) in [("viewer", "view"), ("developer", "edit")] {
        let client = person(bed, name, role).await;
        let configs: Api<KataConfig> = Api::all(client.clone());
        let found = configs.get(NAME).await.unwrap();
        assert_eq!(found.status.as_ref().unwrap().kata_nodes.installed, ["worker-0"]);
        assert!(
            configs.get_status(NAME).await.is_ok()
                && configs.watch(&WatchParams::default(), "0").await.is_ok()
        );
        let defaults = PatchParams::default();
        forbidden("to change", configs.patch(NAME, &defaults, &log_level("debug")).await);
        forbidden("to change the status", configs.patch_status(NAME, &defaults, &log_level("debug")).await);
        forbidden("to replace", configs.replace(NAME, &PostParams::default(), &found).await);
        forbidden("to delete", configs.delete(NAME, &DeleteParams::default()).await);
        forbidden("to create", bed::create(&client, "another", json!({})).await);
    }
    let kubectl = Kubectl::new(&bed.server.kubeconfig());
    let table = kubectl.run("--as viewer get kataconfig", "").await;
    assert!(table.contains(NAME), "{table}");
    bed.assert_reboots(&[("worker-0", 1)]).await;
}

async fn an_editor_installs_changes_and_removes_and_nothing_else(bed: &mut Bed) {
    let client = person(bed, "editor", "kataconfig-editor-role").await;
    let configs: Api<KataConfig> = Api::all(client.clone());
    bed::create(&client, NAME, json!({})).await.unwrap();
    bed.installed(NAME).await;

    let defaults = PatchParams::default();
    let status = Patch::Merge(json!({"status": {"kataNodes": {"nodeCount": 7}}}));
    forbidden("to change the status", configs.patch_status(NAME, &defaults, &status).await);
    let label = Patch::Merge(json!({"metadata": {"labels": {"mine": "yes"}}}));
    let nodes: Api<Node> = Api::all(client.clone());
    forbidden("to list nodes", nodes.list(&ListParams::default()).await);
    forbidden("to label a node", nodes.patch("worker-0", &defaults, &label).await);
    let pools: Api<MachineConfigPool> = Api::all(client.clone());
    forbidden("to change a pool", pools.patch("kata-oc", &defaults, &label).await);
    let classes: Api<RuntimeClass> = Api::all(client.clone());
    forbidden("to delete the runtime class", classes.delete("kata", &DeleteParams::default()).await);
    let secrets: Api<Secret> = Api::all(client);
    forbidden("to list secrets", secrets.list(&ListParams::default()).await);

    // Who administers the cluster may do the same.
    let administrator: Api<KataConfig> = Api::all(person(bed, "administrator", "admin").await);
    administrator.patch(NAME, &defaults, &log_level("debug")).await.unwrap();
    bed.updated(NAME).await;
    configs.delete(NAME, &DeleteParams::default()).await.unwrap();
    bed.gone(NAME).await;
}
