//! DaemonSet mode, against a model of the node agents.

use jiff::SignedDuration;
use osc_api::{DeploymentMode, names};
use osc_engine::{Kind, NodeView, ObjectId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::classes::gates;
use crate::store;
use crate::world::{KATA, World};

const STATE: &str = names::DAEMON_SET_MODE_LABEL;

fn daemon_set(name: &str) -> ObjectId {
    ObjectId::namespaced(Kind::DaemonSet, names::OPERATOR_NAMESPACE, name)
}

impl World {
    /// Plain Kubernetes: no Machine Config Operator, and workers without a role.
    pub fn kubernetes(workers: &[&str]) -> Self {
        let mut world = Self::regular(workers);
        world.cluster.capabilities = osc_engine::Capabilities::default();
        world.cluster.pools.clear();
        world.cluster.objects.clear();
        world.settings.agent_image = Some("agent@sha256:0".to_owned());
        world.mco_runs = false;
        for node in world.cluster.nodes.clone() {
            world.unlabel(&node.name, names::WORKER_NODE_ROLE);
            world.unlabel(&node.name, names::MASTER_NODE_ROLE);
        }
        world
    }

    /// One of the agents takes its next step. True if it did anything.
    pub fn agent_step(&mut self) -> bool {
        let nodes: Vec<NodeView> = self.cluster.nodes.iter().map(|node| node.as_ref().clone()).collect();
        nodes.iter().any(|node| self.agent_works(node))
    }

    fn agent_works(&mut self, node: &NodeView) -> bool {
        let there = |name: &str| self.cluster.objects.contains_key(&daemon_set(name));
        let (installs, removes) = (there(names::INSTALL_DAEMON_SET), there(names::UNINSTALL_DAEMON_SET));
        let machine = self.machines[&node.name].clone();
        let state = node.labels.get(STATE).map(String::as_str);
        let next = match state {
            _ if !node.ready || machine.agent_is_dead => return false,
            Some("installing" | "install_failed") if installs && node.has_kata_role() => "install",
            Some("uninstalling" | "uninstall_failed") if removes && !node.has_kata_role() => "uninstall",
            _ => return false,
        };
        let failed = format!("{next}_failed");
        match machine.agent_fails {
            Some(_) if state == Some(failed.as_str()) => false,
            Some(reason) => {
                self.told_by_agent(&node.name, &failed, Some(reason), node.agent_version.clone());
                true
            }
            None if next == "install" => {
                self.told_by_agent(&node.name, "installed", None, Some("bundle sha256:ab12".to_owned()));
                true
            }
            None => {
                self.told_by_agent(&node.name, "uninstalled", None, None);
                true
            }
        }
    }

    fn told_by_agent(&mut self, node: &str, state: &str, failure: Option<String>, version: Option<String>) {
        self.trace.push(format!("agent on {node}: {state}"));
        let now = self.cluster.now;
        let node = self.node_mut(node);
        node.labels.insert(STATE.to_owned(), state.to_owned());
        (node.agent_failure, node.agent_version, node.changed_at) = (failure, version, now);
    }

    fn state(&self, node: &str) -> &str {
        let found = self.cluster.nodes.iter().find(|found| found.name == node).unwrap();
        found.labels.get(STATE).map_or("", String::as_str)
    }

    fn settings_map(&mut self, data: &Value) {
        let id =
            ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP);
        store::put(&mut self.cluster, &mut self.serial, id, json!({"data": data}));
    }
}

fn installed(workers: &[&str]) -> World {
    let mut world = World::kubernetes(workers);
    world.create(KATA, json!({}));
    world.run();
    assert!(
        world.condition(KATA, "Ready").starts_with("True Installed: "),
        "{}",
        world.condition(KATA, "Ready")
    );
    world
}

/// Nothing of ours is left: no object, no label.
fn assert_clean(world: &World) {
    assert!(world.kata_config(KATA).is_none(), "{:?}", world.kata_config(KATA));
    let left: Vec<String> = world
        .cluster
        .objects
        .keys()
        .filter(|id| {
            !matches!(
                id.kind,
                Kind::ConfigMap
                    | Kind::Namespace
                    | Kind::ClusterVersion
                    | Kind::MachineConfig
                    | Kind::MachineConfigPool
                    | Kind::Secret
            )
        })
        .map(ToString::to_string)
        .collect();
    assert!(left.is_empty(), "{left:?}");
    for node in &world.cluster.nodes {
        assert!(!node.has_kata_role() && !node.has_label(STATE), "{node:?}");
    }
}

