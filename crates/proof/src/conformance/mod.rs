//! API conformance: the same requests to the embedded server and to a real kube-apiserver, and what differs.
//!
//! A [`case`] is a short script of requests. It runs against both [`sides`] in a namespace of its own; every request
//! and its answer, or every event of a watch, becomes a step of what was observed. Values that no two servers share are
//! replaced by stable placeholders ([`normalise`]), and the two observations have to be equal. Besides, a case asserts
//! its essential outcome on each side, so that two servers which fail alike do not pass.
//!
//! Compared are status codes, reasons, `details` with the reason and field of every cause, and whole objects with
//! their field ownership. The wording of a message is compared where clients and people rely on it (404, 403, 409, 410
//! and what a webhook says); elsewhere Kubernetes itself rewords it from release to release, and it is left out.
//!
//! The real server is Kubernetes 1.20; the embedded one follows newer releases where they changed. Each such difference
//! is named in [`exemptions`] and printed with the report.

pub mod case;
pub mod exemptions;
mod kubectl;
pub mod normalise;
mod python;
pub mod report;
pub mod sides;
mod stream;
mod subjects;
pub mod trial;
// The same server as in the embedded server's own tests.
#[path = "../../../devcluster/tests/it/webhook_server.rs"]
mod webhook_server;

use std::sync::Arc;

use futures::StreamExt as _;

use case::{Case, Subject};
pub use report::Report;
use report::{Finding, SubjectReport};
use sides::Sides;
use trial::Trial;

/// How many cases run at the same time. More gain nothing on two cores and make a server slow to answer.
const AT_ONCE: usize = 8;

/// Arguments of `cargo xtask conformance`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the cases whose `subject: name` contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// Runs the suite and prints its report. False if there is a difference.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    // A case ends by a panic when an assertion does not hold; the report says so in its place.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(examine(arguments.filter.as_deref()));
    print!("{report}");
    anyhow::ensure!(
        report.cases() > 0,
        "no case matches; `cargo xtask conformance` without --filter names the subjects"
    );
    Ok(report.differences() == 0)
}

/// Runs the suite, or the cases whose `subject: name` contains `filter`, on servers of its own.
pub async fn examine(filter: Option<&str>) -> Report {
    let sides = Sides::start().await;
    let mut subjects = Vec::new();
    for subject in subjects::all() {
        let subject = subject.filtered(filter);
        if !subject.cases.is_empty() {
            subjects.push(self::subject(&sides, subject).await);
        }
    }
    Report { subjects }
}

async fn subject(sides: &Sides, subject: Subject) -> SubjectReport {
    let name = subject.name;
    let cases = subject.cases.len();
    let (alone, together): (Vec<Case>, Vec<Case>) = subject.cases.into_iter().partition(|case| case.alone);
    let mut findings: Vec<(usize, Option<Finding>)> = futures::stream::iter(together)
        .map(|case| async move { (case.number, compare(sides, name, &case).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for case in alone {
        findings.push((case.number, compare(sides, name, &case).await));
    }
    findings.sort_by_key(|(number, _)| *number);
    let findings = findings.into_iter().filter_map(|(_, finding)| finding).collect();
    SubjectReport { name, cases, findings }
}

/// Runs one case on both sides.
async fn compare(sides: &Sides, subject: &str, case: &Case) -> Option<Finding> {
    let id = format!("{}-{:02}", subject.replace(' ', "-"), case.number);
    let one = |side: &Arc<sides::Side>| {
        let trial = Trial::new(side.clone(), &id);
        case.observe(trial)
    };
    let (embedded, real) = tokio::join!(one(&sides.embedded), one(&sides.real));
    Finding::of(case, &embedded, &real)
}
