//! What is told about a KataConfig: its conditions, and the events that go with their changes.
//!
//! `InProgress` has the documented vocabulary, word for word. `Ready` says in a sentence how far things are.
//! `Degraded` says what keeps them from going on, and what a person can do about it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use osc_api::kataconfig::StatusCondition;
use osc_api::{DeploymentMode, KataConfigStatus, KataNodesStatus, names};

use crate::object::{Kind, ObjectId};
use crate::observed::KataConfigView;
use crate::peerpods::ImageNews;
use crate::plan::{Event, EventKind, Step};
use crate::trouble::Trouble;

/// Condition type with the documented vocabulary.
pub const IN_PROGRESS: &str = "InProgress";
/// Condition type: Kata can be used on all nodes that are to have it.
pub const READY: &str = "Ready";
/// Condition type: somebody should look.
pub const DEGRADED: &str = "Degraded";

/// Status, reason and message of the condition `InProgress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InProgress {
    /// Nothing is going on.
    Idle,
    /// The first installation.
    Installing,
    /// Nodes enter, leave or change.
    Updating,
    /// Kata is being removed.
    Uninstalling,
    /// A node cannot go on.
    Failed {
        /// Its name.
        node: String,
        /// What the Machine Config Operator, or the node agent, says about it.
        reason: String,
    },
    /// Pods stand in the way of removal.
    BlockedByPods {
        /// A runtime class that they use.
        class: String,
    },
    /// It is not known whether pods stand in the way of removal.
    PodsUnreadable(String),
    /// The image of pod VMs is made or deleted.
    PodVmImage(ImageNews),
    /// What is asked for cannot be done as it stands.
    Refused {
        /// One CamelCase word.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

impl InProgress {
    fn parts(&self) -> (&'static str, &'static str, String) {
        let class = names::KATA_RUNTIME_CLASS;
        match self {
            Self::Idle => ("False", "", String::new()),
            Self::Installing => {
                ("True", "Installing", format!("Performing initial installation of {class} on cluster"))
            }
            Self::Updating => ("True", "Updating", "Adding and/or removing kata-enabled nodes".to_owned()),
            Self::Uninstalling => ("True", "Uninstalling", format!("Removing {class} from cluster")),
            Self::Failed { node, reason } => ("True", "Failed", format!("Node {node} Degraded: {reason}")),
            Self::BlockedByPods { class } => (
                "False",
                "BlockedByExistingKataPods",
                format!(
                    "Existing pods using \"{class}\" RuntimeClass found. Please delete the pods manually for \
                     KataConfig deletion to proceed"
                ),
            ),
            Self::PodsUnreadable(error) => {
                ("False", "BlockedByExistingKataPods", format!("Failed to list kata pods: {error}"))
            }
            Self::PodVmImage(news) => {
                let (status, reason, message) = news.condition.parts();
                (status, reason, message.to_owned())
            }
            Self::Refused { reason, message } => ("False", reason, message.clone()),
        }
    }
}

/// Everything that is to be told after one look at the cluster.
#[derive(Clone, Debug)]
pub struct Report {
    /// Condition `InProgress`.
    pub in_progress: InProgress,
    /// Condition `Ready`: whether, why, and how far in a sentence.
    pub ready: Ready,
    /// Condition `Degraded`, if there are any.
    pub troubles: Vec<Trouble>,
    /// Node lists and counts.
    pub kata_nodes: KataNodesStatus,
    /// Runtime classes that exist.
    pub runtime_classes: Vec<String>,
    /// The Machine Config Operator has not noticed a change yet.
    pub waiting_for_mco_to_start: bool,
    /// How Kata comes to the nodes, once that is chosen.
    pub deployment_mode: Option<DeploymentMode>,
}

/// Condition `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whether Kata can be used on all nodes that are to have it.
    pub status: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// How far it is, in a sentence.
    pub message: String,
}

impl Ready {
    /// Not ready, for this reason.
    pub fn not(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: message.into() }
    }
}

impl Report {
    /// A report that only says that nothing will be done, and why; what was told about nodes stays.
    pub fn refusal(kata_config: &KataConfigView, reason: &'static str, message: String) -> Self {
        let previous = &kata_config.status;
        Self {
            in_progress: InProgress::Refused { reason, message: message.clone() },
            ready: Ready::not(reason, message.clone()),
            troubles: vec![Trouble { reason, message }],
            kata_nodes: previous.kata_nodes.clone(),
            runtime_classes: previous.runtime_classes.clone(),
            waiting_for_mco_to_start: false,
            deployment_mode: previous.deployment_mode,
        }
    }

