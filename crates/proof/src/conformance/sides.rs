//! The two servers that are compared.

use std::path::Path;
use std::sync::Arc;

use kube::Client;
use osc_devcluster::server::{Server, ServerConfig, VersionInfo};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::control_plane::ControlPlane;

/// The user agent of every request, and with that the field manager of every write that names none.
const AGENT: &str = "conformance";

/// One server.
pub struct Side {
    /// `embedded` or `real`.
    pub name: &'static str,
    /// A client that may do everything.
    pub client: Client,
    /// What the Python client saw.
    pub python: OnceCell<Value>,
    /// Where programs have their kubeconfig and caches.
    home: tempfile::TempDir,
    backend: Backend,
}

enum Backend {
    Embedded(Server),
    Real(ControlPlane),
}

impl Side {
    /// Home directory of programs, with a `kubeconfig` in it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Forgets the history of all objects.
    pub async fn compact(&self) {
        match &self.backend {
            Backend::Embedded(server) => server.compact(),
            Backend::Real(plane) => plane.compact().await,
        }
    }
}

/// Both.
pub struct Sides {
    /// The one under test.
    pub embedded: Arc<Side>,
    /// The one that is right.
    pub real: Arc<Side>,
}

impl Sides {
    /// Starts both.
    pub async fn start() -> Self {
        let (embedded, real) = tokio::join!(embedded(), real());
        Self { embedded: Arc::new(embedded), real: Arc::new(real) }
    }
}

/// A client that shows every answer, instead of asking again where the server wants it to.
fn client(mut config: kube::Config) -> Client {
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn home(kubeconfig: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("kubeconfig"), kubeconfig).unwrap();
    home
}

async fn embedded() -> Side {
    // Clients go by the version: they shall treat both servers alike.
    let version = VersionInfo {
        major: "1".to_owned(),
        minor: "20".to_owned(),
        git_version: "v1.20.2".to_owned(),
        ..VersionInfo::default()
    };
    let config = ServerConfig { tls: true, version, ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    Side {
        name: "embedded",
        client: client(server.client_config(AGENT).unwrap()),
        python: OnceCell::new(),
        home: home(&server.kubeconfig().unwrap()),
        backend: Backend::Embedded(server),
    }
}

async fn real() -> Side {
    let plane = ControlPlane::start().await;
    Side {
        name: "real",
        client: client(plane.admin_config(AGENT)),
        python: OnceCell::new(),
        home: home(&plane.kubeconfig()),
        backend: Backend::Real(plane),
    }
}
