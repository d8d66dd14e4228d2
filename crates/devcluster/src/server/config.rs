//! How a server is set up, and what can go wrong doing so.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::services::Services;
use crate::Clock;

/// What `/version` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// For instance `1`.
    pub major: String,
    /// For instance `32`.
    pub minor: String,
    /// For instance `v1.32.5`.
    pub git_version: String,
    /// `platform` of the answer.
    pub platform: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            major: "1".to_owned(),
            minor: "32".to_owned(),
            git_version: "v1.32.5".to_owned(),
            platform: "linux/amd64".to_owned(),
        }
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port, as in `clientConfig.service.port` of a webhook.
    pub port: u16,
}

/// Settings of a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes any free one. Without one there is no socket: clients that this process
    /// makes call the server directly, and with a paused tokio clock nothing real takes time.
    pub listen: Option<SocketAddr>,
    /// Serve HTTPS with a certificate made at start; the kubeconfig carries its authority.
    pub tls: bool,
    /// Bearer token that every request has to carry; none lets everyone in.
    pub token: Option<String>,
    /// Source of every timestamp the server writes.
    pub clock: Clock,
    /// Events kept for each resource; watches and continue tokens older than that get 410.
    pub watch_history: usize,
    /// What `/version` answers.
    pub version: VersionInfo,
    /// Where services are, for webhooks that are named by their service: there is no network behind services here.
    pub services: BTreeMap<ServicePort, SocketAddr>,
    /// The same for services that come and go: whoever answers for one has a copy of this.
    pub endpoints: Services,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            tls: false,
            token: None,
            clock: Clock::real(),
            watch_history: 10_000,
            version: VersionInfo::default(),
            services: BTreeMap::new(),
            endpoints: Services::default(),
        }
    }
}

/// Why a server could not start, be reached or be filled.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a serving certificate: {0}")]
    Certificate(String),
    /// It was asked for what only a server with a socket has.
    #[error("the server listens on no address, so there is no {0}")]
    NoSocket(&'static str),
    /// No client could be made for this server.
    #[error("cannot make a client: {0}")]
    Client(String),
    /// An object handed to [`Server::load`](super::Server::load) cannot be stored.
    #[error("cannot load {what}: {why}")]
    Load {
        /// Kind, namespace and name, as far as known.
        what: String,
        /// The reason.
        why: String,
    },
}
