//! The node agents of DaemonSet mode: what they do on a node, told by its label.
//!
//! An agent works where a pod of it runs, when its node has the turn, and takes a while for it. It installs nothing; it
//! says that it has.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use osc_api::names;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::annotations::{AGENT_BOOT, AGENT_FAILS, AGENT_NEEDS_REBOOT};
use super::node::is_ready;
use super::options::hex;
use super::queue::{Next, Queue};
use super::since::Since;
use super::store::Key;
use super::world::{World, on_node};

/// What the agent on a node is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orders {
    /// Installing this version.
    Install(String),
    /// Removing what is there.
    Uninstall,
}

/// What an agent sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentView {
    /// The label's value.
    pub state: String,
    /// What is installed.
    pub version: Option<String>,
    /// What the agent on the node is there for; nothing if none runs.
    pub orders: Option<Orders>,
    /// Why it fails.
    pub fails: Option<String>,
    /// Whether the node has to reboot before Kata can be used.
    pub needs_reboot: bool,
    /// The boot that runs.
    pub boot: String,
    /// The boot that ran when the agent was done.
    pub staged_in: Option<String>,
}

/// What an agent does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing before something changes.
    Rest,
    /// Going on with its work for so long.
    Work(Duration),
    /// Saying how far it is.
    Say(Said),
}

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The label's value.
    pub state: &'static str,
    /// Why it failed.
    pub failure: Option<String>,
    /// What is installed.
    pub version: Option<String>,
    /// The boot in which it was staged.
    pub staged_in: Option<String>,
}

/// Decides. `elapsed`: since when the agent has seen this; `takes`: how long its work is.
pub fn act(view: &AgentView, elapsed: Duration, takes: Duration) -> Act {
    let Some(orders) = &view.orders else { return Act::Rest };
    let works = match (orders, view.state.as_str()) {
        (Orders::Install(_), "installing") | (Orders::Uninstall, "uninstalling") => true,
        // It tries again until it works.
        (Orders::Install(_), "install_failed") | (Orders::Uninstall, "uninstall_failed") => {
            view.fails.is_none()
        }
        (Orders::Install(version), "installed") if view.version.as_ref() != Some(version) => {
            let version = view.version.clone();
            return Act::Say(Said { state: "waiting_to_install", version, ..Said::default() });
        }
        (Orders::Install(version), "waiting_for_reboot") if view.staged_in.as_ref() != Some(&view.boot) => {
            return Act::Say(Said { state: "installed", version: Some(version.clone()), ..Said::default() });
        }
        _ => false,
    };
    if !works {
        return Act::Rest;
    }
    match takes.checked_sub(elapsed).filter(|left| !left.is_zero()) {
        Some(left) => Act::Work(left),
        None => Act::Say(done(view, orders)),
    }
}

fn done(view: &AgentView, orders: &Orders) -> Said {
    match orders {
        Orders::Install(_) if view.fails.is_some() => {
            let version = view.version.clone();
            Said { state: "install_failed", failure: view.fails.clone(), version, staged_in: None }
        }
        Orders::Uninstall if view.fails.is_some() => {
            let version = view.version.clone();
            Said { state: "uninstall_failed", failure: view.fails.clone(), version, staged_in: None }
        }
        Orders::Install(version) if view.needs_reboot => Said {
            state: "waiting_for_reboot",
            version: Some(version.clone()),
            staged_in: Some(view.boot.clone()),
            failure: None,
        },
        Orders::Install(version) => {
            Said { state: "installed", version: Some(version.clone()), ..Said::default() }
        }
        Orders::Uninstall => Said { state: "uninstalled", ..Said::default() },
    }
}

/// Runs the agents until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let queue = Arc::new(Queue::new("node-agents"));
    let since = Arc::new(Since::new());
    let adds = queue.clone();
    world.nodes.on_change(move |change| {
        if let Some(node) = &change.after
            && change.differs(|node| (view(node, &[]), is_ready(node)))
        {
            adds.add(node.name_any());
        }
    });
    let adds = queue.clone();
    world.pods.on_change(move |change| {
        let Some(pod) = change.object() else { return };
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
            && task(pod).is_some()
            && change.differs(works)
        {
            adds.add(node);
        }
    });
    queue.run(8, &cancel, |name: String| sync(world.clone(), since.clone(), name)).await;
}

async fn sync(world: Arc<World>, since: Arc<Since<String, AgentView>>, name: String) -> Next {
    let found = world.nodes.get(&Key::cluster(&name)).filter(|node| is_ready(node));
    let Some(node) = found else { return Ok(None) };
    let view = view(&node, &world.pods.indexed(&on_node(&name)));
    let elapsed = since.elapsed(name, view.clone(), world.now());
    match act(&view, elapsed, world.options.timing.agent) {
        Act::Rest => Ok(None),
        Act::Work(left) => Ok(Some(world.settle(left))),
        Act::Say(said) => {
            world.patch(&world.nodes, &Key::of(&*node), &patch(&said)).await?;
            Ok(None)
        }
    }
}

