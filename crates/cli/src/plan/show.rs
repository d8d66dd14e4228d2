//! The plan for a person: the verdict first, then what blocks, who reboots when, and what there is in the end.

use std::collections::BTreeSet;

use super::diff::{Difference, Fate, roles};
use super::{Plan, Reboot, Relief, Stop};
use crate::preflight::Intent;
use crate::preflight::finding::{self, Finding, Severity, wrapped};
use crate::table::aligned;
use crate::view::style;

/// More reboots than this are told in groups.
const SINGLY: usize = 12;
/// Reboots in a group.
const GROUP: usize = 10;
const WIDTH: usize = 100;

/// In one sentence: what happens, how long it takes, whether it can be done.
pub fn verdict(plan: &Plan, intent: &Intent, name: &str, nodes: usize) -> String {
    let doing = match intent {
        Intent::Apply(_) => format!("Applying {name}"),
        Intent::Delete => format!("Removing {name}"),
    };
    let effect = |reboots: &[Reboot], minutes| match reboots.len() {
        0 => "reboots no node".to_owned(),
        _ => format!("reboots {} and takes about {}", who(reboots, nodes), duration(minutes)),
    };
    if !plan.blocked {
        return if plan.reboots.is_empty() && plan.objects.is_empty() {
            format!("Nothing to do: {}. No node reboots.", as_asked(intent, name))
        } else {
            format!("{doing} {}.", effect(&plan.reboots, plan.minutes))
        };
    }
    let blocks = plan.findings.iter().filter(|finding| finding.severity == Severity::Blocks).count();
    let things = if blocks == 1 { "1 thing stands".to_owned() } else { format!("{blocks} things stand") };
    let stops = plan.stop.as_ref().map_or_else(String::new, |stop| stops(plan, stop));
    let without = match (&plan.stop, &plan.without_blocks) {
        (Some(_), Some(relief)) if relief.finished => Some(effect(&relief.reboots, relief.minutes)),
        // The simulation got through all the same: it installs what is missing, and takes no rights.
        (None, _) => Some(effect(&plan.reboots, plan.minutes)),
        _ => None,
    };
    let without = without.map_or_else(String::new, |effect| format!(" Without that, it {effect}."));
    format!("{doing} would not get done: {things} in the way.{stops}{without}")
}

/// `3 of 6 nodes, each once`.
fn who(reboots: &[Reboot], nodes: usize) -> String {
    let different: BTreeSet<&str> = reboots.iter().map(|reboot| reboot.node.as_str()).collect();
    let of = format!("{} of {}", different.len(), count(nodes, "node"));
    match (different.len(), reboots.len()) {
        (1, 1) => format!("{of} once"),
        (different, all) if different == all => format!("{of}, each once,"),
        (_, all) => format!("{of}, {all} times altogether,"),
    }
}

fn stops(plan: &Plan, stop: &Stop) -> String {
    let (stuck, waiting) = (stop.stuck.len(), stop.waiting.len());
    let done = plan.reboots.len() - stuck.min(plan.reboots.len());
    match (done, stuck) {
        (0, 0) => " No node would reboot.".to_owned(),
        (_, 0) => format!(" It would stop after {}, with {waiting} waiting.", count(done, "reboot")),
        _ => format!(
            " It would stop in the middle: after {}, with {} held up and {waiting} waiting.",
            count(done, "reboot"),
            count(stuck, "node"),
        ),
    }
}

