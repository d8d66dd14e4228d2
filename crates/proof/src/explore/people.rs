//! What people do: ask for Kata, change their mind, pause pools, run pods.

use osc_api::names;
use osc_engine::{Kind, ObjectId};

use super::cluster::{Kata, Level, NODES, Pods, Versions, World};
use super::mco::is_member;
use super::scope::{Scope, Selected};
use super::store::Store;

/// One thing that somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Creates a KataConfig with that wish.
    Create(usize, usize),
    /// Changes the wish of a KataConfig.
    Change(usize, usize),
    /// Deletes a KataConfig.
    Delete(usize),
    /// Pauses our pool (true) or `worker` (false).
    Pause(bool),
    /// Lets it go on.
    Resume(bool),
    /// Starts a pod that uses Kata.
    Start,
    /// Ends it.
    End,
}

/// What can be done now.
pub fn deeds(scope: &Scope, store: &mut Store, world: &World) -> Vec<Deed> {
    let mut deeds = Vec::new();
    if world.edits > 0 {
        for index in 0..scope.kata_configs {
            match &world.cluster.katas[index] {
                None => deeds.extend((0..scope.wishes.len()).map(|wish| Deed::Create(index, wish))),
                Some(kata) if !kata.deleting => {
                    let others = (0..scope.wishes.len()).filter(|wish| *wish != usize::from(kata.spec));
                    deeds.extend(others.map(|wish| Deed::Change(index, wish)));
                    deeds.push(Deed::Delete(index));
                }
                Some(_) => {}
            }
        }
    }
    let pools = &world.cluster.pools;
    for (ours, exists, paused) in
        [(true, pools.exists, pools.paused), (false, !scope.compact, pools.workers_paused)]
    {
        if paused {
            deeds.push(Deed::Resume(ours));
        } else if scope.pauses && exists && world.edits > 0 {
            deeds.push(Deed::Pause(ours));
        }
    }
    match world.cluster.pods {
        Pods::One => deeds.push(Deed::End),
        _ if world.starts > 0 && pod_can_start(scope, store, world) => deeds.push(Deed::Start),
        _ => {}
    }
    deeds
}

/// The API server admits a pod while the class exists, even one that is being deleted; it runs where Kata is.
fn pod_can_start(scope: &Scope, store: &mut Store, world: &World) -> bool {
    let class = store.slot(&ObjectId::cluster(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS));
    let serves =
        |index: &usize| is_member(scope, world, *index) && world.cluster.nodes[*index].current.has_kata();
    world.cluster.objects[class] != 0 && (0..scope.nodes).any(|index| serves(&index))
}

/// Does it.
pub fn act(world: &mut World, deed: Deed) {
    match deed {
        Deed::Create(index, wish) => {
            world.born += 1;
            let spec = u8::try_from(wish).unwrap();
            world.cluster.katas[index] =
                Some(Kata { incarnation: world.born, spec, deleting: false, finalizers: 0, status: 0 });
            world.touch(Versions::kata(index));
        }
        Deed::Change(index, wish) => {
            world.cluster.katas[index].as_mut().expect("it is there").spec = u8::try_from(wish).unwrap();
            world.touch(Versions::kata(index));
        }
        Deed::Delete(index) => {
            let kata = world.cluster.katas[index].as_mut().expect("it is there");
            kata.deleting = true;
            if kata.finalizers == 0 {
                world.cluster.katas[index] = None;
            }
            world.touch(Versions::kata(index));
        }
        Deed::Pause(ours) | Deed::Resume(ours) => {
            let paused = matches!(deed, Deed::Pause(_));
            let pools = &mut world.cluster.pools;
            if ours { pools.paused = paused } else { pools.workers_paused = paused }
        }
        Deed::Start => {
            world.cluster.pods = Pods::One;
            world.starts -= 1;
        }
        Deed::End => world.cluster.pods = Pods::None,
    }
    if !matches!(deed, Deed::Resume(_) | Deed::Start | Deed::End) {
        world.edits -= 1;
    }
}

/// What each node is to have by what people ask for: Kata or not, and with which log level.
pub type Wanted = [Option<Level>; NODES];

/// What people want now. The oldest KataConfig counts; one that is being deleted wants nothing.
pub fn wanted(scope: &Scope, store: &Store, world: &World) -> Wanted {
    let mut wanted = Wanted::default();
    let Some(kata) = effective(store, world).filter(|kata| !kata.deleting) else { return wanted };
    let wish = scope.wishes[usize::from(kata.spec)];
    for (index, node) in wanted.iter_mut().enumerate().take(scope.nodes) {
        if scope.compact || wish.nodes == Selected::All || wish.nodes == Selected::Only(index) {
            // Not to mention a level is to ask for the default.
            *node = Some(if wish.level == Level::Unset { Level::Info } else { wish.level });
        }
    }
    wanted
}

/// The KataConfig that counts.
pub fn effective<'a>(store: &Store, world: &'a World) -> Option<&'a Kata> {
    let katas = world.cluster.katas.iter().flatten();
    let done = |kata: &&Kata| kata.deleting && !store.holds_kata_config(kata.finalizers);
    katas.filter(|kata| !done(kata)).min_by_key(|kata| kata.incarnation)
}
