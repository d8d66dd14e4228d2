//! The guide shows what the commands print.
//!
//! Every console block of the guide whose command begins with `osc` is run, on the clusters of the guide's story; a
//! block is to be the output, line by line. `UPDATE_GUIDE=1 cargo test -p osc --test plan` writes the guide anew.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{
    Files, budget, fresh, installed, label, osc, pause, pod, selector, stderr, stdout, workers,
};

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/user-guide/plan.md")
}

/// Three new workers with a database on one of them, which nobody restarts.
fn small() -> Vec<Value> {
    let mut objects = fresh(&workers(3));
    let mut bare = pod("import-1", "worker-2", "500m", "1Gi");
    bare["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    objects.push(bare);
    objects.extend(
        (0..9).map(|number| pod(&format!("web-{number}"), &format!("worker-{}", number % 3), "1500m", "4Gi")),
    );
    objects
}

/// Sixty workers, twenty of which have Kata. Somebody paused their pool, and a budget has no room.
fn large() -> Vec<Value> {
    let mut objects = fresh(&workers(60));
    for number in 0..20 {
        label(&mut objects, &format!("worker-{number}"), "kata", "true");
    }
    let mut objects = installed(objects, &selector());
    pause(&mut objects, "kata-oc");
    objects.extend(
        (0..60).map(|number| pod(&format!("web-{number}"), &format!("worker-{number}"), "6", "20Gi")),
    );
    objects.extend([pod("checkout-0", "worker-31", "2", "8Gi"), pod("checkout-1", "worker-47", "2", "8Gi")]);
    objects.push(budget("checkout", 2, 2));
    objects
}

/// The files that the guide speaks of.
fn files() -> Files {
    let files = Files::new(&small(), &json!({}));
    let more = Files::new(&large(), &json!({}));
    std::fs::rename(more.path().join("cluster.json"), files.path().join("production.json")).unwrap();
    std::fs::rename(files.path().join("cluster.json"), files.path().join("staging.json")).unwrap();
    files
}

#[test]
fn the_guide_shows_what_is_printed() {
    let files = files();
    let text = std::fs::read_to_string(guide()).unwrap();
    let mut written = String::new();
    let mut blocks = 0;
    let mut parts = text.split("```console\n");
    written.push_str(parts.next().unwrap());
    for part in parts {
        let (block, rest) = part.split_once("```").unwrap();
        let command = block.lines().next().unwrap();
        let typed = command.strip_prefix("$ ").unwrap();
        written.push_str("```console\n");
        if let Some(arguments) =
            typed.strip_prefix("osc ").filter(|arguments| arguments.contains("--snapshot"))
        {
            blocks += 1;
            let arguments: Vec<&str> = arguments.split_whitespace().collect();
            let started = Instant::now();
            let output = osc(&files.path(), &arguments);
            assert!(started.elapsed() < Duration::from_mins(1), "{command} took {:?}", started.elapsed());
            assert!(matches!(output.status.code(), Some(0 | 2)), "{command}: {}", stderr(&output));
            written.push_str(command);
            written.push('\n');
            written.push_str(&stdout(&output));
        } else {
            written.push_str(block);
        }
        written.push_str("```");
        written.push_str(rest);
    }
    assert!(blocks >= 3, "the guide shows the commands");
    if std::env::var_os("UPDATE_GUIDE").is_some() {
        std::fs::write(guide(), &written).unwrap();
    }
    let differing = text.lines().zip(written.lines()).find(|(guide, printed)| guide != printed);
    assert!(
        text == written || std::env::var_os("UPDATE_GUIDE").is_some(),
        "docs/user-guide/plan.md shows other output than the commands print, first here: {differing:?}; write it anew with \
         UPDATE_GUIDE=1 cargo test -p osc --test plan guide"
    );
}

#[test]
fn the_large_cluster_stops_and_says_where() {
    let files = files();
    let output =
        osc(&files.path(), &["plan", "-f", "kataconfig.yaml", "--snapshot", "production.json", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(crate::fixture::reasons(&plan, "blocks"), ["PoolPaused", "DisruptionBudgetWithoutRoom"]);
    assert_eq!(plan["reboots"], json!([]));
    assert_eq!(plan["withoutBlocks"]["reboots"].as_array().unwrap().len(), 40);
}
