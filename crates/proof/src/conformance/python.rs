//! The Python client against both servers: `client.py` tries, this compares.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::case::Case;
use super::sides::Side;
use super::subjects::objects::{definition, install};
use super::trial::Trial;

/// As in hack/test-deps.sh, which installs it.
const RELEASE: &str = "37.0.2";

/// The functions of `client.py`.
const CASES: [&str; 14] = [
    "typed_create_read_replace_delete",
    "typed_patches",
    "typed_lists_with_selectors",
    "typed_pages",
    "typed_watch",
    "typed_conflict",
    "typed_not_found_and_invalid",
    "typed_status",
    "typed_deployment_and_scale",
    "typed_delete_collection",
    "custom_objects",
    "dynamic_client",
    "dynamic_server_side_apply",
    "dynamic_watch",
];

/// The cases.
pub fn cases() -> Vec<Case> {
    let case = |name: &'static str| Case::new(name, move |t: Trial| async move { check(&t, name).await });
    CASES.into_iter().map(case).collect()
}

async fn check(t: &Trial, name: &str) {
    let shown = t.side.python.get_or_init(|| run(t.side.clone())).await;
    let result = &shown[name];
    assert!(result["error"].is_null(), "{name}: {}", result["error"].as_str().unwrap_or_default());
    assert!(!result["seen"].is_null(), "client.py does not know {name}");
    t.note(format!("client.py: {name}"), result["seen"].clone());
}

fn interpreter() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let found = cache.expect("HOME is set").join(format!("osc/python-kubernetes-{RELEASE}/bin/python"));
    assert!(found.exists(), "{} is missing: hack/test-deps.sh installs the Python client", found.display());
    found
}

/// Runs everything once: Python takes longer to start than to try.
async fn run(side: std::sync::Arc<Side>) -> Value {
    let home = side.home().to_owned();
    let t = Trial::new(side, "python-all").unrecorded();
    t.prepare().await;
    install(
        &t,
        definition(
            &t,
            super::subjects::objects::anything(),
            serde_json::json!({ "subresources": { "status": {} } }),
        ),
    )
    .await;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/conformance/client.py");
    let output = Command::new(interpreter())
        .arg(script)
        .arg(&t.id)
        .env("HOME", &home)
        .env("KUBECONFIG", home.join("kubeconfig"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).unwrap_or_else(|error| {
        panic!("client.py printed no JSON ({error}): {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}
