//! Workload controllers: DaemonSets, Deployments, Jobs and the budgets that protect their pods.

pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod job;
mod job_status;
pub mod replacement;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

use super::annotations::SCRIPT;
use super::options::hex;

/// What a workload controller sees of one of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// Where it runs or is to run.
    pub node: String,
    /// It was made from the present template.
    pub current: bool,
    /// It is ready.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// It has succeeded or failed.
    pub finished: Option<bool>,
}

impl PodView {
    /// Reads it from a pod; `label` carries the template's hash.
    pub fn read(pod: &Pod, label: &str, hash: &str) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            name: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            current: pod.labels().get(label).is_some_and(|value| value == hash),
            ready: conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True"),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: match status.and_then(|status| status.phase.as_deref()) {
                Some("Succeeded") => Some(true),
                Some("Failed") => Some(false),
                _ => None,
            },
        }
    }

    /// It is neither finished nor on its way out.
    pub fn active(&self) -> bool {
        !self.terminating && self.finished.is_none()
    }
}

/// Ten characters that change whenever the template does.
pub fn template_hash(template: &PodTemplateSpec) -> String {
    let text = serde_json::to_string(template).unwrap_or_default();
    hex(&["template", &text], 10)
}

/// A pod from a template, owned by `owner`. The owner's script, if it has one, goes to the pod.
pub fn pod_from<K: Resource<DynamicType = ()>>(
    owner: &K,
    template: &PodTemplateSpec,
    name: String,
    labels: &[(&str, &str)],
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let mut all_labels: BTreeMap<String, String> = meta.labels.unwrap_or_default();
    all_labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let mut annotations = meta.annotations.unwrap_or_default();
    if let Some(script) = owner.annotations().get(SCRIPT) {
        annotations.entry(SCRIPT.to_owned()).or_insert_with(|| script.clone());
    }
    let reference = OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: owner.namespace(),
            labels: Some(all_labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// A number or a percentage of `total`. Text that is neither counts as nothing.
pub fn scaled(value: Option<&IntOrString>, default: i32, total: i32, round_up: bool) -> i32 {
    match value {
        None => default,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let Some(percent) = text.trim().strip_suffix('%').and_then(|text| text.parse::<i32>().ok())
            else {
                return 0;
            };
            let product = percent.saturating_mul(total);
            if round_up {
                product.div_euclid(100) + i32::from(product.rem_euclid(100) > 0)
            } else {
                product / 100
            }
        }
    }
}

/// A count as the API writes it.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(None, 10, true, 1)]
    #[case(Some(IntOrString::Int(3)), 10, true, 3)]
    #[case(Some(IntOrString::String("25%".into())), 10, true, 3)]
    #[case(Some(IntOrString::String("25%".into())), 10, false, 2)]
    #[case(Some(IntOrString::String("100%".into())), 10, true, 10)]
    #[case(Some(IntOrString::String("some".into())), 10, true, 0)]
    fn numbers_and_percentages(
        #[case] value: Option<IntOrString>,
        #[case] total: i32,
        #[case] up: bool,
        #[case] result: i32,
    ) {
        assert_eq!(scaled(value.as_ref(), 1, total, up), result);
    }
}
