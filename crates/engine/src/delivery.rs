//! How Kata came to the nodes. We install an extension by a machine config; what another operator chose is recognised, so
//! that nodes which have Kata are not given it a second time.

use osc_api::names;

use crate::object::{Kind, ObjectId};
use crate::observed::{Observed, Settings};
use crate::trouble::list;

/// Which machine config brings Kata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Ours: an extension of the operating system.
    Extension,
    /// One with an operating system image that has Kata in it. It is honoured and never written.
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

/// What a node agent, run by DaemonSets, left: Kata is on nodes without a machine config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSetMode<'a> {
    /// Nodes that carry the agent's label.
    pub nodes: Vec<&'a str>,
    /// DaemonSets of the agent.
    pub daemon_sets: Vec<&'static str>,
}

impl<'a> DaemonSetMode<'a> {
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

    /// What was found, and what to do while the KataConfig is there to stay.
    pub fn refusal(&self, kata_config: &str) -> String {
        format!(
            "Kata was installed in DaemonSet mode ({}), with which this release cannot go on: nothing is changed. Let the \
             operator that installed it go on, or let it remove Kata (oc delete kataconfig {kata_config}) before this one \
             takes over",
            self.found()
        )
    }

    /// What was found, and what to do when the KataConfig is to go.
    pub fn refusal_to_remove(&self, settings: &Settings) -> String {
        let label = names::DAEMON_SET_MODE_LABEL;
        let mut commands = Vec::new();
        if !self.daemon_sets.is_empty() {
            let daemon_sets = self.daemon_sets.join(" ");
            commands.push(format!("oc delete daemonset -n {} {daemon_sets}", settings.namespace));
        }
        if !self.nodes.is_empty() {
            commands.push(format!("oc label node -l {label} {label}-"));
        }
        format!(
            "Kata was installed in DaemonSet mode ({}), and this release cannot remove it from the nodes: nothing is \
             changed. Let the operator that installed it remove it; or, to leave on the nodes what is there and let this \
             object go: {}",
            self.found(),
            commands.join("; ")
        )
    }

    fn found(&self) -> String {
        let mut found = Vec::new();
        if !self.nodes.is_empty() {
            let nodes = list(self.nodes.iter().copied());
            found.push(format!("label {} on {nodes}", names::DAEMON_SET_MODE_LABEL));
        }
        if !self.daemon_sets.is_empty() {
            found.push(format!("DaemonSet {}", self.daemon_sets.join(", ")));
        }
        found.join("; ")
    }
}
