//! What pods need, and what watches them: runtime classes, kata-monitor, the dashboard. The same however Kata came to the
//! nodes. Created at the end of the first installation, mended ever after.

use jiff::Timestamp;
use osc_api::names;

use crate::agent::AgentConfig;
use crate::catalog::ClassSpec;
use crate::desired::{self, Desired, MonitorHost};
use crate::gates::FeatureGates;
use crate::layout::Layout;
use crate::nodes::{NodeState, Survey};
use crate::object::{Kind, ObjectId, holds};
use crate::observed::{KataConfigView, NodeView, Observed, Pods, Settings};
use crate::offer::{Demand, Offer};
use crate::peerpods::{self, ImageNews};
use crate::plan::Step;
use crate::runtime_class::{self, Class, is_ours};
use crate::spec::ValidSpec;
use crate::status::{InProgress, Ready};
use crate::trouble::{Trouble, list};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The cluster.
    pub observed: &'a Observed,
    /// Settings of the operator.
    pub settings: &'a Settings,
    /// Whose it is.
    pub kata_config: &'a KataConfigView,
    /// What is asked for.
    pub spec: &'a ValidSpec,
    /// The feature gates.
    pub gates: &'a FeatureGates,
    /// Which label the nodes have.
    pub layout: Layout,
    /// How far the nodes are.
    pub survey: &'a Survey<'a>,
    /// Whether no node is being changed or about to be.
    pub calm: bool,
}

/// What is to be done about it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// To be done.
    pub steps: Vec<Step>,
    /// Runtime classes that are there when it is done, and that come again if they go.
    pub lasting: Vec<&'static str>,
    /// What a person should know.
    pub troubles: Vec<Trouble>,
    /// When to look again if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// How far peer pods are.
    pub peer_pods: PeerPods,
    /// To be done when everything else is: what is refused there keeps nothing of Kata itself from coming.
    pub last: Vec<Step>,
}

/// How far peer pods are.
#[derive(Clone, Debug, Default)]
pub struct PeerPods {
    /// What is told about their image.
    pub image: Option<ImageNews>,
    /// What is still missing, if they are asked for, or still there, if they are not; a phrase.
    pub waiting: Option<String>,
}

impl PeerPods {
    /// What is going on: the nodes first, then the image.
    pub(crate) fn in_progress(&self, nodes: InProgress) -> InProgress {
        match (nodes, &self.image) {
            (InProgress::Idle, Some(image)) => InProgress::PodVmImage(image.clone()),
            (nodes, _) => nodes,
        }
    }

    /// Whether everything that was asked for can be used.
    pub(crate) fn ready(&self, spec: &ValidSpec, nodes: Ready) -> Ready {
        match &self.waiting {
            Some(what) if nodes.status => {
                let so_far =
                    if spec.peer_pods { "peer pods cannot be used yet" } else { "peer pods are removed" };
                Ready::not("PeerPods", format!("{}; {so_far}: {what}", nodes.message))
            }
            _ => nodes,
        }
    }
}

/// Applies an object unless what we say about it holds already.
pub fn ensure(observed: &Observed, (id, object): Desired) -> Option<Step> {
    let differs = observed.objects.get(&id).is_none_or(|found| !holds(&object, found));
    differs.then_some(Step::Apply { id, object })
}

/// What is told about a class that somebody else made for something else.
pub fn collision(observed: &Observed, wanted: &ClassSpec) -> Option<Trouble> {
    let class = observed.cluster_object(Kind::RuntimeClass, wanted.name)?;
    let handler = &class["handler"];
    // One that the operator before us made may have another handler, for another runtime, and works.
    (!is_ours(class) && *handler != wanted.handler).then(|| Trouble {
        reason: "RuntimeClassCollision",
        message: format!(
            "RuntimeClass {} has handler {handler}, not {:?}: somebody else made it; delete or rename it, then it is created \
             anew",
            wanted.name, wanted.handler,
        ),
    })
}

