//! What the person who runs the operator can set.

use std::path::Path;

use clap::Args;
pub use osc_admission::bind::BindAddress;
use osc_admission::bind::bind_address;
use osc_api::names;
use osc_engine::Settings;

use crate::webhook::WebhookOptions;

/// Flags and environment of the operator.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Namespace of the operator and of what it creates.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::OPERATOR_NAMESPACE)]
    pub namespace: String,

    /// Work only while holding the Lease, so that several operators do not get in each other's way.
    #[arg(long)]
    pub leader_elect: bool,

    /// Name under which the Lease is held; by default one that no other process has.
    #[arg(long, env = "POD_NAME", default_value_t = own_identity(), hide_default_value = true)]
    pub identity: String,

    /// Where /healthz, /readyz and /metrics are served; `0` serves nothing.
    #[arg(long, default_value = "0.0.0.0:8080", value_parser = bind_address)]
    pub metrics_bind_address: BindAddress,

    /// Image of kata-monitor.
    #[arg(long, env = "RELATED_IMAGE_KATA_MONITOR")]
    pub monitor_image: Option<String>,

    /// Image of the node agent, which installs Kata in DaemonSet mode.
    #[arg(long, env = "RELATED_IMAGE_NODE_AGENT")]
    pub agent_image: Option<String>,

    /// Extension to install instead of the one that the cluster's release names.
    #[arg(long, env = "SANDBOXED_CONTAINERS_EXTENSION")]
    pub extension: Option<String>,

    /// What is said about webhooks.
    #[command(flatten)]
    pub webhook: WebhookOptions,
}

/// Host and process: two operators outside of a cluster must not take each other's Lease for their own.
fn own_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("osc-operator_{}_{}", host.trim(), std::process::id())
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: names::OPERATOR_NAMESPACE.to_owned(),
            leader_elect: false,
            identity: own_identity(),
            metrics_bind_address: BindAddress(None),
            monitor_image: None,
            agent_image: None,
            extension: None,
            webhook: WebhookOptions::default(),
        }
    }
}

impl Options {
    /// The engine's settings. An empty variable counts as not set, as a manifest may leave it so.
    pub fn settings(&self) -> Settings {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Settings {
            namespace: self.namespace.clone(),
            monitor_image: set(&self.monitor_image),
            agent_image: set(&self.agent_image),
            extension: set(&self.extension),
            host_is_rhcos: kernel_command_line_is_rhcos(Path::new("/proc/cmdline")),
            ..Settings::default()
        }
    }
}

/// RHCOS boots from an ostree deployment below `ostree/rhcos`.
fn kernel_command_line_is_rhcos(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|line| line.contains("ostree/rhcos"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_image_counts_as_none() {
        let options = Options { monitor_image: Some(String::new()), ..Options::default() };
        assert_eq!(options.settings().monitor_image, None);
    }

    #[test]
    fn the_kernel_command_line_tells_rhcos() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cmdline");
        std::fs::write(&file, "BOOT_IMAGE=(hd0,gpt3)/ostree/rhcos-1/vmlinuz root=UUID=1").unwrap();
        assert!(kernel_command_line_is_rhcos(&file));
        assert!(!kernel_command_line_is_rhcos(&directory.path().join("none")));
    }
}
