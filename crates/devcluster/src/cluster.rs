//! A whole embedded cluster: the server, filled with a topology, and the simulated controllers.

use std::net::{Ipv4Addr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::server::{Server, ServerConfig, ServerError};
use crate::sim::topology::Topology;
use crate::sim::{self, SimError, SimOptions, Timing};

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Nodes, pools and release.
    pub topology: Topology,
    /// Address of the API server; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Serve HTTPS.
    pub tls: bool,
    /// Simulated seconds in a real one.
    pub speed: f64,
    /// How long things take, in simulated time.
    pub timing: Timing,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: false,
            speed: 1.0,
            timing: Timing::default(),
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
        let origin = if config.speed > 1.0 { now - SignedDuration::from_hours(24) } else { now };
        let clock = Clock::scaled(config.speed, origin);
        let server_config = ServerConfig {
            listen: config.listen,
            tls: config.tls,
            clock: clock.clone(),
            ..ServerConfig::default()
        };
        let server = Server::start(server_config).await?;
        server.load(config.topology.objects(origin))?;
        let cancel = CancellationToken::new();
        let options = SimOptions { clock, timing: config.timing, ..SimOptions::default() };
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
