//! Finding pod VMs that are there.

use std::collections::BTreeSet;

use super::calls::Domain;
use super::client::Client;
use super::domain::{Marks, owner_of};
use super::removal;
use super::settings::Settings;
use crate::{Error, Instance, Owner, Tags, is_vm_name};

/// Those of a cluster.
pub(super) async fn list(client: &Client, owner: &Owner) -> Result<Vec<Instance>, Error> {
    let mut all = Vec::new();
    for domain in candidates(client).await? {
        let Some(facts) = removal::read(client, &domain).await? else { continue };
        if owner.owns(&facts.marks.tags) {
            all.push(instance(client, &domain, facts.marks).await);
        }
    }
    Ok(all)
}

/// Those of nobody: domains without tags, and volumes without a domain.
pub(super) async fn untagged(client: &Client, settings: &Settings) -> Result<Vec<Instance>, Error> {
    let mut all = Vec::new();
    let domains = candidates(client).await?;
    for domain in &domains {
        let Some(facts) = removal::read(client, domain).await? else { continue };
        if facts.marks.tags.cluster.is_empty() {
            all.push(instance(client, domain, facts.marks).await);
        }
    }
    let Some(pool) = client.pool(&settings.pool).await.map_err(|said| said.because("find the pool"))? else {
        return Ok(all);
    };
    let volumes = client.pool_volumes(&pool).await;
    let volumes =
        volumes.map_err(|said| said.because(format_args!("list the volumes of pool {}", pool.name)))?;
    let without: BTreeSet<&str> = volumes
        .iter()
        .filter_map(|volume| owner_of(&volume.name))
        .filter(|name| !domains.iter().any(|domain| domain.name == **name))
        .collect();
    all.extend(without.into_iter().map(|name| Instance {
        id: name.to_owned(),
        name: name.to_owned(),
        tags: Tags::default(),
        addresses: Vec::new(),
        created: None,
    }));
    Ok(all)
}

async fn candidates(client: &Client) -> Result<Vec<Domain>, Error> {
    let mut domains = client.domains().await.map_err(|said| said.because("list domains"))?;
    domains.retain(|domain| is_vm_name(&domain.name));
    domains.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(domains)
}

async fn instance(client: &Client, domain: &Domain, marks: Marks) -> Instance {
    // One that is just going has no address any more; that is no reason not to tell it.
    let addresses =
        if domain.id < 0 { Vec::new() } else { client.domain_addresses(domain).await.unwrap_or_default() };
    Instance {
        id: domain.id(),
        name: domain.name.clone(),
        tags: marks.tags,
        addresses,
        created: marks.created,
    }
}
