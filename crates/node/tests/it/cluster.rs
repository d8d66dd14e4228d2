//! An embedded API server with one Node, and the agent at work on it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use osc_devcluster::server::{Server, ServerConfig};
use osc_node::agent::{Agent, Mode, Pauses};
use osc_node::node::{FAILURE_ANNOTATION, OwnNode, VERSION_ANNOTATION};
use osc_node::platform::NodeInfo;
use osc_node::work::Work;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scratch::{Scratch, node};

pub const LABEL: &str = osc_api::names::DAEMON_SET_MODE_LABEL;

pub struct Cluster<'a> {
    host: &'a Scratch,
    pub server: Server,
    pub client: Client,
}

/// What the Node says.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub label: Option<String>,
    pub failure: Option<String>,
    pub version: Option<String>,
}

impl<'a> Cluster<'a> {
    pub fn start(host: &'a Scratch) -> Self {
        Self::with_node(host, &node())
    }

    pub fn with_node(host: &'a Scratch, info: &NodeInfo) -> Self {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": "worker-0", "labels": { "kubernetes.io/os": "linux" } },
            "status": { "nodeInfo": {
                "architecture": info.architecture,
                "containerRuntimeVersion": info.runtime,
                "kubeletVersion": info.kubelet,
                "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux",
                "osImage": "", "systemUUID": "",
            } },
        });
        let server = host.runtime().block_on(Server::start(ServerConfig::default())).unwrap();
        server.load(vec![object]).unwrap();
        let client = host.runtime().block_on(async { server.client_named("person") }).unwrap();
        Self { host, server, client }
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Writes the label, as the operator or somebody else does.
    pub fn label(&self, value: Option<&str>) {
        let patch = json!({ "metadata": { "labels": { (LABEL): value } } });
        let nodes = self.nodes();
        self.host
            .runtime()
            .block_on(nodes.patch("worker-0", &PatchParams::default(), &Patch::Merge(patch)))
            .unwrap();
    }

    pub fn told(&self) -> Told {
        let node = self.host.runtime().block_on(self.nodes().get("worker-0")).unwrap();
        Told {
            label: node.labels().get(LABEL).cloned(),
            failure: node.annotations().get(FAILURE_ANNOTATION).cloned(),
            version: node.annotations().get(VERSION_ANNOTATION).cloned(),
        }
    }

    /// Waits until the label has that value.
    pub fn wait_for(&self, label: &str) -> Told {
        for _ in 0..1500 {
            let told = self.told();
            if told.label.as_deref() == Some(label) {
                return told;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the label never became {label}: {:?}", self.told());
    }

    /// Reasons and messages of all events.
    pub fn events(&self) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = self.host.runtime().block_on(events.list(&ListParams::default())).unwrap();
        list.into_iter()
            .map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    /// An agent that retries soon.
    pub fn agent(&self, work: Work, mode: Mode) -> Running<'a> {
        self.patient_agent(work, mode, Duration::from_millis(200))
    }

    /// An agent that retries after so long for the first time.
    pub fn patient_agent(&self, work: Work, mode: Mode, first_retry: Duration) -> Running<'a> {
        let client = self.host.runtime().block_on(async { self.server.client_named("osc-node") }).unwrap();
        let pauses = Pauses {
            first_retry,
            longest_retry: first_retry * 5,
            look: Duration::from_secs(1),
            doubt: Duration::from_millis(50),
            lock: Duration::from_millis(50),
        };
        let agent = Agent { work, node: OwnNode::new(client, "worker-0", LABEL), mode, pauses };
        let stop = CancellationToken::new();
        let task = self.host.runtime().spawn(agent.run(stop.clone()));
        Running { host: self.host, stop, task: Some(task) }
    }
}

/// An agent at work. It is stopped when it is dropped.
pub struct Running<'a> {
    host: &'a Scratch,
    stop: CancellationToken,
    task: Option<JoinHandle<osc_node::Result<()>>>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = self.host.runtime().block_on(task);
        }
    }
}