fn patch(said: &Said) -> Value {
    let mut annotations = Map::new();
    annotations.insert(names::AGENT_FAILURE.to_owned(), json!(said.failure));
    annotations.insert(names::AGENT_VERSION.to_owned(), json!(said.version));
    annotations.insert(AGENT_BOOT.to_owned(), json!(said.staged_in));
    json!({"metadata": {"labels": {names::DAEMON_SET_MODE_LABEL: said.state}, "annotations": annotations}})
}

fn view(node: &Node, pods: &[Arc<Pod>]) -> AgentView {
    let annotation = |key: &str| node.annotations().get(key).cloned();
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let agent = pods.iter().find(|pod| works(pod) && task(pod).is_some());
    AgentView {
        state: node.labels().get(names::DAEMON_SET_MODE_LABEL).cloned().unwrap_or_default(),
        version: annotation(names::AGENT_VERSION),
        orders: agent.and_then(|pod| task(pod)),
        fails: annotation(AGENT_FAILS),
        needs_reboot: annotation(AGENT_NEEDS_REBOOT).is_some(),
        boot: info.map(|info| info.boot_id.clone()).unwrap_or_default(),
        staged_in: annotation(AGENT_BOOT),
    }
}

/// The agent's program. Other operators run something else by the same name.
const PROGRAM: &str = "/usr/bin/osc-node";

/// What a pod is there for, if it is an agent's.
fn task(pod: &Pod) -> Option<Orders> {
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let runs = |command: &Vec<String>| command.first().is_some_and(|program| program == PROGRAM);
    if !containers.any(|container| container.command.as_ref().is_some_and(runs)) {
        return None;
    }
    match pod.labels().get("name").map(String::as_str) {
        Some(names::INSTALL_DAEMON_SET) => Some(Orders::Install(version(pod))),
        Some(names::UNINSTALL_DAEMON_SET) => Some(Orders::Uninstall),
        _ => None,
    }
}

/// What is to be installed depends on all that the container is told.
fn version(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let told = containers.map(|one| json!([one.image, one.env]).to_string()).collect::<Vec<_>>();
    let parts: Vec<&str> = told.iter().map(String::as_str).collect();
    format!("bundle sha256:{}", hex(&parts, 12))
}

fn works(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TAKES: Duration = Duration::from_secs(40);

    fn installer(state: &str) -> AgentView {
        let orders = Some(Orders::Install("new".to_owned()));
        AgentView { state: state.to_owned(), orders, boot: "1".to_owned(), ..AgentView::default() }
    }

    fn said(view: &AgentView) -> String {
        match act(view, TAKES, TAKES) {
            Act::Say(said) => said.state.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[rstest]
    #[case::no_turn(installer("waiting_to_install"), "Rest")]
    #[case::turn(installer("installing"), "installed")]
    #[case::nobody_runs(AgentView { orders: None, ..installer("installing") }, "Rest")]
    #[case::fails(AgentView { fails: Some("x".into()), ..installer("installing") }, "install_failed")]
    #[case::still_fails(AgentView { fails: Some("x".into()), ..installer("install_failed") }, "Rest")]
    #[case::mended(installer("install_failed"), "installed")]
    #[case::staged(AgentView { needs_reboot: true, ..installer("installing") }, "waiting_for_reboot")]
    #[case::not_rebooted(AgentView { staged_in: Some("1".into()), ..installer("waiting_for_reboot") }, "Rest")]
    #[case::rebooted(AgentView { staged_in: Some("0".into()), ..installer("waiting_for_reboot") }, "installed")]
    #[case::up_to_date(AgentView { version: Some("new".into()), ..installer("installed") }, "Rest")]
    #[case::something_newer(AgentView { version: Some("old".into()), ..installer("installed") }, "waiting_to_install")]
    #[case::removes(AgentView { orders: Some(Orders::Uninstall), ..installer("uninstalling") }, "uninstalled")]
    #[case::waits(AgentView { orders: Some(Orders::Uninstall), ..installer("waiting_to_uninstall") }, "Rest")]
    #[case::wrong_agent(AgentView { orders: Some(Orders::Uninstall), ..installer("installing") }, "Rest")]
    fn an_agent_does_what_the_label_says(#[case] view: AgentView, #[case] expected: &str) {
        assert_eq!(said(&view), expected);
    }

    #[test]
    fn work_takes_its_time() {
        let half = act(&installer("installing"), TAKES / 2, TAKES);
        assert_eq!(half, Act::Work(TAKES / 2));
    }
}