/// The most nodes that had a turn at one time.
fn most_at_once(world: &World) -> usize {
    let (mut now, mut most) = (std::collections::BTreeSet::new(), 0);
    for line in &world.trace {
        let node = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        if line.contains("Some(\"installing\")") || line.contains("Some(\"uninstalling\")") {
            now.insert(node(line));
            most = most.max(now.len());
        } else if let Some(rest) = line.strip_prefix("agent on ") {
            now.remove(rest.split(':').next().unwrap());
        }
    }
    most
}

#[test]
fn kubernetes_without_the_machine_config_operator_is_installed_one_node_after_the_other() {
    let world = installed(&["worker-0", "worker-1", "worker-2"]);
    let status = world.status();
    assert_eq!(status.kata_nodes.installed, ["worker-0", "worker-1", "worker-2"]);
    assert_eq!((status.kata_nodes.node_count, status.kata_nodes.ready_node_count), (3, 3));
    assert_eq!(status.deployment_mode, Some(DeploymentMode::DaemonSet));
    assert_eq!(status.runtime_classes, ["kata", "kata-nvidia-gpu"]);
    assert_eq!(most_at_once(&world), 1);
    assert_eq!(world.kata_nodes(), ["worker-0", "worker-1", "worker-2"], "never the control plane");
    assert!(world.plan().steps.is_empty());
    let statuses: Vec<String> =
        world.told.iter().map(|(_, status)| format!("{:?}", status.kata_nodes)).collect();
    assert!(
        statuses.iter().any(|told| told.contains("waiting_to_install: [\"worker-1\", \"worker-2\"]")),
        "{statuses:#?}"
    );
}

#[test]
fn removal_goes_one_node_after_the_other_and_leaves_nothing() {
    let mut world = installed(&["worker-0", "worker-1"]);
    world.trace.clear();
    world.remove(KATA);
    world.run();
    assert_clean(&world);
    assert_eq!(most_at_once(&world), 1);
    let statuses: Vec<i64> =
        world.told.iter().rev().take(2).map(|(_, status)| status.kata_nodes.node_count).collect();
    assert!(statuses.iter().all(|count| *count == 0), "{statuses:?}");
}

#[rstest]
#[case("2", 2)]
#[case("50%", 2)]
#[case("100%", 4)]
#[case("garbage", 1)]
fn as_many_have_a_turn_as_may(#[case] max: &str, #[case] expected: usize) {
    let mut world = World::kubernetes(&["worker-0", "worker-1", "worker-2", "worker-3"]);
    world.settings_map(&json!({"maxUnavailable": max}));
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.status().kata_nodes.ready_node_count, 4);
    assert_eq!(most_at_once(&world), expected);
    assert_eq!(world.condition(KATA, "Degraded").contains("InvalidAgentSetting"), max == "garbage");
}

#[test]
fn a_node_that_fails_stops_the_rollout_and_is_told_until_it_is_mended() {
    let mut world = World::kubernetes(&["worker-0", "worker-1"]);
    world.machine("worker-0").agent_fails = Some("no space left on device: /opt/kata".to_owned());
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True Failed: Node worker-0 Degraded: no space left on device: /opt/kata"
    );
    assert_eq!(world.status().kata_nodes.failed_to_install, ["worker-0"]);
    assert_eq!(world.state("worker-1"), "waiting_to_install", "a broken rollout stops");
    let told = world.condition(KATA, "Degraded");
    assert!(
        told.starts_with("True NodeAgentFailed: Kata could not be installed on node worker-0 (no space left"),
        "{told}"
    );
    assert!(world.objects_of(Kind::RuntimeClass).next().is_none());
    world.machine("worker-0").agent_fails = None;
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
}

