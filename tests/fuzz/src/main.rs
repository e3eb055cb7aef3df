//! `fuzz [--executions N] [--seed S] [TARGET…]`: replays the corpora, then feeds the targets mutations of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a tool that ends with what is wrong")]

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use fuzz::TARGETS;

fn main() -> ExitCode {
    let (mut executions, mut seed, mut names) = (0_u64, 1_u64, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse().ok()).expect("a number");
        match word.as_str() {
            "--executions" => executions = number(),
            "--seed" => seed = number(),
            _ => names.push(word),
        }
    }
    let chosen =
        TARGETS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|it| it == name));
    println!("{:<18} {:>7} {:>12} {:>9}", "parser", "seeds", "executions", "failures");
    panic::set_hook(Box::new(|_| {}));
    let (mut total, mut failed) = (0, 0);
    for (name, target) in chosen {
        let start = Instant::now();
        let (seeds, failures) = feed(name, *target, executions, seed);
        total += executions + seeds;
        failed += failures;
        let seconds = start.elapsed().as_secs_f64();
        println!("{name:<18} {seeds:>7} {:>12} {failures:>9}   {seconds:.1} s", executions + seeds);
    }
    println!("{total} executions, seed {seed}");
    println!("{} passed, {failed} failed", total - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one target; returns the number of seeds, and the number of inputs it failed on.
fn feed(name: &str, target: fn(&[u8]), executions: u64, seed: u64) -> (u64, u64) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "there is no seed in corpus/{name}");
    let mut failures = 0;
    for input in &seeds {
        failures += u64::from(!holds(name, target, input));
    }
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut input = Vec::new();
    for _ in 0..executions {
        input.clone_from(&seeds[random.below(seeds.len())]);
        for _ in 0..=random.below(4) {
            mutate(&mut input, &seeds, &mut random);
        }
        input.truncate(LONGEST);
        failures += u64::from(!holds(name, target, &input));
        if failures >= 10 {
            break;
        }
    }
    (seeds.len() as u64, failures)
}

/// Whether the target passes with `input`; a failing input is kept in the temporary directory.
fn holds(name: &str, target: fn(&[u8]), input: &[u8]) -> bool {
    let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| target(input))) else { return true };
    let why = panic.downcast_ref::<String>().cloned();
    let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    eprintln!("{name}: {}", why.unwrap_or_default());
    eprintln!("    input: {}", String::from_utf8_lossy(input).escape_debug());
    false
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed that can be read")).collect()
}

/// One change: of a bit, a byte, a range; words from other seeds and from the formats themselves.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => input.truncate(at),
        3 if at < input.len() => {
            input.remove(at);
        }
        4 => input.insert(at, random.byte()),
        5 => {
            let end = (at + random.below(32)).min(input.len());
            let stretch = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, stretch);
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let end = (from + random.below(64)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            let end = if random.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
            input.splice(at..end, word.bytes());
        }
    }
}

/// xorshift64*: it is enough that the same seed gives the same inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

const LONGEST: usize = 16 << 10;

/// Words that often break parsers.
const WORDS: [&str; 64] = [
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[31m",
    "\r\n",
    "\n",
    "\0",
    "\u{2028}",
    ",",
    ":",
    "//",
    "/*",
    "*/",
    "null",
    "true",
    "NaN",
    "Infinity",
    "-0",
    "0x10",
    "1e999",
    "-1e999",
    "9223372036854775808",
    "18446744073709551616",
    "1.7976931348623157e308",
    "%00",
    "%0a",
    "%",
    "%u",
    "&",
    "=",
    "?",
    "#",
    "@",
    "/model ",
    "code=",
    "state=",
    "error=",
    "iss=",
    "http://127.0.0.1:1455/auth/callback?",
    "Host: localhost:1455",
    "Origin: null",
    "access_token",
    "refresh_token",
    "expires_in",
    "error",
    "invalid_grant",
    "version",
    "profiles",
    "__proto__",
    "$include",
    "${A}",
    "..",
    "eyJ",
    ".",
];
