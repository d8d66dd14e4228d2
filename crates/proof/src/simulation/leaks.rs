//! What a scenario leaves behind that nobody asked for: in the cloud, and in the cluster.

use std::collections::BTreeSet;

use osc_api::peerpods::VM_RESOURCE;

use super::lasting::lasting;
use super::rig::Rig;

impl Rig {
    /// What is left, a line each. While there is a KataConfig, what it is for may be there; what nobody knows of may not.
    pub fn left_behind(&self) -> Vec<String> {
        let mut left = self.strays();
        if self.find("KataConfig", super::rig::NAME).is_none() {
            left.extend(
                self.cloud()
                    .left()
                    .to_string()
                    .split(", ")
                    .filter(|one| *one != "nothing")
                    .map(str::to_owned),
            );
            left.extend(self.objects_left());
            left.extend(self.room_left());
        }
        left
    }

    /// Virtual machines without a PeerPod, and PeerPods without a virtual machine.
    fn strays(&self) -> Vec<String> {
        let objects = self.cluster().server().objects();
        let known: BTreeSet<String> = objects
            .iter()
            .filter(|object| object["kind"] == "PeerPod")
            .map(|object| object["spec"]["instanceID"].as_str().unwrap_or_default().to_owned())
            .collect();
        let there: BTreeSet<String> = self.cloud().instances().into_iter().map(|one| one.id).collect();
        let unknown = there.difference(&known).map(|id| format!("virtual machine {id} has no PeerPod"));
        let without = known.difference(&there).map(|id| format!("a PeerPod names {id}, which is not there"));
        unknown.chain(without).collect()
    }

    /// Objects that were not there before and that no person made.
    fn objects_left(&self) -> Vec<String> {
        let known = self.known_objects();
        let found = lasting(&self.cluster().server().objects()).into_keys();
        found.filter(|name| !known.contains(name)).map(|name| format!("{name} is left")).collect()
    }

    fn room_left(&self) -> Vec<String> {
        let objects = self.cluster().server().objects();
        let nodes = objects.iter().filter(|object| object["kind"] == "Node");
        nodes
            .filter(|node| node["status"]["capacity"][VM_RESOURCE].as_str().is_some_and(|room| room != "0"))
            .map(|node| format!("node {} has room for pod VMs", node["metadata"]["name"]))
            .collect()
    }
}
