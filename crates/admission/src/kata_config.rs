//! Whether a KataConfig may be created or changed so.
//!
//! - There is one in a cluster.
//! - Its specification is one that can be carried out. The check is the engine's, so that both say the same.
//! - A change may come at any time, in the middle of an installation, too: the engine goes on from where it is. One that
//!   is being removed takes no changes any more: nobody would carry them out.
//! - What does not change the specification is never refused: labels, finalizers and status must get through whatever the
//!   specification looks like, or the object could not be removed.

use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use osc_api::{KataConfigSpec, names};
use osc_engine::{KataConfigView, spec};
use serde_json::Value;

use crate::named;
use crate::review::{Request, Verdict};

const KIND: &str = "KataConfig";

/// A KataConfig that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Its name.
    pub name: String,
    /// Whether it is being removed.
    pub leaving: bool,
}

impl Existing {
    /// What of an object matters.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self { name: object.name_any(), leaving: object.meta().deletion_timestamp.is_some() }
    }
}

/// Whether the answer depends on which KataConfigs there are.
pub fn needs_existing(request: &Request) -> bool {
    concerns(request) && request.operation == Operation::Create
}

/// What is answered when nobody can tell which KataConfigs there are.
pub fn unlisted(error: &str) -> Verdict {
    Verdict::Refuse(format!("Failed to list KataConfig custom resources: {error}"))
}

/// Decides. `existing` matters only if [`needs_existing`] says so.
pub fn review(request: &Request, existing: &[Existing]) -> Verdict {
    let Some(object) = request.object.as_ref().filter(|_| concerns(request)) else { return Verdict::allow() };
    match (&request.operation, &request.old_object) {
        (Operation::Create, _) => create(object, existing),
        (Operation::Update, Some(old)) => update(object, old),
        _ => Verdict::allow(),
    }
}

/// Subresources have their own rules: the status is the operator's.
fn concerns(request: &Request) -> bool {
    request.resource.group == names::KATACONFIG_GROUP
        && request.resource.resource == "kataconfigs"
        && request.sub_resource.as_ref().is_none_or(String::is_empty)
}

fn create(object: &DynamicObject, existing: &[Existing]) -> Verdict {
    if existing.is_empty() {
        return specification(object).map_or_else(Verdict::Refuse, |()| Verdict::allow());
    }
    let listed: Vec<String> = existing.iter().map(|other| format!("{:?}", other.name)).collect();
    let first = &existing[0].name;
    let advice = if existing.iter().all(|other| other.leaving) {
        format!("being removed; wait until it is gone: oc get kataconfig {first} --watch")
    } else {
        format!(
            "change that one (oc edit kataconfig {first}) or remove it first (oc delete kataconfig {first})"
        )
    };
    Verdict::Refuse(format!(
        "A KataConfig instance already exists, refusing to create a duplicate: {}; {advice}",
        listed.join(", ")
    ))
}

fn update(object: &DynamicObject, old: &DynamicObject) -> Verdict {
    if spec_of(object) == spec_of(old) {
        return Verdict::allow();
    }
    let name = named(KIND, object.metadata.name.as_deref());
    if object.metadata.deletion_timestamp.is_some() {
        return Verdict::Refuse(format!(
            "{name}: spec cannot be changed any more, since the KataConfig is being removed; wait until it is gone and \
             create it anew as you want it"
        ));
    }
    match specification(object) {
        Err(why) => Verdict::Refuse(why),
        Ok(()) => Verdict::warn(in_progress(old).map(|reason| {
            format!(
                "{name}: nodes are being changed already (InProgress: {reason}); this change is taken up in the middle, and \
                 nodes that were done may be changed once more"
            )
        }).into_iter().collect()),
    }
}

/// `null` and absent are the same.
fn spec_of(object: &DynamicObject) -> &Value {
    object.data.get("spec").unwrap_or(&Value::Null)
}

