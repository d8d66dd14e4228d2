//! One thing that was found, in words that a person can act on.

use serde::Serialize;

use crate::view::style;

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It will not get done as it stands.
    Blocks,
    /// It will get done, but not as one might expect.
    Warns,
    /// Good to know.
    Info,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What was found, in a sentence.
    pub what: String,
    /// The objects that it is about: `Node worker-0`, `Pod shop/db-0 on worker-3`.
    #[serde(rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// Why it matters.
    pub why: String,
    /// What to do about it.
    #[serde(rename = "do")]
    pub remedy: String,
    /// The command that does it, or that shows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Finding {
    fn new(severity: Severity, reason: &'static str, what: impl Into<String>) -> Self {
        Self {
            severity,
            reason,
            what: what.into(),
            places: Vec::new(),
            why: String::new(),
            remedy: String::new(),
            command: None,
        }
    }

    /// Something that keeps it from getting done.
    pub fn blocks(reason: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Blocks, reason, what)
    }

    /// Something that one might not expect.
    pub fn warns(reason: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Warns, reason, what)
    }

    /// Something that is good to know.
    pub fn info(reason: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Info, reason, what)
    }

    /// Names an object that it is about.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.places.push(place.into());
        self
    }

    /// Names the objects that it is about.
    pub fn at_all(mut self, places: impl IntoIterator<Item = String>) -> Self {
        self.places.extend(places);
        self
    }

    /// Says why it matters.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Says what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says by which command.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// How many places are listed before the rest is counted.
const PLACES: usize = 5;
const WIDTH: usize = 100;

/// The findings as text: a headline each, and below it where, why and what to do.
pub fn lines(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let head = match finding.severity {
            Severity::Blocks => style::bad("BLOCKS"),
            Severity::Warns => style::busy("WARNS "),
            Severity::Info => style::dim("INFO  "),
        };
        let mut what = wrapped(&finding.what, WIDTH - 8).into_iter();
        lines.push(format!("{head}  {}", what.next().unwrap_or_default()));
        lines.extend(what.map(|line| format!("        {line}")));
        paragraph(&mut lines, "where", &places(&finding.places));
        paragraph(&mut lines, "why", &finding.why);
        paragraph(&mut lines, "do", &finding.remedy);
        if let Some(command) = &finding.command {
            lines.push(format!("               $ {}", style::command(command)));
        }
    }
    lines
}

fn paragraph(lines: &mut Vec<String>, title: &str, text: &str) {
    for (index, line) in wrapped(text, WIDTH - 15).iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        lines.push(format!("        {}  {line}", style::dim(&format!("{title:<5}"))));
    }
}

fn places(places: &[String]) -> String {
    let told = places.iter().take(PLACES).cloned().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(PLACES) {
        0 => told,
        more => format!("{told}, and {more} more (-o json has all)"),
    }
}

/// Words in lines of at most `width` characters, where they fit.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_from_the_headline_to_the_command() {
        let finding = Finding::blocks("PoolPaused", "MachineConfigPool kata-oc is paused")
            .at_all((0..7).map(|number| format!("Node w{number}")))
            .why("No node of it is changed while it is paused.")
            .remedy("Let it go on.")
            .command("oc patch mcp kata-oc");
        let text = lines(&[finding]).join("\n");
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "BLOCKS  MachineConfigPool kata-oc is paused\n        where  Node w0, Node w1, Node w2, Node w3, Node w4, \
             and 2 more (-o json has all)\n        why    No node of it is changed while it is paused.\n        do     \
             Let it go on.\n               $ oc patch mcp kata-oc"
        );
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("aaaaaaaa b", 5), ["aaaaaaaa", "b"]);
        assert!(wrapped("", 5).is_empty());
    }
}
