//! Plans for snapshots of all sorts.

use osc_api::names;
use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use crate::fixture::{
    Files, ROLE, budget, find, fresh, installed, label, order, pause, pod, reasons, selector, stdout, workers,
};

#[test]
fn three_workers_reboot_one_after_the_other() {
    let files = Files::new(&fresh(&workers(3)), &json!({}));
    let (plan, code) = files.plan(&["-f", "kataconfig.yaml", "--reboot-minutes", "20"]);
    assert_eq!(code, 0, "{plan}");
    assert_eq!(order(&plan), ["worker-0", "worker-1", "worker-2"]);
    assert_eq!(plan["reboots"][1]["begins"], 20);
    assert_eq!((&plan["minutes"], &plan["pace"]["seconds"]), (&json!(60), &json!(1200)));
    assert_eq!(
        plan["verdict"],
        "Applying example-kataconfig reboots 3 of 6 nodes, each once, and takes about 1 h."
    );
    assert_eq!(plan["runtimeClasses"][0]["name"], "kata");
    assert_eq!(plan["runtimeClasses"][0]["nodes"].as_array().unwrap().len(), 3);
    let objects: Vec<(&str, &str)> = plan["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["object"].as_str().unwrap(), object["fate"].as_str().unwrap()))
        .collect();
    for object in ["KataConfig example-kataconfig", "MachineConfigPool kata-oc", "RuntimeClass kata"] {
        assert!(objects.contains(&(object, "created")), "{object}: {objects:?}");
    }
    assert!(objects.contains(&("Node worker-2", "changed")), "{objects:?}");
}

#[test]
fn a_cluster_that_is_as_asked_for_needs_nothing() {
    let objects = installed(fresh(&workers(3)), &json!({"logLevel": "debug"}));
    let files = Files::new(&objects, &json!({"logLevel": "debug"}));
    let (plan, code) = files.plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec![]), "{plan}");
    assert_eq!(
        plan["verdict"],
        "Nothing to do: the cluster is as example-kataconfig asks for. No node reboots."
    );
    assert_eq!(plan["objects"], json!([]));
    // Another log level reboots all Kata nodes, and removal, too.
    std::fs::write(files.path().join("info.yaml"), crate::fixture::kata_config(&json!({"logLevel": "info"})))
        .unwrap();
    let (plan, _) = files.plan(&["-f", "info.yaml"]);
    assert_eq!(order(&plan), ["worker-0", "worker-1", "worker-2"]);
    let (plan, code) = files.plan(&["--delete"]);
    assert_eq!((code, order(&plan)), (0, vec!["worker-0", "worker-1", "worker-2"]), "{plan}");
}

/// As a real cluster calls and fills its rendered configs: other names, other contents.
#[test]
fn rendered_configs_of_the_real_operator_are_taken_as_they_are() {
    let mut objects = installed(fresh(&workers(2)), &json!({}));
    let mut text = serde_json::to_string(&objects).unwrap();
    for object in objects.clone() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if let Some((prefix, _)) = name.strip_prefix("rendered-").and_then(|rest| rest.rsplit_once('-')) {
            text = text.replace(name, &format!("rendered-{prefix}-0123456789abcdef0123456789abcdef"));
        }
    }
    objects = serde_json::from_str(&text).unwrap();
    for object in objects.iter_mut().filter(|object| object["kind"] == "MachineConfig") {
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ControllerConfig",
            "name": "machine-config-controller", "uid": "not-in-the-snapshot", "controller": true}]);
        if object["metadata"]["name"].as_str().unwrap().starts_with("rendered-") {
            object["spec"]["config"]["storage"] = json!({"files": [{"path": "/theirs"}]});
        }
    }
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec![]), "{plan}");
    assert_eq!(plan["objects"], json!([]));
}

