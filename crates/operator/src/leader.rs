//! Who of several operators works: the holder of a Lease.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use osc_api::names;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a Lease holds without renewal, in seconds. A crashed leader is replaced after that.
const LEASE_SECONDS: u64 = 30;
/// How long before its end the holder renews, in seconds.
const RENEW_BEFORE_SECONDS: u64 = 15;

/// Whether this process leads, and the task that cares for the Lease.
pub struct Leadership {
    leading: watch::Receiver<bool>,
    task: Option<JoinHandle<Result<LeaseManager, LeaseManagerError>>>,
    /// Keeps the channel of a lone operator open.
    _alone: Option<watch::Sender<bool>>,
}

impl Leadership {
    /// Without election: always leading.
    pub fn alone() -> Self {
        let (sender, leading) = watch::channel(true);
        Self { leading, task: None, _alone: Some(sender) }
    }

    /// Takes part in the election. The Lease is the Go operator's, so that the two never work side by side.
    pub async fn elect(client: Client, namespace: &str, identity: &str) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, names::LEADER_ELECTION_LEASE)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_field_manager(format!("{}-{identity}", names::FIELD_MANAGER))
            .with_duration(LEASE_SECONDS)
            .with_grace(RENEW_BEFORE_SECONDS)
            .build()
            .await?;
        let (leading, task) = manager.watch().await;
        Ok(Self { leading, task: Some(task), _alone: None })
    }

    /// Whether this process leads now.
    pub fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Waits until leadership comes or goes. False: the task that cares for the Lease has ended, and nobody does now.
    pub async fn changed(&mut self) -> bool {
        self.leading.changed().await.is_ok()
    }

    /// Gives the Lease back, so that a successor need not wait for its end.
    pub async fn release(self) {
        let Self { leading, task, .. } = self;
        drop(leading);
        if let Some(task) = task {
            match task.await {
                Ok(Ok(_)) => tracing::info!("gave the lease back"),
                Ok(Err(error)) => tracing::warn!(%error, "could not give the lease back"),
                Err(error) => tracing::warn!(%error, "the lease task failed"),
            }
        }
    }
}
