//! `cargo xtask bench` and `cargo xtask dist`: the benchmarks, and the binary without shared
//! libraries.

use crate::run::{CARGO, Outcome, read, run, run_with};
use crate::setup;

/// Measures the release build. With `--gate` it checks counts and ratios only; without it, it also
/// runs comparable commands of other projects, and writes `docs/performance.md`.
pub(crate) fn bench(args: &[&str]) -> Outcome {
    setup::measuring()?;
    let binary = release(&[])?;
    let is_gate = args.contains(&"--gate");
    let mut command = vec!["run", "-q", "--locked", "-p", "e2e", "--bin", "bench"];
    if is_gate {
        command.push("--");
        command.extend(args);
        return run_with(CARGO, &command, &[("CLAWDBOT_BIN", &binary)]);
    }
    setup::measured_beside()?;
    let (name, standalone) = match dist_for(MUSL)? {
        Some(binary) => ("static musl", binary),
        None => ("static glibc", standalone(GNU)?),
    };
    let standalone = format!("--standalone={name}={standalone}");
    command.extend(["--release", "--", &standalone]);
    command.extend(args);
    run_with(CARGO, &command, &[("CLAWDBOT_BIN", &binary)])
}

/// Builds the binary without shared libraries, which can be copied to any machine.
pub(crate) fn dist() -> Outcome {
    match dist_for(MUSL)? {
        Some(binary) => {
            println!("{binary}");
            Ok(())
        }
        None => Err(format!(
            "the target {MUSL} is not installed: rustup target add {MUSL}, and a C compiler for it: apt-get install musl-tools"
        )),
    }
}

/// The binary for `target`, if its standard library is installed.
fn dist_for(target: &str) -> Outcome<Option<String>> {
    let directory = read("rustc", &["--print", "target-libdir", "--target", target])?;
    if !std::path::Path::new(directory.trim()).is_dir() {
        return Ok(None);
    }
    standalone(target).map(Some)
}

/// Builds the binary for `target` without shared libraries and without relocations at startup.
fn standalone(target: &str) -> Outcome<String> {
    let flags = format!(
        "target.{target}.rustflags=['-Ctarget-feature=+crt-static', '-Crelocation-model=static']"
    );
    release(&["--config", &flags, "--target", target])
}

/// Builds the release binary and returns its path.
pub(crate) fn release(more: &[&str]) -> Outcome<String> {
    let args = ["build", "--locked", "--release", "-p", "auth-cli", "--bin", "clawdbot"];
    let args = [&args[..], more].concat();
    run(CARGO, &args)?;
    let messages = read(CARGO, &[&args[..], &["-q", "--message-format", "json"]].concat())?;
    crate::ci::executable(&messages)
}

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";
