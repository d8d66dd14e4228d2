//! A snapshot from an API server. Reads only.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::{Client, Error};
use osc_api::names;
use serde_json::Value;

use super::kinds::{KINDS, Kind, Objects};
use super::reduce::{Fingerprints, reduce};
use super::{Info, Missing, Snapshot};

/// Objects in one answer of the API server.
const PAGE: u32 = 500;

/// Something that the person who asks may or may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `create`.
    pub verb: &'static str,
    /// `kataconfigs.kataconfiguration.openshift.io`.
    pub resource: &'static str,
    /// Whether.
    pub allowed: bool,
}

/// What a person needs who applies, watches and deletes a KataConfig.
const NEEDED: [(&str, &str, &str); 5] = [
    ("get", names::KATACONFIG_GROUP, "kataconfigs"),
    ("list", names::KATACONFIG_GROUP, "kataconfigs"),
    ("create", names::KATACONFIG_GROUP, "kataconfigs"),
    ("patch", names::KATACONFIG_GROUP, "kataconfigs"),
    ("delete", names::KATACONFIG_GROUP, "kataconfigs"),
];

/// Reads everything that may be read.
pub async fn read(client: &Client, address: &str) -> anyhow::Result<Snapshot> {
    client.apiserver_version().await.with_context(|| format!("cannot reach the API server at {address}"))?;
    #[allow(clippy::disallowed_methods, reason = "a snapshot carries the time at which it was taken")]
    let taken = Timestamp::now();
    let mut reading =
        Reading { client, prints: Fingerprints::new(), objects: Vec::new(), missing: Vec::new() };
    let served = served(client).await?;
    for kind in KINDS {
        if served.contains(&kind.resource()) {
            reading.kind(kind).await?;
        } else if kind.is_built_in() {
            let why = format!("the API server does not serve {} {}", kind.api_version(), kind.name);
            reading.missing.push(Missing { resource: kind.resource(), why });
        }
    }
    if let Some(missing) = reading.missing.iter().find(|missing| missing.resource == "nodes") {
        bail!("nodes cannot be read, and without them {}: {}", missing.consequence(), missing.why);
    }
    let info = Info {
        cluster: address.to_owned(),
        taken: Some(taken),
        served: Some(served),
        missing: reading.missing,
    };
    let mut snapshot = Snapshot::new(info, reading.objects)?;
    snapshot.rights = rights(client).await;
    Ok(snapshot)
}

/// Which of the kinds the cluster serves. Asked beforehand, since who may not read a kind is told so even where there is
/// no such kind.
async fn served(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let mut served = BTreeSet::new();
    let versions: BTreeSet<String> = KINDS.iter().map(Kind::api_version).collect();
    for version in versions {
        let resources = if version.contains('/') {
            client.list_api_group_resources(&version).await
        } else {
            client.list_core_api_resources(&version).await
        };
        let resources = match resources {
            Ok(list) => list.resources,
            Err(Error::Api(status)) if status.code == 404 => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot ask for the resources of {version}"));
            }
        };
        let here = KINDS.iter().filter(|kind| kind.api_version() == version);
        let here = here.filter(|kind| resources.iter().any(|resource| resource.name == kind.plural));
        served.extend(here.map(Kind::resource));
    }
    Ok(served)
}

struct Reading<'a> {
    client: &'a Client,
    prints: Fingerprints,
    objects: Vec<Value>,
    missing: Vec<Missing>,
}

impl Reading<'_> {
    async fn kind(&mut self, kind: &'static Kind) -> anyhow::Result<()> {
        let read = match kind.objects {
            Objects::All => self.list(kind).await,
            Objects::Named(objects) => self.get(kind, objects).await,
        };
        match read {
            Ok(()) => Ok(()),
            Err(Error::Api(status)) if status.code == 403 => {
                self.missing.push(Missing { resource: kind.resource(), why: status.message.clone() });
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", kind.resource())),
        }
    }

    async fn list(&mut self, kind: &Kind) -> Result<(), Error> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.api_resource());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await?;
            for object in page.items {
                self.take(kind, object)?;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    async fn get(&mut self, kind: &Kind, objects: &[(&str, &str)]) -> Result<(), Error> {
        for (namespace, name) in objects {
            let resource = kind.api_resource();
            let api: Api<DynamicObject> = if namespace.is_empty() {
                Api::all_with(self.client.clone(), &resource)
            } else {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            };
            if let Some(object) = api.get_opt(name).await? {
                self.take(kind, object)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, kind: &Kind, object: DynamicObject) -> Result<(), Error> {
        let object = serde_json::to_value(object).map_err(Error::SerdeError)?;
        self.objects.push(reduce(kind, &object, &self.prints));
        Ok(())
    }
}

/// Asks what the person may do; `None` if even that may not be asked.
async fn rights(client: &Client) -> Option<Vec<Right>> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut rights = Vec::new();
    for (verb, group, resource) in NEEDED {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await.ok()?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        rights.push(Right { verb, resource: names::KATACONFIG_CRD, allowed });
    }
    Some(rights)
}
