//! Power cut: at a system call everything stops, and only what the disk holds at that moment
//! remains.
//!
//! The home is on an ext4 image, mounted so that the kernel writes nothing by itself for minutes.
//! At the point all processes are killed, the image is copied as it is, and the copy is mounted in
//! its place: anything that was not synced is not in it. The image has everything that the file
//! system sent to it, in this order; a disk that loses data it has acknowledged is not tested.

use super::apart;
use super::calls;
use super::disk::{Kind, Workshop};
use super::scene::{Operation, Scene, Tolerance};
use super::trace::{Fault, Point, Role, Traced};
use super::{Hand, Plain};
use crate::Settings;
use crate::naive::Way;
use crate::report::Report;
use e2e::issuer::Issuer;

/// The name of the stage.
pub(crate) const STAGE: &str = "power-cut";

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    apart::run(STAGE, settings)
}

/// When the power is cut: before this call, or right after the command ended.
#[derive(Clone, Copy, Debug)]
struct Job {
    operation: Operation,
    grace: bool,
    at: Option<Point>,
}

impl std::fmt::Display for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, grace, at } = self;
        let grace = if *grace { " (grace)" } else { "" };
        match at {
            Some(point) => write!(formatter, "{operation:?}{grace}: power cut at {point}"),
            None => write!(formatter, "{operation:?}{grace}: power cut after its end"),
        }
    }
}

/// The stage itself, if mounting is possible.
pub(crate) fn work(workshop: &Workshop, settings: &Settings, report: &mut Report) {
    if let Err(reason) = workshop.format() {
        report.not_run("power cuts", &reason);
        return;
    }
    let plain = Plain::run(workshop.directory(), report);
    let mut all = Vec::new();
    for (operation, call) in plain.calls().filter(|(_, it)| calls::leaves_a_trace(it.point.call)) {
        let graces = if operation.refreshes() { &[false, true][..] } else { &[false] };
        all.extend(graces.iter().map(|grace| Job {
            operation,
            grace: *grace,
            at: Some(call.point),
        }));
    }
    let count = if settings.full { usize::MAX } else { 6 };
    let mut jobs = super::choose(all, count, settings, |job| (job.operation as u8, job.grace));
    jobs.extend(Operation::ALL.map(|operation| Job { operation, grace: false, at: None }));
    report.absorb(super::work(workshop.directory(), &plain, &jobs, |hand, job| {
        strike(hand, workshop, job);
    }));
    for way in [Way::InPlace, Way::Rename] {
        let found_out = control(workshop, way);
        let name = format!(
            "a refresh that writes without fsync ({}), power cut after its end",
            way.word()
        );
        report.control(&name, found_out);
    }
}

fn strike(hand: &mut Hand<'_>, workshop: &Workshop, job: &Job) {
    let answered = hand.plain.answered;
    let name = job.to_string();
    hand.with_retries(&name, job.at, |issuer, report| {
        let mut disk = workshop.disk(Kind::Image).expect("a disk");
        let mut scene = Scene::set(&disk.root(), issuer, job.operation, job.grace, answered);
        disk.sync().expect("a disk that works");
        let struck = scene.strike(job.at.map(|point| (point, Fault::KillAll)));
        if job.at.is_some() && !struck.hit {
            return None;
        }
        disk.cut_power().expect("the copy can be mounted");
        scene.power_was_cut();
        if job.at.is_none() && struck.code != Some(0) {
            report.fail(format!("{name}: exit code {:?}: {}", struck.code, struck.stderr));
        }
        // If the command reported success, the caller relies on it.
        if (struck.code == Some(0) || !struck.stdout.is_empty())
            && let Err(what) = scene.is_done(&struck)
        {
            report.fail(format!("{name}: it was done before, and now {what}"));
        }
        Some(scene.judge(&name, &struck, tolerance(&struck), 2, report))
    });
}

/// A response may be lost until it is on the disk.
fn tolerance(struck: &Traced) -> Tolerance {
    let Some(reply) = struck.reply.filter(|_| !struck.is_response_missing) else {
        return if struck.is_response_missing { Tolerance::Window } else { Tolerance::Nothing };
    };
    // The last call is the one that was not carried out.
    let later = struck.calls.iter().skip(reply.index + 1).rev().skip(usize::from(struck.hit));
    let is_on_disk =
        later.into_iter().any(|call| call.point.role == Role::Child && call.point.call == "fsync");
    if is_on_disk { Tolerance::Nothing } else { Tolerance::Window }
}

/// Whether the unsafe variant loses a login.
fn control(workshop: &Workshop, way: Way) -> bool {
    let issuer = Issuer::start();
    let mut disk = workshop.disk(Kind::Image).expect("a disk");
    let mut scene = Scene::set(&disk.root(), &issuer, Operation::Refresh, false, None);
    disk.sync().expect("a disk that works");
    let struck = scene.strike_naive(way, None);
    disk.cut_power().expect("the copy can be mounted");
    scene.power_was_cut();
    let mut found = Report::default();
    scene.judge("control", &struck, Tolerance::Nothing, 2, &mut found);
    struck.code == Some(0) && found.corrupt + found.lost > 0
}
