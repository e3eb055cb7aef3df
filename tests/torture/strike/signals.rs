//! The signal matrix: SIGINT, SIGTERM and SIGHUP at every system call. Nothing at all may be lost.

use super::scene::Tolerance;
use super::trace::Fault;
use super::{Job, Plain};
use crate::Settings;
use crate::report::Report;
use nix::sys::signal::Signal;

/// Runs the matrix.
pub(crate) fn run(settings: &Settings) -> Report {
    let base = super::base();
    let mut report = Report::default();
    let plain = Plain::run(&base, &mut report);
    let mut all = Vec::new();
    for (operation, call) in plain.calls() {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            all.push(Job {
                operation,
                grace: false,
                point: call.point,
                fault: Fault::Signal(signal),
            });
        }
    }
    let count = if settings.full { usize::MAX } else { 12 };
    let jobs = super::choose(all, count, settings, |job| (job.operation as u8, job.point.role));
    report.absorb(super::work(&base, &plain, &jobs, |hand, job| {
        hand.strike(
            *job,
            2,
            |_| Tolerance::Nothing,
            |struck, _, report| {
                // Ended by the signal, reported as interrupted, or finished anyway.
                if !matches!(struck.code, None | Some(0 | 130)) {
                    report.fail(format!("{job}: exit code {:?}: {}", struck.code, struck.stderr));
                }
            },
        );
    }));
    super::control(&base, Fault::Signal(Signal::SIGINT), &mut report, |found| found.lost > 0);
    report
}
