//! The report of a stage, and the table at the end of a run.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// What one stage did and found.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    /// Injected faults, each different from every other one of the stage.
    pub(crate) injections: u64,
    /// Faults that were injected again at a point that was counted already.
    pub(crate) repeats: u64,
    /// Stores that did not parse after a fault.
    pub(crate) corrupt: u64,
    /// Refresh tokens lost where none may be lost.
    pub(crate) lost: u64,
    /// Refresh tokens lost between the issuer's commit and our write of its response.
    pub(crate) lost_in_window: u64,
    /// Token requests that arrived at the issuers.
    pub(crate) requests: u64,
    /// The longest time the lock that Clawdbot waits for was held.
    pub(crate) longest_hold: Duration,
    /// Every failed expectation, as a sentence.
    pub(crate) failures: Vec<String>,
    /// Unsafe variants, and whether this stage detected each of them.
    pub(crate) controls: Vec<(String, bool)>,
    /// What could not run on this machine, and why.
    pub(crate) not_run: Vec<String>,
    /// Figures to publish that no other stage has.
    pub(crate) notes: Vec<String>,
}

#[allow(dead_code, reason = "not every stage needs all of it")]
impl Report {
    /// Reports a failure.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    /// Reports the result for an unsafe variant: it must be `found_out`, or the stage proves
    /// nothing.
    pub(crate) fn control(&mut self, variant: &str, found_out: bool) {
        self.controls.push((variant.to_owned(), found_out));
    }

    /// Reports that this cannot run here.
    pub(crate) fn not_run(&mut self, what: &str, reason: &str) {
        println!("NOT RUN: {what}: {reason}");
        self.not_run.push(format!("{what}: {reason}"));
    }

    /// Adds a figure for the page of results.
    pub(crate) fn note(&mut self, figure: impl Into<String>) {
        self.notes.push(figure.into());
    }

    /// Records how long the directory lock was held.
    pub(crate) fn held(&mut self, time: Duration) {
        self.longest_hold = self.longest_hold.max(time);
    }

    /// Adds the report of a part of the same stage.
    pub(crate) fn absorb(&mut self, part: Self) {
        self.injections += part.injections;
        self.repeats += part.repeats;
        self.corrupt += part.corrupt;
        self.lost += part.lost;
        self.lost_in_window += part.lost_in_window;
        self.requests += part.requests;
        self.held(part.longest_hold);
        self.failures.extend(part.failures);
        self.controls.extend(part.controls);
        self.not_run.extend(part.not_run);
        self.notes.extend(part.notes);
    }

    /// Whether everything passed, including the controls.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty()
            && self.corrupt + self.lost == 0
            && self.controls.iter().all(|(_, found_out)| *found_out)
    }
}

/// The stages that ran, one per line, with their sum, their figures and all failures.
pub(crate) fn table(rows: &[(&str, Report, Duration)]) -> String {
    let mut text = format!(
        "\n| {:<12} | {:>10} | {:>7} | {:>7} | {:>4} | {:>9} | {:>8} | {:>12} | {:>8} | {:>7} | {:>7} |\n",
        "stage",
        "injections",
        "repeats",
        "corrupt",
        "lost",
        "in window",
        "requests",
        "longest hold",
        "controls",
        "not run",
        "time"
    );
    text += "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    let mut sum = Report::default();
    let mut all = Duration::ZERO;
    for (name, report, time) in rows {
        row(&mut text, name, report, *time);
        sum.injections += report.injections;
        sum.repeats += report.repeats;
        sum.corrupt += report.corrupt;
        sum.lost += report.lost;
        sum.lost_in_window += report.lost_in_window;
        sum.requests += report.requests;
        sum.held(report.longest_hold);
        sum.controls.extend(report.controls.iter().cloned());
        sum.not_run.extend(report.not_run.iter().cloned());
        all += *time;
    }
    row(&mut text, "sum", &sum, all);
    for (name, report, _) in rows {
        for figure in &report.notes {
            let _ = write!(text, "\n{name}: {figure}");
        }
        for (control, found_out) in &report.controls {
            let verdict = if *found_out { "fails, as it must" } else { "WAS NOT FOUND OUT" };
            let _ = write!(text, "\n{name}: control: {control}: {verdict}");
        }
        for reason in &report.not_run {
            let _ = write!(text, "\nNOT RUN: {name}: {reason}");
        }
        for failure in report.failures.iter().take(SHOWN) {
            let _ = write!(text, "\nFAILED: {name}: {failure}");
        }
        if report.failures.len() > SHOWN {
            let _ = write!(text, "\nFAILED: {name}: and {} more", report.failures.len() - SHOWN);
        }
    }
    text
}

fn row(text: &mut String, name: &str, report: &Report, time: Duration) {
    let found_out = report.controls.iter().filter(|(_, found_out)| *found_out).count();
    let _ = writeln!(
        text,
        "| {name:<12} | {:>10} | {:>7} | {:>7} | {:>4} | {:>9} | {:>8} | {:>12} | {:>8} | {:>7} | {:>7} |",
        report.injections,
        report.repeats,
        report.corrupt,
        report.lost,
        report.lost_in_window,
        report.requests,
        format!("{:.2} s", report.longest_hold.as_secs_f64()),
        format!("{found_out}/{}", report.controls.len()),
        report.not_run.len(),
        format!("{:.0} s", time.as_secs_f64()),
    );
}

/// How many failures of a stage are printed; the first ones are the most informative.
const SHOWN: usize = 20;
