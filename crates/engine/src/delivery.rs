//! How Kata came to the nodes. A machine config brings an extension or an image of the operating system, or a node agent was
//! at work; what another operator chose is recognised, so that nodes which have Kata are not given it a second time.

use osc_api::names;

use crate::gates::FeatureGates;
use crate::object::{Kind, ObjectId};
use crate::observed::{Observed, Settings};

/// Which machine config brings Kata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Ours: an extension of the operating system.
    Extension,
    /// One with an operating system image that has Kata in it. Once it is there, it is honoured and never written.
    LayeredImage,
}

impl Delivery {
    /// Told by what exists. Where both exist, the extension is the one that we look after.
    pub fn of(observed: &Observed) -> Self {
        let extension = observed.cluster_object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG);
        if extension.is_none() && layered_image(observed).is_some() {
            Self::LayeredImage
        } else {
            Self::Extension
        }
    }

    /// What is there, or what the gates ask for where nothing is.
    pub fn chosen(observed: &Observed, gates: &FeatureGates) -> Self {
        if !exists(observed) && gates.layered_image { Self::LayeredImage } else { Self::of(observed) }
    }

    /// Name of the machine config.
    pub fn machine_config(self) -> &'static str {
        match self {
            Self::Extension => names::EXTENSION_MACHINE_CONFIG,
            Self::LayeredImage => names::IMAGE_MACHINE_CONFIG,
        }
    }
}

/// The operating system image of the machine config that was made for a KataConfig. One of that name that somebody made
/// for something else does not carry a KataConfig's name.
pub fn layered_image(observed: &Observed) -> Option<&str> {
    let config = observed.cluster_object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG)?;
    let app = config["metadata"]["labels"][names::APP_LABEL].as_str()?;
    let ours = observed.kata_configs.iter().any(|kata_config| kata_config.name == app);
    ours.then(|| config["spec"]["osImageURL"].as_str().unwrap_or_default())
}

/// The operating system image that is to be installed, and its kernel arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageToInstall {
    /// Where the image is.
    pub url: String,
    /// What the kernel is started with in addition.
    pub kernel_arguments: Vec<String>,
}

impl ImageToInstall {
    /// What the ConfigMap says, or why it cannot be had.
    pub fn read(observed: &Observed, settings: &Settings) -> Result<Self, String> {
        let map = format!("{}/{}", settings.namespace, names::LAYERED_IMAGE_CONFIG_MAP);
        let data = observed.data(&settings.namespace, names::LAYERED_IMAGE_CONFIG_MAP);
        let text = |key: &str| {
            data.and_then(|data| data.get(key)).and_then(|value| value.as_str()).unwrap_or_default().trim()
        };
        if observed.cluster_object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).is_some() {
            return Err(format!(
                "layeredImageDeployment is true, but somebody else made a MachineConfig {}: delete it, or set the gate to \
                 false",
                names::IMAGE_MACHINE_CONFIG
            ));
        }
        match text("osImageURL") {
            "" => Err(format!(
                "layeredImageDeployment is true, but osImageURL not found in ConfigMap {map}: create it with the image of \
                 the operating system that has Kata in it, or set the gate to false"
            )),
            url => Ok(Self {
                url: url.to_owned(),
                kernel_arguments: text("kernelArguments").split_whitespace().map(str::to_owned).collect(),
            }),
        }
    }
}

/// Whether there is a machine config that brings Kata.
pub fn exists(observed: &Observed) -> bool {
    observed.cluster_object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_some()
        || layered_image(observed).is_some()
}

/// Whether a machine config that brings Kata is among those that a pool is rendered from. That of a layered image may
/// be gone by then, but must not be somebody else's.
pub fn is_source<'a>(observed: &Observed, sources: impl IntoIterator<Item = &'a String>) -> bool {
    let foreign = layered_image(observed).is_none()
        && observed.cluster_object(Kind::MachineConfig, names::IMAGE_MACHINE_CONFIG).is_some();
    sources.into_iter().any(|source| {
        source == names::EXTENSION_MACHINE_CONFIG || (source == names::IMAGE_MACHINE_CONFIG && !foreign)
    })
}

/// What node agents, run by DaemonSets, left: Kata is on nodes without a machine config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTraces<'a> {
    /// Nodes that carry the agent's label.
    pub nodes: Vec<&'a str>,
    /// DaemonSets of the agent.
    pub daemon_sets: Vec<&'static str>,
}

impl<'a> AgentTraces<'a> {
    /// Recognises it. Where a machine config brings Kata, what is left of an agent does not matter.
    pub fn find(observed: &'a Observed, settings: &Settings) -> Option<Self> {
        if exists(observed) {
            return None;
        }
        let labelled = observed.nodes.iter().filter(|node| node.has_label(names::DAEMON_SET_MODE_LABEL));
        let exists = |name: &&'static str| {
            let id = ObjectId::namespaced(Kind::DaemonSet, &settings.namespace, name);
            observed.objects.contains_key(&id)
        };
        let found = Self {
            nodes: labelled.map(|node| node.name.as_str()).collect(),
            daemon_sets: names::DAEMON_SET_MODE_DAEMON_SETS.into_iter().filter(exists).collect(),
        };
        (!found.nodes.is_empty() || !found.daemon_sets.is_empty()).then_some(found)
    }
}
