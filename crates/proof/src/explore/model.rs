//! Who may do what next: all that can happen in a world.

use std::collections::HashMap;
use std::sync::Arc;

use osc_engine::{Kind, Observed, Plan, Settings, Step, uninstall};

use super::cluster::{Cluster, Group, NODES, PlanId, Pods, Rendered, SLOTS, Versions, World};
use super::mco::{self, Change, Effect};
use super::observe::{node_name, observe, our_pool, settings};
use super::people::{self, Deed};
use super::properties::{self, Broken};
use super::scope::Scope;
use super::server::{self, Answer};
use super::store::{KATA_NAMES, Store};

/// How decisions are made: `osc_engine::decide`, or a spoilt one that the search has to find out.
pub type Decide = dyn Fn(&Observed, &Settings) -> Plan;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Somebody does something.
    People(Deed),
    /// The Machine Config Operator goes on.
    Mco(Change),
    /// The garbage collector deletes the object in that slot.
    Collect(usize),
    /// A watch brings the operator what it shows by now.
    Observe(Group),
    /// The operator looks and decides.
    Decide,
    /// The operator does the next step of its plan.
    Write,
    /// The same, and the answer does not arrive: the pass ends there.
    WriteUnheard,
    /// The next step of its plan fails, and nothing is written.
    WriteFails,
    /// The operator dies and is started anew.
    Crash,
}

impl Action {
    /// Whether it happens by itself sooner or later: no person and no mishap is needed.
    pub fn is_fair(self) -> bool {
        matches!(self, Self::Mco(_) | Self::Collect(_) | Self::Observe(_) | Self::Decide | Self::Write)
    }
}

/// What can happen next, and what comes of it.
pub struct Successor {
    /// What happens.
    pub action: Action,
    /// The world afterwards.
    pub world: World,
    /// A property that it breaks.
    pub broken: Option<Broken>,
}

/// A world with its rules.
pub struct Model {
    /// What may happen.
    pub scope: Scope,
    /// Everything that was met so far.
    pub store: Store,
    settings: Settings,
    decide: Box<Decide>,
    decided: HashMap<Cluster, Decided>,
}

#[derive(Clone, Copy)]
struct Decided {
    plan: PlanId,
    pods_needed: bool,
}

impl Model {
    /// The rules of a world.
    pub fn new(scope: Scope, decide: Box<Decide>) -> Self {
        assert!(scope.nodes <= NODES, "at most {NODES} nodes");
        let settings = settings();
        Self { scope, store: Store::default(), settings, decide, decided: HashMap::new() }
    }

    /// The world at its beginning.
    pub fn initial(&mut self) -> World {
        let mut world = World::default();
        world.cluster.pods = Pods::None;
        if self.scope.compact {
            world.cluster.pools.exists = true;
            world.cluster.pools.target = Some(Rendered::BASE);
        }
        self.look_anew(&mut world);
        if self.scope.installed {
            world.edits = 1;
            let deed = self.act(&world, Deed::Create(0, 0), false);
            world = self.complete(deed.world);
            world.reboots = [0; NODES];
        }
        (world.edits, world.starts) = (self.scope.edits, self.scope.starts);
        world
    }

    /// Lets operator and Machine Config Operator go on, in some order, until there is nothing to do.
    pub fn complete(&mut self, mut world: World) -> World {
        for _ in 0..10_000 {
            let next = self.successors(&world).into_iter().find(|next| next.action.is_fair());
            let Some(next) = next else { return world };
            world = next.world;
        }
        panic!("there is no end to it");
    }

    /// All that can happen next.
    pub fn successors(&mut self, world: &World) -> Vec<Successor> {
        let mut successors = Vec::new();
        for change in mco::changes(&self.scope, &mut self.store, world) {
            successors.push(self.mco(world, change));
        }
        for slot in server::orphans(&self.store, world) {
            let mut next = *world;
            server::delete(&mut self.store, &mut next, slot);
            successors.push(self.done(world, Action::Collect(slot), next));
        }
        for group in self.scope.lags.clone() {
            let next = self.observed(world, group);
            if next != *world {
                successors.push(Successor { action: Action::Observe(group), world: next, broken: None });
            }
        }
        successors.extend(self.operator(world));
        let resting = successors.is_empty() && self.is_as_wished(world);
        successors.extend(self.mishaps(world));
        for deed in people::deeds(&self.scope, &mut self.store, world) {
            successors.push(self.act(world, deed, resting));
        }
        successors
    }

    /// What the operator does by itself.
    fn operator(&mut self, world: &World) -> Option<Successor> {
        if world.plan != 0 {
            return Some(self.write(world, Action::Write));
        }
        let view = self.view(world);
        let decided = self.decide(&view);
        if decided.plan == 0 {
            return None;
        }
        let mut next = *world;
        next.plan = decided.plan;
        let current = if self.scope.lags(Group::KataConfigs) {
            world.view_current
        } else {
            (0..world.cluster.katas.len())
                .fold(world.view_current, |all, index| all.with(Versions::kata(index)))
        };
        let current = if self.scope.lags(Group::Workload) {
            current
        } else {
            (0..SLOTS).fold(current, |all, slot| all.with(Versions::slot(slot)))
        };
        next.plan_current = current.both(self.store.rest(next.plan).locks);
        Some(Successor { action: Action::Decide, world: next, broken: None })
    }

