//! Objects out of a cluster: those that belong to peer pods, by name, and no others.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, Error};
use osc_api::names;
use osc_api::peerpods::{CREDENTIALS, PEER_POD_CONFIG, Provider, SETTINGS, SSH_KEYS};
use serde_json::{Value, json};

use super::{Objects, setup};

/// Region of a node.
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// Role of the nodes that get peer pods.
const WORKER_LABEL: &str = "node-role.kubernetes.io/worker";
/// Nodes that are looked at: they are much alike.
const NODES: u32 = 100;

/// A cluster that is asked for one object after the other.
pub struct Asked<'a> {
    client: &'a Client,
    /// What was found.
    pub objects: Objects,
}

impl<'a> Asked<'a> {
    /// Nothing was asked yet.
    pub fn new(client: &'a Client) -> Self {
        Self { client, objects: Objects { of_cluster: true, ..Objects::default() } }
    }

    /// One object, or all of a cluster-scoped kind; it may be absent, and so may its kind.
    pub async fn get(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> anyhow::Result<()> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let object = format!("{kind} {name}");
        let found = match api.get_opt(name).await {
            Ok(found) => found,
            Err(error) => return self.refused(error, object),
        };
        if let Some(found) = found {
            let mut value = serde_json::to_value(found)?;
            value["apiVersion"] = json!(api_version);
            value["kind"] = json!(kind);
            self.objects.items.push(value);
        }
        Ok(())
    }

    /// What one may not read is told and not missed; a cluster that cannot be asked is an error.
    fn refused(&mut self, error: Error, object: String) -> anyhow::Result<()> {
        match error {
            Error::Api(status) if status.code == 403 => {
                self.objects.unreadable.push((object, status.message.clone()));
                Ok(())
            }
            Error::Api(status) if status.code == 404 => Ok(()),
            error => Err(error).with_context(|| format!("cannot read {object}")),
        }
    }

    /// The first KataConfig.
    async fn kata_configs(&mut self) -> anyhow::Result<()> {
        let gvk = GroupVersionKind::gvk(names::KATACONFIG_GROUP, "v1", "KataConfig");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::from_gvk(&gvk));
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                for found in list.items {
                    let mut value = serde_json::to_value(found)?;
                    value["kind"] = json!("KataConfig");
                    self.objects.items.push(value);
                }
                Ok(())
            }
            Err(error) => self.refused(error, "KataConfig".to_owned()),
        }
    }

    /// Some workers; all kinds of nodes where none has the role.
    pub async fn nodes(&mut self) -> anyhow::Result<Vec<Node>> {
        match nodes(self.client).await {
            Ok(nodes) => Ok(nodes),
            Err(error) => {
                self.refused(error, "Node".to_owned())?;
                Ok(Vec::new())
            }
        }
    }
}

/// Some workers; all kinds of nodes where none has the role.
async fn nodes(client: &Client) -> Result<Vec<Node>, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let params = ListParams::default().limit(NODES);
    let workers = api.list(&params.clone().labels(WORKER_LABEL)).await?.items;
    if workers.is_empty() { Ok(api.list(&params).await?.items) } else { Ok(workers) }
}

/// Reads what belongs to peer pods.
pub async fn read(client: &Client, address: &str) -> anyhow::Result<Objects> {
    client.apiserver_version().await.with_context(|| format!("cannot reach the API server at {address}"))?;
    let mut asked = Asked::new(client);
    let own = Some(names::OPERATOR_NAMESPACE);
    let maps = Provider::ALL.into_iter().flat_map(Provider::image_maps);
    for map in [&SETTINGS, &names::FEATURE_GATES].into_iter().chain(maps) {
        asked.get("v1", "ConfigMap", own, map).await?;
    }
    for secret in [CREDENTIALS, SSH_KEYS] {
        asked.get("v1", "Secret", own, secret).await?;
    }
    asked.get("confidentialcontainers.org/v1alpha1", "PeerPodConfig", own, PEER_POD_CONFIG).await?;
    asked.get("config.openshift.io/v1", "Infrastructure", None, names::INFRASTRUCTURE).await?;
    asked.kata_configs().await?;
    if setup::Platform::of(&asked.objects.items).region.is_none() {
        let nodes: Vec<Node> = asked.nodes().await?;
        let labelled = |node: &&Node| {
            node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(REGION_LABEL))
        };
        if let Some(node) = nodes.iter().find(labelled) {
            let mut value: Value = serde_json::to_value(node)?;
            value["kind"] = json!("Node");
            asked.objects.items.push(value);
        }
    }
    Ok(asked.objects)
}
