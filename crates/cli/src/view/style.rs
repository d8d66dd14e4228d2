//! Colours, which `anstream` takes away where they do not belong (`NO_COLOR`, pipes).

use anstyle::{AnsiColor, Style};

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Something that failed.
pub fn bad(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

/// Something that is as it should be.
pub fn good(text: &str) -> String {
    paint(AnsiColor::Green.on_default(), text)
}

/// Something that goes on.
pub fn busy(text: &str) -> String {
    paint(AnsiColor::Yellow.on_default(), text)
}

/// What a person would type.
pub fn command(text: &str) -> String {
    paint(Style::new().bold(), text)
}

/// Something of less weight.
pub fn dim(text: &str) -> String {
    paint(Style::new().dimmed(), text)
}
