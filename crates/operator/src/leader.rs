//! Who of several operators works: the holder of a Lease.
//!
//! The rules are those of Kubernetes' own components, so that a Go operator and this one get along: a Lease that
//! somebody holds is left alone until nobody has renewed it for as long as it lasts, measured by how long *this*
//! process has seen it unchanged, whatever the clocks of others say; every write carries the version that was read, so
//! that of two who reach for it one fails; and a holder that could not renew stops working before anybody may take
//! over, whether or not it can still reach the API server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use osc_api::names;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::apply::words;
use crate::clock::Clock;

/// How long a Lease holds without renewal. A crashed leader is replaced after that.
const LEASE: Duration = Duration::from_secs(30);
/// How often the holder renews, and the others look.
const PERIOD: Duration = Duration::from_secs(5);
/// A holder that has not renewed for this long stops working. The rest of [`LEASE`] is for writes on their way.
const RENEW_DEADLINE: Duration = Duration::from_secs(20);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether this process leads, and the task that cares for the Lease.
pub struct Leadership {
    leading: watch::Receiver<bool>,
    peer_pods: watch::Receiver<bool>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    /// Keeps the channels of a lone operator open.
    _alone: Option<Told>,
}

/// Who is told. Each by a channel of its own: several that wait on one are woken in an order that is left to chance, and
/// what a simulation does is to follow from its seed alone.
struct Told {
    reconciler: watch::Sender<bool>,
    peer_pods: watch::Sender<bool>,
}

impl Told {
    fn new(leads: bool) -> (Self, [watch::Receiver<bool>; 2]) {
        let (reconciler, leading) = watch::channel(leads);
        let (peer_pods, also_leading) = watch::channel(leads);
        (Self { reconciler, peer_pods }, [leading, also_leading])
    }

    /// True: that is news.
    fn tell(&self, leads: bool) -> bool {
        let differs = |leading: &mut bool| std::mem::replace(leading, leads) != leads;
        self.peer_pods.send_if_modified(differs);
        self.reconciler.send_if_modified(differs)
    }
}

/// A crash gives nothing back.
impl Drop for Leadership {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Leadership {
    /// Without election: always leading.
    pub fn alone() -> Self {
        let (told, [leading, peer_pods]) = Told::new(true);
        Self { leading, peer_pods, stop: CancellationToken::new(), task: None, _alone: Some(told) }
    }

    /// Takes part in the election. The Lease is the Go operator's, so that the two never work side by side.
    pub fn elect(client: Client, namespace: &str, identity: &str, clock: Arc<dyn Clock>) -> Self {
        let (leading, [receiver, peer_pods]) = Told::new(false);
        let candidate = Candidate {
            leases: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            clock,
            leading,
            seen: None,
            renewed: None,
            told: None,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(candidate.run(stop.clone()));
        Self { leading: receiver, peer_pods, stop, task: Some(task), _alone: None }
    }

    /// Whether this process leads now.
    pub fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Whether this process leads, for the keeper of peer pods, which works while it does.
    pub fn of_peer_pods(&self) -> watch::Receiver<bool> {
        self.peer_pods.clone()
    }

    /// Waits until leadership comes or goes. False: the task that cares for the Lease has ended, and nobody does now.
    pub async fn changed(&mut self) -> bool {
        self.leading.changed().await.is_ok()
    }

    /// Gives the Lease back, so that a successor need not wait for its end.
    pub async fn release(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the lease task failed");
        }
    }
}

/// A Lease as it was last seen.
struct Seen {
    version: String,
    spec: LeaseSpec,
    /// When it was first seen like this.
    since: Instant,
}

struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    identity: String,
    clock: Arc<dyn Clock>,
    leading: Told,
    seen: Option<Seen>,
    /// When the request was sent that renewed last.
    renewed: Option<Instant>,
    /// What was logged last, so that an outage fills no log.
    told: Option<String>,
}

/// What a look at the Lease leads to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is ours: renew.
    Renew,
    /// Nobody has it, or not any more: take it.
    Take,
    /// Somebody has it.
    Wait,
}

