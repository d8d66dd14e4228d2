//! The objects are the documented ones, and the rules of the policy say what they should: each is evaluated by a CEL
//! library against nodes before and after a change.

use super::*;
use cel::{Context, Program};
use rstest::rstest;

/// An object of a request as the API server shows it to a rule.
fn evaluate(expression: &str, variables: &[(&str, &Value)]) -> Result<bool, String> {
    let program = Program::compile(expression).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    for (name, value) in variables {
        context.add_variable(*name, (*value).clone()).map_err(|error| error.to_string())?;
    }
    match program.execute(&context).map_err(|error| error.to_string())? {
        cel::Value::Bool(outcome) => Ok(outcome),
        other => Err(format!("{other:?}")),
    }
}

fn node() -> Value {
    json!({
        "metadata": {
            "name": "worker-0",
            "labels": {"kubernetes.io/hostname": "worker-0", names::DAEMON_SET_MODE_LABEL: "installing"},
            "annotations": {"volumes": "yes"},
            "finalizers": ["somebody/finalizer"],
        },
        "spec": {"podCIDR": "10.0.0.0/24"},
    })
}

fn request(node: Option<&str>) -> Value {
    let extra = match node {
        Some(node) => {
            json!({NODE_CLAIM: [node], "authentication.kubernetes.io/pod-name": ["osc-rpm-install-1"]})
        }
        None => json!({}),
    };
    let user = user(names::OPERATOR_NAMESPACE);
    json!({"name": "worker-0", "userInfo": {"username": user, "extra": extra}})
}

/// What the policy says of a change: nothing, or why not.
fn verdict(request: &Value, old: &Value, new: &Value) -> Vec<&'static str> {
    let [policy, _] = own_node(names::OPERATOR_NAMESPACE);
    let condition = policy["spec"]["matchConditions"][0]["expression"].as_str().unwrap();
    let variables = [("request", request), ("object", new), ("oldObject", old)];
    if evaluate(condition, &variables) == Ok(false) {
        return Vec::new();
    }
    let failed = |rule: &Rule| match evaluate(&rule.expression, &variables) {
        Ok(holds) => !holds,
        Err(error) => panic!("{}: {error}", rule.expression),
    };
    rules().iter().filter(|rule| failed(rule)).map(|rule| rule.message).collect()
}

fn merged(patch: &Value) -> Value {
    let mut node = node();
    merge(&mut node, patch);
    node
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
        return *target = patch.clone();
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

const ONE_LABEL: &str = "only one label";
const TWO_ANNOTATIONS: &str = "only two annotations";
const NOTHING_ELSE: &str = "nothing of a node but";

/// Patches of a node by its own agent, and what is said about each.
#[rstest]
#[case::nothing(json!({}), &[])]
#[case::state(json!({"metadata": {"labels": {(names::DAEMON_SET_MODE_LABEL): "installed"}}}), &[])]
#[case::state_gone(json!({"metadata": {"labels": {(names::DAEMON_SET_MODE_LABEL): null}}}), &[])]
#[case::failure(json!({"metadata": {"annotations": {(names::AGENT_FAILURE): "no space left"}}}), &[])]
#[case::version(json!({"metadata": {"annotations": {(names::AGENT_VERSION): "kata-containers-3.17.0"}}}), &[])]
#[case::no_annotations_any_more(json!({"metadata": {"annotations": null}}), &[TWO_ANNOTATIONS])]
#[case::no_labels_any_more(json!({"metadata": {"labels": null}}), &[ONE_LABEL])]
#[case::role(json!({"metadata": {"labels": {"node-role.kubernetes.io/master": ""}}}), &[ONE_LABEL])]
#[case::label_gone(json!({"metadata": {"labels": {"kubernetes.io/hostname": null}}}), &[ONE_LABEL])]
#[case::label_changed(json!({"metadata": {"labels": {"kubernetes.io/hostname": "x"}}}), &[ONE_LABEL])]
#[case::annotation(json!({"metadata": {"annotations": {"volumes": "no"}}}), &[TWO_ANNOTATIONS])]
#[case::annotation_gone(json!({"metadata": {"annotations": {"volumes": null}}}), &[TWO_ANNOTATIONS])]
#[case::taint(json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}), &[NOTHING_ELSE])]
#[case::cordon(json!({"spec": {"unschedulable": true}}), &[NOTHING_ELSE])]
#[case::finalizer(json!({"metadata": {"finalizers": null}}), &[NOTHING_ELSE])]
#[case::owner(json!({"metadata": {"ownerReferences": [{"kind": "Pod", "name": "p"}]}}), &[NOTHING_ELSE])]
#[case::much(
    json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}, "spec": {"unschedulable": true}}),
    &[ONE_LABEL, TWO_ANNOTATIONS, NOTHING_ELSE]
)]
fn an_agent_changes_its_state_and_nothing_else(#[case] patch: Value, #[case] expected: &[&str]) {
    let said = verdict(&request(Some("worker-0")), &node(), &merged(&patch));
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said}");
    }
}