#[test]
fn on_a_compact_cluster_the_control_plane_reboots() {
    let topology = Topology { kind: Kind::Compact, ..Topology::default() };
    let files = Files::new(&fresh(&topology), &json!({}));
    let (plan, code) = files.plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec!["master-0", "master-1", "master-2"]), "{plan}");
    let files = Files::new(&installed(fresh(&topology), &json!({})), &json!({}));
    let (plan, code) = files.plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec![]), "{plan}");
    let (plan, code) = files.plan(&["--delete"]);
    assert_eq!((code, order(&plan).len()), (0, 3), "{plan}");
}

#[test]
fn a_selector_that_matches_nothing_is_a_block() {
    let (plan, code) = Files::new(&fresh(&workers(2)), &selector()).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (2, vec![]), "{plan}");
    assert_eq!(reasons(&plan, "blocks"), ["NothingSelected"]);
}

#[test]
fn only_selected_nodes_reboot() {
    let mut objects = fresh(&workers(3));
    label(&mut objects, "worker-1", "kata", "true");
    let (plan, code) = Files::new(&objects, &selector()).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec!["worker-1"]), "{plan}");
}

#[test]
fn a_paused_pool_stops_it_before_the_first_reboot() {
    let mut objects = installed(fresh(&workers(2)), &json!({}));
    pause(&mut objects, "kata-oc");
    let (plan, code) = Files::new(&objects, &json!({"logLevel": "debug"})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (2, vec![]), "{plan}");
    assert_eq!(reasons(&plan, "blocks"), ["PoolPaused"]);
    assert_eq!(
        (&plan["stop"]["reason"], &plan["stop"]["waiting"]),
        (&json!("PoolPaused"), &json!(["worker-0", "worker-1"]))
    );
    assert_eq!(plan["withoutBlocks"]["reboots"].as_array().unwrap().len(), 2);
    // Nothing changes that the pause would hold back.
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (0, vec![]), "{plan}");
}

#[test]
fn a_budget_without_room_stops_it_in_the_middle() {
    let mut objects = fresh(&workers(3));
    objects.extend([pod("db-0", "worker-1", "1", "1Gi"), budget("db", 1, 1)]);
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (2, vec!["worker-0", "worker-1"]), "{plan}");
    assert_eq!(plan["reboots"][1]["ends"], Value::Null);
    assert_eq!(
        (&plan["stop"]["stuck"], &plan["stop"]["waiting"]),
        (&json!(["worker-1"]), &json!(["worker-2"]))
    );
    assert_eq!(reasons(&plan, "blocks"), ["DisruptionBudgetWithoutRoom"]);
    assert_eq!(plan["withoutBlocks"]["reboots"].as_array().unwrap().len(), 3);
    let text = plan["verdict"].as_str().unwrap();
    assert!(
        text.contains("It would stop in the middle: after 1 reboot, with 1 node held up and 1 waiting."),
        "{text}"
    );
}

#[test]
fn a_budget_with_room_does_not_since_its_pods_are_brought_back_elsewhere() {
    let mut objects = fresh(&workers(3));
    objects
        .extend((0..3).map(|number| pod(&format!("db-{number}"), &format!("worker-{number}"), "1", "1Gi")));
    objects.push(budget("db", 2, 3));
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan).len()), (0, 3), "{plan}");
}

/// Its pods cannot go anywhere else: each waits for its own node, and the next drain waits for it.
#[test]
fn pods_that_are_tied_to_their_nodes_come_back_with_them() {
    let mut objects = fresh(&workers(3));
    for number in 0..2 {
        let mut tied = pod(&format!("router-{number}"), &format!("worker-{number}"), "1", "1Gi");
        tied["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": format!("worker-{number}")});
        objects.push(tied);
    }
    objects.push(budget("router", 1, 2));
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan).len()), (0, 3), "{plan}");
}

