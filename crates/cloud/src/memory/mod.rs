//! A cloud in memory: for tests and demos, with failures on demand.
//!
//! Deterministic: identifiers and addresses are counted, and time is what [`Memory::set_time`] says. All clones are the same
//! cloud. It stands for any of the four providers, with identifiers of their form.

mod fault;
mod left;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{
    Account, Connect, CreateError, Deletion, Error, Instance, InstanceSpec, Kind, Owner, Provider, Tags,
    is_vm_name,
};

pub use fault::{Call, Fault, Operation};
pub use left::Left;

/// All of it.
#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Vm>,
    images: BTreeSet<String>,
    volumes: BTreeSet<String>,
    calls: Vec<Call>,
    faults: Vec<fault::Planned>,
    unauthorized: bool,
    time: Timestamp,
    made: u32,
}

#[derive(Clone, Debug)]
struct Vm {
    kind: Kind,
    instance: Instance,
    user_data: Vec<u8>,
}

/// A cloud in memory. Clones are the same cloud.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// An empty cloud.
    pub fn new() -> Self {
        Self::default()
    }

    /// It, as that provider.
    pub fn provider(&self, kind: Kind) -> Arc<dyn Provider> {
        Arc::new(View { memory: self.clone(), kind })
    }

    /// Lets the n-th call of that operation from now on go wrong; 1 is the next one.
    pub fn fault(&self, operation: Operation, nth: usize, fault: Fault) {
        self.lock().faults.push(fault::Planned { operation, countdown: nth, fault });
    }

    /// Refuses the credentials of every call, until it is told otherwise.
    pub fn set_unauthorized(&self, unauthorized: bool) {
        self.lock().unauthorized = unauthorized;
    }

    /// The time that new machines are said to be of. The beginning of 1970, if nobody says.
    pub fn set_time(&self, time: Timestamp) {
        self.lock().time = time;
    }

    /// Lets a machine vanish without anyone asking for it: the cloud did, or a person. Whether it was there.
    pub fn vanish(&self, id: &str) -> bool {
        let mut state = self.lock();
        let gone = state.instances.remove(id);
        if let Some(vm) = &gone {
            state.volumes.remove(&root_volume(&vm.instance.name));
        }
        gone.is_some()
    }

    /// A machine that nobody created here: of an older adaptor, or of another cluster. Its identifier.
    pub fn plant(&self, kind: Kind, name: &str, tags: Tags) -> String {
        self.lock().put(kind, name, tags, Vec::new()).id
    }

    /// An image that is there.
    pub fn add_image(&self, id: &str) {
        self.lock().images.insert(id.to_owned());
    }

    /// Deletes an image. Whether it was there.
    pub fn remove_image(&self, id: &str) -> bool {
        self.lock().images.remove(id)
    }

    /// A volume that is there.
    pub fn add_volume(&self, name: &str) {
        self.lock().volumes.insert(name.to_owned());
    }

    /// Deletes a volume. Whether it was there.
    pub fn remove_volume(&self, name: &str) -> bool {
        self.lock().volumes.remove(name)
    }

    /// The machines, by identifier.
    pub fn instances(&self) -> Vec<Instance> {
        self.lock().instances.values().map(|vm| vm.instance.clone()).collect()
    }

    /// What that machine was told at its start.
    pub fn user_data(&self, id: &str) -> Option<Vec<u8>> {
        self.lock().instances.get(id).map(|vm| vm.user_data.clone())
    }

    /// What was asked of it, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Everything that exists: at the end of a scenario, that is to be nothing.
    pub fn left(&self) -> Left {
        let state = self.lock();
        let machine = |(id, vm): (&String, &Vm)| format!("{} ({id})", vm.instance.name);
        Left {
            instances: state.instances.iter().map(machine).collect(),
            volumes: state.volumes.iter().cloned().collect(),
            images: state.images.iter().cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call, waits if it is to be slow, and tells what is to go wrong.
    async fn begin(&self, kind: Kind, operation: Operation, subject: &str) -> Result<Option<Fault>, Error> {
        let fault = {
            let mut state = self.lock();
            state.calls.push(Call { operation, subject: subject.to_owned() });
            fault::due(&mut state.faults, operation)
        };
        if let Some(Fault::Slow(time)) = fault {
            tokio::time::sleep(time).await;
        }
        if self.lock().unauthorized {
            let message = "they were revoked; renew peer-pods-secret".to_owned();
            return Err(Error::Unauthorized { kind, message });
        }
        match fault {
            Some(Fault::Error(error)) => Err(error),
            other => Ok(other),
        }
    }
}

impl State {
    fn put(&mut self, kind: Kind, name: &str, tags: Tags, user_data: Vec<u8>) -> Instance {
        self.made += 1;
        let [_, a, b, c] = self.made.to_be_bytes();
        let instance = Instance {
            id: identifier(kind, self.made, name),
            name: name.to_owned(),
            tags,
            addresses: vec![IpAddr::V4(Ipv4Addr::new(10, a, b, c))],
            created: Some(self.time),
        };
        self.volumes.insert(root_volume(name));
        self.instances.insert(instance.id.clone(), Vm { kind, instance: instance.clone(), user_data });
        instance
    }

    fn named(&self, kind: Kind, name: &str) -> Option<&Vm> {
        self.instances.values().find(|vm| vm.kind == kind && vm.instance.name == name)
    }
}

fn root_volume(name: &str) -> String {
    format!("{name}-root")
}

fn identifier(kind: Kind, number: u32, name: &str) -> String {
    match kind {
        Kind::Aws => format!("i-{number:017x}"),
        Kind::Azure => {
            format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/{name}")
        }
        Kind::Gcp => name.to_owned(),
        Kind::Libvirt => format!("00000000-0000-4000-8000-{number:012x}"),
    }
}

/// Whether that could be an identifier of this provider. If not: what they look like.
fn well_formed(kind: Kind, id: &str) -> Result<(), &'static str> {
    let hex = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
    let (fine, expected) = match kind {
        Kind::Aws => (id.strip_prefix("i-").is_some_and(hex), "like i-0123456789abcdef0"),
        Kind::Azure => (id.starts_with("/subscriptions/"), "paths that begin with /subscriptions/"),
        Kind::Gcp => (is_vm_name(id), "names of pod VMs"),
        Kind::Libvirt => (id.parse::<uuid::Uuid>().is_ok() || is_vm_name(id), "UUIDs, or names of pod VMs"),
    };
    if fine { Ok(()) } else { Err(expected) }
}

