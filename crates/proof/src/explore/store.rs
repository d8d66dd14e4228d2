//! What is too large to be part of a state, each thing once: objects, statuses, finalizers, steps.

use std::collections::HashMap;
use std::sync::Arc;

use osc_api::{KataConfigStatus, names};
use osc_engine::{Kind, ObjectId, Step};
use serde_json::{Value, json};

use super::cluster::{Body, KATA_CONFIGS, PlanId, SLOTS, Versions};

/// The version that every object is read with. Whether it is still the current one is kept in [`Versions`].
pub const READ: &str = "read";

/// Names of the KataConfigs.
pub const KATA_NAMES: [&str; KATA_CONFIGS] = ["example-kataconfig", "another-kataconfig"];

/// The identity of a KataConfig.
pub fn uid(incarnation: u8) -> String {
    format!("uid-{incarnation}")
}

/// Steps that are yet to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rest {
    /// Index of the next one.
    pub step: u16,
    /// Those after it.
    pub then: PlanId,
    /// Whether they belong to a removal.
    pub removing: bool,
    /// Objects whose versions matter to them.
    pub locks: Versions,
}

/// Everything that was met so far, by index.
#[derive(Debug)]
pub struct Store {
    slots: Vec<ObjectId>,
    bodies: Interned<Value>,
    statuses: Interned<KataConfigStatus>,
    finalizers: Interned<Vec<String>>,
    steps: Interned<Step>,
    rests: Vec<Rest>,
    rest_ids: HashMap<Rest, PlanId>,
}

/// Values by index, and the other way round.
#[derive(Debug)]
struct Interned<T> {
    values: Vec<Arc<T>>,
    ids: HashMap<String, usize>,
}

impl<T: serde::Serialize> Interned<T> {
    fn new(first: T) -> Self {
        let mut interned = Self { values: Vec::new(), ids: HashMap::new() };
        interned.id(first);
        interned
    }

    fn id(&mut self, value: T) -> usize {
        let key = serde_json::to_string(&value).unwrap();
        *self.ids.entry(key).or_insert_with(|| {
            self.values.push(Arc::new(value));
            self.values.len() - 1
        })
    }
}

impl Default for Store {
    fn default() -> Self {
        let nothing = Rest { step: 0, then: 0, removing: false, locks: Versions::default() };
        Self {
            slots: Vec::new(),
            bodies: Interned::new(Value::Null),
            statuses: Interned::new(KataConfigStatus::default()),
            finalizers: Interned::new(Vec::new()),
            steps: Interned::new(Step::Delete { id: ObjectId::cluster(Kind::Node, "") }),
            rests: vec![nothing],
            rest_ids: HashMap::new(),
        }
    }
}

impl Store {
    /// The place of an object.
    pub fn slot(&mut self, id: &ObjectId) -> usize {
        if let Some(slot) = self.slots.iter().position(|known| known == id) {
            return slot;
        }
        assert!(self.slots.len() < SLOTS, "the world has no room for {id}: raise SLOTS");
        self.slots.push(id.clone());
        self.slots.len() - 1
    }

    /// The objects that have a place, with it.
    pub fn slots(&self) -> impl Iterator<Item = (usize, &ObjectId)> {
        self.slots.iter().enumerate()
    }

    /// What an object is.
    pub fn body(&self, body: Body) -> &Arc<Value> {
        &self.bodies.values[usize::from(body)]
    }

    /// The index of an object.
    pub fn put(&mut self, mut object: Value) -> Body {
        if !object.is_null() {
            object["metadata"]["resourceVersion"] = json!(READ);
        }
        Body::try_from(self.bodies.id(object)).expect("fewer than 256 different objects")
    }

    /// A status.
    pub fn status(&self, status: u16) -> &KataConfigStatus {
        &self.statuses.values[usize::from(status)]
    }

    /// The index of a status.
    pub fn put_status(&mut self, status: &KataConfigStatus) -> u16 {
        u16::try_from(self.statuses.id(status.clone())).expect("fewer than 65,536 different statuses")
    }

    /// A list of finalizers.
    pub fn finalizers(&self, finalizers: u8) -> &Vec<String> {
        &self.finalizers.values[usize::from(finalizers)]
    }

    /// The index of a list of finalizers.
    pub fn put_finalizers(&mut self, finalizers: &[String]) -> u8 {
        u8::try_from(self.finalizers.id(finalizers.to_vec())).expect("fewer than 256 lists of finalizers")
    }

    /// Whether a list of finalizers has the operator's.
    pub fn holds_kata_config(&self, finalizers: u8) -> bool {
        self.finalizers(finalizers).iter().any(|finalizer| finalizer == names::KATACONFIG_FINALIZER)
    }

    /// What is yet to be done.
    pub fn rest(&self, plan: PlanId) -> Rest {
        self.rests[usize::try_from(plan).unwrap()]
    }

    /// The next step.
    pub fn step(&self, plan: PlanId) -> Arc<Step> {
        self.steps.values[usize::from(self.rest(plan).step)].clone()
    }

    /// The index of a plan. Events change nothing and are left out.
    pub fn put_plan(&mut self, steps: Vec<Step>, removing: bool) -> PlanId {
        let mut then = 0;
        for step in steps.into_iter().rev().filter(|step| !matches!(step, Step::Emit(_))) {
            let lock = self.lock(&step);
            let locks = self.rest(then).locks.with(lock);
            let step = u16::try_from(self.steps.id(step)).expect("fewer than 65,536 different steps");
            let rest = Rest { step, then, removing, locks };
            then = *self.rest_ids.entry(rest).or_insert_with(|| {
                self.rests.push(rest);
                PlanId::try_from(self.rests.len() - 1).unwrap()
            });
        }
        then
    }

    /// The version that a step depends on.
    fn lock(&mut self, step: &Step) -> Versions {
        match step {
            Step::SetFinalizers { id, .. } if id.kind == Kind::KataConfig => {
                Versions::kata(kata_index(&id.name))
            }
            Step::SetFinalizers { id, .. } => Versions::slot(self.slot(id)),
            _ => Versions::default(),
        }
    }
}

/// The place of a KataConfig.
pub fn kata_index(name: &str) -> usize {
    let found = KATA_NAMES.iter().position(|known| *known == name);
    found.unwrap_or_else(|| panic!("the world has no KataConfig {name:?}"))
}

/// Merges what is applied into what exists, as server-side apply does for the kinds that the engine writes.
pub fn merge(into: &mut Value, applied: &Value) {
    match (into, applied) {
        (Value::Object(into), Value::Object(applied)) => {
            for (key, value) in applied {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, applied) => *into = applied.clone(),
    }
}
