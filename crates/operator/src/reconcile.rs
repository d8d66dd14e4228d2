//! One loop: wait for news, look, decide, apply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use osc_api::openshift::MachineConfig;
use osc_engine::{Plan, Settings, decide, layout, uninstall};
use tokio_util::sync::CancellationToken;

use crate::apply::{Applier, words};
use crate::cache::{Cache, NotReady, Watches};
use crate::clock::Clock;
use crate::health::Pulse;
use crate::leader::Leadership;
use crate::metrics::Metrics;

/// Everything that a pass needs.
pub struct Reconciler {
    /// The API server.
    pub client: Client,
    /// What is known.
    pub cache: Cache,
    /// What makes it known.
    pub watches: Watches,
    /// What writes.
    pub applier: Applier,
    /// What was chosen at installation.
    pub settings: Settings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is told to Prometheus.
    pub metrics: Metrics,
    /// What is told to the kubelet.
    pub pulse: Pulse,
    /// When the API server last told its release.
    pub release_asked: Option<Timestamp>,
}

/// What a pass leaves behind.
#[derive(Debug)]
enum Outcome {
    /// Nothing to do before the next news, or before that time.
    Done(Option<Timestamp>),
    /// To be tried again, the later the longer nothing succeeds.
    Failed {
        /// Whether something was achieved all the same.
        progress: bool,
    },
    /// Somebody else was faster; to be tried again soon.
    Conflict,
}

/// How soon to look again after somebody else was faster: their change is on its way to the cache.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

