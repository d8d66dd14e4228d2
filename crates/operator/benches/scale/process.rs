//! The operator as a process, and what the kernel says of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Clock ticks a second in /proc: fixed in the kernel's interface.
const TICKS: f64 = 100.0;

/// Ends when dropped.
pub struct Operator(Child);

impl Operator {
    /// Starts the operator.
    pub fn start(kubeconfig: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_osc-operator"))
            .args(["--metrics-bind-address", "0"])
            .env("KUBECONFIG", kubeconfig)
            .env("RELATED_IMAGE_KATA_MONITOR", "monitor@sha256:0")
            .env("RUST_LOG", "error")
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the operator starts");
        Self(child)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("the operator runs")
    }

    fn memory(&self, field: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }

    /// Peak resident memory in MB.
    pub fn peak_memory(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// Resident memory in MB now.
    pub fn resident_memory(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = self.read("stat");
        // The name, in parentheses, may contain anything; the fields behind it are counted from 3.
        let fields = stat.rsplit_once(')').unwrap().1;
        let ticks: f64 =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
        Duration::from_secs_f64(ticks / TICKS)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
