//! Orders of events that the exploration of small worlds (`cargo xtask explore`) found to go wrong, each on the shortest
//! way there.

use osc_api::names;
use osc_engine::{Kind, Step};
use serde_json::{Value, json};

use crate::removal::assert_clean;
use crate::world::{KATA, World};

fn nobody() -> Value {
    json!({"kataConfigPoolSelector": {"matchLabels": {"nobody": "yes"}}})
}

/// A node loses the role and gets it back. Meanwhile it was chosen to lose Kata, which nothing stops any more: it was
/// told as installed, and the runtime class was created for it.
#[test]
fn a_node_on_its_way_out_is_not_installed() {
    let mut world = World::regular(&["worker-0"]);
    world.create(KATA, json!({}));
    let runs_kata = |world: &World| {
        let node = world.cluster.nodes.iter().find(|node| node.name == "worker-0").unwrap();
        node.current_config.as_deref().is_some_and(|config| config.starts_with("rendered-kata-oc-"))
    };
    world.run_until(runs_kata);
    world.respec(KATA, nobody());
    world.pass();
    world.settle_choice("worker-0", "rendered-worker-");
    world.respec(KATA, json!({}));
    world.pass();
    world.pass();
    assert!(world.node_mut("worker-0").has_kata_role() && world.node_mut("worker-0").ready);
    assert!(world.status().kata_nodes.installed.is_empty(), "{:?}", world.status().kata_nodes);
    assert!(world.object(Kind::RuntimeClass, "kata").is_none());

    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0"]);
    assert_eq!(world.reboots(), [("worker-0", 3)].into());
}

/// One change takes a node out and sets another log level for the others. The log level was written first, so that the
/// node could be rebooted for it and again for leaving.
#[test]
fn a_node_leaves_before_the_log_level_changes() {
    let mut world = World::two_workers();
    world.create(KATA, json!({"logLevel": "debug"}));
    world.run();
    world.label("worker-0", "kata", "yes");
    let only = json!({"matchLabels": {"kata": "yes"}});
    world.respec(KATA, json!({"logLevel": "trace", "kataConfigPoolSelector": only}));
    let plan = world.plan();
    let place = |what: &dyn Fn(&Step) -> bool| plan.steps.iter().position(what).unwrap();
    let leaves =
        place(&|step| matches!(step, Step::LabelNode { node, value: None, .. } if node == "worker-1"));
    let level =
        place(&|step| matches!(step, Step::Apply { id, .. } if id.name == names::CONTAINER_RUNTIME_CONFIG));
    assert!(leaves < level, "{:?}", plan.steps);
}

/// An installation on a compact cluster is taken back before its machine config is rendered. The KataConfig was let go
/// by the same plan that deletes the machine config; if it was rendered in between, nodes got Kata, and nobody was
/// there to tell of it.
#[test]
fn a_compact_cluster_lets_go_only_when_nothing_is_left_to_be_rendered() {
    let mut world = World::compact(1);
    world.create(KATA, json!({}));
    world.pass();
    assert!(world.object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG).is_some());
    world.remove(KATA);
    let plan = world.plan();
    world.settle_choice("master-0", "rendered-master-");
    for step in &plan.steps {
        world.apply(step).unwrap();
    }
    assert!(world.kata_config(KATA).is_some(), "{:?}", plan.steps);
    world.run();
    assert_clean(&world);
}

/// On a compact cluster, one pool is both the one that nodes enter and the one that they leave to: only the first was
/// looked at, and a removal waited for a paused pool without a word.
#[test]
fn a_removal_that_waits_for_the_paused_pool_of_a_compact_cluster_says_so() {
    let mut world = World::compact(1);
    world.create(KATA, json!({}));
    world.run();
    world.pause("master", true);
    world.remove(KATA);
    world.run();
    let degraded = world.condition(KATA, "Degraded");
    assert!(degraded.starts_with("True PoolPaused: MachineConfigPool master is paused"), "{degraded}");
    world.pause("master", false);
    world.run();
    assert_clean(&world);
}
