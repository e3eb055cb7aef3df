//! Shared by the matrices: the points of every operation, a seeded choice among them, and the
//! workers that inject the faults.

pub(crate) mod apart;
mod calls;
pub(crate) mod cut;
mod disk;
pub(crate) mod errors;
pub(crate) mod full;
pub(crate) mod import;
pub(crate) mod kill;
mod scene;
pub(crate) mod signals;
mod trace;

use crate::Settings;
use crate::naive::Way;
use crate::report::Report;
use e2e::issuer::Issuer;
use scene::{Judgement, Loss, Operation, Scene, Tolerance};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use trace::{Call, Fault, Point, Traced};

/// One fault at one point of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) grace: bool,
    pub(crate) point: Point,
    pub(crate) fault: Fault,
}

impl std::fmt::Display for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, grace, point, fault } = self;
        let grace = if *grace { " (grace)" } else { "" };
        write!(formatter, "{operation:?}{grace}: {fault:?} at {point}")
    }
}

/// Every operation without a fault.
pub(crate) struct Plain {
    runs: Vec<(Operation, Vec<Call>)>,
    answered: Option<Point>,
}

impl Plain {
    /// Runs each operation once.
    pub(crate) fn run(base: &Path, report: &mut Report) -> Self {
        let issuer = Issuer::start();
        let mut plain = Self { runs: Vec::new(), answered: None };
        for operation in Operation::ALL {
            let scene = Scene::set(base, &issuer, operation, false, plain.answered);
            let run = scene.strike(None);
            if run.code != Some(0) {
                report.fail(format!("{operation:?} fails without any fault: {run:?}"));
            }
            if operation == Operation::Refresh {
                plain.answered = scene::after_response(&run);
            }
            plain.runs.push((operation, run.calls));
        }
        plain
    }

    /// Every operation with each of its calls.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (Operation, Call)> {
        self.runs.iter().flat_map(|(operation, calls)| calls.iter().map(|at| (*operation, *at)))
    }
}

/// A worker: an issuer, a directory for homes, and its findings so far.
pub(crate) struct Hand<'a> {
    pub(crate) base: &'a Path,
    pub(crate) issuer: Issuer,
    pub(crate) plain: &'a Plain,
    pub(crate) report: Report,
    pub(crate) longest_recovery: Duration,
    missed: u64,
    /// The points at which a response was lost in the window.
    window: BTreeSet<Point>,
}

impl<'a> Hand<'a> {
    fn new(base: &'a Path, plain: &'a Plain) -> Self {
        Self {
            base,
            issuer: Issuer::start(),
            plain,
            report: Report::default(),
            longest_recovery: Duration::ZERO,
            missed: 0,
            window: BTreeSet::new(),
        }
    }

    /// A home for an operation.
    pub(crate) fn scene(&self, operation: Operation, grace: bool) -> Scene<'_> {
        Scene::set(self.base, &self.issuer, operation, grace, self.plain.answered)
    }

    /// Injects one fault, and judges the result. `tolerance` says what may be lost.
    pub(crate) fn strike(
        &mut self,
        job: Job,
        at_most: u64,
        tolerance: impl Fn(&Traced) -> Tolerance,
        also: impl Fn(&Traced, &Scene<'_>, &mut Report),
    ) {
        let name = job.to_string();
        let (base, answered) = (self.base, self.plain.answered);
        self.with_retries(&name, Some(job.point), |issuer, report| {
            let scene = Scene::set(base, issuer, job.operation, job.grace, answered);
            let struck = scene.strike(Some((job.point, job.fault)));
            if !struck.hit {
                return None;
            }
            also(&struck, &scene, report);
            Some(scene.judge(&name, &struck, tolerance(&struck), at_most, report))
        });
    }

    /// Injects and judges, again if the next run was slow: that happens once on a machine under
    /// load, but always if a crash delays the next run. `None`: the point was not reached.
    pub(crate) fn with_retries(
        &mut self,
        name: &str,
        point: Option<Point>,
        mut strike: impl FnMut(&Issuer, &mut Report) -> Option<Judgement>,
    ) {
        for attempt in 0..=RETRIES {
            let mut report = Report::default();
            let Some(found) = strike(&self.issuer, &mut report) else {
                self.missed += 1;
                return;
            };
            if found.next_took <= DELAY || attempt == RETRIES {
                self.note(name, point, found, report);
                return;
            }
        }
    }

    pub(crate) fn note(
        &mut self,
        name: &str,
        point: Option<Point>,
        found: Judgement,
        mut report: Report,
    ) {
        if found.next_took > DELAY {
            report.fail(format!("{name}: the next run took {:.1?}", found.next_took));
        }
        // Printed at once, so that a long run that is stopped has shown its findings.
        for failure in &report.failures {
            println!("FAILED: {failure}");
        }
        if found.lost == Loss::InWindow {
            self.window.extend(point);
        }
        report.injections += 1;
        self.longest_recovery = self.longest_recovery.max(found.next_took);
        self.report.absorb(report);
    }

    pub(crate) fn missed(&mut self) {
        self.missed += 1;
    }
}

