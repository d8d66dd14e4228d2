//! `osc peerpods configure`: the config map, with what the cluster knows filled in.

mod apply;
mod asked;
mod aws;
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
use lookup::{CloudLookup, Network, Networks};
use machine::Machine;
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
    let (mut known, client) =
        if arguments.offline { (Known::default(), None) } else { Known::ask(&arguments.cluster).await? };
    let provider = provider(arguments.provider.as_deref(), &known)?;
    let asked = asked::read(provider, &arguments.set)?;
    let entries = values::entries(provider, &known, None, &asked);
    let (networks, cloud) = match machines(provider, &known, &entries) {
        Ok(machines) => {
            if let Some(client) = &client {
                known.ask_credentials(client).await?;
            }
            let environment = |key: &str| std::env::var(key).ok();
            ask_cloud(lookup::of(provider, &known.credentials, environment), &machines, &entries).await
        }
        Err(why) => (None, not_asked(&why)),
    };
    let entries = values::entries(provider, &known, networks.as_ref(), &asked);
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
        let change = apply::change(&known, &entries).map_err(|error| anyhow!("{error}\n{cloud}"))?;
        if networks.as_ref().is_some_and(|networks| !networks.others.is_empty()) {
            anstream::eprintln!("{cloud}");
        }
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

fn not_asked(why: &str) -> String {
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.replace('\n', " ")) };
    format!("The cloud itself was not asked{why}.")
}

/// The machines that the cloud is to be asked about; an error says why it is not asked, and is empty where nobody could.
fn machines(provider: Provider, known: &Known, entries: &[Entry]) -> Result<Vec<Machine>, String> {
    if !lookup::can_ask(provider) {
        return Err(String::new());
    }
    if !entries.iter().any(Entry::is_missing) {
        return Err("nothing is left to find".to_owned());
    }
    let of_cloud: Vec<&Machine> =
        known.machines.iter().filter(|machine| machine.provider() == provider).collect();
    if of_cloud.is_empty() {
        return Err(format!("no worker is known to be a machine of {}", provider.title()));
    }
    // A subnet of another region is of no use.
    let region = entries.iter().find(|entry| entry.key.name == "AWS_REGION").map(|entry| &entry.value);
    let fits =
        |machine: &&Machine| machine.region().is_none_or(|own| region.is_none_or(|region| own == *region));
    let fitting: Vec<Machine> = of_cloud.into_iter().filter(fits).cloned().collect();
    if fitting.is_empty() {
        return Err(format!("AWS_REGION is {}, and no worker is there", region.map_or("", String::as_str)));
    }
    Ok(fitting)
}

/// What the cloud says about the networks of workers, and a sentence about whether it was asked.
async fn ask_cloud(
    lookup: Result<Option<Box<dyn CloudLookup>>, String>,
    machines: &[Machine],
    entries: &[Entry],
) -> (Option<Networks>, String) {
    let lookup = match lookup {
        Ok(Some(lookup)) => lookup,
        Ok(None) => return (None, not_asked("")),
        Err(why) => return (None, not_asked(&why)),
    };
    let workers = |count: usize| if count == 1 { "a worker".to_owned() } else { format!("{count} workers") };
    let found = match lookup.networks_of(machines).await {
        Ok(found) => found,
        Err(why) => {
            return (None, format!("The cloud was asked and did not answer: {}", why.replace('\n', " ")));
        }
    };
    if found.is_empty() {
        let words = "The cloud was asked and does not know the workers' machines: are the credentials of the cluster's account?";
        return (None, words.to_owned());
    }
    let fitting: Vec<Network> = found.iter().filter(|network| goes_with(network, entries)).cloned().collect();
    let Some(networks) = Networks::of(&fitting) else {
        let words = "The cloud was asked, and no worker is in the subnet or VPC that is set already: the rest is yours to fill in.";
        return (None, words.to_owned());
    };
    let unknown = match machines.len().saturating_sub(found.len()) {
        0 => String::new(),
        unknown => format!(", and does not know {unknown} of them"),
    };
    let mut words = format!("The cloud was asked for the network of {}{unknown}.", workers(machines.len()));
    if !networks.others.is_empty() {
        words.push_str(" They are in different ones; that of most was taken: ");
        words.push_str(&told(&networks));
    }
    (Some(networks), words)
}

/// Whether a network is the one that is set already in part: VPC and groups of another subnet are of no use.
fn goes_with(network: &Network, entries: &[Entry]) -> bool {
    let fits = |name: &str, own: &Option<String>| {
        let set = entries.iter().find(|entry| entry.key.name == name && !entry.value.is_empty());
        set.is_none_or(|set| own.as_ref() == Some(&set.value))
    };
    fits("AWS_SUBNET_ID", &network.subnet) && fits("AWS_VPC_ID", &network.name)
}

/// Each value on which machines differ, with all that there are.
fn told(networks: &Networks) -> String {
    let all: Vec<&Network> = std::iter::once(&networks.network).chain(&networks.others).collect();
    let several = |title: &str, read: fn(&Network) -> Option<String>| {
        let mut values: Vec<String> = Vec::new();
        for value in all.iter().filter_map(|network| read(network)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        (values.len() > 1).then(|| format!("{title} {}", values.join(" and ")))
    };
    let parts = [
        several("networks", |network| network.name.clone()),
        several("subnets", |network| network.subnet.clone()),
        several("security groups", Network::groups),
    ];
    format!("{}.", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
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