/// Stuck in every way, it can be removed.
#[rstest]
#[case::failed(true, false)]
#[case::silent(false, true)]
fn a_stuck_installation_can_be_removed(#[case] fails: bool, #[case] dead: bool) {
    let mut world = World::kubernetes(&["worker-0", "worker-1"]);
    world.machine("worker-0").agent_fails = fails.then(|| "disk full".to_owned());
    world.machine("worker-0").agent_is_dead = dead;
    world.create(KATA, json!({}));
    world.run();
    assert!(matches!(world.state("worker-0"), "install_failed" | "installing"));
    world.remove(KATA);
    world.run();
    // A node that never had a turn is left alone by the agents.
    assert!(!world.trace.iter().any(|line| line.contains("agent on worker-1")), "{:#?}", world.trace);
    assert_eq!((world.state("worker-1"), world.kata_nodes().len()), ("", 0));
    let machine = world.machine("worker-0");
    (machine.agent_fails, machine.agent_is_dead) = (None, false);
    world.run();
    assert_clean(&world);
}

#[test]
fn a_removal_that_fails_is_told_and_a_node_can_be_given_up() {
    let mut world = installed(&["worker-0"]);
    world.machine("worker-0").agent_fails = Some("read-only file system".to_owned());
    world.remove(KATA);
    world.run();
    assert_eq!(
        world.condition(KATA, "InProgress"),
        "True Failed: Node worker-0 Degraded: read-only file system"
    );
    let told = world.condition(KATA, "Degraded");
    let remedy = format!("kubectl label node worker-0 {STATE}-");
    assert!(told.starts_with("True NodeAgentFailed: ") && told.ends_with(&remedy), "{told}");
    world.unlabel("worker-0", STATE);
    world.run();
    assert_clean(&world);
}

#[test]
fn a_silent_agent_is_told_after_a_while() {
    let mut world = World::kubernetes(&["worker-0"]);
    world.machine("worker-0").agent_is_dead = true;
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.condition(KATA, "Degraded"), "False AsExpected: ");
    assert!(world.plan().wake_at.is_some());
    world.advance(SignedDuration::from_mins(31));
    world.run();
    let told = world.condition(KATA, "Degraded");
    assert!(
        told.starts_with(
            "True NodeAgentSilent: no word of the node agent for more than 30 minutes on worker-0"
        ),
        "{told}"
    );
}

#[test]
fn a_node_that_has_to_be_rebooted_is_told_and_holds_up_nobody() {
    let mut world = World::kubernetes(&["worker-0", "worker-1"]);
    world.machine("worker-0").agent_is_dead = true;
    world.create(KATA, json!({}));
    world.run();
    assert_eq!((world.state("worker-0"), world.state("worker-1")), ("installing", "waiting_to_install"));
    world.label("worker-0", STATE, "waiting_for_reboot");
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-1"]);
    assert_eq!(world.status().kata_nodes.installing, ["worker-0"]);
    let told = world.condition(KATA, "Degraded");
    assert!(told.starts_with("True WaitingForReboot: ") && told.contains("kubectl drain worker-0"), "{told}");
    world.label("worker-0", STATE, "installed");
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
}

#[test]
fn a_node_that_vanishes_blocks_nothing() {
    let mut world = World::kubernetes(&["worker-0", "worker-1"]);
    world.machine("worker-0").agent_is_dead = true;
    world.create(KATA, json!({}));
    world.run();
    assert_eq!(world.state("worker-0"), "installing");
    world.cluster.nodes.retain(|node| node.name != "worker-0");
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-1"]);
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn a_node_that_joins_later_is_installed_too() {
    let mut world = installed(&["worker-0"]);
    let mut node = world.node_mut("worker-0").clone();
    (node.name, node.agent_version) = ("worker-9".to_owned(), None);
    node.labels.remove(STATE);
    node.labels.remove(names::KATA_NODE_ROLE);
    world.machines.insert("worker-9".to_owned(), world.machines["worker-0"].clone());
    world.cluster.nodes.push(node.into());
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-9"]);
}

#[test]
fn no_node_is_never_installed() {
    let mut world = World::kubernetes(&["worker-0"]);
    world.create(KATA, json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "true"}}}));
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("False NoNodesSelected: "));
    assert!(world.objects_of(Kind::RuntimeClass).next().is_none());
    world.label("worker-0", "kata", "true");
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0"]);
}

