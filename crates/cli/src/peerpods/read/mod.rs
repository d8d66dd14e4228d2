//! The objects of peer pods: read from a cluster or from files, and what they say.

mod cluster;
mod files;
mod setup;

use std::path::PathBuf;

use serde_json::Value;

use crate::kubeconfig::ClusterFlags;

pub use cluster::{Asked, REGION_LABEL};
pub use setup::{Platform, setup};

/// Where the objects are.
#[derive(clap::Args, Clone, Debug)]
pub struct Source {
    /// Read these instead of a cluster: YAML or JSON, several documents, lists; a directory; - for standard input.
    /// Repeatable.
    #[arg(long, short, value_name = "FILE|DIR|-", conflicts_with_all = ["kubeconfig", "context"])]
    filename: Vec<PathBuf>,

    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Objects as they were found.
#[derive(Default)]
pub struct Objects {
    /// The objects; values of secrets included, so that it is never printed.
    pub items: Vec<Value>,
    /// Objects that could not be read, kind and name, and why.
    pub unreadable: Vec<(String, String)>,
    /// Whether all that there is was asked for: what is not here does not exist.
    pub of_cluster: bool,
}

impl Source {
    /// Reads them.
    pub async fn read(&self) -> anyhow::Result<Objects> {
        if self.filename.is_empty() {
            let (client, address) = self.cluster.client_and_address().await?;
            return cluster::read(&client, &address).await;
        }
        files::read(&self.filename)
    }
}

/// Those of a cluster that can be reached.
pub async fn of_cluster(client: &kube::Client) -> anyhow::Result<Objects> {
    cluster::read(client, "this address").await
}

/// `ConfigMap peer-pods-cm`.
pub fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}
