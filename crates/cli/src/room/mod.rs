//! What pods ask for and what nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use osc_engine::quantity::{cpu, memory, thousandths};

/// CPU and memory, in thousandths of a CPU and of a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// CPU.
    pub cpu: i128,
    /// Memory.
    pub memory: i128,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    /// What is left; nothing where there is too little.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self { cpu: (self.cpu - other.cpu).max(0), memory: (self.memory - other.memory).max(0) }
    }

    /// Whether it fits in there.
    pub fn fits(self, other: Self) -> bool {
        self.cpu <= other.cpu && self.memory <= other.memory
    }

    fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    /// Reads `cpu` and `memory`. What is absent, or no quantity, counts as nothing.
    pub fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let get = |key: &str| quantities.and_then(|map| map.get(key)).and_then(thousandths).unwrap_or(0);
        Self { cpu: get("cpu"), memory: get("memory") }
    }

    /// What a node has for pods.
    pub fn allocatable(node: &Node) -> Self {
        Self::of(node.status.as_ref().and_then(|status| status.allocatable.as_ref()))
    }

    /// `12.5 CPU and 40Gi`.
    pub fn words(self) -> String {
        format!("{} CPU and {} of memory", cpu(self.cpu), memory(self.memory))
    }
}

/// How many pods each node has, and what they ask for.
pub fn used(pods: &[Pod]) -> BTreeMap<&str, (i128, Amount)> {
    let mut used: BTreeMap<&str, (i128, Amount)> = BTreeMap::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let Some(spec) = pod.spec.as_ref().filter(|_| !matches!(phase, Some("Succeeded" | "Failed"))) else {
            continue;
        };
        let Some(node) = spec.node_name.as_deref() else { continue };
        let (count, amount) = used.entry(node).or_default();
        *count += 1;
        *amount = amount.plus(requests(spec));
    }
    used
}

/// What the scheduler reserves for a pod: its containers together, or its greediest init container, and the overhead.
pub fn requests(spec: &PodSpec) -> Amount {
    let of = |container: &Container| {
        Amount::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let init = || spec.init_containers.iter().flatten();
    let running =
        spec.containers.iter().chain(init().filter(sidecar)).map(of).fold(Amount::default(), Amount::plus);
    let starting =
        init().filter(|container| !sidecar(container)).map(of).fold(Amount::default(), Amount::max);
    running.max(starting).plus(Amount::of(spec.overhead.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_takes_what_the_scheduler_reserves() {
        let mut sidecar = container("500m", "0");
        sidecar["restartPolicy"] = json!("Always");
        let pod: PodSpec = serde_json::from_value(json!({
            "containers": [container("100m", "1Gi"), container("1", "1Gi")],
            "initContainers": [container("3", "1Mi"), sidecar],
            "overhead": {"cpu": "250m", "memory": "350Mi"},
        }))
        .unwrap();
        let mebibyte = 1024 * 1024 * 1000;
        assert_eq!(requests(&pod), Amount { cpu: 3250, memory: (2048 + 350) * mebibyte });
        assert_eq!(requests(&pod).words(), "3.2 CPU and 2.3Gi of memory");
    }

    #[test]
    fn pods_that_ended_take_nothing() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p"},
                "spec": {"nodeName": "a", "containers": [container("1", "0")]}, "status": {"phase": phase}}))
            .unwrap()
        };
        let pods = [pod("Running"), pod("Succeeded"), pod("Pending")];
        assert_eq!(used(&pods)["a"], (2, Amount { cpu: 2000, memory: 0 }));
    }
}
