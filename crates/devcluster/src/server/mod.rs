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
mod metadata;
mod names;
mod openapi;
mod output;
mod protobuf;
mod registry;
mod request_log;
mod route;
mod select;
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

pub use config::{ServerConfig, ServerError, VersionInfo};
pub use faults::{Condition, Fault, FaultAction, Faults, Hook, Matcher};
pub use request_log::{RequestLog, RequestRecord};
pub use route::{RequestInfo, Verb};

use crate::Clock;
use call::State;

/// Name of cluster, user and context in the kubeconfig.
const CONTEXT: &str = "osc-devcluster";
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A running server. It ends when it is stopped or dropped.
pub struct Server {
    state: Arc<State>,
    address: SocketAddr,
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
        f.debug_struct("Server").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts listening. The namespaces that every cluster has exist when this returns.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let identity = if config.tls { Some(tls::identity(address.ip())?) } else { None };
        let (state, feed) = State::new(&config);
        let state = Arc::new(state);
        let cleanup = tokio::spawn(cleanup::run(state.clone(), feed));
        for namespace in NAMESPACES {
            load::ensure_namespace(&state, namespace)?;
        }
        let acceptor = identity.as_ref().map(|identity| identity.acceptor.clone());
        let listener = tokio::spawn(http::accept(listener, acceptor, state.clone()));
        let authority = identity.map(|i| Authority { pem: i.authority_pem, der: i.authority_der });
        Ok(Self { state, address, authority, listener: Some(listener), cleanup })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>` or the same with `https`.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let host = match self.address.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// A kubeconfig in YAML with everything a client needs.
    pub fn kubeconfig(&self) -> String {
        let authority = self.authority.as_ref().map_or_else(String::new, |authority| {
            let data = base64::engine::general_purpose::STANDARD.encode(&authority.pem);
            format!("    certificate-authority-data: {data}\n")
        });
        // With HTTPS and no credentials, kubectl asks for a user name: it is given a token that nobody checks.
        let token = self.state.token.as_deref().unwrap_or("nobody-checks-this");
        // JSON strings are YAML strings, whatever is in the token.
        let user = format!("  user:\n    token: {}\n", Value::from(token));
        let server = self.url();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {CONTEXT}\n\
             clusters:\n- name: {CONTEXT}\n  cluster:\n    server: {server}\n{authority}\
             contexts:\n- name: {CONTEXT}\n  context:\n    cluster: {CONTEXT}\n    user: {CONTEXT}\n\
             users:\n- name: {CONTEXT}\n{user}"
        )
    }

    /// A client over HTTP.
    pub fn client(&self) -> Result<kube::Client, ServerError> {
        self.client_named("osc-devcluster")
    }

    /// A client over HTTP with a user agent of its own, so that faults and the request log can tell it apart.
    pub fn client_named(&self, user_agent: &str) -> Result<kube::Client, ServerError> {
        let config = self.client_config(user_agent)?;
        kube::Client::try_from(config).map_err(|error| ServerError::Client(error.to_string()))
    }

    /// The configuration behind [`client_named`](Self::client_named), for clients with settings of their own.
    pub fn client_config(&self, user_agent: &str) -> Result<kube::Config, ServerError> {
        let bad = |error: &dyn std::fmt::Display| ServerError::Client(error.to_string());
        let url: ::http::Uri = self.url().parse().map_err(|error| bad(&error))?;
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

    /// The clock of its timestamps.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// Puts objects straight into the store: given status, uid, labels and creation time are kept, what is missing
    /// is filled in, CustomResourceDefinitions take effect first. An object that exists is replaced.
    pub fn load(&self, objects: Vec<Value>) -> Result<(), ServerError> {
        load::load(&self.state, objects)
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

impl Drop for Server {
    fn drop(&mut self) {
        self.state.shutdown.cancel();
        self.cleanup.abort();
    }
}
