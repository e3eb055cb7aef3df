//! The error matrix: every file and network call fails, once or permanently.

use super::calls;
use super::scene::Tolerance;
use super::trace::{Fault, Place, Traced};
use super::{Job, Plain};
use crate::Settings;
use crate::report::Report;
use nix::errno::Errno;

/// Runs the matrix.
pub(crate) fn run(settings: &Settings) -> Report {
    let base = super::base();
    let mut report = Report::default();
    let plain = Plain::run(&base, &mut report);
    let mut all = Vec::new();
    for (operation, call) in plain.calls() {
        let point = call.point;
        let once = calls::errors(&call).iter().map(|errno| Fault::Fail(*errno));
        let disk = [Errno::EIO, Errno::ENOSPC, Errno::EROFS].map(Fault::FailFromNow);
        let disk = disk
            .into_iter()
            .filter(|_| calls::change(point.call).is_some() && call.leads_to != Place::Other);
        all.extend(once.chain(disk).map(|fault| Job { operation, grace: false, point, fault }));
    }
    let count = if settings.full { usize::MAX } else { 10 };
    let jobs = super::choose(all, count, settings, |job| {
        (job.operation as u8, job.point.role, matches!(job.fault, Fault::Fail(_)))
    });
    report.absorb(super::work(&base, &plain, &jobs, |hand, job| {
        hand.strike(
            *job,
            MOST_REQUESTS,
            |struck| tolerance(job, struck),
            |struck, _, report| {
                check(job, struck, report);
            },
        );
    }));
    let full = Fault::FailFromNow(Errno::ENOSPC);
    super::control(&base, full, &mut report, |found| found.corrupt > 0 && found.lost > 0);
    report
}

/// A response that could not be received may be lost; one that was received may not.
fn tolerance(job: &Job, struck: &Traced) -> Tolerance {
    let is_network = matches!(job.point.call, "recvfrom" | "recvmsg");
    if is_network && struck.requested { Tolerance::Window } else { Tolerance::Nothing }
}

fn check(job: &Job, struck: &Traced, report: &mut Report) {
    match struck.code {
        Some(0) => {}
        Some(code) if DOCUMENTED.contains(&code) => {
            if struck.stderr.trim().is_empty() && !is_of_stderr(job, struck) {
                report.fail(format!("{job}: exit code {code} and not a word"));
            }
        }
        code => report.fail(format!("{job}: exit code {code:?}: {}", struck.stderr)),
    }
    if matches!(job.fault, Fault::FailFromNow(_)) && struck.sent_after > 0 {
        report.fail(format!("{job}: sent although nothing could be saved any more"));
    }
}

/// Whether the error may have affected the message itself.
fn is_of_stderr(job: &Job, struck: &Traced) -> bool {
    let last = struck.calls.iter().rev().find(|call| call.point.call == "write");
    job.point.call == "write" && last.is_some_and(|last| last.point == job.point)
}

/// The exit codes of `docs/cli.md`.
const DOCUMENTED: [i32; 9] = [3, 4, 5, 6, 7, 8, 64, 74, 130];
/// One, two replays of it, the same again in the next run, and one more with a force.
const MOST_REQUESTS: u64 = 7;