#[test]
fn a_node_that_is_no_longer_selected_loses_kata_when_its_pods_are_gone() {
    let mut world = installed(&["worker-0", "worker-1"]);
    world.add_pod_on("worker-1", "shop", "web", "kata");
    world.label("worker-0", "kata", "true");
    world.respec(KATA, json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "true"}}}));
    world.run();
    assert_eq!(world.state("worker-1"), "waiting_to_uninstall", "a pod runs there");
    let told = world.condition(KATA, "Degraded");
    assert!(
        told.starts_with("True PodsHoldNode: node worker-1 is to lose Kata, and pods there use it: shop/web"),
        "{told}"
    );
    assert_eq!(world.kata_nodes(), ["worker-0"], "no new pod is scheduled there");
    world.pods.clear();
    world.run();
    assert_eq!((world.state("worker-0"), world.state("worker-1")), ("installed", ""));
    assert!(!world.cluster.objects.contains_key(&daemon_set(names::UNINSTALL_DAEMON_SET)));
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: Kata is installed on 1 node"));
    assert!(world.plan().steps.is_empty());
    world.respec(KATA, json!({}));
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
}

#[rstest]
#[case::nothing("")]
#[case::garbage("by_hand")]
#[case::of_a_removal("uninstalled")]
fn a_label_that_was_edited_is_set_right(#[case] edited: &str) {
    let mut world = installed(&["worker-0"]);
    if edited.is_empty() {
        world.unlabel("worker-0", STATE);
    } else {
        world.label("worker-0", STATE, edited);
    }
    world.run();
    assert_eq!(world.state("worker-0"), "installed");
    let told = world.told.iter().any(|(_, status)| {
        let degraded = status.condition("Degraded").unwrap();
        degraded.reason == "UnknownNodeState" && degraded.message.contains("\"by_hand\"")
    });
    assert_eq!(told, edited == "by_hand");
}

#[test]
fn without_an_image_of_the_agent_nothing_is_begun() {
    let mut world = World::kubernetes(&["worker-0"]);
    world.settings.agent_image = None;
    world.create(KATA, json!({}));
    world.run();
    assert!(world.condition(KATA, "InProgress").starts_with("False NodeAgentImageMissing: "));
    assert!(world.kata_nodes().is_empty() && world.status().deployment_mode.is_none());
    world.settings_map(&json!({"image": "mine@sha256:1"}));
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0"]);
    let set = &world.cluster.objects[&daemon_set(names::INSTALL_DAEMON_SET)];
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "mine@sha256:1");
}

#[test]
fn the_mode_does_not_change_while_there_is_a_kata_config() {
    let mut world = World::two_workers();
    world.settings.agent_image = Some("agent@sha256:0".to_owned());
    world.create(KATA, json!({}));
    world.run();
    let before = world.lasting();
    gates(&mut world, &json!({"deploymentMode": "DaemonSet"}));
    world.run();
    let told = world.condition(KATA, "Degraded");
    assert!(told.starts_with("True DeploymentModeFixed: deploymentMode in ConfigMap "), "{told}");
    assert!(told.contains("asks for DaemonSet, but Kata is installed by MachineConfig"), "{told}");
    assert_eq!(
        (&world.lasting()["nodes"], &world.lasting()["reboots"]),
        (&before["nodes"], &before["reboots"])
    );
    // Removal goes the way of the installation.
    world.remove(KATA);
    world.run();
    crate::removal::assert_clean(&world);
    world.create(KATA, json!({}));
    let id = ObjectId::namespaced(Kind::ConfigMap, names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP);
    store::put(&mut world.cluster, &mut world.serial, id, json!({"data": {"bundle": "/kata.tar.zst"}}));
    world.run();
    assert_eq!(world.status().deployment_mode, Some(DeploymentMode::DaemonSet));
    gates(&mut world, &json!({"deploymentMode": "MachineConfig"}));
    world.run();
    assert!(
        world
            .condition(KATA, "Degraded")
            .contains("asks for MachineConfig, but Kata is installed by DaemonSet")
    );
    world.remove(KATA);
    world.run();
    assert_clean(&world);
}

