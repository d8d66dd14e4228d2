//! Everything that can be checked without running a test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::manifests;

/// One check: what it is called, how it is done, and what to do when it fails.
struct Check {
    name: &'static str,
    run: fn(&Path) -> anyhow::Result<()>,
    mend: &'static str,
}

const CHECKS: &[Check] = &[
    Check { name: "format", run: format, mend: "cargo fmt --all" },
    Check { name: "manifests", run: manifests::check, mend: "cargo xtask manifests" },
    Check { name: "dependencies", run: dependencies, mend: "see the output above and deny.toml" },
    Check { name: "lints", run: lints, mend: "make lint" },
    Check {
        name: "API docs",
        run: api_docs,
        mend: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps",
    },
];

/// Runs all checks, whatever fails, and lists the failures at the end.
pub fn all(root: &Path) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for check in CHECKS {
        eprintln!("== {}", check.name);
        if let Err(error) = (check.run)(root) {
            eprintln!("{error:#}");
            failed.push(format!("  {}: {}", check.name, check.mend));
        }
    }
    if failed.is_empty() {
        eprintln!("all {} checks pass", CHECKS.len());
        return Ok(());
    }
    bail!("{} of {} checks failed; how to go on:\n{}", failed.len(), CHECKS.len(), failed.join("\n"))
}

fn format(root: &Path) -> anyhow::Result<()> {
    run(cargo(root).args(["fmt", "--all", "--check"]))
}

fn lints(root: &Path) -> anyhow::Result<()> {
    run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn api_docs(root: &Path) -> anyhow::Result<()> {
    run(cargo(root)
        .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// Licences, sources and banned crates. The database of advisories needs the network, which a check must not.
fn dependencies(root: &Path) -> anyhow::Result<()> {
    let tool = cargo_deny().context("cargo-deny is not installed; install it with hack/test-deps.sh")?;
    run(Command::new(tool).current_dir(root).args([
        "--locked",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// cargo-deny from the search path, or from where hack/test-deps.sh puts it.
fn cargo_deny() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let own = cache.map(|cache| cache.join("osc/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(own);
    folders.map(|folder| folder.join("cargo-deny")).find(|file| file.is_file())
}

fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
