//! Time, so that a simulation can have its own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// How long to sleep on the wall clock for this much time to pass.
    fn real_duration(&self, duration: SignedDuration) -> Duration;
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "this is where the time comes from")]
        Timestamp::now()
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        duration.try_into().unwrap_or_default()
    }
}

/// The time of a simulation: whatever clock it keeps, at its speed.
///
/// A simulation knows nothing of this crate, and this crate nothing of simulations; who uses both joins them here.
pub struct SimulatedTime<F> {
    now: F,
    speed: f64,
}

impl<F: Fn() -> Timestamp> SimulatedTime<F> {
    /// `now` tells the time; `speed` simulated seconds pass in a real one.
    pub fn new(now: F, speed: f64) -> Self {
        Self { now, speed }
    }
}

impl<F: Fn() -> Timestamp + Send + Sync> Clock for SimulatedTime<F> {
    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn real_duration(&self, duration: SignedDuration) -> Duration {
        let seconds = duration.as_secs_f64().max(0.0) / self.speed;
        // What does not fit is far away.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_a_fast_simulation_is_a_short_sleep() {
        let clock = SimulatedTime::new(|| Timestamp::UNIX_EPOCH, 600.0);
        assert_eq!(clock.real_duration(SignedDuration::from_hours(1)), Duration::from_secs(6));
        assert_eq!(clock.real_duration(SignedDuration::from_secs(-1)), Duration::ZERO, "it is over already");
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }
}
