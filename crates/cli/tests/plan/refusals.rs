//! What cannot be done, in words.

use osc_devcluster::server::{Fault, FaultAction, Matcher, Server, ServerConfig};
use osc_devcluster::sim::topology::Topology;
use serde_json::json;

use crate::fixture::{Files, fresh, osc, stderr, stdout, workers};

/// Exit code 1 and these words.
fn refused(files: &Files, arguments: &[&str], words: &[&str]) {
    let output = osc(&files.path(), arguments);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
    for word in words {
        assert!(told.contains(word), "{arguments:?}: {word} is not in {told}");
    }
    assert!(stdout(&output).is_empty(), "{}", stdout(&output));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new(&fresh(&workers(1)), &json!({}));
    let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    write("broken.yaml", "a: [b\n");
    write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n");
    write("nameless.yaml", "apiVersion: kataconfiguration.openshift.io/v1\nkind: KataConfig\n");
    write(
        "wrong.yaml",
        "apiVersion: kataconfiguration.openshift.io/v1\nkind: KataConfig\nmetadata: {name: k}\nspec: {checkNodeEligibility: perhaps}\n",
    );
    write("empty.json", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}");
    let plan = |file: &'static str| ["plan", "--snapshot", "cluster.json", "-f", file];
    refused(&files, &plan("none.yaml"), &["cannot read none.yaml", "No such file"]);
    refused(&files, &plan("broken.yaml"), &["broken.yaml is no YAML document"]);
    refused(&files, &plan("pod.yaml"), &["pod.yaml is no KataConfig: apiVersion is \"v1\" and kind \"Pod\""]);
    refused(&files, &plan("nameless.yaml"), &["nameless.yaml: metadata.name is missing"]);
    refused(&files, &plan("wrong.yaml"), &["wrong.yaml is no KataConfig that can be read", "perhaps"]);
    let from = |file: &'static str| ["plan", "--delete", "--snapshot", file];
    refused(&files, &from("none"), &["cannot read the snapshot none"]);
    refused(&files, &from("broken.yaml"), &["broken.yaml is neither YAML nor JSON"]);
    refused(&files, &from("empty.json"), &["there are no nodes in empty.json", "osc snapshot -o FILE"]);
    refused(&files, &from("."), &["has no folder cluster-scoped-resources"]);
}

#[test]
fn clusters_that_cannot_be_used_are_named() {
    let files = Files::new(&fresh(&workers(1)), &json!({}));
    for verb in [&["preflight"][..], &["snapshot"], &["plan", "--delete"]] {
        let missing = [verb, &["--kubeconfig", "none"]].concat();
        refused(&files, &missing, &["cannot use kubeconfig none"]);
        refused(&files, verb, &["no cluster to talk to"]);
    }
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\nusers: [{name: c, user: {}}]\n";
    std::fs::write(files.path().join("down"), kubeconfig).unwrap();
    refused(
        &files,
        &["preflight", "--kubeconfig", "down"],
        &["cannot reach the API server at http://127.0.0.1:1"],
    );
}

#[test]
fn wrong_arguments_are_refused() {
    let files = Files::new(&fresh(&workers(1)), &json!({}));
    for (arguments, words) in [
        (&["plan"][..], "--filename <FILE>|--delete"),
        (&["plan", "--delete", "-f", "kataconfig.yaml"], "cannot be used with"),
        (&["plan", "--delete", "--reboot-minutes", "0"], "0 is not in 1..=1440"),
        (&["plan", "--delete", "--snapshot", "x", "--kubeconfig", "y"], "cannot be used with"),
    ] {
        let output = osc(&files.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "2 means blocked");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_goes_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(ServerConfig::default())).unwrap();
    server.load(fresh(&Topology::default())).unwrap();
    let forbid = |resource: &str| {
        let matcher = Matcher { resource: Some(resource.to_owned()), ..Matcher::default() };
        let message = format!("{resource} is forbidden: User \"viewer\" cannot list resource");
        let action =
            FaultAction::Status { code: 403, reason: "Forbidden".to_owned(), message, retry_after: None };
        server.faults().inject(Fault { matcher, times: None, action });
    };
    let files = Files::new(&[], &json!({}));
    std::fs::write(files.path().join("kubeconfig"), server.kubeconfig().unwrap()).unwrap();
    forbid("poddisruptionbudgets");
    let output = osc(&files.path(), &["snapshot", "--kubeconfig", "kubeconfig", "-o", "taken.yaml"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(
        told.contains(
            "poddisruptionbudgets.policy cannot be read, so that no budget is seen that holds up a drain"
        ),
        "{told}"
    );
    // Remembered in the file, and told by whoever uses it.
    let output = osc(&files.path(), &["preflight", "--snapshot", "taken.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("WARNS   poddisruptionbudgets.policy could not be read"),
        "{}",
        stdout(&output)
    );
    forbid("nodes");
    let output = osc(&files.path(), &["plan", "--delete", "--kubeconfig", "kubeconfig"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nodes cannot be read, and without them nothing can be said"),
        "{}",
        stderr(&output)
    );
}
