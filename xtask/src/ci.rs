//! All checks of a change, in order. A stage that cannot run fails; none is skipped.

use crate::fuzz::replay;
use crate::package::package;
use crate::run::{CARGO, Outcome, read, read_even_if_it_fails, run, run_with, succeeds};
use crate::setup::{TOOLS, setup, setup_once};
use crate::{bench, tidy, torture};
use std::time::{Duration, Instant};

/// The published crates, each after its dependencies.
pub(crate) const CRATES: [&str; 6] =
    ["auth-store", "auth-pkce", "auth-routing", "auth-providers", "auth-gateway", "auth-cli"];

/// The areas of the conformance cases that must pass; the runner counts areas that are not built as
/// failed.
const AREAS: [&str; 12] = [
    "order",
    "cooldown",
    "usage",
    "provider_ids",
    "paths",
    "coerce",
    "session",
    "model_directive",
    "repair",
    "migrate",
    "health",
    "resolve",
];

const STAGES: &[Stage] = &[
    ("setup", setup),
    ("format", || run(CARGO, &["fmt", "--all", "--check"])),
    ("clippy", || {
        run(CARGO, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    }),
    ("rustdoc", rustdoc),
    ("tidy", || tidy::run(&[])),
    ("dependencies", dependencies),
    ("tests of each crate alone", tests_of_each_crate),
    ("binary", || build_binary().map(drop)),
    ("fuzz corpora", replay),
    ("vectors", required_vectors),
    ("whole-program tests", || whole_program(&[])),
    ("demo", || build_binary().and_then(|binary| demo(&binary))),
    ("torture --quick", || torture::torture(&["--quick"])),
    ("model", || run(CARGO, &["test", "-q", "--locked", "-p", "model"])),
    ("bench --gate", || bench::bench(&["--gate"])),
    ("package", package),
];

/// A stage's name, and what it does.
type Stage = (&'static str, fn() -> Outcome);

/// Runs every stage; stops at the first that fails.
pub(crate) fn run_all(stages: &[Stage]) -> Outcome {
    let mut table = Vec::new();
    let mut outcome = Ok(());
    for (name, stage) in stages {
        println!("\n=== {name}");
        let start = Instant::now();
        outcome = stage();
        let taken = start.elapsed();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("=== {name}: {word} in {}", seconds(taken));
        table.push((*name, word, taken));
        if let Err(why) = outcome {
            outcome = Err(format!("stage `{name}` failed: {why}"));
            break;
        }
    }
    println!("\n{:<28} {:>9}  outcome", "stage", "time");
    for (name, word, taken) in &table {
        println!("{name:<28} {:>9}  {word}", seconds(*taken));
    }
    let sum = seconds(table.iter().map(|(_, _, taken)| *taken).sum());
    println!("{:<28} {sum:>9}  {} of {} stages ran", "sum", table.len(), stages.len());
    outcome
}

/// `cargo xtask ci`.
pub(crate) fn run_ci() -> Outcome {
    run_all(STAGES)
}

/// Builds the binary and returns its path, as reported by cargo. It is built together with the
/// tests' own package, so that shared dependencies are built once.
pub(crate) fn build_binary() -> Outcome<String> {
    let packages = ["-p", "auth-cli", "-p", "e2e", "-p", "clawdbot-provider-demo"];
    let args = ["build", "--locked", "--bin", "clawdbot", "--bin", "clawdbot-provider-demo"];
    let format = ["--message-format", "json-render-diagnostics"];
    let messages = read(CARGO, &[&args[..], &packages, &format].concat())?;
    executable(&messages)
}

/// The path of the binary in cargo's messages.
pub(crate) fn executable(messages: &str) -> Outcome<String> {
    let path = messages
        .lines()
        .filter(|line| {
            line.contains("\"compiler-artifact\"") && line.contains("\"name\":\"clawdbot\"")
        })
        .find_map(|line| line.split("\"executable\":\"").nth(1)?.split('"').next());
    path.map(|path| path.replace("\\\\", "\\")).ok_or_else(|| "cargo named no binary".to_owned())
}

/// The demonstration, with a binary that is built already.
pub(crate) fn demo(binary: &str) -> Outcome {
    run_with(CARGO, &["run", "-q", "-p", "e2e", "--bin", "demo"], &[("CLAWDBOT_BIN", binary)])
}

/// The conformance cases: the runner's own arguments.
pub(crate) fn vectors(args: &[&str]) -> Outcome {
    let command = ["run", "-q", "-p", "e2e", "--bin", "vectors", "--"];
    run(CARGO, &[&command[..], args].concat())
}

/// Checks that no conformance case fails in the areas that are built.
fn required_vectors() -> Outcome {
    let command = ["run", "-q", "--locked", "-p", "e2e", "--bin", "vectors"];
    let report = read_even_if_it_fails(CARGO, &command)?;
    print!("{}", of_required_areas(&report));
    for area in AREAS {
        let counts = report.lines().find(|line| line.split_whitespace().next() == Some(area));
        match counts {
            None => return Err(format!("the runner says nothing about `{area}`")),
            Some(line) if !line.ends_with(" 0 failed") => return Err(line.to_owned()),
            Some(_) => {}
        }
    }
    println!("required, and without a failure: {}", AREAS.join(", "));
    Ok(())
}

/// The runner's report without the failures of areas that need not pass yet, and without its total.
fn of_required_areas(report: &str) -> String {
    let (mut shown, mut text) = (true, String::new());
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("FAILED ") {
            shown = AREAS.contains(&name.split('/').next().unwrap_or_default());
        } else if !line.starts_with(' ') {
            shown = !line.contains(" passed, ");
        }
        if shown {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The whole-program tests against a fresh build; `args` go to the test binary.
pub(crate) fn whole_program(args: &[&str]) -> Outcome {
    setup_once()?;
    let binary = build_binary()?;
    let command = ["test", "--locked", "-p", "e2e", "--"];
    run_with(CARGO, &[&command[..], args].concat(), &[("CLAWDBOT_BIN", &binary)])
}

/// Checks licenses, banned crates and sources of the dependencies, according to `deny.toml`.
/// Advisories need a downloaded database; if it is not available, that is reported.
pub(crate) fn dependencies() -> Outcome {
    setup_once()?;
    let deny = format!("{TOOLS}/bin/cargo-deny");
    run(&deny, &["--locked", "--log-level", "error", "check", "licenses", "bans", "sources"])?;
    if !succeeds(&deny, &["fetch", "db"]) {
        println!("advisories: NOT RUN: the database of advisories could not be fetched");
        return Ok(());
    }
    run(&deny, &["--locked", "--log-level", "error", "check", "--disable-fetch", "advisories"])
}

fn rustdoc() -> Outcome {
    let args = ["doc", "--workspace", "--no-deps", "--locked"];
    run_with(CARGO, &args, &[("RUSTDOCFLAGS", "-D warnings")])
}

/// One crate at a time, so that none depends on a feature that another one enables.
fn tests_of_each_crate() -> Outcome {
    for name in CRATES.iter().chain(&["xtask"]) {
        run(CARGO, &["test", "--locked", "-p", name])?;
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_stage_ends_the_run_and_is_named() {
        let stages: [Stage; 3] = [
            ("first", || Ok(())),
            ("second", || Err("it broke".to_owned())),
            ("third", || panic!("must not run")),
        ];
        assert_eq!(run_all(&stages), Err("stage `second` failed: it broke".to_owned()));
    }

    #[test]
    fn failures_of_areas_that_are_not_built_are_not_shown() {
        let report = "FAILED order/x/1\n  given 1\nFAILED later/x/1\n  given 2\norder 1 passed 1 failed\n1 passed, 2 failed\n";
        let shown = "FAILED order/x/1\n  given 1\norder 1 passed 1 failed\n";
        assert_eq!(of_required_areas(report), shown);
    }

    #[test]
    fn every_stage_runs_when_none_fails() {
        let stages: [Stage; 1] = [("only", || Ok(()))];
        assert_eq!(run_all(&stages), Ok(()));
    }
}
