//! The figures as tables and as a plot, and the page that shows them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use plotters::prelude::*;

use crate::Figures;

const BEGIN: &str = "<!-- figures: written by make bench -->";
const END: &str = "<!-- end of figures -->";

/// The tables, in Markdown.
pub fn tables(all: &[Figures]) -> String {
    let mut text = String::from(
        "| Nodes | Install, an hour a second | Writes a node | Peak memory | Node change to status, p50 | p99 |\n\
         |---|---|---|---|---|---|\n",
    );
    for figures in all {
        let _ = writeln!(
            text,
            "| {} | {:.1} s | {:.2} | {:.1} MB | {:.1} ms | {:.1} ms |",
            figures.nodes,
            figures.install.as_secs_f64(),
            f64::from(figures.writes) / f64::from(figures.nodes),
            figures.peak,
            figures.percentile(50),
            figures.percentile(99)
        );
    }
    text.push_str(
        "\n| Nodes | Label changes | Writes for them | Processor time each | Heartbeats of a day | Writes for them | \
         Processor time each | Memory before and after the day |\n|---|---|---|---|---|---|---|---|\n",
    );
    for figures in all {
        let (churn, day) = (&figures.churn, &figures.day);
        let each = |busy: std::time::Duration, count: u32| busy.as_secs_f64() * 1e6 / f64::from(count);
        let (first, last) = (day.memory[0].1, day.memory[day.memory.len() - 1].1);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} µs | {} | {} | {:.0} µs | {first:.1} and {last:.1} MB |",
            figures.nodes,
            churn.changes,
            churn.writes,
            each(churn.busy, churn.changes),
            day.heartbeats,
            day.writes,
            each(day.busy, day.heartbeats),
        );
    }
    text.push_str("\nWrites of the installation by what was written:\n\n");
    for figures in all {
        let kinds: Vec<String> =
            figures.kinds.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let _ = writeln!(text, "- {} nodes: {}", figures.nodes, kinds.join(", "));
    }
    text
}

/// Puts tables and plot into docs/.
pub fn write(root: &Path, all: &[Figures]) -> anyhow::Result<()> {
    let path = root.join("docs/performance.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let marks = || format!("{} has no lines {BEGIN} and {END}", path.display());
    let (before, rest) = page.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{}\n{END}{after}", tables(all)))?;
    plot(&root.join("docs/performance-memory.svg"), all)
}

/// Memory of the operator over a day of heartbeats.
fn plot(path: &Path, all: &[Figures]) -> anyhow::Result<()> {
    let most =
        all.iter().flat_map(|figures| &figures.day.memory).map(|(_, memory)| *memory).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (720, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..24.0, 0.0..most * 1.2)?;
    chart.configure_mesh().x_desc("hour").y_desc("resident memory of the operator, MB").draw()?;
    for (figures, colour) in all.iter().zip([BLUE, RED, BLACK]) {
        chart
            .draw_series(LineSeries::new(figures.day.memory.iter().copied(), colour.stroke_width(2)))?
            .label(format!("{} nodes", figures.nodes))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present().context("cannot write the plot")
}
