//! The sequence of statuses that the documentation shows for two workers.
//!
//! It is table A.1, "KataConfig status messages", of the product documentation (appendix A of the deployment guides),
//! with `kata` for the class name. One state lies between its rows, and is asserted with them: one node is done and the
//! other is waiting. The Machine Config Operator chooses the next node only after it uncordoned the one before, so that
//! for a moment no node is being changed. The table jumps over it, in both directions.

use serde_json::{Value, json};

use crate::world::{KATA, World};

/// What the documentation's table shows of each status, without immediate repeats.
fn rows(world: &World) -> Vec<Value> {
    let mut rows: Vec<Value> = world
        .told
        .iter()
        .map(|(_, status)| {
            let condition = status.condition("InProgress").unwrap();
            json!({
                "inProgress": [condition.status, condition.reason, condition.message],
                "kataNodes": status.kata_nodes,
            })
        })
        .collect();
    rows.dedup();
    rows
}

fn row(in_progress: &Value, kata_nodes: &Value) -> Value {
    json!({"inProgress": in_progress, "kataNodes": kata_nodes})
}

#[test]
fn two_workers_go_through_the_documented_statuses() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    let installing = json!(["True", "Installing", "Performing initial installation of kata on cluster"]);
    let done = json!(["False", "", ""]);
    let (w0, w1) = ("worker-0", "worker-1");
    let documented = [
        row(&installing, &json!({"nodeCount": 0, "readyNodeCount": 0})),
        row(&installing, &json!({"nodeCount": 2, "readyNodeCount": 0, "waitingToInstall": [w0, w1]})),
        row(
            &installing,
            &json!({"nodeCount": 2, "readyNodeCount": 0, "installing": [w1], "waitingToInstall": [w0]}),
        ),
        // Between two rows: worker-1 is done and about to be uncordoned.
        row(
            &installing,
            &json!({"nodeCount": 2, "readyNodeCount": 1, "installed": [w1], "waitingToInstall": [w0]}),
        ),
        row(
            &installing,
            &json!({"nodeCount": 2, "readyNodeCount": 1, "installed": [w1], "installing": [w0]}),
        ),
        row(&done, &json!({"nodeCount": 2, "readyNodeCount": 2, "installed": [w0, w1]})),
    ];
    assert_eq!(rows(&world), documented);
    insta::assert_yaml_snapshot!("install", rows(&world));

    world.told.clear();
    world.remove(KATA);
    world.run();
    assert!(world.kata_config(KATA).is_none());
    let uninstalling = json!(["True", "Uninstalling", "Removing kata from cluster"]);
    let documented = [
        row(&uninstalling, &json!({"nodeCount": 0, "readyNodeCount": 0, "waitingToUninstall": [w0, w1]})),
        row(
            &uninstalling,
            &json!({"nodeCount": 0, "readyNodeCount": 0, "uninstalling": [w1], "waitingToUninstall": [w0]}),
        ),
        // Between two rows: worker-1 is done and about to be uncordoned.
        row(&uninstalling, &json!({"nodeCount": 0, "readyNodeCount": 0, "waitingToUninstall": [w0]})),
        row(&uninstalling, &json!({"nodeCount": 0, "readyNodeCount": 0, "uninstalling": [w0]})),
    ];
    assert_eq!(rows(&world), documented);
    insta::assert_yaml_snapshot!("uninstall", rows(&world));
}

#[test]
fn the_runtime_class_appears_at_the_end_and_goes_first() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    let position = |world: &World, what: &str| world.trace.iter().position(|line| line.contains(what));
    let class = position(&world, "Create { id: ObjectId { kind: RuntimeClass").unwrap();
    let last_change =
        world.trace.iter().rposition(|line| line.contains("installing: [\"worker-0\"]")).unwrap();
    assert!(class > last_change, "{:#?}", world.trace);
    assert_eq!(world.status().runtime_classes, ["kata", "kata-nvidia-gpu"]);

    world.trace.clear();
    world.remove(KATA);
    world.run();
    let class = position(&world, "Delete { id: ObjectId { kind: RuntimeClass").unwrap();
    let first_change = position(&world, "LabelNode").unwrap();
    assert!(class < first_change, "{:#?}", world.trace);
}

#[test]
fn people_are_told_the_transitions_by_events() {
    let mut world = World::two_workers();
    world.create(KATA, json!({}));
    world.run();
    world.remove(KATA);
    world.run();
    let told: Vec<String> = world
        .events
        .iter()
        .map(|event| format!("{:?} {}: {}", event.kind, event.reason, event.message))
        .collect();
    assert_eq!(
        told,
        [
            "Normal Installing: Performing initial installation of kata on cluster",
            "Normal Installed: Kata is installed on 2 nodes; pods use it with runtimeClassName: kata",
            "Normal Uninstalling: Removing kata from cluster",
        ]
    );
}