    /// The status, with transition times kept where a condition says what it said before.
    pub fn compose(&self, previous: &KataConfigStatus, now: Timestamp) -> KataConfigStatus {
        let (status, reason, message) = self.in_progress.parts();
        let in_progress = (IN_PROGRESS, status, reason.to_owned(), message);
        let ready = &self.ready;
        let ready = (READY, truth(ready.status), ready.reason.to_owned(), ready.message.clone());
        let degraded = match self.troubles.first() {
            None => (DEGRADED, "False", "AsExpected".to_owned(), String::new()),
            Some(first) => (DEGRADED, "True", first.reason.to_owned(), Trouble::sentence(&self.troubles)),
        };
        KataConfigStatus {
            runtime_classes: self.runtime_classes.clone(),
            kata_nodes: self.kata_nodes.clone(),
            conditions: [in_progress, ready, degraded]
                .into_iter()
                .map(|(type_, status, reason, message)| {
                    condition(previous, now, type_, status, reason, message)
                })
                .collect(),
            waiting_for_mco_to_start: self.waiting_for_mco_to_start,
            deployment_mode: self.deployment_mode,
        }
    }

    /// The steps that tell it: the status, then events for what changed in it; none if nothing changed.
    pub fn steps(&self, kata_config: &KataConfigView, now: Timestamp) -> Vec<Step> {
        let status = self.compose(&kata_config.status, now);
        if status == kata_config.status {
            return Vec::new();
        }
        // The status first: as long as it cannot be written, nothing is told over and over.
        let events = events(kata_config, &status).into_iter().chain(self.image_event(kata_config, &status));
        let events = events.map(Step::Emit);
        let status = Step::PatchStatus { name: kata_config.name.clone(), status };
        std::iter::once(status).chain(events).collect()
    }
}

impl Report {
    /// What is told about the job of an image, when it begins and when it ends.
    fn image_event(&self, kata_config: &KataConfigView, next: &KataConfigStatus) -> Option<Event> {
        let InProgress::PodVmImage(news) = &self.in_progress else { return None };
        let words = |status: &KataConfigStatus| {
            status.condition(IN_PROGRESS).map(|found| (found.reason.clone(), found.message.clone()))
        };
        if words(&kata_config.status) == words(next) { None } else { news.event() }
    }
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn condition(
    previous: &KataConfigStatus,
    now: Timestamp,
    type_: &str,
    status: &str,
    reason: String,
    message: String,
) -> StatusCondition {
    let same = previous
        .condition(type_)
        .filter(|before| before.status == status && before.reason == reason && before.message == message);
    // Status times have whole seconds on the wire.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    StatusCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: same.map_or_else(|| Time(now), |before| before.last_transition_time.clone()),
        reason,
        message,
    }
}

/// Events for the transitions that a person cares about.
fn events(kata_config: &KataConfigView, next: &KataConfigStatus) -> Vec<Event> {
    let changed = |type_: &str, ignore_message: bool| {
        let after = next.condition(type_)?;
        let same = kata_config.status.condition(type_).is_some_and(|before| {
            before.status == after.status
                && before.reason == after.reason
                && (ignore_message || before.message == after.message)
        });
        (!same).then_some(after)
    };
    let event = |kind, reason: &str, message: &str| Event {
        about: ObjectId::cluster(Kind::KataConfig, &kata_config.name),
        uid: kata_config.uid.clone(),
        kind,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let mut events = Vec::new();
    if let Some(condition) = changed(IN_PROGRESS, false) {
        match condition.reason.as_str() {
            "" => {}
            "Installing"
            | "Updating"
            | "Uninstalling"
            | "PodVMImageJobRunning"
            | "PodVMImageJobCompleted" => {
                events.push(event(EventKind::Normal, &condition.reason, &condition.message));
            }
            _ => events.push(event(EventKind::Warning, &condition.reason, &condition.message)),
        }
    }
    if let Some(condition) = changed(DEGRADED, false)
        && condition.status == "True"
        && !events.iter().any(|told| told.message == condition.message)
    {
        events.push(event(EventKind::Warning, &condition.reason, &condition.message));
    }
    // How far things are changes with every node; only arrival is news.
    if let Some(condition) = changed(READY, true)
        && condition.status == "True"
    {
        events.push(event(EventKind::Normal, &condition.reason, &condition.message));
    }
    events
}
