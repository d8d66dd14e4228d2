//! Deleting a pod VM with everything that was made for it, and nothing else.
//!
//! The domain's definition goes last: whoever dies in between leaves something that carries the tags and is found again.

use std::path::Path;

use super::calls::{Domain, Named, Volume};
use super::client::Client;
use super::domain::{Facts, facts, root_volume, seed_volume};
use super::settings::Settings;
use crate::{Deletion, Error, Kind, is_vm_name};

const FORM: &str = "UUIDs, or names like podvm-web-0123abcd";

/// Deletes by what a PeerPod records: the domain's UUID. A name of a pod VM is taken, too, so that volumes without a
/// domain can be deleted.
pub(super) async fn by_id(client: &Client, settings: &Settings, id: &str) -> Result<Deletion, Error> {
    if let Ok(uuid) = id.parse() {
        let domain = client
            .domain_by_uuid(uuid)
            .await
            .map_err(|said| said.because(format_args!("find domain {id}")))?;
        return match domain {
            Some(domain) => whole(client, settings, &domain).await,
            None => Ok(Deletion::WasGone),
        };
    }
    if !is_vm_name(id) {
        return Err(Error::MalformedId { kind: Kind::Libvirt, id: id.to_owned(), expected: FORM });
    }
    let domain =
        client.domain_by_name(id).await.map_err(|said| said.because(format_args!("find domain {id}")))?;
    match domain {
        Some(domain) => whole(client, settings, &domain).await,
        None => leftovers(client, settings, id).await,
    }
}

/// A domain, its volumes, and its definition.
pub(super) async fn whole(client: &Client, settings: &Settings, domain: &Domain) -> Result<Deletion, Error> {
    let name = &domain.name;
    let Some(facts) = read(client, domain).await? else { return Ok(Deletion::WasGone) };
    if facts.marks.tags.is_empty() && !is_vm_name(name) {
        let owner = "neither its name nor its metadata says that it is a pod VM".to_owned();
        return Err(Error::Taken { what: "domain", name: name.clone(), owner });
    }
    client.domain_destroy(domain).await.map_err(|said| said.because(format_args!("stop domain {name}")))?;
    for volume in own_volumes(client, settings, name, &facts).await? {
        delete_volume(client, &volume).await?;
    }
    client
        .domain_undefine(domain)
        .await
        .map_err(|said| said.because(format_args!("undefine domain {name}")))?;
    Ok(Deletion::Deleted)
}

/// What a domain's definition says. None: it is gone.
pub(super) async fn read(client: &Client, domain: &Domain) -> Result<Option<Facts>, Error> {
    match client.domain_xml(domain).await {
        Ok(xml) => facts(&xml).map(Some),
        Err(said) if said.is(super::client::code::NO_DOMAIN) => Ok(None),
        Err(said) => Err(said.because(format_args!("read the definition of domain {}", domain.name))),
    }
}

/// The volumes that were made for this domain: by name in its pool, and among its disks by the same name. Never what else
/// it has: the image that its disk is based on is no disk of it, and a disk of another name was not made here.
async fn own_volumes(
    client: &Client,
    settings: &Settings,
    name: &str,
    facts: &Facts,
) -> Result<Vec<Volume>, Error> {
    let names = [root_volume(name), seed_volume(name)];
    let pool = facts.marks.pool.as_deref().unwrap_or(&settings.pool);
    let mut all = named(client, pool, &names).await?;
    for disk in &facts.disks {
        let own = Path::new(disk).file_name().and_then(|file| file.to_str());
        if !own.is_some_and(|own| names.iter().any(|name| name == own)) {
            continue;
        }
        let volume = client.volume_by_path(disk).await;
        let volume = volume.map_err(|said| said.because(format_args!("find volume {disk}")))?;
        all.extend(volume.filter(|volume| !all.iter().any(|one| one.key == volume.key)));
    }
    Ok(all)
}

/// Those volumes of a pool that are there. Where one is not known, the pool is looked at anew: it may have been made by
/// someone else, or while the daemon died.
async fn named(client: &Client, pool: &str, names: &[String]) -> Result<Vec<Volume>, Error> {
    let Some(pool) = active_pool(client, pool).await? else { return Ok(Vec::new()) };
    let mut refreshed = false;
    let mut all = Vec::new();
    for name in names {
        let find = || async {
            client.volume(&pool, name).await.map_err(|said| said.because(format_args!("find volume {name}")))
        };
        let mut volume = find().await?;
        if volume.is_none() && !refreshed {
            refreshed = true;
            // It is refused while something is uploaded to that pool; then what is known has to do.
            let _ = client.pool_refresh(&pool).await;
            volume = find().await?;
        }
        all.extend(volume);
    }
    Ok(all)
}

/// A pool, if it is there and started. There is nothing to be deleted in one that is not there; one that is stopped is told.
async fn active_pool(client: &Client, name: &str) -> Result<Option<Named>, Error> {
    let action = || format!("open pool {name}");
    let Some(pool) = client.pool(name).await.map_err(|said| said.because(action()))? else { return Ok(None) };
    if client.pool_is_active(&pool).await.map_err(|said| said.because(action()))? {
        return Ok(Some(pool));
    }
    Err(Error::Setting {
        key: "LIBVIRT_POOL",
        problem: format!("is {name}, which is stopped; start it with `virsh pool-start {name}`"),
    })
}

/// Volumes of a machine that has no domain: an older adaptor died, or its creation failed.
async fn leftovers(client: &Client, settings: &Settings, name: &str) -> Result<Deletion, Error> {
    let mut deletion = Deletion::WasGone;
    for volume in named(client, &settings.pool, &[root_volume(name), seed_volume(name)]).await? {
        if let Some(user) = user_of(client, &volume, None).await? {
            let owner = format!("domain {user} uses it");
            return Err(Error::Taken { what: "volume", name: volume.name, owner });
        }
        delete_volume(client, &volume).await?;
        deletion = Deletion::Deleted;
    }
    Ok(deletion)
}

/// A domain that has that volume among its disks, other than the one given.
pub(super) async fn user_of(
    client: &Client,
    volume: &Volume,
    except: Option<[u8; 16]>,
) -> Result<Option<String>, Error> {
    let path = client.volume_path(volume).await;
    let path = path.map_err(|said| said.because(format_args!("find volume {}", volume.name)))?;
    let domains = client.domains().await.map_err(|said| said.because("list domains"))?;
    for domain in domains.iter().filter(|domain| Some(domain.uuid) != except) {
        let uses = read(client, domain).await?.is_some_and(|facts| facts.disks.contains(&path));
        if uses {
            return Ok(Some(domain.name.clone()));
        }
    }
    Ok(None)
}

async fn delete_volume(client: &Client, volume: &Volume) -> Result<(), Error> {
    let Volume { name, pool, .. } = volume;
    let deleted = client.volume_delete(volume).await;
    deleted.map(|_| ()).map_err(|said| said.because(format_args!("delete volume {name} of pool {pool}")))
}