/// Does all the work with as many workers as cores, and prints its progress every minute.
pub(crate) fn work<T: Sync>(
    base: &Path,
    plain: &Plain,
    jobs: &[T],
    strike: impl Fn(&mut Hand<'_>, &T) + Sync,
) -> Report {
    let next = AtomicUsize::new(0);
    let (start, minutes) = (Instant::now(), AtomicU64::new(0));
    let all = Mutex::new((Report::default(), Duration::ZERO, 0, BTreeSet::new()));
    let hands = thread::available_parallelism().map_or(2, usize::from).min(8);
    thread::scope(|scope| {
        for _ in 0..hands {
            scope.spawn(|| {
                let mut hand = Hand::new(base, plain);
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    strike(&mut hand, job);
                    let now = start.elapsed().as_secs() / 60;
                    if minutes.fetch_max(now, Ordering::Relaxed) < now {
                        println!("    {at} of {} after {now} min", jobs.len());
                    }
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.0.absorb(hand.report);
                all.1 = all.1.max(hand.longest_recovery);
                all.2 += hand.missed;
                all.3.extend(hand.window);
            });
        }
    });
    let (mut report, longest, missed, window) =
        all.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.note(format!("longest next run {longest:.0?}"));
    if missed > 0 {
        report.note(format!("{missed} points were not reached again, and are not counted"));
    }
    if !window.is_empty() {
        let points: Vec<_> = window.iter().map(Point::to_string).collect();
        report.note(format!("answers were lost at: {}", points.join(", ")));
    }
    report
}

/// Injects faults into the unsafe variant at every relevant point; the matrix must detect it.
pub(crate) fn control(
    base: &Path,
    fault: Fault,
    report: &mut Report,
    is_found_out: impl Fn(&Report) -> bool,
) {
    let issuer = Issuer::start();
    let scene = || Scene::set(base, &issuer, Operation::Refresh, false, None);
    let plain = scene().strike_naive(Way::InPlace, None);
    let mut found = Report::default();
    for call in plain.calls.iter().filter(|call| calls::leaves_a_trace(call.point.call)) {
        let scene = scene();
        let struck = scene.strike_naive(Way::InPlace, Some((call.point, fault)));
        scene.judge("control", &struck, Tolerance::Nothing, 2, &mut found);
    }
    let name = format!("a refresh that writes in place and records nothing, under {fault:?}");
    report.control(&name, plain.code == Some(0) && is_found_out(&found));
}

/// A seeded choice of `count` items per group; the whole group if it has no more.
pub(crate) fn choose<T: Copy, K: Ord>(
    all: Vec<T>,
    count: usize,
    settings: &Settings,
    group: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut random = settings.seed;
    let mut groups = BTreeMap::<K, Vec<T>>::new();
    for it in all {
        groups.entry(group(&it)).or_default().push(it);
    }
    let mut chosen = Vec::new();
    for mut group in groups.into_values() {
        for _ in 0..count.min(group.len()) {
            let at = next_random(&mut random) % group.len() as u64;
            chosen.push(group.swap_remove(usize::try_from(at).unwrap_or(0)));
        }
    }
    chosen
}

/// The next number of a sequence that depends on the seed alone (splitmix64).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The directory of the homes: in memory if possible, since a killed process loses nothing it has
/// written.
pub(crate) fn base() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if tempfile::tempdir_in(&memory).is_ok() { memory } else { std::env::temp_dir() }
}

/// The longest delay that one of our crashes may cause.
const DELAY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 2;