fn as_asked(intent: &Intent, name: &str) -> String {
    match intent {
        Intent::Apply(_) => format!("the cluster is as {name} asks for"),
        Intent::Delete => "there is no KataConfig on this cluster".to_owned(),
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

fn count(count: usize, word: &str) -> String {
    format!("{count} {}", plural(count, word))
}

/// `33 min`, `10 h 12 min`.
fn duration(minutes: i64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// `T+0:07`.
fn moment(minutes: i64) -> String {
    format!("T+{}:{:02}", minutes / 60, minutes % 60)
}

/// Everything.
pub fn lines(plan: &Plan, whole_diff: bool) -> Vec<String> {
    let paint = if plan.blocked { style::bad } else { style::good };
    let mut lines: Vec<String> = wrapped(&plan.verdict, WIDTH).iter().map(|line| paint(line)).collect();
    let grave: Vec<Finding> =
        plan.findings.iter().filter(|finding| finding.severity != Severity::Info).cloned().collect();
    if !grave.is_empty() {
        lines.push(String::new());
        lines.extend(finding::lines(&grave));
    }
    section(&mut lines, "Reboots", order(plan));
    section(&mut lines, "Runtime classes", classes(plan));
    section(&mut lines, "Objects", objects(&plan.objects, whole_diff));
    lines
}

fn section(lines: &mut Vec<String>, title: &str, body: Vec<String>) {
    if !body.is_empty() {
        lines.extend([String::new(), style::command(title)]);
        lines.extend(body.into_iter().map(|line| if line.is_empty() { line } else { format!("  {line}") }));
    }
}

fn order(plan: &Plan) -> Vec<String> {
    let relief = plan.without_blocks.as_ref().filter(|relief| relief.finished);
    if plan.reboots.is_empty() && relief.is_none_or(|relief| relief.reboots.is_empty()) {
        return Vec::new();
    }
    let mut lines = table(&plan.reboots);
    if let Some(stop) = &plan.stop {
        if plan.reboots.is_empty() {
            lines.push("none, as things stand".to_owned());
        }
        if !stop.message.is_empty() {
            lines.extend(wrapped(&format!("It stops there: {}", stop.message), WIDTH - 2));
        }
    }
    lines.extend(relief.into_iter().flat_map(relieved));
    lines.extend(wrapped(&format!("Reckoned with {}.", plan.pace.source), WIDTH - 2));
    lines
}

fn relieved(relief: &Relief) -> Vec<String> {
    let mut lines = vec![String::new(), "Without what blocks it:".to_owned()];
    lines.extend(table(&relief.reboots));
    lines
}

fn table(reboots: &[Reboot]) -> Vec<String> {
    if reboots.is_empty() {
        return Vec::new();
    }
    let ends = |end: Option<i64>| end.map_or_else(|| "never".to_owned(), moment);
    if reboots.len() <= SINGLY {
        let columns = ["NODE", "DRAINED FROM", "BACK AT"].map(str::to_owned);
        let rows: Vec<Vec<String>> = reboots
            .iter()
            .map(|reboot| vec![reboot.node.clone(), moment(reboot.begins), ends(reboot.ends)])
            .collect();
        return aligned(&columns, &rows);
    }
    let columns = ["NODES", "", "DRAINED FROM", "ALL BACK AT"].map(str::to_owned);
    let (stuck, done): (Vec<&Reboot>, Vec<&Reboot>) =
        reboots.iter().partition(|reboot| reboot.ends.is_none());
    let groups = done.chunks(GROUP).chain(stuck.chunks(1));
    let rows: Vec<Vec<String>> = groups
        .map(|group| {
            let names = match group {
                [one] => one.node.clone(),
                [first, .., last] => format!("{} to {}", first.node, last.node),
                [] => String::new(),
            };
            let end = group.iter().map(|reboot| reboot.ends).max().flatten();
            let begin = group.iter().map(|reboot| reboot.begins).min().unwrap_or_default();
            vec![names, group.len().to_string(), moment(begin), ends(end)]
        })
        .collect();
    aligned(&columns, &rows)
}

fn classes(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for class in &plan.runtime_classes {
        let nodes = class.nodes.len();
        lines.push(format!(
            "{}: on {}, with {} CPU and {} of memory free",
            class.name,
            count(nodes, "node"),
            class.free_cpu,
            class.free_memory
        ));
        lines.push(format!(
            "  room for about {} pods of 100m CPU and 256Mi, each with {} and {} more for its virtual machine",
            class.pods, class.overhead.0, class.overhead.1
        ));
        let fullest = class.nodes.iter().min_by_key(|room| room.pods);
        if let Some(fullest) = fullest.filter(|_| nodes > 1) {
            lines.push(format!("  least on {}: {}", fullest.node, fullest.pods));
        }
    }
    lines
}

fn objects(differences: &[Difference], whole: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let nodes = |difference: &&Difference| difference.object.starts_with("Node ");
    for difference in differences.iter().filter(|difference| whole || !nodes(difference)) {
        let (sign, word) = match difference.fate {
            Fate::Created => ('+', style::good("created")),
            Fate::Changed => ('~', style::busy("changed")),
            Fate::Deleted => ('-', style::bad("deleted")),
        };
        lines.push(format!("{sign} {} {word}", difference.object));
        if whole {
            lines.extend(difference.lines.iter().map(|line| format!("    {}", painted(line))));
        }
    }
    if !whole {
        let (given, taken) = roles(differences);
        for (number, what) in [(given, "given to"), (taken, "taken from")] {
            if number > 0 {
                let role = osc_api::names::KATA_NODE_ROLE;
                lines.push(format!("~ label {role} {what} {}", count(number, "node")));
            }
        }
        if !lines.is_empty() {
            lines.push(style::dim("--diff shows them line by line"));
        }
    }
    lines
}

fn painted(line: &str) -> String {
    match line.chars().next() {
        Some('+') => style::good(line),
        Some('-') => style::bad(line),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_hours_and_minutes() {
        assert_eq!(
            (duration(33), duration(120), duration(612)),
            ("33 min".into(), "2 h".into(), "10 h 12 min".into())
        );
        assert_eq!((moment(7), moment(612)), ("T+0:07".to_owned(), "T+10:12".to_owned()));
    }

    #[test]
    fn many_reboots_are_told_in_groups_and_a_stuck_one_by_itself() {
        let reboot =
            |number: i64, ends: Option<i64>| Reboot { node: format!("w{number}"), begins: number * 10, ends };
        let mut all: Vec<Reboot> = (0..14).map(|number| reboot(number, Some(number * 10 + 10))).collect();
        all.push(reboot(14, None));
        assert_eq!(
            table(&all),
            [
                "NODES             DRAINED FROM   ALL BACK AT",
                "w0 to w9     10   T+0:00         T+1:40",
                "w10 to w13   4    T+1:40         T+2:20",
                "w14          1    T+2:20         never",
            ]
        );
        assert_eq!(table(&all[..1]), ["NODE   DRAINED FROM   BACK AT", "w0     T+0:00         T+0:10"]);
    }
}
