//! An embedded Kubernetes API server, kept in memory.
//!
//! Real HTTP over a socket, so that `kubectl`, kube-rs and other clients run against it unchanged. The way of a
//! request: `http` takes it from the connection and asks `faults` about it, `route` takes it apart, `verbs`
//! handles it against the `store`, `output` prints the answer. The way of a write: decode and prune, admission,
//! validation, field ownership, and a compare-and-swap in the store, whose history feeds watches.

mod admission;
mod body;
mod builtin_schema;
mod call;
mod cleanup;
mod config;
mod convert;
mod decode;
mod defaults;
mod definition;
mod discovery;
mod faults;
mod http;
mod load;
mod local;
mod metadata;
mod names;
mod openapi;
mod output;
mod protobuf;
mod registry;
mod request_log;
mod route;
mod select;
mod services;
mod signal;
mod status;
mod store;
mod table;
mod tls;
mod validate;
mod verbs;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use config::{ServerConfig, ServerError, ServicePort, VersionInfo};
pub use faults::{Condition, Fault, FaultAction, Faults, Hook, Matcher};
pub use request_log::{RequestLog, RequestRecord};
pub use route::{RequestInfo, Verb};
pub use services::{Endpoint, Services};

use crate::Clock;
use call::State;

/// Name of cluster, user and context in the kubeconfig.
const CONTEXT: &str = "osc-devcluster";
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A running server. It ends when it is stopped or dropped.
pub struct Server {
    state: Arc<State>,
    /// Where it listens; none for a server without a socket.
    address: Option<SocketAddr>,
    authority: Option<Authority>,
    listener: Option<JoinHandle<()>>,
    cleanup: JoinHandle<()>,
}

struct Authority {
    pem: String,
    der: Vec<u8>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts serving. The namespaces that every cluster has exist when this returns.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let socket = match config.listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = socket.as_ref().map(|(_, address)| *address);
        let identity = match address {
            Some(address) if config.tls => Some(tls::identity(address.ip())?),
            _ => None,
        };
        let (state, feed) = State::new(&config);
        let state = Arc::new(state);
        let cleanup = tokio::spawn(cleanup::run(state.clone(), feed));
        for namespace in NAMESPACES {
            load::ensure_namespace(&state, namespace)?;
        }
        let acceptor = identity.as_ref().map(|identity| identity.acceptor.clone());
        let listener =
            socket.map(|(listener, _)| tokio::spawn(http::accept(listener, acceptor, state.clone())));
        let authority = identity.map(|i| Authority { pem: i.authority_pem, der: i.authority_der });
        Ok(Self { state, address, authority, listener, cleanup })
    }

    /// The address it listens on, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// `http://127.0.0.1:<port>` or the same with `https`.
    pub fn url(&self) -> Result<String, ServerError> {
        let address = self.address.ok_or(ServerError::NoSocket("URL"))?;
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let host = match address.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        Ok(format!("{scheme}://{host}:{}", address.port()))
    }

    /// A kubeconfig in YAML with everything a client needs.
    pub fn kubeconfig(&self) -> Result<String, ServerError> {
        let authority = self.authority.as_ref().map_or_else(String::new, |authority| {
            let data = base64::engine::general_purpose::STANDARD.encode(&authority.pem);
            format!("    certificate-authority-data: {data}\n")
        });
        // With HTTPS and no credentials, kubectl asks for a user name: it is given a token that nobody checks.
        let token = self.state.token.as_deref().unwrap_or("nobody-checks-this");
        // JSON strings are YAML strings, whatever is in the token.
        let user = format!("  user:\n    token: {}\n", Value::from(token));
        let server = self.url()?;
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {CONTEXT}\n\
             clusters:\n- name: {CONTEXT}\n  cluster:\n    server: {server}\n{authority}\
             contexts:\n- name: {CONTEXT}\n  context:\n    cluster: {CONTEXT}\n    user: {CONTEXT}\n\
             users:\n- name: {CONTEXT}\n{user}"
        ))
    }

    /// A client of this server.
    pub fn client(&self) -> Result<kube::Client, ServerError> {
        self.client_named("osc-devcluster")
    }

    /// A client with a user agent of its own, so that faults and the request log can tell it apart. Over HTTP, or
    /// directly where there is no socket.
    pub fn client_named(&self, user_agent: &str) -> Result<kube::Client, ServerError> {
        if self.address.is_none() {
            return local::client(&self.state, user_agent);
        }
        let config = self.client_config(user_agent)?;
        kube::Client::try_from(config).map_err(|error| ServerError::Client(error.to_string()))
    }

    /// The configuration behind [`client_named`](Self::client_named), for clients with settings of their own.
    pub fn client_config(&self, user_agent: &str) -> Result<kube::Config, ServerError> {
        let bad = |error: &dyn std::fmt::Display| ServerError::Client(error.to_string());
        let url: ::http::Uri = self.url()?.parse().map_err(|error| bad(&error))?;
        let mut config = kube::Config::new(url);
        if let Some(authority) = &self.authority {
            config.root_cert = Some(vec![authority.der.clone()]);
        }
        config.auth_info.token = self.state.token.clone().map(Into::into);
        let value = ::http::HeaderValue::from_str(user_agent).map_err(|error| bad(&error))?;
        config.headers.push((::http::header::USER_AGENT, value));
        Ok(config)
    }

    /// The faults of this server.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The record of the requests it got.
    pub fn requests(&self) -> &RequestLog {
        &self.state.requests
    }

    /// What stands for Services, beside those that were [given](ServerConfig::services) at the start.
    pub fn services(&self) -> &Services {
        &self.state.endpoints
    }

    /// The clock of its timestamps.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// Puts objects straight into the store: given status, uid, labels and creation time are kept, what is missing
    /// is filled in, CustomResourceDefinitions take effect first. An object that exists is replaced.
    pub fn load(&self, objects: Vec<Value>) -> Result<(), ServerError> {
        load::load(&self.state, objects)
    }

    /// Everything that is stored, each object as its storage version shows it.
    pub fn objects(&self) -> Vec<Arc<Value>> {
        let mut collections = self.state.store.collections();
        collections.sort();
        collections.iter().flat_map(|collection| self.state.store.list(collection, "").0).collect()
    }

    /// Forgets the history: watches and continue tokens from before get 410.
    pub fn compact(&self) {
        self.state.store.compact();
    }

    /// Stops accepting, ends watches, lets requests finish for at most a second, and drops the connections.
    pub async fn stop(mut self) {
        self.state.shutdown.cancel();
        if let Some(listener) = self.listener.take() {
            let _ = listener.await;
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.shutdown.cancel();
        self.cleanup.abort();
    }
}
