//! The output of the demonstration: numbered steps, the commands as a user would type them,
//! numbers, and checks that stop it.

use e2e::sandbox::{Finished, Sandbox};
use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Prints, counts the steps, and stops at the first failed check.
#[derive(Debug)]
pub(crate) struct Stage {
    steps: u32,
    out: io::Stdout,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { steps: 0, out: io::stdout() }
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        self.line(&format!("\n{}. {title}", self.steps));
    }

    /// Prints what happened.
    pub(crate) fn say(&mut self, text: &str) {
        self.line(&format!("   {text}"));
    }

    /// Prints output of the binary unchanged.
    pub(crate) fn show(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("   | {line}"));
        }
    }

    /// Prints a command as a user would type it.
    pub(crate) fn command(&mut self, args: &[&str]) {
        self.line(&format!("   $ clawdbot {}", args.join(" ")));
    }

    /// Runs a command to its end; it must succeed.
    pub(crate) fn run(&mut self, home: &Sandbox, args: &[&str]) -> Finished {
        self.command(args);
        let start = Instant::now();
        let finished = home.run(args);
        self.expect(&finished, 0);
        self.took("done after", start.elapsed());
        finished
    }

    /// Stops unless a run ended with this exit code.
    pub(crate) fn expect(&mut self, finished: &Finished, code: i32) {
        if finished.code != Some(code) {
            self.show(&finished.stderr);
            self.fail(&format!("exit {:?} instead of {code}: {:?}", finished.code, finished.args));
        }
    }

    /// Prints a counted number.
    pub(crate) fn measure(&mut self, what: &str, count: impl Display) {
        self.line(&format!("   {what}: {count}"));
    }

    /// Prints a measured time.
    pub(crate) fn took(&mut self, what: &str, time: Duration) {
        self.line(&format!("   {what} {} ms", time.as_millis()));
    }

    /// Checks a condition.
    pub(crate) fn check(&mut self, holds: bool, what: &str) {
        if holds {
            self.line(&format!("   ok: {what}"));
        } else {
            self.fail(&format!("not so: {what}"));
        }
    }

    fn fail(&mut self, why: &str) -> ! {
        panic!("step {} failed: {why}", self.steps);
    }

    fn line(&mut self, text: &str) {
        writeln!(self.out, "{text}").expect("somebody reads this");
    }
}
