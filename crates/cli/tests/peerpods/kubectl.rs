//! `kubectl apply`, as a person runs it. Shared with `generate.rs`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Applies manifests; what kubectl prints. It has to succeed.
pub fn apply(kubeconfig: &Path, input: &str) -> String {
    let mut child = Command::new("kubectl")
        .args(["apply", "-f", "-"])
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", kubeconfig.with_file_name("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is needed: hack/test-deps.sh installs it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
