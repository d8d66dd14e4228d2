//! The webhook of peer pods in its pods: the real server, on a port of this machine.

use std::net::{Ipv4Addr, SocketAddr};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use osc_admission::certificate::{Current, Serving};
use osc_admission::peer_pod::Settings;
use osc_api::peerpods::webhook::{DEPLOYMENT, SERVICE, SERVICE_PORT, VOLUME};
use osc_devcluster::server::{ServicePort, Services};
use osc_devcluster::sim::program::{Context, Exit, Program};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The program.
#[derive(Debug)]
pub struct Webhook {
    services: Services,
}

impl Webhook {
    /// One that API servers find there.
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

impl Program for Webhook {
    fn takes(&self, pod: &Pod) -> bool {
        pod.labels().get("app").is_some_and(|app| app == DEPLOYMENT)
    }

    fn run(&self, context: Context) -> BoxFuture<'static, Exit> {
        let services = self.services.clone();
        async move {
            match run(&context, services).await {
                Ok(()) => Exit::Success(String::new()),
                Err(why) => Exit::Failure(why),
            }
        }
        .boxed()
    }
}

async fn run(context: &Context, services: Services) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let env = context.env().await.map_err(|error| words(&error))?;
    let settings = Settings::of_environment(|name| env.get(name).cloned()).map_err(|error| words(&error))?;
    for told in &settings.told {
        tracing::warn!(pod = context.pod.name_any(), "{told}");
    }
    let listener =
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(|error| words(&error))?;
    let address = listener.local_addr().map_err(|error| words(&error))?;
    let (certificate, cancel) = (Current::default(), CancellationToken::new());
    // Whatever ends this ends the server, too.
    let _guard = cancel.clone().drop_guard();
    let server = tokio::spawn(settings.server(certificate.clone()).serve(listener, cancel.clone()));
    let mut endpoint = None;
    let secrets = certificates(context)?;
    futures::pin_mut!(secrets);
    loop {
        let secret = tokio::select! {
            biased;
            () = context.cancel.cancelled() => break,
            secret = secrets.next() => secret.ok_or("the watch of the Secret has ended")?,
        };
        match serving(&secret) {
            Ok(serving) => certificate.set(serving),
            Err(why) => {
                tracing::warn!(secret = secret.name_any(), why, "no new certificate");
                continue;
            }
        }
        if endpoint.is_none() {
            let port = ServicePort {
                namespace: context.pod.namespace().unwrap_or_default(),
                name: SERVICE.to_owned(),
                port: SERVICE_PORT,
            };
            endpoint = Some(services.register(port, address));
            context.ready();
        }
    }
    // Nobody is led here any more before it ends.
    drop(endpoint);
    cancel.cancel();
    match server.await {
        Ok(outcome) => outcome.map_err(|error| words(&error)),
        Err(error) => Err(words(&error)),
    }
}

/// The Secret with the certificate, as it is now and whenever it changes.
fn certificates(context: &Context) -> Result<impl futures::Stream<Item = Secret> + use<>, String> {
    let volumes = context.pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let volume = volumes.into_iter().flatten().find(|volume| volume.name == VOLUME);
    let secret = volume.and_then(|volume| volume.secret.as_ref()?.secret_name.clone());
    let secret = secret.ok_or_else(|| format!("volume {VOLUME} is not there, or no Secret"))?;
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &context.pod.namespace().unwrap_or_default());
    let config = watcher::Config::default().fields(&format!("metadata.name={secret}"));
    let seen = watcher(api, config).default_backoff().applied_objects();
    Ok(seen.filter_map(|event| std::future::ready(event.ok())))
}

fn serving(secret: &Secret) -> Result<Serving, String> {
    let data = secret.data.as_ref();
    let text = |key: &str| {
        let bytes = data.and_then(|data| data.get(key)).ok_or_else(|| format!("{key} is missing"))?;
        String::from_utf8(bytes.0.clone()).map_err(|_| format!("{key} is no text"))
    };
    Serving::from_pem(&text("tls.crt")?, &text("tls.key")?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_pods_of_the_webhook_are_taken() {
        let webhook = Webhook::new(Services::default());
        let takes = |app: &str| {
            webhook.takes(&serde_json::from_value(json!({"metadata": {"labels": {"app": app}}})).unwrap())
        };
        assert!(takes("peer-pods-webhook") && !takes("web"));
    }

    #[test]
    fn a_secret_that_is_of_no_use_is_told_by_its_key() {
        let words = |data: serde_json::Value| {
            serving(&serde_json::from_value(json!({"data": data})).unwrap()).unwrap_err()
        };
        assert_eq!(words(json!({"tls.crt": "eA=="})), "tls.key is missing");
        assert_eq!(words(json!({"tls.crt": "/w==", "tls.key": "eA=="})), "tls.crt is no text");
        assert!(words(json!({"tls.crt": "eA==", "tls.key": "eA=="})).starts_with("tls.crt cannot be read"));
    }
}
