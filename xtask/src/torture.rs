//! `cargo xtask torture`: the real binary under every fault we can inject.

use crate::bench::release;
use crate::ci::build_binary;
use crate::run::{CARGO, Outcome, run, run_with};
use crate::setup::tortured_beside;

/// Builds the binary and runs the suite; `args` are passed to it. A full run includes the model,
/// which is a stage of its own in CI. A sample uses the debug build, with all its assertions; a
/// full run uses the release build.
pub(crate) fn torture(args: &[&str]) -> Outcome {
    if let ["--only", "model", rest @ ..] | [rest @ .., "--only", "model"] = args {
        return model(rest);
    }
    if args.contains(&"--full") && !args.contains(&"--only") {
        model(&["--full"])?;
    }
    tortured_beside()?;
    let binary = if args.contains(&"--full") { release(&[])? } else { build_binary()? };
    let command = ["run", "-q", "--locked", "-p", "e2e", "--bin", "torture", "--"];
    run_with(CARGO, &[&command[..], args].concat(), &[("CLAWDBOT_BIN", &binary)])
}

/// Explores the protocols as state machines, exhaustively within bounds; `--full` widens the
/// bounds, and uses a release build.
pub(crate) fn model(args: &[&str]) -> Outcome {
    let profile = if args.contains(&"--full") { "release" } else { "dev" };
    let command = ["run", "-q", "--locked", "--profile", profile, "-p", "model", "--"];
    run(CARGO, &[&command[..], args].concat())
}