impl Reconciler {
    /// Works until cancelled; then gives the Lease back. False: it ended because nobody cares for the Lease any more.
    pub async fn run(mut self, mut leadership: Leadership, cancel: CancellationToken) -> bool {
        let mut delays = retries();
        let mut told = None;
        let mut next = Outcome::Done(None);
        let mut lease_lost = false;
        self.watches.adjust(false);
        loop {
            let pause = self.pause(&next, &mut delays);
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = self.cache.changed() => {}
                alive = leadership.changed() => if !alive {
                    lease_lost = true;
                    break;
                },
                () = sleep(pause) => {}
            }
            self.metrics.queued(true);
            self.metrics.leading(leadership.leads());
            self.pulse.beat();
            next = self.pass(&leadership, &mut told, &cancel).await;
            self.pulse.rest();
            self.metrics.queued(false);
        }
        leadership.release().await;
        !lease_lost
    }

    fn pause(&self, outcome: &Outcome, delays: &mut ExponentialBackoff) -> Option<Duration> {
        match outcome {
            Outcome::Done(wake_at) => {
                *delays = retries();
                wake_at.map(|at| self.clock.real_duration(at.duration_since(self.clock.now())))
            }
            Outcome::Conflict => Some(AFTER_CONFLICT),
            Outcome::Failed { progress } => {
                if *progress {
                    *delays = retries();
                }
                Some(delays.next().unwrap_or(MAX_RETRY))
            }
        }
    }

    async fn pass(
        &mut self,
        leadership: &Leadership,
        told: &mut Option<NotReady>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let started = Instant::now();
        let release = if leadership.leads() { self.ask_release().await } else { Ok(()) };
        let mut observed = match self.cache.observe(self.clock.now()) {
            Ok(observed) => observed,
            Err(reason) => {
                self.watches.adjust(false);
                if told.as_ref() != Some(&reason) {
                    tracing::info!(%reason, "not ready");
                    *told = Some(reason);
                }
                return Outcome::Done(None);
            }
        };
        if told.take().is_some() {
            tracing::info!("ready");
        }
        self.watches.adjust(uninstall::pods_needed(&observed));
        self.metrics.observed(&observed);
        if !leadership.leads() {
            return Outcome::Done(None);
        }
        let release_failed = release.is_err();
        if let Err(error) = release {
            tracing::warn!(error, "the API server does not tell its release; trying again");
            self.metrics.failed("release");
        }
        let needed = layout::rendered_needed(&observed);
        if let Err(error) = self.read_rendered(&needed).await {
            tracing::warn!(error, "cannot read rendered machine configs; trying again");
            self.metrics.failed("rendered");
            return Outcome::Failed { progress: false };
        }
        let looked_again = match self.applier.look_again().await {
            Ok(looked_again) => looked_again,
            Err(error) => {
                tracing::warn!(%error, "cannot see what became of a write; trying again");
                self.metrics.failed(error.category());
                return Outcome::Failed { progress: false };
            }
        };
        if looked_again || !needed.is_empty() {
            match self.cache.observe(self.clock.now()) {
                Ok(newer) => observed = newer,
                Err(_) => return Outcome::Done(None),
            }
        }
        let plan = decide(&observed, &self.settings);
        let mut outcome = self.carry_out(&plan, leadership, cancel).await;
        if release_failed && matches!(outcome, Outcome::Done(_)) {
            outcome = Outcome::Failed { progress: false };
        }
        if !plan.steps.is_empty()
            && let Ok(after) = self.cache.observe(self.clock.now())
        {
            self.metrics.observed(&after);
        }
        let result = match outcome {
            Outcome::Done(_) => "success",
            Outcome::Conflict => "conflict",
            Outcome::Failed { .. } => "error",
        };
        self.metrics.reconciled(result, started.elapsed());
        outcome
    }

    async fn carry_out(&self, plan: &Plan, leadership: &Leadership, cancel: &CancellationToken) -> Outcome {
        for (index, step) in plan.steps.iter().enumerate() {
            if cancel.is_cancelled() || !leadership.leads() {
                return Outcome::Done(None);
            }
            if let Err(error) = self.applier.step(step).await {
                self.metrics.failed(error.category());
                if error.is_conflict() {
                    tracing::info!(%error, "somebody else was faster; looking again");
                    return Outcome::Conflict;
                }
                tracing::warn!(%error, "step failed; trying again");
                return Outcome::Failed { progress: index > 0 };
            }
            self.pulse.beat();
        }
        Outcome::Done(plan.wake_at)
    }

    /// Asks the API server for its release, once in a while, where peer pods are asked for: what it can do matters to them.
    async fn ask_release(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        let known = self.release_asked.is_some_and(|asked| now.duration_since(asked) < RELEASE_LASTS);
        if known || !self.cache.wants_peer_pods() {
            return Ok(());
        }
        let answer = tokio::time::timeout(READ_TIMEOUT, self.client.apiserver_version()).await;
        let version = answer
            .map_err(|_| format!("no answer within {} s", READ_TIMEOUT.as_secs()))?
            .map_err(|error| words(&error))?;
        // Some clusters append a plus sign.
        let digits = version.minor.trim_end_matches(|character: char| !character.is_ascii_digit());
        let minor = digits.parse().map_err(|_| format!("{:?} is no release", version.minor))?;
        self.release_asked = Some(now);
        self.cache.released(minor);
        Ok(())
    }

    /// Reads the extensions of rendered machine configs, each once: they never change.
    async fn read_rendered(&self, needed: &BTreeSet<String>) -> Result<(), String> {
        let api: Api<MachineConfig> = Api::all(self.client.clone());
        for name in self.cache.unknown_rendered(needed) {
            let answer = tokio::time::timeout(READ_TIMEOUT, api.get_opt(&name)).await;
            if let Some(rendered) = answer
                .map_err(|_| format!("no answer within {} s", READ_TIMEOUT.as_secs()))?
                .map_err(|error| words(&error))?
            {
                self.cache.rendered(name, &rendered);
            }
        }
        Ok(())
    }
}

/// How long the API server may take to answer a read: a connection that died silently must not stop the loop.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an answer about the API server's release is believed: updates come with a restart of what is asked.
const RELEASE_LASTS: SignedDuration = SignedDuration::from_hours(1);

const MAX_RETRY: Duration = Duration::from_mins(1);

fn retries() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(MAX_RETRY)
        .with_jitter()
        .without_max_times()
        .build()
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
