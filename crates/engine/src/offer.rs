//! Which runtime classes there are to be: from the gates, from `checkNodeEligibility`, and from what the nodes are.
//!
//! A class comes when a node that has Kata can run it, and goes when none can. Labels come from Node Feature Discovery,
//! which may be away for a moment: a class goes only when labels have been quiet for a while.

use jiff::{SignedDuration, Timestamp};
use osc_api::names;

use crate::catalog::{ClassSpec, Tee};
use crate::gates::FeatureGates;
use crate::observed::NodeView;
use crate::spec::ValidSpec;
use crate::trouble::Trouble;

/// Node label with the processor architecture.
pub(crate) const ARCHITECTURE: &str = "kubernetes.io/arch";

/// What the offer follows from.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// The gates.
    pub gates: &'a FeatureGates,
    /// What the KataConfig asks for.
    pub spec: &'a ValidSpec,
    /// Whether everything is there that peer pods need.
    pub peer_pods: bool,
    /// Nodes that have or get Kata.
    pub members: Vec<&'a NodeView>,
    /// Those of them on which it can be used.
    pub installed: Vec<&'a NodeView>,
    /// The time.
    pub now: Timestamp,
    /// How long labels have to be quiet before a class goes.
    pub grace: SignedDuration,
}

/// What is to become of the runtime classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// They are to exist, as said.
    pub wanted: Vec<ClassSpec>,
    /// They stay as they are if they exist, and are not made. All others that are ours go.
    pub kept: Vec<&'static str>,
    /// What a person should know.
    pub troubles: Vec<Trouble>,
    /// When to look again if nothing happens.
    pub wake_at: Option<Timestamp>,
}

impl Offer {
    /// Works it out.
    pub fn of(demand: &Demand<'_>) -> Self {
        let mut offer = Self::default();
        offer.add(demand, ClassSpec::kata());
        if demand.members.is_empty() || !demand.members.iter().all(|node| is_s390x(node)) {
            offer.add(demand, ClassSpec::gpu());
        }
        if demand.peer_pods {
            offer.wanted.push(ClassSpec::remote());
        } else if demand.spec.peer_pods {
            offer.kept.push(names::REMOTE_RUNTIME_CLASS);
        }
        if demand.gates.confidential {
            offer.confidential(demand);
        }
        offer
    }

    fn add(&mut self, demand: &Demand<'_>, class: ClassSpec) {
        if !demand.spec.check_node_eligibility || demand.installed.iter().any(|node| class.fits(node)) {
            self.wanted.push(class);
        } else if demand.members.iter().any(|node| class.fits(node)) || self.labels_settle(demand) {
            self.kept.push(class.name);
        }
    }

    /// Whether labels changed a moment ago. If so, remembers when that will be long enough ago.
    fn labels_settle(&mut self, demand: &Demand<'_>) -> bool {
        let changed = demand.members.iter().map(|node| node.labels_changed_at).max();
        let quiet = changed.and_then(|changed| changed.checked_add(demand.grace).ok());
        let settles = quiet.is_some_and(|quiet| demand.now < quiet);
        if settles {
            self.wake_at = [self.wake_at, quiet].into_iter().flatten().min();
        }
        settles
    }

    fn confidential(&mut self, demand: &Demand<'_>) {
        let both = [names::CONFIDENTIAL_RUNTIME_CLASS, names::CONFIDENTIAL_GPU_RUNTIME_CLASS];
        match tees(&demand.members)[..] {
            [] => {
                if self.labels_settle(demand) {
                    self.kept.extend(both);
                }
                self.troubles.push(no_tee());
            }
            [tee] if demand.installed.iter().any(|node| tee.is_on(node)) => {
                self.add(demand, ClassSpec::confidential(tee));
                if let Some(class) = ClassSpec::confidential_gpu(tee) {
                    self.add(demand, class);
                }
            }
            [_] => self.kept.extend(both),
            ref several => {
                self.kept.extend(both);
                self.troubles.push(several_tees(demand, several));
            }
        }
    }
}

fn tees(nodes: &[&NodeView]) -> Vec<Tee> {
    Tee::ALL.into_iter().filter(|tee| nodes.iter().any(|node| tee.is_on(node))).collect()
}

fn is_s390x(node: &NodeView) -> bool {
    node.labels.get(ARCHITECTURE).is_some_and(|architecture| architecture == "s390x")
}

fn no_tee() -> Trouble {
    let labels: Vec<&str> = Tee::ALL.into_iter().map(Tee::label).collect();
    let message = format!(
        "confidential is true in {}, but no Kata node carries one of the labels {}: there is no runtime class kata-cc. Run \
         Node Feature Discovery with its rule for confidential hardware, label nodes by hand, or set confidential to false",
        names::FEATURE_GATES,
        labels.join(", ")
    );
    Trouble { reason: "TeeNotFound", message }
}

fn several_tees(demand: &Demand<'_>, tees: &[Tee]) -> Trouble {
    let kinds: Vec<String> = tees
        .iter()
        .map(|tee| {
            let nodes = demand.members.iter().filter(|node| tee.is_on(node));
            format!("{} on {}", tee.name(), crate::trouble::list(nodes.map(|node| node.name.as_str())))
        })
        .collect();
    let message = format!(
        "Kata nodes have several kinds of confidential hardware ({}), and a runtime class has one handler: kata-cc is \
         neither made nor changed. Select nodes of one kind by spec.kataConfigPoolSelector, or take the label of the others \
         away",
        kinds.join("; ")
    );
    Trouble { reason: "SeveralTees", message }
}
