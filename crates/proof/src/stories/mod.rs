//! What people do with a KataConfig and what befalls them, from beginning to end: each story on the embedded server and
//! on a real control plane, as trials `embedded::<name>` and `real::<name>`.
//!
//! A story that can be told on one server only says why. On real control planes the operator has exactly the rights of
//! `deploy/`, and a story fails if one request of it is refused.

mod admission;
mod agents;
mod certificates;
mod classes;
mod events;
mod faults;
mod golden;
mod kubectl;
mod leader;
mod lifecycle;
mod mending;
mod observability;
mod peer_pods;
mod people;
mod refusals;
mod run;
mod steady;
mod surroundings;
mod taken;

use futures::future::BoxFuture;
use osc_devcluster::sim::topology::Topology;

use crate::bed::{Bed, On};
pub use run::{Telling, harness, tell_all};

/// What there is when a story begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// `deploy/` is applied and the operator runs as it ships.
    Operator,
    /// `deploy/` is applied.
    Installed,
    /// Nodes and pools; nothing of ours.
    Bare,
}

type Tell = dyn for<'a> Fn(&'a mut Bed) -> BoxFuture<'a, ()> + Send + Sync;

/// A story.
pub struct Story {
    /// Its name: a sentence.
    pub name: String,
    /// The cluster on which it is told.
    pub topology: Topology,
    /// What there is when it begins.
    pub beginning: Beginning,
    /// Told on this server only, and why; else on both.
    pub only: Option<(On, &'static str)>,
    /// Whether it takes rights away from the operator, so that refused requests are a part of it.
    pub takes_rights: bool,
    tell: Box<Tell>,
}

impl Story {
    fn new(
        name: impl Into<String>,
        topology: Topology,
        tell: impl for<'a> Fn(&'a mut Bed) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            topology,
            beginning: Beginning::Operator,
            only: None,
            takes_rights: false,
            tell: Box::new(tell),
        }
    }

    fn from(mut self, beginning: Beginning) -> Self {
        self.beginning = beginning;
        self
    }

    fn only(mut self, on: On, why: &'static str) -> Self {
        self.only = Some((on, why));
        self
    }

    fn takes_rights(mut self) -> Self {
        self.takes_rights = true;
        self
    }

    /// Whether it is told on that server.
    pub fn is_told(&self, on: On) -> bool {
        self.only.is_none_or(|(only, _)| only == on)
    }
}

/// A story by its function: `story!(name, topology)`.
macro_rules! story {
    ($tell:ident, $topology:expr) => {
        $crate::stories::Story::new(stringify!($tell), $topology, |bed| Box::pin($tell(bed)))
    };
}
use story;

/// Every story.
pub fn all() -> Vec<Story> {
    let chapters = [
        lifecycle::stories(),
        mending::stories(),
        golden::stories(),
        refusals::stories(),
        admission::stories(),
        certificates::stories(),
        surroundings::stories(),
        agents::stories(),
        peer_pods::stories(),
        classes::stories(),
        events::stories(),
        observability::stories(),
        leader::stories(),
        kubectl::stories(),
        people::stories(),
        taken::stories(),
        faults::stories(),
        steady::stories(),
    ];
    chapters.into_iter().flatten().collect()
}