#[rstest]
#[case::its_own(Some("worker-0"), 0)]
#[case::another(Some("worker-1"), 1)]
#[case::nobody_knows(None, 1)]
fn an_agent_changes_its_own_node(#[case] node_of_token: Option<&str>, #[case] refusals: usize) {
    let new = merged(&json!({"metadata": {"labels": {names::DAEMON_SET_MODE_LABEL: "installed"}}}));
    let said = verdict(&request(node_of_token), &node(), &new);
    assert_eq!(said.len(), refusals, "{said:?}");
    assert!(said.iter().all(|said| said.contains("only the node that it runs on")), "{said:?}");
}

#[test]
fn a_node_without_labels_and_annotations_gets_them() {
    let old = json!({"metadata": {"name": "worker-0"}, "spec": {}});
    let new = json!({"metadata": {"name": "worker-0", "labels": {names::DAEMON_SET_MODE_LABEL: "installed"},
        "annotations": {names::AGENT_VERSION: "v"}}, "spec": {}});
    assert_eq!(verdict(&request(Some("worker-0")), &old, &new), [""; 0]);
}

#[test]
fn a_token_without_anything_about_its_pod_changes_nothing() {
    let mut request = request(None);
    request["userInfo"].as_object_mut().unwrap().remove("extra");
    assert_eq!(verdict(&request, &node(), &node()).len(), 1);
}

#[test]
fn others_are_not_concerned() {
    let mut request = request(None);
    request["userInfo"]["username"] = json!("system:node:worker-0");
    let new = merged(&json!({"spec": {"unschedulable": true}}));
    assert_eq!(verdict(&request, &node(), &new), [""; 0]);
}

/// The settings of the SecurityContextConstraints, one by one.
#[rstest]
#[case("allowPrivilegedContainer", json!(true))]
#[case("allowHostDirVolumePlugin", json!(true))]
#[case("allowHostPID", json!(true))]
#[case("allowHostNetwork", json!(false))]
#[case("allowHostPorts", json!(false))]
#[case("allowHostIPC", json!(false))]
#[case("readOnlyRootFilesystem", json!(false))]
#[case("runAsUser", json!({"type": "RunAsAny"}))]
#[case("seLinuxContext", json!({"type": "RunAsAny"}))]
#[case("users", json!(["system:serviceaccount:home:kata-install"]))]
#[case("volumes", json!(["configMap", "hostPath", "projected", "secret"]))]
fn the_constraints_are_the_documented_ones(#[case] field: &str, #[case] expected: Value) {
    let scc = scc("home");
    assert_eq!(scc["metadata"]["name"], "kata-install-scc");
    assert_eq!(scc[field], expected);
}

#[test]
fn the_role_reads_and_patches_nodes_and_writes_events() {
    let [role, binding] = roles("home");
    let rules = role["rules"].as_array().unwrap();
    assert_eq!(rules[0]["resources"], json!(["nodes"]));
    assert_eq!(rules[0]["verbs"], json!(["get", "list", "watch", "patch"]));
    assert_eq!(
        (&rules[1]["resources"], &rules[1]["verbs"]),
        (&json!(["events"]), &json!(["create", "patch"]))
    );
    assert_eq!(rules.len(), 2);
    assert_eq!(binding["roleRef"]["name"], "kata-install");
    assert_eq!(
        binding["subjects"][0],
        json!({"kind": "ServiceAccount", "name": "kata-install", "namespace": "home"})
    );
}

#[test]
fn the_policy_is_bound_and_refuses() {
    let [policy, binding] = own_node("home");
    assert_eq!(
        binding["spec"],
        json!({"policyName": "kata-install-own-node", "validationActions": ["Deny"]})
    );
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let rule = &policy["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(
        (&rule["operations"], &rule["resources"]),
        (&json!(["UPDATE"]), &json!(["nodes", "nodes/status"]))
    );
}
