//! The memory overhead webhook: there while the feature gate asks for it, gone otherwise.

use std::num::NonZeroU32;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use osc_admission::memory_overhead;
use osc_api::names;
use osc_engine::object::holds;
use osc_engine::security::webhooks::{self, Place};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Look, Trust, follow};
use crate::apply::words;
use crate::clock::{Clock, WallClock};

/// How much memory pods are given, if any.
pub type Gate = Option<NonZeroU32>;

/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the webhook's configuration, and tells the gate to those who answer.
pub struct Keeper {
    pub client: Client,
    pub namespace: String,
    pub place: Place,
    pub trusted: watch::Receiver<Option<Trust>>,
    pub gate: watch::Sender<Gate>,
    /// Who tells events.
    pub identity: String,
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    gates: Look<ConfigMap>,
    configuration: Look<DynamicObject>,
}

impl Keeper {
    /// Keeps until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let gates: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut gates = follow(gates, names::FEATURE_GATES);
        let mut configurations = follow(self.configurations(), webhooks::MEMORY_OVERHEAD);
        let mut known = Known::default();
        let mut told = String::new();
        let mut retry = None;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some(map) = gates.next() => known.gates = Look::Known(map),
                Some(configuration) = configurations.next() => known.configuration = Look::Known(configuration),
                Ok(()) = self.trusted.changed() => {}
                () = pause(retry) => {}
            }
            let outcome = self.keep(&known).await;
            retry = outcome.as_ref().is_err_and(|failure| failure.again).then_some(RETRY);
            let words = outcome.err().map(|failure| failure.words).unwrap_or_default();
            if words != told {
                if !words.is_empty() {
                    tracing::warn!("{words}");
                }
                // What is wrong in the config map its author shall see there.
                if retry.is_none()
                    && let Look::Known(Some(map)) = &known.gates
                {
                    self.tell(map, &words).await;
                }
                told = words;
            }
        }
    }

    fn configurations(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        Api::all_with(self.client.clone(), &resource)
    }

    async fn keep(&self, known: &Known) -> Result<(), Failure> {
        let Known { gates: Look::Known(gates), configuration: Look::Known(configuration) } = known else {
            return Ok(());
        };
        let data = gates.as_ref().and_then(|map| map.data.as_ref());
        let gate = memory_overhead::parse(
            data.and_then(|data| data.get(webhooks::MEMORY_OVERHEAD_KEY)).map(String::as_str),
        );
        let asked = gate.as_ref().ok().copied().flatten();
        self.gate.send_if_modified(|gate| std::mem::replace(gate, asked) != asked);
        match (asked, configuration) {
            (Some(_), found) => self.apply(found.as_ref()).await?,
            (None, Some(_)) => self.delete().await?,
            (None, None) => {}
        }
        gate.map(|_| ()).map_err(|words| Failure { words, again: false })
    }

    /// Without a certificate to trust yet, this is done once there is one.
    async fn apply(&self, found: Option<&DynamicObject>) -> Result<(), Failure> {
        let Some(trust) = self.trusted.borrow().clone() else { return Ok(()) };
        let bundle = match &trust {
            Trust::Told => None,
            Trust::Own(bundle) => Some(bundle.as_str()),
        };
        let wanted = webhooks::memory_overhead(&self.namespace, &self.place, bundle);
        let there = found.and_then(|found| serde_json::to_value(found).ok());
        if there.is_some_and(|there| holds(&wanted, &there)) {
            return Ok(());
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let answer =
            self.configurations().patch(webhooks::MEMORY_OVERHEAD, &params, &Patch::Apply(wanted)).await;
        answer.map(|_| ()).map_err(|error| Failure::api("apply", &error))
    }

    /// An event on the config map. It says nothing that the log does not: one that cannot be written is not tried again.
    async fn tell(&self, map: &ConfigMap, words: &str) {
        if words.is_empty() {
            return;
        }
        let now = WallClock.now();
        let name = format!("{}.{:x}", names::FEATURE_GATES, now.as_nanosecond());
        let event = KubeEvent {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            action: Some("Reconcile".to_owned()),
            reason: Some("InvalidFeatureGate".to_owned()),
            note: Some(words.to_owned()),
            regarding: Some(map.object_ref(&())),
            reporting_controller: Some(names::OPERATOR_NAME.to_owned()),
            reporting_instance: Some(self.identity.clone()),
            type_: Some("Warning".to_owned()),
            ..KubeEvent::default()
        };
        let events: Api<KubeEvent> = Api::namespaced(self.client.clone(), &self.namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::warn!(
                error = crate::apply::words(&error),
                "cannot write an event about the feature gates"
            );
        }
    }

    async fn delete(&self) -> Result<(), Failure> {
        match self.configurations().delete(webhooks::MEMORY_OVERHEAD, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Failure::api("delete", &error)),
        }
    }
}

/// What went wrong, and whether trying again may help.
struct Failure {
    words: String,
    again: bool,
}

impl Failure {
    fn api(verb: &str, error: &kube::Error) -> Self {
        let name = webhooks::MEMORY_OVERHEAD;
        let words =
            format!("failed to {verb} MutatingWebhookConfiguration {name}: {}; trying again", words(error));
        Self { words, again: true }
    }
}

async fn pause(retry: Option<Duration>) {
    match retry {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
