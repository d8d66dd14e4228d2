//! The service CA of OpenShift: certificates for Services that ask for one, and the authority for webhooks that ask for it.
//!
//! | Annotation | On | Effect |
//! |---|---|---|
//! | [`SERVING_CERTIFICATE`] | Service | a Secret of that name, which the Service owns, gets `tls.crt` and `tls.key` |
//! | [`INJECT_BUNDLE`]`: "true"` | webhook configuration | each webhook gets the `caBundle` |
//!
//! Each simulation has an authority of its own; what another one signed is signed anew. It works only where there is a
//! ClusterVersion, and not in a cluster that is known in part: whoever is left out there has done it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use osc_api::names;
use osc_api::openshift::ClusterVersion;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::feed::feed;
use super::options::hex;
use super::queue::{Next, Queue};
use super::store::{Key, Store};
use super::world::{FIELD_MANAGER, Simulated, World};

/// Annotation of a Service: the Secret in which it wants a certificate.
pub const SERVING_CERTIFICATE: &str = "service.beta.openshift.io/serving-cert-secret-name";
/// Annotation of a webhook configuration that wants the authority.
pub const INJECT_BUNDLE: &str = "service.beta.openshift.io/inject-cabundle";
/// Annotation of such a Secret: the Service it is for.
pub const ORIGIN: &str = "service.beta.openshift.io/originating-service-name";
/// Annotation of such a Secret: the uid of that Service.
pub const ORIGIN_UID: &str = "service.beta.openshift.io/originating-service-uid";
/// Annotation of such a Secret: the authority that signed it.
pub const SIGNED_BY: &str = "service.beta.openshift.io/serving-cert-signed-by";

/// How long it takes to notice something.
const DELAY: Duration = Duration::from_millis(500);

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Task {
    Service(Key),
    Mutating(Key),
    Validating(Key),
}

/// The authority.
struct Authority {
    name: String,
    /// In base64, as JSON has bytes.
    bundle: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let name = format!("openshift-service-serving-signer@{}", hex(&[&key.public_key_pem()], 10));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, &name);
        let certificate = params.self_signed(&key)?;
        let bundle = BASE64_STANDARD.encode(certificate.pem());
        Ok(Self { name, bundle, issuer: Issuer::new(params, key) })
    }

    /// The content of the Secret.
    fn sign(&self, names: Vec<String>) -> Result<[(&'static str, String); 2], rcgen::Error> {
        let mut params = CertificateParams::new(names.clone())?;
        if let Some(first) = names.into_iter().next() {
            params.distinguished_name.push(DnType::CommonName, first);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok([("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())])
    }
}

/// What it knows beside the [`World`].
struct Known {
    authority: Authority,
    versions: Arc<Store<ClusterVersion>>,
    services: Arc<Store<Service>>,
    mutating: Arc<Store<MutatingWebhookConfiguration>>,
    validating: Arc<Store<ValidatingWebhookConfiguration>>,
}

/// Runs the controller until cancelled.
pub async fn run(world: Arc<World>, cancel: CancellationToken) {
    let authority = match Authority::make() {
        _ if world.options.partial => return cancel.cancelled().await,
        Ok(authority) => authority,
        Err(error) => {
            tracing::error!(%error, "there is no service CA");
            return cancel.cancelled().await;
        }
    };
    let known = Arc::new(Known {
        authority,
        versions: Arc::new(Store::new(|_| Vec::new())),
        services: Arc::new(Store::new(|_| Vec::new())),
        mutating: Arc::new(Store::new(|_| Vec::new())),
        validating: Arc::new(Store::new(|_| Vec::new())),
    });
    let queue = Arc::new(Queue::new("service-ca"));
    connect(&world, &known, &queue);
    let client = || world.client.clone();
    let feeds = async {
        tokio::join!(
            feed(client(), known.versions.clone()),
            feed(client(), known.services.clone()),
            feed(client(), known.mutating.clone()),
            feed(client(), known.validating.clone()),
        )
    };
    tokio::select! {
        biased;
        () = queue.run(2, &cancel, |task| sync(world.clone(), known.clone(), task)) => {}
        _ = feeds => {}
    }
}

fn connect(world: &World, known: &Arc<Known>, queue: &Arc<Queue<Task>>) {
    let delay = world.settle(DELAY);
    watch(&known.services, queue, delay, SERVING_CERTIFICATE, Task::Service);
    watch(&known.mutating, queue, delay, INJECT_BUNDLE, Task::Mutating);
    watch(&known.validating, queue, delay, INJECT_BUNDLE, Task::Validating);
    let adds = queue.clone();
    world.secrets.on_change(move |change| {
        let Some(secret) = change.object() else { return };
        if let Some(name) = secret.annotations().get(ORIGIN) {
            let namespace = secret.namespace().unwrap_or_default();
            adds.add_after(Task::Service(Key { namespace, name: name.clone() }), delay);
        }
    });
    // A cluster may turn out to be OpenShift after something asked for a certificate.
    let (adds, weak) = (queue.clone(), Arc::downgrade(known));
    known.versions.on_change(move |change| {
        let Some(known) = weak.upgrade().filter(|_| change.before.is_none()) else { return };
        known.services.all().iter().for_each(|one| adds.add_after(Task::Service(Key::of(&**one)), delay));
        known.mutating.all().iter().for_each(|one| adds.add_after(Task::Mutating(Key::of(&**one)), delay));
        known
            .validating
            .all()
            .iter()
            .for_each(|one| adds.add_after(Task::Validating(Key::of(&**one)), delay));
    });
}

/// Looks at what has the annotation.
fn watch<K: Simulated>(
    store: &Store<K>,
    queue: &Arc<Queue<Task>>,
    delay: Duration,
    annotation: &'static str,
    task: fn(Key) -> Task,
) {
    let adds = queue.clone();
    store.on_change(move |change| {
        if let Some(object) = &change.after
            && object.annotations().contains_key(annotation)
        {
            adds.add_after(task(Key::of(&**object)), delay);
        }
    });
}

async fn sync(world: Arc<World>, known: Arc<Known>, task: Task) -> Next {
    if known.versions.get(&Key::cluster(names::CLUSTER_VERSION)).is_none() {
        return Ok(None);
    }
    match task {
        Task::Service(key) => certify(&world, &known, &key).await?,
        Task::Mutating(key) => inject(&world, &known.authority, &known.mutating, &key).await?,
        Task::Validating(key) => inject(&world, &known.authority, &known.validating, &key).await?,
    }
    Ok(None)
}

async fn certify(world: &World, known: &Known, key: &Key) -> Result<(), kube::Error> {
    let Some(service) = known.services.get(key) else { return Ok(()) };
    let wanted = service.annotations().get(SERVING_CERTIFICATE).filter(|name| !name.is_empty());
    let Some(name) = wanted.filter(|_| service.metadata.deletion_timestamp.is_none()) else { return Ok(()) };
    let secret_key = Key { namespace: key.namespace.clone(), name: name.clone() };
    let found = world.secrets.get(&secret_key);
    let note = |annotation: &str| found.as_ref().and_then(|secret| secret.annotations().get(annotation));
    if found.is_some() {
        if note(ORIGIN_UID) != service.uid().as_ref() {
            tracing::warn!(secret = ?secret_key, service = ?key, "the Secret belongs to somebody else");
            return Ok(());
        }
        if note(SIGNED_BY) == Some(&known.authority.name) {
            return Ok(());
        }
    }
    let secret = secret(&known.authority, &service, name)
        .map_err(|error| kube::Error::Service(error.to_string().into()))?;
    if found.is_some() {
        let patch = json!({"metadata": {"annotations": secret.metadata.annotations}, "data": secret.data});
        return world.patch(&world.secrets, &secret_key, &patch).await;
    }
    world.create(&world.secrets, &secret).await
}

fn secret(authority: &Authority, service: &Service, name: &str) -> Result<Secret, rcgen::Error> {
    let (namespace, uid) = (service.namespace().unwrap_or_default(), service.uid().unwrap_or_default());
    let host = format!("{}.{namespace}.svc", service.name_any());
    let data = authority.sign(vec![host.clone(), format!("{host}.cluster.local")])?;
    let annotations =
        [(ORIGIN, service.name_any()), (ORIGIN_UID, uid.clone()), (SIGNED_BY, authority.name.clone())];
    let owner = OwnerReference {
        api_version: Service::api_version(&()).into_owned(),
        kind: Service::kind(&()).into_owned(),
        name: service.name_any(),
        uid,
        ..OwnerReference::default()
    };
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.into_iter().map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes()))).collect(),
        ),
        ..Secret::default()
    })
}