    fn mishaps(&mut self, world: &World) -> Vec<Successor> {
        let mut mishaps = Vec::new();
        if self.scope.answers_lost && world.plan != 0 {
            mishaps.push(self.write(world, Action::WriteUnheard));
            let next = World { plan: 0, plan_current: Versions::default(), ..*world };
            mishaps.push(Successor { action: Action::WriteFails, world: next, broken: None });
        }
        if self.scope.crashes {
            let mut next = World { plan: 0, plan_current: Versions::default(), ..*world };
            self.look_anew(&mut next);
            mishaps.push(Successor { action: Action::Crash, world: next, broken: None });
        }
        mishaps
    }

    /// What the operator sees: what its caches hold, and the cluster itself where they do not lag behind.
    fn view(&self, world: &World) -> Cluster {
        let mut view = world.cluster;
        for group in &self.scope.lags {
            self.copy(&world.view, &mut view, *group);
        }
        view
    }

    fn copy(&self, from: &Cluster, into: &mut Cluster, group: Group) {
        match group {
            Group::KataConfigs => into.katas = from.katas,
            Group::Nodes => into.nodes = from.nodes,
            Group::Pods => into.pods = from.pods,
            Group::Pools | Group::Workload => {
                for (slot, _) in self.store.slots() {
                    if server::group(&self.store, slot) == group {
                        into.objects[slot] = from.objects[slot];
                    }
                }
                if group == Group::Pools {
                    into.pools = from.pools;
                }
            }
        }
    }

    fn observed(&mut self, world: &World, group: Group) -> World {
        let mut next = *world;
        if group == Group::Pods {
            // They are watched only while something that they block is being removed.
            let view = self.view(world);
            next.view.pods = if self.decide(&view).pods_needed { world.cluster.pods } else { Pods::Unknown };
            return next;
        }
        self.copy(&world.cluster, &mut next.view, group);
        for (index, kata) in world.cluster.katas.iter().enumerate() {
            if group == Group::KataConfigs && kata.is_some() {
                next.view_current = next.view_current.with(Versions::kata(index));
            }
        }
        for (slot, id) in self.store.slots() {
            if group == Group::Workload && id.kind == Kind::RuntimeClass && world.cluster.objects[slot] != 0 {
                next.view_current = next.view_current.with(Versions::slot(slot));
            }
        }
        next
    }

    /// All caches are filled from nothing.
    fn look_anew(&mut self, world: &mut World) {
        world.view = Cluster::default();
        world.view_current = Versions::default();
        for group in self.scope.lags.clone() {
            if group != Group::Pods {
                *world = self.observed(world, group);
            }
        }
    }

    fn decide(&mut self, view: &Cluster) -> Decided {
        if let Some(decided) = self.decided.get(view) {
            return *decided;
        }
        let observed = observe(&self.scope, &self.store, view);
        let plan = (self.decide)(&observed, &self.settings);
        // The KataConfig that the plan is about is the first that is not let go.
        let removing = people::effective(&self.store, &World { cluster: *view, ..World::default() })
            .is_some_and(|kata| kata.deleting);
        let plan = self.store.put_plan(plan.steps, removing);
        let decided = Decided { plan, pods_needed: uninstall::pods_needed(&observed) };
        self.decided.insert(*view, decided);
        decided
    }

    fn write(&mut self, world: &World, action: Action) -> Successor {
        let (rest, step) = (self.store.rest(world.plan), self.store.step(world.plan));
        let broken = properties::of_write(&self.scope, &mut self.store, world, rest, &step);
        let mut next = *world;
        let answer = server::write(&mut self.store, &mut next, &step);
        next.plan = match answer {
            Answer::Done(told) => {
                // Where the answer is lost, the shell reads the object before it decides again.
                server::hear(&self.scope, &self.store, &mut next, told);
                if action == Action::Write { rest.then } else { 0 }
            }
            Answer::Refused => 0,
        };
        next.plan_current = next.plan_current.both(self.store.rest(next.plan).locks);
        let mut successor = self.done(world, action, next);
        successor.broken = broken.or(successor.broken);
        successor
    }

    fn mco(&mut self, world: &World, change: Change) -> Successor {
        let mut next = *world;
        let effect = mco::make(&self.scope, &mut self.store, &mut next, change);
        let mut broken = None;
        if let Effect::Reboot(index) = effect {
            broken = properties::of_reboot(&mut next, index);
        }
        let mut successor = self.done(world, Action::Mco(change), next);
        successor.broken = broken.or(successor.broken);
        successor
    }

