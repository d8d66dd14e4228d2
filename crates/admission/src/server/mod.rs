//! HTTPS on a socket.
//!
//! It serves questions by path, and `/healthz` and `/readyz` for the kubelet. HTTP/1.1 only: API servers keep connections
//! open, and need no more.

mod exchange;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificate::Current;
use crate::review::{Request, Verdict};
use crate::tls::Profile;

/// Connections at one time. Every API server of a cluster keeps a few.
const CONNECTIONS: usize = 512;
/// How long a client may take to set up TLS.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may wait for the head of a request. API servers close one that is idle for 90 seconds; this must
/// be longer, or they would send into a connection that is being closed.
const IDLE: Duration = Duration::from_mins(3);
/// How long requests that are under way may take when the server is to end: somewhat less than a pod is given.
const GRACE: Duration = Duration::from_secs(8);
/// How long an answer may take, its question included. API servers wait no longer than that for one.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection, for want of file descriptors, say.
const REFUSED: Duration = Duration::from_millis(100);

/// Answers the questions of one path.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object passes with changes.
    Changed,
    /// The object passes as it is.
    Unchanged,
    /// The object does not pass.
    Refused,
    /// The object is not what it should be.
    Malformed,
    /// The question was none, or came too late.
    NoReview,
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Allow { patch, .. } if patch.is_empty() => Self::Unchanged,
            Verdict::Allow { .. } => Self::Changed,
            Verdict::Refuse(_) => Self::Refused,
            Verdict::Malformed(_) => Self::Malformed,
        }
    }
}

/// Is told of every exchange: how it ended, and how long it took from the head of the request to the answer.
pub type Observer = Arc<dyn Fn(Outcome, Duration) + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Server {
    handlers: BTreeMap<&'static str, Handler>,
    certificate: Current,
    profile: Profile,
    deadline: Duration,
    observer: Observer,
}

impl Server {
    /// One that answers nothing yet, with that certificate.
    pub fn new(certificate: Current) -> Self {
        Self {
            handlers: BTreeMap::new(),
            certificate,
            profile: Profile::default(),
            deadline: DEADLINE,
            observer: Arc::new(|_, _| {}),
        }
    }

    /// With these versions and suites of TLS.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// Who is not answered by then, as the question does not arrive or the answer is not found, is told so.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Tells of every exchange.
    #[must_use]
    pub fn observe(self, observer: impl Fn(Outcome, Duration) + Send + Sync + 'static) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }

    /// Answers the questions that come to this path.
    #[must_use]
    pub fn route<F>(
        mut self,
        path: &'static str,
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(answer(request)));
        self.handlers.insert(path, handler);
        self
    }

    /// Serves until cancelled; then lets requests that are under way come to their end.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> Result<(), rustls::Error> {
        let acceptor = TlsAcceptor::from(Arc::new(self.certificate.server_config(&self.profile)?));
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let connection = server.clone().connection(acceptor.clone(), stream, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
        // Who comes now shall be led elsewhere at once, not wait for somebody who will not come.
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests were not answered in time; ending all the same");
        }
        Ok(())
    }

    async fn connection(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream, watcher: Watcher) {
        // Answers are small, and waited for.
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            // Port scanners, probes of a load balancer, API servers that do not trust the certificate yet.
            Ok(Err(error)) => return tracing::debug!(%error, "no TLS connection came about"),
            Err(_) => return tracing::debug!("a client took too long to set up TLS"),
        };
        let service = service_fn(move |request| exchange::answer(self.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Waits for room first: clients beyond the limit wait in the queue of the system.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
