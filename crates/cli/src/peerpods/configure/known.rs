//! What the cluster knows.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use osc_api::names;
use osc_api::peerpods::{CREDENTIALS, Provider, SETTINGS};
use osc_cloud::Secret;
use osc_engine::peerpods::config::Data;
use serde_json::Value;

use super::machine::Machine;
use crate::kubeconfig::ClusterFlags;
use crate::peerpods::read::{Asked, Objects, Platform, REGION_LABEL, setup};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What is known of a cluster. The default: none was asked.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Address of the API server, if one was asked.
    pub address: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Machines of workers, as their provider identifiers have them.
    pub machines: Vec<Machine>,
    /// Regions of workers, by label, the most frequent first.
    pub regions: Vec<String>,
    /// Zones of workers, the same.
    pub zones: Vec<String>,
    /// The feature gate `confidential`.
    pub confidential: bool,
    /// Config maps that are there, by name: version and data.
    pub maps: BTreeMap<String, (String, Data)>,
    /// What `peer-pods-secret` has, once it was asked for.
    pub credentials: BTreeMap<String, Secret>,
    /// What could not be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Known {
    /// Asks the cluster that the flags name. Without any kubeconfig none is asked; with one that leads nowhere, that is
    /// told.
    pub async fn ask(flags: &ClusterFlags) -> anyhow::Result<(Self, Option<Client>)> {
        if !flags.is_any().await {
            return Ok((Self::default(), None));
        }
        let (client, address) = flags.client_and_address().await?;
        let hint = || format!("cannot ask the cluster at {address}; --offline leaves everything to fill in");
        let known = ask(&client, &address).await.with_context(hint)?;
        Ok((known, Some(client)))
    }

    /// Reads the credentials, to ask the cloud with them. Who may not read them is told so.
    pub async fn ask_credentials(&mut self, client: &Client) -> anyhow::Result<()> {
        let mut asked = Asked::new(client);
        asked.get("v1", "Secret", Some(names::OPERATOR_NAMESPACE), CREDENTIALS).await?;
        let credentials = setup(&asked.objects).credentials.unwrap_or_default();
        self.credentials = credentials.into_iter().map(|(key, value)| (key, Secret::new(value))).collect();
        self.unreadable.extend(asked.objects.unreadable);
        Ok(())
    }

    /// The provider whose cloud the cluster runs on.
    pub fn provider(&self) -> Option<Provider> {
        let platform = self.platform.name.as_deref()?.to_ascii_lowercase();
        Provider::by_name(&platform)
    }

    /// The config map with the settings, if there is one.
    pub fn settings(&self) -> Option<&Data> {
        self.maps.get(SETTINGS).map(|(_, data)| data)
    }
}

async fn ask(client: &Client, address: &str) -> anyhow::Result<Known> {
    let mut asked = Asked::new(client);
    let own = Some(names::OPERATOR_NAMESPACE);
    for map in [SETTINGS, names::FEATURE_GATES] {
        asked.get("v1", "ConfigMap", own, map).await?;
    }
    asked.get("config.openshift.io/v1", "Infrastructure", None, names::INFRASTRUCTURE).await?;
    let nodes = asked.nodes().await?;
    Ok(of(address, &asked.objects, &nodes))
}

/// Everything, out of objects.
fn of(address: &str, objects: &Objects, nodes: &[Node]) -> Known {
    let maps = objects.items.iter().filter(|object| object["kind"] == "ConfigMap").map(map).collect();
    let provider_id = |node: &Node| node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
    Known {
        address: Some(address.to_owned()),
        platform: Platform::of(&objects.items),
        machines: nodes.iter().filter_map(provider_id).filter_map(|id| Machine::parse(&id)).collect(),
        regions: frequent(nodes, REGION_LABEL),
        zones: frequent(nodes, ZONE_LABEL),
        confidential: setup(objects).confidential,
        maps,
        credentials: BTreeMap::new(),
        unreadable: objects.unreadable.clone(),
    }
}

fn map(object: &Value) -> (String, (String, Data)) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = object["data"].as_object().into_iter().flatten();
    let data = data.map(|(key, value)| (key.clone(), text(value))).collect();
    (text(&object["metadata"]["name"]), (text(&object["metadata"]["resourceVersion"]), data))
}

/// Values of a label, the most frequent first, then by name.
fn frequent(nodes: &[Node], label: &str) -> Vec<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for value in nodes.iter().filter_map(|node| node.metadata.labels.as_ref()?.get(label)) {
        *counts.entry(value).or_default() += 1;
    }
    let mut values: Vec<_> = counts.into_iter().collect();
    values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    values.into_iter().map(|(value, _)| value.clone()).collect()
}
