//! The results: tables in Markdown, one plot, and failed checks.

use std::fmt::Write as _;
use std::time::Duration;

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Markdown, section by section.
    pub(crate) text: String,
    /// The bars of the plot: name and median.
    pub(crate) bars: Vec<(String, Duration)>,
    failed: Vec<String>,
    not_run: Vec<String>,
    held: usize,
}

impl Report {
    pub(crate) fn section(&mut self, title: &str, text: &str) {
        println!("\n{title}\n{text}");
        let _ = write!(self.text, "### {title}\n\n{text}\n");
    }

    /// Records a check.
    pub(crate) fn check(&mut self, what: &str, holds: bool) {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
        if holds {
            self.held += 1;
        } else {
            self.failed.push(what.to_owned());
        }
    }

    /// Records something that cannot be measured on this machine.
    pub(crate) fn not_run(&mut self, what: &str, reason: &str) {
        println!("NOT RUN: {what}: {reason}");
        self.not_run.push(format!("{what}: {reason}"));
    }

    /// The skipped measurements, as a list.
    pub(crate) fn omissions(&self) -> String {
        self.not_run.iter().fold(String::new(), |all, it| all + "- " + it + "\n")
    }

    /// Ends the run; returns whether every check passed.
    pub(crate) fn end(&self) -> bool {
        println!(
            "\n{} held, {} failed, {} not run",
            self.held,
            self.failed.len(),
            self.not_run.len()
        );
        for failed in &self.failed {
            println!("FAILED {failed}");
        }
        self.failed.is_empty()
    }
}

/// A table in Markdown; all columns except the first are numbers.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&head.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    text += &format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    rows.iter().fold(text, |text, row| text + &line(row))
}

/// A time in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.3}"),
        ..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// A time in microseconds.
pub(crate) fn us(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6)
}

/// The ratio of two durations.
pub(crate) fn ratio(time: Duration, other: Duration) -> f64 {
    time.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

/// Bars on a logarithmic scale.
pub(crate) fn plot(bars: &[(String, Duration)]) -> String {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 400.0;
    const ROW: f64 = 26.0;
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    let lowest = 0.1_f64;
    let highest = bars.iter().map(|(_, time)| ms(time)).fold(1.0, f64::max) * 1.5;
    let x = |value: f64| LEFT + WIDTH * (value / lowest).log10() / (highest / lowest).log10();
    let height = ROW * bars.len() as f64 + 50.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"760\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n<text x=\"10\" y=\"20\" font-weight=\"bold\">A token on standard output: median, in milliseconds (logarithmic)</text>\n"
    );
    let mut tick = lowest;
    while tick < highest {
        let at = x(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"32\" y2=\"{:.0}\" stroke=\"#dddddd\"/><text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#777777\" font-size=\"11\">{tick}</text>",
            height - 18.0,
            height - 5.0
        );
        tick *= 10.0;
    }
    for (row, (name, time)) in bars.iter().enumerate() {
        let y = 36.0 + ROW * row as f64;
        let colour = if name.starts_with("clawdbot") { "#2563eb" } else { "#9ca3af" };
        let end = x(ms(time));
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text><rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"18\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.0}\">{:.2}</text>",
            LEFT - 8.0,
            y + 14.0,
            end - LEFT,
            end + 6.0,
            y + 14.0,
            ms(time)
        );
    }
    svg + "</svg>\n"
}