#[test]
fn a_rollout_that_is_under_way_is_told_and_goes_on() {
    let mut objects = fresh(&workers(3));
    let node = find(&mut objects, "Node", "worker-1");
    node["metadata"]["annotations"][names::MCO_STATE] = json!("Working");
    node["metadata"]["annotations"][names::MCO_CURRENT_CONFIG] = json!("rendered-worker-before");
    node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown"}]);
    let pool = find(&mut objects, "MachineConfigPool", "worker");
    pool["status"]["conditions"] = json!([{"type": "Updating", "status": "True"}]);
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!(code, 2, "{plan}");
    assert_eq!(
        (reasons(&plan, "blocks"), reasons(&plan, "warns")),
        (vec!["NodeNotReady"], vec!["PoolUpdating"]),
        "{plan}"
    );
    // It comes back with the update, and reboots once more for Kata.
    assert_eq!(order(&plan).iter().filter(|node| **node == "worker-1").count(), 2, "{plan}");
}

#[test]
fn a_pool_that_lets_two_nodes_go_at_a_time_takes_half_as_long() {
    let mut objects = installed(fresh(&workers(4)), &json!({}));
    find(&mut objects, "MachineConfigPool", "kata-oc")["spec"]["maxUnavailable"] = json!(2);
    let files = Files::new(&objects, &json!({"logLevel": "debug"}));
    let (plan, code) = files.plan(&["-f", "kataconfig.yaml", "--reboot-minutes", "30"]);
    assert_eq!((code, order(&plan).len(), &plan["minutes"]), (0, 4, &json!(60)), "{plan}");
    let begins: Vec<&Value> =
        plan["reboots"].as_array().unwrap().iter().map(|reboot| &reboot["begins"]).collect();
    assert_eq!(begins, [0, 0, 30, 30].map(Value::from).iter().collect::<Vec<_>>());
}

/// The pool that is paused is not the one that nodes go to.
#[test]
fn removal_does_not_mind_that_the_pool_of_kata_is_paused_but_that_of_the_workers() {
    let mut objects = installed(fresh(&workers(2)), &json!({}));
    pause(&mut objects, "kata-oc");
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["--delete"]);
    assert_eq!((code, order(&plan).len(), reasons(&plan, "warns")), (0, 2, vec!["PoolPaused"]), "{plan}");
    pause(&mut objects, "worker");
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["--delete"]);
    assert_eq!((code, order(&plan).len(), reasons(&plan, "blocks")), (2, 0, vec!["PoolPaused"]), "{plan}");
}

#[test]
fn a_virtual_machine_that_cannot_move_holds_up_its_node() {
    let mut objects = fresh(&workers(2));
    objects.push(json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm", "namespace": "shop"}, "spec": {"evictionStrategy": "LiveMigrate"},
        "status": {"phase": "Running", "nodeName": "worker-0",
            "conditions": [{"type": "LiveMigratable", "status": "False", "message": "its disk is local"}]},
    }));
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, &plan["stop"]["stuck"]), (2, &json!(["worker-0"])), "{plan}");
    assert_eq!(reasons(&plan, "blocks"), ["VirtualMachineNotMigratable"]);
}

#[test]
fn a_cordoned_node_stops_it_and_more_room_lets_it_go_on() {
    let mut objects = fresh(&workers(3));
    find(&mut objects, "Node", "worker-2")["spec"]["unschedulable"] = json!(true);
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (2, vec![]), "{plan}");
    assert_eq!(
        (reasons(&plan, "blocks"), &plan["stop"]["reason"]),
        (vec!["NodeCordoned"], &json!("NodeCordoned"))
    );
}

#[test]
fn pods_that_use_kata_hold_up_its_removal() {
    let mut objects = installed(fresh(&workers(2)), &json!({}));
    let mut user = pod("db-0", "worker-1", "1", "1Gi");
    user["spec"]["runtimeClassName"] = json!("kata");
    objects.push(user);
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["--delete"]);
    assert_eq!((code, order(&plan)), (2, vec![]), "{plan}");
    assert_eq!(
        (reasons(&plan, "blocks"), &plan["stop"]["reason"]),
        (vec!["PodsUseKata"], &json!("BlockedByExistingKataPods"))
    );
    assert_eq!(plan["withoutBlocks"]["reboots"].as_array().unwrap().len(), 2);
}

