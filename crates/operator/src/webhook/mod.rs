//! The webhooks that the operator serves: every replica does, whether it leads or not.
//!
//! What is answered is decided in [`osc_admission`]; here is what that needs to know, and the certificate:
//!
//! - `keeper`: an authority of the operator's own, where the cluster has none for services.
//! - `overhead`: the memory overhead webhook exists while a feature gate asks for it.

mod keeper;
mod overhead;

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use clap::{Args, ValueEnum};
use futures::{Stream, StreamExt};
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use osc_admission::bind::bind_address;
use osc_admission::certificate::Current;
use osc_admission::certificate::authority::Lifetimes;
use osc_admission::certificate::directory::{self, Directory};
use osc_admission::kata_config::{self, Existing};
use osc_admission::{Request, Server, Verdict, memory_overhead};
use osc_api::KataConfig;
use osc_engine::security::webhooks::{self, Place};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::apply::words;
use crate::cache::Cache;
use crate::options::{BindAddress, Options};

/// How long the API server may take to list KataConfigs: less than it waits for the answer.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// APIs of OpenShift, whose service CA issues certificates and tells API servers whom to trust.
const OPENSHIFT: &str = "config.openshift.io";

/// Flags about webhooks.
#[derive(Args, Clone, Debug)]
pub struct WebhookOptions {
    /// Where webhooks are served, over HTTPS; `0` serves none.
    #[arg(long, default_value = "0", value_parser = bind_address)]
    pub webhook_bind_address: BindAddress,

    /// Where the serving certificate comes from.
    #[arg(long, value_enum, default_value_t = Source::Auto)]
    pub webhook_certificates: Source,

    /// Directory with tls.crt and tls.key, if the certificate comes from one. Changes are taken up without a restart.
    #[arg(long, default_value = webhooks::CERTIFICATE_DIRECTORY)]
    pub webhook_cert_dir: PathBuf,

    /// Address at which the API server reaches an operator that runs outside of the cluster, for instance
    /// https://10.0.0.7:9443; without it, the Service of the operator's pod.
    #[arg(long, value_parser = https_url)]
    pub webhook_url: Option<String>,

    /// How long certificates of the operator's own are valid, and how often the directory is looked at.
    #[arg(skip)]
    pub pace: Pace,
}

/// Where a serving certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The directory, if something is in it or the cluster is OpenShift; else an authority of the operator's own.
    Auto,
    /// The directory: OpenShift's service CA or cert-manager fills it, and tells API servers whom to trust.
    Directory,
    /// An authority of the operator's own, kept in a Secret; the operator tells API servers to trust it.
    SelfManaged,
}

/// How long certificates are valid, and how often a directory is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of the operator's own certificates.
    pub lifetimes: Lifetimes,
    /// Of looks at the directory.
    pub directory: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { lifetimes: Lifetimes::default(), directory: directory::PERIOD }
    }
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            webhook_bind_address: BindAddress(None),
            webhook_certificates: Source::Auto,
            webhook_cert_dir: webhooks::CERTIFICATE_DIRECTORY.into(),
            webhook_url: None,
            pace: Pace::default(),
        }
    }
}

/// Accepts `https://host` and `https://host:port`.
fn https_url(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    match authority_of(trimmed) {
        Some(_) => Ok(trimmed.to_owned()),
        None => Err(format!(
            "{text:?} is no address that an API server could ask; write https://HOST:PORT, for instance https://10.0.0.7:9443"
        )),
    }
}

/// The host of such a URL, if it is one.
fn authority_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let host = uri.host()?.trim_matches(['[', ']']);
    (plain && uri.scheme_str() == Some("https") && !host.is_empty()).then(|| host.to_owned())
}

impl WebhookOptions {
    fn place(&self, namespace: &str) -> Place {
        match &self.webhook_url {
            Some(url) => Place::Url(url.clone()),
            None => Place::Service { namespace: namespace.to_owned() },
        }
    }

