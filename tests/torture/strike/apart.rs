//! A stage in a process with its own mount namespace: as root, or as an ordinary user who is root
//! inside it.

use super::disk::{Workshop, succeed};
use super::{cut, full};
use crate::Settings;
use crate::report::Report;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The first argument of that process.
pub(crate) const WORD: &str = "__apart";

/// Runs the stage of this name there, and returns its report.
pub(crate) fn run(stage: &str, settings: &Settings) -> Report {
    let mut report = Report::default();
    let place = tempfile::tempdir().expect("a temporary directory");
    let way = match way(place.path()) {
        Ok(way) => way,
        Err(reason) => {
            report.not_run(stage, &reason);
            return report;
        }
    };
    let result = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut command = Command::new("unshare");
    command.args(way).arg(env::current_exe().expect("a path to this program"));
    command.args([WORD, stage, if settings.full { "--full" } else { "--quick" }]);
    command.arg(settings.seed.to_string()).arg(place.path()).arg(result.path());
    let ended = command.status();
    let text = fs::read(result.path()).unwrap_or_default();
    match serde_json::from_slice(&text) {
        Ok(part) => report.absorb(part),
        Err(_) => {
            report.fail(format!("the process of the stage ended without a report: {ended:?}"));
        }
    }
    report
}

/// How to start such a process here, with permission to mount.
fn way(place: &Path) -> Result<&'static [&'static str], String> {
    let mut reasons = Vec::new();
    for way in WAYS.iter().copied() {
        let mut trial = Command::new("unshare");
        trial.args(way).args(["mount", "-t", "tmpfs", "none"]).arg(place);
        match succeed(&mut trial) {
            Ok(()) => return Ok(way),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(format!("nothing can be mounted here: {}", reasons.join("; ")))
}

/// The process itself. The arguments are the stage, `--full` or `--quick`, the seed, an empty
/// directory and the file for the report.
#[expect(clippy::disallowed_methods, reason = "a file of our own, which nobody else writes")]
pub(crate) fn inner(args: &[String]) -> ExitCode {
    let [stage, mode, seed, place, result] = args else { return ExitCode::from(64) };
    let Ok(seed) = seed.parse() else { return ExitCode::from(64) };
    let settings = Settings { full: mode == "--full", seed, only: None };
    let mut report = Report::default();
    match Workshop::open(Path::new(place)) {
        Ok(workshop) if stage == full::STAGE => full::work(&workshop, &settings, &mut report),
        Ok(workshop) => cut::work(&workshop, &settings, &mut report),
        Err(reason) => report.not_run(stage, &reason),
    }
    let text = serde_json::to_string(&report).expect("JSON");
    fs::write(result, text).expect("a file that was made for it");
    ExitCode::SUCCESS
}

const WAYS: [&[&str]; 2] =
    [&["--mount", "--propagation", "private"], &["--user", "--map-root-user", "--mount"]];