async fn inject<K: Simulated>(
    world: &World,
    authority: &Authority,
    store: &Store<K>,
    key: &Key,
) -> Result<(), kube::Error> {
    let Some(found) = store.get(key) else { return Ok(()) };
    if found.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let value = serde_json::to_value(&*found).map_err(kube::Error::SerdeError)?;
    let operations = missing(&value, &authority.bundle);
    if operations.is_empty() {
        return Ok(());
    }
    let patch: json_patch::Patch =
        serde_json::from_value(Value::Array(operations)).map_err(kube::Error::SerdeError)?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api: Api<K> = Api::all(world.client.clone());
    store.apply(api.patch(&key.name, &params, &Patch::Json::<()>(patch)).await?);
    Ok(())
}

/// What is to be done so that every webhook has the bundle, if the configuration asks for that.
fn missing(configuration: &Value, bundle: &str) -> Vec<Value> {
    if configuration["metadata"]["annotations"][INJECT_BUNDLE] != "true" {
        return Vec::new();
    }
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten().enumerate();
    let without = webhooks.filter(|(_, webhook)| webhook["clientConfig"]["caBundle"] != bundle);
    without
        .flat_map(|(index, webhook)| {
            let path = format!("/webhooks/{index}");
            [
                json!({"op": "test", "path": format!("{path}/name"), "value": webhook["name"]}),
                json!({"op": "add", "path": format!("{path}/clientConfig/caBundle"), "value": bundle}),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_that_ask_and_lack_it_get_the_bundle() {
        let mut configuration = json!({
            "metadata": {"annotations": {INJECT_BUNDLE: "true"}},
            "webhooks": [
                {"name": "a", "clientConfig": {"caBundle": "ours"}},
                {"name": "b", "clientConfig": {"caBundle": "old"}},
                {"name": "c", "clientConfig": {}},
            ],
        });
        let paths: Vec<String> = missing(&configuration, "ours")
            .iter()
            .filter(|operation| operation["op"] == "add")
            .map(|operation| operation["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["/webhooks/1/clientConfig/caBundle", "/webhooks/2/clientConfig/caBundle"]);
        configuration["metadata"]["annotations"][INJECT_BUNDLE] = json!("false");
        assert_eq!(missing(&configuration, "ours"), [Value::Null; 0]);
    }
}
