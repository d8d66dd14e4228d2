//! Tells stories as trials, and judges the operator's rights when all of them were told on real control planes.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex};

use futures::FutureExt;
use libtest_mimic::{Arguments, Failed, Trial};
use osc_api::names;
use osc_devcluster::sim::topology::Kind;

use super::{Beginning, Story};
use crate::bed::{self, Bed, On, Server};
use crate::rights::audit::{self, Evidence};
use crate::rights::{self, Verdict, grants};

/// Control planes that run at one time: three processes each, which take a core to start.
const REAL_AT_ONCE: usize = 2;

/// Embedded clusters that run at one time; they mostly wait for simulated time to pass.
const EMBEDDED_AT_ONCE: usize = 4;

/// What the operator did in the stories told so far on real control planes.
#[derive(Default)]
struct Seen {
    stories: usize,
    evidence: Evidence,
}

/// What came of telling stories.
pub struct Telling {
    /// Whether no story failed.
    pub passed: bool,
    /// What the operator's rights look like, if all real stories were told.
    pub rights: Option<Verdict>,
}

/// The test of the workspace: everything that the arguments of `cargo test` select.
pub fn harness() -> ExitCode {
    let told = tell(&Arguments::from_args());
    let rights_hold = told.rights.as_ref().is_none_or(Verdict::holds);
    if told.passed && rights_hold { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// Tells every story on real control planes.
pub fn tell_all() -> Telling {
    tell(&Arguments { filter: Some("real::".to_owned()), ..Arguments::default() })
}

fn tell(arguments: &Arguments) -> Telling {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let trials = trials(&seen);
    // A story waits in its thread until its turn comes, so that there must be one for each.
    let threads = arguments.test_threads.unwrap_or(trials.len());
    let arguments = Arguments { test_threads: Some(threads), ..arguments.clone() };
    let conclusion = libtest_mimic::run(&arguments, trials);
    let passed = !conclusion.has_failed();
    if arguments.list {
        return Telling { passed, rights: None };
    }
    if arguments.filter.is_none() {
        told_on_one_server();
    }
    let seen = seen.lock().unwrap();
    let all = super::all().iter().filter(|story| story.is_told(On::Real)).count();
    let rights = (seen.stories == all).then(|| judge(&seen.evidence));
    match &rights {
        Some(verdict) => println!("{verdict}"),
        None => println!(
            "rbac: not judged, as {} of {all} stories on real control planes were told to their end",
            seen.stories
        ),
    }
    Telling { passed, rights }
}

fn judge(evidence: &Evidence) -> Verdict {
    let granted = grants::of(&bed::manifests(), names::OPERATOR_NAMESPACE, names::OPERATOR_NAME);
    Verdict::new(&granted, evidence)
}

/// What is not told everywhere is said, with the reason.
fn told_on_one_server() {
    for story in super::all() {
        if let Some((on, why)) = story.only {
            println!("on the {on} server only: {}: {why}", story.name);
        }
    }
}

fn trials(seen: &Arc<Mutex<Seen>>) -> Vec<Trial> {
    // Real ones first: they take longest.
    let servers = [(On::Real, REAL_AT_ONCE), (On::Embedded, EMBEDDED_AT_ONCE)];
    let mut trials = Vec::new();
    for (on, at_once) in servers {
        let turns = Arc::new(Turns::new(at_once));
        for story in super::all().into_iter().filter(|story| story.is_told(on)) {
            let (turns, seen) = (turns.clone(), seen.clone());
            let name = format!("{on}::{}", story.name);
            trials.push(Trial::test(name, move || turns.take(|| run(&story, on, &seen))));
        }
    }
    trials
}

/// So many may run at one time.
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Turns {
    fn new(free: usize) -> Self {
        Self { free: Mutex::new(free), freed: Condvar::new() }
    }

    fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.freed.wait_while(self.free.lock().unwrap(), |free| *free == 0).unwrap();
        *free -= 1;
        drop(free);
        let result = work();
        *self.free.lock().unwrap() += 1;
        self.freed.notify_one();
        result
    }
}

fn run(story: &Story, on: On, seen: &Mutex<Seen>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(AssertUnwindSafe(tell_one(story, on)).catch_unwind());
    match told {
        Ok(Ok(evidence)) => {
            let mut seen = seen.lock().unwrap();
            seen.stories += usize::from(on == On::Real);
            seen.evidence.merge(evidence);
            Ok(())
        }
        Ok(Err(failed)) => Err(failed),
        Err(panic) => Err(words(&*panic).into()),
    }
}

/// What the operator did in a story, as far as its server tells.
async fn tell_one(story: &Story, on: On) -> Result<Evidence, Failed> {
    let mut bed = begin(story, on).await;
    let told = AssertUnwindSafe((story.tell)(&mut bed)).catch_unwind().await;
    if let Err(panic) = told {
        let evidence = evidence(&bed.server);
        return Err(format!("{}{}", words(&*panic), refusals(&evidence)).into());
    }
    let server = bed.stop_clients().await;
    let mut evidence = evidence(&server);
    server.stop().await;
    if story.takes_rights {
        evidence.refused.clear();
    }
    if evidence.refused.is_empty() { Ok(evidence) } else { Err(refusals(&evidence).into()) }
}

async fn begin(story: &Story, on: On) -> Bed {
    let mut bed = Bed::bare(on, &story.topology).await;
    if story.beginning != Beginning::Bare {
        let homeless = bed.install().await;
        let complete =
            homeless.is_empty() || matches!(story.topology.kind, Kind::PlainKubernetes | Kind::K3s);
        assert!(complete, "deploy/ cannot be applied: {homeless:#?}");
    }
    if story.beginning == Beginning::Operator {
        bed.run_operator(bed::options()).await;
    }
    bed
}

fn evidence(server: &Server) -> Evidence {
    match server {
        Server::Embedded(_) => Evidence::default(),
        Server::Real(plane) => {
            let log = std::fs::File::open(plane.audit_log()).unwrap();
            audit::read(std::io::BufReader::new(log), &rights::operator())
        }
    }
}

fn refusals(evidence: &Evidence) -> String {
    let lines: Vec<String> =
        evidence.refused.iter().map(|refused| format!("\nthe operator was refused: {refused}")).collect();
    lines.concat()
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked without words").to_owned()
}