    /// The names under which API servers call.
    fn names(&self, namespace: &str) -> Vec<String> {
        let service = webhooks::SERVICE;
        let own = self.webhook_url.as_deref().and_then(authority_of);
        [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
            .into_iter()
            .chain(own)
            .collect()
    }
}

/// Whom API servers are told to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trust {
    /// Somebody else tells them.
    Told,
    /// These authorities, in base64.
    Own(String),
}

/// Webhooks that are served.
pub struct Webhooks {
    /// The certificate in use.
    pub certificate: Current,
    server: JoinHandle<()>,
}

impl Webhooks {
    /// Waits until, after cancellation, what was under way has been answered.
    pub async fn finished(self) {
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the task that serves webhooks failed");
        }
    }
}

/// Serves webhooks until cancelled.
pub fn start(
    listener: TcpListener,
    client: &Client,
    cache: &Cache,
    options: &Options,
    cancel: &CancellationToken,
) -> Webhooks {
    let (namespace, identity, options) = (&options.namespace, options.identity.clone(), &options.webhook);
    let current = Current::default();
    let (trust, trusted) = watch::channel(None);
    let (gate, megabytes) = watch::channel(None);
    let server = server(current.clone(), client.clone(), cache.clone(), namespace.to_owned(), megabytes);
    let serving = server.serve(listener, cancel.clone());
    let server = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "serving webhooks failed");
        }
    });
    let overhead = overhead::Keeper {
        client: client.clone(),
        namespace: namespace.to_owned(),
        place: options.place(namespace),
        trusted,
        gate,
        identity,
    };
    tokio::spawn(overhead.run(cancel.clone()));
    let (client, namespace, options) = (client.clone(), namespace.to_owned(), options.clone());
    let (shown, cancel) = (current.clone(), cancel.clone());
    tokio::spawn(async move {
        let directory = Directory::new(&options.webhook_cert_dir);
        let source = tokio::select! {
            source = source(&client, &options, &directory) => source,
            () = cancel.cancelled() => return,
        };
        tracing::info!(?source, "serving webhooks");
        if source == Source::Directory {
            trust.send_replace(Some(Trust::Told));
            directory.follow(shown, options.pace.directory, cancel).await;
        } else {
            let subject = keeper::Subject::own(&options.place(&namespace), options.names(&namespace));
            let lifetimes = options.pace.lifetimes;
            keeper::Keeper { client, namespace, subject, lifetimes, current: shown, trust }.run(cancel).await;
        }
    });
    Webhooks { certificate: current, server }
}

/// Keeps the certificate of the webhook of peer pods until cancelled, where nobody else does.
pub async fn keep_peer_pods(client: Client, options: Options, cancel: CancellationToken) {
    let (namespace, webhook) = (options.namespace, options.webhook);
    let source = match webhook.webhook_certificates {
        Source::Auto => tokio::select! {
            biased;
            source = by_cluster(&client) => source,
            () = cancel.cancelled() => return,
        },
        chosen => chosen,
    };
    if source == Source::SelfManaged {
        let subject = keeper::Subject::peer_pods(&namespace);
        let (current, (trust, _)) = (Current::default(), watch::channel(None));
        let lifetimes = webhook.pace.lifetimes;
        keeper::Keeper { client, namespace, subject, lifetimes, current, trust }.run(cancel).await;
    }
}

/// Where the certificate comes from: asks the cluster if that is to be found out.
async fn source(client: &Client, options: &WebhookOptions, directory: &Directory) -> Source {
    if options.webhook_certificates != Source::Auto {
        return options.webhook_certificates;
    }
    if directory.is_filled() {
        return Source::Directory;
    }
    by_cluster(client).await
}

