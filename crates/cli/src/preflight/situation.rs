//! What all checks look at: the cluster, what is asked for, and which nodes that concerns.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use osc_api::{DeploymentMode, KataConfig, names};
use osc_engine::decide::{self, Precedence};
use osc_engine::delivery;
use osc_engine::gates::FeatureGates;
use osc_engine::layout::{Layout, Membership};
use osc_engine::mode;
use osc_engine::nodes::{NodeState, Survey};
use osc_engine::spec::{self, ValidSpec};
use osc_engine::{KataConfigView, Kind, NodeView, Observed, Settings};

use crate::snapshot::Snapshot;

/// What a person is about to do.
#[derive(Clone, Debug)]
pub enum Intent {
    /// Apply this KataConfig.
    Apply(Box<KataConfig>),
    /// Delete the KataConfig.
    Delete,
}

impl Intent {
    /// What is asked for where nobody gave a KataConfig: the one that is there, else the plainest.
    pub fn of_cluster(snapshot: &Snapshot) -> Self {
        let plainest = || KataConfig {
            metadata: kube::api::ObjectMeta {
                name: Some("example-kataconfig".to_owned()),
                ..Default::default()
            },
            ..KataConfig::default()
        };
        Self::Apply(Box::new(oldest(snapshot).cloned().unwrap_or_else(plainest)))
    }

    /// The KataConfig's name, if there is to be one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Apply(kata_config) => kata_config.metadata.name.as_deref(),
            Self::Delete => None,
        }
    }
}

/// The KataConfig that counts: the first one created.
pub fn oldest(snapshot: &Snapshot) -> Option<&KataConfig> {
    snapshot.kata_configs.iter().min_by_key(|kata_config| Precedence::of_metadata(&kata_config.metadata))
}

/// How Kata came to the nodes, or would come.
fn mode_of(observed: &Observed) -> DeploymentMode {
    let settings = Settings::default();
    let kata_config = decide::oldest(&observed.kata_configs);
    let installed = match kata_config {
        Some(kata_config) => mode::installed(observed, &settings, kata_config),
        None => None,
    };
    installed
        .unwrap_or_else(|| mode::requested(&FeatureGates::of(observed, &settings), observed.capabilities))
}

/// What the checks look at.
pub struct Situation<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The same as the engine sees it.
    pub observed: &'a Observed,
    /// What is asked for.
    pub intent: &'a Intent,
    /// How Kata comes to the nodes.
    pub mode: DeploymentMode,
    /// Regular or converged.
    pub layout: Layout,
    /// The specification, or what is wrong with it; `None` when deleting.
    pub spec: Option<Result<ValidSpec, Vec<String>>>,
    /// Nodes that are to enter and leave the pool of the Kata nodes.
    pub membership: Membership<'a>,
    /// How far the nodes are.
    pub survey: Survey<'a>,
    /// Nodes that will be drained and rebooted, by name.
    pub affected: BTreeSet<&'a str>,
}

impl<'a> Situation<'a> {
    /// Works it out.
    pub fn new(snapshot: &'a Snapshot, observed: &'a Observed, intent: &'a Intent) -> Self {
        let mode = mode_of(observed);
        let layout = Layout::detect(observed);
        let spec = match intent {
            Intent::Apply(kata_config) => Some(spec::validate(&view(kata_config))),
            Intent::Delete => None,
        };
        let survey = Survey::of(observed, layout, matches!(intent, Intent::Delete));
        let valid = spec.as_ref().and_then(|spec| spec.as_ref().ok());
        let membership = match (layout, valid) {
            (Layout::Regular, Some(valid)) => Membership::of(observed, valid),
            _ => Membership { selected: survey.labelled, ..Membership::default() },
        };
        let mut situation = Self {
            snapshot,
            observed,
            intent,
            mode,
            layout,
            spec,
            membership,
            survey,
            affected: BTreeSet::new(),
        };
        situation.affected = situation.find_affected();
        situation
    }

    /// The specification, if it is one that can be done.
    pub fn valid(&self) -> Option<&ValidSpec> {
        self.spec.as_ref().and_then(|spec| spec.as_ref().ok())
    }

    fn find_affected(&self) -> BTreeSet<&'a str> {
        if !self.observed.capabilities.machine_config {
            return BTreeSet::new();
        }
        let unfinished = self
            .survey
            .nodes
            .iter()
            .filter(|(_, state)| *state != NodeState::Installed)
            .map(|(node, _)| *node);
        let mut affected: BTreeSet<&str> = unfinished.map(|node| node.name.as_str()).collect();
        match self.intent {
            Intent::Delete => {
                let kata = self.survey.nodes.iter().map(|(node, _)| node.name.as_str());
                affected.extend(kata);
            }
            Intent::Apply(_) => {
                let Some(valid) = self.valid() else { return BTreeSet::new() };
                affected.extend(self.membership.enter.iter().chain(&self.membership.leave));
                if self.configuration_changes(valid) {
                    affected.extend(self.members().map(|node| node.name.as_str()));
                }
            }
        }
        affected
    }

    /// Nodes of the pool that carries Kata.
    pub fn members(&self) -> impl Iterator<Item = &'a NodeView> {
        let layout = self.layout;
        let member = move |node: &&NodeView| match layout {
            Layout::Regular => node.has_kata_role() && !node.is_master(),
            Layout::Converged => node.is_master(),
        };
        self.observed.nodes.iter().map(AsRef::as_ref).filter(member)
    }

    /// Whether what the pool is rendered from is about to change: all its nodes reboot then.
    fn configuration_changes(&self, valid: &ValidSpec) -> bool {
        let found = self
            .observed
            .cluster_object(Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG)
            .and_then(|found| found["spec"]["containerRuntimeConfig"]["logLevel"].as_str());
        !delivery::exists(self.observed) || found.unwrap_or(names::DEFAULT_LOG_LEVEL) != valid.log_level
    }

    /// The pools that affected nodes get their configuration from, before and after.
    pub fn pools(&self) -> BTreeSet<&'static str> {
        let mut pools = BTreeSet::from([self.layout.pool()]);
        if self.layout == Layout::Regular {
            pools.insert(names::WORKER_POOL);
        }
        pools
    }

    /// The pods on affected nodes that a drain has to move: not those of DaemonSets, static or ended ones.
    pub fn pods_to_move(&self) -> impl Iterator<Item = (&'a Pod, &'a str)> {
        self.snapshot.pods.iter().filter_map(|pod| {
            let node = pod.spec.as_ref()?.node_name.as_deref()?;
            let node = *self.affected.get(node)?;
            must_move(pod).then_some((pod, node))
        })
    }
}

/// Whether a drain has to move this pod.
pub fn must_move(pod: &Pod) -> bool {
    let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let owners =
        || pod.metadata.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true));
    let stays = owners().any(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"));
    let mirror =
        pod.metadata.annotations.iter().flatten().any(|(key, _)| key == "kubernetes.io/config.mirror");
    !stays && !mirror && !matches!(ended, Some("Succeeded" | "Failed"))
}

/// The KataConfig as the engine checks it.
fn view(kata_config: &KataConfig) -> KataConfigView {
    KataConfigView {
        name: kata_config.metadata.name.clone().unwrap_or_default(),
        spec: Ok(kata_config.spec.clone().unwrap_or_default()),
        ..KataConfigView::default()
    }
}

/// `shop/db-0`.
pub fn full_name(metadata: &kube::api::ObjectMeta) -> String {
    let name = metadata.name.clone().unwrap_or_default();
    metadata.namespace.as_ref().map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}
