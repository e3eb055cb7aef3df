//! The kill matrix: SIGKILL before every system call.

use crate::Settings;
use crate::report::Report;

/// Runs the matrix.
pub(crate) fn run(_: &Settings) -> Report {
    let mut report = Report::default();
    report.not_run("kill matrix", "it is not built yet");
    report
}
