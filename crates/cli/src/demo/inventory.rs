//! Proof that nothing is left behind: everything in the API, by name, before and after.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};
use osc_api::names;
use serde_json::Value;

/// Every object of the cluster with what of it could be left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Inventory(BTreeMap<String, Value>);

/// Kinds that others write by themselves, whatever we do.
const NOT_OURS: [&str; 2] = ["Event", "Lease"];

impl Inventory {
    /// Lists every object of every kind that can be listed.
    pub async fn take(client: &Client) -> anyhow::Result<Self> {
        let discovery = Discovery::new(client.clone()).run().await?;
        let mut objects = BTreeMap::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                if !capabilities.supports_operation(verbs::LIST) || NOT_OURS.contains(&resource.kind.as_str())
                {
                    continue;
                }
                let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
                for object in api.list(&ListParams::default()).await? {
                    let name = object.metadata.name.clone().unwrap_or_default();
                    // The Machine Config Operator keeps what it rendered.
                    if resource.kind == "MachineConfig" && name.starts_with("rendered-") {
                        continue;
                    }
                    let namespace =
                        object.metadata.namespace.clone().map_or(String::new(), |ns| format!("{ns}/"));
                    objects.insert(format!("{} {namespace}{name}", resource.kind), trace(&object));
                }
            }
        }
        Ok(Self(objects))
    }

    /// What is here now and was not before, or is different, or is missing.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let new = self.0.iter().filter_map(|(name, trace)| match before.0.get(name) {
            None => Some(format!("{name} is left behind")),
            Some(old) if old != trace => Some(format!("{name} has other labels or finalizers than before")),
            Some(_) => None,
        });
        let gone =
            before.0.keys().filter(|name| !self.0.contains_key(*name)).map(|name| format!("{name} is gone"));
        new.chain(gone).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Labels and finalizers: what an operator leaves on objects that are not its own. The labels that the documentation
/// wants on the operator's own namespace belong to the operator's installation, not to the KataConfig's.
fn trace(object: &DynamicObject) -> Value {
    let own_namespace = object.metadata.name.as_deref() == Some(names::OPERATOR_NAMESPACE);
    let labels = object.metadata.labels.clone().filter(|_| !own_namespace).unwrap_or_default();
    serde_json::json!({"labels": labels, "finalizers": object.metadata.finalizers.clone().unwrap_or_default()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inventory(objects: &[(&str, Value)]) -> Inventory {
        Inventory(objects.iter().map(|(name, trace)| ((*name).to_owned(), trace.clone())).collect())
    }

    #[test]
    fn what_is_new_changed_or_gone_is_told() {
        let before = inventory(&[("Node w0", json!(1)), ("Node w1", json!(1)), ("Pod a", json!(1))]);
        let after = inventory(&[("Node w0", json!(1)), ("Node w1", json!(2)), ("MachineConfig m", json!(1))]);
        assert_eq!(
            after.since(&before),
            [
                "MachineConfig m is left behind",
                "Node w1 has other labels or finalizers than before",
                "Pod a is gone"
            ]
        );
        assert!(before.since(&before).is_empty());
    }
}
