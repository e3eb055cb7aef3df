//! `cargo xtask torture`: the real binary under every fault we can inject, against an issuer that
//! forgets nothing.
//!
//! One file per stage. A stage is a function from the [`Settings`] to its [`Report`]; it is listed
//! only in [`STAGES`]. Each has a control, an unsafe variant that it must detect, and reports `NOT
//! RUN` for what this machine cannot do. The run ends with a table, and fails if anything is lost,
//! corrupt or otherwise wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops, and says where"
)]

mod chaos;
mod clocks;
mod coexist;
mod contention;
mod live;
mod naive;
mod report;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod strike;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
#[path = "elsewhere.rs"]
mod strike;

use e2e::now_ms;
use report::Report;
use std::env;
use std::process::ExitCode;
use std::time::Instant;

/// The stages, in the order in which they run.
const STAGES: &[(&str, Stage)] = &[
    ("kill", strike::kill::run),
    ("signals", strike::signals::run),
    ("errors", strike::errors::run),
    ("import", strike::import::run),
    ("disk-full", strike::full::run),
    ("power-cut", strike::cut::run),
    ("contention", contention::run),
    ("chaos", chaos::run),
    ("coexist", coexist::run),
    ("clocks", clocks::run),
];

type Stage = fn(&Settings) -> Report;

/// The user's options.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Run everything, for the published table; otherwise a sample that fits into `cargo xtask ci`.
    pub(crate) full: bool,
    /// The source of all randomness: the same seed chooses the same samples.
    pub(crate) seed: u64,
    /// Run only the stage of this name.
    only: Option<String>,
}

const HELP: &str = "\
torture [--quick|--full] [--only STAGE] [--seed N]

  --quick       a sample of every matrix, as in `cargo xtask ci` (the default)
  --full        all of it
  --only STAGE  this stage alone
  --seed N      the seed of a run before: the same samples again
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(naive::WORD) => return naive::run(&args[1..]),
        Some(naive::IMPORT_WORD) => return naive::import(&args[1..]),
        Some(strike::apart::WORD) => return strike::apart::inner(&args[1..]),
        _ => {}
    }
    let settings = match settings(args.into_iter()) {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("torture: {message}\n\n{HELP}");
            return ExitCode::from(64);
        }
    };
    let mode = if settings.full { "--full" } else { "--quick" };
    println!("torture {mode} --seed {}", settings.seed);
    let mut rows = Vec::new();
    for (name, stage) in STAGES {
        if settings.only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        println!("\n--- {name}");
        let start = Instant::now();
        let report = stage(&settings);
        let word = if report.is_good() { "ok" } else { "FAILED" };
        println!("--- {name}: {word}, {} injections in {:.0?}", report.injections, start.elapsed());
        rows.push((*name, report, start.elapsed()));
    }
    println!("{}", report::table(&rows));
    if rows.iter().all(|(_, report, _)| report.is_good()) {
        println!("\ntorture: all of it survived");
        ExitCode::SUCCESS
    } else {
        println!("\ntorture: FAILED; the same again: --seed {}", settings.seed);
        ExitCode::FAILURE
    }
}

fn settings(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings { full: false, seed: now_ms(), only: None };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => settings.full = false,
            "--full" => settings.full = true,
            "--seed" => {
                let seed = args.next().and_then(|seed| seed.parse().ok());
                settings.seed = seed.ok_or("--seed wants a number")?;
            }
            "--only" => {
                let name = args.next().ok_or("--only wants the name of a stage")?;
                if !STAGES.iter().any(|(stage, _)| *stage == name) {
                    let names: Vec<_> = STAGES.iter().map(|(name, _)| *name).collect();
                    return Err(format!("no stage `{name}`; there are: {}", names.join(", ")));
                }
                settings.only = Some(name);
            }
            other => return Err(format!("no option `{other}`")),
        }
    }
    Ok(settings)
}
