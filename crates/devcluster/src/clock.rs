//! Simulated time: the wall clock, or one that runs faster by a constant factor.
//!
//! Everything in the embedded cluster that takes time (a reboot, a drain, a pod start) and every timestamp that
//! its server writes comes from one [`Clock`], so that a rollout of an hour can be watched in a minute.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock whose seconds are `1 / speed` real seconds long.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
    speed: f64,
}

impl Clock {
    /// The wall clock.
    pub fn real() -> Self {
        Self::scaled(1.0, Timestamp::now())
    }

    /// A clock that shows `origin` now and then runs `speed` times as fast as the wall clock.
    ///
    /// A speed that is not a positive finite number counts as 1.
    pub fn scaled(speed: f64, origin: Timestamp) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { origin, started: Instant::now(), speed }
    }

    /// How many simulated seconds pass in one real second.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().mul_f64(self.speed);
        SignedDuration::try_from(elapsed)
            .ok()
            .and_then(|d| self.origin.checked_add(d).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// How long `simulated` lasts on the wall clock.
    pub fn real_duration(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.speed)
    }

    /// Sleeps for a simulated duration.
    pub async fn sleep(&self, simulated: Duration) {
        tokio::time::sleep(self.real_duration(simulated)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_passes_in_a_minute_at_speed_sixty() {
        let origin = Timestamp::from_second(1_000_000).unwrap();
        let clock = Clock::scaled(60.0, origin);
        let before = Instant::now();
        clock.sleep(Duration::from_hours(1)).await;
        assert_eq!(before.elapsed().as_secs(), 60);
        assert_eq!(clock.now().as_second() - origin.as_second(), 3600);
    }

    #[tokio::test]
    async fn a_senseless_speed_counts_as_one() {
        for speed in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert!((Clock::scaled(speed, Timestamp::UNIX_EPOCH).speed() - 1.0).abs() < f64::EPSILON);
        }
    }
}
