//! The servers as processes, and what the kernel says of it.

use std::any::Any;
use std::io::{BufRead, BufReader, Write as _};
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use osc_admission::certificate::Current;
use osc_admission::certificate::authority::{Bundle, Lifetimes, Next};
use osc_admission::memory_overhead::{self, Overhead};
use osc_admission::{Server, kata_config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process;
use crate::questions::{self, Question};

/// Makes this program the server.
pub const FLAG: &str = "--serve";
/// Clock ticks a second in /proc: fixed in the kernel's interface.
const TICKS: f64 = 100.0;

/// Serves until the end of its input. Says first where, and whom to trust.
#[tokio::main]
pub async fn run() {
    let (names, lifetimes) = (["127.0.0.1".to_owned()], Lifetimes::default());
    let mut bundle = Bundle::default();
    for step in [Next::Authority, Next::Leaf(0)] {
        bundle.take(step, &names, Timestamp::now(), &lifetimes).unwrap();
    }
    let certificate = Current::default();
    certificate.set(bundle.serving().unwrap().unwrap());
    let overhead = Overhead {
        megabytes: NonZeroU32::new(350).unwrap(),
        runtime_classes: ["kata".to_owned()].into(),
        own_namespace: "openshift-sandboxed-containers-operator".to_owned(),
    };
    let server = Server::new(certificate)
        .route("/validate-kataconfiguration-openshift-io-v1-kataconfig", |request| async move {
            kata_config::review(&request, &[])
        })
        .route("/mutate-pods-v1", move |request| {
            std::future::ready(memory_overhead::review(&request, Some(&overhead)))
        });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    print!("{}", bundle.stored().authorities);
    println!();
    std::io::stdout().flush().unwrap();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        stop.cancel();
    });
    server.serve(listener, cancel).await.unwrap();
}

/// Ends when dropped.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that runs. Ends when dropped.
pub struct Process {
    /// What it is.
    pub name: &'static str,
    id: u32,
    /// Where it serves.
    pub address: String,
    /// Whom to trust.
    pub trusted: String,
    /// A round of what it is asked.
    pub questions: fn() -> Vec<Question>,
    _ends: Box<dyn Any + Sync>,
}

impl Process {
    /// The webhooks of the operator, without the rest of it.
    pub fn operator() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().expect("the server says where it serves");
        let trusted: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        Self {
            name: "operator",
            id: child.id(),
            address,
            trusted: trusted.join("\n"),
            questions: questions::of_operator,
            _ends: Box::new(Own(child)),
        }
    }

    /// The webhook of peer pods, as it is shipped.
    pub fn webhook() -> Self {
        let (folder, stored) = (tempfile::tempdir().unwrap(), process::certificates());
        process::put(folder.path(), &stored);
        let mut command = process::command(folder.path());
        command.env("RUST_LOG", "info");
        let webhook = process::Webhook::start(command);
        // It looks at the directory as soon as it serves.
        std::thread::sleep(Duration::from_millis(200));
        Self {
            name: "osc-webhook",
            id: webhook.child.id(),
            address: webhook.address.clone(),
            trusted: stored.authorities,
            questions: questions::of_webhook,
            _ends: Box::new((Mutex::new(webhook), folder)),
        }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.id)).expect("the server runs")
    }

    /// Peak resident memory in MB.
    pub fn peak_memory(&self) -> f64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
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
