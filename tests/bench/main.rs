//! The benchmarks: `cargo xtask bench`.
//!
//! With `--gate` only counts and ratios are checked, as in `cargo xtask ci`; without it, commands
//! of other projects run in turn with ours, and the results are written to `docs/performance.md`.
//! `--start` ends after the start of a process; `--accept` makes the counted instructions the new
//! baseline.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::format_push_string,
    reason = "a benchmark that cannot go on stops, and says where; its numbers are small"
)]

mod library;
mod measure;
mod report;
mod scale;
mod start;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_set = |name: &str| arguments.iter().any(|it| it == name);
    let value = |name: &str| arguments.iter().find_map(|it| it.strip_prefix(name));
    let gate = is_set("--gate");
    let standalone = value("--standalone=").and_then(|it| it.split_once('='));
    let standalone = standalone.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));

    let mut report = Report::default();
    let bench = start::Bench::new(standalone);
    bench.counts(&mut report, is_set("--accept"));
    bench.times(500, !gate, &mut report);
    if is_set("--start") {
        publish(&report);
        return if report.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    library::lookup(if gate { 50 } else { 500 }, &mut report);
    library::planning(if gate { 20 } else { 50 }, &mut report);
    library::tasks(if gate { 1 } else { 5 }, &mut report);
    library::writing(if gate { 50 } else { 300 }, &mut report);
    scale::herd(if gate { 3 } else { 5 }, &mut report);
    scale::sizes(if gate { 2 } else { 5 }, &mut report);
    if !gate {
        publish(&report);
    }
    if report.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the results into the document, and the plot beside it.
fn publish(report: &Report) {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let (before, rest) = document.split_once(BEGIN).expect("the begin of the results");
    let (_old, after) = rest.split_once(END).expect("the end of the results");
    let mut text = format!("{before}{BEGIN}\n\n{}\n", machine());
    text += "![Medians of the first table](performance.svg)\n\n";
    text += &report.text;
    let omissions = report.omissions();
    if !omissions.is_empty() {
        let _ = write!(text, "### Not run\n\n{omissions}\n");
    }
    let text = format!("{}\n\n{END}{after}", text.trim_end());
    e2e::sandbox::write(Path::new(DOCUMENT), text.as_bytes());
    e2e::sandbox::write(Path::new("docs/performance.svg"), report::plot(&report.bars).as_bytes());
}

/// The machine and the tools of the measurement.
fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let processor = info.lines().find_map(|it| it.strip_prefix("model name")).unwrap_or_default();
    let cores = info.lines().filter(|it| it.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{cores} cores of {}, Linux {}, {}, {}; load average at the end {load}: other programs were running, which is why all commands run in turn.\n",
        processor.trim_start_matches([' ', '\t', ':']),
        said("uname", &["-r"]),
        said("rustc", &["--version"]),
        said("getconf", &["GNU_LIBC_VERSION"]),
    )
}

const DOCUMENT: &str = "docs/performance.md";
const BEGIN: &str = "<!-- written by `cargo xtask bench` from here -->";
const END: &str = "<!-- to here -->";
