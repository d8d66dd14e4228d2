//! What answering costs: `cargo bench -p osc-admission` prints it and writes docs/performance.md.
//!
//! Each server is a process of its own: the operator's webhooks, and `osc-webhook`. Clients are threads, each with one connection with TLS that stays open, as those of
//! API servers do. Each question is due at its time, whether or not the one before was answered late: what is measured is
//! the time from when it was due to when its answer was there. Then the same as fast as it goes.
//!
//! Of a hundred questions to the operator, ninety are about pods (with the memory overhead asked for), five about a KataConfig that is
//! created and five about one that is changed. Of ten to `osc-webhook`, nine are about peer pods, which it changes. Memory and processor time are the kernel's figures.

// A measurement that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod page;
#[path = "../../tests/webhook/process.rs"]
mod process;
mod questions;
mod server;

use std::path::Path;
use std::time::Duration;

/// Questions a second that are to be answered.
const RATE: u32 = 5_000;
const CONNECTIONS: u32 = 8;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(20);

/// What was measured.
pub struct Figures {
    server: &'static str,
    /// Answers a second while questions came at their times.
    achieved: f64,
    /// From due to answered, sorted.
    latencies: Vec<Duration>,
    /// The server's processor time for one answer.
    busy: Duration,
    /// High-water mark of the server's memory in MB.
    peak: f64,
    /// Answers a second when nobody waits.
    most: f64,
}

impl Figures {
    /// In milliseconds.
    fn percentile(&self, part: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = (self.latencies.len() as f64 * part / 100.0) as usize;
        self.latencies[index.min(self.latencies.len() - 1)].as_secs_f64() * 1e3
    }
}

fn main() {
    let mut arguments = std::env::args();
    if arguments.any(|argument| argument == server::FLAG) {
        return server::run();
    }
    // `cargo test --benches` runs this with --test: not the place for measuring.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let figures = [server::Process::operator, server::Process::webhook].map(|start| measure(&start()));
    print!("{}", page::table(&figures));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    page::write(&root, &figures).unwrap();
}

fn measure(server: &server::Process) -> Figures {
    client::ask(server, WARM_UP, Some(RATE), CONNECTIONS);
    let before = server.processor_time();
    let (achieved, mut latencies) = client::ask(server, MEASURED, Some(RATE), CONNECTIONS);
    let answers = u32::try_from(latencies.len()).unwrap();
    let busy = server.processor_time().saturating_sub(before) / answers;
    latencies.sort();
    let (most, _) = client::ask(server, MEASURED / 4, None, CONNECTIONS);
    Figures { server: server.name, achieved, latencies, busy, peak: server.peak_memory(), most }
}