impl Connect for Memory {
    fn connect<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Arc<dyn Provider>, Error>> {
        Box::pin(async move {
            self.begin(account.provider, Operation::Connect, account.provider.name()).await?;
            Ok(self.provider(account.provider))
        })
    }
}

/// The cloud, as one of the providers.
#[derive(Clone, Debug)]
struct View {
    memory: Memory,
    kind: Kind,
}

impl View {
    async fn make(&self, spec: &InstanceSpec) -> Result<Instance, CreateError> {
        let fault = self.memory.begin(self.kind, Operation::Create, &spec.name).await?;
        let mut state = self.memory.lock();
        if let Some(vm) = state.named(self.kind, &spec.name) {
            if vm.instance.tags.same_sandbox(&spec.tags) && vm.user_data == spec.user_data {
                return Ok(vm.instance.clone());
            }
            let owner = format!("its tags are {:?}", vm.instance.tags.pairs());
            return Err(Error::Taken { what: "machine", name: spec.name.clone(), owner }.into());
        }
        let made = state.put(self.kind, &spec.name, spec.tags.clone(), spec.user_data.clone());
        match fault {
            Some(Fault::Partial(error)) => Err(CreateError::with(error, made)),
            Some(Fault::Lost(error)) => Err(CreateError::clean(error)),
            _ => Ok(made),
        }
    }

    async fn remove(&self, id: &str) -> Result<Deletion, Error> {
        let fault = self.memory.begin(self.kind, Operation::Delete, id).await?;
        well_formed(self.kind, id).map_err(|expected| Error::MalformedId {
            kind: self.kind,
            id: id.to_owned(),
            expected,
        })?;
        let gone = self.memory.vanish(id);
        match fault {
            // It is gone, and nobody heard of it.
            Some(Fault::Lost(error)) => Err(error),
            _ if gone => Ok(Deletion::Deleted),
            _ => Ok(Deletion::WasGone),
        }
    }

    async fn find(
        &self,
        operation: Operation,
        wanted: impl Fn(&Tags) -> bool,
    ) -> Result<Vec<Instance>, Error> {
        self.memory.begin(self.kind, operation, "").await?;
        let state = self.memory.lock();
        let ours = state.instances.values().filter(|vm| vm.kind == self.kind && wanted(&vm.instance.tags));
        Ok(ours.map(|vm| vm.instance.clone()).collect())
    }
}

impl Provider for View {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Result<Instance, CreateError>> {
        Box::pin(self.make(spec))
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Deletion, Error>> {
        Box::pin(self.remove(id))
    }

    fn list<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Vec<Instance>, Error>> {
        Box::pin(self.find(Operation::List, |tags| owner.owns(tags)))
    }

    fn untagged(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(self.find(Operation::Untagged, |tags| tags.cluster.is_empty()))
    }

    fn verify(&self) -> BoxFuture<'_, Result<Vec<String>, Vec<Error>>> {
        Box::pin(async {
            let checked = self.memory.begin(self.kind, Operation::Verify, "").await;
            checked.map(|_| vec!["this cloud is in memory".to_owned()]).map_err(|error| vec![error])
        })
    }
}

#[cfg(test)]
mod tests;