/// Decides about a Lease that has been `unchanged` for so long.
fn verdict(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Verdict {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    if holder == identity {
        Verdict::Renew
    } else if holder.is_empty() || unchanged > lasts.map_or(LEASE, Duration::from_secs) {
        Verdict::Take
    } else {
        Verdict::Wait
    }
}

impl Candidate {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let begun = Instant::now();
            let deadline = self.renewed.map_or(begun + REQUEST_TIMEOUT, |renewed| renewed + RENEW_DEADLINE);
            let attempt = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                attempt = timeout(REQUEST_TIMEOUT, self.attempt()) => Some(attempt),
                () = sleep_until(deadline), if self.renewed.is_some() => None,
            };
            match attempt {
                Some(Ok(Ok(leads))) => {
                    self.told = None;
                    self.renewed = leads.then_some(begun);
                }
                Some(Ok(Err(error))) => self.tell(&words(&error)),
                Some(Err(_)) => self.tell(&format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
                None => {}
            }
            if self.renewed.is_some_and(|renewed| renewed.elapsed() >= RENEW_DEADLINE) {
                tracing::warn!("could not renew the lease in time; stopping work until it is held again");
                self.renewed = None;
            }
            self.lead(self.renewed.is_some());
            let pause = sleep(PERIOD.mul_f64(fastrand::f64().mul_add(0.2, 0.9)));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = pause => {}
            }
        }
        if self.renewed.is_some() {
            self.lead(false);
            self.give_back().await;
        }
    }

    fn lead(&self, leads: bool) {
        if self.leading.tell(leads) {
            tracing::info!(identity = self.identity, leads, "leadership changed");
        }
    }

    fn tell(&mut self, error: &str) {
        if self.told.as_deref() != Some(error) {
            let lease = names::LEADER_ELECTION_LEASE;
            tracing::warn!(namespace = self.namespace, lease, error, "leader election failed; trying again");
            self.told = Some(error.to_owned());
        }
    }

    /// Looks, and takes or renews if that is right. Tells whether this process holds the Lease now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(names::LEADER_ELECTION_LEASE).await? else {
            return self.create().await;
        };
        self.look(&lease);
        let Some(seen) = &self.seen else { return Ok(false) };
        let taking = match verdict(&seen.spec, &self.identity, seen.since.elapsed()) {
            Verdict::Wait => return Ok(false),
            Verdict::Take => true,
            Verdict::Renew => false,
        };
        let now = MicroTime(self.clock.now());
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE.as_secs(),
            "renewTime": now,
        });
        if taking {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] =
                json!(seen.spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        self.write(json!({"metadata": {"resourceVersion": seen.version}, "spec": spec})).await
    }

    fn look(&mut self, lease: &Lease) {
        let version = lease.resource_version().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|seen| seen.version != version) {
            let spec = lease.spec.clone().unwrap_or_default();
            self.seen = Some(Seen { version, spec, since: Instant::now() });
        }
    }

    async fn create(&mut self) -> Result<bool, kube::Error> {
        let now = Some(MicroTime(self.clock.now()));
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        let metadata =
            ObjectMeta { name: Some(names::LEADER_ELECTION_LEASE.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(spec) };
        let params =
            PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.held(self.leases.create(&params, &lease).await)
    }

    async fn write(&mut self, patch: serde_json::Value) -> Result<bool, kube::Error> {
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.held(self.leases.patch(names::LEADER_ELECTION_LEASE, &params, &Patch::Merge(patch)).await)
    }

    /// What the answer to a write means: somebody who was faster holds the Lease.
    fn held(&mut self, answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match answer {
            Ok(lease) => {
                self.look(&lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leaves the Lease to whoever comes first, as Kubernetes' components do.
    async fn give_back(&mut self) {
        let Some(version) = self.seen.as_ref().map(|seen| seen.version.clone()) else { return };
        let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": MicroTime(self.clock.now())});
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        match timeout(REQUEST_TIMEOUT, self.write(patch)).await {
            Ok(Ok(_)) => tracing::info!("gave the lease back"),
            Ok(Err(error)) => tracing::warn!(error = words(&error), "could not give the lease back"),
            Err(_) => tracing::warn!("could not give the lease back: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::ours("me", 30, 0, Verdict::Renew)]
    #[case::ours_and_old("me", 30, 300, Verdict::Renew)]
    #[case::free("", 1, 0, Verdict::Take)]
    #[case::fresh("other", 30, 30, Verdict::Wait)]
    #[case::expired("other", 30, 31, Verdict::Take)]
    #[case::longer_than_ours("other", 137, 100, Verdict::Wait)]
    fn a_lease_is_left_alone_while_it_lasts(
        #[case] holder: &str,
        #[case] lasts: i32,
        #[case] unchanged: u64,
        #[case] expected: Verdict,
    ) {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(lasts),
            ..LeaseSpec::default()
        };
        assert_eq!(verdict(&spec, "me", Duration::from_secs(unchanged)), expected);
    }

    #[test]
    fn a_lease_without_a_duration_lasts_as_long_as_ours() {
        let spec = LeaseSpec { holder_identity: Some("other".to_owned()), ..LeaseSpec::default() };
        assert_eq!(verdict(&spec, "me", LEASE), Verdict::Wait);
        assert_eq!(verdict(&LeaseSpec::default(), "me", Duration::ZERO), Verdict::Take);
    }
}
