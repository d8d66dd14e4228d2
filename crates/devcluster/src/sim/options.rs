//! How a simulation is set up: its clock, its durations, its seed.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::program::Program;
use crate::Clock;

/// Settings of [`run`](super::run).
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Source of every duration and of every timestamp that the simulation writes.
    pub clock: Clock,
    /// How long things take.
    pub timing: Timing,
    /// Everything that varies (reboot times, boot identifiers) is derived from it and from names, so that two runs
    /// with one seed behave alike.
    pub seed: u64,
    /// Shows `Rebooting` instead of `Working` in a node's state annotation while it reboots, as some releases of
    /// the Machine Config Operator do.
    pub report_rebooting: bool,
    /// The cluster is known in part only, as one that was [adopted](super::adopt) is. What is left out is taken for
    /// granted: config maps and secrets that pods refer to exist, and nodes have all the CPU and memory that is
    /// asked for.
    pub partial: bool,
    /// What runs in pods; of two that take the same pod, the first.
    pub programs: Vec<Arc<dyn Program>>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            clock: Clock::real(),
            timing: Timing::default(),
            seed: 0,
            report_rebooting: false,
            partial: false,
            programs: Vec::new(),
        }
    }
}

/// Simulated durations.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// From a change of machine configs to the rendered one.
    pub render: Duration,
    /// Until the Machine Config Operator or a node's daemon notices a change.
    pub sync_delay: Duration,
    /// The least that a drain takes; pods that hold out make it longer.
    pub drain: Duration,
    /// Between two attempts to evict a pod.
    pub drain_retry: Duration,
    /// After this long without a finished drain the node is reported as degraded. The drain goes on.
    pub drain_timeout: Duration,
    /// From the drained node to the ready one: a quarter of it applies the update, the rest is the reboot.
    pub reboot: Duration,
    /// How much a node's reboot deviates from `reboot` at most: 0.2 is plus or minus 20 %.
    pub reboot_spread: f64,
    /// From the binding of a pod until it is ready.
    pub pod_start: Duration,
    /// From a pod's deletion until it is gone.
    pub pod_stop: Duration,
    /// How long the pod of a Job runs when no script says otherwise.
    pub job: Duration,
    /// How long a node agent takes to install or remove Kata.
    pub agent: Duration,
    /// Until the controllers of workloads react.
    pub workload_delay: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            render: Duration::from_secs(5),
            sync_delay: Duration::from_millis(2500),
            drain: Duration::from_secs(30),
            drain_retry: Duration::from_secs(5),
            drain_timeout: Duration::from_hours(1),
            reboot: Duration::from_mins(8),
            reboot_spread: 0.2,
            pod_start: Duration::from_secs(3),
            pod_stop: Duration::from_secs(2),
            job: Duration::from_secs(10),
            agent: Duration::from_secs(90),
            workload_delay: Duration::from_millis(500),
        }
    }
}

impl Timing {
    /// How long one node takes to apply an update and reboot.
    pub fn reboot_of(&self, seed: u64, node: &str, factor: f64) -> Duration {
        let spread = if self.reboot_spread.is_finite() { self.reboot_spread.clamp(0.0, 0.9) } else { 0.0 };
        let unit = f64::from(draw(&[&seed.to_string(), "reboot", node])) / f64::from(u32::MAX);
        let factor = if factor.is_finite() && factor >= 0.0 { factor.min(1e6) } else { 1.0 };
        self.reboot.mul_f64((1.0 + spread * (2.0 * unit - 1.0)) * factor)
    }
}

/// A number that depends on nothing but `parts`.
pub(crate) fn draw(parts: &[&str]) -> u32 {
    let digest = digest(parts);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Lower-case hexadecimal characters, at most 64, that depend on nothing but `parts`.
pub(crate) fn hex(parts: &[&str], length: usize) -> String {
    use std::fmt::Write as _;
    let mut text = digest(parts).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.truncate(length);
    text
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_varies_within_its_spread_and_never_by_chance() {
        let timing = Timing::default();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            let node = format!("worker-{number}");
            let time = timing.reboot_of(7, &node, 1.0);
            assert!(time >= timing.reboot.mul_f64(0.8) && time <= timing.reboot.mul_f64(1.2), "{time:?}");
            assert_eq!(time, timing.reboot_of(7, &node, 1.0));
            let slow = timing.reboot_of(7, &node, 3.0);
            assert!(slow.abs_diff(time * 3) < Duration::from_micros(1), "{slow:?}");
            seen.insert(time);
        }
        assert!(seen.len() > 90);
    }

    #[test]
    fn senseless_factors_count_as_one() {
        let timing = Timing { reboot_spread: f64::NAN, ..Timing::default() };
        assert_eq!(timing.reboot_of(0, "n", f64::NAN), timing.reboot);
        assert_eq!(timing.reboot_of(0, "n", -1.0), timing.reboot);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(hex(&["ab", "c"], 32), hex(&["a", "bc"], 32));
        assert_eq!(hex(&["x"], 5).len(), 5);
    }
}
