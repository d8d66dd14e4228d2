//! An authority of the operator's own: kept in a Secret, told to API servers, and renewed before it ends.
//!
//! Several operators may do this at one time: each write says which version of the Secret it replaces, and who was slower
//! takes what the other one wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use osc_admission::certificate::authority::{Bundle, Lifetimes, Next, Stored};
use osc_admission::certificate::{CertificateError, Current};
use osc_api::names;
use osc_api::peerpods::webhook;
use osc_engine::security::webhooks::{self, Place};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Look, Trust, follow};
use crate::apply::words;
use crate::clock::{Clock, WallClock};

/// Keys of the Secret.
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEYS: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// The longest sleep: a suspended machine's clock runs ahead of its timers.
const LONGEST: Duration = Duration::from_hours(1);

/// Keeps the Secret, the webhook configuration and the certificate in use as they should be.
pub struct Keeper {
    pub client: Client,
    pub namespace: String,
    pub subject: Subject,
    pub lifetimes: Lifetimes,
    pub current: Current,
    pub trust: watch::Sender<Option<Trust>>,
}

/// Whose authority it is.
pub struct Subject {
    /// What calls it.
    names: Vec<String>,
    /// The Secret that it is kept in.
    secret: &'static str,
    /// Kind and name of the configuration by which API servers ask.
    configuration: (ApiResource, &'static str),
    /// Its webhooks, and how API servers are to reach each; whom to trust is added.
    webhooks: Vec<(&'static str, Value)>,
    /// The Service without which there is nothing to keep, and with which the Secret goes. None: it is kept always.
    service: Option<&'static str>,
}

impl Subject {
    /// The webhooks that the operator itself serves.
    pub fn own(place: &Place, names: Vec<String>) -> Self {
        let webhook = |(name, path): (&'static str, &str)| (name, webhooks::client_config(place, path, None));
        Self {
            names,
            secret: webhooks::AUTHORITY_SECRET,
            configuration: (ApiResource::erase::<ValidatingWebhookConfiguration>(&()), webhooks::VALIDATING),
            webhooks: webhooks::VALIDATING_PATHS.into_iter().map(webhook).collect(),
            service: None,
        }
    }

    /// The webhook of peer pods, which is a Deployment of its own and mounts the Secret.
    pub fn peer_pods(namespace: &str) -> Self {
        let service = webhook::SERVICE;
        let resource = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        Self {
            names: [".svc", ".svc.cluster.local"].map(|end| format!("{service}.{namespace}{end}")).to_vec(),
            secret: webhook::SECRET,
            configuration: (resource, webhook::CONFIGURATION),
            webhooks: vec![(webhook::WEBHOOK, osc_engine::peerpods::webhook::client_config(namespace))],
            service: Some(service),
        }
    }

    fn configuration_words(&self) -> String {
        format!("{} {}", self.configuration.0.kind, self.configuration.1)
    }
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    secret: Look<Secret>,
    configuration: Look<DynamicObject>,
    /// Of the Service: its identity.
    service: Look<Service>,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{what}: {}", words(source))]
    Api { what: String, source: Box<kube::Error> },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Keeper {
    /// Keeps until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut secrets = follow(self.secrets(), self.subject.secret);
        let mut configurations = follow(self.configurations(), self.subject.configuration.1);
        let mut services = match self.subject.service {
            Some(name) => follow(Api::namespaced(self.client.clone(), &self.namespace), name).left_stream(),
            None => futures::stream::pending().right_stream(),
        };
        let mut known = Known::default();
        let mut pause = LONGEST;
        let mut told = String::new();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some(secret) = secrets.next() => known.secret = Look::Known(secret),
                Some(configuration) = configurations.next() => known.configuration = Look::Known(configuration),
                Some(service) = services.next() => known.service = Look::Known(service),
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.keep(&mut known).await {
                Ok(until) => {
                    told.clear();
                    // A timer that fires a moment early would find nothing to do.
                    let left = until.duration_since(WallClock.now()) + jiff::SignedDuration::from_millis(10);
                    Duration::try_from(left).unwrap_or_default().min(LONGEST)
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        tracing::warn!(error, "cannot keep the certificate of the webhooks; trying again");
                        told = error;
                    }
                    RETRY
                }
            };
        }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn configurations(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &self.subject.configuration.0)
    }

    /// Does what there is to do, one thing after the other; says until when there is nothing more.
    async fn keep(&self, known: &mut Known) -> Result<Timestamp, Error> {
        let Known { secret: Look::Known(secret), configuration: Look::Known(configuration), service } = known
        else {
            return Ok(Timestamp::MAX);
        };
        let owner = match (self.subject.service, service) {
            (None, _) => None,
            (Some(_), Look::Known(Some(service))) => Some(owner(service)),
            (Some(_), _) => return Ok(Timestamp::MAX),
        };
        loop {
            let mut bundle = match Bundle::read(&stored(secret.as_ref())) {
                Ok(bundle) => bundle,
                Err(error) => {
                    let secret = self.subject.secret;
                    tracing::warn!(%error, secret, "the authority of the webhooks is of no use; making another one");
                    Bundle::default()
                }
            };
            let trusted = base64(&bundle.stored().authorities);
            if let Some(serving) = bundle.serving()?
                && !self.current.shows(&serving)
            {
                tracing::info!(not_after = %serving.not_after, "serving certificate of the webhooks replaced");
                self.current.set(serving);
            }
            if !trusted.is_empty() {
                if let Some(found) = configuration
                    && let Some(patch) = self.correction(found, &trusted)
                {
                    *found = self.tell(&patch).await?;
                }
                self.trust.send_if_modified(|trust| {
                    let new = Some(Trust::Own(trusted.clone()));
                    std::mem::replace(trust, new.clone()) != new
                });
            }
            let now = WallClock.now();
            let next = bundle.next(&self.subject.names, true, now, &self.lifetimes);
            if let Next::Wait(until) = next {
                return Ok(until);
            }
            bundle.take(next, &self.subject.names, now, &self.lifetimes)?;
            tracing::info!(?next, "certificates of the webhooks change");
            *secret = Some(self.store(secret.as_ref(), &bundle.stored(), owner.as_ref()).await?);
        }
    }

    /// What has to change for API servers to call the right place and to trust what they find there.
    fn correction(&self, configuration: &DynamicObject, trusted: &str) -> Option<json_patch::Patch> {
        let mut operations = Vec::new();
        for (index, webhook) in configuration.data["webhooks"].as_array()?.iter().enumerate() {
            let known = self.subject.webhooks.iter().find(|(name, _)| webhook["name"] == *name);
            let Some((name, wanted)) = known else { continue };
            let mut wanted = wanted.clone();
            wanted["caBundle"] = json!(trusted);
            if webhook["clientConfig"] != wanted {
                let at = format!("/webhooks/{index}");
                operations.push(json!({"op": "test", "path": format!("{at}/name"), "value": name}));
                operations
                    .push(json!({"op": "replace", "path": format!("{at}/clientConfig"), "value": wanted}));
            }
        }
        if operations.is_empty() { None } else { serde_json::from_value(Value::Array(operations)).ok() }
    }

    async fn tell(&self, patch: &json_patch::Patch) -> Result<DynamicObject, Error> {
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::<()>::Json(patch.clone());
        let answer = self.configurations().patch(self.subject.configuration.1, &params, &patch).await;
        answer.map_err(|source| Error::Api {
            what: format!("failed to tell {} whom to trust", self.subject.configuration_words()),
            source: Box::new(source),
        })
    }

    /// Replaces that version of the Secret, or creates it.
    async fn store(
        &self,
        replaced: Option<&Secret>,
        stored: &Stored,
        owner: Option<&Value>,
    ) -> Result<Secret, Error> {
        let name = self.subject.secret;
        let mut metadata = json!({"name": name, "namespace": self.namespace});
        if let Some(version) = replaced.and_then(ResourceExt::resource_version) {
            metadata["resourceVersion"] = json!(version);
        }
        if let Some(owner) = owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "data": {
                AUTHORITIES: base64(&stored.authorities),
                AUTHORITY_KEYS: base64(&stored.authority_keys),
                CERTIFICATE: base64(&stored.certificate),
                KEY: base64(&stored.key),
            },
        });
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let answer = self.secrets().patch(name, &params, &Patch::Apply(object)).await;
        answer.map_err(|source| Error::Api {
            what: format!("failed to store Secret {}/{name}", self.namespace),
            source: Box::new(source),
        })
    }
}

/// A Service as the owner of its certificate, which goes with it.
fn owner(service: &Service) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "name": service.name_any(),
        "uid": service.uid().unwrap_or_default(),
    })
}

fn base64(text: &str) -> String {
    match serde_json::to_value(ByteString(text.as_bytes().to_vec())) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// What a Secret holds; what is missing is empty.
fn stored(secret: Option<&Secret>) -> Stored {
    let nothing = BTreeMap::new();
    let data = secret.and_then(|secret| secret.data.as_ref()).unwrap_or(&nothing);
    let text = |key: &str| {
        data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
    };
    Stored {
        authorities: text(AUTHORITIES),
        authority_keys: text(AUTHORITY_KEYS),
        certificate: text(CERTIFICATE),
        key: text(KEY),
    }
}
