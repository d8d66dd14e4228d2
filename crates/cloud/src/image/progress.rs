//! How far the work is, every few seconds.

use std::time::{Duration, Instant};

/// Time between two lines.
const PACE: Duration = Duration::from_secs(5);

/// One piece of work.
pub struct Progress {
    what: &'static str,
    whole: u64,
    told: Instant,
}

impl Progress {
    /// Begins. `whole` is what [`Progress::done`] counts up to.
    pub fn new(what: &'static str, whole: u64) -> Self {
        tracing::info!(mebibytes = whole >> 20, "{what}: begins");
        Self { what, whole, told: Instant::now() }
    }

    /// So much of the whole is done.
    pub fn done(&mut self, done: u64) {
        let percent = done.saturating_mul(100).checked_div(self.whole).unwrap_or(100).min(100);
        self.percent(u8::try_from(percent).unwrap_or(100));
    }

    /// So many percent are done.
    pub fn percent(&mut self, percent: u8) {
        if self.told.elapsed() >= PACE {
            self.told = Instant::now();
            tracing::info!("{}: {percent} %", self.what);
        }
    }
}
