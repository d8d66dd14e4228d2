//! Every world that can come about, breadth first, and what is broken in any of them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::cluster::World;
use super::model::Model;
use super::properties::{Broken, Property};

/// A property that is broken, and the shortest way there.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What was seen.
    pub broken: Broken,
    /// What happened, a line each.
    pub trace: Vec<String>,
    /// How many ways there are on which this property breaks.
    pub times: usize,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// How many different worlds there are.
    pub states: usize,
    /// How many different steps lead from one to another.
    pub transitions: usize,
    /// How many steps the farthest world is away.
    pub depth: usize,
    /// How many worlds are at rest.
    pub resting: usize,
    /// Whether all of them were seen.
    pub complete: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// What is broken: the shortest way for each property.
    pub violations: Vec<Violation>,
}

impl Exploration {
    /// Whether that property is broken.
    pub fn breaks(&self, property: Property) -> bool {
        self.violations.iter().any(|violation| violation.broken.property == property)
    }
}

const NOWHERE: u32 = u32::MAX;

/// The worlds met so far.
#[derive(Default)]
struct Search {
    ids: HashMap<World, u32>,
    worlds: Vec<World>,
    parents: Vec<u32>,
    depths: Vec<u16>,
    /// Steps that happen by themselves, from and to.
    fair: Vec<(u32, u32)>,
    /// Worlds at rest.
    resting: usize,
    /// Worlds behind which nothing is to be proven: those at rest, judged as such, and those before a violation.
    ends: Vec<u32>,
    found: BTreeMap<Property, Found>,
}

struct Found {
    broken: Broken,
    /// The last world before it, and the one with it.
    at: u32,
    then: Option<World>,
    times: usize,
}

impl Search {
    fn id(&mut self, world: World, parent: u32) -> u32 {
        let fresh = u32::try_from(self.worlds.len()).expect("fewer than 4 billion worlds");
        let id = *self.ids.entry(world).or_insert(fresh);
        if id == fresh {
            self.worlds.push(world);
            self.parents.push(parent);
            let depth = if parent == NOWHERE { 0 } else { self.depths[parent as usize] + 1 };
            self.depths.push(depth);
        }
        id
    }

    fn found(&mut self, broken: Broken, at: u32, then: Option<World>) {
        let found = self.found.entry(broken.property).or_insert(Found { broken, at, then, times: 0 });
        found.times += 1;
    }

    /// Worlds from which no good end can be reached by what happens by itself.
    fn lost(&self) -> Vec<u32> {
        let count = self.worlds.len();
        let mut starts = vec![0_u32; count + 2];
        for (_, to) in &self.fair {
            starts[*to as usize + 2] += 1;
        }
        for index in 2..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut sources = vec![0_u32; self.fair.len()];
        for (from, to) in &self.fair {
            let place = &mut starts[*to as usize + 1];
            sources[*place as usize] = *from;
            *place += 1;
        }
        let mut saved = vec![false; count];
        let mut queue = self.ends.clone();
        while let Some(world) = queue.pop() {
            if !std::mem::replace(&mut saved[world as usize], true) {
                let (begin, end) = (starts[world as usize] as usize, starts[world as usize + 1] as usize);
                queue.extend(sources[begin..end].iter().filter(|from| !saved[**from as usize]));
            }
        }
        let all = 0..u32::try_from(count).unwrap();
        all.filter(|world| !saved[*world as usize]).collect()
    }
}

/// Explores all worlds, or the first `limit` of them.
pub fn explore(model: &mut Model, limit: usize) -> Exploration {
    let started = Instant::now();
    let mut search = Search::default();
    let mut transitions = 0;
    let initial = model.initial();
    search.id(initial, NOWHERE);
    let mut next = 0;
    while next < search.worlds.len() && search.worlds.len() < limit {
        let (id, world) = (u32::try_from(next).unwrap(), search.worlds[next]);
        next += 1;
        transitions += expand(model, &mut search, id, &world);
    }
    let complete = next == search.worlds.len();
    if complete {
        judge_lost(model, &mut search);
    }
    let violations = std::mem::take(&mut search.found);
    Exploration {
        states: search.worlds.len(),
        transitions,
        depth: search.depths.last().copied().unwrap_or_default().into(),
        resting: search.resting,
        complete,
        elapsed: started.elapsed(),
        violations: violations.into_values().map(|found| tell(model, &search, &found)).collect(),
    }
}

/// Goes one step on from a world; tells how many there are.
fn expand(model: &mut Model, search: &mut Search, id: u32, world: &World) -> usize {
    let mut resting = true;
    let successors = model.successors(world);
    let mut targets = Vec::with_capacity(successors.len());
    for successor in successors {
        resting &= !successor.action.is_fair();
        if let Some(broken) = successor.broken {
            search.found(broken, id, Some(successor.world));
            // What comes after a violation is its consequence.
            search.ends.push(id);
            continue;
        }
        let target = search.id(successor.world, id);
        targets.push(target);
        if successor.action.is_fair() {
            search.fair.push((id, target));
        }
    }
    if resting {
        search.resting += 1;
        search.ends.push(id);
        if let Some(broken) = model.of_rest(world) {
            search.found(broken, id, None);
        }
    } else if world.plan == 0 && model.writes_at_rest(world) {
        let words = "everything is as it should be, and the operator would write".to_owned();
        search.found(Broken { property: Property::RestIsQuiet, words }, id, None);
    }
    targets.sort_unstable();
    targets.dedup();
    targets.len()
}

/// Worlds that go on for ever without coming to rest.
fn judge_lost(model: &mut Model, search: &mut Search) {
    let lost = search.lost();
    let quiet = lost.iter().any(|id| model.is_as_wished(&search.worlds[*id as usize]));
    for id in lost {
        let world = search.worlds[id as usize];
        let deleting = world.cluster.katas.iter().flatten().any(|kata| kata.deleting);
        let property = match (quiet, deleting) {
            (true, _) => Property::RestIsQuiet,
            (false, true) => Property::RemovalIsNeverStuck,
            (false, false) => Property::ReachesTheWish,
        };
        let words = "from here on, nothing that happens by itself comes to rest".to_owned();
        search.found(Broken { property, words }, id, None);
    }
}

/// The shortest way to a violation.
fn tell(model: &mut Model, search: &Search, found: &Found) -> Violation {
    let mut path: Vec<World> = found.then.into_iter().collect();
    let mut at = found.at;
    while at != NOWHERE {
        path.push(search.worlds[at as usize]);
        at = search.parents[at as usize];
    }
    path.reverse();
    let trace = path.windows(2).map(|pair| step(model, &pair[0], &pair[1])).collect();
    Violation { broken: found.broken.clone(), trace, times: found.times }
}

fn step(model: &mut Model, from: &World, to: &World) -> String {
    let taken = model.successors(from).into_iter().find(|successor| successor.world == *to);
    let taken = taken.expect("each world came from the one before it");
    model.words(from, taken.action)
}
