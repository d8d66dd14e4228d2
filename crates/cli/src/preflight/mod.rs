//! `osc preflight`: what stands in the way, before anything is done.

mod cluster;
pub mod drain;
pub mod finding;
mod kata;
mod nodes;
pub mod situation;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use osc_api::{DeploymentMode, KataConfig, names};
use serde_json::{Value, json};

use crate::Output;
use crate::snapshot::{Snapshot, Source};
use finding::{Finding, Severity};
use situation::Situation;

pub use situation::Intent;

/// Flags of `osc preflight`.
#[derive(clap::Args)]
pub struct Arguments {
    /// KataConfig that is to be applied; without it, the one on the cluster, else one for all workers.
    #[arg(long, short, value_name = "FILE")]
    filename: Option<PathBuf>,

    /// Check a removal instead.
    #[arg(long, conflicts_with = "filename")]
    delete: bool,

    #[command(flatten)]
    source: Source,

    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// One check.
type Check = fn(&Situation<'_>) -> Vec<Finding>;

/// Those that mean something where node agents install.
const AGENT_CHECKS: [Check; 9] = [
    cluster::operator,
    cluster::rights,
    kata::specification,
    kata::present,
    kata::daemon_set_mode,
    kata::runtime_class,
    drain::kata_pods,
    cluster::release,
    cluster::unreadable,
];

/// All checks, the most general first.
const CHECKS: [Check; 20] = [
    cluster::machine_config_operator,
    cluster::operator,
    cluster::rights,
    kata::specification,
    kata::present,
    kata::daemon_set_mode,
    kata::runtime_class,
    nodes::selection,
    nodes::pools,
    nodes::availability,
    nodes::unmanaged,
    nodes::refused,
    drain::kata_pods,
    drain::budgets,
    drain::overlapping_budgets,
    drain::virtual_machines,
    drain::room,
    drain::bare_pods,
    cluster::release,
    cluster::unreadable,
];

/// Everything that is found, the gravest first.
pub fn findings(snapshot: &Snapshot, intent: &Intent) -> Vec<Finding> {
    let observed = snapshot.observed();
    let situation = Situation::new(snapshot, &observed, intent);
    let checks: &[Check] = match situation.mode {
        DeploymentMode::MachineConfig => &CHECKS,
        DeploymentMode::DaemonSet => &AGENT_CHECKS,
    };
    let mut found: Vec<Finding> = checks.iter().flat_map(|check| check(&situation)).collect();
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Whether anything of it blocks.
pub fn blocked(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Blocks)
}

/// Checks.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let asked = arguments.filename.as_deref().map(read_kata_config).transpose()?;
    let snapshot = arguments.source.read().await?;
    let intent = match asked {
        _ if arguments.delete => Intent::Delete,
        Some(kata_config) => Intent::Apply(Box::new(kata_config)),
        None => Intent::of_cluster(&snapshot),
    };
    let findings = findings(&snapshot, &intent);
    match arguments.output {
        Output::Text => {
            for line in describe(&snapshot, &intent, &findings) {
                anstream::println!("{line}");
            }
        }
        Output::Json => println!("{}", serde_json::to_string_pretty(&as_json(&findings))?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(&as_json(&findings))?),
    }
    Ok(if blocked(&findings) { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn as_json(findings: &[Finding]) -> Value {
    json!({"blocked": blocked(findings), "findings": findings})
}

fn describe(snapshot: &Snapshot, intent: &Intent, findings: &[Finding]) -> Vec<String> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (blocks, warns) = (count(Severity::Blocks), count(Severity::Warns));
    let what = match intent {
        Intent::Apply(_) => format!("Applying {}", intent.name().unwrap_or("it")),
        Intent::Delete => "Removing Kata".to_owned(),
    };
    let verdict = match (blocks, warns) {
        (0, 0) => crate::view::style::good(&format!("{what}: nothing stands in the way.")),
        (0, 1) => format!("{what}: nothing stands in the way; one thing to know."),
        (0, warns) => format!("{what}: nothing stands in the way; {warns} things to know."),
        (1, _) => crate::view::style::bad(&format!("{what}: one thing stands in the way.")),
        (blocks, _) => crate::view::style::bad(&format!("{what}: {blocks} things stand in the way.")),
    };
    let nodes = snapshot.nodes.len();
    let version = snapshot.version().map_or(String::new(), |version| format!("OpenShift {version}, "));
    let mut lines = vec![verdict, format!("{version}{nodes} {}", if nodes == 1 { "node" } else { "nodes" })];
    if !findings.is_empty() {
        lines.push(String::new());
        lines.extend(finding::lines(findings));
    }
    lines
}

/// Reads a KataConfig; says what else it is if it is none.
pub fn read_kata_config(file: &Path) -> anyhow::Result<KataConfig> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    // Without the excerpt, which says `error:` and the cause once more.
    let value: Value = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{shown} is no YAML document: {}", error.without_snippet()))?;
    let (api_version, kind) = (value["apiVersion"].as_str(), value["kind"].as_str());
    let expected = format!("{}/v1", names::KATACONFIG_GROUP);
    ensure!(
        api_version == Some(&expected) && kind == Some("KataConfig"),
        "{shown} is no KataConfig: apiVersion is {:?} and kind {:?}, expected {expected:?} and \"KataConfig\"",
        api_version.unwrap_or_default(),
        kind.unwrap_or_default()
    );
    if value["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        bail!("{shown}: metadata.name is missing");
    }
    serde_json::from_value(value).with_context(|| format!("{shown} is no KataConfig that can be read"))
}
