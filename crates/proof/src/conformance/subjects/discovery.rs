//! Discovery: groups, versions, resources.

use serde_json::{Value, json};

use super::objects::{anything, define, definition, group, install};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    cases![
        the_core_group,
        core_resources,
        workload_resources,
        resources_of_other_groups,
        a_custom_group,
        a_custom_group_with_two_versions,
        custom_resources_are_listed,
        custom_subresources_are_listed,
        custom_names_are_listed,
        a_group_that_goes_is_gone,
        an_unknown_group_is_not_found,
        the_version_is_told,
        the_server_is_healthy,
    ]
}

async fn the_core_group(t: Trial) {
    let versions = t.unrecorded().get("/api").await.is(200).has("/versions", json!(["v1"]));
    t.note("kind", versions.body["kind"].clone());
}

/// What clients go by; of built-in kinds, releases before 1.27 tell no singular.
fn entry(resource: &Value, singular: bool) -> Value {
    let mut verbs: Vec<&str> =
        resource["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap()).collect();
    verbs.sort_unstable();
    let mut entry = json!({ "verbs": verbs });
    for field in ["name", "kind", "namespaced", "shortNames", "categories", "group", "version"] {
        entry[field] = resource[field].clone();
    }
    if singular {
        entry["singularName"] = resource["singularName"].clone();
    }
    entry
}

async fn resources(t: &Trial, path: &str, names: &[&str]) {
    let list = t.unrecorded().get(path).await.is(200).has("/kind", json!("APIResourceList")).body;
    let all = list["resources"].as_array().unwrap();
    for name in names {
        let found = all.iter().find(|resource| resource["name"] == *name);
        let found = found.unwrap_or_else(|| panic!("{path} has no {name}"));
        t.note(format!("{name} of {path}"), entry(found, false));
    }
}

async fn core_resources(t: Trial) {
    let names = [
        "configmaps",
        "secrets",
        "pods",
        "pods/status",
        "pods/log",
        "pods/binding",
        "nodes",
        "nodes/status",
        "namespaces",
        "namespaces/status",
        "namespaces/finalize",
        "serviceaccounts",
        "events",
        "persistentvolumeclaims",
    ];
    resources(&t, "/api/v1", &names).await;
}

async fn workload_resources(t: Trial) {
    let names = [
        "deployments",
        "deployments/status",
        "deployments/scale",
        "daemonsets",
        "daemonsets/status",
        "replicasets",
        "replicasets/scale",
        "statefulsets",
        "statefulsets/scale",
    ];
    resources(&t, "/apis/apps/v1", &names).await;
}

async fn resources_of_other_groups(t: Trial) {
    resources(&t, "/apis/node.k8s.io/v1", &["runtimeclasses"]).await;
    resources(&t, "/apis/coordination.k8s.io/v1", &["leases"]).await;
    resources(&t, "/apis/batch/v1", &["jobs", "jobs/status"]).await;
    resources(
        &t,
        "/apis/rbac.authorization.k8s.io/v1",
        &["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    )
    .await;
    resources(
        &t,
        "/apis/apiextensions.k8s.io/v1",
        &["customresourcedefinitions", "customresourcedefinitions/status"],
    )
    .await;
    resources(&t, "/apis/storage.k8s.io/v1", &["storageclasses"]).await;
    resources(&t, "/apis/scheduling.k8s.io/v1", &["priorityclasses"]).await;
    let names = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
    resources(&t, "/apis/admissionregistration.k8s.io/v1", &names).await;
}

/// Waits until discovery has caught up, which takes the real server a moment.
async fn group_document(t: &Trial, versions: usize) {
    let path = format!("/apis/{}", group(t));
    t.until(&path, |answer| answer.body["versions"].as_array().map(Vec::len) == Some(versions)).await;
}

async fn a_custom_group(t: Trial) {
    define(&t, anything(), json!({})).await;
    group_document(&t, 1).await;
    let groups =
        t.unrecorded().until("/apis", |answer| answer.body["groups"].to_string().contains(&group(&t))).await;
    let found =
        groups.body["groups"].as_array().unwrap().iter().find(|found| found["name"] == group(&t)).cloned();
    t.note("in the list of groups", found.unwrap());
}

async fn a_custom_group_with_two_versions(t: Trial) {
    let mut two = definition(&t, anything(), json!({}));
    for name in ["v1beta1", "v2"] {
        let mut version = two["spec"]["versions"][0].clone();
        version["name"] = json!(name);
        version["storage"] = json!(false);
        two["spec"]["versions"].as_array_mut().unwrap().push(version);
    }
    install(&t, two).await;
    group_document(&t, 3).await;
    let document = t.unrecorded().get(&format!("/apis/{}", group(&t))).await;
    document.has("/preferredVersion/version", json!("v2")).has("/versions/2/version", json!("v1beta1"));
}

async fn custom_list(t: &Trial, count: usize) -> Vec<Value> {
    let path = format!("/apis/{}/v1", group(t));
    let list = t
        .unrecorded()
        .until(&path, |answer| answer.body["resources"].as_array().map(Vec::len) == Some(count))
        .await;
    let list: Vec<Value> =
        list.body["resources"].as_array().unwrap().iter().map(|found| entry(found, true)).collect();
    t.note(path, json!(list));
    list
}

async fn custom_resources_are_listed(t: Trial) {
    define(&t, anything(), json!({})).await;
    assert_eq!(custom_list(&t, 1).await[0]["shortNames"], json!(["wd"]));
}

async fn custom_subresources_are_listed(t: Trial) {
    let scale = json!({ "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" });
    define(&t, anything(), json!({ "subresources": { "status": {}, "scale": scale } })).await;
    custom_list(&t, 3).await;
}

async fn custom_names_are_listed(t: Trial) {
    let mut named = definition(&t, anything(), json!({}));
    named["spec"]["names"]["categories"] = json!(["all", "parts"]);
    named["spec"]["names"]["shortNames"] = json!(["wd", "wdg"]);
    named["spec"]["scope"] = json!("Cluster");
    install(&t, named).await;
    assert_eq!(custom_list(&t, 1).await[0]["categories"], json!(["all", "parts"]));
}

async fn a_group_that_goes_is_gone(t: Trial) {
    define(&t, anything(), json!({})).await;
    group_document(&t, 1).await;
    t.unrecorded().delete(&super::objects::definition_path(&t)).await.is(200);
    t.until_gone(&format!("/apis/{}", group(&t))).await;
}

async fn an_unknown_group_is_not_found(t: Trial) {
    t.get("/apis/nobody.example.com").await.is(404);
    t.get("/apis/nobody.example.com/v1").await.is(404);
    t.get("/apis/apps/v7").await.is(404);
}

async fn the_version_is_told(t: Trial) {
    let version = t.unrecorded().get("/version").await.is(200);
    assert_eq!(version.body["major"], "1");
    let fields: Vec<&String> = version.body.as_object().unwrap().keys().collect();
    t.note("fields", json!(fields));
}

async fn the_server_is_healthy(t: Trial) {
    for path in ["/healthz", "/livez", "/readyz"] {
        t.get(path).await.is(200);
    }
}