/// Checks the specification: all complaints in one sentence.
fn specification(object: &DynamicObject) -> Result<(), String> {
    let spec: Result<Option<KataConfigSpec>, _> = serde::Deserialize::deserialize(spec_of(object));
    let view = KataConfigView {
        spec: spec.map(Option::unwrap_or_default).map_err(|error| error.to_string()),
        ..KataConfigView::default()
    };
    let name = named(KIND, object.metadata.name.as_deref());
    spec::validate(&view).map(|_| ()).map_err(|complaints| format!("{name}: {}", complaints.join("; ")))
}

/// Why nodes are being changed, if they are.
fn in_progress(object: &DynamicObject) -> Option<String> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == "InProgress")?;
    (condition["status"] == "True").then(|| condition["reason"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review;
    use rstest::rstest;
    use serde_json::json;

    const NAME: &str = "example-kataconfig";

    fn request(operation: &str, object: &Value, old: &Value) -> Request {
        let question = json!({"apiVersion": review::VERSION, "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": operation, "userInfo": {}, "name": NAME,
            "kind": {"group": names::KATACONFIG_GROUP, "version": "v1", "kind": KIND},
            "resource": {"group": names::KATACONFIG_GROUP, "version": "v1", "resource": "kataconfigs"},
            "object": object, "oldObject": old,
        }});
        review::read(question.to_string().as_bytes()).unwrap()
    }

    fn object(spec: impl Into<Value>) -> Value {
        let spec: Value = spec.into();
        json!({"apiVersion": "kataconfiguration.openshift.io/v1", "kind": KIND, "metadata": {"name": NAME}, "spec": spec})
    }

    fn leaving(mut object: Value) -> Value {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        object
    }

    fn finalized(mut object: Value) -> Value {
        object["metadata"]["finalizers"] = json!(["kataconfiguration.openshift.io/finalizer"]);
        object
    }

    fn installing(mut object: Value, reason: &str) -> Value {
        object["status"] =
            json!({"conditions": [{"type": "InProgress", "status": "True", "reason": reason}]});
        object
    }

    fn existing(names: &[(&str, bool)]) -> Vec<Existing> {
        names.iter().map(|(name, leaving)| Existing { name: (*name).to_owned(), leaving: *leaving }).collect()
    }

    fn words(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Refuse(why) | Verdict::Malformed(why) => why,
            Verdict::Allow { .. } => "allowed",
        }
    }

    #[rstest]
    #[case::none(&[], "allowed")]
    #[case::one(
        &[("first", false)],
        "A KataConfig instance already exists, refusing to create a duplicate: \"first\"; change that one (oc edit \
         kataconfig first) or remove it first (oc delete kataconfig first)"
    )]
    #[case::two(
        &[("first", false), ("second", true)],
        "A KataConfig instance already exists, refusing to create a duplicate: \"first\", \"second\"; change that one (oc \
         edit kataconfig first) or remove it first (oc delete kataconfig first)"
    )]
    #[case::one_that_goes(
        &[("first", true)],
        "A KataConfig instance already exists, refusing to create a duplicate: \"first\"; being removed; wait until it is \
         gone: oc get kataconfig first --watch"
    )]
    fn there_is_one_in_a_cluster(#[case] others: &[(&str, bool)], #[case] expected: &str) {
        let request = request("CREATE", &object(json!({})), &Value::Null);
        assert!(needs_existing(&request));
        assert_eq!(words(&review(&request, &existing(others))), expected);
    }

    const NEAR: &str = "KataConfig \"example-kataconfig\": spec.kataConfigPoolSelector.matchExpressions[0].operator is \
        \"Near\"; use In, NotIn, Exists or DoesNotExist";
    const VERBOSE: &str = "KataConfig \"example-kataconfig\": spec.logLevel is \"verbose\", which CRI-O does not know; use \
        one of fatal, panic, error, warn, info, debug, trace";

    fn near() -> Value {
        json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]}})
    }

    /// Specifications, and what is said about each, whether it is created or changed to.
    #[rstest]
    #[case(Value::Null, "allowed")]
    #[case(json!({"logLevel": ""}), "allowed")]
    #[case(json!({"logLevel": "trace", "checkNodeEligibility": true}), "allowed")]
    #[case(json!({"logLevel": "verbose"}), VERBOSE)]
    #[case(near(), NEAR)]
    #[case(
        json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes, please"}}, "logLevel": "loud"}),
        "KataConfig \"example-kataconfig\": spec.logLevel is \"loud\", which CRI-O does not know; use one of fatal, panic, \
         error, warn, info, debug, trace; spec.kataConfigPoolSelector.matchLabels[kata]: \"yes, please\" is no label value: \
         it must be empty or at most 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
    )]
    #[case(
        json!({"checkNodeEligibility": "maybe"}),
        "KataConfig \"example-kataconfig\": spec cannot be read: invalid type: string \"maybe\", expected a boolean"
    )]
    fn a_specification_is_one_that_can_be_carried_out(#[case] spec: Value, #[case] expected: &str) {
        let created = review(&request("CREATE", &object(spec.clone()), &Value::Null), &[]);
        assert_eq!(words(&created), expected);
        let before = object(json!({"logLevel": "debug"}));
        let changed = review(&request("UPDATE", &object(spec), &before), &[]);
        assert_eq!(words(&changed), expected);
    }

    #[test]
    fn an_unnamed_one_is_refused_in_words_too() {
        let mut unnamed = object(json!({"logLevel": "verbose"}));
        unnamed["metadata"] = json!({"generateName": "kata-"});
        let verdict = review(&request("CREATE", &unnamed, &Value::Null), &[]);
        assert!(words(&verdict).starts_with("this KataConfig: spec.logLevel"), "{verdict:?}");
    }

    /// What must get through whatever the specification says: it does not change.
    #[rstest]
    #[case::finalizer_added(object(near()), finalized(object(near())))]
    #[case::finalizer_removed(leaving(finalized(object(near()))), leaving(object(near())))]
    #[case::removal_begins(object(near()), leaving(object(near())))]
    #[case::nothing(object(json!({})), object(json!({})))]
    #[case::null_and_absent(object(Value::Null), json!({"metadata": {"name": NAME}}))]
    fn what_leaves_the_specification_alone_is_never_refused(#[case] old: Value, #[case] new: Value) {
        assert_eq!(review(&request("UPDATE", &new, &old), &[]), Verdict::allow());
    }

    #[test]
    fn one_that_is_being_removed_takes_no_changes() {
        let (old, new) = (object(json!({})), leaving(object(json!({"logLevel": "debug"}))));
        assert_eq!(
            words(&review(&request("UPDATE", &new, &old), &[])),
            "KataConfig \"example-kataconfig\": spec cannot be changed any more, since the KataConfig is being removed; wait \
             until it is gone and create it anew as you want it"
        );
    }

    #[test]
    fn a_wrong_one_can_be_mended() {
        let request = request("UPDATE", &object(json!({})), &object(near()));
        assert_eq!(review(&request, &[]), Verdict::allow());
    }

    #[rstest]
    #[case("Installing")]
    #[case("Updating")]
    fn a_change_in_the_middle_is_taken_with_a_word(#[case] reason: &str) {
        let old = installing(object(json!({})), reason);
        let new = installing(object(json!({"logLevel": "debug"})), reason);
        let verdict = review(&request("UPDATE", &new, &old), &[]);
        let Verdict::Allow { warnings, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains(&format!("(InProgress: {reason})")), "{warnings:?}");
    }

    #[test]
    fn other_questions_are_none_of_its_business() {
        let mut status = request("UPDATE", &object(near()), &object(json!({})));
        status.sub_resource = Some("status".to_owned());
        let delete = request("DELETE", &Value::Null, &object(near()));
        let mut other = request("CREATE", &object(near()), &Value::Null);
        other.resource.resource = "runtimeclasses".to_owned();
        for request in [status, delete, other] {
            assert!(!needs_existing(&request));
            assert_eq!(review(&request, &existing(&[("first", false)])), Verdict::allow());
        }
    }

    #[test]
    fn a_failed_list_refuses_in_the_documented_words() {
        assert_eq!(
            words(&unlisted("no answer within 5 s")),
            "Failed to list KataConfig custom resources: no answer within 5 s"
        );
    }
}
