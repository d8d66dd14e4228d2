//! `osc peerpods configure`: the config map, with what the cluster knows filled in.

mod apply;
mod asked;
mod commands;
mod known;
mod lookup;
mod machine;
mod manifest;
mod templates;
#[cfg(test)]
mod tests;
mod values;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use clap::builder::PossibleValuesParser;
use osc_api::peerpods::{Provider, SETTINGS};
use osc_engine::peerpods::config;

use crate::kubeconfig::ClusterFlags;
use known::Known;
use lookup::{CloudLookup, Network};
use templates::With;
use values::{Entry, From};

/// Flags of `osc peerpods configure`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where pod VMs run; without it, the cloud that the cluster runs on.
    #[arg(long, value_parser = PossibleValuesParser::new(Provider::ALL.map(Provider::name)))]
    provider: Option<String>,

    /// A setting of your own; repeatable. It wins over everything else.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// What else to print, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "apply")]
    with: Vec<With>,

    /// Write to this file, which must not exist; without it, to standard output.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["apply", "diff"])]
    output: Option<PathBuf>,

    /// Apply the config map to the cluster, after showing what changes. Values that are there stay, unless --set says
    /// otherwise; no key is deleted.
    #[arg(long, conflicts_with = "offline")]
    apply: bool,

    /// Show what --apply would change, and change nothing.
    #[arg(long, conflicts_with = "offline")]
    diff: bool,

    /// Ask no cluster.
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    offline: bool,

    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Prints or applies it.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (known, client) =
        if arguments.offline { (Known::default(), None) } else { Known::ask(&arguments.cluster).await? };
    let provider = provider(arguments.provider.as_deref(), &known)?;
    let asked = asked::read(provider, &arguments.set)?;
    let (network, cloud) = ask_cloud(lookup::of(provider).as_deref(), &known).await;
    let entries = values::entries(provider, &known, network.as_ref(), &asked);
    if arguments.apply || arguments.diff {
        let client = client
            .ok_or_else(|| anyhow!("no cluster to apply to: name one by --kubeconfig or KUBECONFIG"))?;
        let (map, why) =
            known.unreadable.iter().find(|(object, _)| object.ends_with(SETTINGS)).cloned().unzip();
        ensure!(
            map.is_none(),
            "ConfigMap {SETTINGS} cannot be read, so that it is not written: {}",
            why.unwrap_or_default()
        );
        let change = apply::change(&known, &entries)?;
        for line in change.lines() {
            anstream::println!("{line}");
        }
        if arguments.apply {
            change.apply(&client).await?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = manifest::settings(provider, &known, &cloud, &entries);
    for with in &arguments.with {
        text.push_str(&templates::text(*with, provider, limit(&entries)));
    }
    match &arguments.output {
        Some(path) => {
            let mut file = std::fs::File::create_new(path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            anstream::eprintln!("{}", next(&entries, &path.display().to_string()));
        }
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The provider that is asked for, which must not be another one than that of the settings that are there.
fn provider(asked: Option<&str>, known: &Known) -> anyhow::Result<Provider> {
    let present = known.settings().and_then(|settings| config::provider(settings, None));
    let asked = asked.and_then(Provider::by_name);
    if let (Some(asked), Some(present)) = (asked, present) {
        ensure!(
            asked == present,
            "ConfigMap {SETTINGS} on the cluster is for {}, and --provider is {}: remove it first, or use --offline",
            present.name(),
            asked.name()
        );
    }
    asked.or(present).or_else(|| known.provider()).ok_or_else(|| {
        let platform = known
            .platform
            .name
            .as_deref()
            .map_or(String::new(), |name| format!("; the cluster runs on {name}"));
        let names = Provider::ALL.map(Provider::name).join(", ");
        anyhow!("which provider? Say it by --provider, one of {names}{platform}")
    })
}

/// What the cloud says about the network of a worker, and a sentence about whether it was asked.
async fn ask_cloud(lookup: Option<&dyn CloudLookup>, known: &Known) -> (Option<Network>, String) {
    let (Some(lookup), Some(machine)) = (lookup, known.machines.first()) else {
        return (None, "The cloud itself was not asked.".to_owned());
    };
    match lookup.network_of(machine).await {
        Ok(network) => (Some(network), "The cloud was asked for the network of a worker.".to_owned()),
        Err(why) => (None, format!("The cloud was asked and did not answer: {}", why.replace('\n', " "))),
    }
}

fn limit(entries: &[Entry]) -> &str {
    let limit = entries.iter().find(|entry| entry.key.name == "PEERPODS_LIMIT_PER_NODE");
    limit.map_or("10", |entry| entry.value.as_str())
}

/// What to do with the file.
fn next(entries: &[Entry], file: &str) -> String {
    let missing: Vec<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.from, From::Missing(_)))
        .map(|entry| entry.key.name)
        .collect();
    let check = format!("osc peerpods check -f {file}");
    if missing.is_empty() {
        format!("wrote {file}; now: {check}")
    } else {
        format!("wrote {file}; fill in {}, then: {check}", missing.join(", "))
    }
}
