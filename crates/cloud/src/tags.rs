//! Whose a virtual machine is.

use osc_api::peerpods::tags;

/// The values of the [tags](osc_api::peerpods::tags). An empty one is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags {
    /// Identity of the cluster.
    pub cluster: String,
    /// Node whose adaptor asked for it.
    pub node: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// The sandbox.
    pub sandbox: String,
}

impl Tags {
    /// As the cloud has them: those that are set.
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        let values = [&self.cluster, &self.node, &self.namespace, &self.pod, &self.pod_uid, &self.sandbox]
            .map(String::as_str);
        tags::ALL.into_iter().zip(values).filter(|(_, value)| !value.is_empty()).collect()
    }

    /// From what the cloud has; other tags are left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        for (key, value) in pairs {
            if let Some(field) = found.field(key) {
                value.clone_into(field);
            }
        }
        found
    }

    /// Whether nothing says whose it is.
    pub fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }

    /// Whether both are of the same try to start the same pod.
    pub fn same_sandbox(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.pod_uid == other.pod_uid && self.sandbox == other.sandbox
    }

    fn field(&mut self, key: &str) -> Option<&mut String> {
        Some(match key {
            tags::CLUSTER => &mut self.cluster,
            tags::NODE => &mut self.node,
            tags::NAMESPACE => &mut self.namespace,
            tags::POD => &mut self.pod,
            tags::POD_UID => &mut self.pod_uid,
            tags::SANDBOX => &mut self.sandbox,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_survive_the_cloud(values in proptest::array::uniform6("[ -~]{0,12}")) {
            let [cluster, node, namespace, pod, pod_uid, sandbox] = values;
            let tags = Tags { cluster, node, namespace, pod, pod_uid, sandbox };
            let mut pairs = tags.pairs();
            pairs.push(("Name", "of others"));
            prop_assert_eq!(Tags::from_pairs(pairs), tags);
        }
    }

    #[test]
    fn what_is_not_set_is_no_tag() {
        assert!(Tags::default().is_empty());
        let tags = Tags { pod: "web".into(), ..Tags::default() };
        assert_eq!(tags.pairs(), [("kata.peerpods.io/pod", "web")]);
    }
}
