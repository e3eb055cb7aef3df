//! The entry point for development tasks: `cargo xtask <command>`.
//!
//! Standard library only, so that it builds in a second before anything else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]

mod bench;
mod ci;
mod fuzz;
mod package;
mod run;
mod setup;
mod tidy;
mod torture;

use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  demo            the main job, with no account and no internet, step by step
  ci              everything a change must pass, in order; installs what it needs
  e2e [FILTER…]   the whole-program tests, against a fresh build of the binary
  vectors [DIR]   the conformance cases (default: tests/vectors)
  setup           installs what the tests need
  docs            writes the reference of the commands and the transcripts anew
  deny            licences, bans, sources and advisories of the dependencies
  fuzz [TARGET…]  a million inputs for every parser (--executions N, --seed S; --minutes N: libFuzzer)
  package         the published crates, compiled from their packages
  torture [--quick|--full] [--only STAGE] [--seed N]
                  the binary under every fault we can make
  model [--full]  the protocols, explored exhaustively within bounds
  bench [--gate]  how fast it is; without --gate beside the commands of others, into docs/performance.md
  dist            the binary without shared libraries (musl)
  tidy [--root DIR] [NAME…]
                  the invariants of ARCHITECTURE.md, or only those checks; DIR: in another checkout
  help            this text
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let mut root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    if let (Some("tidy"), ["--root", other, names @ ..]) =
        (args.first().map(String::as_str), &rest[..])
    {
        root = Path::new(*other);
        rest = names.to_vec();
    }
    if let Err(error) = std::env::set_current_dir(root) {
        eprintln!("xtask: {}: {error}", root.display());
        return ExitCode::FAILURE;
    }
    let outcome = match args.first().map_or("help", String::as_str) {
        "ci" => ci::run_ci(),
        "demo" => ci::build_binary().and_then(|binary| ci::demo(&binary)),
        "e2e" => ci::whole_program(&rest),
        "vectors" => ci::vectors(&rest),
        "setup" => setup::setup(),
        "docs" => run::run(run::CARGO, &["run", "-q", "-p", "e2e", "--bin", "written"]),
        "deny" => ci::dependencies(),
        "package" => package::package(),
        "bench" => bench::bench(&rest),
        "dist" => bench::dist(),
        "torture" => torture::torture(&rest),
        "model" => torture::model(&rest),
        "fuzz" => fuzz::fuzz(&rest),
        "tidy" => tidy::run(&rest),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no command `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
