//! `osc-webhook` as a process, on ports of its own, with certificates of an authority of its own. The benchmark has it, too.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use jiff::Timestamp;
use osc_admission::certificate::authority::{Bundle, Lifetimes, Next, Stored};
use serde_json::Value;

/// An authority, and a certificate for the loopback address.
pub fn certificates() -> Stored {
    let (names, lifetimes) = (["127.0.0.1".to_owned()], Lifetimes::default());
    let mut bundle = Bundle::default();
    for step in [Next::Authority, Next::Leaf(0)] {
        bundle.take(step, &names, Timestamp::now(), &lifetimes).unwrap();
    }
    bundle.stored()
}

/// Puts them where the process looks for them.
pub fn put(folder: &Path, stored: &Stored) {
    std::fs::write(folder.join("tls.crt"), &stored.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &stored.key).unwrap();
}

/// One that does not serve yet.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc-webhook"));
    for flag in ["--webhook-bind-address", "--health-probe-bind-address", "--metrics-bind-address"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.arg("--cert-dir").arg(folder).args(["--cert-period-ms", "20"]);
    command.env_clear().env("RUST_LOG", "debug").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Ends when dropped.
pub struct Webhook {
    /// The process.
    pub child: Child,
    /// Where it answers reviews.
    pub address: String,
    /// Where it tells how it is.
    #[allow(dead_code, reason = "the benchmark does not ask")]
    pub health: String,
    /// Where it tells its figures.
    #[allow(dead_code, reason = "the benchmark does not ask")]
    pub metrics: String,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Webhook {
    /// Starts one, and waits until it serves.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (address, health, metrics) = Default::default();
        let mut webhook = Self { child, address, health, metrics, lines, seen: Vec::new() };
        webhook.wait();
        webhook
    }

    fn wait(&mut self) {
        while self.address.is_empty() {
            let line = self.lines.recv().unwrap_or_else(|_| panic!("it ended: {:?}", self.seen));
            let fields: Value = serde_json::from_str(&line).unwrap_or_default();
            self.seen.push(line);
            let fields = &fields["fields"];
            if fields["message"] == "serving" {
                let text = |name: &str| fields[name].as_str().unwrap().to_owned();
                (self.address, self.health, self.metrics) =
                    (text("webhook"), text("health"), text("metrics"));
            }
        }
    }

    /// What it has logged so far.
    #[allow(dead_code, reason = "the benchmark does not ask")]
    pub fn log(&mut self) -> &[String] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
