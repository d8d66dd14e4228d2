//! What tells this cluster from all others: what images, virtual machines and everything else in a cloud is marked with.

use osc_api::names;
use serde_json::Value;

use crate::object::{Kind, ObjectId};
use crate::observed::Observed;

/// Where OpenShift says it.
pub fn version_id() -> ObjectId {
    ObjectId::cluster(Kind::ClusterVersion, names::CLUSTER_VERSION)
}

/// Every cluster has this namespace as long as it exists, so that its identity is the cluster's own.
pub fn system_id() -> ObjectId {
    ObjectId::cluster(Kind::Namespace, "kube-system")
}

/// The identity, out of these two objects.
pub fn of(version: Option<&Value>, system: Option<&Value>) -> Option<String> {
    let openshift = version.and_then(|version| version["spec"]["clusterID"].as_str());
    let kubernetes = system.and_then(|system| system["metadata"]["uid"].as_str());
    openshift.or(kubernetes).filter(|identity| !identity.is_empty()).map(str::to_owned)
}

/// The identity of the observed cluster.
pub fn observed(observed: &Observed) -> Option<String> {
    let find = |id: ObjectId| observed.objects.get(&id).map(AsRef::as_ref);
    of(find(version_id()), find(system_id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn openshift_says_who_it_is_and_elsewhere_a_namespace_does() {
        let (version, system) = (json!({"spec": {"clusterID": "c"}}), json!({"metadata": {"uid": "u"}}));
        assert_eq!(of(Some(&version), Some(&system)).as_deref(), Some("c"));
        assert_eq!(of(Some(&json!({"spec": {}})), Some(&system)).as_deref(), Some("u"));
        assert_eq!(of(None, None), None);
    }
}