#[test]
fn on_openshift_the_agent_pulls_as_the_node_does() {
    let mut world = World::two_workers();
    world.settings.agent_image = Some("agent@sha256:0".to_owned());
    gates(&mut world, &json!({"deploymentMode": "DaemonSet"}));
    world.create(KATA, json!({}));
    world.run();
    assert!(world.condition(KATA, "InProgress").starts_with("False ExtensionImageUnknown: "));
    let mut put = |kind, namespace: &str, name: &str, object: Value| {
        let id = ObjectId::namespaced(kind, namespace, name);
        store::put(&mut world.cluster, &mut world.serial, id, object);
    };
    let images = json!({"data": {names::OS_EXTENSIONS_KEY: "extensions@sha256:2"}});
    put(Kind::ConfigMap, names::MCO_NAMESPACE, names::OS_IMAGES_CONFIG_MAP, images);
    let secret = |digest: &str| json!({"digests": {names::PULL_SECRET_KEY: digest}});
    put(Kind::Secret, names::PULL_SECRET_NAMESPACE, names::PULL_SECRET, secret("1"));
    world.run();
    assert_eq!(world.status().kata_nodes.installed, ["worker-0", "worker-1"]);
    assert!(world.reboots().is_empty(), "no machine config, no reboot");
    let copy = ObjectId::namespaced(Kind::Secret, names::OPERATOR_NAMESPACE, names::AUTH_SECRET);
    assert_eq!(world.cluster.objects[&copy]["digests"][names::AUTH_SECRET_KEY], "1");
    let container = world.cluster.objects[&daemon_set(names::INSTALL_DAEMON_SET)]["spec"]["template"]["spec"]
        ["containers"][0]
        .clone();
    let env = |name: &str| {
        container["env"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["name"] == name)
            .map(|found| found["value"].clone())
    };
    assert_eq!(env("EXTENSION_IMAGE"), Some(json!("extensions@sha256:2")));
    assert_eq!(env("LOG_LEVEL"), Some(json!("info")));
    assert_eq!(env("KATA_BUNDLE"), None);
    // A new pull secret is copied, and nothing else is touched.
    let id = ObjectId::namespaced(Kind::Secret, names::PULL_SECRET_NAMESPACE, names::PULL_SECRET);
    store::put(&mut world.cluster, &mut world.serial, id, secret("2"));
    assert_eq!(world.plan().steps.len(), 1);
}

#[test]
fn a_setting_that_is_taken_back_leaves_the_daemon_set() {
    let mut world = installed(&["worker-0"]);
    world.settings_map(&json!({"bundle": "/mirror/kata.tar.zst"}));
    world.run();
    let has_bundle = |world: &World| {
        let set = &world.cluster.objects[&daemon_set(names::INSTALL_DAEMON_SET)];
        set["spec"]["template"].to_string().contains("KATA_BUNDLE")
    };
    assert!(has_bundle(&world));
    world.settings_map(&json!({}));
    world.run();
    assert!(!has_bundle(&world));
    assert!(world.plan().steps.is_empty());
}

#[test]
fn the_log_level_goes_to_the_agents() {
    let mut world = installed(&["worker-0"]);
    world.respec(KATA, json!({"logLevel": "debug"}));
    world.run();
    let set = &world.cluster.objects[&daemon_set(names::INSTALL_DAEMON_SET)];
    assert!(set["spec"]["template"].to_string().contains("\"debug\""));
}

/// The agents are on their way to the nodes with something new: it is not done before they are there.
#[test]
fn it_is_not_ready_before_every_agent_is_up_to_date() {
    let mut world = installed(&["worker-0"]);
    let id = daemon_set(names::INSTALL_DAEMON_SET);
    let mut set = world.cluster.objects[&id].as_ref().clone();
    set["status"] =
        json!({"observedGeneration": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 0});
    world.cluster.objects.insert(id.clone(), set.clone().into());
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("False Updating: "));
    set["status"]["updatedNumberScheduled"] = json!(1);
    world.cluster.objects.insert(id, set.into());
    world.run();
    assert!(world.condition(KATA, "Ready").starts_with("True Installed: "));
}

#[test]
fn a_death_after_any_step_changes_nothing() {
    let play = |dies_after: Option<usize>| {
        let mut world = World::kubernetes(&["worker-0", "worker-1"]);
        world.dies_after = dies_after;
        world.create(KATA, json!({}));
        world.run();
        let installed = world.lasting();
        world.remove(KATA);
        world.run();
        assert_clean(&world);
        (installed, world.lasting(), world.steps)
    };
    let (installed, removed, steps) = play(None);
    for after in 0..steps {
        let (found, left, _) = play(Some(after));
        assert_eq!((&found, &left), (&installed, &removed), "dead after {after} steps");
    }
}
