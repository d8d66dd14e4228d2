//! What a person tells the operator: feature gates and the KataConfig.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use osc_api::names;
use osc_api::names::FEATURE_GATES;
use osc_engine::security::webhooks::MEMORY_OVERHEAD_KEY;
use osc_engine::selector::Selector;

use super::cluster::Known;

/// Flags of `osc generate feature-gates`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct GateFlags {
    /// Switch on confidential containers.
    #[arg(long)]
    pub confidential: bool,

    /// How Kata gets onto nodes; without it, what fits the cluster.
    #[arg(long, value_enum)]
    pub deployment_mode: Option<DeploymentMode>,

    /// Install by an operating system image of your own; it also needs the config map layered-image-deploy-cm.
    #[arg(long)]
    pub layered_image: bool,

    /// Memory in MiB that each virtual machine gets beside what its containers ask for.
    #[arg(long, value_name = "MiB", value_parser = clap::value_parser!(u32).range(1..=32768))]
    pub memory_overhead: Option<u32>,
}

/// How Kata gets onto nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeploymentMode {
    /// By the Machine Config Operator.
    #[value(name = "MachineConfig")]
    MachineConfig,
    /// By an agent on each node.
    #[value(name = "DaemonSet")]
    DaemonSet,
    /// By the Machine Config Operator where there is one, else by an agent.
    #[value(name = "DaemonSetFallback")]
    DaemonSetFallback,
}

/// The config map with the feature gates.
pub fn feature_gates(flags: &GateFlags, known: &Known) -> anyhow::Result<String> {
    let machine_configs = known.cluster.as_ref().is_none_or(|cluster| cluster.machine_configs);
    let mode = match (flags.deployment_mode, machine_configs) {
        (Some(DeploymentMode::MachineConfig), false) => bail!(
            "--deployment-mode MachineConfig: this cluster has no Machine Config Operator; use DaemonSet or \
             DaemonSetFallback"
        ),
        (Some(mode), _) => mode,
        (None, true) => DeploymentMode::MachineConfig,
        (None, false) => DeploymentMode::DaemonSet,
    };
    let by_image = mode == DeploymentMode::MachineConfig
        || (mode == DeploymentMode::DaemonSetFallback && machine_configs);
    ensure!(
        !flags.layered_image || by_image,
        "--layered-image has no effect without the Machine Config Operator: a node agent installs packages"
    );
    let mut head = vec!["Feature gates of the operator. Values are texts, in quotes.".to_owned()];
    if let Some(name) = known.cluster.as_ref().and_then(|cluster| cluster.kata_configs.first()) {
        head.push(format!(
            "There is KataConfig {name:?} already: the deployment mode of what is installed cannot be changed any more."
        ));
    }
    let name = mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut text = format!(
        "{}apiVersion: v1
kind: ConfigMap
metadata:
  name: {FEATURE_GATES}
  namespace: {}
data:
  # Runtime classes kata-cc and kata-cc-nvidia-gpu, on nodes with a TEE.
  confidential: \"{}\"
  # MachineConfig, DaemonSet, or DaemonSetFallback: DaemonSet only where there is no Machine Config Operator.
  deploymentMode: {name}
",
        known.head(&head),
        names::OPERATOR_NAMESPACE,
        flags.confidential
    );
    if flags.layered_image {
        text.push_str("  # By an operating system image: see the config map layered-image-deploy-cm.\n");
        text.push_str("  layeredImageDeployment: \"true\"\n");
    }
    if let Some(megabytes) = flags.memory_overhead {
        text.push_str("  # MiB that each virtual machine gets beside what its containers ask for.\n");
        let _ = writeln!(text, "  {MEMORY_OVERHEAD_KEY}: \"{megabytes}\"");
    }
    Ok(text)
}

/// Flags of `osc generate kataconfig`.
#[derive(clap::Args, Clone, Debug)]
pub struct KataConfigFlags {
    /// Its name.
    #[arg(long, default_value = "example-kataconfig")]
    pub name: String,

    /// For confidential containers: only on nodes whose hardware was found to fit.
    #[arg(long)]
    pub confidential: bool,

    /// Install only on nodes that Node Feature Discovery has found to fit.
    #[arg(long)]
    pub check_node_eligibility: bool,

    /// Log level of CRI-O on the nodes.
    #[arg(long, default_value = names::DEFAULT_LOG_LEVEL, value_parser = clap::builder::PossibleValuesParser::new(names::LOG_LEVELS))]
    pub log_level: String,

    /// Label of the nodes that get Kata, as KEY=VALUE; several: nodes that have all. Without it, all workers.
    #[arg(long, value_name = "KEY=VALUE")]
    pub selector: Vec<String>,
}

/// The KataConfig.
pub fn kata_config(flags: &KataConfigFlags, known: &Known) -> anyhow::Result<String> {
    let name = &flags.name;
    let part = |part: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(fits) && !part.starts_with('-') && !part.ends_with('-')
    };
    ensure!(
        name.len() <= 253 && name.split('.').all(part),
        "--name is {name:?}, which is no name of an object: lower-case letters, digits, '-' and '.', beginning and ending \
         with a letter or digit"
    );
    let selector = selector(&flags.selector)?;
    let mut head = vec![
        "Installs Kata. Applying it drains and reboots the nodes, one after the other: osc plan -f tells which and when."
            .to_owned(),
    ];
    if let Some(other) =
        known.cluster.iter().flat_map(|cluster| &cluster.kata_configs).find(|other| *other != name)
    {
        head.push(format!(
            "There is KataConfig {other:?} already, and a second one is refused: change that one, or remove it first."
        ));
    }
    Ok(format!(
        "{}apiVersion: {}/v1
kind: KataConfig
metadata:
  name: {name}
spec:
  # Pods in virtual machines outside of the node.
  enablePeerPods: false
  # Whether only nodes get Kata that Node Feature Discovery has labelled: osc generate nfd-rule.
  checkNodeEligibility: {}
  # Log level of CRI-O: {}.
  logLevel: {}
{selector}",
        known.head(&head),
        names::KATACONFIG_GROUP,
        flags.confidential || flags.check_node_eligibility,
        names::LOG_LEVELS.join(", "),
        flags.log_level,
    ))
}

/// The selector as lines, or how one would be written.
fn selector(labels: &[String]) -> anyhow::Result<String> {
    if labels.is_empty() {
        return Ok("  # All workers. To choose some:\n  # kataConfigPoolSelector:\n  #   matchLabels:\n  #     <label key>: \
                   '<label value>'\n"
            .to_owned());
    }
    let mut text = "  # Workers with these labels.\n  kataConfigPoolSelector:\n    matchLabels:\n".to_owned();
    let mut match_labels = std::collections::BTreeMap::new();
    for label in labels {
        let Some((key, value)) = label.split_once('=') else {
            bail!("--selector is {label:?}; write KEY=VALUE, for instance kata=true");
        };
        ensure!(
            match_labels.insert(key.to_owned(), value.to_owned()).is_none(),
            "--selector names label {key} twice: no node has two values of one label"
        );
    }
    let whole = LabelSelector { match_labels: Some(match_labels.clone()), ..LabelSelector::default() };
    Selector::parse(&whole, "--selector").map_err(|complaints| anyhow::anyhow!(complaints.join("; ")))?;
    for (key, value) in match_labels {
        // In quotes: true and 1 would be something else.
        let _ = writeln!(text, "      {key}: '{value}'");
    }
    Ok(text)
}
