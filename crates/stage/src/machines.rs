//! The machines of the simulated adaptor: those of a cloud in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use osc_api::peerpods::webhook::{DEFAULT_MEMORY, DEFAULT_VCPUS, MACHINE_TYPE};
use osc_cloud::memory::Memory;
use osc_cloud::{InstanceSpec, Kind, Tags};
use osc_devcluster::sim::adaptor::{MachineRequest, Machines};

/// Machines of a cloud in memory, of the provider that the adaptor's environment names.
#[derive(Debug)]
pub struct CloudMachines {
    memory: Memory,
    /// Where each was made: who deletes one says only which.
    kinds: Mutex<HashMap<String, Kind>>,
}

impl CloudMachines {
    /// Those of that cloud.
    pub fn new(memory: Memory) -> Self {
        Self { memory, kinds: Mutex::default() }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<String, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machines for CloudMachines {
    fn create(&self, request: MachineRequest) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move {
            let kind = provider(&request.env)?;
            let spec = spec(kind, &request)?;
            self.memory.set_time(request.now);
            let made = self.memory.provider(kind).create(&spec).await.map_err(|error| error.to_string())?;
            self.kinds().insert(made.id.clone(), kind);
            Ok(made.id)
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let kind = self.kinds().get(id).copied();
            let kind = kind.ok_or_else(|| format!("machine {id} was not made here"))?;
            self.memory.provider(kind).delete(id).await.map_err(|error| error.to_string())?;
            self.kinds().remove(id);
            Ok(())
        })
    }
}

/// The provider that an environment names.
pub(crate) fn provider(env: &BTreeMap<String, String>) -> Result<Kind, String> {
    let name = env.get("CLOUD_PROVIDER").map(|name| name.trim()).unwrap_or_default();
    Kind::by_name(name).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        format!("CLOUD_PROVIDER is {name:?}; it has to be one of {known}")
    })
}

/// What machine the request is about.
fn spec(kind: Kind, request: &MachineRequest) -> Result<InstanceSpec, String> {
    let set = |name: &str| request.env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let wish = |annotation: &str| request.annotations.get(annotation).map(|value| value.trim());
    // Without it, nobody would know whose machine that is.
    let cluster = set("CLUSTER_ID").ok_or("CLUSTER_ID is not set in the adaptor's environment")?;
    let tags = Tags {
        cluster: cluster.to_owned(),
        node: request.node.clone(),
        namespace: request.namespace.clone(),
        pod: request.pod.clone(),
        pod_uid: request.uid.clone(),
        sandbox: request.name.rsplit('-').next().unwrap_or_default().to_owned(),
    };
    let mut spec = InstanceSpec::new(request.name.clone(), tags);
    spec.cpus = wish(DEFAULT_VCPUS).map(|text| number(DEFAULT_VCPUS, text)).transpose()?;
    spec.memory_mib = wish(DEFAULT_MEMORY).map(|text| number(DEFAULT_MEMORY, text)).transpose()?;
    let own = kind.size_keys().and_then(|(key, _)| set(key));
    spec.instance_type = wish(MACHINE_TYPE).or(own).map(str::to_owned);
    spec.image = set(kind.image_key()).map(str::to_owned);
    Ok(spec)
}

fn number<N: std::str::FromStr>(annotation: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("annotation {annotation} is {text:?}; it has to be a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn request(env: &[(&str, &str)], annotations: &[(&str, &str)]) -> MachineRequest {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        MachineRequest {
            name: "podvm-web-0123abcd".into(),
            node: "worker-0".into(),
            namespace: "demo".into(),
            pod: "web".into(),
            uid: "u".into(),
            annotations: map(annotations),
            env: map(env),
            now: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    const AWS: [(&str, &str); 3] =
        [("CLOUD_PROVIDER", "aws"), ("CLUSTER_ID", "c"), ("PODVM_INSTANCE_TYPE", "t3.medium")];

    #[tokio::test]
    async fn a_machine_is_marked_with_whose_it_is_and_since_when() {
        let memory = Memory::new();
        let machines = CloudMachines::new(memory.clone());
        let id = machines.create(request(&AWS, &[])).await.unwrap();
        let [made] = <[_; 1]>::try_from(memory.instances()).unwrap();
        let tags = &made.tags;
        let whose = [&tags.cluster, &tags.node, &tags.namespace, &tags.pod, &tags.pod_uid, &tags.sandbox];
        assert_eq!(whose, ["c", "worker-0", "demo", "web", "u", "0123abcd"]);
        assert_eq!(made.created.unwrap().as_second(), 1_000_000);
        machines.delete(&id).await.unwrap();
        assert!(memory.left().is_empty(), "{}", memory.left());
        assert_eq!(machines.delete(&id).await, Err(format!("machine {id} was not made here")));
    }

    #[test]
    fn sizes_come_from_the_pod_and_else_from_the_settings() {
        let sized = |annotations| spec(Kind::Aws, &request(&AWS, annotations));
        let plain = sized(&[]).unwrap();
        assert_eq!(
            (plain.cpus, plain.memory_mib, plain.instance_type.as_deref()),
            (None, None, Some("t3.medium"))
        );
        let asked =
            sized(&[(DEFAULT_VCPUS, "2"), (DEFAULT_MEMORY, "4096"), (MACHINE_TYPE, "m5.large")]).unwrap();
        assert_eq!(
            (asked.cpus, asked.memory_mib, asked.instance_type.as_deref()),
            (Some(2), Some(4096), Some("m5.large"))
        );
        let words = sized(&[(DEFAULT_VCPUS, "two")]).unwrap_err();
        assert_eq!(words, format!("annotation {DEFAULT_VCPUS} is \"two\"; it has to be a whole number"));
    }

    #[tokio::test]
    async fn an_environment_that_says_too_little_makes_nothing() {
        let memory = Memory::new();
        let machines = CloudMachines::new(memory.clone());
        let words = machines.create(request(&[("CLOUD_PROVIDER", "moon")], &[])).await.unwrap_err();
        assert_eq!(words, "CLOUD_PROVIDER is \"moon\"; it has to be one of aws, azure, gcp, libvirt");
        let words = machines.create(request(&AWS[..1], &[])).await.unwrap_err();
        assert_eq!(words, "CLUSTER_ID is not set in the adaptor's environment");
        assert!(memory.left().is_empty() && memory.calls().is_empty());
    }
}
