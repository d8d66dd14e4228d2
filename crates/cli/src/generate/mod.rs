//! `osc generate`: manifests that people otherwise copy from the documentation, for the cluster at hand.

mod cluster;
mod config;
mod machine_config;
mod nfd;
mod olm;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::kubeconfig::ClusterFlags;
use cluster::Known;

/// Flags of `osc generate`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,

    #[command(flatten)]
    cluster: ClusterFlags,

    /// Ask no cluster: print the documented values.
    #[arg(long, global = true, conflicts_with_all = ["kubeconfig", "context"])]
    offline: bool,
}

/// What is to be printed.
#[derive(Subcommand)]
enum What {
    /// NodeFeatureRule by which Node Feature Discovery labels nodes that can run Kata, and their TEEs.
    NfdRule(nfd::Flags),
    /// MachineConfig that switches on Intel TDX. Applying it reboots nodes.
    TdxMachineConfig(machine_config::Flags),
    /// MachineConfig that switches on the IOMMU, for GPUs. Applying it reboots nodes.
    IommuMachineConfig(machine_config::Flags),
    /// Config map with the feature gates of the operator.
    FeatureGates(config::GateFlags),
    /// KataConfig. Applying it reboots nodes: see osc plan.
    Kataconfig(config::KataConfigFlags),
    /// Namespace, OperatorGroup and Subscription that install the operator by OLM.
    Subscription(olm::Flags),
}

/// Prints to standard output, to be piped into `oc apply -f -`.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let known = if arguments.offline { Known::default() } else { Known::ask(&arguments.cluster).await? };
    let text = text(&arguments.what, &known)?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text(what: &What, known: &Known) -> anyhow::Result<String> {
    match what {
        What::NfdRule(flags) => nfd::rule(flags, known),
        What::TdxMachineConfig(flags) => machine_config::tdx(flags, known),
        What::IommuMachineConfig(flags) => machine_config::iommu(flags, known),
        What::FeatureGates(flags) => config::feature_gates(flags, known),
        What::Kataconfig(flags) => config::kata_config(flags, known),
        What::Subscription(flags) => olm::subscription(flags, known),
    }
}
