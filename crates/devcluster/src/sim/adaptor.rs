//! An imitation of the remote hypervisor adaptor: a [`Program`] for the pods of the DaemonSet `osc-caa-ds`.
//!
//! On its node it says how many pod VMs fit, and makes one for each pod whose runtime class has the handler
//! [`HANDLER`]. Each becomes a `PeerPod` object that its pod owns and a finalizer holds. It remembers them for as long
//! as it runs and no longer, as the Go program does: what it has forgotten is left to whoever follows `PeerPod`
//! objects. The [annotations](super::annotations) of nodes and pods make it fail.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use osc_api::peerpods::PeerPod;
use serde_json::{Value, json};

use super::annotations::{ADAPTOR_DIES, ADAPTOR_FORGETS, MACHINE_FAILS};
use super::options::hex;
use super::program::{Ask, Context, Exit, Program, SandboxRequest};
use super::world::FIELD_MANAGER;
use crate::Clock;

/// The handler of runtime classes that it serves.
pub const HANDLER: &str = "kata-remote";
/// The label `name` of its pods.
pub const POD_NAME: &str = "osc-caa-ds";
/// The resource by which pod VMs are counted.
pub const RESOURCE: &str = "kata.peerpods.io/vm";
/// Node annotation: the uid of the adaptor's pod that has set the node's capacity last.
pub const OWNER: &str = "kata.peerpods.io/caa-owner";
/// What holds a `PeerPod`.
pub const FINALIZER: &str = "peer.pod/finalizer";
/// Pod VMs of a node when nobody says how many.
const DEFAULT_LIMIT: i64 = 10;

/// Where the machines are: a cloud, or what stands for one.
pub trait Machines: Send + Sync {
    /// Makes a machine and returns its identifier.
    fn create(&self, request: MachineRequest) -> BoxFuture<'_, Result<String, String>>;

    /// Deletes one.
    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// What machine is wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineRequest {
    /// Its name: `podvm-`, the pod's name, eight characters.
    pub name: String,
    /// The worker node.
    pub node: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The adaptor's environment, credentials included.
    pub env: BTreeMap<String, String>,
    /// The time there.
    pub now: Timestamp,
}

impl fmt::Debug for MachineRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, node, namespace, pod, .. } = self;
        // Not the environment: there are secrets in it.
        f.debug_struct("MachineRequest")
            .field("name", name)
            .field("node", node)
            .field("pod", &format!("{namespace}/{pod}"))
            .finish_non_exhaustive()
    }
}

/// The program.
pub struct Adaptor {
    machines: Arc<dyn Machines>,
}

impl Adaptor {
    /// One that makes its machines there.
    pub fn new(machines: Arc<dyn Machines>) -> Self {
        Self { machines }
    }
}

impl Program for Adaptor {
    fn takes(&self, pod: &Pod) -> bool {
        pod.labels().get("name").is_some_and(|name| name == POD_NAME)
    }

    fn serves(&self) -> Option<&str> {
        Some(HANDLER)
    }

    fn run(&self, context: Context) -> BoxFuture<'static, Exit> {
        let machines = self.machines.clone();
        async move {
            match run(context, machines).await {
                Ok(()) => Exit::Success(String::new()),
                Err(why) => Exit::Failure(why),
            }
        }
        .boxed()
    }
}

async fn run(context: Context, machines: Arc<dyn Machines>) -> Result<(), String> {
    let env = context.env().await.map_err(|error| error.to_string())?;
    let capacity = Capacity::read(&context.client, &env)?;
    if let Some(capacity) = &capacity {
        capacity.advertise().await.map_err(|error| format!("cannot advertise {RESOURCE}: {error}"))?;
    }
    let instance = Arc::new(Instance {
        client: context.client.clone(),
        node: context.node.clone(),
        clock: context.clock.clone(),
        env,
        machines,
        known: Mutex::default(),
    });
    let served = serve(&context, &instance).await;
    if let (Some(capacity), Ok(())) = (&capacity, &served)
        && let Err(error) = capacity.withdraw().await
    {
        tracing::warn!(node = context.node, %error, "cannot withdraw {RESOURCE}");
    }
    served
}

