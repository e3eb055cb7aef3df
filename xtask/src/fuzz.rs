//! Fuzzing: the seeded mutator on the stable compiler, or libFuzzer if there is a nightly one.

use crate::run::{CARGO, Outcome, is_installed, run, run_with, succeeds};

const LIBFUZZER: &str = "tests/fuzz/libfuzzer";

/// `cargo xtask fuzz [--executions N] [--seed S] [TARGET…]`: by default a million inputs for each
/// parser. With `--minutes N`, libFuzzer runs that long on each.
pub(crate) fn fuzz(args: &[&str]) -> Outcome {
    if let Some(at) = args.iter().position(|word| *word == "--minutes") {
        let minutes = args.get(at + 1).and_then(|text| text.parse().ok());
        let minutes: u64 = minutes.ok_or("--minutes takes a number")?;
        let names = [&args[..at], args.get(at + 2..).unwrap_or_default()].concat();
        return libfuzzer(minutes, &names);
    }
    let command = ["run", "-q", "--locked", "--profile", "fuzz", "-p", "fuzz", "--"];
    let count: &[&str] =
        if args.contains(&"--executions") { &[] } else { &["--executions", "1000000"] };
    run(CARGO, &[&command[..], count, args].concat())
}

/// The corpora, and a few thousand mutations of them.
pub(crate) fn replay() -> Outcome {
    run(CARGO, &["test", "-q", "--locked", "-p", "fuzz"])?;
    run(CARGO, &["run", "-q", "--locked", "-p", "fuzz", "--", "--executions", "1000"])
}

fn libfuzzer(minutes: u64, names: &[&str]) -> Outcome {
    if !is_installed("cargo-fuzz") || !succeeds("cargo", &["+nightly", "--version"]) {
        return Err(
            "--minutes needs cargo-fuzz and a nightly compiler: cargo install cargo-fuzz; \
                    rustup toolchain install nightly; without them leave --minutes out"
                .to_owned(),
        );
    }
    let all: Vec<String> = std::fs::read_dir(format!("{LIBFUZZER}/fuzz_targets"))
        .map_err(|error| format!("{LIBFUZZER}: {error}"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .filter(|name| names.is_empty() || names.contains(&name.as_str()))
        .collect();
    for name in &all {
        let seeds = format!("tests/fuzz/corpus/{name}");
        let found = format!("target/fuzz/{name}");
        std::fs::create_dir_all(&found).map_err(|error| format!("{found}: {error}"))?;
        let time = format!("-max_total_time={}", minutes * 60);
        let words =
            ["+nightly", "fuzz", "run", "--fuzz-dir", LIBFUZZER, name, &found, &seeds, "--", &time];
        run_with("cargo", &words, &[("CARGO_TARGET_DIR", "target/libfuzzer")])?;
    }
    Ok(())
}
