//! Which cluster a command works on.

use std::path::PathBuf;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Flags that choose a cluster.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterFlags {
    /// Kubeconfig file; without it, KUBECONFIG, ~/.kube/config or the pod's ServiceAccount.
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig.
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,
}

impl ClusterFlags {
    /// Whether a cluster is named at all: by a flag, a kubeconfig or a ServiceAccount.
    pub async fn is_any(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || Config::infer().await.is_ok()
    }

    /// A client for the chosen cluster.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(self.client_and_address().await?.0)
    }

    /// The same with the API server's address.
    pub async fn client_and_address(&self) -> anyhow::Result<(Client, String)> {
        let config = self.config().await?;
        let address = config.cluster_url.to_string();
        let client =
            Client::try_from(config).with_context(|| format!("cannot set up a client for {address}"))?;
        Ok((client, address))
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file)
                    .with_context(|| format!("cannot use kubeconfig {}", file.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .with_context(|| format!("cannot use kubeconfig {}", file.display()))
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.context("cannot use the kubeconfig (KUBECONFIG, ~/.kube/config)")
            }
            None => Config::infer().await.context(
                "no cluster to talk to: neither a usable kubeconfig (--kubeconfig, KUBECONFIG, ~/.kube/config) nor a \
                 ServiceAccount",
            ),
        }
    }
}
