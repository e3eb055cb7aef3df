//! Disk full: every operation with a limited number of free blocks, of inodes, or a limit on the
//! file size.
//!
//! If the result cannot be saved, no request is sent: the store stays unchanged to the byte, the
//! exit code says so, and after space is freed the next run succeeds and nothing is left over.

use super::apart;
use super::disk::{Kind, Workshop};
use super::scene::{Operation, Scene, Tolerance};
use super::trace::Traced;
use super::{Hand, Plain};
use crate::Settings;
use crate::naive::Way;
use crate::report::Report;
use e2e::issuer::Issuer;

/// The name of the stage.
pub(crate) const STAGE: &str = "disk-full";

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    apart::run(STAGE, settings)
}

/// The remaining space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// This many free blocks of 4 KiB.
    Blocks(u64),
    /// This many free inodes.
    Inodes(u64),
    /// The largest file size in KiB; beyond it, a write is an error, or the end of a process that
    /// does not ignore the signal.
    FileSize { kib: u64, is_signal_ignored: bool },
}

#[derive(Clone, Copy, Debug)]
struct Job {
    kind: Kind,
    operation: Operation,
    left: Left,
}

impl std::fmt::Display for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, operation, left } = self;
        write!(formatter, "{operation:?} ({kind:?}), left: {left:?}")
    }
}

/// The stage itself, if mounting is possible.
pub(crate) fn work(workshop: &Workshop, settings: &Settings, report: &mut Report) {
    let plain = Plain::run(workshop.directory(), report);
    let mut kinds = vec![Kind::Memory];
    match workshop.format() {
        Ok(()) => kinds.push(Kind::Image),
        Err(reason) => report.not_run("disk full on a loop image", &reason),
    }
    let mut all = Vec::new();
    for kind in kinds {
        for operation in Operation::ALL {
            all.extend(lefts(kind).into_iter().map(|left| Job { kind, operation, left }));
        }
    }
    let count = if settings.full { usize::MAX } else { 1 };
    let jobs = super::choose(all, count, settings, |job| {
        let group = match job.left {
            Left::Blocks(0) => 0,
            Left::Blocks(1..=16) => 1,
            Left::Blocks(17..ENOUGH) => 2,
            Left::Blocks(_) => 3,
            Left::Inodes(_) => 4,
            Left::FileSize { .. } => 5,
        };
        (job.kind, job.operation as u8, group)
    });
    report.absorb(super::work(workshop.directory(), &plain, &jobs, |hand, job| {
        strike(hand, workshop, job);
    }));
    let found_out = control(workshop);
    report.control("a refresh that reserves nothing, on a full disk", found_out);
}

/// A token and its response need about 33 blocks: the steps are small up to there.
fn lefts(kind: Kind) -> Vec<Left> {
    let mut lefts: Vec<_> = (0..=40).chain([ENOUGH]).map(Left::Blocks).collect();
    lefts.extend((0..=6).map(Left::Inodes));
    if kind == Kind::Memory {
        for kib in [0, 1, 2, 4, 16, 63, 64, 65, 128] {
            for is_signal_ignored in [true, false] {
                lefts.push(Left::FileSize { kib, is_signal_ignored });
            }
        }
    }
    lefts
}

fn strike(hand: &mut Hand<'_>, workshop: &Workshop, job: &Job) {
    let answered = hand.plain.answered;
    let name = job.to_string();
    hand.with_retries(&name, None, |issuer, report| {
        let disk = workshop.disk(job.kind).expect("a disk");
        let scene = Scene::set(&disk.root(), issuer, job.operation, false, answered);
        let before = scene.stores();
        let struck = match job.left {
            Left::Blocks(blocks) => {
                disk.leave_blocks(blocks).expect("a disk that can be filled");
                scene.strike(None)
            }
            Left::Inodes(inodes) => {
                disk.leave_inodes(inodes).expect("a disk that can be filled");
                scene.strike(None)
            }
            Left::FileSize { kib, is_signal_ignored } => {
                scene.strike_with_file_size(kib, is_signal_ignored)
            }
        };
        check(job, &struck, &scene, &before, report);
        disk.make_room().expect("room again");
        Some(scene.judge(&name, &struck, Tolerance::Nothing, 1, report))
    });
}

/// Either the operation succeeded, or nothing happened except an error message.
fn check(job: &Job, struck: &Traced, scene: &Scene<'_>, before: &[Vec<u8>], report: &mut Report) {
    if struck.code == Some(0) {
        if let Err(what) = scene.is_done(struck) {
            report.fail(format!("{job}: exit code 0, and {what}"));
        }
        return;
    }
    let is_signalled = matches!(job.left, Left::FileSize { is_signal_ignored: false, .. });
    match struck.code {
        Some(74) if struck.stderr.contains("error:") && struck.stderr.contains("hint:") => {}
        None if is_signalled => {}
        code => report.fail(format!("{job}: exit code {code:?}: {}", struck.stderr)),
    }
    if job.left == Left::Blocks(ENOUGH) {
        report.fail(format!("{job}: there is enough: {}", struck.stderr));
    }
    // A login checks for free space, but not whether every lock file can be created: its code may
    // be wasted, and the older login stays.
    let may_ask = job.operation == Operation::Login && matches!(job.left, Left::Inodes(1..));
    if scene.asked() > 0 && !may_ask {
        report.fail(format!("{job}: {} token requests", scene.asked()));
    }
    if scene.stores() != before {
        report.fail(format!("{job}: exit code {:?}, and the store is another", struck.code));
    }
}

/// Whether the unsafe variant loses a login on a full disk.
fn control(workshop: &Workshop) -> bool {
    let issuer = Issuer::start();
    let disk = workshop.disk(Kind::Memory).expect("a disk");
    let scene = Scene::set(&disk.root(), &issuer, Operation::Refresh, false, None);
    disk.leave_blocks(0).expect("a disk that can be filled");
    let struck = scene.strike_naive(Way::Rename, None);
    disk.make_room().expect("room again");
    let mut found = Report::default();
    scene.judge("control", &struck, Tolerance::Nothing, 2, &mut found);
    struck.code == Some(74) && found.lost > 0
}

/// This many blocks are enough for everything.
const ENOUGH: u64 = 64;
