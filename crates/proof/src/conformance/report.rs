//! What a run found, in words.

use std::fmt;

use serde_json::Value;
use similar::TextDiff;

use super::case::{Case, Observation};
use super::exemptions;
use super::trial::Step;

/// The outcome of a run.
pub struct Report {
    /// Subject by subject.
    pub subjects: Vec<SubjectReport>,
}

/// The outcome of one subject.
pub struct SubjectReport {
    /// Its name.
    pub name: &'static str,
    /// How many cases ran.
    pub cases: usize,
    /// The cases that are not simply equal.
    pub findings: Vec<Finding>,
}

/// A case that showed a difference.
pub struct Finding {
    /// The case.
    pub case: String,
    /// Why it is meant to differ; none if it is a defect.
    pub exempt: Option<&'static str>,
    /// The difference, to be read.
    pub text: String,
}

impl Finding {
    /// Compares what the two sides showed.
    pub fn of(case: &Case, embedded: &Observation, real: &Observation) -> Option<Self> {
        let failures: Vec<String> = [("embedded", embedded), ("real", real)]
            .into_iter()
            .filter_map(|(side, seen)| Some(format!("on the {side} server: {}\n", seen.failure.as_deref()?)))
            .collect();
        let text =
            if failures.is_empty() { difference(&embedded.steps, &real.steps) } else { failures.concat() };
        let finding = |exempt, text| Some(Self { case: case.name.clone(), exempt, text });
        match (text.is_empty(), case.exempt) {
            (true, None) => None,
            (true, Some(why)) => {
                finding(None, format!("no difference any more; take the exemption away: {why}\n"))
            }
            // An exemption is for what is observed; what has to hold on both sides has to hold.
            (false, why) => finding(why.filter(|_| failures.is_empty()), text),
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The first steps that differ, and how.
fn difference(embedded: &[Step], real: &[Step]) -> String {
    let mut text = String::new();
    for index in 0..embedded.len().max(real.len()) {
        let (ours, theirs) = (embedded.get(index), real.get(index));
        if ours == theirs {
            continue;
        }
        let what = ours.or(theirs).map_or("", |step| &step.what);
        let show = |step: Option<&Step>| {
            step.map_or_else(|| "nothing".to_owned(), |step| format!("{}\n{}", step.what, pretty(&step.seen)))
        };
        let diff =
            TextDiff::from_lines(&show(theirs), &show(ours)).unified_diff().context_radius(4).to_string();
        text.push_str(&format!("  step {}: {what}\n", index + 1));
        for line in diff.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

impl Report {
    /// How many cases ran.
    pub fn cases(&self) -> usize {
        self.subjects.iter().map(|subject| subject.cases).sum()
    }

    /// How many cases differ that should not.
    pub fn differences(&self) -> usize {
        self.findings().filter(|(_, finding)| finding.exempt.is_none()).count()
    }

    fn findings(&self) -> impl Iterator<Item = (&SubjectReport, &Finding)> {
        self.subjects
            .iter()
            .flat_map(|subject| subject.findings.iter().map(move |finding| (subject, finding)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for subject in &self.subjects {
            let exempted = subject.findings.iter().filter(|finding| finding.exempt.is_some()).count();
            let exempted = if exempted == 0 { String::new() } else { format!(", {exempted} exempted") };
            writeln!(f, "{:<24} {:>3} cases{exempted}", subject.name, subject.cases)?;
        }
        writeln!(f, "\nNot compared, because Kubernetes changed it after 1.20:")?;
        for (what, why) in exemptions::FIELDS {
            writeln!(f, "  {what}: {why}")?;
        }
        for (subject, finding) in self.findings() {
            if let Some(why) = finding.exempt {
                writeln!(f, "  {}: {}: {why}", subject.name, finding.case)?;
            }
        }
        for (subject, finding) in self.findings().filter(|(_, finding)| finding.exempt.is_none()) {
            writeln!(f, "\nDIFFERENCE in {}: {} (- real, + embedded)", subject.name, finding.case)?;
            write!(f, "{}", finding.text)?;
        }
        writeln!(f, "\nconformance: {} cases, {} differences", self.cases(), self.differences())
    }
}
