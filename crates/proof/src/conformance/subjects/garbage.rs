//! Garbage collection by owner references.

use serde_json::{Value, json};

use super::objects::config_map;
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::{Answer, Trial};

pub fn cases() -> Vec<Case> {
    cases![
        background_deletes_dependants_afterwards,
        foreground_deletes_dependants_first,
        foreground_waits_for_who_blocks,
        foreground_does_not_wait_for_who_does_not_block,
        orphans_lose_their_owner,
        an_owner_that_never_was_is_no_owner,
        the_last_owner_decides,
        a_chain_goes_link_by_link,
        an_owner_of_another_uid_is_no_owner,
    ]
}

fn reference(owner: &Answer, blocks: bool) -> Value {
    json!({ "apiVersion": owner.body["apiVersion"], "kind": owner.body["kind"], "name": owner.metadata("name"),
        "uid": owner.uid(), "blockOwnerDeletion": blocks })
}

fn owned(name: &str, owners: &[Value]) -> Value {
    let mut object = config_map(name, json!({ "k": "v" }));
    object["metadata"]["ownerReferences"] = json!(owners);
    object
}

async fn owner(t: &Trial, name: &str) -> Answer {
    t.post("configmaps", config_map(name, json!({ "k": "v" }))).await.is(201)
}

/// Makes a dependant and waits until the garbage collector has had a chance to see it.
async fn dependant(t: &Trial, name: &str, owners: &[Value]) {
    t.post("configmaps", owned(name, owners)).await.is(201);
}

async fn delete(t: &Trial, path: &str, policy: &str) {
    t.delete_with(path, json!({ "propagationPolicy": policy })).await.is(200);
}

async fn background_deletes_dependants_afterwards(t: Trial) {
    let a = owner(&t, "a").await;
    dependant(&t, "b", &[reference(&a, true)]).await;
    delete(&t, "configmaps/a", "Background").await;
    t.get("configmaps/a").await.refused(404, "NotFound");
    t.until_gone("configmaps/b").await;
}

async fn foreground_deletes_dependants_first(t: Trial) {
    let a = owner(&t, "a").await;
    dependant(&t, "b", &[reference(&a, true)]).await;
    delete(&t, "configmaps/a", "Foreground").await;
    t.until_gone("configmaps/a").await;
    t.get("configmaps/b").await.refused(404, "NotFound");
}

async fn foreground_waits_for_who_blocks(t: Trial) {
    let a = owner(&t, "a").await;
    let mut object = owned("b", &[reference(&a, true)]);
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    t.post("configmaps", object).await.is(201);
    delete(&t, "configmaps/a", "Foreground").await;
    t.unrecorded().until("configmaps/b", |b| !b.metadata("deletionTimestamp").is_empty()).await;
    t.get("configmaps/a").await.is(200).has("/metadata/finalizers", json!(["foregroundDeletion"]));
    t.unrecorded().merge("configmaps/b", json!({ "metadata": { "finalizers": null } })).await.is(200);
    t.until_gone("configmaps/a").await;
}

async fn foreground_does_not_wait_for_who_does_not_block(t: Trial) {
    let a = owner(&t, "a").await;
    let mut object = owned("b", &[reference(&a, false)]);
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    t.post("configmaps", object).await.is(201);
    delete(&t, "configmaps/a", "Foreground").await;
    t.until_gone("configmaps/a").await;
    t.unrecorded().until("configmaps/b", |b| !b.metadata("deletionTimestamp").is_empty()).await;
}

async fn orphans_lose_their_owner(t: Trial) {
    let a = owner(&t, "a").await;
    dependant(&t, "b", &[reference(&a, true)]).await;
    delete(&t, "configmaps/a", "Orphan").await;
    t.until_gone("configmaps/a").await;
    let b = t.unrecorded().get("configmaps/b").await.is(200);
    b.has("/metadata/ownerReferences", json!(null)).has("/metadata/deletionTimestamp", json!(null));
}

async fn an_owner_that_never_was_is_no_owner(t: Trial) {
    let nobody = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "no-such-uid" });
    dependant(&t, "b", &[nobody]).await;
    t.until_gone("configmaps/b").await;
}

async fn the_last_owner_decides(t: Trial) {
    let (a, b) = (owner(&t, "a").await, owner(&t, "b").await);
    dependant(&t, "c", &[reference(&a, false), reference(&b, false)]).await;
    delete(&t, "configmaps/a", "Background").await;
    let left = t.unrecorded();
    left.until("configmaps/c", |c| c.body["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1))
        .await;
    delete(&t, "configmaps/b", "Background").await;
    t.until_gone("configmaps/c").await;
}

async fn a_chain_goes_link_by_link(t: Trial) {
    let a = owner(&t, "a").await;
    let b = t.post("configmaps", owned("b", &[reference(&a, true)])).await.is(201);
    dependant(&t, "c", &[reference(&b, true)]).await;
    delete(&t, "configmaps/a", "Background").await;
    t.until_gone("configmaps/c").await;
    t.get("configmaps/b").await.refused(404, "NotFound");
}

async fn an_owner_of_another_uid_is_no_owner(t: Trial) {
    let a = owner(&t, "a").await;
    let mut wrong = reference(&a, true);
    wrong["uid"] = json!("another-uid");
    dependant(&t, "b", &[wrong]).await;
    t.until_gone("configmaps/b").await;
    t.get("configmaps/a").await.is(200);
}
