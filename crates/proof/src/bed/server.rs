//! The API server below a story: embedded in this process, or a real control plane.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use osc_api::names;
use osc_devcluster::server::ServerConfig;
use osc_devcluster::sim::topology::{self, Topology};
use osc_devcluster::{Clock, server};

use crate::control_plane::ControlPlane;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The server of `osc-devcluster`.
    Embedded,
    /// etcd, kube-apiserver and kube-controller-manager, with RBAC and an audit log.
    Real,
}

impl On {
    /// Simulated seconds in a real one. A real control plane takes milliseconds for what the embedded one does in
    /// microseconds, and the operator shall not look slower to the simulated nodes than it is to real ones.
    pub fn speed(self) -> f64 {
        match self {
            Self::Embedded => 600.0,
            Self::Real => 300.0,
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Real => "real",
        })
    }
}

/// A running API server.
pub enum Server {
    /// In this process.
    Embedded(server::Server),
    /// Three processes.
    Real(ControlPlane),
}

impl Server {
    /// Starts one with the nodes, pools and definitions of a cluster in it; and the clock of that cluster.
    pub(super) async fn start(on: On, topology: &Topology) -> (Self, Clock) {
        // Simulated time runs ahead. Clients that compare timestamps with their own clock shall not see the future.
        let origin = Timestamp::now() - SignedDuration::from_hours(24);
        let clock = Clock::scaled(on.speed(), origin);
        let server = match on {
            On::Embedded => {
                let config = ServerConfig { clock: clock.clone(), ..ServerConfig::default() };
                let server = server::Server::start(config).await.unwrap();
                server.load(topology.objects(origin)).unwrap();
                Self::Embedded(server)
            }
            On::Real => {
                let plane = ControlPlane::start().await;
                topology::apply(&plane.admin("osc-simulation"), topology).await.unwrap();
                Self::Real(plane)
            }
        };
        (server, clock)
    }

    /// A client that may do everything, under that name in logs.
    pub fn client(&self, user_agent: &str) -> Client {
        match self {
            Self::Embedded(server) => server.client_named(user_agent).unwrap(),
            Self::Real(plane) => plane.admin(user_agent),
        }
    }

    /// The operator's client: where there are rights, with those of its ServiceAccount.
    pub(super) async fn operator_client(&self) -> Client {
        match self {
            Self::Embedded(server) => server.client_named(names::OPERATOR_NAME).unwrap(),
            Self::Real(plane) => plane.service_account(names::OPERATOR_NAMESPACE, names::OPERATOR_NAME).await,
        }
    }

    /// A kubeconfig of one who may do everything.
    pub fn kubeconfig(&self) -> String {
        match self {
            Self::Embedded(server) => server.kubeconfig().unwrap(),
            Self::Real(plane) => plane.kubeconfig(),
        }
    }

    /// The API server answers nobody for that long.
    pub async fn outage(&mut self, duration: Duration) {
        match self {
            Self::Embedded(server) => {
                server.faults().pause_all();
                tokio::time::sleep(duration).await;
                server.faults().resume_all();
            }
            Self::Real(plane) => plane.outage(duration).await,
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        match self {
            Self::Embedded(server) => server.stop().await,
            Self::Real(plane) => drop(plane),
        }
    }
}
