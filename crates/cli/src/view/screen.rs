//! Where the live view is drawn: bars on a terminal, lines in a pipe, JSON for scripts.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::model::{News, NodeRow};
use super::style;

/// How the view is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bars if the output is a terminal, else lines.
    Text,
    /// One JSON object a line.
    Json,
    /// Nothing.
    Silent,
}

/// What time it is in the story, as it is to be printed.
pub type TimeLabel = Arc<dyn Fn() -> String + Send + Sync>;

/// Where the live view is drawn. Cheap to clone; all clones draw in one place.
#[derive(Clone)]
pub struct Screen {
    style: Style,
    time: TimeLabel,
    bars: Option<Bars>,
}

#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    by_node: Arc<Mutex<BTreeMap<String, ProgressBar>>>,
}

impl Screen {
    /// A screen on standard output.
    pub fn new(style: Style, time: TimeLabel) -> Self {
        let live = style == Style::Text && std::io::stdout().is_terminal();
        let bars = live.then(|| Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            by_node: Arc::default(),
        });
        Self { style, time, bars }
    }

    /// A screen that shows nothing.
    pub fn silent() -> Self {
        Self { style: Style::Silent, time: Arc::new(String::new), bars: None }
    }

    /// Whether this screen prints JSON.
    pub fn is_json(&self) -> bool {
        self.style == Style::Json
    }

    /// Prints lines above the bars; nothing in JSON.
    pub fn print(&self, lines: &[String]) {
        if self.style != Style::Text {
            return;
        }
        for line in lines {
            match &self.bars {
                Some(bars) => {
                    let _ = bars.all.println(coloured(line));
                }
                None => anstream::println!("{line}"),
            }
        }
    }

    /// Prints one JSON object; nothing in text.
    pub fn json(&self, mut object: Value) {
        if self.is_json() {
            object["time"] = json!((self.time)());
            println!("{object}");
            let _ = std::io::stdout().flush();
        }
    }

    /// Shows where the nodes are, and the news.
    pub fn show(&self, rows: &[NodeRow], news: &[News]) {
        for item in news {
            self.json(as_json(item));
            match item {
                // On a terminal, the bar says it.
                News::Node(_) if self.bars.is_some() => {}
                item => self.print(&[format!("{}  {}", style::dim(&(self.time)()), as_text(item))]),
            }
        }
        if let Some(bars) = &self.bars {
            bars.draw(rows);
        }
    }

    /// Takes the bars away; what was printed stays.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            let mut by_node = bars.by_node.lock().unwrap_or_else(PoisonError::into_inner);
            for bar in by_node.values() {
                bar.finish_and_clear();
            }
            by_node.clear();
        }
    }
}

/// Colours as the terminal wants them.
fn coloured(line: &str) -> String {
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    if choice == anstream::ColorChoice::Never {
        anstream::adapter::strip_str(line).to_string()
    } else {
        line.to_owned()
    }
}

impl Bars {
    fn draw(&self, rows: &[NodeRow]) {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        by_node.retain(|name, bar| {
            let keep = rows.iter().any(|row| row.name == *name);
            if !keep {
                bar.finish_and_clear();
            }
            keep
        });
        for row in rows {
            let bar = by_node.entry(row.name.clone()).or_insert_with(|| self.all.add(new_bar(&row.name)));
            bar.set_position(row.percent);
            bar.set_message(state_text(row));
        }
    }
}

fn new_bar(name: &str) -> ProgressBar {
    // Hidden until it stands among the others: else it draws itself where it is made.
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("  {prefix:<16} [{bar:24}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar
}

fn state_text(row: &NodeRow) -> String {
    let state = match row.state {
        "installed" => style::good(row.state),
        "failed to install" | "failed to uninstall" => style::bad(row.state),
        "no kata" => style::dim(row.state),
        state => style::busy(state),
    };
    match row.phase {
        Some(phase) => format!("{state}, {phase}"),
        None => state,
    }
}

fn as_text(news: &News) -> String {
    match news {
        News::Node(row) => {
            let done = usize::try_from(row.percent / 10).unwrap_or(0);
            format!("{:<16} [{:<10}] {}", row.name, "=".repeat(done), state_text(row))
        }
        News::Condition { type_, status, reason, message, .. } => {
            let head = format!("{type_}={status}");
            let head = match (type_.as_str(), status.as_str(), reason.as_str()) {
                ("Degraded", "True", _) | (_, _, "Failed" | "BlockedByExistingKataPods") => style::bad(&head),
                (_, "True", _) => style::busy(&head),
                _ => style::good(&head),
            };
            let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            format!("{head}{reason}{message}")
        }
        News::Gone { kata_config } => format!("KataConfig {kata_config} is gone"),
    }
}

fn as_json(news: &News) -> Value {
    match news {
        News::Node(row) => json!({
            "type": "node", "name": row.name, "state": row.state, "phase": row.phase, "percent": row.percent,
        }),
        News::Condition { kata_config, type_, status, reason, message } => json!({
            "type": "condition", "kataConfig": kata_config, "condition": type_, "status": status, "reason": reason,
            "message": message,
        }),
        News::Gone { kata_config } => json!({"type": "gone", "kataConfig": kata_config}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(news: &News) -> String {
        anstream::adapter::strip_str(&as_text(news)).to_string()
    }

    #[test]
    fn news_read_as_lines() {
        let row =
            NodeRow { name: "worker-1".into(), state: "installing", phase: Some("rebooting"), percent: 60 };
        assert_eq!(plain(&News::Node(row)), "worker-1         [======    ] installing, rebooting");
        let condition = |status: &str, reason: &str, message: &str| News::Condition {
            kata_config: "k".into(),
            type_: "InProgress".into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
        };
        assert_eq!(plain(&condition("True", "Updating", "Adding")), "InProgress=True Updating: Adding");
        assert_eq!(plain(&condition("False", "", "")), "InProgress=False");
    }
}
