//! A whole embedded cluster: the server, filled with a topology, and the simulated controllers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::server::{Server, ServerConfig, ServerError, Services};
use crate::sim::program::Program;
use crate::sim::topology::Topology;
use crate::sim::{self, SimError, SimOptions, Timing};

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// What is in it at first.
    pub contents: Contents,
    /// Address of the API server; port 0 takes any free one. Without one there is no socket: see [`ServerConfig`].
    pub listen: Option<SocketAddr>,
    /// Serve HTTPS.
    pub tls: bool,
    /// Simulated seconds in a real one.
    pub speed: f64,
    /// The time at the start; none for one that clients with a clock of their own can live with.
    pub origin: Option<Timestamp>,
    /// How long things take, in simulated time.
    pub timing: Timing,
    /// What varies from one run to the next: see [`SimOptions`].
    pub seed: u64,
    /// What runs in pods: see [`SimOptions`].
    pub programs: Vec<Arc<dyn Program>>,
    /// Where the services are that programs serve: they have a copy of it.
    pub services: Services,
}

/// What is in a cluster at first.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Nodes, pools and release, made up.
    Topology(Topology),
    /// These objects, for instance those of another cluster.
    Objects(Vec<Value>),
}

impl From<Topology> for Contents {
    fn from(topology: Topology) -> Self {
        Self::Topology(topology)
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            contents: Topology::default().into(),
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            tls: false,
            speed: 1.0,
            origin: None,
            timing: Timing::default(),
            seed: 0,
            programs: Vec::new(),
            services: Services::default(),
        }
    }
}

/// A running cluster.
pub struct Cluster {
    server: Server,
    cancel: CancellationToken,
    simulation: JoinHandle<Result<(), SimError>>,
}

impl Cluster {
    /// Starts a cluster.
    ///
    /// Simulated time begins a day ago: it runs ahead, and clients that compare timestamps with their own clock
    /// (`kubectl describe`) would otherwise see objects from the future.
    pub async fn start(config: ClusterConfig) -> Result<Self, ServerError> {
        let now = Timestamp::now();
        let early = if config.speed > 1.0 { now - SignedDuration::from_hours(24) } else { now };
        let origin = config.origin.unwrap_or(early);
        let clock = Clock::scaled(config.speed, origin);
        let server_config = ServerConfig {
            listen: config.listen,
            tls: config.tls,
            clock: clock.clone(),
            endpoints: config.services,
            ..ServerConfig::default()
        };
        let server = Server::start(server_config).await?;
        // Objects from elsewhere are rarely all that there is.
        let partial = matches!(config.contents, Contents::Objects(_));
        server.load(match config.contents {
            Contents::Topology(topology) => topology.objects(origin),
            Contents::Objects(objects) => objects,
        })?;
        let cancel = CancellationToken::new();
        let options = SimOptions {
            clock,
            timing: config.timing,
            seed: config.seed,
            partial,
            programs: config.programs,
            ..SimOptions::default()
        };
        let client = server.client_named("osc-simulation")?;
        let simulation = tokio::spawn(sim::run(client, options, cancel.clone()));
        Ok(Self { server, cancel, simulation })
    }

    /// Its API server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its time.
    pub fn clock(&self) -> Clock {
        self.server.clock().clone()
    }

    /// Ends the simulation and the server.
    pub async fn stop(self) {
        self.cancel.cancel();
        match self.simulation.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the simulation failed"),
            Err(error) => tracing::error!(%error, "the simulation failed"),
        }
        self.server.stop().await;
    }
}