    /// Somebody does something. Where everything was as wished and at rest, the account of reboots begins anew.
    fn act(&mut self, world: &World, deed: Deed, resting: bool) -> Successor {
        let mut next = *world;
        if resting {
            next.reboots = [0; NODES];
        }
        people::act(&mut next, deed);
        self.done(world, Action::People(deed), next)
    }

    fn done(&mut self, before: &World, action: Action, mut world: World) -> Successor {
        mco::conditions(&self.scope, &mut world);
        let wanted = people::wanted(&self.scope, &self.store, before);
        properties::grant(&self.scope, &mut self.store, &wanted, &mut world);
        let broken = properties::of_world(&self.scope, &mut self.store, &world);
        Successor { action, world, broken }
    }

    /// What breaks where nothing happens by itself any more.
    pub fn of_rest(&mut self, world: &World) -> Option<Broken> {
        properties::of_rest(&self.scope, &mut self.store, world)
    }

    /// Whether everything is as it should be and the operator, seeing it as it is, would write all the same.
    pub fn writes_at_rest(&mut self, world: &World) -> bool {
        mco::changes(&self.scope, &mut self.store, world).is_empty()
            && properties::as_wished(&self.scope, &mut self.store, world).is_ok()
            && self.decide(&world.cluster).plan != 0
    }

    /// Whether everything is as people want it.
    pub fn is_as_wished(&mut self, world: &World) -> bool {
        properties::as_wished(&self.scope, &mut self.store, world).is_ok()
    }

    /// What happens, in words.
    pub fn words(&self, world: &World, action: Action) -> String {
        match action {
            Action::People(deed) => format!("person    {}", self.deed(deed)),
            Action::Mco(change) => format!("mco       {}", self.change(world, change)),
            Action::Collect(slot) => {
                let id = self.store.slots().nth(slot).map(|(_, id)| id.to_string());
                format!("garbage   {} is deleted: its owner is gone", id.unwrap_or_default())
            }
            Action::Observe(group) => format!("watch     brings {}", group.words()),
            Action::Decide => "operator  decides".to_owned(),
            Action::Write => format!("operator  {}", step_words(&self.store.step(world.plan))),
            Action::WriteUnheard => {
                format!("operator  {}; the answer is lost", step_words(&self.store.step(world.plan)))
            }
            Action::WriteFails => format!("operator  fails to {}", step_words(&self.store.step(world.plan))),
            Action::Crash => "operator  dies and is started anew".to_owned(),
        }
    }

    fn deed(&self, deed: Deed) -> String {
        let wish = |wish: usize| format!("{:?}", self.scope.wishes[wish]);
        let pool = |ours: bool| if ours { our_pool(&self.scope) } else { "worker" };
        match deed {
            Deed::Create(index, of) => format!("creates {}: {}", KATA_NAMES[index], wish(of)),
            Deed::Change(index, to) => format!("changes {}: {}", KATA_NAMES[index], wish(to)),
            Deed::Delete(index) => format!("deletes {}", KATA_NAMES[index]),
            Deed::Pause(ours) => format!("pauses pool {}", pool(ours)),
            Deed::Resume(ours) => format!("lets pool {} go on", pool(ours)),
            Deed::Start => "starts a pod with Kata".to_owned(),
            Deed::End => "ends the pod".to_owned(),
        }
    }

    fn change(&self, world: &World, change: Change) -> String {
        match change {
            Change::Generate => "generates the machine config of the log level".to_owned(),
            Change::Render => format!("renders pool {}", our_pool(&self.scope)),
            Change::Choose(index) => {
                let (target, _) = mco::pool_of(&self.scope, world, index);
                let target = target.map(|target| super::observe::rendered_name(&self.scope, target));
                format!("chooses {} for {}", node_name(index), target.unwrap_or_default())
            }
            Change::Daemon(index) => {
                let node = &world.cluster.nodes[index];
                format!(
                    "{} goes on from {:?}, {:?} -> {:?}",
                    node_name(index),
                    node.phase,
                    node.current,
                    node.desired
                )
            }
        }
    }
}

fn step_words(step: &Arc<Step>) -> String {
    match step.as_ref() {
        Step::Apply { id, .. } | Step::CopySecret { id, .. } => format!("apply {id}"),
        Step::Create { id, .. } => format!("create {id}"),
        Step::Replace { id, path, .. } => format!("replace {path} of {id}"),
        Step::Merge { id, .. } => format!("change {id}"),
        Step::Advertise { node, limit } => format!("advertise {limit:?} on {node}"),
        Step::Delete { id } => format!("delete {id}"),
        Step::LabelNode { node, key, value } => {
            format!("{} {node} {key}", if value.is_some() { "label" } else { "unlabel" })
        }
        Step::SetFinalizers { id, finalizers, .. } => format!("set the finalizers of {id} to {finalizers:?}"),
        Step::PatchStatus { name, status } => {
            let said = status
                .conditions
                .iter()
                .map(|found| format!("{}={} {}", found.type_, found.status, found.reason));
            format!("write the status of {name}: {}", said.collect::<Vec<_>>().join(", "))
        }
        Step::Emit(event) => format!("emit {}", event.reason),
    }
}
