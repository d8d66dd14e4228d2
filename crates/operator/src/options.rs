//! What the person who runs the operator can set.

use std::path::Path;

use clap::{Args, ValueEnum};
pub use osc_admission::bind::BindAddress;
use osc_admission::bind::bind_address;
use osc_api::names;
use osc_engine::Settings;
use osc_engine::observed::{PeerPodsSettings, Sts};

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

    /// What is said about peer pods.
    #[command(flatten)]
    pub peer_pods: PeerPodsOptions,
}

/// What is said about peer pods.
#[derive(Args, Clone, Debug, Default)]
pub struct PeerPodsOptions {
    /// Image of the adaptor, which starts pod VMs.
    #[arg(long, env = "RELATED_IMAGE_CAA")]
    pub adaptor_image: Option<String>,

    /// Image of the webhook that changes peer pods.
    #[arg(long, env = "RELATED_IMAGE_PEERPODS_WEBHOOK")]
    pub webhook_image: Option<String>,

    /// Image of the tool that makes pod VM images.
    #[arg(long, env = "RELATED_IMAGE_PODVM_BUILDER")]
    pub image_tool_image: Option<String>,

    /// The pod VM image that is used unless somebody names another one.
    #[arg(long, env = "RELATED_IMAGE_PODVM_OCI")]
    pub pod_vm_image: Option<String>,

    /// Role on AWS that trusts the cluster's tokens.
    #[arg(long, env = "ROLEARN")]
    pub sts_role: Option<String>,

    /// Application on Azure that trusts the cluster's tokens.
    #[arg(long, env = "CLIENTID")]
    pub sts_client: Option<String>,

    /// Its directory.
    #[arg(long, env = "TENANTID")]
    pub sts_tenant: Option<String>,

    /// Its subscription.
    #[arg(long, env = "SUBSCRIPTIONID")]
    pub sts_subscription: Option<String>,

    /// What becomes of virtual machines of this cluster that no PeerPod knows.
    #[arg(long, env = "OSC_UNKNOWN_VMS", value_enum, default_value_t = Sweep::Report)]
    pub unknown_vms: Sweep,
}

/// What becomes of virtual machines that no PeerPod knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sweep {
    /// They are told, by log, event and metric.
    #[default]
    Report,
    /// They are told and deleted.
    Delete,
    /// Nobody looks.
    Off,
}

impl PeerPodsOptions {
    fn settings(&self) -> PeerPodsSettings {
        PeerPodsSettings {
            adaptor_image: set(self.adaptor_image.as_ref()),
            webhook_image: set(self.webhook_image.as_ref()),
            image_tool: set(self.image_tool_image.as_ref()),
            pod_vm_image: set(self.pod_vm_image.as_ref()),
            sts: self.sts(),
            proxies: proxies(|name| std::env::var(name).ok()),
            fips: std::fs::read_to_string("/proc/sys/crypto/fips_enabled")
                .is_ok_and(|text| text.trim() == "1"),
            ..PeerPodsSettings::default()
        }
    }

    /// Azure is told by three names, which an AWS cluster does not have.
    fn sts(&self) -> Option<Sts> {
        match (
            set(self.sts_client.as_ref()),
            set(self.sts_tenant.as_ref()),
            set(self.sts_subscription.as_ref()),
        ) {
            (Some(client), Some(tenant), Some(subscription)) => {
                Some(Sts::Azure { client, tenant, subscription })
            }
            _ => set(self.sts_role.as_ref()).map(|role| Sts::Aws { role }),
        }
    }
}

/// An empty variable counts as not set, as a manifest may leave it so.
fn set(value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).cloned()
}

/// The proxies of the cluster, as they were given to the operator.
fn proxies(variable: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].into_iter();
    names
        .filter_map(|name| Some((name.to_owned(), variable(name).filter(|value| !value.is_empty())?)))
        .collect()
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
            peer_pods: PeerPodsOptions::default(),
        }
    }
}

impl Options {
    /// The engine's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            namespace: self.namespace.clone(),
            monitor_image: set(self.monitor_image.as_ref()),
            agent_image: set(self.agent_image.as_ref()),
            extension: set(self.extension.as_ref()),
            peer_pods: self.peer_pods.settings(),
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
    fn a_cloud_that_trusts_the_cluster_is_told_by_its_own_names() {
        let text = |text: &str| Some(text.to_owned());
        let aws = PeerPodsOptions { sts_role: text("arn"), ..PeerPodsOptions::default() };
        assert_eq!(aws.sts(), Some(Sts::Aws { role: "arn".to_owned() }));
        let half = PeerPodsOptions { sts_client: text("c"), sts_tenant: text(""), ..aws.clone() };
        assert_eq!(half.sts(), aws.sts());
        let azure = PeerPodsOptions { sts_tenant: text("t"), sts_subscription: text("s"), ..half };
        assert!(matches!(azure.sts(), Some(Sts::Azure { .. })));
        assert_eq!(PeerPodsOptions::default().sts(), None);
    }

    #[test]
    fn proxies_are_handed_on_if_there_are_any() {
        let found = proxies(|name| match name {
            "HTTPS_PROXY" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some(String::new()),
            _ => None,
        });
        assert_eq!(found, [("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned())]);
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
