//! The kill matrix: SIGKILL before every system call, and again in the recovery that follows.
//!
//! The command and the child that sends for it are killed separately and together, with an issuer
//! that refuses a used-up token and with one that gives grace.

use super::calls;
use super::scene::{self, Operation, Scene};
use super::trace::{Call, Fault, Point};
use super::{Hand, Job, Plain};
use crate::Settings;
use crate::report::Report;
use e2e::issuer::Issuer;
use std::path::Path;

/// Runs the matrix.
pub(crate) fn run(settings: &Settings) -> Report {
    let base = super::base();
    let mut report = Report::default();
    let plain = Plain::run(&base, &mut report);
    let (points, operations) = (plain.calls().count(), Operation::ALL.len());
    report.note(format!("{points} points in {operations} operations"));

    let all: Vec<Job> =
        plain.calls().flat_map(|(operation, call)| jobs(operation, call.point)).collect();
    let count = if settings.full { usize::MAX } else { 14 };
    let singles = super::choose(all, count, settings, |job| {
        (job.operation as u8, job.grace, job.fault == Fault::Kill, job.point.role)
    });
    report.absorb(super::work(&base, &plain, &singles, |hand, job| {
        hand.strike(*job, 2, |struck| scene::tolerance_of(&[struck]), |_, _, _| {});
    }));

    let all: Vec<(Operation, Point)> = plain
        .calls()
        .filter(|(_, call)| calls::leaves_a_trace(call.point.call))
        .map(|(operation, call)| (operation, call.point))
        .collect();
    let (count, seconds) = if settings.full { (usize::MAX, 6) } else { (2, 4) };
    let firsts = super::choose(all, count, settings, |(operation, _)| *operation as u8);
    report.absorb(super::work(&base, &plain, &firsts, |hand, first| {
        strike_twice(hand, *first, seconds, settings);
    }));
    super::control(&base, Fault::Kill, &mut report, |found| found.corrupt > 0 && found.lost > 0);
    measure_window(&base, &mut report);
    report
}

/// How long a response exists only in our memory: from the issuer's commit to the write to the
/// response file.
fn measure_window(base: &Path, report: &mut Report) {
    let issuer = Issuer::start();
    let (mut times, mut most) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let scene = Scene::set(base, &issuer, Operation::Refresh, false, None);
        let reply = scene.strike(None).reply;
        let committed = issuer.log().last().and_then(|exchange| exchange.decided);
        let (Some(reply), Some(committed)) = (reply, committed) else {
            report.fail("a refresh that nobody struck wrote no answer");
            return;
        };
        times.push(reply.written.duration_since(committed));
        most = most.max(reply.calls_between);
    }
    times.sort();
    report.note(format!(
        "loss window, under the tracer, over plain http: {:.1?} from the issuer's commit to our write (median of {RUNS}; \
         longest {:.1?}); at most {most} system calls between the last byte received and that write",
        times[RUNS / 2],
        times[RUNS - 1],
    ));
    if most > MOST_CALLS {
        report.fail(format!("{most} system calls in the loss window, at most {MOST_CALLS} may be"));
    }
}

/// The faults to inject at a point: with grace only if a token is sent, both at once only if there
/// are two processes.
fn jobs(operation: Operation, point: Point) -> Vec<Job> {
    let mut jobs = Vec::new();
    for grace in [false, true] {
        for fault in [Fault::Kill, Fault::KillAll] {
            if operation.refreshes() || !grace && fault == Fault::Kill {
                jobs.push(Job { operation, grace, point, fault });
            }
        }
    }
    jobs
}

/// Kills everything at the first point, then in the next run at several others.
fn strike_twice(
    hand: &mut Hand<'_>,
    (operation, point): (Operation, Point),
    seconds: usize,
    settings: &Settings,
) {
    let first = Some((point, Fault::KillAll));
    let points = {
        let scene = hand.scene(operation, false);
        scene.strike(first);
        scene.strike_next(None).calls
    };
    hand.report.repeats += 1;
    for Call { point: second, .. } in super::choose(points, seconds, settings, |_| ()) {
        let mut report = Report::default();
        let scene = hand.scene(operation, false);
        let struck = scene.strike(first);
        let again = scene.strike_next(Some((second, Fault::KillAll)));
        if !struck.hit || !again.hit {
            hand.missed();
            continue;
        }
        let name = format!("{operation:?}: killed at {point}, and in the next run at {second}");
        let tolerance = scene::tolerance_of(&[&struck, &again]);
        let found = scene.judge(&name, &again, tolerance, 3, &mut report);
        drop(scene);
        report.repeats += 1;
        hand.note(&name, Some(second), found, report);
    }
}

/// How often the loss window is measured.
const RUNS: usize = 21;
/// System calls between the last byte received and the write of the response.
const MOST_CALLS: usize = 8;
