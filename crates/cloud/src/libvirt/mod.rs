//! Pod VMs on a KVM host, by libvirt: IBM Z and IBM LinuxONE, and every other host that has it.
//!
//! ```text
//!   creation, removal, sweep, volumes     what is asked of libvirt, and in which order
//!   calls                                 its procedures, typed
//!   client                                a connection that is there when it is needed
//!   wire                                  its remote protocol over a socket or ssh
//! ```
//!
//! Nothing is remembered here: what a domain is and whose is in its own metadata.

mod calls;
mod client;
mod creation;
mod domain;
mod host;
mod iso;
mod removal;
mod settings;
mod sweep;
mod transfer;
pub mod volumes;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use client::Client;
use creation::Creation;
use settings::Settings;

use crate::{Account, CreateError, Deletion, Error, Instance, InstanceSpec, Kind, Owner, Provider};

/// A KVM host.
#[derive(Clone, Debug)]
pub struct Libvirt {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    settings: Settings,
    turns: Turns,
}

/// One creation of a name at a time: a second one would take what the first has made so far for what a dead one left.
#[derive(Debug, Default)]
struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has or waits for are forgotten.
        all.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }
}

impl Libvirt {
    /// Reads the settings. The host is connected to when something is asked of it.
    pub fn new(account: &Account) -> Result<Self, Error> {
        let settings = Settings::read(account)?;
        let client = Client::new(settings.endpoint.clone());
        Ok(Self { shared: Arc::new(Shared { client, settings, turns: Turns::default() }) })
    }

    /// Creates in a task of its own, so that what was made is taken back even if nobody waits for it any more.
    async fn create_guarded(&self, spec: &InstanceSpec) -> Result<Instance, CreateError> {
        let stop = CancellationToken::new();
        let (shared, spec, name) = (Arc::clone(&self.shared), spec.clone(), spec.name.clone());
        let watched = stop.clone();
        let task = tokio::spawn(async move {
            let Shared { client, settings, turns } = &*shared;
            let turn = turns.of(&spec.name);
            let _turn = turn.lock().await;
            let created = Creation { client, settings, spec: &spec, stop: &watched }.run().await;
            match created {
                // The last moment at which nobody may be there to hear of it.
                Ok(instance) if watched.is_cancelled() => {
                    if let Err(error) = removal::by_id(client, settings, &instance.id).await {
                        tracing::warn!(machine = instance.name, %error, "it is there, and nobody waits for it");
                    }
                    Err(CreateError::clean(Error::Cancelled(instance.name)))
                }
                other => other,
            }
        });
        let guard = stop.drop_guard();
        let result = task.await;
        guard.disarm();
        result.unwrap_or_else(|_| Err(CreateError::clean(Error::Cancelled(name))))
    }

    /// The network; and a word if nodes on other hosts do not reach machines in it.
    async fn check_network(&self) -> Result<Option<String>, Error> {
        let Shared { client, settings, .. } = &*self.shared;
        let name = &settings.network;
        let network = creation::network(client, name).await?;
        if !client.endpoint().is_remote() {
            return Ok(None);
        }
        let xml = client.network_xml(&network).await;
        let why = host::unreachable_network(
            &xml.map_err(|said| said.because(format_args!("look at network {name}")))?,
        )?;
        Ok(why.map(|why| {
            format!(
                "network {name} {why}: worker nodes that are not on that host do not reach pod VMs; let LIBVIRT_NET name a \
                 network that is routed or bridged"
            )
        }))
    }

    async fn check(&self) -> Result<Vec<String>, Vec<Error>> {
        let Shared { client, settings, .. } = &*self.shared;
        // If nobody is let in, nothing else is worth asking.
        let capabilities = client.capabilities().await;
        let capabilities = capabilities.map_err(|said| vec![said.because("ask for capabilities")])?;
        let mut errors = Vec::new();
        let mut notes = client.endpoint().notes();
        match host::host(&capabilities) {
            Ok(host) if !host.kvm => notes.push(format!(
                "the host has no KVM for {}: pod VMs are emulated, which is slow",
                host.arch.name()
            )),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        match self.check_network().await {
            Ok(note) => notes.extend(note),
            Err(error) => errors.push(error),
        }
        match (creation::pool(client, &settings.pool).await, &settings.image) {
            (Ok((pool, _)), Some((name, key))) => {
                errors.extend(creation::complete_image(client, &pool, name, key).await.err());
            }
            (Ok(_), None) => {
                notes.push("there is no pod VM image yet: LIBVIRT_IMAGE_ID is not set".to_owned());
            }
            (Err(error), _) => errors.push(error),
        }
        if errors.is_empty() { Ok(notes) } else { Err(errors) }
    }
}

impl Provider for Libvirt {
    fn kind(&self) -> Kind {
        Kind::Libvirt
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Result<Instance, CreateError>> {
        Box::pin(self.create_guarded(spec))
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Deletion, Error>> {
        Box::pin(removal::by_id(&self.shared.client, &self.shared.settings, id))
    }

    fn list<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Vec<Instance>, Error>> {
        Box::pin(sweep::list(&self.shared.client, owner))
    }

    fn untagged(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(sweep::untagged(&self.shared.client, &self.shared.settings))
    }

    fn verify(&self) -> BoxFuture<'_, Result<Vec<String>, Vec<Error>>> {
        Box::pin(self.check())
    }
}

#[cfg(test)]
mod tests;
