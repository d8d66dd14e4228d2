//! The operator dies after every single step it ever takes, and the Machine Config Operator is faster or slower than it:
//! the cluster ends up the same, and no node reboots more often for it.

use osc_api::names;
use osc_engine::Kind;
use serde_json::{Value, json};

use crate::cloud;
use crate::removal::assert_clean;
use crate::world::{KATA, World};

/// What holds at every moment.
fn assert_held(world: &World) {
    let held = world
        .cluster
        .kata_configs
        .iter()
        .any(|found| found.finalizers.iter().any(|finalizer| finalizer == names::KATACONFIG_FINALIZER));
    let ours = [
        (Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG),
        (Kind::MachineConfigPool, names::KATA_POOL),
        (Kind::ContainerRuntimeConfig, names::CONTAINER_RUNTIME_CONFIG),
        (Kind::RuntimeClass, names::KATA_RUNTIME_CLASS),
        (Kind::SecurityContextConstraints, names::MONITOR_SCC),
    ];
    let left = ours.iter().find(|(kind, name)| world.object(*kind, name).is_some());
    assert!(held || left.is_none(), "{left:?} exists, and no finalizer holds the KataConfig");
    let pool = world.object(Kind::MachineConfigPool, names::KATA_POOL).is_some();
    for node in &world.cluster.nodes {
        let kata = [&node.current_config, &node.desired_config]
            .into_iter()
            .flatten()
            .any(|config| config.starts_with("rendered-kata-oc-"));
        assert!(held || !(kata || node.has_kata_role()), "{} has Kata, and no finalizer is left", node.name);
        assert!(pool || !node.has_kata_role(), "{} has the role of a pool that does not exist", node.name);
    }
}

fn run(world: &mut World) {
    world.run_until(|world| {
        assert_held(world);
        false
    });
}

fn install(spec: Value, mut world: World) -> World {
    world.create(KATA, spec);
    run(&mut world);
    world
}

/// The scenarios. `world` is fresh; interruption and schedule are set on it already.
fn play(scenario: &str, configure: impl Fn(&mut World)) -> World {
    let configured = |mut world: World| {
        configure(&mut world);
        world
    };
    match scenario {
        "install" => install(json!({}), configured(World::two_workers())),
        "install with log level" => install(json!({"logLevel": "debug"}), configured(World::two_workers())),
        "shrink" => {
            let mut world = install(json!({}), configured(World::two_workers()));
            world.respec(KATA, json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes"}}}));
            world.label("worker-0", "kata", "yes");
            run(&mut world);
            world
        }
        "log level" => {
            let mut world = install(json!({}), configured(World::two_workers()));
            for level in ["debug", "info"] {
                world.respec(KATA, json!({"logLevel": level}));
                run(&mut world);
            }
            world
        }
        "uninstall" => {
            let mut world = install(json!({"logLevel": "debug"}), configured(World::two_workers()));
            world.remove(KATA);
            run(&mut world);
            assert_clean(&world);
            world
        }
        "blocked, then released" => {
            let mut world = install(json!({}), configured(World::two_workers()));
            world.add_pod("shop", "web", "kata");
            world.remove(KATA);
            run(&mut world);
            world.pods.clear();
            run(&mut world);
            assert_clean(&world);
            world
        }
        "compact" => {
            let mut world = install(json!({"logLevel": "debug"}), configured(World::compact(3)));
            world.remove(KATA);
            run(&mut world);
            assert_clean(&world);
            world
        }
        "second takes over" => {
            let mut world = configured(World::two_workers());
            world.create(KATA, json!({}));
            world.create("another", json!({}));
            run(&mut world);
            world.remove(KATA);
            run(&mut world);
            world
        }
        "peer pods" => {
            let mut world = configured(World::for_peer_pods(&cloud::SETTINGS));
            world.create(KATA, json!({"enablePeerPods": true}));
            run(&mut world);
            world
        }
        "peer pods, removed" => {
            let mut world = configured(World::for_peer_pods(&cloud::SETTINGS));
            world.create(KATA, json!({"enablePeerPods": true}));
            run(&mut world);
            world.add_pod("shop", "web", "kata-remote");
            world.remove(KATA);
            run(&mut world);
            world.pods.clear();
            run(&mut world);
            assert_clean(&world);
            cloud::assert_nothing_left(&world);
            world
        }
        "peer pods, switched off and on" => {
            let mut world = configured(World::for_peer_pods(&cloud::SETTINGS));
            for on in [true, false, true] {
                if world.kata_config(KATA).is_none() {
                    world.create(KATA, json!({"enablePeerPods": on}));
                } else {
                    world.respec(KATA, json!({"enablePeerPods": on}));
                }
                run(&mut world);
            }
            world
        }
        "peer pods, removed while their image is made" => {
            let mut world = configured(World::for_peer_pods(&cloud::SETTINGS));
            world.create(KATA, json!({"enablePeerPods": true}));
            world.cloud.slow = true;
            world.run_until(|world| world.cloud.begun);
            world.remove(KATA);
            run(&mut world);
            assert_clean(&world);
            cloud::assert_nothing_left(&world);
            world
        }
        other => panic!("no scenario {other}"),
    }
}

const SCENARIOS: [&str; 12] = [
    "install",
    "install with log level",
    "shrink",
    "log level",
    "uninstall",
    "blocked, then released",
    "compact",
    "second takes over",
    "peer pods",
    "peer pods, removed",
    "peer pods, switched off and on",
    "peer pods, removed while their image is made",
];

#[test]
fn a_death_after_any_step_changes_nothing() {
    let mut total = 0;
    for scenario in SCENARIOS {
        let undisturbed = play(scenario, |_| {});
        let (reboots, lasting) = (undisturbed.reboots(), undisturbed.lasting());
        for point in 0..undisturbed.steps {
            let disturbed = play(scenario, |world| world.dies_after = Some(point));
            assert_eq!(disturbed.dies_after, None, "it died");
            assert_eq!(disturbed.reboots(), reboots, "{scenario}, dead after {point} steps");
            assert_eq!(disturbed.lasting(), lasting, "{scenario}, dead after {point} steps");
        }
        println!("{scenario}: {} points of interruption", undisturbed.steps);
        total += undisturbed.steps;
    }
    println!("{total} points of interruption in all");
    assert!(total > 100, "the scenarios write less than they are known to: {total}");
}

/// Between two passes, the Machine Config Operator makes no, one, two or three changes. Every other time, the operator
/// dies as well.
#[test]
fn the_pace_of_the_machine_config_operator_changes_nothing() {
    for scenario in SCENARIOS {
        let undisturbed = play(scenario, |_| {});
        let (reboots, lasting) = (undisturbed.reboots(), undisturbed.lasting());
        for seed in 0..48 {
            let disturbed = play(scenario, |world| {
                world.schedule = Some(seed);
                world.dies_after =
                    (seed % 2 == 0).then(|| usize::try_from(seed).unwrap() * 7 % undisturbed.steps);
            });
            assert_eq!(disturbed.reboots(), reboots, "{scenario}, seed {seed}");
            assert_eq!(disturbed.lasting(), lasting, "{scenario}, seed {seed}");
        }
    }
}