impl Workload<'_> {
    /// Everything. `monitor` is where kata-monitor finds the container runtime.
    pub fn plan(&self) -> Outcome {
        let mut outcome = Outcome::default();
        if self.observed.capabilities.scc {
            outcome.steps.extend(ensure(self.observed, desired::scc(self.kata_config, self.settings)));
        }
        // First, since any other write would outdate the version that finalizers are set for.
        outcome.steps.extend(runtime_class::guards(self.observed));
        self.peer_pods(&mut outcome);
        self.classes(&mut outcome);
        if let Some(image) = &self.settings.monitor_image {
            let host = self.monitor_host();
            let monitor = desired::monitor(self.kata_config, self.settings, self.layout, &host, image);
            outcome.steps.extend(ensure(self.observed, monitor));
        }
        if self.observed.capabilities.openshift
            && let Some(dashboard) = desired::dashboard(self.observed, self.settings)
        {
            outcome.steps.extend(ensure(self.observed, dashboard));
        }
        outcome
    }

    /// Peer pods: before the class by which pods ask for them.
    fn peer_pods(&self, outcome: &mut Outcome) {
        let progress = if self.spec.peer_pods {
            peerpods::install::plan(&peerpods::install::Request {
                observed: self.observed,
                settings: self.settings,
                kata_config: self.kata_config,
                gates: self.gates,
                node_label: self.layout.node_label(),
                calm: self.calm,
            })
        } else {
            peerpods::removal::plan(self.observed, self.settings, self.kata_config, self.gates)
        };
        outcome.last.extend(progress.steps);
        outcome.troubles.extend(progress.troubles);
        outcome.wake_at = [outcome.wake_at, progress.wake_at].into_iter().flatten().min();
        let news = |condition| ImageNews::of(condition, self.observed, self.settings);
        outcome.peer_pods = PeerPods { image: progress.image.map(news), waiting: progress.waiting };
    }

    fn monitor_host(&self) -> MonitorHost {
        if self.observed.capabilities.openshift {
            MonitorHost::openshift()
        } else {
            let config = AgentConfig::of(self.observed, self.settings);
            MonitorHost { socket: config.runtime_endpoint, confined: false }
        }
    }

    /// The runtime classes: those that are wanted come, those that no node can run go.
    pub fn classes(&self, outcome: &mut Outcome) {
        let offer = self.offer(&outcome.peer_pods);
        for wanted in &offer.wanted {
            if self.class(wanted, outcome) {
                outcome.lasting.push(wanted.name);
            }
        }
        for class in runtime_class::ours(self.observed) {
            let known = names::RUNTIME_CLASSES.contains(&class.name);
            let stays = offer.kept.contains(&class.name)
                || offer.wanted.iter().any(|wanted| wanted.name == class.name);
            if known && !stays && !class.is_deleted() {
                outcome.steps.push(Step::Delete { id: class.id() });
            }
        }
        outcome.troubles.extend(offer.troubles);
        outcome.troubles.extend(runtime_class::ours(self.observed).filter_map(|class| self.in_use(class)));
        outcome.wake_at = [outcome.wake_at, offer.wake_at].into_iter().flatten().min();
    }

    fn offer(&self, peer_pods: &PeerPods) -> Offer {
        let members: Vec<&NodeView> = self
            .survey
            .nodes
            .iter()
            .filter(|(_, state)| state.is_of_member())
            .map(|(node, _)| *node)
            .collect();
        Offer::of(&Demand {
            gates: self.gates,
            spec: self.spec,
            peer_pods: self.spec.peer_pods && peer_pods.waiting.is_none(),
            installed: self.survey.in_state(NodeState::Installed).collect(),
            members,
            now: self.observed.now,
            grace: self.settings.label_grace,
        })
    }

    /// Sees to a class that is wanted. True if it is there afterwards, or comes again by itself.
    fn class(&self, wanted: &ClassSpec, outcome: &mut Outcome) -> bool {
        let selector = desired::runtime_class_selector(self.layout, wanted, self.spec.check_node_eligibility);
        let id = ObjectId::cluster(Kind::RuntimeClass, wanted.name);
        let Some(class) = self.observed.cluster_object(Kind::RuntimeClass, wanted.name) else {
            let (id, object) = desired::runtime_class(self.kata_config, wanted, &selector);
            outcome.steps.push(Step::Create { id, object });
            return true;
        };
        if !is_ours(class) {
            let collision = collision(self.observed, wanted);
            let fine = collision.is_none();
            outcome.troubles.extend(collision);
            return fine;
        }
        if crate::object::is_deleted(class) {
            return true;
        }
        if has_other_hardware(class["handler"].as_str().unwrap_or_default(), wanted) {
            // A handler cannot be changed. The finalizer keeps the class until the last pod that uses it is gone.
            outcome.steps.push(Step::Delete { id });
        } else if class["scheduling"]["nodeSelector"] != selector {
            // As a whole: server-side apply would leave a key that somebody added.
            let mut value = class["scheduling"].clone();
            value["nodeSelector"] = selector;
            outcome.steps.push(Step::Replace { id, path: "/scheduling", value });
        }
        true
    }

    /// A class that is to go and that pods still use.
    fn in_use(&self, class: Class<'_>) -> Option<Trouble> {
        let Pods::Known(pods) = &self.observed.pods else { return None };
        let users: Vec<String> = pods
            .iter()
            .filter(|pod| class.is_deleted() && pod.runtime_class == class.name)
            .map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .collect();
        (!users.is_empty()).then(|| Trouble {
            reason: "RuntimeClassInUse",
            message: format!(
                "RuntimeClass {} goes, since no Kata node can run it any more, it was switched off, or its handler changes; \
                 it stays until the pods that use it are gone: {}",
                class.name,
                list(users.iter().map(String::as_str))
            ),
        })
    }
}

/// Whether a class of confidential containers is for other hardware than the cluster has. Other classes keep the handler
/// that they were made with, whoever made them.
fn has_other_hardware(handler: &str, wanted: &ClassSpec) -> bool {
    let confidential = [names::CONFIDENTIAL_RUNTIME_CLASS, names::CONFIDENTIAL_GPU_RUNTIME_CLASS];
    // The same hardware by the runtime that is written in Rust.
    let plain = handler.strip_prefix("rs-").unwrap_or(handler);
    confidential.contains(&wanted.name) && plain != wanted.handler
}
