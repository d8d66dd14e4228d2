//! Creating a pod VM: what is asked, in which order, and how it is taken back.
//!
//! The domain is defined before its volumes are made: it carries the tags, so whatever dies after that leaves something
//! that the sweep finds. libvirt looks at the volumes only when the domain is started.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::calls::{Domain, Named, Volume};
use super::client::{Client, Failure, code};
use super::domain::{Marks, Plan, escape, root_volume, seed_volume};
use super::host::{self, VolumeFacts};
use super::removal;
use super::settings::Settings;
use super::transfer::digest;
use super::volumes::marker;
use crate::{CreateError, Error, Instance, InstanceSpec, Kind, is_vm_name};

/// How often it is asked for an address.
const PAUSE: Duration = Duration::from_millis(500);
/// Tries to take back what was made, and the first pause between them; each is twice as long.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const GIB: u64 = 1 << 30;

/// What a machine needs, found.
struct Ground {
    host: host::Host,
    pool: Named,
    path: String,
    image: VolumeFacts,
}

/// One creation.
pub(super) struct Creation<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a Settings,
    pub(super) spec: &'a InstanceSpec,
    /// Whoever asked for it has gone.
    pub(super) stop: &'a CancellationToken,
}

impl Creation<'_> {
    pub(super) async fn run(&self) -> Result<Instance, CreateError> {
        let name = &self.spec.name;
        if !is_vm_name(name) {
            let message =
                "names of pod VMs begin with podvm- and have at most 63 letters a-z, digits and dashes"
                    .to_owned();
            return Err(
                Error::Refused { kind: Kind::Libvirt, action: format!("create {name:?}"), message }.into()
            );
        }
        if let Some(instance) = self.existing().await? {
            return Ok(instance);
        }
        let ground = self.ground().await?;
        self.go_on()?;
        let marks = Marks {
            tags: self.spec.tags.clone(),
            created: Some(Timestamp::now()),
            pool: Some(ground.pool.name.clone()),
            told: Some(digest(&self.spec.user_data)),
        };
        let domain = self.define(&ground, &marks).await?;
        match self.furnish(&ground, &domain).await {
            Ok(addresses) => Ok(Instance {
                id: domain.id(),
                name: name.clone(),
                tags: marks.tags,
                addresses,
                created: marks.created,
            }),
            Err(error) => Err(self.take_back(&domain, &marks, error).await),
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() { Err(Error::Cancelled(self.spec.name.clone())) } else { Ok(()) }
    }

    /// A machine of that name that is there: returned if it is the one that is asked for and runs, deleted if it is that
    /// one and does not, and left alone if it is another's.
    async fn existing(&self) -> Result<Option<Instance>, CreateError> {
        let name = &self.spec.name;
        let domain = self.client.domain_by_name(name).await;
        let Some(domain) = domain.map_err(|said| said.because(format_args!("find domain {name}")))? else {
            return Ok(None);
        };
        let Some(facts) = removal::read(self.client, &domain).await? else { return Ok(None) };
        let marks = facts.marks;
        if marks.tags.is_empty() || !marks.tags.same_sandbox(&self.spec.tags) {
            let owner = if marks.tags.is_empty() {
                "it carries no tags".to_owned()
            } else {
                let words = marks.tags.pairs().into_iter().map(|(key, value)| format!("{key}={value}"));
                format!("its tags are {}", words.collect::<Vec<_>>().join(", "))
            };
            return Err(Error::Taken { what: "domain", name: name.clone(), owner }.into());
        }
        let runs = self.client.domain_is_active(&domain).await;
        let runs = runs.map_err(|said| said.because(format_args!("look at domain {name}")))?;
        if runs && marks.told.as_deref() == Some(&digest(&self.spec.user_data)) {
            let found = self.address(&domain).await;
            return match found {
                Ok(addresses) => Ok(Some(Instance {
                    id: domain.id(),
                    name: name.clone(),
                    tags: marks.tags,
                    addresses,
                    created: marks.created,
                })),
                // It ran before: what it runs is not thrown away because nobody could be asked just now.
                Err(error) => Err(CreateError::with(error, self.instance(&domain.id(), &marks))),
            };
        }
        // A try that died half way, or was told something else.
        removal::whole(self.client, self.settings, &domain).await?;
        Ok(None)
    }

    /// Finds everything that a machine needs, before anything is made.
    async fn ground(&self) -> Result<Ground, Error> {
        let capabilities =
            self.client.capabilities().await.map_err(|said| said.because("ask for capabilities"))?;
        let host = host::host(&capabilities)?;
        network(self.client, &self.settings.network).await?;
        let (pool, path) = pool(self.client, &self.settings.pool).await?;
        let image = self.spec.image.as_deref().map(|name| (name, "the pod's image annotation"));
        let own = self.settings.image.as_ref().map(|(name, key)| (name.as_str(), *key));
        let Some((name, key)) = image.or(own) else {
            let problem =
                "is not set: there is no pod VM image yet; let the image job make one, or name a volume"
                    .to_owned();
            return Err(Error::Setting { key: "LIBVIRT_IMAGE_ID", problem });
        };
        let image = complete_image(self.client, &pool, name, key).await?;
        Ok(Ground { host, pool, path, image })
    }

    async fn define(&self, ground: &Ground, marks: &Marks) -> Result<Domain, CreateError> {
        let name = &self.spec.name;
        let place = |volume: String| format!("{}/{volume}", ground.path.trim_end_matches('/'));
        let plan = Plan {
            name,
            marks,
            host: &ground.host,
            cpus: self.spec.cpus.unwrap_or(self.settings.cpus),
            cpuset: self.settings.cpuset.as_deref(),
            memory_mib: self.spec.memory_mib.unwrap_or(self.settings.memory_mib),
            firmware: self.settings.firmware.as_deref(),
            secure_execution: self.settings.secure_execution,
            root: &place(root_volume(name)),
            seed: &place(seed_volume(name)),
            network: &self.settings.network,
        };
        let action = format!("define domain {name}");
        match self.client.domain_define(&plan.xml()).await {
            Ok(domain) => Ok(domain),
            Err(Failure::Said { code: code::OPERATION_FAILED, message })
                if message.contains("already exists") =>
            {
                // Someone was quicker: nothing of it is ours.
                Err(Error::Busy { kind: Kind::Libvirt, message: format!("{message} ({action})") }.into())
            }
            Err(said @ Failure::Said { .. }) => Err(said.because(action).into()),
            Err(Failure::Unknown(error)) => Err(self.undo_unheard(marks, error).await),
        }
    }

    /// The connection broke while the domain was being defined: it may be there, with nobody having heard of it.
    async fn undo_unheard(&self, marks: &Marks, error: Error) -> CreateError {
        let name = &self.spec.name;
        for attempt in 0..TRIES {
            match removal::by_id(self.client, self.settings, name).await {
                Ok(_) => return CreateError::clean(error),
                Err(_) => tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await,
            }
        }
        CreateError::with(error, self.instance(name, marks))
    }

    /// Makes the volumes, starts the domain and waits for its address.
    async fn furnish(&self, ground: &Ground, domain: &Domain) -> Result<Vec<std::net::IpAddr>, Error> {
        let name = &self.spec.name;
        self.go_on()?;
        let wanted = self.spec.root_disk_gib.unwrap_or(self.settings.root_gib).saturating_mul(GIB);
        let root = root_xml(name, wanted.max(ground.image.capacity), &ground.image);
        self.volume(ground, domain, &root_volume(name), &root).await?;
        self.go_on()?;
        let seed = super::iso::seed(name, &self.spec.user_data);
        let length = seed.len() as u64;
        let volume = self.volume(ground, domain, &seed_volume(name), &seed_xml(name, length)).await?;
        self.client.upload(&volume, length, &seed[..], &|_| ()).await?;
        self.go_on()?;
        let started = self.client.domain_start(domain).await;
        started.map_err(|said| said.because(format_args!("start domain {name}")))?;
        self.address(domain).await
    }

    /// Makes a volume. One of that name without a domain is what a failed try left; one that is used is left alone.
    async fn volume(&self, ground: &Ground, domain: &Domain, name: &str, xml: &str) -> Result<Volume, Error> {
        let action = format!("create volume {name} of pool {}", ground.pool.name);
        let mut made = self.client.volume_create(&ground.pool, xml).await;
        if matches!(&made, Err(said) if said.is(code::STORAGE_VOL_EXIST)) {
            let old = self.client.volume(&ground.pool, name).await.map_err(|said| said.because(&action))?;
            if let Some(old) = old {
                if let Some(user) = removal::user_of(self.client, &old, Some(domain.uuid)).await? {
                    let owner = format!("domain {user} uses it");
                    return Err(Error::Taken { what: "volume", name: name.to_owned(), owner });
                }
                self.client.volume_delete(&old).await.map_err(|said| said.because(&action))?;
            }
            made = self.client.volume_create(&ground.pool, xml).await;
        }
        let volume = made.map_err(|said| said.because(&action))?;
        let path = self.client.volume_path(&volume).await.map_err(|said| said.because(&action))?;
        let expected = format!("{}/{name}", ground.path.trim_end_matches('/'));
        if path != expected {
            let message = format!("the volume is at {path}, and the domain looks for it at {expected}");
            return Err(Error::Refused { kind: Kind::Libvirt, action, message });
        }
        Ok(volume)
    }

    /// Waits for an address: no longer than was said, no longer than someone waits for it, and only while it runs.
    async fn address(&self, domain: &Domain) -> Result<Vec<std::net::IpAddr>, Error> {
        let name = &self.spec.name;
        let begun = Instant::now();
        loop {
            self.go_on()?;
            let addresses = self.client.domain_addresses(domain).await;
            let addresses =
                addresses.map_err(|said| said.because(format_args!("find the address of {name}")))?;
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            let runs = self.client.domain_is_active(domain).await;
            if !runs.map_err(|said| said.because(format_args!("look at domain {name}")))? {
                let message = "it stopped by itself before it had an address; its image does not start, or is of another \
                               architecture"
                    .to_owned();
                return Err(Error::Refused {
                    kind: Kind::Libvirt,
                    action: format!("keep {name} running"),
                    message,
                });
            }
            if begun.elapsed() >= self.spec.patience {
                return Err(Error::Late {
                    what: format!("an address of {name} by DHCP of network {}", self.settings.network),
                    seconds: self.spec.patience.as_secs(),
                    hint: "the image may not start: look at its console with `virsh console`; or the network has no DHCP: \
                           change LIBVIRT_NET"
                        .to_owned(),
                });
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Deletes what was made. What cannot be deleted is told.
    async fn take_back(&self, domain: &Domain, marks: &Marks, error: Error) -> CreateError {
        for attempt in 0..TRIES {
            match removal::whole(self.client, self.settings, domain).await {
                Ok(_) => return CreateError::clean(error),
                Err(failed) => {
                    tracing::warn!(machine = self.spec.name, error = %failed, "what was made is not taken back yet");
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await;
                }
            }
        }
        CreateError::with(error, self.instance(&domain.id(), marks))
    }

    fn instance(&self, id: &str, marks: &Marks) -> Instance {
        Instance {
            id: id.to_owned(),
            name: self.spec.name.clone(),
            tags: marks.tags.clone(),
            addresses: Vec::new(),
            created: marks.created,
        }
    }
}

/// A network that is there and started.
pub(super) async fn network(client: &Client, name: &str) -> Result<Named, Error> {
    let action = || format!("find network {name}");
    let network = client.network(name).await.map_err(|said| said.because(action()))?;
    let Some(network) = network else {
        return Err(Error::Missing { what: "network", name: name.to_owned(), key: "LIBVIRT_NET" });
    };
    if client.network_is_active(&network).await.map_err(|said| said.because(action()))? {
        return Ok(network);
    }
    let problem = format!("is {name}, which is stopped; start it with `virsh net-start {name}`");
    Err(Error::Setting { key: "LIBVIRT_NET", problem })
}

/// A pool that is there and started, and where its volumes are.
pub(super) async fn pool(client: &Client, name: &str) -> Result<(Named, String), Error> {
    let action = || format!("find pool {name}");
    let pool = client.pool(name).await.map_err(|said| said.because(action()))?;
    let Some(pool) = pool else {
        return Err(Error::Missing { what: "storage pool", name: name.to_owned(), key: "LIBVIRT_POOL" });
    };
    if !client.pool_is_active(&pool).await.map_err(|said| said.because(action()))? {
        let problem = format!("is {name}, which is stopped; start it with `virsh pool-start {name}`");
        return Err(Error::Setting { key: "LIBVIRT_POOL", problem });
    }
    let xml = client.pool_xml(&pool).await.map_err(|said| said.because(action()))?;
    Ok((pool, host::pool(&xml)?.path))
}

/// The image, if it is there and complete.
pub(super) async fn complete_image(
    client: &Client,
    pool: &Named,
    name: &str,
    key: &'static str,
) -> Result<VolumeFacts, Error> {
    let find = |name: String| async move {
        client.volume(pool, &name).await.map_err(|said| said.because(format_args!("find volume {name}")))
    };
    let mut volume = find(name.to_owned()).await?;
    if volume.is_none() {
        // It may have been put there by hand.
        let _ = client.pool_refresh(pool).await;
        volume = find(name.to_owned()).await?;
    }
    let Some(volume) = volume else {
        return Err(Error::Missing { what: "volume", name: format!("{name} of pool {}", pool.name), key });
    };
    if find(marker(name)).await?.is_some() {
        let problem = format!(
            "is {name}, whose upload was not finished: volume {} says so; let the image job run again",
            marker(name)
        );
        return Err(Error::Setting { key, problem });
    }
    let xml = client
        .volume_xml(&volume)
        .await
        .map_err(|said| said.because(format_args!("look at volume {name}")))?;
    host::volume(&xml)
}

fn root_xml(name: &str, capacity: u64, image: &VolumeFacts) -> String {
    format!(
        "<volume type='file'>\n  <name>{}</name>\n  <capacity unit='bytes'>{capacity}</capacity>\n  <target>\n    <format \
         type='qcow2'/>\n    <permissions><mode>0644</mode></permissions>\n  </target>\n  <backingStore>\n    \
         <path>{}</path>\n    <format type='{}'/>\n  </backingStore>\n</volume>\n",
        escape(&root_volume(name)),
        escape(&image.path),
        escape(&image.format),
    )
}

fn seed_xml(name: &str, length: u64) -> String {
    // It has keys in it: nobody but the daemon and the machine read it.
    format!(
        "<volume type='file'>\n  <name>{}</name>\n  <capacity unit='bytes'>{length}</capacity>\n  <target>\n    <format \
         type='raw'/>\n    <permissions><mode>0600</mode></permissions>\n  </target>\n</volume>\n",
        escape(&seed_volume(name)),
    )
}
