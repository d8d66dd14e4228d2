//! The operator as a process. What it does in clusters is told in `crates/proof`.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

#[test]
fn a_wrong_kubeconfig_ends_the_process_with_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, "this is no kubeconfig").unwrap();
    for path in [file.as_path(), &directory.path().join("missing")] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_osc-operator")).env("KUBECONFIG", path).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("no cluster to work for: neither a usable kubeconfig"), "{stderr}");
    }
}
