//! What a pod of Kata is given, where that is asked for: memory that its virtual machine gets beside what its containers
//! ask for, as an annotation that the runtime reads.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use json_patch::Patch;
use kube::core::admission::Operation;
use osc_api::names::FEATURE_GATES;
use osc_engine::security::webhooks::{MEMORY_OVERHEAD_KEY, is_system_namespace};

use crate::annotations;
use crate::review::{Request, Verdict};

/// The annotation, in MiB.
pub const ANNOTATION: &str = "io.katacontainers.config.hypervisor.memory_overhead";

/// The most that makes sense: more than that is a slip of the keyboard.
pub const MOST: u32 = 32 * 1024;

/// Reads the value of the feature gate. Absent, empty and `0` ask for nothing.
pub fn parse(text: Option<&str>) -> Result<Option<NonZeroU32>, String> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(megabytes) if megabytes <= MOST => Ok(NonZeroU32::new(megabytes)),
        _ => Err(format!(
            "config map {FEATURE_GATES}: {MEMORY_OVERHEAD_KEY} is {text:?}; write a number of MiB from 1 to {MOST}, or 0 for \
             no overhead; until then pods get none"
        )),
    }
}

/// What pods are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// How much, in MiB.
    pub megabytes: NonZeroU32,
    /// To pods of these runtime classes: those that the operator made.
    pub runtime_classes: BTreeSet<String>,
    /// The operator's namespace, whose pods get nothing.
    pub own_namespace: String,
}

/// Decides. What a person wrote stays.
pub fn review(request: &Request, overhead: Option<&Overhead>) -> Verdict {
    let (Some(overhead), Some(pod)) = (overhead, &request.object) else { return Verdict::allow() };
    let is_pod = request.resource.group.is_empty()
        && request.resource.resource == "pods"
        && request.sub_resource.as_ref().is_none_or(String::is_empty)
        && request.operation == Operation::Create;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let class = pod.data["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    if !is_pod
        || is_system_namespace(namespace, &overhead.own_namespace)
        || !overhead.runtime_classes.contains(class)
    {
        return Verdict::allow();
    }
    let value = overhead.megabytes.to_string();
    let patch = Patch(annotations::missing(&pod.metadata, [(ANNOTATION, value)]));
    Verdict::Allow { warnings: Vec::new(), patch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(None, Ok(None))]
    #[case(Some(""), Ok(None))]
    #[case(Some("0"), Ok(None))]
    #[case(Some("1"), Ok(Some(1)))]
    #[case(Some(" 350\n"), Ok(Some(350)))]
    #[case(Some("32768"), Ok(Some(32768)))]
    #[case(Some("32769"), Err("\"32769\""))]
    #[case(Some("-1"), Err("\"-1\""))]
    #[case(Some("350Mi"), Err("\"350Mi\""))]
    #[case(Some("lots"), Err("\"lots\""))]
    #[case(Some("99999999999999999999"), Err("\"99999999999999999999\""))]
    fn the_gate_is_a_number_of_mebibytes(
        #[case] text: Option<&str>,
        #[case] expected: Result<Option<u32>, &str>,
    ) {
        match (parse(text), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.map(NonZeroU32::get), expected),
            (Err(words), Err(found)) => assert_eq!(
                words,
                format!(
                    "config map osc-feature-gates: memoryOverheadMB is {found}; write a number of MiB from 1 to 32768, or 0 \
                     for no overhead; until then pods get none"
                )
            ),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    fn pod(namespace: &str, spec: &Value, annotations: &Value) -> Request {
        let question = json!({"apiVersion": review::VERSION, "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "userInfo": {}, "namespace": namespace,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": annotations}, "spec": spec},
            "oldObject": null,
        }});
        review::read(question.to_string().as_bytes()).unwrap()
    }

    fn overhead() -> Overhead {
        Overhead {
            megabytes: NonZeroU32::new(350).unwrap(),
            runtime_classes: ["kata".to_owned(), "kata-cc".to_owned()].into(),
            own_namespace: "home".to_owned(),
        }
    }

    fn patch(verdict: Verdict) -> Value {
        match verdict {
            Verdict::Allow { patch, .. } => serde_json::to_value(patch).unwrap(),
            Verdict::Refuse(why) | Verdict::Malformed(why) => panic!("{why}"),
        }
    }

    fn kata() -> Value {
        json!({"runtimeClassName": "kata"})
    }

    #[rstest]
    #[case::no_annotations(
        Value::Null,
        json!([{"op": "add", "path": "/metadata/annotations", "value": {(ANNOTATION): "350"}}])
    )]
    #[case::others(
        json!({"a": "b"}),
        json!([{"op": "add", "path": format!("/metadata/annotations/{ANNOTATION}"), "value": "350"}])
    )]
    #[case::own_value(json!({(ANNOTATION): "1024"}), json!([]))]
    #[case::own_empty_value(json!({(ANNOTATION): ""}), json!([]))]
    fn what_a_person_wrote_stays(#[case] annotations: Value, #[case] expected: Value) {
        assert_eq!(patch(super::review(&pod("mine", &kata(), &annotations), Some(&overhead()))), expected);
    }

    #[rstest]
    #[case::kata("mine", kata(), true)]
    #[case::confidential("mine", json!({"runtimeClassName": "kata-cc"}), true)]
    #[case::ordinary("mine", json!({}), false)]
    #[case::another_class("mine", json!({"runtimeClassName": "gvisor"}), false)]
    #[case::own_namespace("home", kata(), false)]
    #[case::kube_system("kube-system", kata(), false)]
    #[case::openshift("openshift-monitoring", kata(), false)]
    #[case::nearly_openshift("my-openshift-app", kata(), true)]
    fn only_pods_of_kata_in_namespaces_of_people(
        #[case] namespace: &str,
        #[case] spec: Value,
        #[case] given: bool,
    ) {
        let request = pod(namespace, &spec, &Value::Null);
        assert_eq!(patch(super::review(&request, Some(&overhead()))) != json!([]), given);
        assert_eq!(super::review(&request, None), Verdict::allow());
    }

    #[test]
    fn a_change_of_a_pod_is_left_alone() {
        let mut request = pod("mine", &kata(), &Value::Null);
        request.operation = Operation::Update;
        assert_eq!(super::review(&request, Some(&overhead())), Verdict::allow());
    }
}
