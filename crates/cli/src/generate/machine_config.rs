//! Kernel arguments that confidential virtual machines and GPUs need, by the Machine Config Operator.

use anyhow::{bail, ensure};
use osc_api::names;

use super::cluster::Known;

/// Flags of the machine configs.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Flags {
    /// Pool whose nodes get it; without it, the documented one: master where the control plane does the work.
    #[arg(long, value_name = "POOL")]
    pub role: Option<String>,
}

/// The pool that gets it, and a line that says why.
fn role(flags: &Flags, known: &Known, regular: &str) -> anyhow::Result<(String, String)> {
    if let Some(cluster) = &known.cluster
        && !cluster.machine_configs
    {
        bail!(
            "the cluster at {} has no Machine Config Operator, so that a MachineConfig does nothing there; set the kernel \
             arguments in the boot loader of its nodes, or use --offline for another cluster",
            cluster.address
        );
    }
    if let Some(role) = &flags.role {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = !role.starts_with('-') && !role.ends_with('-');
        ensure!(
            !role.is_empty() && role.len() <= 63 && role.chars().all(fits) && ends,
            "--role is {role:?}, which is no name of a pool: lower-case letters, digits and '-', for instance {regular}"
        );
        return Ok((role.clone(), format!("For the pool {role}, as asked for.")));
    }
    Ok(match &known.cluster {
        Some(cluster) if !cluster.dedicated_workers => (
            names::MASTER_POOL.to_owned(),
            "For the pool master: this cluster has no workers beside its control plane.".to_owned(),
        ),
        Some(_) => {
            (regular.to_owned(), format!("For the pool {regular}: this cluster has workers of its own."))
        }
        None => (
            regular.to_owned(),
            format!("For the pool {regular}; on a single-node cluster use --role master."),
        ),
    })
}

/// Kernel argument, module and pool of Intel TDX.
pub fn tdx(flags: &Flags, known: &Known) -> anyhow::Result<String> {
    let (role, why) = role(flags, known, names::KATA_POOL)?;
    let head = known.head(&[
        "Switches on Intel TDX. Applying it reboots the nodes of the pool, one after the other.".to_owned(),
        why,
    ]);
    Ok(format!(
        "{head}apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 99-enable-intel-tdx
  labels:
    machineconfiguration.openshift.io/role: {role}
spec:
  kernelArguments:
    - kvm_intel.tdx=1
    # Keys of virtual machines do not survive hibernation.
    - nohibernate
  config:
    ignition:
      version: 3.2.0
    storage:
      files:
        # Loads the module vsock-loopback at boot, by which the quote generation service is reached.
        - path: /etc/modules-load.d/vsock.conf
          # 0644, which not every reader of YAML takes for octal.
          mode: 420
          contents:
            source: data:text/plain;charset=utf-8;base64,dnNvY2stbG9vcGJhY2sK
"
    ))
}

/// Kernel arguments for passing GPUs through.
pub fn iommu(flags: &Flags, known: &Known) -> anyhow::Result<String> {
    let (role, why) = role(flags, known, names::WORKER_POOL)?;
    let head = known.head(&[
        "Switches on the IOMMU, so that virtual machines can be given GPUs. Applying it reboots the nodes of the pool, one \
         after the other."
            .to_owned(),
        why,
    ]);
    Ok(format!(
        "{head}apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 100-iommu-kernel-args
  labels:
    machineconfiguration.openshift.io/role: {role}
spec:
  config:
    ignition:
      version: 3.2.0
  # Each processor takes the one that it knows.
  kernelArguments:
    - amd_iommu=on
    - intel_iommu=on
"
    ))
}
