//! What a manifest depends on of the cluster that it is for.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use osc_api::{KataConfig, names};

use crate::kubeconfig::ClusterFlags;

const MACHINE_CONFIGS: &str = "machineconfiguration.openshift.io";
const OLM: &str = "operators.coreos.com";
/// Groups in which NodeFeatureRules may be: of OpenShift's operator, and of Node Feature Discovery elsewhere.
const FEATURE_GROUPS: [&str; 2] = ["nfd.openshift.io", "nfd.k8s-sigs.io"];
/// Versions in the order in which they are preferred: the documented one first.
const FEATURE_VERSIONS: [&str; 3] = ["v1alpha1", "v1", "v1beta1"];

/// How a kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// `nfd.openshift.io/v1alpha1`, say.
    pub api_version: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// What is known of a cluster. The default: none was asked.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What was asked, if anything.
    pub cluster: Option<Cluster>,
}

/// A cluster that was asked.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Address of the API server.
    pub address: String,
    /// Release of OpenShift.
    pub openshift: Option<String>,
    /// Whether there are workers that are not control-plane nodes.
    pub dedicated_workers: bool,
    /// How NodeFeatureRules are served.
    pub node_feature_rules: Option<Served>,
    /// Whether there is a Machine Config Operator.
    pub machine_configs: bool,
    /// Whether there is the Operator Lifecycle Manager.
    pub olm: bool,
    /// Names of the KataConfigs.
    pub kata_configs: Vec<String>,
}

impl Known {
    /// Asks the cluster that the flags name. Without any kubeconfig none is asked; with one that leads nowhere, that is told.
    pub async fn ask(flags: &ClusterFlags) -> anyhow::Result<Self> {
        if !flags.is_any().await {
            return Ok(Self::default());
        }
        let (client, address) = flags.client_and_address().await?;
        let hint = || format!("cannot ask the cluster at {address}; --offline prints the documented values");
        let cluster = Cluster::ask(&client, address.clone()).await.with_context(hint)?;
        Ok(Self { cluster: Some(cluster) })
    }

    /// The head of a manifest: what it is, and where its values come from.
    pub fn head(&self, what: &[String]) -> String {
        let source = match &self.cluster {
            None => "No cluster was asked: the values are the documented ones.".to_owned(),
            Some(Cluster { address, openshift: Some(version), .. }) => {
                format!("For the cluster at {address}, OpenShift {version}.")
            }
            Some(Cluster { address, .. }) => format!("For the cluster at {address}."),
        };
        what.iter().chain([&source]).flat_map(|line| ["# ", line, "\n"]).collect()
    }
}

impl Cluster {
    async fn ask(client: &Client, address: String) -> anyhow::Result<Self> {
        let groups: Vec<String> =
            client.list_api_groups().await?.groups.into_iter().map(|group| group.name).collect();
        let has = |name: &str| groups.iter().any(|group| group == name);
        let nodes = Api::<Node>::all(client.clone()).list_metadata(&ListParams::default()).await?;
        let dedicated = |labels: &std::collections::BTreeMap<String, String>| {
            let control_plane = [names::MASTER_NODE_ROLE, names::CONTROL_PLANE_NODE_ROLE];
            !control_plane.iter().any(|role| labels.contains_key(*role))
        };
        let kata_configs = if has(names::KATACONFIG_GROUP) {
            let list = Api::<KataConfig>::all(client.clone()).list_metadata(&ListParams::default()).await?;
            list.items.iter().map(ResourceExt::name_any).collect()
        } else {
            Vec::new()
        };
        let mut node_feature_rules = None;
        for group in FEATURE_GROUPS.into_iter().filter(|group| has(group)) {
            node_feature_rules = feature_rules(client, group).await?;
            if node_feature_rules.is_some() {
                break;
            }
        }
        Ok(Self {
            address,
            openshift: if has("config.openshift.io") { release(client).await? } else { None },
            dedicated_workers: nodes.items.iter().any(|node| dedicated(node.labels())),
            node_feature_rules,
            machine_configs: has(MACHINE_CONFIGS),
            olm: has(OLM),
            kata_configs,
        })
    }
}

/// How NodeFeatureRules are served in that group.
async fn feature_rules(client: &Client, group: &str) -> anyhow::Result<Option<Served>> {
    let found = client.list_api_groups().await?.groups.into_iter().find(|known| known.name == group);
    let versions: Vec<String> =
        found.into_iter().flat_map(|found| found.versions).map(|version| version.version).collect();
    for version in
        FEATURE_VERSIONS.into_iter().filter(|version| versions.iter().any(|known| known == version))
    {
        let api_version = format!("{group}/{version}");
        let resources = client.list_api_group_resources(&api_version).await?.resources;
        let rules =
            |resource: &&APIResource| resource.kind == "NodeFeatureRule" && !resource.name.contains('/');
        if let Some(resource) = resources.iter().find(rules) {
            return Ok(Some(Served { api_version, namespaced: resource.namespaced }));
        }
    }
    Ok(None)
}

/// The release of OpenShift, where one says it.
async fn release(client: &Client) -> anyhow::Result<Option<String>> {
    let gvk = kube::core::GroupVersionKind::gvk("config.openshift.io", "v1", "ClusterVersion");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk));
    match api.get_opt(names::CLUSTER_VERSION).await {
        Ok(found) => Ok(found
            .and_then(|version| version.data["status"]["desired"]["version"].as_str().map(str::to_owned))),
        // Not everybody may read it, and it is only told.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