/// Answers requests until cancelled, several at a time.
async fn serve(context: &Context, instance: &Arc<Instance>) -> Result<(), String> {
    let mut sandboxes = context.serve(HANDLER);
    context.ready();
    let mut work = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Ok(()),
            Some(outcome) = work.next() => outcome?,
            Some(request) = sandboxes.next() => {
                let instance = instance.clone();
                work.push(async move { instance.handle(request).await });
            }
        }
    }
}

/// How many pod VMs fit on a node, as it is told there.
struct Capacity {
    nodes: Api<Node>,
    node: String,
    limit: String,
    /// The adaptor's pod.
    owner: Option<String>,
}

impl Capacity {
    /// Nothing if it is not to be told.
    fn read(client: &Client, env: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let limit = match get("PEERPODS_LIMIT_PER_NODE") {
            None => DEFAULT_LIMIT,
            Some(text) => text.trim().parse().map_err(|_| {
                format!("PEERPODS_LIMIT_PER_NODE is {text:?}; it has to be a whole number, negative for none")
            })?,
        };
        let node = get("NODE_NAME").filter(|_| limit >= 0);
        Ok(node.map(|node| Self {
            nodes: Api::all(client.clone()),
            node: node.clone(),
            limit: limit.to_string(),
            owner: get("POD_UID").cloned(),
        }))
    }

    async fn advertise(&self) -> Result<(), kube::Error> {
        if let Some(owner) = &self.owner {
            let claim = json!({"metadata": {"annotations": {OWNER: owner}}});
            self.nodes.patch(&self.node, &params(), &Patch::Merge(&claim)).await?;
        }
        self.patch(json!({"op": "add", "path": pointer(), "value": self.limit})).await
    }

    /// Takes it back unless another instance has said it anew.
    async fn withdraw(&self) -> Result<(), kube::Error> {
        if let Some(owner) = &self.owner {
            let node = self.nodes.get(&self.node).await?;
            if node.annotations().get(OWNER) != Some(owner) {
                return Ok(());
            }
        }
        self.patch(json!({"op": "remove", "path": pointer()})).await
    }

    async fn patch(&self, operation: Value) -> Result<(), kube::Error> {
        let patch: json_patch::Patch =
            serde_json::from_value(json!([operation])).map_err(kube::Error::SerdeError)?;
        self.nodes.patch_status(&self.node, &params(), &Patch::Json::<()>(patch)).await.map(|_| ())
    }
}

