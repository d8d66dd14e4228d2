//! What goes wrong, drawn from a seed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use osc_devcluster::server::{FaultAction, Matcher, RequestInfo, Verb};

use super::between;
use crate::simulation::scenario::SCENARIOS;
use crate::simulation::{OPERATOR, Rig};

/// Identities of the operators of a schedule.
const OPERATORS: [&str; 2] = ["first", "second"];

/// More than that, and a schedule would be about waiting.
const MOST_FAULTS: usize = 400;

/// One schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    /// Index of the scenario.
    pub scenario: usize,
    /// How likely a request of the operator is hit.
    likely: f64,
    /// How likely a request of the simulated controllers is hit.
    likely_for_others: f64,
    /// Two operators compete for the Lease.
    two: bool,
    /// How long it is quiet between two troubles at most.
    pause: Duration,
    /// How many faults have happened.
    pub faults: Arc<AtomicUsize>,
}

fn refusal(code: u16, reason: &str, retry_after: Option<u32>) -> FaultAction {
    FaultAction::Status { code, reason: reason.into(), message: "injected".into(), retry_after }
}

impl Schedule {
    /// The schedule of that number.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            seed,
            scenario: random.usize(..SCENARIOS.len()),
            likely: [0.0, 0.03, 0.1, 0.3][random.usize(..4)],
            likely_for_others: [0.0, 0.0, 0.05][random.usize(..3)],
            two: random.u8(..4) == 0,
            pause: Duration::from_mins([2, 10, 60][random.usize(..3)]),
            faults: Arc::default(),
        }
    }

    /// What it is, for people.
    pub fn in_words(&self) -> String {
        let operators = if self.two { "two operators" } else { "one operator" };
        format!(
            "{} with {operators}; {:.0} % of the operator's requests and {:.0} % of the others' are hit; more trouble at least every {} min",
            SCENARIOS[self.scenario].name,
            self.likely * 100.0,
            self.likely_for_others * 100.0,
            self.pause.as_secs() / 60
        )
    }

    /// Makes trouble until the people of the scenario have what they wanted; leaves everything in order then.
    pub async fn trouble(self, rig: Rig) {
        if self.two {
            rig.kill_operator(OPERATORS[0]).await;
            for identity in OPERATORS {
                rig.start_operator(identity, true);
            }
        }
        self.hit_requests(&rig);
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        loop {
            let pause = between(&mut random, Duration::from_secs(1), self.pause);
            tokio::select! {
                biased;
                () = rig.satisfied() => break,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                biased;
                () = rig.satisfied() => break,
                () = self.happen(&rig, &mut random) => {}
            }
        }
        self.put_in_order(&rig).await;
    }

    fn hit_requests(&self, rig: &Rig) {
        let random = Mutex::new(fastrand::Rng::with_seed(self.seed ^ 0xfa17));
        let (likely, others, faults) = (self.likely, self.likely_for_others, self.faults.clone());
        rig.cluster().server().faults().set_hook(Arc::new(move |request| {
            let mut random = random.lock().unwrap();
            let operator = request.user_agent.starts_with(OPERATOR);
            let likely = if operator { likely } else { others };
            let hit = request.user_agent != "user" && random.f64() < likely;
            if !hit || faults.load(Ordering::Relaxed) >= MOST_FAULTS {
                return None;
            }
            faults.fetch_add(1, Ordering::Relaxed);
            Some(if operator { fault(request, &mut random) } else { mild(&mut random) })
        }));
    }

    /// One thing that goes wrong by itself.
    async fn happen(&self, rig: &Rig, random: &mut fastrand::Rng) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let faults = rig.cluster().server().faults();
        let operators = Matcher { user_agent: Some(OPERATOR.to_owned()), ..Matcher::default() };
        let identity = OPERATORS[random.usize(..if self.two { 2 } else { 1 })];
        match random.u8(..8) {
            0 => drop(faults.cut_watches(&operators)),
            1 => drop(faults.expire_watches(&operators)),
            2 => {
                // Expired for good: whoever resumes has to list again.
                rig.cluster().server().compact();
                faults.cut_watches(&Matcher::default());
            }
            3 => {
                faults.pause_all();
                tokio::time::sleep(between(random, Duration::from_secs(1), Duration::from_mins(15))).await;
                faults.resume_all();
            }
            4 | 5 => {
                rig.kill_operator(identity).await;
                tokio::time::sleep(between(random, Duration::ZERO, Duration::from_mins(20))).await;
                rig.start_operator(identity, self.two);
            }
            6 => rig.set_clock_wrong(random.i64(-90_000..90_000)),
            _ => rig.set_clock_wrong(random.i64(-120..120)),
        }
    }

    async fn put_in_order(&self, rig: &Rig) {
        let faults = rig.cluster().server().faults();
        faults.clear();
        faults.resume_all();
        rig.set_clock_wrong(0);
        // Whatever still hangs or lags would do so for minutes: begin anew.
        for identity in OPERATORS.iter().take(if self.two { 2 } else { 1 }) {
            rig.kill_operator(identity).await;
            rig.start_operator(identity, self.two);
        }
        faults.cut_watches(&Matcher::default());
    }
}

/// What happens to a request of the operator.
fn fault(request: &RequestInfo, random: &mut fastrand::Rng) -> FaultAction {
    let seconds = u64::from(random.u8(1..90));
    if request.verb == Verb::Watch {
        return match random.u8(..6) {
            0 => FaultAction::CutWatch,
            1 => FaultAction::GoneWatch,
            2 => FaultAction::Hang,
            3 => refusal(500, "InternalError", None),
            4 => FaultAction::Drop,
            _ => FaultAction::LagWatch(Duration::from_secs(seconds)),
        };
    }
    match random.u8(..9) {
        0 if request.verb.is_write() => refusal(409, "Conflict", None),
        1 => refusal(429, "TooManyRequests", Some(random.u32(1..5))),
        2 => refusal(500, "InternalError", None),
        3 => refusal(503, "ServiceUnavailable", None),
        4 => refusal(504, "Timeout", None),
        5 => FaultAction::DropAfter,
        6 => FaultAction::Hang,
        7 => FaultAction::Delay(Duration::from_secs(seconds)),
        _ => FaultAction::Drop,
    }
}

/// What happens to a request of somebody else: they are not on trial, and only have to be in the way.
fn mild(random: &mut fastrand::Rng) -> FaultAction {
    match random.u8(..3) {
        0 => refusal(500, "InternalError", None),
        1 => FaultAction::DropAfter,
        _ => FaultAction::Drop,
    }
}