#[test]
fn a_second_kata_config_would_be_ignored() {
    let mut objects = installed(fresh(&workers(2)), &json!({}));
    find(&mut objects, "KataConfig", "example-kataconfig")["metadata"]["name"] = json!("first");
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, order(&plan)), (2, vec![]), "{plan}");
    assert_eq!(reasons(&plan, "blocks"), ["SecondKataConfig"]);
}

#[test]
fn without_a_kata_config_there_is_nothing_to_delete() {
    let (plan, code) = Files::new(&fresh(&workers(2)), &json!({})).plan(&["--delete"]);
    assert_eq!(code, 0, "{plan}");
    assert_eq!(plan["verdict"], "Nothing to do: there is no KataConfig on this cluster. No node reboots.");
}

#[test]
fn a_cluster_without_the_operator_gets_a_plan_that_says_so() {
    let mut objects = fresh(&workers(2));
    objects.retain(|object| object["metadata"]["name"] != names::KATACONFIG_CRD);
    let (plan, code) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!((code, reasons(&plan, "blocks")), (2, vec!["DefinitionMissing"]), "{plan}");
    assert_eq!(order(&plan).len(), 2, "what it would be like is told all the same");
}

#[test]
fn the_pace_is_measured_from_the_last_rollout() {
    let mut objects = fresh(&workers(5));
    for number in 0..5 {
        let node = find(&mut objects, "Node", &format!("worker-{number}"));
        for condition in node["status"]["conditions"].as_array_mut().unwrap() {
            let time = format!("2025-12-01T{:02}:{:02}:00Z", 10 + number * 25 / 60, number * 25 % 60);
            condition["lastTransitionTime"] = json!(time);
        }
    }
    let (plan, _) = Files::new(&objects, &json!({})).plan(&["-f", "kataconfig.yaml"]);
    assert_eq!(plan["pace"]["seconds"], 1500);
    assert!(plan["pace"]["source"].as_str().unwrap().contains("measured"), "{plan}");
}

#[test]
fn a_must_gather_does_as_well() {
    let mut objects = fresh(&workers(3));
    objects.extend([pod("db-0", "worker-1", "1", "1Gi"), budget("db", 1, 1)]);
    let files = Files::new(&objects, &json!({}));
    for object in &objects {
        let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let group = api_version.split_once('/').map_or("core", |(group, _)| group);
        let plural = format!("{}s", kind.to_lowercase());
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap();
        let path = match metadata["namespace"].as_str() {
            Some(namespace) => format!("gathered/image/namespaces/{namespace}/{group}/{plural}.yaml"),
            None => format!("gathered/image/cluster-scoped-resources/{group}/{plural}/{name}.yaml"),
        };
        let path = files.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object.to_string()).unwrap();
    }
    let arguments = ["plan", "-o", "json", "-f", "kataconfig.yaml", "--snapshot", "gathered"];
    let output = crate::fixture::osc(&files.path(), &arguments);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), order(&plan)), (Some(2), vec!["worker-0", "worker-1"]), "{plan}");
    assert_eq!(reasons(&plan, "blocks"), ["DisruptionBudgetWithoutRoom"]);
    // What was not collected is told: there are no runtime classes in it.
    assert_eq!(reasons(&plan, "warns"), ["KindUnreadable"]);
}

#[test]
fn the_difference_is_shown_line_by_line_on_demand() {
    let files = Files::new(&fresh(&workers(1)), &json!({}));
    let text = stdout(&files.osc(&["plan", "-f", "kataconfig.yaml", "--diff"]));
    for part in [
        "+ MachineConfig 50-enable-sandboxed-containers-extension created",
        "    +  - sandboxed-containers",
        "~ Node worker-0 changed",
        &format!("    +    {ROLE}: \"\""),
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
}
