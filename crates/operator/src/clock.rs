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