/// Where certificates come from on this cluster.
async fn by_cluster(client: &Client) -> Source {
    let ask = || client.list_api_groups();
    let patiently = ExponentialBuilder::new().with_max_delay(Duration::from_secs(30)).without_max_times();
    let groups = ask.retry(patiently).notify(|error, _| {
        tracing::warn!(error = words(error), "cannot see whether this is OpenShift; trying again");
    });
    match groups.await {
        Ok(groups) if groups.groups.iter().any(|group| group.name == OPENSHIFT) => Source::Directory,
        _ => Source::SelfManaged,
    }
}

fn server(
    current: Current,
    client: Client,
    cache: Cache,
    namespace: String,
    megabytes: watch::Receiver<overhead::Gate>,
) -> Server {
    Server::new(current)
        .route(webhooks::KATA_CONFIG_PATH, move |request| kata_config(client.clone(), request))
        .route(webhooks::MEMORY_OVERHEAD_PATH, move |request| {
            let overhead = megabytes.borrow().map(|megabytes| memory_overhead::Overhead {
                megabytes,
                runtime_classes: cache.runtime_classes(),
                own_namespace: namespace.clone(),
            });
            std::future::ready(memory_overhead::review(&request, overhead.as_ref()))
        })
}

/// Looks at the cluster itself, not at the cache: of two KataConfigs that are created one right after the other, the second
/// shall see the first.
async fn kata_config(client: Client, request: Request) -> Verdict {
    if !kata_config::needs_existing(&request) {
        return kata_config::review(&request, &[]);
    }
    let api: Api<KataConfig> = Api::all(client);
    match tokio::time::timeout(LIST_TIMEOUT, api.list_metadata(&ListParams::default())).await {
        Ok(Ok(list)) => {
            let existing: Vec<Existing> = list.items.iter().map(Existing::of).collect();
            kata_config::review(&request, &existing)
        }
        Ok(Err(error)) => kata_config::unlisted(&words(&error)),
        Err(_) => kata_config::unlisted(&format!("no answer within {} s", LIST_TIMEOUT.as_secs())),
    }
}

/// What is known of an object.
#[derive(Default)]
enum Look<K> {
    /// The API server has not said yet.
    #[default]
    Unknown,
    /// It is this one, or not there.
    Known(Option<K>),
}

/// One object as it is now, and whenever it changes; errors are told and tried again.
fn follow<K>(api: Api<K>, name: &str) -> impl Stream<Item = Option<K>> + Send + Unpin + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let what = name.to_owned();
    let told = move |error: watcher::Error| {
        tracing::warn!(object = what, %error, "cannot watch; trying again");
    };
    let known = watcher::watch_object(api, name).default_backoff();
    Box::pin(known.filter_map(move |found| std::future::ready(found.map_err(&told).ok())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://10.0.0.7:9443", Some("10.0.0.7"))]
    #[case("https://10.0.0.7:9443/", Some("10.0.0.7"))]
    #[case("https://[::1]:9443", Some("::1"))]
    #[case("https://laptop.example.com", Some("laptop.example.com"))]
    #[case("http://10.0.0.7:9443", None)]
    #[case("10.0.0.7:9443", None)]
    #[case("https://10.0.0.7:9443/path", None)]
    #[case("https://10.0.0.7:9443?q", None)]
    #[case("", None)]
    fn an_address_outside_of_the_cluster_is_an_https_url(#[case] text: &str, #[case] host: Option<&str>) {
        match (https_url(text), host) {
            (Ok(url), Some(host)) => {
                let options = WebhookOptions { webhook_url: Some(url.clone()), ..WebhookOptions::default() };
                assert_eq!(options.place("home"), Place::Url(url));
                let names = ["webhook-service.home.svc", "webhook-service.home.svc.cluster.local", host];
                assert_eq!(options.names("home"), names);
            }
            (Err(words), None) => assert!(words.contains("write https://HOST:PORT"), "{words}"),
            (found, _) => panic!("{found:?}"),
        }
    }
}
