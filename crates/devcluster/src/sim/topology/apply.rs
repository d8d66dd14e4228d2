//! Puts a topology into a cluster through the API.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use super::Topology;
use crate::sim::SimError;
use crate::sim::world::{FIELD_MANAGER, post_params};

/// How often a new kind is asked for, and how long in between, until the server serves it.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Creates everything that does not exist yet, with its status. What exists is left as it is.
pub async fn apply(client: &Client, topology: &Topology) -> Result<(), SimError> {
    for object in topology.objects(Timestamp::now()) {
        create(client, object).await?;
    }
    Ok(())
}

async fn create(client: &Client, mut value: Value) -> Result<(), SimError> {
    let status = value.as_object_mut().and_then(|object| object.remove("status"));
    let what = format!("{} {}", value["kind"], value["metadata"]["name"]);
    let malformed = || SimError::Malformed { what: what.clone() };
    let failed = |source| SimError::Create { what: what.clone(), source: Box::new(source) };
    let object: DynamicObject = serde_json::from_value(value).map_err(|_| malformed())?;
    let types = object.types.as_ref().ok_or_else(malformed)?;
    let kind = GroupVersionKind::try_from(types).map_err(|_| malformed())?;
    let name = object.metadata.name.clone().ok_or_else(malformed)?;
    // Every kind of a topology has a regular plural.
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    match create_patiently(&api, &object).await {
        Ok(()) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    let Some(status) = status.filter(|_| kind.kind != "CustomResourceDefinition") else { return Ok(()) };
    let patch = json!({"status": status});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(&name, &params, &Patch::Merge(&patch)).await.map_err(failed)?;
    Ok(())
}

/// A kind is served a moment after its definition was created.
async fn create_patiently(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<(), kube::Error> {
    let mut attempt = 0;
    loop {
        match api.create(&post_params(), object).await {
            Err(kube::Error::Api(status)) if status.code == 404 && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            result => return result.map(|_| ()),
        }
    }
}
