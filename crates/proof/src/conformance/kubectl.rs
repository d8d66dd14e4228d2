//! `kubectl` against both servers: what it prints, and how it ends.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::case::{Case, cases};
use super::subjects::objects::{anything, config_map, define, deployment, group, pod, widget};
use super::trial::Trial;

/// The cases.
pub fn cases() -> Vec<Case> {
    cases![
        create_and_get,
        get_in_all_forms,
        get_what_is_not_there,
        get_with_selectors,
        describe,
        apply_creates_configures_and_leaves_alone,
        apply_on_the_server,
        diff,
        patch_in_three_types,
        label_and_annotate,
        delete_and_wait,
        wait_for_a_condition,
        scale,
        custom_resources_by_all_their_names,
        resources_of_a_group,
        replace_and_edit_conflicts,
        create_what_is_invalid,
        dry_runs,
    ]
}

/// Standard output and error of one call, and its exit code.
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

/// Runs kubectl in the namespace of the case, with this on its standard input.
async fn run(t: &Trial, arguments: &[&str], input: &str) -> Outcome {
    let home = t.side.home();
    let mut child = Command::new("kubectl")
        .args(arguments)
        .args(["--namespace", &t.id])
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("KUBECONFIG", home.join("kubeconfig"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl is needed: hack/test-deps.sh installs it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Lines without what changes from run to run: widths of columns, ages, times, names of temporary files.
fn lines(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let age = word.len() <= 4 && word.ends_with('s') && word.trim_end_matches('s').parse::<u16>().is_ok();
        let quiet = word.trim_matches(|c| matches!(c, '"' | ',' | '\''));
        let uid = quiet.len() == 36 && quiet.chars().filter(|c| *c == '-').count() == 4;
        if age {
            "age".to_owned()
        } else if uid {
            "uid".to_owned()
        } else if quiet.parse::<jiff::Timestamp>().is_ok() {
            "time".to_owned()
        } else if word.starts_with("/tmp/") {
            "file".to_owned()
        } else {
            word.to_owned()
        }
    };
    let hidden = |line: &&str| {
        !line.contains("resourceVersion:")
            && !line.starts_with("Events:")
            && !line.starts_with("CreationTimestamp:")
    };
    text.lines()
        .filter(hidden)
        .map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Runs kubectl and writes down what it showed.
async fn kubectl(t: &Trial, arguments: &str) -> Outcome {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    with_input(t, &arguments, "").await
}

async fn with_input(t: &Trial, arguments: &[&str], input: &str) -> Outcome {
    let outcome = run(t, arguments, input).await;
    let seen = json!({ "code": outcome.code, "out": lines(&outcome.out), "err": lines(&outcome.err) });
    t.note(format!("kubectl {}", arguments.join(" ")), seen);
    outcome
}

/// Calls that have to succeed, and what the last one printed.
async fn ok(t: &Trial, arguments: &str) -> String {
    let outcome = kubectl(t, arguments).await;
    assert_eq!(outcome.code, 0, "kubectl {arguments}: {}", outcome.err);
    outcome.out
}

async fn create(t: &Trial, object: &Value) {
    let outcome = with_input(t, &["create", "-f", "-"], &object.to_string()).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
}

async fn apply(t: &Trial, object: &Value) -> String {
    let outcome = with_input(t, &["apply", "-f", "-"], &object.to_string()).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    outcome.out
}

async fn create_and_get(t: Trial) {
    ok(&t, "create configmap a --from-literal=k=v").await;
    assert!(ok(&t, "get configmap a").await.contains("DATA"));
    ok(&t, "create secret generic s --from-literal=k=v").await;
    ok(&t, "get secret s -o jsonpath={.data.k}").await;
}

async fn get_in_all_forms(t: Trial) {
    create(&t.unrecorded(), &config_map("a", json!({ "k": "v" }))).await;
    for form in ["wide", "name", "yaml"] {
        ok(&t, &format!("get configmap a -o {form}")).await;
    }
    let text = run(&t, &["get", "configmap", "a", "-o", "json"], "").await.out;
    t.note("as JSON", serde_json::from_str(&text).unwrap());
    create(&t.unrecorded(), &pod("p")).await;
    ok(&t, "get pods -o wide --show-labels").await;
}

async fn get_what_is_not_there(t: Trial) {
    assert_eq!(kubectl(&t, "get configmap nobody").await.code, 1);
    assert_eq!(kubectl(&t, "get nothings").await.code, 1);
    assert!(kubectl(&t, "get secrets").await.err.contains("No resources found"));
    ok(&t, "get configmap nobody --ignore-not-found").await;
}

async fn get_with_selectors(t: Trial) {
    for name in ["a", "b"] {
        let mut object = config_map(name, json!({ "k": "v" }));
        object["metadata"]["labels"] = json!({ "app": name, "suite": "x" });
        create(&t.unrecorded(), &object).await;
    }
    assert!(ok(&t, "get configmaps -l app=a -o name").await.ends_with("configmap/a\n"));
    ok(&t, "get configmaps -l suite -L app").await;
    ok(&t, "get configmaps --field-selector metadata.name=b -o name").await;
    ok(&t, "get configmaps -l suite --chunk-size=1 -o name").await;
}

async fn describe(t: Trial) {
    create(&t.unrecorded(), &config_map("a", json!({ "k": "v" }))).await;
    assert!(ok(&t, "describe configmap a").await.contains("Data"));
    create(&t.unrecorded(), &deployment("d")).await;
    ok(&t, "describe deployment d").await;
}

async fn apply_creates_configures_and_leaves_alone(t: Trial) {
    let mut object = deployment("a");
    assert!(apply(&t, &object).await.ends_with("created\n"));
    assert!(apply(&t, &object).await.ends_with("unchanged\n"));
    object["spec"]["replicas"] = json!(3);
    assert!(apply(&t, &object).await.ends_with("configured\n"));
    ok(&t, "get deployment a -o jsonpath={.spec.replicas}").await;
    assert!(apply(&t, &config_map("b", json!({ "k": "1", "l": "1" }))).await.ends_with("created\n"));
    assert!(apply(&t, &config_map("b", json!({ "k": "2" }))).await.ends_with("configured\n"));
    ok(&t, "get configmap b -o jsonpath={.data}").await;
}

async fn apply_on_the_server(t: Trial) {
    let flags = |manager: &'static str| ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    let one = config_map("a", json!({ "k": "1" })).to_string();
    let made = with_input(&t, &flags("one"), &one).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let two = config_map("a", json!({ "k": "2" })).to_string();
    let refused = with_input(&t, &flags("two"), &two).await;
    assert!(refused.code != 0 && refused.err.contains("conflict"), "{}", refused.err);
    let mut forced = flags("two").to_vec();
    forced.push("--force-conflicts");
    assert_eq!(with_input(&t, &forced, &two).await.code, 0);
}

async fn diff(t: Trial) {
    apply(&t.unrecorded(), &config_map("a", json!({ "k": "1" }))).await;
    let same = run(&t, &["diff", "-f", "-"], &config_map("a", json!({ "k": "1" })).to_string()).await;
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    let other = run(&t, &["diff", "-f", "-"], &config_map("a", json!({ "k": "2" })).to_string()).await;
    assert_eq!(other.code, 1, "{}", other.err);
    // The head names temporary files and times.
    let changed = other.out.lines().filter(|line| line.starts_with("+ ") || line.starts_with("- "));
    t.note("changed lines", json!(changed.collect::<Vec<_>>()));
}

async fn patch_in_three_types(t: Trial) {
    create(&t.unrecorded(), &deployment("a")).await;
    ok(&t, r#"patch deployment a --type=strategic -p {"spec":{"replicas":2}}"#).await;
    ok(&t, r#"patch deployment a --type=merge -p {"spec":{"replicas":3}}"#).await;
    ok(&t, r#"patch deployment a --type=json -p [{"op":"replace","path":"/spec/replicas","value":4}]"#).await;
    ok(&t, r#"patch deployment a -p {"spec":{"replicas":4}}"#).await;
    assert_eq!(ok(&t, "get deployment a -o jsonpath={.spec.replicas}").await, "4");
}

async fn label_and_annotate(t: Trial) {
    create(&t.unrecorded(), &config_map("a", json!({ "k": "1" }))).await;
    ok(&t, "label configmap a x=y").await;
    assert_ne!(kubectl(&t, "label configmap a x=z").await.code, 0);
    ok(&t, "label configmap a x=z --overwrite").await;
    ok(&t, "label configmap a x-").await;
    ok(&t, "annotate configmap a note=text").await;
    ok(&t, "get configmap a -o jsonpath={.metadata.annotations}").await;
}

async fn delete_and_wait(t: Trial) {
    create(&t.unrecorded(), &config_map("a", json!({ "k": "1" }))).await;
    ok(&t, "delete configmap a --wait").await;
    assert_eq!(kubectl(&t, "delete configmap a").await.code, 1);
    create(&t.unrecorded(), &config_map("b", json!({ "k": "1" }))).await;
    ok(&t, "delete configmap b --cascade=foreground --wait --timeout=20s").await;
    create(&t.unrecorded(), &pod("p")).await;
    ok(&t, "delete pod p --now").await;
}

async fn wait_for_a_condition(t: Trial) {
    create(&t.unrecorded(), &deployment("a")).await;
    let condition = json!([{ "type": "Available", "status": "True", "reason": "x", "message": "x",
        "lastUpdateTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z" }]);
    let quiet = t.unrecorded();
    let later = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let status = json!({ "status": { "conditions": condition, "observedGeneration": 1 } });
        quiet.merge("apps/v1:deployments/a/status", status).await.is(200);
    };
    let (waited, ()) =
        tokio::join!(ok(&t, "wait deployment/a --for=condition=Available --timeout=20s"), later);
    assert!(waited.contains("condition met"), "{waited}");
    assert_ne!(kubectl(&t, "wait deployment/a --for=condition=Other --timeout=1s").await.code, 0);
    let later = async {
        // Long enough for kubectl to have begun: it says nothing of what is gone already.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        quiet.delete("apps/v1:deployments/a").await.is(200);
    };
    let (_, ()) = tokio::join!(ok(&t, "wait deployment/a --for=delete --timeout=20s"), later);
}

async fn scale(t: Trial) {
    create(&t.unrecorded(), &deployment("a")).await;
    ok(&t, "scale deployment a --replicas=3").await;
    assert_eq!(ok(&t, "get deployment a -o jsonpath={.spec.replicas}").await, "3");
    assert_ne!(kubectl(&t, "scale deployment a --replicas=2 --current-replicas=7").await.code, 0);
}

async fn custom_resources_by_all_their_names(t: Trial) {
    let columns = json!([{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }]);
    define(&t, anything(), json!({ "additionalPrinterColumns": columns })).await;
    let group = group(&t);
    create(&t, &widget(&t, "a", json!({ "size": 7 }))).await;
    for name in ["widgets", "widget", "wd", "Widget.v1"] {
        ok(&t, &format!("get {name}.{group} a")).await;
    }
    apply(&t, &widget(&t, "a", json!({ "size": 8 }))).await;
    ok(&t, &format!("get widgets.{group} a -o yaml")).await;
    ok(&t, &format!("delete widgets.{group} a")).await;
}

async fn resources_of_a_group(t: Trial) {
    define(&t, anything(), json!({})).await;
    let group = group(&t);
    t.unrecorded().until(&format!("/apis/{group}"), |answer| answer.code == 200).await;
    assert!(ok(&t, &format!("api-resources --api-group={group} --no-headers")).await.contains("widgets"));
    let all = run(&t, &["api-versions"], "").await.out;
    for version in [format!("{group}/v1"), "apps/v1".to_owned(), "v1".to_owned()] {
        assert!(all.lines().any(|line| line == version), "{all}");
    }
}

async fn replace_and_edit_conflicts(t: Trial) {
    create(&t.unrecorded(), &config_map("a", json!({ "k": "1" }))).await;
    let old = t.unrecorded().get("configmaps/a").await.body;
    t.unrecorded().merge("configmaps/a", json!({ "data": { "k": "2" } })).await.is(200);
    let refused = run(&t, &["replace", "-f", "-"], &old.to_string()).await;
    assert!(refused.err.contains("the object has been modified"), "{}", refused.err);
    let replaced =
        with_input(&t, &["replace", "-f", "-"], &config_map("a", json!({ "l": "3" })).to_string()).await;
    assert_eq!(replaced.code, 0, "{}", replaced.err);
}

async fn create_what_is_invalid(t: Trial) {
    let create = ["create", "--validate=false", "-f", "-"];
    create_twice(&t).await;
    let bad = run(&t, &create, &config_map("Bad_Name", json!({ "k": "1" })).to_string()).await;
    assert!(bad.code != 0 && bad.err.contains("metadata.name"), "{}", bad.err);
    t.note("exit code", json!(bad.code));
}

async fn create_twice(t: &Trial) {
    ok(t, "create configmap twice").await;
    assert_ne!(kubectl(t, "create configmap twice").await.code, 0);
}

async fn dry_runs(t: Trial) {
    ok(&t, "create configmap a --from-literal=k=v --dry-run=server").await;
    ok(&t, "create configmap a --from-literal=k=v --dry-run=client -o yaml").await;
    assert_eq!(kubectl(&t, "get configmap a").await.code, 1);
}
