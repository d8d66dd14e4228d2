//! The figures as a table, and the page that shows them.

use std::path::Path;

use anyhow::Context as _;

use crate::{CONNECTIONS, Figures, RATE};

const BEGIN: &str = "<!-- reviews: written by make bench -->";
const END: &str = "<!-- end of reviews -->";

/// The table, in Markdown.
pub fn table(figures: &[Figures]) -> String {
    let rows: String = figures.iter().map(row).collect();
    format!(
        "| Server | Asked a second, over {CONNECTIONS} connections | Answered | p50 | p99 | p99.9 | Processor time each | Peak memory \
         | Answered a second at most |\n|---|---|---|---|---|---|---|---|---|\n{rows}"
    )
}

fn row(figures: &Figures) -> String {
    format!(
        "| {} | {RATE} | {:.0} | {:.2} ms | {:.2} ms | {:.2} ms | {} µs | {:.1} MB | {:.0} |\n",
        figures.server,
        figures.achieved,
        figures.percentile(50.0),
        figures.percentile(99.0),
        figures.percentile(99.9),
        figures.busy.as_micros(),
        figures.peak,
        figures.most
    )
}

/// Puts the table into docs/.
pub fn write(root: &Path, figures: &[Figures]) -> anyhow::Result<()> {
    let path = root.join("docs/performance.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let marks = || format!("{} has no lines {BEGIN} and {END}", path.display());
    let (before, rest) = page.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(figures)))
        .with_context(|| format!("cannot write {}", path.display()))
}