fn pointer() -> String {
    format!("/status/capacity/{}", RESOURCE.replace('/', "~1"))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// One run of the program.
struct Instance {
    client: Client,
    node: String,
    clock: Clock,
    env: BTreeMap<String, String>,
    machines: Arc<dyn Machines>,
    /// Machines by the uid of their pod.
    known: Mutex<HashMap<String, Machine>>,
}

#[derive(Clone)]
struct Machine {
    id: String,
    peer_pod: Option<String>,
}

impl Instance {
    /// The error ends the program.
    async fn handle(&self, request: SandboxRequest) -> Result<(), String> {
        let pod = request.pod.clone();
        match request.ask {
            Ask::Delete => request.answer(self.delete(&pod).await),
            Ask::Create => match self.create(&pod).await {
                Ok(outcome) => request.answer(outcome),
                // The request stays without an answer, as it does when a process dies.
                Err(death) => return Err(death),
            },
        }
        Ok(())
    }

    async fn create(&self, pod: &Pod) -> Result<Result<(), String>, String> {
        let knobs = match self.knobs(pod).await {
            Ok(knobs) => knobs,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Some(why) = knobs.get(MACHINE_FAILS) {
            return Ok(Err(format!("rpc error: code = Unknown desc = creating an instance: {why}")));
        }
        let id = match self.machines.create(self.request(pod)).await {
            Ok(id) => id,
            Err(why) => {
                return Ok(Err(format!("rpc error: code = Unknown desc = creating an instance: {why}")));
            }
        };
        if knobs.contains_key(ADAPTOR_DIES) {
            self.die(pod).await.map_err(|error| error.to_string())?;
            return Err(format!("died when machine {id} was made"));
        }
        // A failure is only logged, and the machine is one that nobody knows of.
        let peer_pod = self.record(pod, &id).await.unwrap_or_else(|error| {
            tracing::warn!(pod = pod.name_any(), machine = id, %error, "no PeerPod was made for a machine");
            None
        });
        self.known().insert(pod.uid().unwrap_or_default(), Machine { id, peer_pod });
        Ok(Ok(()))
    }

    async fn delete(&self, pod: &Pod) -> Result<(), String> {
        let Some(machine) = self.known().remove(&pod.uid().unwrap_or_default()) else {
            return Err("unknown sandbox".to_owned());
        };
        let knobs = self.knobs(pod).await.map_err(|error| error.to_string())?;
        if knobs.contains_key(ADAPTOR_FORGETS) {
            return Ok(());
        }
        self.machines.delete(&machine.id).await?;
        match &machine.peer_pod {
            Some(name) => self.release(pod, name).await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Machine>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, pod: &Pod) -> MachineRequest {
        let uid = pod.uid().unwrap_or_default();
        MachineRequest {
            name: machine_name(&pod.name_any(), &hex(&["sandbox", &uid], 8)),
            node: self.node.clone(),
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            uid,
            annotations: pod.annotations().clone(),
            env: self.env.clone(),
            now: self.clock.now(),
        }
    }

    /// The annotations of the pod and of the node, as they are now.
    async fn knobs(&self, pod: &Pod) -> Result<BTreeMap<String, String>, kube::Error> {
        let node = Api::<Node>::all(self.client.clone()).get_opt(&self.node).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let pod = pods.get_opt(&pod.name_any()).await?;
        let mut knobs = node.map(|node| node.annotations().clone()).unwrap_or_default();
        knobs.extend(pod.map(|pod| pod.annotations().clone()).unwrap_or_default());
        Ok(knobs)
    }

    /// Once is enough: the next instance lives.
    async fn die(&self, pod: &Pod) -> Result<(), kube::Error> {
        let lift = Patch::Merge(json!({"metadata": {"annotations": {ADAPTOR_DIES: null}}}));
        Api::<Node>::all(self.client.clone()).patch(&self.node, &params(), &lift).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        pods.patch(&pod.name_any(), &params(), &lift).await?;
        Ok(())
    }

    async fn record(&self, pod: &Pod, id: &str) -> Result<Option<String>, kube::Error> {
        let Some(provider) = self.env.get("CLOUD_PROVIDER").filter(|provider| !provider.is_empty()) else {
            tracing::info!("CLOUD_PROVIDER is not set: no PeerPod is made");
            return Ok(None);
        };
        let object: PeerPod =
            serde_json::from_value(peer_pod(pod, provider, id)).map_err(kube::Error::SerdeError)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.peer_pods(pod).create(&params, &object).await.map(|made| made.metadata.name)
    }

    async fn release(&self, pod: &Pod, name: &str) -> Result<(), kube::Error> {
        let operations = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        let patch: json_patch::Patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
        match self.peer_pods(pod).patch(name, &params(), &Patch::Json::<()>(patch)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    fn peer_pods(&self, pod: &Pod) -> Api<PeerPod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }
}

/// `podvm-<pod>-<eight characters>`, 63 characters at most.
fn machine_name(pod: &str, sandbox: &str) -> String {
    let room = 63 - "podvm-".len() - 1 - sandbox.len();
    format!("podvm-{}-{sandbox}", pod.chars().take(room).collect::<String>())
}

fn peer_pod(pod: &Pod, provider: &str, id: &str) -> Value {
    let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
    json!({
        "apiVersion": "confidentialcontainers.org/v1alpha1",
        "kind": "PeerPod",
        "metadata": {
            "name": format!("{name}-resource-{}", hex(&[&uid, id], 5)),
            "namespace": pod.namespace(),
            "finalizers": [FINALIZER],
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {"cloudProvider": provider, "instanceID": id},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_after_its_pod() {
        assert_eq!(machine_name("web", "0123abcd"), "podvm-web-0123abcd");
        let long = machine_name(&"x".repeat(200), "0123abcd");
        assert_eq!((long.len(), &long[54..]), (63, "-0123abcd"));
    }

    #[test]
    fn no_secret_shows_in_a_request() {
        let request = MachineRequest {
            name: "podvm-web-0123abcd".into(),
            node: "worker-0".into(),
            namespace: "demo".into(),
            pod: "web".into(),
            uid: "u".into(),
            annotations: BTreeMap::new(),
            env: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned())]),
            now: Timestamp::UNIX_EPOCH,
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("demo/web") && !shown.contains("hush"), "{shown}");
    }
}
